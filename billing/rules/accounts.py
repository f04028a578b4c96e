"""The chart of accounts, and what each event posts to it (double entry; every event sums to zero).

Amounts are CNY, a debit positive and a credit negative. An account has a `detail` where one name is not enough
(revenue by kind of line, tax by rate, cash by channel), and a `subject`: the invoice that is owed, the payment or
credit note that credit is left of.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Literal

from infra.kit import money

Account = Literal[
    "receivable",
    "credit",
    "deposit_due",
    "deposit_held",
    "revenue",
    "tax",
    "cash",
    "fees",
    "exchange",
    "write_off",
]

ACCOUNTS: dict[Account, str] = {
    "receivable": "What tenants owe, by invoice (an asset).",
    "credit": "What is left of payments and credit invoices, by source (owed to tenants).",
    "deposit_due": "Deposits asked for on invoices that are not paid yet.",
    "deposit_held": "Deposits received and not given back (owed to tenants, C4).",
    "revenue": "Net of tax, by kind of line; credits reduce it under their own kind.",
    "tax": "Value added tax contained in invoices, by rate (rule 12).",
    "cash": "Money in and out, by channel (C25).",
    "fees": "What a payment provider keeps of a payment, by channel.",
    "exchange": "What changing the currency of a settlement has cost, by channel.",
    "write_off": "What finance has given up asking for.",
}

_DEPOSIT_ACCOUNTS: dict[str, Account] = {"deposit": "deposit_due", "deposit_return": "deposit_held"}


@dataclass(frozen=True, slots=True)
class Posting:
    """One side of an event: `amount` CNY to an account, a debit positive, a credit negative.

    `due_on` stands on what an invoice makes receivable, for the ageing of it.
    """

    account: Account
    amount: Decimal
    subject: str
    detail: str = ""
    due_on: date | None = None


@dataclass(frozen=True, slots=True)
class BilledLine:
    """What of an invoice line matters here: its kind, its amount with tax (negative: a credit), its tax rate."""

    kind: str
    amount: Decimal
    tax_rate: Decimal


class OutOfBalance(Exception):
    """The postings of an event do not sum to zero; nothing of it may be written."""


def balanced(postings: Iterable[Posting]) -> tuple[Posting, ...]:
    """The postings without those of nothing. Raises `OutOfBalance` unless they sum to zero."""
    kept = tuple(posting for posting in postings if posting.amount)
    if difference := sum((posting.amount for posting in kept), money.ZERO):
        raise OutOfBalance(f"the postings differ by {difference} CNY: {kept}")
    return kept


def invoice_issued(invoice_id: str, lines: Iterable[BilledLine], *, due_on: date) -> tuple[Posting, ...]:
    """An invoice: revenue by kind net of tax, tax by rate (rounded once for each, rule 12), deposits, and who owes.

    A positive total is receivable, a negative one the tenant's credit. A deposit asked for is only held once it is
    paid (`deposit_paid`); one given back is taken from what is held.
    """
    kinds_of: defaultdict[Decimal, defaultdict[str, Decimal]] = defaultdict(lambda: defaultdict(lambda: money.ZERO))
    for line in lines:
        kinds_of[line.tax_rate][line.kind] += line.amount
    postings: list[Posting] = []
    total = money.ZERO
    for rate, kinds in sorted(kinds_of.items()):
        taxes = _shared_tax(rate, kinds)
        for kind, gross in kinds.items():
            account = _DEPOSIT_ACCOUNTS.get(kind, "revenue")
            postings.append(Posting(account, taxes[kind] - gross, invoice_id, kind if account == "revenue" else ""))
            total += gross
        postings.append(Posting("tax", -sum(taxes.values(), money.ZERO), invoice_id, str(rate.normalize())))
    if total > 0:
        postings.append(Posting("receivable", total, invoice_id, due_on=due_on))
    else:
        postings.append(Posting("credit", total, invoice_id))
    return balanced(postings)


def deposit_paid(invoice_id: str, amount: Decimal) -> tuple[Posting, ...]:
    """The deposit of an invoice is held from the moment on in which the invoice is settled (rule 2)."""
    return balanced([Posting("deposit_due", amount, invoice_id), Posting("deposit_held", -amount, invoice_id)])


def money_received(source_id: str, amount: Decimal, channel: str) -> tuple[Posting, ...]:
    """A payment is the tenant's credit first; what it pays is an allocation."""
    return balanced([Posting("cash", amount, source_id, channel), Posting("credit", -amount, source_id)])


def settled(source_id: str, *, fee: Decimal, exchange: Decimal, channel: str) -> tuple[Posting, ...]:
    """What the channel has kept of its money, and what the exchange has cost (negative: brought), come off its cash."""
    return balanced(
        [
            Posting("fees", fee, source_id, channel),
            Posting("exchange", exchange, source_id, channel),
            Posting("cash", -fee - exchange, source_id, channel),
        ]
    )


def credit_used(source_id: str, invoice_id: str, amount: Decimal) -> tuple[Posting, ...]:
    """A part of a source's credit pays a part of an invoice (rule 8)."""
    return balanced([Posting("credit", amount, source_id), Posting("receivable", -amount, invoice_id)])


def credit_paid_out(source_id: str, refund_id: str, amount: Decimal, channel: str) -> tuple[Posting, ...]:
    """A part of a source's credit goes back to the tenant (rule 11)."""
    return balanced([Posting("credit", amount, source_id), Posting("cash", -amount, refund_id, channel)])


def given_up(source_id: str, amount: Decimal) -> tuple[Posting, ...]:
    """Finance gives up a sum; it is a credit that pays the invoice in question, and an expense."""
    return balanced([Posting("write_off", amount, source_id), Posting("credit", -amount, source_id)])


def reversed_postings(postings: Sequence[Posting]) -> tuple[Posting, ...]:
    """The same with the sides changed."""
    return tuple(replace(posting, amount=-posting.amount) for posting in postings)


def _shared_tax(rate: Decimal, kinds: dict[str, Decimal]) -> dict[str, Decimal]:
    """The tax of one rate, rounded once, shared out to its kinds; the last takes the difference."""
    part = Fraction(rate) / (1 + Fraction(rate))
    left = money.fen(Fraction(sum(kinds.values(), money.ZERO)) * part)
    shares: dict[str, Decimal] = {}
    for index, (kind, gross) in enumerate(kinds.items(), start=1):
        shares[kind] = left if index == len(kinds) else money.fen(Fraction(gross) * part)
        left -= shares[kind]
    return shares
