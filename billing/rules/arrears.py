"""Lines in arrears: what the month that has ended adds to the next invoice (C3, C10, C11, C21–C23, rules 3 and 6)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from decimal import Decimal
from fractions import Fraction

from billing.rules.book import Book, Holding
from billing.rules.deposits import deposits_to_return, returned_in
from billing.rules.faults import FaultCredit, fault_credits
from billing.rules.lines import Basis, LineCollector
from billing.rules.months import Month
from billing.rules.returns import return_credit
from billing.rules.terms import Terms

_CHARGE_CLAUSES = {
    "recruitment": "C21",
    "equipment": "C22",
    "utilities": "C23",
    "property": "C23",
    "penalty": "C16",
}


def add(
    collector: LineCollector, terms_of: Callable[[Month], Terms], book: Book, month: Month
) -> tuple[FaultCredit, ...]:
    """Everything in arrears for `month`: usage and one-off charges up to its end, credits and returned deposits.

    A month's credits follow the terms of that month, `terms_of(month)`. Returns the fault credits it has added, those
    of the book's `late_fault_months` first.
    """
    _add_return_credits(collector, terms_of(month), book, month)
    _add_deposit_returns(collector, deposits_to_return(book.holdings, month), "C4, rule 6")
    earlier = sorted(set(book.late_fault_months) - {month})
    faults = tuple(credit for each in (*earlier, month) for credit in fault_credits(terms_of(each), book, each))
    _add_fault_credits(collector, terms_of(month), faults)
    for kind in ("calls", "data"):
        due = [usage for usage in book.usage if usage.kind == kind and usage.on <= month.last]
        records = [usage for usage in due if usage.re_rating is None]
        if records:
            total = sum((Fraction(usage.amount) for usage in records), Fraction(0))
            formula = f"sum of {sum(usage.records for usage in records)} rated amounts"
            collector.add(kind, None, Basis("C3, rule 3", formula, total, (("month", str(month)),)))
        for usage in due:
            if usage.re_rating is not None:
                name, of_month = usage.re_rating
                formula = f"{usage.records} calls of {of_month} priced anew"
                inputs = (("month", of_month), ("re-rating", name))
                collector.add(kind, None, Basis("C3, rule 3", formula, Fraction(usage.amount), inputs))
    for charge in sorted(book.charges, key=lambda each: (each.on, each.kind, each.amount)):
        if charge.on <= month.last:
            formula = f"{charge.kind} of {charge.on.isoformat()}"
            basis = Basis(f"{_CHARGE_CLAUSES[charge.kind]}, rule 3", formula, Fraction(charge.amount))
            collector.add(charge.kind, None, basis)
    return faults


def add_held_deposits(collector: LineCollector, book: Book, month: Month) -> None:
    """At the end of the contract: every deposit still held, besides those that `add` gives back (rule 11)."""
    given_back = {holding.key for holding in deposits_to_return(book.holdings, month)}
    held = [holding for holding in book.holdings if holding.deposit and holding.key not in given_back]
    _add_deposit_returns(collector, held, "C4, rule 11")
    if book.fixed_deposit_held:
        basis = Basis("C4, rule 11", "deposit of the contract", -Fraction(book.fixed_deposit_held))
        collector.add("deposit_return", None, basis, unit_price=book.fixed_deposit_held)


def ranges(numbers: Iterable[int]) -> str:
    """Numbers for people: `1–3, 7`."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(str(first) if first == last else f"{first}–{last}" for first, last in runs)


def _add_return_credits(collector: LineCollector, terms: Terms, book: Book, month: Month) -> None:
    groups: defaultdict[tuple[str, Decimal, Fraction], list[int]] = defaultdict(list)
    for holding in returned_in(book.holdings, month):
        credit = return_credit(terms, holding)
        charged = holding.charged_for(month)
        if credit and charged is not None:
            groups[(holding.item, charged.unit_price, credit)].append(holding.number)
    for (item, price, credit), numbers in groups.items():
        part = 1 - terms.return_charge
        formula = f"{len(numbers)} × {_plain(credit / Fraction(part))} charged × {part}"
        inputs = (("month", str(month)), (f"{item}s", ranges(numbers)), ("cut-off day", str(terms.return_cutoff_day)))
        basis = Basis("C10, rule 6", formula, -credit * len(numbers), inputs)
        collector.add("return_credit", item, basis, quantity=len(numbers), unit_price=price)


def _add_deposit_returns(collector: LineCollector, holdings: Iterable[Holding], clause: str) -> None:
    groups: defaultdict[tuple[str, Decimal], list[int]] = defaultdict(list)
    for holding in holdings:
        groups[(holding.item, holding.deposit)].append(holding.number)
    for (item, deposit), numbers in groups.items():
        basis = Basis(
            clause,
            f"{len(numbers)} × deposit of {deposit}",
            -Fraction(deposit) * len(numbers),
            ((f"{item}s", ranges(numbers)),),
        )
        collector.add("deposit_return", item, basis, quantity=len(numbers), unit_price=deposit)


def _add_fault_credits(collector: LineCollector, terms: Terms, faults: Iterable[FaultCredit]) -> None:
    groups: defaultdict[tuple[str, Month, Decimal, int, bool, bool, Fraction], list[FaultCredit]] = defaultdict(list)
    for credit in faults:
        holding = credit.holding
        alike = (credit.days, credit.waived, credit.cut_to_charged, credit.amount)
        groups[(holding.item, credit.month, credit.unit_price, *alike)].append(credit)
    for (item, month, price, days, waived, cut, amount), credits_ in groups.items():
        each = f"{price} × {days} / {terms.fault_month_days}"
        if waived:
            each = "all that was charged"
        if cut:
            each += f", cut to {_plain(amount)} (no more than was charged)"
        elif any(credit.holding.fault_credited_for(month) for credit in credits_):
            each += f", {_plain(amount)} of it not credited yet"
        inputs = (
            ("month", str(month)),
            (f"{item}s", ranges(credit.holding.number for credit in credits_)),
            ("fault days", str(days)),
            ("longest fault time", str(max(credit.fault_time for credit in credits_))),
        )
        if names := dict.fromkeys(name for credit in credits_ for name in credit.fault_ids):
            inputs = (*inputs, ("faults", ", ".join(names)))
        basis = Basis("C11, rule 9", f"{len(credits_)} × {each}", -amount * len(credits_), inputs)
        collector.add("fault_credit", item, basis, quantity=len(credits_), unit_price=price)


def _plain(amount: Fraction) -> str:
    """An exact amount for people: a decimal where it is one within six places, else a fraction."""
    scaled = amount * 10**6
    if scaled.denominator == 1:
        text = f"{Decimal(scaled.numerator).scaleb(-6):f}"
        whole, _, places = text.partition(".")
        return f"{whole}.{places.rstrip('0').ljust(2, '0')}"
    return f"{amount.numerator}/{amount.denominator}"
