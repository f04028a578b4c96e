"""Who may register and call, and what the directory answers."""

from __future__ import annotations

import pytest

from switch.admission import (
    SIP_ANSWERS,
    Admitted,
    Attempt,
    EmergencyOnly,
    Listed,
    Lookup,
    Purpose,
    Reason,
    Refused,
    Standing,
    admit,
    answer_lookup,
)
from tests.switch.builders import NODE, TENANT, tenant


def test_an_open_seat_of_an_active_tenant_is_admitted_on_its_node() -> None:
    assert admit(Attempt(NODE, "1001"), TENANT) == Admitted()


@pytest.mark.parametrize(
    ("standing", "reason"),
    [
        (Standing.UNOPENED, Reason.TENANT_UNOPENED),
        (Standing.SUSPENDED, Reason.TENANT_SUSPENDED),
        (Standing.CLOSED, Reason.TENANT_CLOSED),
    ],
)
def test_only_an_active_tenant_is_served(standing: Standing, reason: Reason) -> None:
    assert admit(Attempt(NODE, "1001"), tenant(standing=standing)) == Refused(reason)


def test_a_closed_or_unknown_seat_and_another_node_are_refused_with_their_own_reason() -> None:
    assert admit(Attempt(NODE, "1003"), TENANT) == Refused(Reason.SEAT_CLOSED)
    assert admit(Attempt(NODE, "1009"), TENANT) == Refused(Reason.UNKNOWN_SEAT)
    assert admit(Attempt("node-2", "1001"), TENANT) == Refused(Reason.WRONG_NODE)
    assert admit(Attempt(NODE, "1001"), None) == Refused(Reason.UNKNOWN_SEAT)


def test_every_reason_has_a_sip_answer_that_refuses() -> None:
    assert set(SIP_ANSWERS) == set(Reason)
    assert all(400 <= Refused(reason).answer.status < 700 for reason in Reason)


def lookup(purpose: Purpose, user: str = "1001", *, to_user: str | None = None, to_host: str = "a.example") -> Lookup:
    return Lookup(purpose, NODE, user, "a.example", to_user=to_user or user, to_host=to_host)


@pytest.mark.parametrize("purpose", [Purpose.REGISTER, Purpose.INVITE, Purpose.RING, Purpose.INSPECT])
def test_an_admitted_account_is_listed_for_everything_it_needs(purpose: Purpose) -> None:
    answer = answer_lookup(lookup(purpose), TENANT)
    assert isinstance(answer, Listed)
    assert answer.seat.seat_id == "seat_1"


@pytest.mark.parametrize("purpose", [Purpose.REGISTER, Purpose.RING, Purpose.INSPECT])
def test_a_suspended_tenant_cannot_register_or_be_rung_and_an_inspection_says_so(purpose: Purpose) -> None:
    suspended = tenant(standing=Standing.SUSPENDED)
    assert answer_lookup(lookup(purpose), suspended) == Refused(Reason.TENANT_SUSPENDED)


@pytest.mark.parametrize(
    ("user", "changes", "reason"),
    [
        ("1001", {"standing": Standing.SUSPENDED}, Reason.TENANT_SUSPENDED),
        ("1001", {"standing": Standing.UNOPENED}, Reason.TENANT_UNOPENED),
        ("1003", {}, Reason.SEAT_CLOSED),
        ("1001", {"serving_node": "node-2"}, Reason.WRONG_NODE),
    ],
)
def test_whoever_may_not_call_may_still_call_for_help(user: str, changes: dict[str, object], reason: Reason) -> None:
    view = tenant(**changes)
    assert answer_lookup(lookup(Purpose.INVITE, user), view) == EmergencyOnly(view.seats[user], reason)


def test_a_stranger_may_not_even_call_for_help_without_an_account() -> None:
    assert answer_lookup(lookup(Purpose.INVITE, "1009"), TENANT) == Refused(Reason.UNKNOWN_SEAT)
    assert answer_lookup(lookup(Purpose.INVITE), None) == Refused(Reason.UNKNOWN_SEAT)


def test_a_seat_cannot_register_for_an_address_that_is_not_its_own() -> None:
    stolen_domain = lookup(Purpose.REGISTER, to_host="b.example")
    stolen_extension = lookup(Purpose.REGISTER, to_user="1002")
    assert answer_lookup(stolen_domain, TENANT) == Refused(Reason.ADDRESS_NOT_YOURS)
    assert answer_lookup(stolen_extension, TENANT) == Refused(Reason.ADDRESS_NOT_YOURS)
    assert isinstance(answer_lookup(lookup(Purpose.REGISTER, to_host="A.Example"), TENANT), Listed)


def test_subscriptions_and_messages_find_nobody() -> None:
    assert answer_lookup(lookup(Purpose.OTHER), TENANT) == Refused(Reason.METHOD_NOT_SERVED)
