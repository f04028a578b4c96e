"""What a node is told: answers to mod_xml_curl, as FreeSWITCH reads them."""

from __future__ import annotations

import urllib.parse
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from switch.admission import Lookup, Purpose, Standing
from switch.documents import (
    DirectoryUser,
    Gateway,
    NodeConfiguration,
    configuration,
    dialplan,
    dialplan_call,
    directory_lookup,
    directory_user,
    not_found,
)
from switch.documents.channel import NotHarmless, leg_variables, only_harmless
from switch.documents.directory import HashRefused
from switch.documents.forms import calling_tenant, source_address
from switch.documents.markup import NotWritable, element
from switch.routing import Call, Origin, Route, route
from tests.switch.builders import CARRIER, DAY, GATEWAYS, NUMBER, TENANT, from_gateway, from_seat, tenant

A1_HASH = "0123456789abcdef0123456789abcdef"
USER = DirectoryUser("a.example", "1001", A1_HASH, "ten_a", "seat_1", "ten_a")

SETTINGS = NodeConfiguration(
    name="node-1",
    api_url="http://127.0.0.1:8000",
    node_secret="s3cret",
    esl_host="127.0.0.1",
    esl_port=8021,
    esl_password="eslpass",
    sip_ip="127.0.0.1",
    sip_port=5060,
    external_sip_port=5080,
    rtp_start_port=20000,
    rtp_end_port=21000,
    spool_directory=Path("/var/spool/seatline"),
    gateways=(
        Gateway("carrier", "192.0.2.10", 5070),
        Gateway(
            "spare",
            "sip.carrier.example",
            username="u",
            password='p&<">$${x}',
            register=True,
            sources=("198.51.100.0/24",),
        ),
    ),
)


def read(text: str) -> ET.Element:
    return ET.fromstring(text)  # noqa: S314  (our own rendering)


def pairs(text: str, tag: str) -> dict[str, str]:
    return {item.get("name", ""): item.get("value", "") for item in read(text).iter(tag)}


def actions(found: Route, context: str = "ten_a") -> list[tuple[str, str]]:
    document = read(dialplan(context, found))
    assert [item.get("name") for item in document.iter("context")] == [context]
    assert [dict(item.attrib) for item in document.iter("condition")] == [{}]
    return [(item.get("application", ""), item.get("data", "")) for item in document.iter("action")]


def settings_of(steps: list[tuple[str, str]]) -> dict[str, str]:
    return dict(data.split("=", 1) for application, data in steps if application == "set")


def bridged(steps: list[tuple[str, str]]) -> tuple[dict[str, str], str]:
    application, data = steps[-1]
    assert application == "bridge"
    variables, _, target = data.removeprefix("{").partition("}")
    return dict(item.split("=", 1) for item in variables.split(",")), target


def test_not_found_is_what_freeswitch_takes_for_it() -> None:
    section = read(not_found()).find("section")
    assert section is not None
    assert section.get("name") == "result"
    result = section.find("result")
    assert result is not None
    assert result.get("status") == "not found"


def test_an_account_carries_its_hash_its_dial_string_and_its_tenant() -> None:
    text = directory_user(USER)
    assert pairs(text, "param") == {"a1-hash": A1_HASH, "dial-string": "sofia/internal/1001%a.example"}
    assert pairs(text, "variable") == {
        "user_context": "ten_a",
        "seatline_tenant": "ten_a",
        "seatline_seat": "seat_1",
        "seatline_extension": "1001",
    }
    domain = next(read(text).iter("domain"))
    user = next(read(text).iter("user"))
    assert (domain.get("name"), user.attrib) == ("a.example", {"id": "1001"})
    assert "cacheable" not in text


def test_an_emergency_only_account_can_be_authenticated_but_not_rung() -> None:
    text = directory_user(USER, emergency_only=True)
    assert pairs(text, "param") == {"a1-hash": A1_HASH}
    assert pairs(text, "variable")["user_context"] == "emergency"


def test_no_account_marks_its_calls_as_service_by_itself() -> None:
    assert "seatline_service" not in directory_user(USER)


