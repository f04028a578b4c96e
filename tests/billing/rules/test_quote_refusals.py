"""Histories that cannot be: refused in one line that names the event or the term."""

from __future__ import annotations

import json
from typing import Any

import pytest

from billing.calculator import quote, quote_text
from billing.rules.errors import BillingRefused, QuoteRefused, TermRefused
from billing.rules.terms import PRESETS, preset_terms, stored_terms
from tests.billing.histories import add, charge, document, end, fault, give_back, pay, usage, window

OPENING = add("2026-06-01", 3)


def refused(*events: Any, terms: dict[str, Any] | None = None, **changes: Any) -> str:
    question = document("onsite", "2026-06-01", "2026-08-31", [OPENING, *events], terms) | changes
    with pytest.raises(BillingRefused) as refusal:
        quote(question)
    message = str(refusal.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("event", "words"),
    [
        ({"type": "add", "on": "2026-06-20", "seats": 2, "colour": "red"}, 'unknown key "colour"'),
        ({"type": "add", "on": "2026-06-20"}, "seats is missing"),
        ({"type": "gift", "on": "2026-06-20"}, '"gift"'),
        ({"on": "2026-06-20"}, "not an event"),
        ([], "not an event"),
        (add("2026-02-30", 1), "does not exist"),
        (add("20260620", 1), "not a date"),
        (add("2026-05-31", 1), "before the contract opens"),
        (add("2026-06-20", 1, ordered_on="2026-06-21"), "after 2026-06-20"),
        (add("2026-06-20", 0), "0 is not acceptable"),
        (add("2026-06-20", True), "true"),
        (add("2026-06-20", 10**7), "whole number"),
        (add("2026-06-20", 1, item="desk"), '"desk"'),
        (give_back("2026-06-20", [4]), "no seat 4"),
        (give_back("2026-06-20", [1], item="circuit"), "no circuit 1"),
        (give_back("2026-06-01", [1]), "seat 1 is not held"),
        (give_back("2026-06-01", "all"), "no seat is held"),
        (give_back("2026-06-20", [1, 1]), "twice"),
        (give_back("2026-06-20", []), "names no seats"),
        (give_back("2026-06-20", "some"), "names no seats"),
        (give_back("2026-06-20", [1], ordered_on="2026-06-01"), "unknown key"),
        (fault("2026-06-05T00:00:00", "2026-06-04T00:00:00"), "ends before"),
        (fault("2026-06-05T00:00:00", "2026-06-31T00:00:00"), "not a moment"),
        ({**fault("2026-06-05T00:00:00", "2026-06-06T00:00:00"), "to": "2026-06-06T00:00:00"}, "no offset"),
        (fault("2026-06-05T00:00:00", "2026-06-06T00:00:00", cause="weather"), '"weather"'),
        (fault("2026-06-05T00:00:00", "2026-06-06T00:00:00", [9]), "no seat 9"),
        (window("2026-06-05T23:00:00", "2026-06-06T01:00:00"), "past midnight"),
        (charge("2026-06-05", "lunch", "1.00"), '"lunch"'),
        (charge("2026-06-05", "penalty", "-1.00"), "out of range"),
        (usage("2026-06-05", "calls", "1.00001"), "too many decimals"),
        (usage("2026-06-05", "calls", "1e3"), "not a decimal"),
        (usage("2026-06-05", "calls", "NaN"), "not a decimal"),
        (usage("2026-06-05", "video", "1.00"), '"video"'),
        (pay("2026-06-05", "1.001"), "too many decimals"),
        (pay("2026-06-05", "everything"), "not a decimal"),
        (end("2026-05-31"), "before the contract opens"),
    ],
)
def test_an_impossible_event_is_named(event: Any, words: str) -> None:
    message = refused(event)
    assert "events[1]" in message
    assert words in message
    if isinstance(event, dict) and event.get("type") in ("add", "return", "fault", "charge"):
        assert f"({event['type']})" in message


