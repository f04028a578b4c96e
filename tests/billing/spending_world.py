"""A customer whose calls cost money: its policy, its alerts, its audit trail, and nodes that hold its calls."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Self

import pytest
from sqlalchemy import select, update

from billing.spending import jobs as spending_jobs
from billing.spending import running
from infra.kit import clock
from infra.kit.database import Scope
from infra.kit.jobs import Runtime
from infra.kit.models import AuditEntry
from switch.commands import CommandFailed, LiveLeg, Outcome, Verdict
from switch.models import Node
from tests.journeys.desk import Desk
from tests.switch.exchange import call_record
from tests.world import Customer, World

ABROAD = "0012025550123"


async def renter(world: World) -> Customer:
    """Two open seats; a minute to a mobile costs 0.1234, a landline 0.10 and 0.30 a minute."""
    await world.has_prices()
    return await world.tenant(opened="2026-06-01", seats=2)


async def put(desk: Desk, path: str, body: dict[str, Any]) -> Any:
    """The answer to a PUT that succeeds."""
    answer = await desk.send("PUT", path, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def may(customer: Customer, by: Desk | None = None, **changes: Any) -> dict[str, Any]:
    """Change what a customer's calls may do, as the operator or another desk."""
    return await put(by or customer.world.operator, f"/v1/tenants/{customer.tenant_id}/call-policy", changes)


async def refused(desk: Desk, path: str, body: dict[str, Any]) -> tuple[int, str, str | None]:
    """Status, code and field of a PUT that must not succeed."""
    answer = await desk.send("PUT", path, json=body)
    problem = answer.json()
    return answer.status_code, problem["code"], problem.get("field")


async def alerts(customer: Customer) -> list[dict[str, Any]]:
    """What the tenant sees of them, the newest first."""
    return (await customer.admin.ask("/v1/spend-alerts"))["items"]


async def audited(customer: Customer) -> set[str]:
    """What stands in the audit trail about the tenant."""
    async with customer.world.api.database.transaction(Scope.platform()) as session:
        query = select(AuditEntry.action).where(AuditEntry.tenant_id == customer.tenant_id)
        return set((await session.execute(query)).scalars())


class Nodes:
    """What the nodes say they hold: a tenant's call out by node, for how many seconds; one that is not named is silent,
    one with 0 holds none."""

    def __init__(self, customer: Customer) -> None:
        self.customer = customer
        self.runtime = Runtime(customer.world.api.database, customer.world.api.settings)
        self.seconds: dict[str, int] = {}
        self.calls: dict[str, int] = {}
        """Which call it is by node, where it is not the first."""

    @classmethod
    async def instead(cls, customer: Customer, monkeypatch: pytest.MonkeyPatch) -> Self:
        """These nodes are the ones that are asked from now on."""
        made = cls(customer)
        async with customer.world.api.database.transaction(Scope.platform()) as session:
            await session.execute(update(Node).values(state="active"))
        monkeypatch.setattr(spending_jobs.NodeControl, "of", lambda _: made)
        return made

    def leg_id(self, name: str) -> str:
        """Of the one call that a node holds."""
        return f"{name[-1] * 8}-0000-4000-8000-{self.calls.get(name, 1):012}"

    async def live_calls(self, node: Node) -> tuple[LiveLeg, ...]:
        if node.name not in self.seconds:
            raise CommandFailed(node.name, Outcome("show channels as json", Verdict.NOT_SENT, "no answer"))
        began = int((clock.now() - timedelta(seconds=clock.offset_seconds() + self.seconds[node.name])).timestamp())
        leg = LiveLeg(
            leg_id=self.leg_id(node.name), name=f"{running.CARRIER_LEG}carrier", context=self.customer.tenant_id,
            direction="outbound", callstate=running.ACTIVE, destination="8613800138000", created_epoch=str(began),
        )  # fmt: skip
        return (leg,) if self.seconds[node.name] else ()

    async def look(self) -> None:
        """Compare the tenant's day with its cap."""
        await spending_jobs.watch_spending(self.runtime, tenant_id=self.customer.tenant_id)

    async def report(self, name: str, *, milliseconds: int) -> None:
        """The record of a node's call comes, which began that long ago; it is still to be charged."""
        told = {"seatline_destination": "8613800138000", "seatline_gateway": "carrier", "uuid": self.leg_id(name)}
        began = clock.now() - timedelta(milliseconds=milliseconds)
        await self.customer.world.node_reports(
            call_record(self.customer.tenant_id, began_at=began, milliseconds=milliseconds, **told)
        )
