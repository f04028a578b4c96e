"""When an unpaid invoice is reminded of and when it suspends (C8, rule 7)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Literal

from billing.rules.months import ONE_DAY
from billing.rules.terms import Terms

Reminder = Literal["issued", "due_soon", "due_today", "overdue", "suspension_tomorrow"]


@dataclass(frozen=True, slots=True)
class DunningStep:
    """What a day brings for one invoice: the reminders to send, and whether it keeps the tenant suspended."""

    reminders: tuple[Reminder, ...] = ()
    suspended: bool = False


def suspends_on(terms: Terms, due_on: date) -> date:
    """The day from whose beginning an unpaid monthly invoice suspends: due day + tolerance + 1."""
    return due_on + timedelta(days=terms.grace_days) + ONE_DAY


def step_for(
    terms: Terms, day: date, *, issued_on: date, due_on: date, suspends: date | None, unpaid: Decimal
) -> DunningStep:
    """The step of one invoice on one day; nothing once it is paid.

    Reminders: on issue, three days before due, on the due day, daily while overdue, and the day before suspension
    (which takes the place of that day's overdue reminder). `suspends` None: the invoice never suspends.
    """
    if unpaid <= 0 or day < issued_on:
        return DunningStep()
    reminders: list[Reminder] = []
    if day == issued_on:
        reminders.append("issued")
    if day == due_on - timedelta(days=terms.reminder_days_before_due):
        reminders.append("due_soon")
    if day == due_on:
        reminders.append("due_today")
    if suspends is not None and day == suspends - ONE_DAY:
        reminders.append("suspension_tomorrow")
    elif day > due_on:
        reminders.append("overdue")
    return DunningStep(tuple(reminders), suspends is not None and day >= suspends)