def test_an_event_after_the_end_is_refused_but_not_a_payment() -> None:
    for event in (
        add("2026-07-16", 1),
        give_back("2026-07-16", [1]),
        charge("2026-07-16", "penalty", "1.00"),
        usage("2026-07-16", "calls", "1.00"),
        fault("2026-07-16T00:00:00", "2026-07-17T00:00:00"),
        window("2026-07-16T00:00:00", "2026-07-16T01:00:00"),
    ):
        assert "events[2]" in refused(end("2026-07-15"), event)
    assert "ended already" in refused(end("2026-07-15"), end("2026-07-15"))
    quote(document("onsite", "2026-06-01", "2026-08-31", [OPENING, end("2026-07-15"), pay("2026-08-10")]))


def test_a_seat_cannot_be_returned_twice_or_before_it_is_open() -> None:
    assert "events[2] (return): seat 1 is not held on 2026-06-21" in refused(
        give_back("2026-06-20", [1]), give_back("2026-06-21", [1])
    )
    assert "events[2]" in refused(give_back("2026-06-20", [1]), give_back("2026-06-20", [1, 2]))
    assert "seat 4" in refused(add("2026-06-20", 1), give_back("2026-06-20", [4]))
    # Ordered, but never paid.
    assert "seat 4" in refused(add("2026-06-20", 1), pay("2026-05-28"), give_back("2026-06-25", [4]))


def test_a_third_window_of_a_month_is_refused() -> None:
    windows = [window(f"2026-06-{day}T02:00:00", f"2026-06-{day}T04:00:00") for day in ("20", "08", "12")]
    assert "events[1] (maintenance): one window too many in 2026-06" in refused(*windows)


def test_the_document_itself() -> None:
    assert "at least one add on opens_on" in refused(events=[add("2026-06-02", 1)])
    assert "unknown key" in refused(colour="red")
    assert "until" in refused(until="2026-08-32")
    assert "not a list" in refused(events={})
    assert "at most" in refused(until="2999-01-01")
    for text in ("", "[", "[]", "1", '{"a": 1, "a": 2}', "[" * 100_000, b"\xff", '"\\ud800"'):
        with pytest.raises(QuoteRefused) as refusal:
            quote_text(text)
        assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("terms", "place"),
    [
        ({"rent": "1.00"}, "terms.rent"),
        ({"rent_per_seat": "-1.00"}, "terms.rent_per_seat"),
        ({"rent_per_seat": "1.005"}, "terms.rent_per_seat"),
        ({"rent_per_seat": None}, "terms.rent_per_seat"),
        ({"rent_per_seat": "1" * 30}, "terms.rent_per_seat"),
        ({"deposit": "per_desk"}, "terms.deposit"),
        ({"proration": "weekly"}, "terms.proration"),
        ({"due_day": 29}, "terms.due_day"),
        ({"due_day": "10"}, "terms.due_day"),
        ({"grace_days": -1}, "terms.grace_days"),
        ({"return_charge": "1.01"}, "terms.return_charge"),
        ({"tax_rates": {"gold": "0.06"}}, "terms.tax_rates.gold"),
        ({"tax_rates": {"rent": "6"}}, "terms.tax_rates.rent"),
        ({"volume": [{"from": 0, "rent": "1"}]}, "terms.volume[0].from"),
        ({"volume": [{"from": 5, "rent": "1"}, {"from": 5, "rent": "2"}]}, "terms.volume[1]"),
        ({"fault_month_days": 31}, "terms.fault_month_days"),
    ],
)
def test_a_bad_term_is_named(terms: dict[str, Any], place: str) -> None:
    with pytest.raises(TermRefused) as refusal:
        preset_terms("hosted", terms)
    assert refusal.value.field == place
    assert f"contract.{place}" in refused(terms=terms)


def test_an_unknown_preset_is_refused() -> None:
    with pytest.raises(TermRefused, match="hosted, onsite"):
        preset_terms("remote")


@pytest.mark.parametrize("preset", ["hosted", "onsite"])
def test_stored_terms_come_back_as_they_were(preset: str) -> None:
    overrides = {
        "rent_per_seat": "1234.50",
        "return_charge": 0.65,
        "tax_rates": {"calls": "0.06"},
        "volume": [{"from": 50, "rent": "1000.00"}],
    }
    for terms in (PRESETS[preset], preset_terms(preset, overrides)):
        assert stored_terms(json.loads(json.dumps(terms.to_plain()))) == terms
