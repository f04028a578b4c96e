"""The spend cap between a call's end and its charge: nothing is forgotten or counts twice, and no bar is for ever."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import update

from billing.spending import running
from billing.spending.ended import calls_on
from billing.spending.seen import UNRECORDED_FOR, SeenLeg, as_stored, kept, read_stored
from infra.kit import clock
from infra.kit.database import Scope
from switch.commands import LiveLeg
from switch.models import Node
from tests.api import Api
from tests.billing.spending_world import Nodes, alerts, audited, may, renter
from tests.switch.builders import running_leg
from tests.world import MOBILE, Answered, Customer, Refused, World

BARRED = Refused("daily_cap_reached")
NOW = datetime(2026, 6, 10, 1, tzinfo=UTC)
EARLIER = NOW - timedelta(minutes=5)
COST = Decimal("1.2340")


@pytest.fixture
async def world(api: Api) -> World:
    return await World.open(api)


@pytest.fixture
async def customer(world: World) -> Customer:
    made = await renter(world)
    await world.travel_to("2026-06-10 09:00")
    await may(made, daily_cap="1.00")
    return made


@pytest.fixture
async def nodes(customer: Customer, monkeypatch: pytest.MonkeyPatch) -> Nodes:
    return await Nodes.instead(customer, monkeypatch)


@pytest.mark.parametrize(
    ("before", "listed", "silent", "after"),
    [
        (None, True, False, SeenLeg("node-1", COST)),
        (SeenLeg("node-1", Decimal("0.1")), True, False, SeenLeg("node-1", COST)),
        (SeenLeg("node-1", COST, EARLIER), True, False, SeenLeg("node-1", COST)),
        (SeenLeg("node-1", COST), False, False, SeenLeg("node-1", COST, NOW)),
        (SeenLeg("node-1", COST, EARLIER), False, False, SeenLeg("node-1", COST, EARLIER)),
        (SeenLeg("node-1", COST, NOW - UNRECORDED_FOR), False, False, None),
        (SeenLeg("node-1", COST), False, True, SeenLeg("node-1", COST)),
        (SeenLeg("node-1", COST, EARLIER), False, True, SeenLeg("node-1", COST, EARLIER)),
        (SeenLeg("node-1", COST, NOW - UNRECORDED_FOR), False, True, None),
    ],
)
def test_what_was_seen_counts_until_its_record_comes(
    before: SeenLeg | None, listed: bool, silent: bool, after: SeenLeg | None
) -> None:
    seen = {} if before is None else {"leg-1": before}
    now = {"node-1": {"leg-1": COST}} if listed else {"node-1": {}}
    quiet = {"node-1"} if silent else set[str]()
    found = kept(seen, now, silent=quiet, recorded=(), now=NOW)
    assert found == ({} if after is None else {"leg-1": after})
    assert kept(seen, now, silent=quiet, recorded={"leg-1"}, now=NOW) == {}
    assert read_stored(as_stored(found)) == found


async def test_the_end_of_a_call_lifts_no_bar_before_its_charge(customer: Customer, nodes: Nodes) -> None:
    world, seat = customer.world, customer.seat(1)
    nodes.seconds = {"node-1": 600, "node-2": 0}  # 1.2340
    await nodes.look()
    assert await seat.calls(MOBILE) == BARRED
    nodes.seconds = {"node-1": 0, "node-2": 0}
    await nodes.look()
    assert await seat.calls(MOBILE) == BARRED
    await nodes.report("node-1", milliseconds=600_000)
    await nodes.look()
    assert await seat.calls(MOBILE) == BARRED
    await world.work()
    await nodes.look()
    assert await seat.calls(MOBILE) == BARRED
    (reached, _) = await alerts(customer)
    assert reached["charged"] == "0.00"
    assert Decimal("1.23") <= Decimal(reached["running"]) <= Decimal("1.25")


async def test_a_call_that_nobody_saw_running_counts_while_it_waits_for_its_charge(
    customer: Customer, nodes: Nodes
) -> None:
    nodes.seconds = {"node-1": 0, "node-2": 0}
    await nodes.report("node-1", milliseconds=600_000)
    await nodes.look()
    assert await customer.seat(1).calls(MOBILE) == BARRED
    async with customer.world.api.database.transaction(Scope.platform()) as session:
        yesterday = await calls_on(session, customer.tenant_id, date(2026, 6, 9), [])
        today = await calls_on(session, customer.tenant_id, date(2026, 6, 10), [nodes.leg_id("node-1"), "other"])
    assert (yesterday.charged, yesterday.waiting, yesterday.recorded) == (Decimal(0), Decimal(0), frozenset())
    assert (today.charged, today.waiting, today.recorded) == (Decimal(0), COST, {nodes.leg_id("node-1")})


@pytest.mark.parametrize("state", ["active", "left"])
async def test_a_call_whose_record_never_comes_bars_for_a_quarter_of_an_hour(
    customer: Customer, nodes: Nodes, state: str
) -> None:
    home = await customer.seat(1).node()
    other = "node-2" if home == "node-1" else "node-1"
    nodes.seconds = {home: 0, other: 600}
    await nodes.look()
    async with customer.world.api.database.transaction(Scope.platform()) as session:
        await session.execute(update(Node).where(Node.name == other).values(state=state))
    nodes.seconds = {home: 0, other: 0}
    for passed, expected in (
        (timedelta(0), BARRED),
        (timedelta(minutes=14), BARRED),
        (timedelta(minutes=16), Answered()),
    ):
        clock.travel_to(clock.local_midnight(date(2026, 6, 10)) + timedelta(hours=9) + passed)
        await nodes.look()
        assert await customer.seat(1).calls(MOBILE) == expected


async def test_a_charged_call_that_a_list_still_names_counts_once(customer: Customer, nodes: Nodes) -> None:
    await may(customer, daily_cap="2.00")
    await nodes.report("node-1", milliseconds=600_000)
    await customer.world.work()
    nodes.seconds = {"node-1": 600, "node-2": 0}
    await nodes.look()
    assert await customer.seat(1).calls(MOBILE) == Answered()
    assert await alerts(customer) == []


async def test_a_raised_cap_warns_and_bars_with_a_word_again(customer: Customer, nodes: Nodes) -> None:
    async def told() -> list[tuple[str, str]]:
        return sorted((each["kind"], each["daily_cap"]) for each in await alerts(customer))

    for cap, seconds, expected in (
        ("1.00", 600, [("cap_reached", "1.00"), ("warning", "1.00")]),
        ("0.50", 600, [("cap_reached", "1.00"), ("warning", "1.00")]),
        ("10.00", 4_200, [("cap_reached", "1.00"), ("warning", "10.00")]),
        ("10.00", 6_000, [("cap_reached", "10.00"), ("warning", "10.00")]),
    ):
        await may(customer, daily_cap=cap)
        nodes.seconds = {"node-1": seconds, "node-2": 0}
        await nodes.look()
        assert await told() == expected
    assert {"spending.warning", "spending.cap_reached"} <= await audited(customer)


async def test_a_call_answered_after_midnight_counts_while_it_runs_and_one_before_it_does_not(
    customer: Customer, nodes: Nodes
) -> None:
    midnight = clock.local_midnight(date(2026, 6, 11))
    clock.travel_to(midnight + timedelta(minutes=30))
    on_machine = timedelta(seconds=clock.offset_seconds())
    began = midnight - timedelta(seconds=20) - on_machine
    answers = {"before": -5, "after": 10, "ringing": None}
    async with customer.world.api.database.transaction(Scope.platform()) as session:
        for leg_id, seconds in answers.items():
            answered = None if seconds is None else midnight + timedelta(seconds=seconds) - on_machine
            session.add(running_leg(customer.tenant_id, "node-1", leg_id, started_at=began, answered_at=answered))
    created = str(int(began.timestamp()))
    legs = [
        LiveLeg(leg_id=leg_id, destination="8613800138000", created_epoch=created) for leg_id in (*answers, "unknown")
    ]
    async with customer.world.api.database.transaction(Scope.platform()) as session:
        found = await running.estimate(session, customer.tenant_id, {"node-1": legs}, clock.today())
    assert [*found] == ["node-1"]
    assert [*found["node-1"]] == ["after"]
    assert Decimal("3.68") < found["node-1"]["after"] < Decimal("3.70"), "29 minutes and 50 seconds"


async def test_a_look_that_midnight_overtakes_changes_nothing(
    customer: Customer, nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = running.live_legs
    midnight = clock.local_midnight(date(2026, 6, 11))

    async def until_midnight(*arguments: object) -> running.LiveCosts:
        found = await asked(*arguments)  # pyright: ignore[reportArgumentType]
        clock.travel_to(midnight)
        return found

    nodes.seconds = {"node-1": 600, "node-2": 0}
    clock.travel_to(midnight - timedelta(seconds=1))
    monkeypatch.setattr(running, "live_legs", until_midnight)
    await nodes.look()
    assert await alerts(customer) == []
    assert await customer.seat(1).calls(MOBILE) == Answered()
