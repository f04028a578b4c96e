"""Builders for tests of rating: a deck, a running contract, calls as the switch leaves them."""

from __future__ import annotations

import itertools
from datetime import date, datetime, timedelta

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from billing import contracts, rate_decks, usage
from billing.models import Charge, Contract, RateDeck, UnratedCall
from infra.kit import clock
from infra.kit.database import Database, Scope
from switch.models import CallRecord, NewCall
from tenancy import tenants

HEADER = "prefix,name,connect_fee,rate_per_minute,first_increment,next_increment"
CHINA = f"{HEADER}\n86,China,0.1,0.30,60,6\n86138,Mobile,,0.60,1,1\n"
"""A deck of two prefixes, with and without a connect fee."""

WAIT_LIMIT_LOOKS = 2_000
_numbers = itertools.count(1)


def moment(written: str) -> datetime:
    """A local moment such as `2026-07-16 10:00`."""
    return datetime.fromisoformat(written).replace(tzinfo=clock.LOCAL_ZONE)


class Calls:
    """One database with decks, contracts and calls."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def tenant(self) -> str:
        """A new tenant's id."""
        async with self.database.transaction(Scope.platform()) as session:
            number = next(_numbers)
            domain = f"calls-{number}.example.com"
            return (await tenants.create_tenant(session, name=f"Tenant {number}", sip_domain=domain)).tenant_id

    async def deck(self, rows: str = CHINA, *, is_default: bool = True) -> str:
        """An uploaded deck's id."""
        async with self.database.transaction(Scope.platform()) as session:
            content = rows.encode()
            return (await rate_decks.upload(session, name="deck", content=content, is_default=is_default)).deck_id

    async def unreadable_deck(self) -> str:
        """A deck that cannot be parsed, as a damaged database would hold it."""
        async with self.database.transaction(Scope.platform()) as session:
            deck_id = f"deck_damaged_{next(_numbers)}"
            session.add(
                RateDeck(
                    deck_id=deck_id, name="damaged", is_default=False, row_count=1, content=b"x", created_at=clock.now()
                )
            )
            return deck_id

    async def contract(
        self,
        tenant_id: str,
        *,
        opens_on: str = "2026-06-01",
        ends_on: str | None = None,
        deck_id: str | None = None,
        billed_through: str | None = None,
        state: str = "open",
    ) -> str:
        """A contract's id; it runs since `opens_on`."""
        async with self.database.transaction(Scope.platform()) as session:
            contract = await contracts.create_contract(
                session,
                tenant_id=tenant_id,
                title="Lease",
                preset="hosted",
                terms={},
                opens_on=clock.today(),
            )
            contract.opens_on = date.fromisoformat(opens_on)
            contract.ends_on = None if ends_on is None else date.fromisoformat(ends_on)
            contract.billed_through = None if billed_through is None else date.fromisoformat(billed_through)
            contract.rate_deck_id = deck_id
            contract.state = state
            return contract.contract_id

    async def call(
        self,
        tenant_id: str,
        destination: str = "8613800138000",
        *,
        answered: str = "2026-07-16 10:00",
        milliseconds: int = 60_000,
        leg_id: str | None = None,
    ) -> str:
        """A call out that bills and waits for its price; returns the gateway leg."""
        answered_at = moment(answered)
        leg_id = leg_id or f"leg-{next(_numbers):06}"
        month = answered_at.date().replace(day=1)
        async with self.database.transaction(Scope.platform()) as session:
            session.add(
                CallRecord(
                    tenant_id=tenant_id,
                    month=month,
                    leg_id=leg_id,
                    node="node-1",
                    leg="gateway",
                    direction="outbound",
                    other_leg_id=None,
                    seat_id=None,
                    caller="862112345678",
                    destination=destination,
                    gateway="carrier",
                    started_at=answered_at - timedelta(seconds=5),
                    answered_at=answered_at,
                    ended_at=answered_at + timedelta(milliseconds=milliseconds),
                    billable_milliseconds=milliseconds,
                    hangup_cause="NORMAL_CLEARING",
                    refusal=None,
                    received_at=answered_at + timedelta(milliseconds=milliseconds),
                    body=b"",
                )
            )
            session.add(NewCall(tenant_id=tenant_id, month=month, leg_id=leg_id))
        return leg_id

    async def waiting(self) -> list[str]:
        """Legs on the work list."""
        async with self.database.transaction(Scope.platform()) as session:
            return list((await session.execute(select(NewCall.leg_id).order_by(NewCall.leg_id))).scalars())

    async def charges(self) -> dict[str, Charge]:
        """Every charge by its leg."""
        async with self.database.transaction(Scope.platform()) as session:
            return {charge.leg_id: charge for charge in (await session.execute(select(Charge))).scalars()}

    async def reasons(self) -> dict[str, str]:
        """Every call without a price with its reason."""
        async with self.database.transaction(Scope.platform()) as session:
            return {call.leg_id: call.reason for call in (await session.execute(select(UnratedCall))).scalars()}


async def bill_through(session: AsyncSession, tenant_id: str, contract_id: str, month: str) -> None:
    """What the monthly run does to a contract: take it and move on what is invoiced."""
    contract = await contracts.get_contract(session, tenant_id, contract_id, for_update=True)
    contract.billed_through = date.fromisoformat(month)
    await session.flush()


async def contract_now(database: Database, contract_id: str) -> Contract:
    """A contract as it stands."""
    async with database.transaction(Scope.platform()) as session:
        return await contracts.find_contract(session, contract_id, None)


async def until_somebody_waits(database: Database) -> None:
    """Return once a transaction waits for a lock of another one."""
    for _ in range(WAIT_LIMIT_LOOKS):
        async with database.engine.connect() as connection:
            if await connection.scalar(text("SELECT count(*) FROM pg_locks WHERE NOT granted")):
                return
    raise AssertionError("Nobody came to wait for the lock.")


async def rate(database: Database, tenant_id: str, limit: int = 100) -> usage.Batch:
    """Rate one batch of a tenant's new calls."""
    async with database.transaction(Scope.platform()) as session:
        return await usage.rate_batch(session, tenant_id, limit)
