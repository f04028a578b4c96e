"""Which open invoices a sum of money settles (rule 8)."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Generic, TypeVar

from billing.rules.errors import BillingRefused

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True, slots=True)
class OpenInvoice(Generic[Key]):
    """An invoice with something left to pay; `place` orders invoices of the same due and issue day."""

    key: Key
    due_on: date
    issued_on: date
    unpaid: Decimal
    place: int = 0


@dataclass(frozen=True, slots=True)
class Share(Generic[Key]):
    """The part of a sum that goes to one invoice."""

    key: Key
    amount: Decimal


def allocate(amount: Decimal, invoices: Iterable[OpenInvoice[Key]]) -> tuple[list[Share[Key]], Decimal]:
    """Split a sum (CNY, not negative) over open invoices; returns the shares and what is left as credit.

    Oldest due first, then oldest issued; an invoice may be paid in part. Raises `BillingRefused` for a negative sum.
    """
    if amount < 0:
        raise BillingRefused("amount", f"{amount} is negative", "zero or more; reverse a payment instead")
    shares: list[Share[Key]] = []
    for invoice in sorted(invoices, key=lambda each: (each.due_on, each.issued_on, each.place)):
        part = min(amount, invoice.unpaid)
        if part > 0:
            shares.append(Share(invoice.key, part))
            amount -= part
    return shares, amount
