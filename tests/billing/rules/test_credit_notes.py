"""What of an invoice may be credited, whatever is asked for and however often (rules 3 and 12)."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from billing.rules.credit_notes import (
    DEPOSIT_KINDS,
    CorrectedInvoice,
    CorrectedLine,
    CreditRefused,
    credit_note,
    lapsed_credit,
    whole_credit,
)
from infra.kit import money

DAY = date(2026, 7, 20)
RATES = {"rent": "0.06", "calls": "0.09", "return_credit": "0.06", "deposit": "0", "equipment": "0.06"}
AMOUNTS = st.decimals("0.01", "5000.00", places=2)
LINES = st.lists(st.tuples(st.sampled_from(sorted(RATES)), AMOUNTS), min_size=1, max_size=6)
ASKED = st.lists(st.dictionaries(st.integers(1, 7), AMOUNTS, min_size=1, max_size=4) | st.none(), max_size=6)


def invoice_of(lines: list[tuple[str, Decimal]]) -> CorrectedInvoice:
    """An invoice with these lines; a return credit reduces it."""
    return CorrectedInvoice(
        "2026-0007",
        "2026-07",
        [
            CorrectedLine(
                number, kind, None, -amount if kind == "return_credit" else amount, Decimal(RATES[kind]), "C7, rule 3"
            )
            for number, (kind, amount) in enumerate(lines, start=1)
        ],
    )


def after(invoice: CorrectedInvoice, credited: dict[int, Decimal]) -> CorrectedInvoice:
    """The invoice when the note is in force."""
    lines = [replace(each, credited=each.credited + credited.get(each.number, money.ZERO)) for each in invoice.lines]
    return replace(invoice, lines=lines)


@given(LINES, ASKED)
def test_notes_never_take_back_more_than_there_was(
    lines: list[tuple[str, Decimal]], asked: list[dict[int, Decimal] | None]
) -> None:
    invoice = invoice_of(lines)
    for wanted in asked:
        credited = whole_credit(invoice) if wanted is None else wanted
        left = invoice.left
        try:
            note = credit_note(invoice, credited, on=DAY, reason="agreed")
        except CreditRefused as refusal:
            assert refusal.field is not None
            continue
        invoice = after(invoice, credited)
        assert note.total == -sum(credited.values()) == invoice.left - left < 0
        assert (note.reason, note.issued_on, note.due_on, note.suspends_on) == ("credit_note", DAY, DAY, None)
        assert abs(note.tax) < sum((abs(each.amount) for each in note.lines), money.ZERO)
        assert all(each.kind not in DEPOSIT_KINDS for each in note.lines)
        assert invoice.left >= 0
        for line in invoice.lines:
            assert abs(line.credited) <= abs(line.amount)
            assert line.credited == 0 or (line.credited > 0) == (line.amount > 0)


@given(LINES)
def test_the_whole_leaves_nothing_but_deposits(lines: list[tuple[str, Decimal]]) -> None:
    invoice = invoice_of(lines)
    if invoice.left <= 0:
        return
    invoice = after(invoice, whole_credit(invoice))
    assert invoice.left == 0
    assert all(line.left == 0 or line.kind in DEPOSIT_KINDS for line in invoice.lines)


@given(LINES)
def test_what_never_opens_leaves_nothing_not_even_a_deposit(lines: list[tuple[str, Decimal]]) -> None:
    charged = invoice_of([(kind, amount) for kind, amount in lines if kind in {"rent", "deposit"}])
    if not charged.lines:
        return
    note = credit_note(charged, lapsed_credit(charged), on=DAY, reason="never opened", with_deposits=True)
    assert note.total == -sum(line.amount for line in charged.lines)
    assert {line.kind for line in note.lines} <= {"rent", "deposit_return"}, "given back, not asked for"
    assert all(line.left == 0 for line in after(charged, lapsed_credit(charged)).lines)