@pytest.mark.parametrize("hashed", ["", "secret", A1_HASH.upper(), A1_HASH + "0"])
def test_an_account_without_a_proper_hash_is_not_rendered_since_it_would_let_anybody_in(hashed: str) -> None:
    with pytest.raises(HashRefused):
        directory_user(DirectoryUser("a.example", "1001", hashed, "ten_a", None, "ten_a"))


def test_the_hash_does_not_show_in_a_repr() -> None:
    assert A1_HASH not in repr(USER)


def test_a_call_between_seats_marks_both_legs() -> None:
    steps = actions(route(from_seat("1002"), TENANT))
    caller = settings_of(steps)
    callee, target = bridged(steps)
    assert target == "user/1002@a.example"
    common = {"seatline_tenant": "ten_a", "seatline_direction": "internal", "seatline_destination": "1002"}
    service = {"seatline_service": "ten_a"}
    anew = {"force_transfer_context": "ten_a", "sip_redirect_context": "ten_a"}
    assert callee == common | service | anew | {"seatline_leg": "seat", "seatline_seat": "seat_2"}
    assert caller.items() >= (common | service | {"seatline_leg": "caller", "seatline_seat": "seat_1"}).items()
    assert caller["hangup_after_bridge"] == "true"
    assert caller["continue_on_fail"] == "false"
    assert int(caller["call_timeout"]) > 0
    assert caller["effective_caller_id_number"] == "1001"


def test_a_call_out_bills_by_its_gateway_leg_and_shows_the_tenants_number() -> None:
    steps = actions(route(replace(from_seat("13800138000"), gateways=CARRIER), TENANT))
    caller = settings_of(steps)
    gateway_leg, target = bridged(steps)
    assert target == "sofia/gateway/carrier/8613800138000"
    assert gateway_leg == {
        "seatline_tenant": "ten_a",
        "seatline_direction": "outbound",
        "seatline_destination": "8613800138000",
        "seatline_service": "ten_a",
        "seatline_gateway": "carrier",
        "seatline_leg": "gateway",
        "seatline_seat": "seat_1",
        "force_transfer_context": "ten_a",
        "outbound_redirect_fatal": "true",
    }
    assert caller["seatline_leg"] == "caller"
    assert caller["effective_caller_id_number"] == NUMBER
    assert caller["sip_copy_custom_headers"] == "false"


def test_a_call_in_bills_by_the_leg_it_came_in_on() -> None:
    steps = actions(route(from_gateway(NUMBER), TENANT), "public")
    gateway_leg = settings_of(steps)
    seat_leg, target = bridged(steps)
    assert target == "user/1001@a.example"
    assert (gateway_leg["seatline_leg"], gateway_leg["seatline_gateway"]) == ("gateway", "carrier")
    assert gateway_leg["seatline_seat"] == seat_leg["seatline_seat"] == "seat_1"
    assert gateway_leg["seatline_destination"] == seat_leg["seatline_destination"] == NUMBER
    assert gateway_leg["effective_caller_id_number"] == "13911112222"
    assert seat_leg["seatline_leg"] == "seat"


def test_an_emergency_call_tries_every_gateway_and_carries_no_service_mark() -> None:
    steps = actions(route(from_seat("110"), tenant(standing=Standing.SUSPENDED)), "emergency")
    leg, targets = bridged(steps)
    assert targets == (
        "[seatline_gateway=carrier,leg_progress_timeout=15]sofia/gateway/carrier/110"
        "|[seatline_gateway=spare]sofia/gateway/spare/110"
    )
    assert leg["seatline_direction"] == settings_of(steps)["seatline_direction"] == "emergency"
    assert "seatline_service" not in leg
    assert "seatline_service" not in settings_of(steps)
    assert ("unset", "seatline_service") in steps


@pytest.mark.parametrize("own", [{}, {"caller_number": None}, {"numbers": {}}])
def test_an_emergency_call_shows_the_tenants_own_number_or_none(own: dict[str, Any]) -> None:
    renter = tenant(**own)
    call = replace(from_seat("110"), caller="13900000000")
    shown = settings_of(actions(route(call, renter), "emergency"))
    expected = renter.caller_number if not own else "anonymous"
    assert (shown["effective_caller_id_number"], shown["effective_caller_id_name"]) == (expected, expected)


