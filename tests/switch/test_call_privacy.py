"""What an operator's person sees of calls of tenants that it does not visit: last digits, a record's place and time."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest

from infra.kit.ids import new_id
from switch.call_privacy import Sight, masked
from tests.switch.exchange import call_record

VISITED, OTHER = new_id("ten"), new_id("ten")
CALLED = "8613800138000"


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        (CALLED, "**********000"),
        ("+862150001234", "*********234"),
        ("2150001", "****001"),
        ("215000", "***"),
        ("110", "***"),
        ("1001", "***"),
        ("li.wei", "***"),
        ("１３８００１３８０００", "***"),
        ("", ""),
    ],
)
def test_of_a_number_the_last_digits_are_shown(number: str, shown: str) -> None:
    assert masked(number) == shown


def test_numbers_are_whole_of_tenants_that_are_visited_and_to_those_who_need_no_visit() -> None:
    sight = Sight(frozenset({VISITED}))
    assert [sight.number(CALLED, each) for each in (VISITED, OTHER, None)] == [CALLED, masked(CALLED), masked(CALLED)]
    assert Sight(None).number(CALLED, None) == CALLED
    assert Sight(frozenset()).number(None, VISITED) is None


def test_what_a_price_was_found_by_is_hidden_because_it_may_be_the_whole_number() -> None:
    sight = Sight(frozenset({VISITED}))
    assert [sight.price_prefix("8613800", each) for each in (VISITED, OTHER)] == ["8613800", "***"]
    assert sight.price_prefix(None, OTHER) is None, "it had no price"
    assert Sight(None).price_prefix("8613800", OTHER) == "8613800"


def test_of_a_record_that_was_set_aside_the_place_and_time_are_shown() -> None:
    record = call_record(OTHER, seatline_destination=CALLED, sip_from_user="13900139000")
    record |= {"core-uuid": "a3c1", "switchname": "node-1"}
    body = json.dumps(record).encode()
    for posted in (body, b"cdr=" + quote(body).encode()):
        shown = json.loads(Sight(frozenset({VISITED})).body(posted))
        assert set(shown) == {"core-uuid", "switchname", "variables"}
        assert shown["variables"]["uuid"] == record["variables"]["uuid"]
        assert not [number for number in (CALLED, "13900139000") if number in json.dumps(shown)]
    assert Sight(frozenset({OTHER})).body(body) == Sight(None).body(body) == body.decode()


@pytest.mark.parametrize("body", [b"", b"\xff\x00", b"13800138000", b'["13800138000"]', b'{"variables": "138001380"}'])
def test_of_what_cannot_be_read_nothing_is_shown(body: bytes) -> None:
    assert "138" not in Sight(frozenset({VISITED})).body(body)
    assert "138" not in Sight(frozenset()).body(b"[" * 100_000 + b"13800138000")
