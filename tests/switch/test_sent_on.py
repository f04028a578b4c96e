"""Calls that are limited, and calls that are sent on: what the node is told, and that a record keeps what it says."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest

from infra.kit.database import Scope
from switch import accounts, gateways
from switch.admission import SIP_ANSWERS, Reason
from switch.call_policy import HOUSE_POLICY, CallPolicy
from switch.documents import dialplan, dialplan_call
from switch.routing import Call, Direction, Origin, route
from tests.api import Api
from tests.switch.builders import CARRIER, DAY, NODE, NUMBER, TENANT, from_gateway, from_seat, tenant
from tests.switch.exchange import Exchange, recorded_form

RECORD = ("seatline_tenant=", "seatline_leg=", "seatline_direction=", "seatline_destination=", "seatline_seat=")
NARROW = tenant(policy=CallPolicy(calls_per_tenant=10, calls_per_seat=2, calls_per_second=5))
FORWARDING = tenant(policy=replace(HOUSE_POLICY, forwarding=frozenset({"8613800138000"})))


def steps(text: str) -> list[tuple[str, str]]:
    root = ET.fromstring(text)  # noqa: S314 - our own document
    return [(each.get("application", ""), each.get("data", "")) for each in root.iter("action")]


def sent_on(dialled: str, ran: Direction = Direction.INBOUND) -> Call:
    return Call(Origin.SENT_ON, NODE, "ten_a", dialled, DAY, gateways=CARRIER, seat_id="seat_1", ran=ran)


def test_each_limit_is_named_before_it_is_counted_and_the_name_goes_when_all_have_let_the_call_through() -> None:
    counted = steps(dialplan("ten_a", route(from_seat("1002"), NARROW)))
    begins = counted.index(("set", "seatline_refusal=too_many_calls_a_second"))
    assert counted[begins : begins + 9] == [
        ("set", "seatline_refusal=too_many_calls_a_second"),
        ("limit", "hash ten_a attempts 5/1 !SWITCH_CONGESTION"),
        ("set", "seatline_refusal=too_many_calls"),
        ("limit", "hash ten_a calls 10 !USER_BUSY"),
        ("set", "seatline_refusal=too_many_calls_of_seat"),
        ("limit", "hash ten_a seat-1001 2 !USER_BUSY"),
        ("set", "seatline_refusal=too_many_calls_of_seat"),
        ("limit", "hash ten_a seat-1002 2 !USER_BUSY"),
        ("unset", "seatline_refusal"),
    ]
    assert counted[-1][0] == "bridge"
    assert all(begins > index for index, (_, data) in enumerate(counted) if data.startswith(RECORD))


@pytest.mark.parametrize("call", [from_seat("13800138000"), from_gateway("+" + NUMBER), from_seat("1002")])
def test_every_call_that_is_let_through_is_counted_before_it_goes(call: Call) -> None:
    applications = [application for application, _ in steps(dialplan("x", route(call, NARROW)))]
    assert applications.count("limit") >= 3
    assert applications.index("bridge") > max(i for i, name in enumerate(applications) if name == "limit")


@pytest.mark.parametrize("is_sent_on", [False, True])
def test_a_call_for_help_is_never_counted(is_sent_on: bool) -> None:
    call = sent_on("110") if is_sent_on else from_seat("110")
    told = steps(dialplan("ten_a", route(call, NARROW), is_sent_on=is_sent_on))
    assert "limit" not in {application for application, _ in told}
    assert ("unset", "seatline_service") in told


def test_help_may_talk_to_whoever_is_sent_on_to_it() -> None:
    """Else the guard against relaying would part a party from outside and the emergency service."""
    for is_sent_on in (True, False):
        told = steps(dialplan("ten_a", route(sent_on("110"), TENANT), is_sent_on=is_sent_on))
        assert "seatline_may_relay=true" in told[-1][1]


@pytest.mark.parametrize("dialled", ["1002", "13800138000", "110", "1777", "0012025550123", "x"])
@pytest.mark.parametrize("ran", [Direction.INBOUND, Direction.OUTBOUND])
def test_a_channel_that_is_sent_on_keeps_what_its_record_says(dialled: str, ran: Direction) -> None:
    told = steps(dialplan("ten_a", route(sent_on(dialled, ran), FORWARDING), is_sent_on=True))
    assert not [data for _, data in told if data.startswith(RECORD)]
    assert told[0] == ("unset", "last_bridge_proto_specific_hangup_cause")


def test_a_call_that_may_not_be_sent_on_ends_with_its_reason() -> None:
    told = steps(dialplan("ten_a", route(sent_on("13800138000"), TENANT), is_sent_on=True))
    assert told[1:] == [("set", "seatline_refusal=relaying_not_allowed"), ("hangup", "OUTGOING_CALL_BARRED")]


@pytest.mark.parametrize("ran", [Direction.INBOUND, Direction.OUTBOUND])
@pytest.mark.parametrize("dialled", ["1002", "13800138000"])
def test_a_seat_that_was_suspended_during_its_call_sends_it_nowhere(dialled: str, ran: Direction) -> None:
    closed, gone = replace(sent_on(dialled, ran), seat_id="seat_3"), replace(sent_on(dialled, ran), seat_id="seat_9")
    for call in (closed, gone):
        told = steps(dialplan("ten_a", route(call, FORWARDING), is_sent_on=True))
        assert ("set", "seatline_refusal=seat_closed") in told
        assert told[-1][0] == "hangup"
    help_is_there = steps(dialplan("ten_a", route(replace(closed, dialled="110"), FORWARDING), is_sent_on=True))
    assert help_is_there[-1][0] == "bridge"


def test_the_leg_of_a_forwarded_call_bills_for_the_seat_that_forwarded_it() -> None:
    application, data = steps(dialplan("ten_a", route(sent_on("13800138000"), FORWARDING), is_sent_on=True))[-1]
    assert application == "bridge"
    inside, _, target = data.removeprefix("{").partition("}")
    assert target == "sofia/gateway/carrier/8613800138000"
    assert dict(pair.split("=", 1) for pair in inside.split(",")) == {
        "seatline_tenant": "ten_a",
        "seatline_direction": "outbound",
        "seatline_destination": "8613800138000",
        "seatline_service": "ten_a",
        "seatline_gateway": "carrier",
        "seatline_leg": "gateway",
        "seatline_seat": "seat_1",
        "force_transfer_context": "ten_a",
        "outbound_redirect_fatal": "true",
        "seatline_may_relay": "true",
    }


def test_a_form_with_a_carriers_leg_is_a_call_that_is_sent_on_in_whatever_context() -> None:
    form = {
        "Caller-Context": "public",
        "Caller-Destination-Number": "1002",
        "variable_seatline_leg": "gateway",
        "variable_seatline_tenant": "ten_a",
        "variable_seatline_seat": "seat_1",
        "variable_seatline_direction": "inbound",
        "variable_seatline_extension": "1001",
    }
    call = dialplan_call(form, node=NODE, gateways=CARRIER, on=DAY, gateway="carrier")
    assert (call.origin, call.seat_id, call.ran) == (Origin.SENT_ON, "seat_1", Direction.INBOUND)
    assert (call.extension, call.gateway) == (None, None)
    for leg in ("caller", "seat", ""):
        seats_own = form | {"Caller-Context": "ten_a", "variable_seatline_leg": leg}
        assert dialplan_call(seats_own, node=NODE, gateways=(), on=DAY).origin is Origin.SEAT


@pytest.mark.parametrize("reason", list(Reason))
def test_what_a_limit_hangs_up_with_is_what_its_reason_answers(reason: Reason) -> None:
    answer = SIP_ANSWERS[reason]
    assert answer.cause.isupper()
    assert (answer.status, answer.phrase) in {
        (403, "Forbidden"), (404, "Not Found"), (484, "Address Incomplete"), (486, "Busy Here"),
        (488, "Not Acceptable Here"), (503, "Service Unavailable"),
    }  # fmt: skip


@pytest.fixture
async def exchange(api: Api) -> Exchange:
    return await Exchange(api).open()


async def test_only_the_tenant_that_had_the_call_sends_it_on(exchange: Exchange) -> None:
    ours, theirs = await exchange.add_tenant(), await exchange.add_tenant()

    async def asked(context: str, dialled: str, tenant_id: str) -> str:
        form = recorded_form("dialplan") | {
            "Caller-Context": context,
            "Caller-Destination-Number": dialled,
            "variable_seatline_tenant": tenant_id,
            "variable_seatline_leg": "gateway",
            "variable_seatline_direction": "inbound",
        }
        form.pop("variable_seatline_extension", None)
        return await exchange.ask("dialplan", form)

    extension = next(iter(ours.seats))
    bridged = dict(steps(await asked(ours.tenant_id, extension, ours.tenant_id)))["bridge"]
    assert bridged.endswith(f"user/{extension}@{ours.domain}")
    assert "relaying_not_allowed" in await asked(ours.tenant_id, "13800138000", ours.tenant_id)
    assert "not found" in await asked(theirs.tenant_id, extension, ours.tenant_id)
    assert "not found" in await asked("nowhere", extension, ours.tenant_id)


async def test_whether_a_seat_may_send_its_call_on_is_asked_of_the_seat_as_it_is_now(exchange: Exchange) -> None:
    ours, theirs = await exchange.add_tenant(), await exchange.add_tenant()

    async def sent_to_a_colleague(seat_id: str) -> str:
        form = recorded_form("dialplan") | {
            "Caller-Context": ours.tenant_id,
            "Caller-Destination-Number": "1002",
            "variable_seatline_tenant": ours.tenant_id,
            "variable_seatline_leg": "gateway",
            "variable_seatline_direction": "outbound",
            "variable_seatline_seat": seat_id,
        }
        form.pop("variable_seatline_extension", None)
        return await exchange.ask("dialplan", form)

    assert "bridge" in await sent_to_a_colleague(ours.seats["1001"])
    assert "seat_closed" in await sent_to_a_colleague(theirs.seats["1001"]), "no seat of this tenant"
    async with exchange.api.database.transaction(Scope.platform()) as session:
        await accounts.set_open(session, ours.tenant_id, [ours.seats["1001"]], False)
    assert "seat_closed" in await sent_to_a_colleague(ours.seats["1001"])


async def test_a_party_that_is_sent_on_still_takes_its_place_at_its_gateway(exchange: Exchange) -> None:
    """The seat's leg, which was counted, ends with the transfer; a carrier's lines would be given out twice."""
    renter = await exchange.add_tenant()
    async with exchange.api.database.transaction(Scope.platform()) as session:
        await gateways.create_gateway(session, exchange.seal, name="small", host="192.0.2.11", capacity_calls=1)

    async def counted(dialled: str, gateway: str, direction: str = "outbound") -> list[str]:
        form = recorded_form("dialplan") | {
            "Caller-Context": renter.tenant_id,
            "Caller-Destination-Number": dialled,
            "variable_seatline_tenant": renter.tenant_id,
            "variable_seatline_leg": "gateway",
            "variable_seatline_gateway": gateway,
            "variable_seatline_direction": direction,
        }
        form.pop("variable_seatline_extension", None)
        told = steps(await exchange.ask("dialplan", form))
        return [data for name, data in told if name == "limit" and "gateways" in data]

    assert await counted("1002", "small") == ["hash gateways small 1000000 !NORMAL_CIRCUIT_CONGESTION"]
    assert await counted("1002", "carrier") == [], "without a capacity nothing is counted"
    assert await counted("1002", "small", "inbound") == [], "calls in take no place"
    assert await counted("1002", "gone") == []
    assert await counted("110", "small") == [], "nothing stands before a call for help"
