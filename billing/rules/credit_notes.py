"""Credit notes: what of an invoice's lines is taken back, and what may be (rules 3, 11 and 12).

A credit note has lines of the same kinds and tax rates as the invoice it corrects, with the other sign. Of a line no
more is credited than it charges, however many notes there are, and of the invoice no more than it comes to. Deposits
are given back by the rules of the lease, never by a note, but for that of orders that never open (rule 5).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import ClassVar

from billing.rules.errors import BillingRefused
from billing.rules.lines import Basis, InvoiceDraft, Line
from billing.rules.tax import total_tax
from infra.kit import money

DEPOSIT_KINDS = frozenset({"deposit", "deposit_return"})


class CreditRefused(BillingRefused):
    """What is to be credited is not on the invoice, or is more than is left of it; `field` names the line."""

    code: ClassVar[str] = "credit_refused"
    title: ClassVar[str] = "This cannot be credited"


@dataclass(frozen=True, slots=True)
class CorrectedLine:
    """A line of the invoice in question and what notes have credited of it so far (positive where it charges)."""

    number: int
    kind: str
    item: str | None
    amount: Decimal
    tax_rate: Decimal
    clause: str
    credited: Decimal = money.ZERO

    @property
    def left(self) -> Decimal:
        """What of the line stands, CNY."""
        return self.amount - self.credited


@dataclass(frozen=True, slots=True)
class CorrectedInvoice:
    """The invoice in question as a note needs it."""

    number: str
    period: str
    lines: Sequence[CorrectedLine]

    @property
    def left(self) -> Decimal:
        """What of the invoice stands without its deposits, CNY: the most that can still be credited."""
        return sum((line.left for line in self.lines if line.kind not in DEPOSIT_KINDS), money.ZERO)

    @property
    def left_with_deposits(self) -> Decimal:
        """What of the invoice stands, CNY, its deposits included."""
        return sum((line.left for line in self.lines), money.ZERO)


def whole_credit(invoice: CorrectedInvoice) -> dict[int, Decimal]:
    """All that is left of every line but deposits; what the invoice itself had credited is taken back with it."""
    return {line.number: line.left for line in invoice.lines if line.kind not in DEPOSIT_KINDS and line.left}


def lapsed_credit(invoice: CorrectedInvoice) -> dict[int, Decimal]:
    """All that is left of every line, deposits too: what a note credits where orders never open (rule 5)."""
    return {line.number: line.left for line in invoice.lines if line.left}


def credit_note(
    invoice: CorrectedInvoice,
    credited: Mapping[int, Decimal],
    *,
    on: date,
    reason: str,
    inputs: Sequence[tuple[str, str]] = (),
    with_deposits: bool = False,
) -> InvoiceDraft:
    """The note that credits parts of lines (by number, amounts with tax); dated `on`, never due, never suspending.

    `inputs` are kept with every line beside the invoice's number and line. `with_deposits`: the invoice is of orders
    that never open. Raises `CreditRefused` naming the line.
    """
    by_number = {line.number: line for line in invoice.lines}
    for number, amount in credited.items():
        _check_line(by_number.get(number), number, amount, with_deposits=with_deposits)
    total = sum(credited.values(), money.ZERO)
    if total <= 0:
        raise CreditRefused("lines", "nothing is left to credit", "an invoice with something that stands")
    left = invoice.left_with_deposits if with_deposits else invoice.left
    if total > left:
        raise CreditRefused("lines", f"they come to {total}", f"at most {left}, all that is left of it")
    lines = tuple(
        _note_line(invoice, by_number[number], amount, reason, inputs) for number, amount in sorted(credited.items())
    )
    return InvoiceDraft(
        reason="credit_note",
        issued_on=on,
        due_on=on,
        period=invoice.period,
        lines=lines,
        total=-total,
        tax=total_tax(lines),
    )


def _check_line(line: CorrectedLine | None, number: int, amount: Decimal, *, with_deposits: bool) -> None:
    place = f"lines.{number}"
    if line is None:
        raise CreditRefused(place, "the invoice has no such line", "the number of one of its lines, from 1")
    if line.kind in DEPOSIT_KINDS and not with_deposits:
        raise CreditRefused(place, "it is a deposit", "lines of rent, usage or charges; deposits are returned by rule")
    same_sign = amount != 0 and (amount > 0) == (line.amount > 0)
    if not same_sign or abs(amount) > abs(line.left):
        raise CreditRefused(place, f"{amount} of it is to be credited", f"no more than {line.left}, which is left")


def _note_line(
    invoice: CorrectedInvoice, line: CorrectedLine, amount: Decimal, reason: str, inputs: Sequence[tuple[str, str]]
) -> Line:
    basis = Basis(
        line.clause,
        f"{reason}: {amount} of line {line.number} of invoice {invoice.number}",
        -Fraction(amount),
        (("invoice", invoice.number), ("line", str(line.number)), ("reason", reason), *inputs),
    )
    kind = "deposit_return" if line.kind == "deposit" else line.kind
    return Line(kind, line.item, 1, abs(amount), -amount, (basis,), line.tax_rate)
