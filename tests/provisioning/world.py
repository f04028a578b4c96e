"""A landlord's world for the tests: nodes with room, tenants with contracts, orders through the API, payments."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from sqlalchemy import select

from billing import contracts, payments
from infra.kit import clock, jobs
from infra.kit.database import Scope
from infra.kit.sealing import Seal
from provisioning.models import Seat, SeatOrder
from switch.models import Node, SipAccount
from tests.api import Api, Caller
from tests.jobs import failed_tasks, run_jobs
from tests.switch.cluster import add_node

TODAY = date(2026, 6, 8)
"""A Monday without a holiday near it."""


def travel(day: date, hour: int = 9) -> None:
    """Go to an hour of a local day."""
    clock.travel_to(clock.local_midnight(day) + timedelta(hours=hour))


@dataclass
class World:
    """What the tests act on."""

    api: Api
    operator: Caller

    @property
    def database_url(self) -> str:
        """Of the test's own database."""
        assert self.api.settings.database_url is not None
        return self.api.settings.database_url

    async def node(self, name: str, *, capacity: int = 1_000, state: str = "active") -> None:
        """A node's row; nobody listens behind it."""
        await add_node(self.api.database, Seal(self.api.settings.secret_key), name, state=state)
        await self.change_node(name, capacity_seats=capacity)

    async def change_node(self, name: str, **values: Any) -> None:
        """Set columns of a node, as its supervisor would."""
        async with self.api.database.transaction(Scope.platform()) as session:
            node = (await session.execute(select(Node).where(Node.name == name))).scalar_one()
            for column, value in values.items():
                setattr(node, column, value)

    async def contract(
        self,
        tenant_id: str,
        *,
        opens_on: date = TODAY,
        ends_on: date | None = None,
        preset: str = "hosted",
        terms: dict[str, object] | None = None,
    ) -> str:
        """A signed contract's id."""
        async with self.api.database.transaction(Scope.platform()) as session:
            contract = await contracts.create_contract(
                session,
                tenant_id=tenant_id,
                title="lease",
                preset=preset,
                terms=terms or {},
                opens_on=opens_on,
                ends_on=ends_on,
            )
            return contract.contract_id

    async def order(self, tenant_id: str, contract_id: str, *, caller: Caller | None = None, **body: Any) -> Any:
        """POST /v1/seat-orders; the answer."""
        whole: dict[str, Any] = {"tenant_id": tenant_id, "contract_id": contract_id, "kind": "add"} | body
        if isinstance(whole.get("effective_on"), date):
            whole["effective_on"] = whole["effective_on"].isoformat()
        return await (caller or self.operator).post("/v1/seat-orders", whole)

    async def placed(self, tenant_id: str, contract_id: str, **body: Any) -> dict[str, Any]:
        """An order that must be accepted."""
        answer = await self.order(tenant_id, contract_id, **body)
        assert answer.status_code == 201, answer.text
        return answer.json()

    async def pay(self, tenant_id: str, amount: str = "1000000.00", *, value_on: date | None = None) -> None:
        """More than enough money arrives."""
        async with self.api.database.transaction(Scope.platform()) as session:
            await payments.record(
                session,
                tenant_id=tenant_id,
                amount=amount,
                value_on=value_on or clock.today(),
                channel="bank_transfer",
                payer=None,
                reference=None,
            )

    async def work(self) -> None:
        """Let the worker do what is due; nothing of it may fail."""
        await run_jobs(self.database_url)
        assert await failed_tasks(self.database_url) == []

    async def defer(self, task: str, **arguments: Any) -> None:
        """Let the worker do one task, and what follows from it."""
        async with self.api.database.transaction(Scope.platform()) as session:
            await jobs.defer(session, task, **arguments)
        await self.work()

    async def periodic(self) -> None:
        """What the schedule starts for orders."""
        await self.defer("provisioning.advance_all_orders")

    async def opened(
        self, seats: int = 3, *, tenant_id: str | None = None, **contract: Any
    ) -> tuple[str, str, list[str]]:
        """A tenant with open seats: its id, its contract's and the seats'."""
        tenant_id = tenant_id or await self.api.tenant("renter")
        contract_id = await self.contract(tenant_id, **contract)
        order = await self.placed(tenant_id, contract_id, quantity=seats, effective_on=TODAY)
        await self.pay(tenant_id)
        await self.work()
        return tenant_id, contract_id, order["seat_ids"]

    async def seats(self, tenant_id: str) -> list[Seat]:
        """The tenant's seats and circuits by number."""
        async with self.api.database.transaction(Scope.platform()) as session:
            query = select(Seat).where(Seat.tenant_id == tenant_id).order_by(Seat.item, Seat.number)
            return list((await session.execute(query)).scalars())

    async def accounts(self, tenant_id: str) -> dict[str, SipAccount]:
        """The tenant's SIP accounts by user name."""
        async with self.api.database.transaction(Scope.platform()) as session:
            rows = (await session.execute(select(SipAccount).where(SipAccount.tenant_id == tenant_id))).scalars()
            return {row.username: row for row in rows}

    async def order_row(self, order_id: str) -> SeatOrder:
        """An order as it is now."""
        async with self.api.database.transaction(Scope.platform()) as session:
            return (await session.execute(select(SeatOrder).where(SeatOrder.order_id == order_id))).scalar_one()
