"""A phone's call that is answered without our dialplan ends at once; the dialplan alone lets it pass."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from sqlalchemy import select

from infra.kit.database import Scope
from switch.documents import dialplan
from switch.documents.files import node_files
from switch.documents.unrouted import ends_unrouted
from switch.models import StrayCall
from switch.numbers import EMERGENCY_NUMBERS
from switch.relay_guard import Side, refusal
from switch.routing import Call, InboundRoute, RefusedRoute, route
from tests.api import Api
from tests.switch.builders import NUMBER, from_gateway, from_seat, tenant
from tests.switch.exchange import INVITE, NOT_FOUND, REGISTER, RING, Exchange, call_record
from tests.switch.test_documents import SETTINGS, pairs

TRAP = ends_unrouted()
OUTSIDE, SEAT = Side("gateway", "ten_a", may_relay=False), Side("seat", "ten_a", may_relay=False)


@pytest.fixture
async def exchange(api: Api) -> Exchange:
    return await Exchange(api).open()


def unset(document: str) -> list[str]:
    """The variables that a dialplan takes away before it does anything else."""
    names: list[str] = []
    for action in ET.fromstring(document).iter("action"):  # noqa: S314  (our own rendering)
        if action.get("application") != "unset":
            break
        names.append(action.get("data", ""))
    return names


async def test_every_call_that_a_phone_begins_is_to_end_unless_it_is_let_pass(exchange: Exchange) -> None:
    renter = await exchange.add_tenant()
    told = pairs(await exchange.look_up(renter, "1001", INVITE), "variable")
    assert TRAP.items() <= told.items()
    assert list(TRAP) == sorted(TRAP), "FreeSWITCH runs them in this order: the reason first"
    await exchange.suspend(renter)
    told = pairs(await exchange.look_up(renter, "1001", INVITE), "variable")
    assert TRAP.items() <= told.items()
    assert told["deny_refer_requests"] == "true"


@pytest.mark.parametrize("purpose", [REGISTER, RING, {"action": ""}])
async def test_a_phone_that_is_rung_or_registers_is_told_nothing_of_it(
    exchange: Exchange, purpose: dict[str, str]
) -> None:
    renter = await exchange.add_tenant()
    document = await exchange.look_up(renter, "1001", purpose)
    assert NOT_FOUND not in document
    assert not TRAP.keys() & pairs(document, "variable").keys()
    assert "deny_refer_requests" not in document


@pytest.mark.parametrize("call", [from_seat("1002"), from_seat("13800138000"), from_seat("110")])
def test_a_dialplan_that_lets_a_phones_call_pass_says_so_first(call: Call) -> None:
    found = route(call, tenant())
    assert not isinstance(found, RefusedRoute)
    assert unset(dialplan("ten_a", found))[: len(TRAP)] == list(TRAP)


def test_the_files_of_a_node_let_an_emergency_call_pass_too_whatever_a_phone_adds_to_its_number() -> None:
    files = node_files(SETTINGS, failed_records=Path("failed"), all_records=Path("all"))
    written = ET.fromstring(files["dialplan/emergency.xml"])  # noqa: S314  (our own rendering)
    *served, refused = written.iter("extension")
    assert len(served) == len(EMERGENCY_NUMBERS)
    for extension in served:
        assert unset(ET.tostring(extension, encoding="unicode")) == list(TRAP)
    assert not unset(ET.tostring(refused, encoding="unicode"))
    expressions = [condition.get("expression") for condition in written.iter("condition")]

    def taken(dialled: str) -> int:
        return sum(each is not None and re.search(each, dialled) is not None for each in expressions)

    assert [taken(dialled) for dialled in ("110", "110#", "119;isub=1", "120#;x=y")] == [1, 1, 1, 1]
    assert [taken(dialled) for dialled in ("1100", "9110", "13800138000;110", "110#5")] == [0, 0, 0, 0]


@pytest.mark.parametrize("call", [from_seat("1777"), from_gateway(NUMBER)])
def test_a_refusal_and_a_call_from_outside_take_nothing_away(call: Call) -> None:
    found = route(call, tenant())
    assert isinstance(found, RefusedRoute | InboundRoute)
    assert not TRAP.keys() & set(unset(dialplan("ten_a", found)))


async def test_a_phone_that_names_a_gateway_is_no_gateway(exchange: Exchange) -> None:
    renter = await exchange.add_tenant()
    document = await exchange.dial(renter, renter.number, context="public")
    assert "seatline_refusal=unknown_gateway" in document
    assert "bridge" not in document


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (OUTSIDE, SEAT, None),
        (SEAT, SEAT, None),
        (OUTSIDE, OUTSIDE, "relaying_not_allowed"),
        (OUTSIDE, Side("gateway", "ten_a", may_relay=True), None),
        (OUTSIDE, Side("seat", "ten_b", may_relay=False), "replacing_not_allowed"),
        (OUTSIDE, Side("gateway", "ten_b", may_relay=True), "replacing_not_allowed"),
        (OUTSIDE, Side("", "ten_a", may_relay=False), "replacing_not_allowed"),
        (OUTSIDE, Side("", "", may_relay=True), "replacing_not_allowed"),
        (Side("caller", "ten_a", may_relay=False), Side("gateway", "", may_relay=False), None),
    ],
)
def test_two_legs_hear_each_other_only_within_a_tenant_and_with_a_part_in_a_call(
    first: Side, second: Side, expected: str | None
) -> None:
    assert refusal(first, second) == refusal(second, first) == expected


async def test_a_call_from_a_carriers_address_that_reached_for_a_running_one_is_counted_not_set_aside(
    exchange: Exchange,
) -> None:
    record = call_record("", direction="inbound", milliseconds=40, seatline_refusal="replacing_not_allowed")
    del record["variables"]["seatline_tenant"]
    assert (await exchange.report(record)).status_code == 200
    assert await exchange.set_aside() == []
    async with exchange.api.database.transaction(Scope.platform()) as session:
        found = (await session.execute(select(StrayCall))).scalar_one()
        assert (found.reason, found.times) == ("replacing_not_allowed", 1)
