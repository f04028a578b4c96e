"""What a tenant's calls may do (clause C18): the pure rules, in words and for every number that can be dialled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switch import call_policy
from switch.admission import (
    SIP_ANSWERS,
    Limit,
    Reason,
    SeatView,
    Standing,
    TenantView,
    admit_destination,
    admit_relay,
    limits,
)
from switch.call_policy import HOUSE_POLICY, CallPolicy, is_prefix, of_tenant, read_policy, widened
from switch.numbers import E164, EMERGENCY_NUMBERS, ShortCode, normalise
from switch.refusal_words import EXPLANATIONS, explain
from switch.routing import (
    EMERGENCY_CONTEXT,
    Call,
    CanaryRoute,
    Direction,
    EmergencyRoute,
    GatewayRoute,
    Origin,
    RefusedRoute,
    SeatRoute,
    route,
)
from tests.switch.builders import CARRIER, DAY, NODE, NUMBER, TENANT, from_gateway, from_seat, tenant

LANDLINE, MOBILE, BANK = "861064012345", "8613800138000", "95588"

OWN_NOTHING = {
    "calls_per_tenant": None,
    "calls_per_seat": None,
    "calls_per_second": None,
    "countries": None,
    "barred_prefixes": [],
    "premium_allowed": None,
    "short_codes_allowed": None,
    "forwarding": [],
    "cap_reached_on": None,
}


def reason_for(dialled: str, policy: CallPolicy = HOUSE_POLICY, *, on: date = DAY) -> Reason | None:
    destination = normalise(dialled)
    assert isinstance(destination, E164 | ShortCode)
    return admit_destination(destination, policy, on=on)


@pytest.mark.parametrize("dialled", ["13800138000", "01064012345", "400-812-3456", "95588", "01095588", "10086"])
def test_at_home_everything_may_be_called(dialled: str) -> None:
    assert reason_for(dialled) is None


@pytest.mark.parametrize(
    "dialled", ["+1 202 555 0123", "0012025550123", "+85221234567", "0085221234567", "+8821612345678", "+18765550123"]
)
def test_another_country_may_not_be_called_unless_it_is_on_the_list(dialled: str) -> None:
    assert reason_for(dialled) is Reason.COUNTRY_NOT_ALLOWED
    everywhere = replace(HOUSE_POLICY, countries=frozenset({"CN", "US", "JM", "HK", "001"}))
    assert reason_for(dialled, everywhere) is None


def test_one_country_code_of_several_countries_opens_only_the_country_that_is_meant() -> None:
    policy = replace(HOUSE_POLICY, countries=frozenset({"CN", "US"}))
    assert reason_for("+12025550123", policy) is None
    assert reason_for("+18765550123", policy) is Reason.COUNTRY_NOT_ALLOWED


PREMIUM_BEHIND_AREA_CODE = ("01016812345", "+861016812345", "0755-16812345", "02116012345")


@pytest.mark.parametrize("dialled", ["16812345", "+8616812345", "008616812345", "16012345", *PREMIUM_BEHIND_AREA_CODE])
def test_premium_numbers_are_closed_unless_they_are_allowed(dialled: str) -> None:
    assert reason_for(dialled) is Reason.DESTINATION_PREMIUM
    assert reason_for(dialled, replace(HOUSE_POLICY, premium_allowed=True)) is None


@pytest.mark.parametrize("dialled", ["95588", "01095588", "+861095588", "0086 21 95588", "0755-95588"])
def test_a_barred_short_code_is_barred_behind_every_area_code(dialled: str) -> None:
    assert reason_for(dialled, replace(HOUSE_POLICY, barred_prefixes=("955",))) is Reason.DESTINATION_BARRED
    closed = replace(HOUSE_POLICY, short_codes_allowed=False)
    assert reason_for(dialled, closed) is Reason.SHORT_CODES_NOT_ALLOWED


@pytest.mark.parametrize("area_code", ["10", "21", "311", "571", "755", "898"])
@pytest.mark.parametrize("service", ["168", "160", "96"])
def test_no_length_of_a_services_number_gets_past_its_bar_behind_an_area_code(area_code: str, service: str) -> None:
    policy = replace(HOUSE_POLICY, barred_prefixes=(service,))
    reached = [
        normalise(f"{prefix}{area_code}{service}{rest}")
        for prefix in ("0", "+86", "0086")
        for rest in ("1", "12", "123", "1234", "12345", "81234", "888888")
    ]
    public = [each for each in reached if isinstance(each, E164 | ShortCode)]
    assert {admit_destination(each, policy, on=DAY) for each in public} <= {Reason.DESTINATION_BARRED}


@pytest.mark.parametrize("dialled", ["010 6401 2345", "0311 8601 2345", "010 5916 8123", "021 2168 1234"])
def test_a_subscriber_is_no_service_whatever_its_number_holds(dialled: str) -> None:
    closed = replace(HOUSE_POLICY, short_codes_allowed=False, barred_prefixes=("168", "96"))
    assert reason_for(dialled, closed) is None


def test_a_bar_of_public_numbers_and_one_of_short_codes_do_not_meet() -> None:
    assert reason_for("10086", replace(HOUSE_POLICY, barred_prefixes=("+100", "+1"))) is None
    assert reason_for("01064012345", replace(HOUSE_POLICY, barred_prefixes=("8610", "86"))) is None
    assert reason_for("01064012345", replace(HOUSE_POLICY, barred_prefixes=("+8610",))) is Reason.DESTINATION_BARRED


def test_a_cap_that_is_used_up_holds_for_its_day_and_no_other() -> None:
    policy = replace(HOUSE_POLICY, cap_reached_on=DAY)
    assert reason_for("13800138000", policy) is Reason.DAILY_CAP_REACHED
    assert reason_for("95588", policy) is Reason.DAILY_CAP_REACHED
    assert reason_for("13800138000", policy, on=DAY + timedelta(days=1)) is None
    assert isinstance(route(from_seat("1002"), tenant(policy=policy)), SeatRoute)


def test_limits_are_counted_first_by_the_second_then_for_the_tenant_then_for_each_seat() -> None:
    policy = CallPolicy(calls_per_tenant=10, calls_per_seat=2, calls_per_second=5)
    assert limits(tenant(policy=policy), ("1001", "1002")) == (
        Limit(Reason.TOO_MANY_CALLS_A_SECOND, "attempts", 5, 1),
        Limit(Reason.TOO_MANY_CALLS, "calls", 10),
        Limit(Reason.TOO_MANY_CALLS_OF_SEAT, "seat-1001", 2),
        Limit(Reason.TOO_MANY_CALLS_OF_SEAT, "seat-1002", 2),
    )
    unlimited = tenant(policy=replace(policy, calls_per_tenant=None))
    assert "calls" not in {each.resource for each in limits(unlimited, ())}


def test_what_still_runs_where_the_tenant_was_served_before_leaves_the_fewer() -> None:
    policy = CallPolicy(calls_per_tenant=10, calls_per_seat=2, calls_per_second=5)
    seats = {"1001": SeatView("1001", "seat_1", is_open=True, calls_elsewhere=3)}
    moved = replace(tenant(policy=policy), calls_elsewhere=4, seats=seats)
    assert [(each.resource, each.most) for each in limits(moved, ("1001", "1002"))] == [
        ("attempts", 5),
        ("calls", 6),
        ("seat-1001", 0),
        ("seat-1002", 2),
    ]


@pytest.mark.parametrize(
    ("call", "seats"),
    [
        (from_seat("1002"), ["seat-1001", "seat-1002"]),
        (from_seat("13800138000"), ["seat-1001"]),
        (from_gateway(NUMBER), ["seat-1001"]),
    ],
)
def test_every_call_is_counted_for_its_tenant_and_for_the_seats_that_take_part(call: Call, seats: list[str]) -> None:
    outcome = route(call, TENANT)
    assert not isinstance(outcome, RefusedRoute | EmergencyRoute | CanaryRoute)
    assert [each.resource for each in outcome.limits] == ["attempts", "calls", *seats]


def sent_on(dialled: str, *, ran: Direction | None = Direction.INBOUND, context: str = "ten_a") -> Call:
    return Call(Origin.SENT_ON, NODE, context, dialled, DAY, gateways=CARRIER, seat_id="seat_1", ran=ran)


@pytest.mark.parametrize("ran", [Direction.INBOUND, Direction.OUTBOUND])
def test_a_party_from_outside_may_be_sent_to_a_colleague(ran: Direction) -> None:
    outcome = route(sent_on("1002", ran=ran), TENANT)
    assert isinstance(outcome, SeatRoute)
    assert (outcome.extension, outcome.direction) == ("1002", ran)
    assert [each.resource for each in outcome.limits] == ["attempts", "calls", "seat-1002"]


@pytest.mark.parametrize("ran", [Direction.INBOUND, Direction.OUTBOUND])
@pytest.mark.parametrize("dialled", ["13800138000", "+8613800138000", "95588", "01095588", "4008123456"])
def test_a_party_from_outside_may_not_leave_to_outside(dialled: str, ran: Direction) -> None:
    outcome = route(sent_on(dialled, ran=ran), TENANT)
    assert isinstance(outcome, RefusedRoute)
    assert (outcome.reason, outcome.direction) == (Reason.RELAYING_NOT_ALLOWED, ran)


def test_forwarding_opens_the_numbers_of_the_list_and_none_that_begins_like_them() -> None:
    view = tenant(policy=replace(HOUSE_POLICY, forwarding=frozenset({LANDLINE})))
    outcome = route(sent_on("010 6401 2345"), view)
    assert isinstance(outcome, GatewayRoute)
    assert (outcome.number, outcome.caller_number) == (LANDLINE, NUMBER)
    assert outcome.party.seat is not None
    assert outcome.party.seat.seat_id == "seat_1"
    assert isinstance(route(sent_on("010 6401 2346"), view), RefusedRoute)


def test_what_may_be_forwarded_still_keeps_every_other_rule() -> None:
    policy = replace(HOUSE_POLICY, forwarding=frozenset({MOBILE, "12025550123"}))
    mobile, abroad = E164(MOBILE), E164("12025550123")
    assert admit_relay(mobile, policy, on=DAY) is None
    assert admit_relay(abroad, policy, on=DAY) is Reason.COUNTRY_NOT_ALLOWED
    assert admit_relay(mobile, replace(policy, barred_prefixes=("+86138",)), on=DAY) is Reason.DESTINATION_BARRED
    assert admit_relay(mobile, replace(policy, cap_reached_on=DAY), on=DAY) is Reason.DAILY_CAP_REACHED
    assert admit_relay(ShortCode(BANK), policy, on=DAY) is Reason.RELAYING_NOT_ALLOWED


@pytest.mark.parametrize("dialled", ["1002", "13800138000"])
def test_nobody_of_a_suspended_tenant_is_sent_anywhere(dialled: str) -> None:
    policy = replace(HOUSE_POLICY, forwarding=frozenset({MOBILE}))
    outcome = route(sent_on(dialled), tenant(standing=Standing.SUSPENDED, policy=policy))
    assert isinstance(outcome, RefusedRoute)
    assert outcome.reason is Reason.TENANT_SUSPENDED


@pytest.mark.parametrize("ran", [None, Direction.EMERGENCY, Direction.INTERNAL])
def test_a_call_for_help_cannot_be_turned_into_another_call(ran: Direction | None) -> None:
    outcome = route(sent_on("1002", ran=ran), TENANT)
    assert isinstance(outcome, RefusedRoute)
    assert outcome.reason is Reason.RELAYING_NOT_ALLOWED
    assert isinstance(route(sent_on("110", ran=ran), TENANT), EmergencyRoute)


TIGHTEST = CallPolicy(
    calls_per_tenant=1,
    calls_per_seat=1,
    calls_per_second=1,
    countries=frozenset(),
    barred_prefixes=("+", "0", "1", "2", "9"),
    short_codes_allowed=False,
    cap_reached_on=DAY,
)
POLICIES = st.sampled_from([HOUSE_POLICY, TIGHTEST, replace(TIGHTEST, countries=frozenset({"CN"}))])
PREFIXES_OF_HELP = st.sampled_from(["", "0", "+86", "0086", "+860", "+86 ", "00 86 0"])
DIALLED = st.one_of(
    st.text(alphabet="0123456789+-() ", max_size=18),
    st.integers(10**9, 10**11).map(str),
    st.sampled_from(["+", "00", "0", "+86", "0086"]).flatmap(
        lambda head: st.integers(10**4, 10**12).map(lambda tail: f"{head}{tail}")
    ),
)


@given(
    policy=POLICIES,
    standing=st.sampled_from(list(Standing)),
    prefix=PREFIXES_OF_HELP,
    service=st.sampled_from(sorted(EMERGENCY_NUMBERS)),
    extension=st.sampled_from(["1001", "1003", "1999"]),
    in_emergency_context=st.booleans(),
)
def test_nothing_ever_refuses_an_emergency_call_and_nothing_counts_it(
    *, policy: CallPolicy, standing: Standing, prefix: str, service: str, extension: str, in_emergency_context: bool
) -> None:
    view, context = tenant(policy=policy, standing=standing), EMERGENCY_CONTEXT if in_emergency_context else "ten_a"
    outcome = route(from_seat(prefix + service, extension=extension, context=context, node="node-2"), view)
    assert isinstance(outcome, EmergencyRoute)
    assert outcome.number.digits == service


@given(
    policy=POLICIES,
    standing=st.sampled_from([Standing.UNOPENED, Standing.SUSPENDED, Standing.CLOSED]),
    dialled=DIALLED,
    makes=st.sampled_from([from_seat, from_gateway, sent_on]),
)
def test_a_tenant_that_is_not_active_never_gets_through(
    policy: CallPolicy, standing: Standing, dialled: str, makes: Callable[[str], Call]
) -> None:
    view = tenant(policy=replace(policy, forwarding=frozenset({MOBILE})), standing=standing)
    assert isinstance(route(makes(dialled), view), RefusedRoute | EmergencyRoute)


@given(dialled=DIALLED)
def test_whatever_is_dialled_leaves_only_to_the_countries_allowed(dialled: str) -> None:
    outcome = route(from_seat(dialled), TENANT)
    if isinstance(outcome, GatewayRoute):
        assert outcome.number.startswith("86") or isinstance(normalise(dialled), ShortCode)
    tightest = route(from_seat(dialled), tenant(policy=TIGHTEST))
    assert not isinstance(tightest, GatewayRoute)


@given(dialled=DIALLED)
def test_nothing_from_outside_leaves_to_outside(dialled: str) -> None:
    assert not isinstance(route(from_gateway(dialled), TENANT), GatewayRoute)
    assert not isinstance(route(sent_on(dialled), TENANT), GatewayRoute)


def test_a_tenants_settings_stand_in_place_of_the_platforms_and_bars_add_up() -> None:
    platform = replace(HOUSE_POLICY, barred_prefixes=("+861",), calls_per_tenant=50)
    assert of_tenant(platform, None) == platform
    assert of_tenant(platform, OWN_NOTHING) == platform
    own = OWN_NOTHING | {"calls_per_tenant": 5, "countries": ["HK"], "barred_prefixes": ["96"], "forwarding": [MOBILE]}
    policy = of_tenant(platform, own | {"cap_reached_on": "2026-07-01"})
    assert (policy.calls_per_tenant, policy.countries) == (5, frozenset({"HK"}))
    assert policy.barred_prefixes == ("+861", "96")
    assert (policy.forwarding, policy.cap_reached_on) == (frozenset({MOBILE}), DAY)


def test_without_a_row_the_house_has_a_policy_that_keeps_the_world_outside() -> None:
    assert read_policy(None) == HOUSE_POLICY
    assert HOUSE_POLICY.countries == {"CN"}
    assert not HOUSE_POLICY.premium_allowed
    assert HOUSE_POLICY.forwarding == frozenset()


@pytest.mark.parametrize(
    ("change", "setting"),
    [
        ({"calls_per_tenant": None}, "calls_per_tenant"),
        ({"calls_per_seat": 99}, "calls_per_seat"),
        ({"calls_per_second": 99}, "calls_per_second"),
        ({"countries": frozenset({"CN", "US"})}, "countries"),
        ({"barred_prefixes": ()}, "barred_prefixes"),
        ({"barred_prefixes": ("+861688",)}, "barred_prefixes"),
        ({"premium_allowed": True}, "premium_allowed"),
        ({"forwarding": frozenset({MOBILE})}, "forwarding"),
    ],
)
def test_more_than_before_is_called_wider_by_its_name(change: dict[str, object], setting: str) -> None:
    before = replace(HOUSE_POLICY, barred_prefixes=("+86168",))
    after = replace(before, **change)  # pyright: ignore[reportArgumentType]
    assert widened(before, after) == setting
    assert widened(after, before) is None or setting == "barred_prefixes"
    assert widened(before, before) is None


def test_a_shorter_bar_bars_more() -> None:
    before = replace(HOUSE_POLICY, barred_prefixes=("+86168",))
    assert widened(before, replace(before, barred_prefixes=("+86",))) is None


@pytest.mark.parametrize("text", ["+86168", "+1", "96", "95588"])
def test_prefixes_of_numbers_and_of_short_codes(text: str) -> None:
    assert is_prefix(text)


@pytest.mark.parametrize("text", ["", "+", "0086", "+086", "8 6", "+86-1", "１", "+86168;a", "123456789", "x"])
def test_what_is_no_prefix(text: str) -> None:
    assert not is_prefix(text)


def test_every_reason_has_its_words_and_a_proper_answer() -> None:
    assert set(EXPLANATIONS) == set(Reason)
    assert explain("daily_cap_reached") == EXPLANATIONS[Reason.DAILY_CAP_REACHED]
    assert explain(None) is None
    assert explain("something of an older version") is None
    assert SIP_ANSWERS[Reason.MEDIA_NOT_ENCRYPTED].status == 488  # the offer of the phone is what is wrong
    new = set(Reason) - {Reason.UNKNOWN_NUMBER, Reason.DESTINATION_INVALID, Reason.MEDIA_NOT_ENCRYPTED}
    assert {SIP_ANSWERS[reason].status for reason in new} == {403, 486, 503}


def test_matching_looks_at_the_beginning_only() -> None:
    assert call_policy.matches("+8613800138000", ("+86138", "+86139"))
    assert not call_policy.matches("+8613800138000", ("86138", "+0138"))
    assert not call_policy.matches("+8613800138000", ())


def test_a_view_without_a_policy_has_the_houses() -> None:
    assert TenantView("ten_b", "b.example", Standing.ACTIVE, NODE).policy == HOUSE_POLICY
