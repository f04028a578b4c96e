"""The policy of a tenant's calls and its spend cap: who may change what, and what a day's calls bring."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import select, update

from billing.rules.spending import SpendState, spend_state
from billing.spending import jobs as spending_jobs
from billing.spending import running
from infra.kit import clock
from infra.kit.database import Scope
from infra.kit.jobs import Runtime
from infra.kit.models import AuditEntry
from switch import placements
from switch.commands import CommandFailed, LiveLeg, Outcome, Verdict
from switch.models import Node
from tests.api import Api
from tests.journeys.desk import Desk
from tests.switch.exchange import call_record
from tests.tenancy.people_world import joined, quick_passwords
from tests.world import LANDLINE, MOBILE, Answered, Customer, Refused, World

ABROAD = "0012025550123"
EMERGENCY = "110"


@pytest.fixture
async def world(api: Api) -> World:
    return await World.open(api)


@pytest.fixture
async def customer(world: World) -> Customer:
    """Two open seats; a minute to a mobile costs 0.1234, a landline 0.10 and 0.30 a minute."""
    await world.has_prices()
    return await world.tenant(opened="2026-06-01", seats=2)


async def put(desk: Desk, path: str, body: dict[str, Any]) -> Any:
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


class Nodes:
    """What the nodes say they hold: a tenant's calls out by node; one that is not named is silent."""

    def __init__(self, customer: Customer) -> None:
        self.tenant_id = customer.tenant_id
        self.runtime = Runtime(customer.world.api.database, customer.world.api.settings)
        self.seconds: dict[str, int] = {}

    def leg_id(self, name: str) -> str:
        """Of the one call that a node holds."""
        return f"{name[-1] * 8}-0000-4000-8000-000000000000"

    async def live_calls(self, node: Node) -> tuple[LiveLeg, ...]:
        if node.name not in self.seconds:
            raise CommandFailed(node.name, Outcome("show channels as json", Verdict.NOT_SENT, "no answer"))
        began = int((clock.now() - timedelta(seconds=clock.offset_seconds() + self.seconds[node.name])).timestamp())
        leg = LiveLeg(
            leg_id=self.leg_id(node.name), name=f"{running.CARRIER_LEG}carrier", context=self.tenant_id,
            direction="outbound", callstate=running.ACTIVE, destination="8613800138000", created_epoch=str(began),
        )  # fmt: skip
        return (leg,) if self.seconds[node.name] else ()

    async def look(self) -> None:
        await spending_jobs.watch_spending(self.runtime, tenant_id=self.tenant_id)


@pytest.fixture
async def nodes(customer: Customer, monkeypatch: pytest.MonkeyPatch) -> Nodes:
    made = Nodes(customer)
    async with customer.world.api.database.transaction(Scope.platform()) as session:
        await session.execute(update(Node).values(state="active"))
    monkeypatch.setattr(spending_jobs.NodeControl, "of", lambda _: made)
    return made


async def test_a_silent_node_lifts_no_bar_and_a_higher_cap_does(customer: Customer, nodes: Nodes) -> None:
    world, seat, barred = customer.world, customer.seat(1), Refused("daily_cap_reached")
    await world.travel_to("2026-06-10 09:00")
    await may(customer, daily_cap="1.00")
    nodes.seconds = {"node-1": 600, "node-2": 0}  # 1.2340
    await nodes.look()
    assert await seat.calls(MOBILE) == barred
    nodes.seconds = {"node-2": 0}
    await nodes.look()
    assert await seat.calls(MOBILE) == barred
    # Lowering the cap is the tenant's to do, and lifts nothing; the operator decides anew, by what was seen last.
    await may(customer, customer.admin, daily_cap="0.99")
    await nodes.look()
    assert await seat.calls(MOBILE) == barred
    await may(customer, daily_cap="1.20")
    await nodes.look()
    assert await seat.calls(MOBILE) == barred
    await may(customer, daily_cap="20.00")
    await nodes.look()
    assert await seat.calls(MOBILE) == Answered()
    await may(customer, daily_cap="1.00")
    await nodes.look()
    assert await seat.calls(MOBILE) == barred
    # The node answers that the call is gone.
    nodes.seconds = {"node-1": 0, "node-2": 0}
    await nodes.look()
    assert await seat.calls(MOBILE) == Answered()
    assert len(await alerts(customer)) == 2