def test_a_refusal_answers_by_sip_and_leaves_its_reason_in_the_record() -> None:
    steps = actions(route(from_seat("13800138000"), tenant(standing=Standing.SUSPENDED)))
    assert settings_of(steps)["seatline_refusal"] == "tenant_suspended"
    assert steps[-2:] == [("respond", "403 Forbidden"), ("hangup", "CALL_REJECTED")]


@pytest.mark.parametrize(
    "text",
    ["${system(reboot)}", "1001}", "a,b", "x|y", "<b>", "1 2", "number;tag", "a=b", "%n", "数", "^^:a", "line\nbreak"],
)
def test_nothing_that_freeswitch_would_interpret_gets_into_a_dial_string(text: str) -> None:
    with pytest.raises(NotHarmless):
        leg_variables({"seatline_tenant": text})
    with pytest.raises(NotHarmless):
        directory_user(DirectoryUser("a.example", text, A1_HASH, "ten_a", None, "ten_a"))


@pytest.mark.parametrize(
    "hostile", ["${system(reboot)}", "\"><action application='system'/>", "{a=b}sofia/x/1", "\x00\r\nVia: x", "'" * 300]
)
def test_what_a_caller_sends_cannot_become_markup_or_command(hostile: str) -> None:
    inbound = actions(route(from_gateway(NUMBER, caller=hostile), TENANT), "public")
    assert inbound[-1][0] == "bridge"
    shown = settings_of(inbound).get("effective_caller_id_number", "")
    assert shown == only_harmless(hostile)
    refused = actions(route(from_seat(hostile), TENANT))
    assert [application for application, _ in refused[-2:]] == ["respond", "hangup"]
    assert "seatline_destination" not in settings_of(refused)


def test_text_in_an_attribute_never_becomes_markup_and_comes_back_as_it_was() -> None:
    text = "<a & \"b\" 'c'> $${x} --> 数"
    lines = element("param", value=text).lines()
    assert len(lines) == 1
    assert "$" not in lines[0]
    assert read(lines[0]).get("value") == text


@pytest.mark.parametrize("text", ["a\nb", "\x00", "\x1b[0m", "\x7f", "\ud800"])
def test_control_characters_are_refused_because_xml_cannot_carry_them(text: str) -> None:
    with pytest.raises(NotWritable):
        element("param", value=text).lines()


def test_the_configuration_answer_brings_the_current_gateways() -> None:
    document = read(configuration(SETTINGS, "sofia.conf"))
    profiles = {item.get("name"): item for item in document.iter("profile")}
    assert set(profiles) == {"internal", "external"}
    gateways = {
        item.get("name"): {p.get("name"): p.get("value") for p in item.iter("param")}
        for item in profiles["external"].iter("gateway")
    }
    assert set(gateways) == {"carrier", "spare"}
    assert gateways["carrier"]["proxy"] == "192.0.2.10:5070"
    assert gateways["carrier"]["register"] == "false"
    assert gateways["spare"]["password"] == 'p&<">$${x}'
    assert gateways["spare"]["register"] == "true"


def test_phones_register_in_threads_of_their_own_so_that_a_slow_answer_holds_up_no_call() -> None:
    document = read(configuration(SETTINGS, "sofia.conf"))
    told = {str(each.get("name")): str(each.get("value")) for each in document.iter("param")}
    assert told["inbound-reg-in-new-thread"] == "true"
    assert int(told["max-reg-threads"]) > 1


def test_the_access_list_follows_the_gateways() -> None:
    document = read(configuration(SETTINGS, "acl.conf"))
    lists = {item.get("name"): (item.get("default"), [n.get("cidr") for n in item]) for item in document.iter("list")}
    assert lists["gateways"] == ("deny", ["192.0.2.10/32", "198.51.100.0/24"])


@pytest.mark.parametrize("name", ["switch.conf", "event_socket.conf", "json_cdr.conf", "", "../sofia.conf"])
def test_every_other_file_is_the_nodes_own(name: str) -> None:
    assert configuration(SETTINGS, name) == not_found()


