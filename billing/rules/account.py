"""A contract's receivables over time: what is open, paid, void or in credit (rules 3, 5, 7, 8 and 11)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from billing.rules.allocation import OpenInvoice, allocate
from billing.rules.lines import REASONS, InvoiceDraft
from infra.kit import money


@dataclass(slots=True)
class AccountInvoice:
    """An issued invoice and how it stands; `unpaid` is zero for one with nothing to pay."""

    draft: InvoiceDraft
    unpaid: Decimal
    settled: Decimal = money.ZERO
    paid_on: date | None = None
    void: bool = False

    @property
    def is_settled(self) -> bool:
        """Whether nothing is left to pay on a valid invoice."""
        return not self.void and self.unpaid == 0


class Account:
    """Issues, pays and voids invoices; every sum ends on an invoice, as credit, or refunded."""

    def __init__(self) -> None:
        self.invoices: list[AccountInvoice] = []
        self.credit = money.ZERO
        self.received = money.ZERO
        self.refunded = money.ZERO
        self._open: list[AccountInvoice] = []

    def issue(self, draft: InvoiceDraft) -> AccountInvoice:
        """Take an invoice in; a negative total becomes credit. Call `set_off` when the day's are all in."""
        invoice = AccountInvoice(draft, max(draft.total, money.ZERO))
        self.invoices.append(invoice)
        if invoice.unpaid:
            self._open.append(invoice)
        else:
            invoice.paid_on = draft.issued_on
            self.credit -= draft.total
        return invoice

    def receive(self, amount: Decimal, on: date) -> None:
        """A payment: oldest due first, then oldest issued; what is left is credit."""
        self.received += amount
        self.credit += amount
        self.set_off(on)

    def set_off(self, on: date) -> None:
        """Use the credit for what is open."""
        if not self.credit or not self._open:
            return
        invoices = (
            OpenInvoice(index, each.draft.due_on, each.draft.issued_on, each.unpaid, REASONS.index(each.draft.reason))
            for index, each in enumerate(self._open)
        )
        shares, self.credit = allocate(self.credit, list(invoices))
        touched = [(self._open[share.key], share.amount) for share in shares]
        for invoice, amount in touched:
            self._settle(invoice, amount, on)

    def pay(self, invoice: AccountInvoice, on: date) -> None:
        """Take one invoice as paid in full on a day."""
        if invoice.unpaid and not invoice.void:
            self.received += invoice.unpaid
            self._settle(invoice, invoice.unpaid, on)

    def void(self, invoice: AccountInvoice) -> None:
        """A lapsed order's invoice: nothing is owed, and what was paid on it is credit again (rule 5)."""
        self.credit += invoice.settled
        invoice.settled = invoice.unpaid = money.ZERO
        invoice.void, invoice.paid_on = True, None
        if invoice in self._open:
            self._open.remove(invoice)

    def refund(self, at_most: Decimal) -> None:
        """Pay credit out, as after a final invoice (rule 11)."""
        amount = min(self.credit, at_most)
        self.credit -= amount
        self.refunded += amount

    def open_invoices(self) -> Iterator[AccountInvoice]:
        """Those with something left to pay."""
        return iter(tuple(self._open))

    @property
    def owed(self) -> Decimal:
        """Everything open, CNY."""
        return sum((invoice.unpaid for invoice in self._open), money.ZERO)

    @property
    def balance(self) -> Decimal:
        """What the tenant owes; negative: its credit."""
        return self.owed - self.credit

    def suspends(self, day: date) -> bool:
        """Whether an unpaid invoice keeps the tenant suspended on this day (rule 7)."""
        return any(invoice.draft.suspends_on is not None and invoice.draft.suspends_on <= day for invoice in self._open)

    def _settle(self, invoice: AccountInvoice, amount: Decimal, on: date) -> None:
        invoice.unpaid -= amount
        invoice.settled += amount
        if invoice.unpaid == 0:
            invoice.paid_on = on
            self._open.remove(invoice)