async def test_what_other_nodes_spend_adds_to_what_was_seen_on_a_silent_one(customer: Customer, nodes: Nodes) -> None:
    world, seat, barred = customer.world, customer.seat(1), Refused("daily_cap_reached")
    await world.travel_to("2026-06-10 09:00")
    await may(customer, daily_cap="2.00")
    nodes.seconds = {"node-1": 600, "node-2": 0}  # 1.2340
    await nodes.look()
    assert await seat.calls(MOBILE) == Answered()
    nodes.seconds = {"node-2": 600}
    for _ in range(2):
        await nodes.look()
        assert await seat.calls(MOBILE) == barred
    nodes.seconds = {"node-2": 0}
    await nodes.look()
    assert await seat.calls(MOBILE) == Answered()
    await seat.talks(MOBILE, milliseconds=6 * 60_000)  # 0.7404, of another call
    await world.work()
    await nodes.look()
    assert await seat.calls(MOBILE) == Answered()
    nodes.seconds = {"node-2": 60}
    await nodes.look()
    assert await seat.calls(MOBILE) == barred


async def test_a_call_of_a_silent_node_counts_once_when_its_record_comes(customer: Customer, nodes: Nodes) -> None:
    world, seat = customer.world, customer.seat(1)
    await world.travel_to("2026-06-10 09:00")
    await may(customer, daily_cap="2.00")
    nodes.seconds = {"node-1": 600, "node-2": 0}  # 1.2340
    await nodes.look()
    nodes.seconds = {"node-2": 0}
    began = clock.now() - timedelta(minutes=10)
    told = {"seatline_destination": "8613800138000", "seatline_gateway": "carrier", "uuid": nodes.leg_id("node-1")}
    await world.node_reports(call_record(customer.tenant_id, began_at=began, milliseconds=590_000, **told))
    await world.work()
    await nodes.look()
    assert (await customer.admin.ask(f"/v1/tenants/{customer.tenant_id}/call-policy"))["today"]["charged"] == "1.21"
    assert await seat.calls(MOBILE) == Answered()


async def test_a_node_that_was_never_heard_of_keeps_no_bar(customer: Customer, nodes: Nodes) -> None:
    world, seat = customer.world, customer.seat(1)
    async with world.api.database.transaction(Scope.platform()) as session:
        await session.execute(update(Node).where(Node.name == "node-2").values(state="joining"))
    await world.travel_to("2026-06-10 09:00")
    await may(customer, daily_cap="1.00")
    nodes.seconds = {"node-1": 600}
    await nodes.look()
    assert await seat.calls(MOBILE) == Refused("daily_cap_reached")
    nodes.seconds = {"node-1": 0}
    await nodes.look()
    assert await seat.calls(MOBILE) == Answered()


async def test_a_dead_node_lifts_no_bar_and_a_new_day_does(customer: Customer, nodes: Nodes) -> None:
    world, seat = customer.world, customer.seat(1)
    await world.travel_to("2026-06-10 09:00")
    await may(customer, daily_cap="1.00")
    nodes.seconds = {"node-1": 0, "node-2": 600}
    await nodes.look()
    async with world.api.database.transaction(Scope.platform()) as session:
        await session.execute(update(Node).where(Node.name == "node-2").values(state="dead"))
    nodes.seconds = {"node-1": 0}
    await nodes.look()
    assert await seat.calls(MOBILE) == Refused("daily_cap_reached")
    clock.travel_to(clock.local_midnight(date(2026, 6, 11)))
    await nodes.look()
    assert await seat.calls(MOBILE) == Answered()


