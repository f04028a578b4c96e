"""Rent credited for the operator's faults (C11, rule 9)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction

from billing.rules.book import Book, Fault, Holding, Span, days_span
from billing.rules.months import ONE_DAY, Month, day_begins
from billing.rules.returns import return_credit
from billing.rules.terms import Terms

_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class FaultCredit:
    """What one holding gets back for one month: `amount` is exact and positive, `days` started days of fault.

    `cut_to_charged` tells that the credit was limited by what had been charged or by a return credit. `fault_ids`
    name the faults behind it, as far as they are stored.
    """

    holding: Holding
    month: Month
    fault_time: timedelta
    days: int
    waived: bool
    unit_price: Decimal
    amount: Fraction
    cut_to_charged: bool
    fault_ids: tuple[str, ...] = ()


def counts(terms: Terms, fault: Fault) -> bool:
    """Whether a fault, as reported, counts: the operator's, and longer than the repair time."""
    lasted = Fraction((fault.span.ends - fault.span.begins) // _MICROSECOND)
    allowed = Fraction(terms.repair_hours) * (timedelta(hours=1) // _MICROSECOND)
    return fault.cause == "operator" and lasted > allowed


def fault_credits(terms: Terms, book: Book, month: Month) -> tuple[FaultCredit, ...]:
    """The fault credits of every holding for one month, holdings without one left out."""
    within = _month_span(month)
    counted = [fault for fault in book.faults if counts(terms, fault) and overlap(fault.span, within)]
    if not counted:
        return ()
    excused = united([*book.maintenance, *book.suspensions])
    times: dict[object, timedelta] = {}
    found: list[FaultCredit] = []
    for holding in book.holdings:
        open_span = open_within(holding, within)
        if open_span is None:
            continue
        touching = tuple(
            index for index, fault in enumerate(counted) if fault.touches(holding) and overlap(fault.span, open_span)
        )
        if not touching:
            continue
        # Seats of one tenant mostly share their opening day and their faults, so the time is worked out once.
        known = (open_span, touching)
        if known not in times:
            times[known] = fault_time([counted[index].span for index in touching], open_span, excused)
        credit = _credit(terms, holding, month, times[known])
        if credit is not None:
            names = tuple(name for index in touching if (name := counted[index].fault_id) is not None)
            found.append(replace(credit, fault_ids=names))
    return tuple(found)


def fault_time(faults: Iterable[Span], within: Span, excused: Sequence[Span]) -> timedelta:
    """How long the union of the faults lasted within a span, without the excused times (sorted, disjoint)."""
    clipped = [part for fault in faults if (part := overlap(fault, within)) is not None]
    total = timedelta(0)
    for fault in united(clipped):
        total += fault.ends - fault.begins
        for time in excused:
            part = overlap(fault, time)
            if part is not None:
                total -= part.ends - part.begins
    return total


def open_within(holding: Holding, within: Span) -> Span | None:
    """The part of a span in which a holding was open, from the beginning of a day to the end of one (C13)."""
    if holding.opened_on is None:
        return None
    begins = day_begins(holding.opened_on)
    ends = within.ends if holding.closed_on is None else day_begins(holding.closed_on + ONE_DAY)
    return overlap(Span(begins, max(begins, ends)), within)


def united(spans: Iterable[Span]) -> list[Span]:
    """The same times as disjoint spans in order."""
    result: list[Span] = []
    for span in sorted(spans):
        if result and span.begins <= result[-1].ends:
            result[-1] = Span(result[-1].begins, max(result[-1].ends, span.ends))
        else:
            result.append(span)
    return result


def _credit(terms: Terms, holding: Holding, month: Month, lasted: timedelta) -> FaultCredit | None:
    charged = holding.charged_for(month)
    if charged is None or lasted <= timedelta(0):
        return None
    days = -(-lasted // ONE_DAY)
    waived = Fraction(lasted // _MICROSECOND) > Fraction(terms.fault_waiver_days) * (ONE_DAY // _MICROSECOND)
    wanted = charged.amount if waived else Fraction(charged.unit_price) * days / terms.fault_month_days
    limit = charged.amount
    if holding.closed_on is not None and Month.of(holding.closed_on) == month:
        limit -= return_credit(terms, holding)
    amount = min(wanted, limit) - holding.fault_credited_for(month)
    if amount <= 0:
        return None
    return FaultCredit(holding, month, lasted, days, waived, charged.unit_price, amount, wanted > limit)


def _month_span(month: Month) -> Span:
    return days_span(month.first, month.following.first)


def overlap(one: Span, other: Span) -> Span | None:
    """The time that two spans share; None where they share none."""
    begins, ends = max(one.begins, other.begins), min(one.ends, other.ends)
    return Span(begins, ends) if begins < ends else None
