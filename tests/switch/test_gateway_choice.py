"""Which gateways a call is offered to, in which order, and which failures pass it on."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from switch.admission import Reason
from switch.documents import dialplan
from switch.gateway_choice import FAILOVER_CAUSES, GatewayOption, gateways_for, gateways_in_need
from switch.routing import GatewayRoute, RefusedRoute, Route, route
from switch.simulator import causes
from tests.switch.builders import TENANT, from_seat

SHANGHAI, MOBILE = "+862150001234", "+8613800138000"
NUMBERS = st.sampled_from([SHANGHAI, MOBILE, "+12025550123", "95588", "10086"])
OPTIONS = st.lists(
    st.builds(
        GatewayOption,
        name=st.sampled_from("abcdefgh"),
        prefixes=st.lists(st.sampled_from(["+86", "+8621", "+1", "955", "*"]), max_size=3).map(tuple),
        priority=st.integers(0, 3),
        weight=st.integers(1, 1_000),
        is_up=st.booleans(),
    ),
    unique_by=lambda option: option.name,
    max_size=8,
)


def names(number: str, *options: GatewayOption, draw: str = "call") -> list[str]:
    return [attempt.gateway for attempt in gateways_for(number, options, draw=draw)]


def steps(found: Route) -> list[tuple[str, str]]:
    document = ElementTree.fromstring(dialplan("ten_a", found))  # noqa: S314 - our own rendering
    return [(item.get("application", ""), item.get("data", "")) for item in document.iter("action")]


def test_the_longest_prefix_comes_first_then_the_lowest_priority() -> None:
    everything = GatewayOption("everything", priority=1)
    china = GatewayOption("china", ("+86", "955"), priority=50)
    local = GatewayOption("local", ("+8621", "*"), priority=90)
    assert names(SHANGHAI, everything, china, local) == ["local", "china", "everything"]
    assert names(MOBILE, everything, china, local) == ["china", "everything", "local"]
    assert names("95588", everything, china, local) == ["china", "everything", "local"]
    assert names("+12025550123", china) == []


def test_a_short_code_is_not_taken_for_a_number_that_begins_alike() -> None:
    assert names("86123", GatewayOption("china", ("+86",))) == []
    assert names("+95588", GatewayOption("banks", ("955",))) == []


def test_gateways_of_one_priority_share_the_calls_by_weight() -> None:
    heavy, light = GatewayOption("heavy", weight=300), GatewayOption("light", weight=100)
    firsts = [names(MOBILE, heavy, light, draw=f"call-{number}")[0] for number in range(4_000)]
    assert 0.72 < firsts.count("heavy") / len(firsts) < 0.78
    assert names(MOBILE, heavy, light, draw="call-1") == names(MOBILE, light, heavy, draw="call-1")


def test_what_is_down_is_left_out_unless_all_are() -> None:
    down, up = GatewayOption("down", priority=1, is_up=False), GatewayOption("up", priority=2)
    assert names(MOBILE, down, up) == ["up"]
    assert names(MOBILE, down) == ["down"]
    assert gateways_in_need((down, up)) == ("up", "down")


def test_a_call_is_offered_to_so_many_gateways_and_an_emergency_call_to_all() -> None:
    many = [GatewayOption(f"g{number:02}", priority=number) for number in range(20)]
    assert names(MOBILE, *many) == [f"g{number:02}" for number in range(8)]
    assert len(gateways_in_need(many)) == 20


@given(NUMBERS, OPTIONS, st.text(max_size=40))
def test_a_choice_offers_each_gateway_once_and_only_where_it_takes_the_number(
    number: str, options: list[GatewayOption], draw: str
) -> None:
    chosen = names(number, *options, draw=draw)
    assert len(set(chosen)) == len(chosen)
    by_name = {option.name: option for option in options}
    taking = {
        option.name
        for option in options
        if not option.prefixes or any(prefix == "*" or number.startswith(prefix) for prefix in option.prefixes)
    }
    assert set(chosen) <= taking
    assert bool(chosen) == bool(taking)
    if any(by_name[name].is_up for name in taking):
        assert set(chosen) == {name for name in taking if by_name[name].is_up}
    assert set(gateways_in_need(options)) == by_name.keys(), "in need every gateway is asked"


def test_congestion_of_the_carrier_passes_a_call_on_and_the_called_partys_word_never() -> None:
    passed_on = {status for status in range(400, 700) if causes.from_sip(status) in FAILOVER_CAUSES}
    assert {408, 500, 501, 502, 503, 504, 505} <= passed_on
    final = {401, 403, 404, 410, 480, 484, 485, 486, 487, 488, 600, 603, 604, 606}
    assert not passed_on & final
    assert {"GATEWAY_DOWN", "INVALID_GATEWAY", "NORMAL_CIRCUIT_CONGESTION", "PROGRESS_TIMEOUT"} <= set(FAILOVER_CAUSES)
    for word in ("USER_BUSY", "NO_ANSWER", "CALL_REJECTED", "UNALLOCATED_NUMBER", "ORIGINATOR_CANCEL"):
        assert word not in FAILOVER_CAUSES


def test_each_attempt_is_a_bridge_and_only_the_last_one_ends_the_call_with_its_own_cause() -> None:
    found = steps(route(from_seat("13800138000"), TENANT))
    bridges = [data for application, data in found if application == "bridge"]
    assert ["sofia/gateway/carrier/" in bridges[0], "sofia/gateway/spare/" in bridges[1]] == [True, True]
    assert "leg_progress_timeout=15" in bridges[0]
    assert "leg_progress_timeout" not in bridges[1]
    order = [
        data.partition("=")[2]
        for application, data in found
        if application == "set" and data.startswith(("continue_on_fail=", "seatline_gateway="))
    ]
    assert order == ["false", ",".join(FAILOVER_CAUSES), "carrier", "false", "spare"]
    assert found[-1][0] == "bridge", "nothing follows: what the last gateway says is what the caller hears"


def test_a_capacity_is_counted_for_the_gateway_and_a_full_house_leaves_its_reason() -> None:
    capped = (GatewayOption("carrier", priority=1, capacity_calls=30), GatewayOption("spare", capacity_calls=2))
    found = steps(route(replace(from_seat("13800138000"), gateways=capped), TENANT))
    counted = [data for application, data in found if application == "limit_execute"]
    assert counted[0].startswith("hash gateways carrier 30 bridge {")
    assert counted[1].startswith("hash gateways spare 2 bridge {")
    assert found[-3:] == [
        ("set", "seatline_refusal=gateways_full"),
        ("respond", "503 Service Unavailable"),
        ("hangup", "NORMAL_CIRCUIT_CONGESTION"),
    ]


def test_an_emergency_call_is_counted_nowhere_and_asks_everybody() -> None:
    narrow = (
        GatewayOption("other", ("+1",), priority=1, capacity_calls=1),
        GatewayOption("down", priority=0, is_up=False),
    )
    found = steps(route(replace(from_seat("110"), gateways=narrow), TENANT))
    assert not [application for application, _ in found if application.startswith("limit")]
    assert "sofia/gateway/other/110|" in found[-1][1]
    assert found[-1][1].endswith("sofia/gateway/down/110")


def test_a_number_that_no_gateway_takes_is_refused() -> None:
    abroad = (GatewayOption("abroad", ("+1",)),)
    found = route(replace(from_seat("13800138000"), gateways=abroad), TENANT)
    assert isinstance(found, RefusedRoute)
    assert found.reason is Reason.NO_GATEWAY


def test_the_first_attempt_is_the_routes_gateway() -> None:
    found = route(from_seat("13800138000"), TENANT)
    assert isinstance(found, GatewayRoute)
    assert found.gateway == "carrier"
    assert [attempt.gateway for attempt in found.attempts] == ["carrier", "spare"]
