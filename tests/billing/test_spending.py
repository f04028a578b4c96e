"""A day's calls and the spend cap: the warning, the bar, and what lifts it."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import msgspec
import pytest
from cryptography.fernet import Fernet

from billing.rules.spending import SpendState, spend_state
from billing.spending import running
from infra.kit import clock
from infra.kit.database import Scope
from infra.kit.sealing import Seal
from switch.commands import LiveLeg, NodeControl
from switch.models import Node
from tests.api import Api
from tests.billing.spending_world import ABROAD, alerts, audited, may, renter
from tests.world import LANDLINE, MOBILE, Answered, Customer, Refused, World

EMERGENCY = "110"


@pytest.fixture
async def world(api: Api) -> World:
    return await World.open(api)


@pytest.fixture
async def customer(world: World) -> Customer:
    return await renter(world)


@pytest.mark.parametrize(
    ("cap", "charged", "ahead", "state"),
    [
        (None, "999999", "1", SpendState.FREE),
        ("100.00", "79.9999", "0", SpendState.FREE),
        ("100.00", "80.0000", "0", SpendState.WARNED),
        ("100.00", "60", "20", SpendState.WARNED),
        ("100.00", "99.9999", "0", SpendState.WARNED),
        ("100.00", "100.0000", "0", SpendState.REACHED),
        ("100.00", "90", "10", SpendState.REACHED),
        ("0.00", "0", "0", SpendState.REACHED),
    ],
)
def test_a_warning_at_four_fifths_and_the_bar_when_all_is_used_up(
    cap: str | None, charged: str, ahead: str, state: SpendState
) -> None:
    daily_cap = None if cap is None else Decimal(cap)
    assert spend_state(daily_cap, Decimal(charged), Decimal(ahead)) is state


async def test_a_day_runs_into_its_cap_and_the_next_is_free_again(customer: Customer) -> None:
    world, seat = customer.world, customer.seat(1)
    await world.travel_to("2026-06-10 09:00")
    await may(customer, daily_cap="1.00")
    await seat.talks(MOBILE, milliseconds=6 * 60_000)  # 0.7404
    await world.travel_to("2026-06-10 10:00")
    assert await alerts(customer) == []
    await seat.talks(MOBILE, milliseconds=60_000)  # 0.8638
    await world.travel_to("2026-06-10 11:00")
    assert [(each["kind"], each["charged"]) for each in await alerts(customer)] == [("warning", "0.86")]
    assert await seat.calls(MOBILE) == Answered()
    await seat.talks(LANDLINE, milliseconds=6_000)  # 0.10 and the first minute: 1.2638
    await world.travel_to("2026-06-10 12:00")
    assert [each["kind"] for each in await alerts(customer)] == ["cap_reached", "warning"]
    shown = await customer.admin.ask(f"/v1/tenants/{customer.tenant_id}/call-policy")
    assert shown["today"] == {
        "day": "2026-06-10", "charged": "1.26", "currency": "CNY", "is_warned": True, "is_barred": True,
    }  # fmt: skip

    barred = Refused("daily_cap_reached")
    assert [await each.calls(MOBILE) for each in (seat, customer.seat(2))] == [barred, barred]
    assert await seat.calls("95588") == barred
    assert await seat.calls(customer.seat(2).extension) == Answered()
    assert await seat.calls(EMERGENCY) == Answered()
    assert await seat.calls(ABROAD) == Refused("country_not_allowed")
    assert {"calls.barred", "spending.warning", "spending.cap_reached"} <= await audited(customer)

    clock.travel_to(clock.local_midnight(date(2026, 6, 11)) - timedelta(seconds=1))
    assert await seat.calls(MOBILE) == barred
    clock.travel_to(clock.local_midnight(date(2026, 6, 11)))
    assert await seat.calls(MOBILE) == Answered()
    await world.work()
    assert len(await alerts(customer)) == 2


async def test_a_higher_cap_lets_the_calls_out_again_at_once(customer: Customer) -> None:
    world, seat = customer.world, customer.seat(1)
    await world.travel_to("2026-06-10 09:00")
    await may(customer, daily_cap="0.10")
    await seat.talks(MOBILE, milliseconds=60_000)
    await world.travel_to("2026-06-10 10:00")
    assert await seat.calls(MOBILE) == Refused("daily_cap_reached")
    await may(customer, daily_cap="20.00")
    await world.work()
    assert await seat.calls(MOBILE) == Answered()
    await may(customer, daily_cap="0.10")
    await world.work()
    assert await seat.calls(MOBILE) == Refused("daily_cap_reached")
    await may(customer, daily_cap=None)
    await world.work()
    assert await seat.calls(MOBILE) == Answered()
    assert "calls.unbarred" in await audited(customer)
    assert len(await alerts(customer)) == 2


async def test_a_day_counts_the_calls_that_were_answered_on_it(customer: Customer) -> None:
    world, seat = customer.world, customer.seat(1)
    await world.travel_to("2026-06-11 09:00")
    await may(customer, daily_cap="0.10")
    await seat.talks(MOBILE, milliseconds=60_000, began="2026-06-10 23:59:30")  # answered at 23:59:31
    await world.travel_to("2026-06-11 10:00")
    assert await seat.calls(MOBILE) == Answered()
    await seat.talks(MOBILE, milliseconds=60_000, began="2026-06-10 23:59:59")  # answered at midnight
    await world.travel_to("2026-06-11 11:00")
    assert await seat.calls(MOBILE) == Refused("daily_cap_reached")


@pytest.mark.parametrize(
    ("changes", "counts"),
    [
        ({}, True),
        ({"callstate": "HELD"}, True),
        ({"callstate": "UNHELD"}, True),
        ({"callstate": "EARLY"}, False),
        ({"callstate": "RINGING"}, False),
        ({"direction": "inbound"}, False),
        ({"name": "sofia/internal/1001@a.example"}, False),
        ({"context": "ten_b"}, False),
        ({"destination": EMERGENCY}, False),
        ({"destination": "010110"}, False),
    ],
)
async def test_legs_towards_a_carrier_that_are_up_count_and_no_call_for_help(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, str], counts: bool
) -> None:
    leg = msgspec.structs.replace(
        LiveLeg("leg-1", "outbound", "sofia/external/8613800138000", "ACTIVE", "1001", "8613800138000", "ten_a"),
        **changes,
    )

    async def listed(_node: Node) -> tuple[LiveLeg, ...]:
        return (leg,)

    control = NodeControl(Seal(Fernet.generate_key().decode()), 1.0)
    monkeypatch.setattr(control, "live_calls", listed)
    found = await running.live_legs(control, [Node(name="node-1")], ["ten_a"])
    assert found.legs_by_tenant == ({"ten_a": {"node-1": [leg]}} if counts else {})
    assert found.silent_nodes == ()


async def test_calls_that_run_are_estimated_by_the_tenants_deck(customer: Customer) -> None:
    await customer.world.travel_to("2026-06-10 09:00")
    machine_now = (clock.now() - timedelta(seconds=clock.offset_seconds())).timestamp()

    def leg(destination: str, seconds: int, created: str | None = None) -> LiveLeg:
        began = created if created is not None else str(int(machine_now) - seconds)
        return LiveLeg(leg_id=f"leg-{seconds}", destination=destination, created_epoch=began)

    live = [leg("8613800138000", 600), leg("862161234567", 61), leg("999", 60), leg("8613800138000", 60, "soon")]
    yesterday = leg("8613800138000", 10 * 3_600)
    async with customer.world.api.database.transaction(Scope.platform()) as session:
        on_nodes = {"node-1": live[:1], "node-2": [*live[1:], yesterday]}
        found = await running.estimate(session, customer.tenant_id, on_nodes, clock.today())
        assert await running.estimate(session, customer.tenant_id, {"node-1": []}, clock.today()) == {}
    assert {node: [*legs] for node, legs in found.items()} == {"node-1": ["leg-600"], "node-2": ["leg-61"]}
    spent = sum((cost for legs in found.values() for cost in legs.values()), Decimal(0))
    least, most = Decimal("1.2340") + Decimal("0.43"), Decimal("1.2340") + Decimal("0.45")
    assert least <= spent <= most
