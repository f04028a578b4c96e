"""Properties of any history: nothing is lost, nothing is charged twice, the way it is written does not matter."""

from __future__ import annotations

import random
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from billing.calculator import quote
from billing.rules.errors import NotHeld
from billing.rules.quote_document import read_quote
from billing.rules.simulation import Story, simulate
from infra.kit import money
from tests.billing.histories import add, charge, document, end, fault, give_back, pay, usage, window

OPENS = date(2026, 2, 10)
UNTIL = OPENS + timedelta(days=200)
EXAMPLES = 120

days = st.integers(0, 170).map(lambda count: (OPENS + timedelta(days=count)).isoformat())
amounts = st.integers(0, 5_000_000).map(lambda count: str(Decimal(count).scaleb(-4)))
fen_amounts = st.integers(0, 5_000_000).map(lambda count: str(Decimal(count).scaleb(-2)))


@st.composite
def additions(draw: st.DrawFn) -> dict[str, Any]:
    on = draw(days)
    more: dict[str, Any] = {"item": draw(st.sampled_from(["seat", "circuit"]))}
    if draw(st.booleans()):
        notice = timedelta(days=draw(st.integers(0, 40)))
        more["ordered_on"] = (date.fromisoformat(on) - notice).isoformat()
    return add(on, draw(st.integers(1, 6)), **more)


@st.composite
def faults(draw: st.DrawFn) -> dict[str, Any]:
    hour = timedelta(hours=draw(st.integers(0, 23)), seconds=draw(st.integers(0, 1)))
    begins = date.fromisoformat(draw(days))
    lasting = timedelta(hours=draw(st.integers(0, 700)), minutes=draw(st.integers(1, 59)))
    seconds = int(hour.total_seconds())
    start = f"{begins}T{seconds // 3600:02d}:00:{seconds % 60:02d}"
    total = timedelta(days=begins.toordinal(), seconds=seconds) + lasting
    stop_day = date.fromordinal(total.days)
    stop = f"{stop_day}T{total.seconds // 3600:02d}:{total.seconds // 60 % 60:02d}:{total.seconds % 60:02d}"
    return fault(start, stop, "all", draw(st.sampled_from(["operator", "operator", "tenant"])))


@st.composite
def histories(draw: st.DrawFn) -> dict[str, Any]:
    events: list[dict[str, Any]] = [add(OPENS.isoformat(), draw(st.integers(1, 8)))]
    events += draw(st.lists(additions(), max_size=5))
    events += draw(st.lists(faults(), max_size=3))
    events += [charge(on, "equipment", amount) for on, amount in draw(st.lists(st.tuples(days, amounts), max_size=3))]
    events += [
        usage(on, kind, amount)
        for on, kind, amount in draw(st.lists(st.tuples(days, st.sampled_from(["calls", "data"]), amounts), max_size=6))
    ]
    events += [
        pay(on, amount)
        for on, amount in draw(st.lists(st.tuples(days, st.one_of(st.just("all"), fen_amounts)), max_size=6))
    ]
    if draw(st.booleans()):
        events.append(window("2026-04-12T02:00:00", "2026-04-12T06:00:00"))
    if draw(st.booleans()):
        events.append(end((OPENS + timedelta(days=draw(st.integers(171, 190)))).isoformat()))
    for _ in range(draw(st.integers(0, 3))):
        numbers = draw(st.one_of(st.just("all"), st.lists(st.integers(1, 4), min_size=1, max_size=3, unique=True)))
        candidate = give_back(draw(days), numbers)
        if _possible([*events, candidate]):
            events.append(candidate)
    terms = {
        "rent_per_seat": draw(st.sampled_from(["2000.00", "1777.77", "0.07"])),
        "rent_per_circuit": draw(st.sampled_from(["0.00", "33.33"])),
        "volume": draw(st.sampled_from([[], [{"from": 5, "rent": "1111.11"}]])),
        "deposit": draw(st.sampled_from(["per_seat", "0.00", "4321.00"])),
    }
    return document(draw(st.sampled_from(["hosted", "onsite"])), OPENS.isoformat(), UNTIL.isoformat(), events, terms)


def _possible(events: list[dict[str, Any]]) -> bool:
    try:
        read = read_quote(document("hosted", OPENS.isoformat(), UNTIL.isoformat(), events))
        simulate(read.contract, read.events, read.until)
    except (NotHeld, ValueError):
        return False
    except Exception as refusal:
        if "there is no" in str(refusal):
            return False
        raise
    return True


