"""The orders in a history: which adds share an invoice, how seats are numbered, when an order opens or lapses."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from billing.rules.account import AccountInvoice
from billing.rules.book import ITEMS, Holding, HoldingKey
from billing.rules.errors import QuoteRefused
from billing.rules.events import Add, Contract
from billing.rules.invoicing import lapses_on, opening_dates


@dataclass(slots=True)
class Order:
    """An opening, or all adds of one order day and one effective day; `invoice` None: not made, or nothing to pay."""

    opening: bool
    ordered_on: date
    effective_on: date
    keys: tuple[HoldingKey, ...]
    invoice: AccountInvoice | None = None
    invoiced: bool = False
    deposit_held: bool = False
    opened: bool = False

    def is_paid(self) -> bool:
        """Whether it may open: its invoice is settled, or there was nothing to pay."""
        return self.invoiced and (self.invoice is None or self.invoice.is_settled)

    def lapses(self, day: date) -> bool:
        """Whether it is gone when this day begins (rule 5)."""
        return self.invoiced and not self.is_paid() and day >= lapses_on(self.effective_on)


def orders_and_holdings(contract: Contract, adds: Iterable[Add]) -> tuple[list[Order], dict[HoldingKey, Holding]]:
    """The orders in the order of their invoices, and every holding, not open yet.

    Seats and circuits are numbered as they are added: by effective day, then by order day, then as listed. Adds on
    the opening day belong to the opening, which is known from the signature and so counts as ordered from the start.
    Raises `QuoteRefused` when nothing opens with the contract.
    """
    in_order = sorted(adds, key=lambda add: (add.on, add.ordered_on))
    if not any(add.on == contract.opens_on for add in in_order):
        raise QuoteRefused("events", f"no add on {contract.opens_on}", "at least one add on opens_on")
    issued_on = opening_dates(contract.terms, contract.opens_on)[0].day
    first_day = min([issued_on, *(add.ordered_on for add in in_order)])
    holdings: dict[HoldingKey, Holding] = {}
    grouped: defaultdict[tuple[date, date, bool], list[HoldingKey]] = defaultdict(list)
    next_number = dict.fromkeys(ITEMS, 1)
    for add in in_order:
        opening = add.on == contract.opens_on
        group = grouped[(issued_on if opening else add.ordered_on, add.on, opening)]
        for number in range(next_number[add.item], next_number[add.item] + add.count):
            holding = Holding(add.item, number, first_day if opening else add.ordered_on, add.on)
            holdings[holding.key] = holding
            group.append(holding.key)
        next_number[add.item] += add.count
    orders = [
        Order(opening, ordered_on, effective_on, tuple(keys))
        for (ordered_on, effective_on, opening), keys in sorted(grouped.items())
    ]
    return orders, holdings
