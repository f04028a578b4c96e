"""When an unpaid invoice is reminded of and when it suspends (C8, rule 7)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Literal, cast

from billing.rules.months import ONE_DAY
from billing.rules.terms import Terms

Reminder = Literal["issued", "due_soon", "due_today", "overdue", "suspension_tomorrow"]


LONGEST_PROMISE_DAYS = 60
"""Two monthly invoices' time. Who needs longer needs another tolerance, which is agreed in the contract (C15)."""


@dataclass(frozen=True, slots=True)
class DunningStep:
    """What a day brings for one invoice: the reminders to send, and whether it keeps the tenant suspended."""

    reminders: tuple[Reminder, ...] = ()
    suspended: bool = False


def suspends_on(terms: Terms, due_on: date) -> date:
    """The day from whose beginning an unpaid monthly invoice suspends: due day + tolerance + 1."""
    return due_on + timedelta(days=terms.grace_days) + ONE_DAY


def first_suspended_day(suspends: date | None, promised_until: date | None, day: date) -> date | None:
    """The day from whose beginning an invoice suspends, as it stands on `day`; None: never.

    A promise to pay by `promised_until` that is in force on `day` puts it off to the day after the promise.
    """
    if suspends is None or not is_promised(promised_until, day):
        return suspends
    return max(suspends, cast("date", promised_until) + ONE_DAY)


def is_promised(promised_until: date | None, day: date) -> bool:
    """Whether a promise to pay holds on this day: up to the end of its last one."""
    return promised_until is not None and day <= promised_until


def is_acceptable_promise(until: date, today: date) -> bool:
    """Whether finance may take a promise to pay by this day: today, or up to `LONGEST_PROMISE_DAYS` from it."""
    return today <= until <= today + timedelta(days=LONGEST_PROMISE_DAYS)


def step_for(
    terms: Terms,
    day: date,
    *,
    issued_on: date,
    due_on: date,
    suspends: date | None,
    unpaid: Decimal,
    promised_until: date | None = None,
) -> DunningStep:
    """The step of one invoice on one day; nothing once it is paid.

    Reminders: on issue, three days before due, on the due day, daily while overdue, and the day before suspension
    (which takes the place of that day's overdue reminder). `suspends` None: the invoice never suspends. While a
    promise to pay holds, nothing suspends and there are no overdue reminders; its last day is the day before the
    suspension where one follows.
    """
    if unpaid <= 0 or day < issued_on:
        return DunningStep()
    first_suspended = first_suspended_day(suspends, promised_until, day)
    reminders: list[Reminder] = []
    if day == issued_on:
        reminders.append("issued")
    if day == due_on - timedelta(days=terms.reminder_days_before_due):
        reminders.append("due_soon")
    if day == due_on:
        reminders.append("due_today")
    if first_suspended is not None and day == first_suspended - ONE_DAY:
        reminders.append("suspension_tomorrow")
    elif day > due_on and not is_promised(promised_until, day):
        reminders.append("overdue")
    return DunningStep(tuple(reminders), first_suspended is not None and day >= first_suspended)