def recorded(**fields: str) -> dict[str, str]:
    """A directory form as recorded from FreeSWITCH 1.11, with changes."""
    form = (
        "hostname=vm&section=directory&tag_name=domain&key_name=name&key_value=127.0.0.1&action=sip_auth"
        "&sip_profile=internal&sip_auth_username=2001&sip_auth_realm=127.0.0.1&sip_to_user=2001"
        "&sip_to_host=127.0.0.1&sip_from_user=2001&sip_from_host=127.0.0.1&sip_auth_method=REGISTER"
        "&client_port=5943&key=id&user=2001&domain=127.0.0.1&ip=127.0.0.1"
    )
    return dict(urllib.parse.parse_qsl(form)) | fields


@pytest.mark.parametrize(
    ("fields", "purpose"),
    [
        ({}, Purpose.REGISTER),
        ({"sip_auth_method": "INVITE"}, Purpose.INVITE),
        ({"sip_auth_method": "SUBSCRIBE"}, Purpose.OTHER),
        ({"action": "user_call"}, Purpose.RING),
        ({"action": "message-count"}, Purpose.OTHER),
        ({"action": ""}, Purpose.INSPECT),
    ],
)
def test_a_directory_form_says_what_the_lookup_is_for(fields: dict[str, str], purpose: Purpose) -> None:
    lookup = directory_lookup(recorded(**fields), node="node-1")
    assert lookup == Lookup(purpose, "node-1", "2001", "127.0.0.1", to_user="2001", to_host="127.0.0.1")


def test_a_question_for_gateways_looks_nobody_up() -> None:
    assert directory_lookup({"section": "directory", "purpose": "gateways"}, node="node-1") is None


def test_a_dialplan_form_says_who_calls_whom() -> None:
    form = {
        "Caller-Context": "ten_a",
        "Caller-Destination-Number": "1002",
        "Caller-Caller-ID-Number": "1001",
        "variable_seatline_extension": "1001",
        "variable_seatline_tenant": "ten_a",
        "variable_sip_network_ip": "192.0.2.10",
        "variable_sip_network_port": "5071",
    }
    call = dialplan_call(form, node="node-1", gateways=GATEWAYS, on=DAY)
    assert call == Call(Origin.SEAT, "node-1", "ten_a", "1002", DAY, "1001", "1001", None, GATEWAYS)
    assert calling_tenant(form) == "ten_a"
    assert source_address(form) == ("192.0.2.10", 5071)
    assert source_address(form | {"variable_sip_network_port": "1" * 5_000}) == ("192.0.2.10", 0)


def test_a_call_in_the_public_context_is_a_gateways_whatever_else_the_form_says() -> None:
    form = {"Caller-Context": "public", "variable_seatline_extension": "1001"}
    call = dialplan_call(form, node="node-1", gateways=(), on=DAY, gateway="carrier")
    assert (call.origin, call.extension, call.gateway) == (Origin.GATEWAY, None, "carrier")
    assert source_address(form) == ("", 0)


def test_a_gateway_is_known_by_its_address_and_its_port_decides_between_two() -> None:
    assert SETTINGS.gateway_from("192.0.2.10", 1) == SETTINGS.gateways[0]
    assert SETTINGS.gateway_from("198.51.100.7", 5060) == SETTINGS.gateways[1]
    assert SETTINGS.gateway_from("203.0.113.1", 5060) is None
    assert SETTINGS.gateway_from("nonsense", 5060) is None


def test_where_networks_overlap_the_narrowest_says_whose_call_it_is() -> None:
    wide = Gateway("wide", "198.51.100.1", 5060, sources=("198.51.0.0/16", "2001:db8::/32"))
    same = Gateway("same", "198.51.100.7", 5080)
    mine = Gateway("mine", "198.51.100.7", 5070)
    six = Gateway("six", "2001:db8::7", 5070)
    settings = replace(SETTINGS, gateways=(wide, same, mine, six))
    assert settings.gateway_from("198.51.100.7", 5060) == same
    assert settings.gateway_from("198.51.100.7", 5070) == mine
    assert settings.gateway_from("198.51.100.8", 5070) == wide
    assert settings.gateway_from("2001:db8::7", 5060) == six
    assert settings.gateway_from("2001:db8::8", 5060) == wide
