"""A node whose sessions are counted, for tests of completeness."""

from __future__ import annotations

import uuid
from datetime import date, datetime
from typing import Any

from infra.kit import clock
from infra.kit.database import Scope
from switch.completeness import counting, listing, reconciling, signing, watching
from switch.completeness.counting import SessionCount
from switch.completeness.hours import Hour
from switch.completeness.listing import HourFilter
from switch.completeness.watching import Leg, News
from tests.api import Api
from tests.switch.exchange import Exchange, Renter, call_record

NINE = datetime.fromisoformat("2026-07-01T09:00:00+08:00")
JULY = date(2026, 7, 1)


class Counted:
    """A node whose supervisor tells how many sessions it began, and the records of those sessions."""

    def __init__(self, exchange: Exchange, renter: Renter) -> None:
        self.exchange = exchange
        self.renter = renter
        self.database = exchange.api.database
        self.boot_id = str(uuid.uuid4())

    @classmethod
    async def open(cls, api: Api) -> Counted:
        """An exchange at nine o'clock, and a tenant on it."""
        exchange = await Exchange(api).open()
        clock.travel_to(NINE)
        return cls(exchange, await exchange.add_tenant())

    async def begins(
        self, number: int, at: datetime, *, node: str = "node-1", previous_at: datetime | None = None
    ) -> None:
        """By this time the node has begun so many sessions."""
        async with self.database.transaction(Scope.platform()) as session:
            count = SessionCount(self.boot_id, number, at)
            await counting.observe(session, node, count, added_at=previous_at or at)
        await self.exchange.change_node(node, heartbeat_at=at)

    def record(self, number: int, at: datetime = NINE) -> dict[str, Any]:
        """The call record of one of its sessions."""
        record = call_record(self.renter.tenant_id, began_at=at, session_id=str(number))
        return record | {"core-uuid": self.boot_id}

    async def reports(self, *numbers: int, at: datetime = NINE, node: str = "node-1") -> None:
        """The records of these sessions arrive."""
        for number in numbers:
            assert (await self.exchange.report(self.record(number, at), node=node)).status_code == 200

    async def sees(self, number: int, **words: Any) -> str:
        """The supervisor sees a leg that lasts; returns its id."""
        leg_id = str(uuid.uuid4())
        known: dict[str, Any] = {
            "owner_id": self.renter.tenant_id,
            "direction": "inbound",
            "caller": "1001",
            "destination": "13800138000",
            "started_at": NINE,
        }
        leg = Leg(boot_id=self.boot_id, leg_id=leg_id, session_number=number, **(known | words))
        async with self.database.transaction(Scope.platform()) as session:
            await watching.write(session, News(self.boot_id, begun={leg_id: leg}))
        return leg_id

    async def hours(self, node: str | None = None) -> list[Hour]:
        """The hours as they are counted now, the latest first."""
        await reconciling.reconcile(self.database)
        async with self.database.transaction(Scope.platform()) as session:
            return (await listing.list_hours(session, HourFilter(node=node), limit=100))[0]

    async def unreconciled(self, month: date = JULY) -> list[Hour]:
        """What keeps a month from closing."""
        async with self.database.transaction(Scope.platform()) as session:
            return await reconciling.unreconciled_hours(session, month)

    async def sign_off(self, hour: datetime = NINE, reason: str = "the disk of the node was lost") -> Hour:
        """Finance signs."""
        async with self.database.transaction(Scope.platform()) as session:
            return await signing.sign_off(session, "node-1", hour, reason)


def figures(hour: Hour) -> tuple[int, int, int, int, int, str]:
    """What was counted of an hour, and its state."""
    return hour.started, hour.accepted, hour.explained, hour.running, hour.missing, hour.state