def told(question: dict[str, Any]) -> Story | None:
    """The story, or None where these terms make a return impossible that the others allowed."""
    read = read_quote(question)
    try:
        return simulate(read.contract, read.events, read.until)
    except NotHeld:
        return None


@settings(max_examples=EXAMPLES, deadline=None)
@given(histories())
def test_every_fen_has_its_place(question: dict[str, Any]) -> None:
    story = told(question)
    if story is None:
        return
    valid = [each for each in story.invoices if not each.void]
    for each in story.invoices:
        assert each.draft.total == sum((line.amount for line in each.draft.lines), money.ZERO)
        exact: dict[tuple[str, str | None], Fraction] = {}
        for line in each.draft.lines:
            place = (line.kind, line.item)
            exact[place] = exact.get(place, Fraction(0)) + sum((basis.amount for basis in line.bases), Fraction(0))
        for (kind, item), amount in exact.items():
            lines = [line.amount for line in each.draft.lines if (line.kind, line.item) == (kind, item)]
            assert sum(lines, money.ZERO) == money.fen(amount)
        assert each.void or each.settled + each.unpaid == max(each.draft.total, money.ZERO)
    # What is owed is what was invoiced and not paid; money paid in is on invoices, in credit or refunded.
    owed = sum((each.unpaid for each in valid), money.ZERO)
    credited = -sum((min(each.draft.total, money.ZERO) for each in valid), money.ZERO)
    settled = sum((each.settled for each in valid), money.ZERO)
    assert story.received + credited == settled + (owed - story.balance) + story.refunded
    assert owed - story.balance >= 0
    asked = sum(
        (line.amount for each in valid if each.is_settled for line in each.draft.lines if line.kind == "deposit"),
        money.ZERO,
    )
    given_back = sum(
        (line.amount for each in valid for line in each.draft.lines if line.kind == "deposit_return"), money.ZERO
    )
    assert story.deposit_held == asked + given_back


@settings(max_examples=EXAMPLES, deadline=None)
@given(histories())
def test_no_month_costs_less_than_nothing_and_no_month_is_charged_twice(question: dict[str, Any]) -> None:
    story = told(question)
    if story is None:
        return
    for holding in story.holdings:
        months = [rent.month for rent in holding.rent]
        assert len(months) == len(set(months))
    credited: dict[str, Decimal] = {}
    charged: dict[str, Decimal] = {}
    for invoice in story.invoices:
        if invoice.void:
            continue
        for line in invoice.draft.lines:
            if line.kind == "rent":
                charged[invoice.draft.period] = charged.get(invoice.draft.period, money.ZERO) + line.amount
            if line.kind in ("return_credit", "fault_credit"):
                period = str(read_period_before(invoice.draft.issued_on))
                credited[period] = credited.get(period, money.ZERO) + line.amount
    for period, amount in credited.items():
        # A few fen: each invoice and kind is rounded on its own.
        assert -amount <= charged.get(period, money.ZERO) + Decimal("0.10")


def read_period_before(issued_on: date) -> str:
    before = issued_on - timedelta(days=1)
    return f"{before:%Y-%m}"


@settings(max_examples=EXAMPLES, deadline=None)
@given(histories(), st.integers())
def test_the_order_of_the_list_does_not_matter(question: dict[str, Any], seed: int) -> None:
    if told(question) is None:
        return
    shuffled = question | {"events": random.Random(seed).sample(question["events"], len(question["events"]))}  # noqa: S311
    assert quote(shuffled) == quote(question)


@settings(max_examples=EXAMPLES, deadline=None)
@given(histories(), st.data())
def test_splitting_an_event_of_one_day_changes_nothing(question: dict[str, Any], data: st.DataObject) -> None:
    if told(question) is None:
        return
    split: list[dict[str, Any]] = []
    for event in question["events"]:
        seats = event.get("seats")
        if event["type"] == "add" and seats > 1:
            first = data.draw(st.integers(1, seats - 1))
            split += [event | {"seats": first}, event | {"seats": seats - first}]
        elif event["type"] in ("return", "fault") and isinstance(seats, list) and len(seats) > 1:
            split += [event | {"seats": seats[:1]}, event | {"seats": seats[1:]}]
        elif event["type"] == "usage":
            half = Decimal(event["amount"]) / 2
            first_half = half.quantize(Decimal("0.0001"))
            split += [
                event | {"amount": str(first_half)},
                event | {"amount": str(Decimal(event["amount"]) - first_half)},
            ]
        else:
            split.append(event)
    before, after = quote(question), quote(question | {"events": split})
    for answer in (before, after):
        for invoice in answer["invoices"]:
            for line in invoice["lines"]:
                del line["unit_price"]
    assert after == before