async def test_calls_that_were_left_on_the_node_before_a_move_count(customer: Customer, nodes: Nodes) -> None:
    world, seat = customer.world, customer.seat(1)
    await world.travel_to("2026-06-10 09:00")
    await may(customer, daily_cap="1.00")
    home = await seat.node()
    other = "node-2" if home == "node-1" else "node-1"
    async with world.api.database.transaction(Scope.platform()) as session:
        await placements.move(session, customer.tenant_id, other, reason="test")
    nodes.seconds = {home: 600, other: 0}
    await nodes.look()
    assert await seat.calls(MOBILE) == Refused("daily_cap_reached")


async def test_an_operators_person_widens_a_policy_on_a_visit(
    api: Api, customer: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick_passwords(monkeypatch)
    client = await api.client("platform_operator")
    person = await joined(api, client, "ops@platform.example", role="platform_operator")
    path = f"/v1/tenants/{customer.tenant_id}/call-policy"
    own = {"cookie": person.cookie, "x-csrf-token": person.csrf_token, "origin": "http://127.0.0.1:8300"}
    assert (await person.http.put(path, json={"countries": ["CN", "US"]}, headers=own)).status_code == 403
    made = await person.post(f"/v1/tenants/{customer.tenant_id}/visits", {"reason": "they asked for it"})
    visiting = own | {"seatline-visit": made.json()["visit_id"]}
    for cap in ("10.00", "20.00"):
        changed = await person.http.put(path, json={"countries": ["CN", "US"], "daily_cap": cap}, headers=visiting)
        assert (changed.status_code, changed.json()["daily_cap"]) == (200, cap)
    assert await customer.seat(1).calls(ABROAD) == Answered()


async def test_the_platforms_policy_counts_where_a_tenant_has_none_of_its_own(customer: Customer) -> None:
    operator, seat = customer.world.operator, customer.seat(1)
    assert await seat.calls(ABROAD) == Refused("country_not_allowed")
    await put(operator, "/v1/call-policy", {"countries": ["CN", "US"], "barred_prefixes": ["+1900", "96"]})
    assert await seat.calls(ABROAD) == Answered()
    assert await seat.calls("96110") == Refused("destination_barred")
    await may(customer, countries=["CN"], barred_prefixes=["+86138"], premium_allowed=True)
    assert await seat.calls(ABROAD) == Refused("country_not_allowed")
    assert await seat.calls(MOBILE) == Refused("destination_barred")
    assert await seat.calls("16812345") == Answered()
    shown = await may(customer, countries=None, barred_prefixes=None)
    assert (shown["countries"], shown["barred_prefixes"]) == (["CN", "US"], ["+1900", "96"])
    assert shown["own"]["countries"] is None
    back = await put(operator, "/v1/call-policy", {"countries": None, "barred_prefixes": None})
    assert (back["countries"], back["barred_prefixes"]) == (["CN"], [])
    assert await operator.ask("/v1/call-policy") == back
    assert await seat.calls(MOBILE) == Answered()


async def test_a_tenant_tightens_its_policy_and_cannot_widen_it(customer: Customer) -> None:
    path, admin = f"/v1/tenants/{customer.tenant_id}/call-policy", customer.admin
    tight = await may(
        customer, admin, calls_per_tenant=3, calls_per_seat=1, calls_per_second=2, countries=[], daily_cap="5.00",
        barred_prefixes=["+86138"], short_codes_allowed=False,
    )  # fmt: skip
    assert (tight["calls_per_tenant"], tight["countries"], tight["daily_cap"]) == (3, [], "5.00")
    wider: dict[str, Any] = {
        "calls_per_tenant": None, "calls_per_seat": 2, "calls_per_second": 3, "countries": ["CN"],
        "daily_cap": "5.01", "barred_prefixes": [], "short_codes_allowed": True, "premium_allowed": True,
        "forwarding": ["+8613800138000"],
    }  # fmt: skip
    for field, value in wider.items():
        assert await refused(admin, path, {field: value}) == (422, "call_policy_widened", field)
    assert await refused(admin, path, {"daily_cap": None}) == (422, "call_policy_widened", "daily_cap")
    # One setting that is not allowed changes none of the others.
    assert (await refused(admin, path, {"calls_per_second": 1, "countries": ["US"]}))[0] == 422
    assert await admin.ask(path) == tight
    viewer = await customer.world.desk("tenant_viewer", customer.tenant_id)
    assert (await viewer.get(path)).status_code == 200
    assert (await refused(viewer, path, {"calls_per_second": 1}))[0] == 403
    assert (await refused(customer.world.finance, path, {"calls_per_second": 1}))[0] == 403
    assert (await refused(admin, "/v1/call-policy", {}))[0] == 403
    assert (await customer.admin.get("/v1/call-policy")).status_code == 403


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ({"calls_per_seat": 0}, "invalid_input", "calls_per_seat"),
        ({"calls_per_second": -1}, "invalid_input", "calls_per_second"),
        ({"calls_per_tenant": 100_001}, "invalid_input", "calls_per_tenant"),
        ({"countries": ["XX"]}, "invalid_input", "countries"),
        ({"countries": ["cn"]}, "invalid_input", "countries"),
        ({"countries": ["CN"] * 501}, "invalid_input", "countries"),
        ({"barred_prefixes": ["0086168"]}, "invalid_input", "barred_prefixes"),
        ({"barred_prefixes": [""]}, "invalid_input", "barred_prefixes"),
        ({"forwarding": ["110"]}, "invalid_input", "forwarding"),
        ({"forwarding": ["95588"]}, "invalid_input", "forwarding"),
        ({"forwarding": ["+86138"]}, "invalid_input", "forwarding"),
        ({"daily_cap": "-1.00"}, "spend_cap_refused", "daily_cap"),
        ({"daily_cap": "1.001"}, "spend_cap_refused", "daily_cap"),
        ({"daily_cap": "much"}, "spend_cap_refused", "daily_cap"),
    ],
)
async def test_what_is_no_policy_is_refused_by_its_field(
    world: World, body: dict[str, Any], code: str, field: str
) -> None:
    tenant = await world.operator.does("/v1/tenants", {"name": "新客户", "sip_domain": "new.example.com"})
    path = f"/v1/tenants/{tenant['tenant_id']}/call-policy"
    assert await refused(world.operator, path, body) == (422, code, field)
    assert (await refused(world.operator, path, {"daily_cap": 5}))[0] == 400
    assert (await refused(world.operator, path, {"unheard_of": 1}))[0] == 400


