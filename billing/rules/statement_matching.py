"""Whom a line of a bank statement pays for (C25): sure by what was written, by the amount and by the payer, or unclear.

A sure match needs an invoice named in the remittance text and a second witness:

- the payment reference that the invoice prints (its number and the end of the tenant's id) is one tenant's alone; the
  amount left open on the invoices named, or the payer's name, must agree with it;
- a bare invoice number stands on many tenants' invoices; the payer's name picks the tenant, and the amount must agree.

A payer that bears another tenant's name is never sure. Everything else is for a person to decide.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

SUFFIX_CHARACTERS = 6
"""How much of a tenant's id ends the payment reference that invoices print."""

By = Literal["payment_reference", "invoice_number"]
Reason = Literal[
    "no_reference", "payer_unknown", "several_tenants", "payer_is_another_tenant", "invoice_unknown",
    "amount_differs", "amount_and_payer_differ",
]  # fmt: skip

ADVICE: Mapping[str, str] = {
    "no_reference": "The text names no invoice; ask the payer, then assign the line to a tenant or dismiss it.",
    "payer_unknown": "The text names an invoice number, but no tenant bears the payer's name; assign it by hand.",
    "several_tenants": "More than one tenant may be meant; assign the line to the right one.",
    "payer_is_another_tenant": "The reference is one tenant's and the payer's name another's; find out who is meant.",
    "invoice_unknown": "The tenant has no invoice of the number in the text; check the number, then assign the line.",
    "amount_differs": "The amount is not what is open on the invoices named; check it, then assign the line.",
    "amount_and_payer_differ": "Neither the amount nor the payer agrees with the reference; check it, then assign it.",
}
"""What a person may do about a line that is unclear for this reason."""

_DASHES = str.maketrans(dict.fromkeys("‐‑‒–—―−﹣_", "-"))
_LOOK_ALIKE = str.maketrans({"O": "0", "I": "1", "L": "1"})
"""The letters that ids leave out, as people type them."""

_REFERENCE = re.compile(
    rf"(?<!\d)(?P<year>\d{{4}})[- ]?(?P<serial>\d{{4,6}})[- ]?(?P<suffix>[0-9A-Z]{{{SUFFIX_CHARACTERS}}})(?![0-9A-Z])",
    re.ASCII,
)
_NUMBER = re.compile(r"(?<!\d)\d{4}-\d{4,6}(?!\d)", re.ASCII)


@dataclass(frozen=True, slots=True)
class KnownTenant:
    """A tenant by its id and its company name."""

    tenant_id: str
    name: str


@dataclass(frozen=True, slots=True)
class NamedInvoice:
    """An invoice of the tenant in question: what is left to pay on it, CNY; zero when paid or void."""

    number: str
    open: Decimal


@dataclass(frozen=True, slots=True)
class Named:
    """The one tenant that a line may pay for, the invoice numbers it names, and how they were named."""

    tenant_id: str
    numbers: frozenset[str]
    by: By
    payer_agrees: bool


@dataclass(frozen=True, slots=True)
class Unclear:
    """A line that a person must decide, why, and the tenant that seems likeliest."""

    reason: Reason
    suggestion: str | None = None


class Directory:
    """Every tenant, found by the end of its id and by its name."""

    def __init__(self, tenants: Iterable[KnownTenant]) -> None:
        self._by_suffix: dict[str, set[str]] = defaultdict(set)
        self._by_name: dict[str, set[str]] = defaultdict(set)
        for tenant in tenants:
            self._by_suffix[tenant.tenant_id[-SUFFIX_CHARACTERS:].upper()].add(tenant.tenant_id)
            name = comparable_name(tenant.name)
            if name:
                self._by_name[name].add(tenant.tenant_id)

    def ending_in(self, suffix: str) -> set[str]:
        """Tenants whose id ends so (capital letters)."""
        return self._by_suffix.get(suffix, set())

    def called(self, payer: str | None) -> set[str]:
        """Tenants that bear a payer's name."""
        return self._by_name.get(comparable_name(payer or ""), set())


def comparable_name(name: str) -> str:
    """A company's name without what banks change in it: width, capitals, blanks, brackets, dots."""
    return "".join(each for each in unicodedata.normalize("NFKC", name).casefold() if each.isalnum())


def who_is_named(remittance: str, payer: str | None, directory: Directory) -> Named | Unclear:
    """The tenant that the text and the payer's name point at, before its invoices have been looked at (C25)."""
    text = unicodedata.normalize("NFKC", remittance).upper().translate(_DASHES)
    namesakes = directory.called(payer)
    referenced: dict[str, set[str]] = defaultdict(set)
    for found in _REFERENCE.finditer(text):
        for tenant_id in directory.ending_in(found["suffix"].translate(_LOOK_ALIKE)):
            referenced[tenant_id].add(f"{found['year']}-{found['serial']}")
    if referenced:
        return _by_reference(referenced, namesakes)
    numbers = frozenset(_NUMBER.findall(text))
    only = next(iter(namesakes)) if len(namesakes) == 1 else None
    if not numbers:
        return Unclear("no_reference", only)
    if only is None:
        return Unclear("several_tenants" if namesakes else "payer_unknown")
    return Named(only, numbers, "invoice_number", payer_agrees=True)


def _by_reference(referenced: Mapping[str, set[str]], namesakes: set[str]) -> Named | Unclear:
    if len(referenced) > 1:
        agreeing = namesakes & referenced.keys()
        return Unclear("several_tenants", next(iter(agreeing)) if len(agreeing) == 1 else None)
    [(tenant_id, numbers)] = referenced.items()
    if namesakes and tenant_id not in namesakes:
        return Unclear("payer_is_another_tenant", tenant_id)
    return Named(tenant_id, frozenset(numbers), "payment_reference", payer_agrees=tenant_id in namesakes)


def doubt_about(named: Named, amount: Decimal, invoices: Iterable[NamedInvoice]) -> Unclear | None:
    """What keeps a named tenant from being sure, given its invoices of those numbers; None: it is sure (C25)."""
    left = {invoice.number: invoice.open for invoice in invoices if invoice.number in named.numbers}
    if left.keys() != named.numbers:
        return Unclear("invoice_unknown", named.tenant_id)
    if amount == sum(left.values(), Decimal(0)):
        return None
    if named.by == "invoice_number":
        return Unclear("amount_differs", named.tenant_id)
    return None if named.payer_agrees else Unclear("amount_and_payer_differ", named.tenant_id)
