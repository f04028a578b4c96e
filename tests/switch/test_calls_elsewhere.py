"""A tenant that moves leaves its running calls behind; they count against its limits at the node that serves it now."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest

from infra.kit import clock
from infra.kit.database import Scope
from switch.call_policy import HOUSE_POLICY
from switch.live.models import LiveLeg, LiveNode
from tests.api import Api
from tests.switch.exchange import Exchange, Renter

MOST = HOUSE_POLICY.calls_per_seat


@pytest.fixture
async def exchange(api: Api) -> Exchange:
    return await Exchange(api).open()


async def watch(exchange: Exchange, node: str, *, seconds_ago: int = 5) -> None:
    """The live view compared itself with this node then."""
    compared_at = clock.now() - timedelta(seconds=seconds_ago)
    figures = dict.fromkeys(
        ("revision", "legs", "registrations", "unassigned", "corrections", "unknown_events", "dropped_events"), 0
    )
    seen = LiveNode(node=node, observed_at=compared_at, compared_at=compared_at, overflow=0, **figures)
    async with exchange.api.database.transaction(Scope.platform()) as session:
        session.add(seen)


async def leg(exchange: Exchange, renter: Renter, node: str, kind: str, *, seat: str) -> None:
    """A leg that the live view shows; `kind`: which one of its call, and the call's direction."""
    now, (leg, direction) = clock.now(), kind.split(" ")
    row = LiveLeg(
        tenant_id=renter.tenant_id, node=node, leg_id=f"{leg}-{direction}-{seat}", leg=leg, direction=direction,
        state="answered", other_leg_id=None, seat_id=seat, caller="", destination="", gateway=None, started_at=now,
        answered_at=now, changed_at=now,
    )  # fmt: skip
    async with exchange.api.database.transaction(Scope.platform()) as session:
        session.add(row)


async def limit_of(exchange: Exchange, renter: Renter, extension: str) -> int:
    """How many calls at once the node is told to let this seat have."""
    document = await exchange.dial(renter, "1002")
    found = re.search(rf"limit\" data=\"hash {renter.tenant_id} seat-{extension} (\d+) ", document)
    assert found is not None, document
    return int(found[1])


async def test_calls_that_run_where_the_tenant_was_served_before_count(exchange: Exchange) -> None:
    renter = await exchange.add_tenant()
    seat = renter.seats["1001"]
    await watch(exchange, "node-2")
    await leg(exchange, renter, "node-2", "caller outbound", seat=seat)
    await leg(exchange, renter, "node-2", "gateway outbound", seat=seat)
    assert await limit_of(exchange, renter, "1001") == MOST - 1, "one call, though it has two legs"
    await leg(exchange, renter, "node-2", "gateway inbound", seat=seat)
    await leg(exchange, renter, "node-2", "seat inbound", seat=seat)
    assert await limit_of(exchange, renter, "1001") == max(MOST - 2, 0)
    assert await limit_of(exchange, renter, "1002") == MOST
    for number in range(MOST + 2):
        await leg(exchange, renter, "node-2", f"seat internal-{number}", seat=seat)
    assert await limit_of(exchange, renter, "1001") == 0


async def test_the_nodes_own_calls_help_and_what_nobody_watches_any_more_do_not_count(exchange: Exchange) -> None:
    renter, other = await exchange.add_tenant(), await exchange.add_tenant()
    seat = renter.seats["1001"]
    await watch(exchange, "node-1")
    await leg(exchange, renter, "node-1", "caller outbound", seat=seat)  # the node counts it itself
    await watch(exchange, "node-2", seconds_ago=90)
    await leg(exchange, renter, "node-2", "caller outbound", seat=seat)  # the node is gone, or its supervisor
    assert await limit_of(exchange, renter, "1001") == MOST
    await watch(exchange, "node-3")
    await leg(exchange, renter, "node-3", "caller emergency", seat=seat)
    await leg(exchange, other, "node-3", "caller outbound", seat=other.seats["1001"])
    assert await limit_of(exchange, renter, "1001") == MOST


async def test_a_tenants_limit_counts_calls_and_not_their_legs(exchange: Exchange) -> None:
    renter = await exchange.add_tenant()
    operator = await exchange.api.client("platform_operator")
    changed = await operator.put(f"/v1/tenants/{renter.tenant_id}/call-policy", {"calls_per_tenant": 3})
    assert changed.status_code == 200, changed.text
    await watch(exchange, "node-2")
    for kind in ("caller internal", "seat internal", "gateway inbound", "seat inbound"):
        await leg(exchange, renter, "node-2", kind, seat=renter.seats["1002"])
    assert f"hash {renter.tenant_id} calls 1 " in await exchange.dial(renter, "13800138000")
