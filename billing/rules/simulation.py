"""The whole story of a contract, day by day: orders, invoices, payments, credit, suspensions, the end.

Within a day: what lapsed is gone, payments, openings, returns, then what is dated that day, set off with credit.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, TypeVar

from billing.rules.account import Account, AccountInvoice
from billing.rules.book import Book, Holding, HoldingKey, Item, days_span
from billing.rules.errors import NotHeld, QuoteRefused
from billing.rules.events import (
    Add,
    ChargeEvent,
    Contract,
    End,
    Event,
    FaultEvent,
    Maintenance,
    Pay,
    Return,
    UsageEvent,
)
from billing.rules.invoicing import addition_invoice, final_invoice, monthly_invoice, opening_invoice
from billing.rules.lines import REASONS, InvoiceDraft
from billing.rules.months import ONE_DAY, Month
from billing.rules.orders import Order, orders_and_holdings
from billing.rules.terms import Terms
from billing.rules.volume import counted_seats
from infra.kit import money

Thing = TypeVar("Thing")

MAXIMUM_SIMULATED_DAYS = 100 * 366


@dataclass(frozen=True, slots=True)
class Suspended:
    """A time of suspension in whole days: from the beginning of one to the beginning of `to`; None: it lasts."""

    begins_on: date
    to: date | None


@dataclass(frozen=True, slots=True)
class Story:
    """What became of a contract by the end of the last simulated day. Money is CNY."""

    invoices: tuple[AccountInvoice, ...]
    suspensions: tuple[Suspended, ...]
    holdings: tuple[Holding, ...]
    balance: Decimal
    received: Decimal
    refunded: Decimal
    deposit_held: Decimal
    provisional: bool


def simulate(contract: Contract, events: Sequence[Event], until: date) -> Story:
    """Work out every invoice and suspension up to the end of `until` (included).

    Raises `QuoteRefused` (naming the event) for a history that cannot be.
    """
    return _Simulation(contract, events, until).run()


class _Simulation:
    def __init__(self, contract: Contract, events: Sequence[Event], until: date) -> None:
        self.contract = contract
        self.opens_on = contract.opens_on
        self.until = until
        orders, self.holdings = orders_and_holdings(contract, [event for event in events if isinstance(event, Add)])
        self.orders = _by_day(orders, lambda order: order.ordered_on)
        self.waiting: list[Order] = []
        self.has_opened = self.opening_lapsed = False
        self.ends_on = next((event.on for event in events if isinstance(event, End)), None)
        self.faults = tuple(event.fault for event in events if isinstance(event, FaultEvent))
        self.maintenance = tuple(event.span for event in events if isinstance(event, Maintenance))
        self.charges = [event.charge for event in events if isinstance(event, ChargeEvent)]
        self.usage = [event.usage for event in events if isinstance(event, UsageEvent)]
        payments = [event for event in events if isinstance(event, Pay)]
        self.payments = _by_day(payments, lambda event: event.on)
        returns = [event for event in events if isinstance(event, Return)]
        self.returns = _by_day(returns, lambda event: event.on)
        # Without any payment event every invoice is taken as paid on its due day.
        self.pays_by_itself = not payments
        self.account = Account()
        self.suspensions: list[Suspended] = []
        self.fixed_deposit_held = money.ZERO
        self.final_credit = money.ZERO
        self.first_day = min([*self.orders, *self.payments])

    def run(self) -> Story:
        for day in self._days():
            if day.day == 1:
                self._lapse(day)
                self.account.set_off(day)
            self._take_payments(day)
            self._open_orders(day, effective_before=day)
            self._take_returns(day)
            self._open_orders(day, effective_before=day + ONE_DAY)
            self._issue(day)
            self._open_orders(day, effective_before=day + ONE_DAY)
            self._close_at_the_end(day)
            self._note_suspension(day)
        # Read at the end of `until`: the month, or the contract, may end with that day.
        self._lapse(self.until + ONE_DAY)
        if self.until == self.ends_on:
            self._note_suspension(self.until + ONE_DAY)
        return self._story()

    def _days(self) -> Iterator[date]:
        count = (self.until - self.first_day).days + 1
        if count > MAXIMUM_SIMULATED_DAYS:
            raise QuoteRefused("until", f"{count} days after the first event", f"at most {MAXIMUM_SIMULATED_DAYS} days")
        return (self.first_day + timedelta(days=index) for index in range(count))

    def _lapse(self, day: date) -> None:
        """Orders that were not paid by the end of their month are gone; with the opening all others are (rule 5)."""
        for order in self.waiting:
            self.opening_lapsed |= order.opening and order.lapses(day)
        lapsed = [order for order in self.waiting if self.opening_lapsed or order.lapses(day)]
        for order in lapsed:
            if order.invoice is not None:
                self.account.void(order.invoice)
            self._change(order.keys, lapsed=True, deposit=money.ZERO)
        self.waiting = [order for order in self.waiting if order not in lapsed]

    def _take_payments(self, day: date) -> None:
        self._pay_what_is_due(day)
        # An amount and an "all" of one day: "all" pays what the amount leaves open, however they are listed.
        for payment in sorted(self.payments.get(day, ()), key=lambda each: each.amount is None):
            self.account.receive(self.account.owed if payment.amount is None else payment.amount, day)
        self._hold_deposits()

    def _pay_what_is_due(self, day: date) -> None:
        if self.pays_by_itself:
            for invoice in self.account.open_invoices():
                if invoice.draft.due_on <= day:
                    self.account.pay(invoice, day)

    def _open_orders(self, day: date, *, effective_before: date) -> None:
        """Open what is paid and whose day has come (rules 2, 4 and 5); additions not before the contract has opened."""
        if self.ends_on is not None and day > self.ends_on:
            return
        for order in sorted(self.waiting, key=lambda order: not order.opening):
            is_due = order.effective_on < effective_before and order.is_paid()
            if is_due and (order.opening or self.has_opened):
                self._change(order.keys, opened_on=day)
                order.opened = self.has_opened = True
        self.waiting = [order for order in self.waiting if not order.opened]

    def _take_returns(self, day: date) -> None:
        returned_today: set[Item] = set()
        # Numbers first, then "all", which takes what the others of the day have left, however they are listed.
        for event in sorted(self.returns.get(day, ()), key=lambda each: each.numbers is None):
            held = [
                key
                for key, holding in self.holdings.items()
                if key.item == event.item and holding.opened_on is not None and holding.closed_on is None
            ]
            if event.numbers is None and not held and event.item not in returned_today:
                raise NotHeld(event.place, f"no {event.item} is held on {day}", "at least one that is open")
            keys = held if event.numbers is None else [HoldingKey(event.item, each) for each in event.numbers]
            open_keys = set(held)
            missing = [key for key in keys if key not in open_keys]
            if missing:
                raise NotHeld(
                    event.place,
                    f"{event.item} {missing[0].number} is not held on {day}",
                    "numbers of what is open on that day before its adds",
                )
            self._change(keys, closed_on=day, returned=True)
            returned_today.add(event.item)

    def _issue(self, day: date) -> None:
        """What is dated this day: orders, then the monthly or final invoice; then all credit is used."""
        for order in self.orders.get(day, ()):
            self._issue_order(order, day)
        if day.day == 1 and day > Month.of(self.opens_on).last:
            self._issue_month(Month.of(day))
        self.account.set_off(day)
        if self._is_final(day):
            self.account.refund(self.final_credit)
        self._pay_what_is_due(day)
        self._hold_deposits()

    def _issue_order(self, order: Order, day: date) -> None:
        if self.opening_lapsed:  # the contract is gone, and what would be added is not charged
            self._change(order.keys, lapsed=True)
            return
        ordered = [self.holdings[key] for key in order.keys]
        seats = counted_seats(self.holdings.values(), day)
        terms = self.contract.terms_on(self.opens_on if order.opening else day)
        if order.opening:
            draft = opening_invoice(terms, ordered, order.effective_on, seats=seats, ends_on=self.ends_on)
        else:
            draft = addition_invoice(terms, ordered, day, order.effective_on, seats=seats, ends_on=self.ends_on)
        order.invoiced = True
        self.waiting.append(order)
        if draft is not None:
            order.invoice = self._take_in(draft)

    def _is_final(self, day: date) -> bool:
        return self.ends_on is not None and day == Month.of(self.ends_on).following.first

    def _issue_month(self, month: Month) -> None:
        day = month.first
        if self.ends_on is None or day <= self.ends_on:
            terms = self.contract.terms_on(day)
            draft = monthly_invoice(terms, self._book(day), month, terms_before=self._terms_of_month)
        elif self._is_final(day):
            terms = self.contract.terms_on(self.ends_on)
            draft = final_invoice(terms, self._book(day), self.ends_on, terms_before=self._terms_of_month)
            self.final_credit = money.ZERO if draft is None else max(-draft.total, money.ZERO)
            self.fixed_deposit_held = money.ZERO
        else:
            return
        self._change(self._deposits_given_back(day), deposit=money.ZERO)
        # What rounds to nothing is not carried forward either.
        self.charges = [charge for charge in self.charges if charge.on >= day]
        self.usage = [usage for usage in self.usage if usage.on >= day]
        if draft is not None:
            self._take_in(draft)

    def _terms_of_month(self, month: Month) -> Terms:
        return self.contract.terms_on(month.first)

    def _book(self, day: date) -> Book:
        return Book(
            holdings=tuple(self.holdings.values()),
            charges=tuple(self.charges),
            usage=tuple(self.usage),
            faults=self.faults,
            maintenance=self.maintenance,
            suspensions=tuple(days_span(each.begins_on, each.to or day) for each in self.suspensions),
            ends_on=self.ends_on,
            fixed_deposit_held=self.fixed_deposit_held,
        )

    def _take_in(self, draft: InvoiceDraft) -> AccountInvoice:
        for key, charge in draft.rent_charged:
            holding = self.holdings[key]
            self.holdings[key] = replace(holding, rent=(*holding.rent, charge))
        return self.account.issue(draft)

    def _hold_deposits(self) -> None:
        """A deposit is held from the day on which the invoice that asked for it is settled."""
        for order in self.waiting:
            if order.invoice is None or order.deposit_held or not order.is_paid():
                continue
            order.deposit_held = True
            for key, deposit in order.invoice.draft.deposits_asked:
                self._change([key], deposit=deposit)
            self.fixed_deposit_held += order.invoice.draft.fixed_deposit_asked

    def _deposits_given_back(self, day: date) -> list[HoldingKey]:
        """Whose deposits the invoice of this day has credited: what closed before it; at the end all."""
        return [
            key
            for key, holding in self.holdings.items()
            if holding.deposit and (self._is_final(day) or (holding.closed_on is not None and holding.closed_on < day))
        ]

    def _close_at_the_end(self, day: date) -> None:
        if day == self.ends_on:
            still_open = [
                key
                for key, holding in self.holdings.items()
                if holding.opened_on is not None and holding.closed_on is None
            ]
            self._change(still_open, closed_on=day)

    def _note_suspension(self, day: date) -> None:
        """Suspended exactly while an overdue monthly invoice is unpaid and the contract has not ended (rule 7)."""
        ended = self.ends_on is not None and day > self.ends_on
        suspended = self.account.suspends(day) and not ended
        lasting = bool(self.suspensions) and self.suspensions[-1].to is None
        if suspended and not lasting:
            self.suspensions.append(Suspended(day, None))
        elif lasting and not suspended:
            self.suspensions[-1] = Suspended(self.suspensions[-1].begins_on, day)

    def _change(self, keys: Iterable[HoldingKey], **changes: Any) -> None:
        for key in keys:
            self.holdings[key] = replace(self.holdings[key], **changes)

    def _story(self) -> Story:
        invoices = sorted(
            self.account.invoices,
            key=lambda each: (each.draft.issued_on, REASONS.index(each.draft.reason), each.draft.due_on),
        )
        return Story(
            invoices=tuple(invoices),
            suspensions=tuple(self.suspensions),
            holdings=tuple(self.holdings.values()),
            balance=self.account.balance,
            received=self.account.received,
            refunded=self.account.refunded,
            deposit_held=sum((each.deposit for each in self.holdings.values()), self.fixed_deposit_held),
            provisional=any(each.draft.provisional for each in invoices),
        )


def _by_day(things: Iterable[Thing], day_of: Callable[[Thing], date]) -> dict[date, list[Thing]]:
    days: defaultdict[date, list[Thing]] = defaultdict(list)
    for thing in things:
        days[day_of(thing)].append(thing)
    return dict(days)