async def test_another_tenants_policy_does_not_exist(customer: Customer) -> None:
    other = await customer.world.signs(seats=1, opens="2026-07-01")
    path = f"/v1/tenants/{other.tenant_id}/call-policy"
    assert (await customer.admin.get(path)).status_code == 404
    assert (await refused(customer.admin, path, {"calls_per_second": 1}))[0] == 404
    assert (await refused(customer.world.operator, "/v1/tenants/ten_none/call-policy", {}))[0] == 404
    assert (await customer.admin.get("/v1/spend-alerts", tenant_id=other.tenant_id)).status_code == 404


async def test_refused_calls_are_listed_with_their_reason_for_the_tenant_and_the_operator(customer: Customer) -> None:
    world, seat = customer.world, customer.seat(1)
    await world.travel_to("2026-06-10 09:00")
    await seat.talks(MOBILE, milliseconds=1_000)
    record = await seat.record(MOBILE, milliseconds=0)
    record["variables"] |= {"seatline_leg": "caller", "seatline_refusal": "country_not_allowed"}
    await world.node_reports(record, await seat.node())
    for desk in (customer.admin, world.operator):
        [call] = (await desk.ask("/v1/calls", refused="true"))["items"]
        assert call["refusal"] == "country_not_allowed"
        assert call["refusal_explanation"] == "Calls to this country are not allowed."
        [call] = (await desk.ask("/v1/calls", refused="false"))["items"]
        assert (call["refusal"], call["refusal_explanation"]) == (None, None)


async def alerts(customer: Customer) -> list[dict[str, Any]]:
    """What the tenant sees of them, the newest first."""
    return (await customer.admin.ask("/v1/spend-alerts"))["items"]


async def audited(customer: Customer) -> set[str]:
    async with customer.world.api.database.transaction(Scope.platform()) as session:
        query = select(AuditEntry.action).where(AuditEntry.tenant_id == customer.tenant_id)
        return set((await session.execute(query)).scalars())
