"""The invoices of a lease: opening, addition, monthly and final (C6, C7, C9, rules 2, 3, 4 and 11)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction

from billing.rules import arrears
from billing.rules.book import ITEMS, Book, FaultCredited, Holding, HoldingKey, RentCharge
from billing.rules.deposits import deposit_asked
from billing.rules.dunning import suspends_on
from billing.rules.faults import FaultCredit
from billing.rules.lines import Basis, InvoiceDraft, LineCollector, Reason
from billing.rules.months import ONE_DAY, Month
from billing.rules.proration import month_rent
from billing.rules.tax import tax_rate, total_tax
from billing.rules.terms import Terms, fixed_deposit
from billing.rules.volume import counted_seats, unit_price
from infra.kit import money
from infra.kit.working_days import CountedDay, working_day_before

TermsOfMonth = Callable[[Month], Terms]
"""The terms that decide about a month: those of its 1st (`billing.rules.contract_versions`)."""

CREDIT_KINDS = ("return_credit", "fault_credit")


def opening_dates(terms: Terms, opens_on: date) -> tuple[CountedDay, CountedDay]:
    """When the opening invoice is issued and due: the third and the last working day before opening (rule 2)."""
    return working_day_before(opens_on, terms.opening_working_days), working_day_before(opens_on, 1)


def opening_invoice(
    terms: Terms, ordered: Sequence[Holding], opens_on: date, *, seats: int, ends_on: date | None = None
) -> InvoiceDraft | None:
    """Deposit and the first month's rent for everything rented from `opens_on`; None when there is nothing to pay.

    `seats` is the number of seats that sets the volume price (`counted_seats` on the day of issue).
    """
    issued, due = opening_dates(terms, opens_on)
    collector = LineCollector()
    deposit = fixed_deposit(terms)
    if deposit:
        basis = Basis("C4, rule 2", f"deposit of the contract {deposit}", Fraction(deposit))
        collector.add("deposit", None, basis, unit_price=deposit)
    return _order_invoice(
        terms,
        ordered,
        collector,
        reason="opening",
        clause="C6, rule 2",
        issued_on=issued.day,
        due_on=due.day,
        opens_on=opens_on,
        seats=seats,
        ends_on=ends_on,
        provisional=issued.provisional or due.provisional,
    )


def addition_invoice(
    terms: Terms,
    ordered: Sequence[Holding],
    ordered_on: date,
    effective_on: date,
    *,
    seats: int,
    ends_on: date | None = None,
) -> InvoiceDraft | None:
    """Rent of the first month, and the deposit of each new seat, for all adds of one order day and effective day.

    Dated the order day, due on the effective day, priced on the order day; None when there is nothing to pay.
    """
    return _order_invoice(
        terms,
        ordered,
        LineCollector(),
        reason="addition",
        clause="C9, rule 4",
        issued_on=ordered_on,
        due_on=effective_on,
        opens_on=effective_on,
        seats=seats,
        ends_on=ends_on,
    )


def monthly_invoice(
    terms: Terms,
    book: Book,
    month: Month,
    *,
    released_on: date | None = None,
    terms_before: TermsOfMonth | None = None,
) -> InvoiceDraft | None:
    """This month's rent in advance and everything in arrears; dated the 1st; None without a line (rule 3).

    Charges every holding held at 00:00 on the 1st that has no rent charge for the month yet. `released_on` is the
    day on which finance released the run: later than the 5th it moves the due day to five days after. `terms` are
    those of the 1st; `terms_before` tells those of the months in arrears, where they were others.
    """
    collector = LineCollector()
    seats = counted_seats(book.holdings, month.first)
    charged: list[tuple[HoldingKey, RentCharge]] = []
    ended = book.ends_on is not None and book.ends_on < month.first
    for holding in book.holdings:
        if not ended and holding.held_when_begins(month.first) and holding.charged_for(month) is None:
            price = unit_price(terms, holding.item, seats)
            charged.append((holding.key, month_rent(terms, price, month.first, book.ends_on)))
    _add_rent(collector, charged, "C7, rule 3")
    past = terms_before or (lambda _: terms)
    faults = arrears.add(collector, past, book, month.preceding)
    due_on = monthly_due_on(terms, month, released_on)
    return _draft(
        terms,
        collector,
        reason="monthly",
        issued_on=month.first,
        due_on=due_on,
        period=month,
        suspends=suspends_on(terms, due_on),
        rent_charged=charged,
        faults=faults,
        credited_under=past(month.preceding),
    )


def final_invoice(
    terms: Terms, book: Book, ends_on: date, *, terms_before: TermsOfMonth | None = None
) -> InvoiceDraft | None:
    """Arrears, credits and the deposits held, dated the 1st of the month after the end (rule 11).

    None without a line. Made again later it carries what became known since (a supplementary final invoice), as long
    as the book no longer holds what the first one took. `terms` are those of the last day; `terms_before` as for a
    monthly invoice.
    """
    month = Month.of(ends_on)
    collector = LineCollector()
    past = terms_before or (lambda _: terms)
    faults = arrears.add(collector, past, book, month)
    arrears.add_held_deposits(collector, book, month)
    return _draft(
        terms,
        collector,
        reason="final",
        issued_on=month.following.first,
        due_on=monthly_due_on(terms, month.following),
        period=month,
        faults=faults,
        credited_under=past(month),
    )


def monthly_due_on(terms: Terms, month: Month, released_on: date | None = None) -> date:
    """The due day of a month's invoice, moved when it was released late (rule 3)."""
    due_on = date(month.year, month.number, terms.due_day)
    last_regular_release = date(month.year, month.number, terms.release_day)
    if released_on is None or released_on <= last_regular_release:
        return due_on
    return released_on + timedelta(days=terms.days_to_pay_after_release)


