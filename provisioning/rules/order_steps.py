"""What happens to an order next, from what is known of it today (rules 2, 4, 5, 6 and 11). Pure."""

from __future__ import annotations

from calendar import monthrange
from datetime import date
from enum import StrEnum
from typing import Literal

OrderKind = Literal["opening", "add", "return"]
OrderState = Literal["awaiting_payment", "scheduled", "done", "cancelled", "lapsed"]

PENDING: tuple[OrderState, ...] = ("awaiting_payment", "scheduled")
"""States of orders that something still happens to."""


class Step(StrEnum):
    """What to do with an order."""

    WAIT = "wait"
    AWAIT_PAYMENT = "await_payment"
    SCHEDULE = "schedule"
    HOLD_BACK = "hold_back"
    OPEN = "open"
    CLOSE = "close"
    LAPSE = "lapse"


def last_day_to_pay(effective_on: date) -> date:
    """The end of the month of E: what is unpaid after it lapses (rule 5)."""
    return effective_on.replace(day=monthrange(effective_on.year, effective_on.month)[1])


def next_step(
    kind: OrderKind,
    state: OrderState,
    *,
    effective_on: date,
    today: date,
    is_paid: bool,
    contract_ended: bool,
    has_papers: bool = True,
    has_opening: bool = True,
    is_gone: bool = False,
) -> Step:
    """The step for an order that is pending.

    A return closes when its last day has ended. An addition or opening opens when it is paid and its day has come,
    and lapses when the month of its day, or the contract, has ended unpaid. What was paid for a day before the
    contract's end opens even when we are late; the end closes it in the same run. Where papers are required (C19) and
    not there, what is paid and due is held back until they are, or lapses with the contract; so is an addition until
    the contract has opened (rule 2). What billing has let go (`is_gone`) lapses at once.
    """
    if state not in PENDING:
        return Step.WAIT
    if kind == "return":
        return Step.CLOSE if today > effective_on or contract_ended else Step.WAIT
    if is_gone or not is_paid:
        if is_gone or contract_ended or today > last_day_to_pay(effective_on):
            return Step.LAPSE
        return Step.AWAIT_PAYMENT if state == "scheduled" else Step.WAIT
    if today >= effective_on:
        not_yet = Step.LAPSE if contract_ended else Step.HOLD_BACK
        return Step.OPEN if has_papers and has_opening else not_yet
    return Step.SCHEDULE if state == "awaiting_payment" else Step.WAIT


def opens_on(effective_on: date, paid_on: date | None, today: date, ready_since: date | None = None) -> date:
    """The day from which an order counts as held: E, or the day of the payment or of the last paper where later.

    Not the day on which a worker got to it: being late ourselves must not change what is owed.
    """
    return min(today, max(effective_on, paid_on or effective_on, ready_since or effective_on))
