"""Where calls go."""

from __future__ import annotations

from dataclasses import replace

import pytest

from switch.admission import Reason, Standing
from switch.numbers import EmergencyNumber
from switch.routing import (
    EMERGENCY_CONTEXT,
    Direction,
    EmergencyRoute,
    GatewayRoute,
    InboundRoute,
    RefusedRoute,
    SeatRoute,
    route,
)
from tests.switch.builders import NUMBER, TENANT, from_gateway, from_seat, tenant


def refusal(outcome: object) -> Reason:
    assert isinstance(outcome, RefusedRoute)
    return outcome.reason


def test_a_seat_reaches_another_seat_by_its_extension() -> None:
    outcome = route(from_seat("1002"), TENANT)
    assert isinstance(outcome, SeatRoute)
    assert outcome.extension == "1002"
    assert outcome.party.seat == TENANT.seats["1001"]


def test_a_public_number_goes_to_the_first_gateway_with_the_tenants_number() -> None:
    outcome = route(from_seat("138 0013 8000"), TENANT)
    assert isinstance(outcome, GatewayRoute)
    assert (outcome.gateway, outcome.number, outcome.caller_number) == ("carrier", "8613800138000", NUMBER)


def test_a_short_code_goes_out_unless_it_is_an_extension_of_the_tenant() -> None:
    bank = route(from_seat("95588"), TENANT)
    assert isinstance(bank, GatewayRoute)
    assert bank.number == "95588"
    colleague = route(from_seat("10010"), TENANT)
    assert isinstance(colleague, SeatRoute)
    assert colleague.extension == "10010"


def test_a_number_rings_at_the_seat_it_belongs_to() -> None:
    outcome = route(from_gateway("+" + NUMBER), TENANT)
    assert isinstance(outcome, InboundRoute)
    assert (outcome.callee.extension, outcome.number, outcome.gateway) == ("1001", NUMBER, "carrier")
    assert outcome.caller == "13911112222"


@pytest.mark.parametrize("standing", list(Standing))
@pytest.mark.parametrize("context", ["ten_a", EMERGENCY_CONTEXT])
@pytest.mark.parametrize("extension", ["1001", "1003"])
def test_emergency_numbers_always_pass(standing: Standing, context: str, extension: str) -> None:
    call = from_seat("110", context=context, extension=extension, node="node-2")
    outcome = route(call, tenant(standing=standing))
    assert isinstance(outcome, EmergencyRoute)
    assert outcome.number == EmergencyNumber("110", "110")
    assert outcome.gateways == ("carrier", "spare")
    assert outcome.caller_number == NUMBER


def test_an_emergency_call_needs_no_tenant_but_a_gateway() -> None:
    assert isinstance(route(from_seat("119"), None), EmergencyRoute)
    lost = route(replace(from_seat("119"), gateways=()), TENANT)
    assert refusal(lost) is Reason.NO_GATEWAY
    assert isinstance(lost, RefusedRoute)
    assert lost.direction is Direction.EMERGENCY


@pytest.mark.parametrize(
    ("dialled", "reason", "direction"),
    [
        ("1777", Reason.UNKNOWN_NUMBER, Direction.INTERNAL),
        ("1003", Reason.SEAT_CLOSED, Direction.INTERNAL),
        ("88888888", Reason.DESTINATION_INVALID, Direction.OUTBOUND),
        ("sales", Reason.DESTINATION_INVALID, Direction.OUTBOUND),
    ],
)
def test_what_leads_nowhere_is_refused_with_its_reason(dialled: str, reason: Reason, direction: Direction) -> None:
    outcome = route(from_seat(dialled), TENANT)
    assert refusal(outcome) is reason
    assert isinstance(outcome, RefusedRoute)
    assert outcome.direction is direction


@pytest.mark.parametrize("dialled", ["13800138000", "1002", "1777"])
def test_a_suspended_tenant_reaches_nobody(dialled: str) -> None:
    suspended = tenant(standing=Standing.SUSPENDED)
    assert refusal(route(from_seat(dialled), suspended)) is Reason.TENANT_SUSPENDED
    assert refusal(route(from_gateway(NUMBER), suspended)) is Reason.TENANT_SUSPENDED


def test_the_emergency_context_reaches_nothing_else_even_after_a_restoration() -> None:
    assert refusal(route(from_seat("13800138000", context=EMERGENCY_CONTEXT), TENANT)) is Reason.TENANT_SUSPENDED


def test_a_call_out_shows_a_number_of_the_tenant_or_does_not_happen() -> None:
    call = from_seat("13800138000")
    assert refusal(route(call, tenant(caller_number="861099990000"))) is Reason.NUMBER_NOT_YOURS
    assert refusal(route(call, tenant(caller_number=None))) is Reason.NUMBER_NOT_YOURS
    assert refusal(route(replace(call, gateways=()), TENANT)) is Reason.NO_GATEWAY


def test_a_node_that_does_not_serve_the_tenant_refuses_its_calls() -> None:
    assert refusal(route(from_seat("1002", node="node-2"), TENANT)) is Reason.WRONG_NODE


@pytest.mark.parametrize("dialled", ["110", "13800138000", "1001", "861088880003", "861088889999", "x"])
def test_from_outside_only_a_number_that_rings_somewhere_is_reached(dialled: str) -> None:
    assert refusal(route(from_gateway(dialled), TENANT)) is Reason.UNKNOWN_NUMBER
    assert refusal(route(from_gateway(dialled), None)) is Reason.UNKNOWN_NUMBER


def test_a_number_of_a_closed_seat_does_not_ring() -> None:
    assert refusal(route(from_gateway("861088880002"), TENANT)) is Reason.SEAT_CLOSED


def test_a_call_without_a_known_tenant_is_refused() -> None:
    assert refusal(route(from_seat("1002"), None)) is Reason.UNKNOWN_SEAT