def lapses_on(effective_on: date) -> date:
    """The first day on which an order that is still unpaid is gone: the 1st after its month (rule 5)."""
    return Month.of(effective_on).last + ONE_DAY


def _order_invoice(
    terms: Terms,
    ordered: Sequence[Holding],
    collector: LineCollector,
    *,
    reason: Reason,
    clause: str,
    issued_on: date,
    due_on: date,
    opens_on: date,
    seats: int,
    ends_on: date | None,
    provisional: bool = False,
) -> InvoiceDraft | None:
    prices = {item: unit_price(terms, item, seats) for item in ITEMS}
    charged = [(holding.key, month_rent(terms, prices[holding.item], opens_on, ends_on)) for holding in ordered]
    deposits = [
        (holding.key, deposit)
        for holding in ordered
        if (deposit := deposit_asked(terms, holding.item, prices[holding.item]))
    ]
    for deposit, count in Counter(deposit for _, deposit in deposits).items():
        formula = f"{count} × one month of rent {deposit}"
        basis = Basis("C4", formula, Fraction(deposit) * count, (("seats counted", str(seats)),))
        collector.add("deposit", "seat", basis, quantity=count, unit_price=deposit)
    _add_rent(collector, charged, clause)
    return _draft(
        terms,
        collector,
        reason=reason,
        issued_on=issued_on,
        due_on=due_on,
        period=Month.of(opens_on),
        provisional=provisional,
        rent_charged=charged,
        deposits_asked=deposits,
    )


def _add_rent(collector: LineCollector, charged: Iterable[tuple[HoldingKey, RentCharge]], clause: str) -> None:
    numbers: dict[tuple[str, RentCharge], list[int]] = {}
    for key, charge in charged:
        numbers.setdefault((key.item, charge), []).append(key.number)
    for (item, charge), held in numbers.items():
        formula = f"{len(held)} × {charge.unit_price}"
        if charge.days != charge.month_days:
            formula += f" × {charge.days} / {charge.month_days} days"
        inputs = (("month", str(charge.month)), (f"{item}s", arrears.ranges(held)))
        basis = Basis(clause, formula, charge.amount * len(held), inputs)
        collector.add("rent", item, basis, quantity=len(held), unit_price=charge.unit_price)


def _draft(
    terms: Terms,
    collector: LineCollector,
    *,
    reason: Reason,
    issued_on: date,
    due_on: date,
    period: Month,
    suspends: date | None = None,
    provisional: bool = False,
    rent_charged: Sequence[tuple[HoldingKey, RentCharge]] = (),
    deposits_asked: Sequence[tuple[HoldingKey, Decimal]] = (),
    faults: Sequence[FaultCredit] = (),
    credited_under: Terms | None = None,
) -> InvoiceDraft | None:
    # A credit takes the rate of what it reduces (rule 12): that of the terms by which it was charged.
    credit_terms = credited_under or terms
    lines = tuple(
        replace(line, tax_rate=tax_rate(credit_terms if line.kind in CREDIT_KINDS else terms, line.kind))
        for line in collector.lines()
    )
    if not lines:
        return None
    total = sum((line.amount for line in lines), money.ZERO)
    return InvoiceDraft(
        reason=reason,
        issued_on=issued_on,
        due_on=due_on,
        period=str(period),
        lines=lines,
        total=total,
        tax=total_tax(lines),
        suspends_on=suspends if total > 0 else None,
        provisional=provisional,
        rent_charged=tuple(rent_charged),
        deposits_asked=tuple(deposits_asked),
        fault_credited=tuple((each.holding.key, FaultCredited(each.month, each.amount)) for each in faults),
        fixed_deposit_asked=fixed_deposit(terms) if reason == "opening" else money.ZERO,
    )
