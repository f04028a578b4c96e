"""When a tenant's personal data may be erased (C26). Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

LABELS_SHOWN = 10
FURTHEST = timedelta(days=730)
REMINDED_EVERY = timedelta(days=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What is known of a tenant that is to leave. Amounts are CNY; `last_end` None: it never had a contract."""

    running_contracts: Sequence[str]
    uninvoiced_contracts: Sequence[str]
    """Ended, with calls or credits of their last month still to be invoiced."""
    pending_orders: int
    held_seats: int
    unrated_calls: int
    undecided_faults: int
    equipment_out: Sequence[str]
    """Labels of things that were handed out and are neither back nor charged (C22)."""
    owed: Decimal
    credit: Decimal
    deposit: Decimal
    last_end: date | None


def obstacles(account: Account) -> list[str]:
    """Why nothing may be erased yet, in words; empty: it may."""
    found: list[str] = []
    if account.running_contracts:
        found.append(f"contracts have not ended: {', '.join(account.running_contracts)}")
    if account.uninvoiced_contracts:
        found.append(f"final invoices have not gone out: {', '.join(account.uninvoiced_contracts)}")
    if account.pending_orders:
        found.append(f"{account.pending_orders} seat orders are not settled")
    if account.held_seats:
        found.append(f"{account.held_seats} seats are not closed")
    if account.unrated_calls:
        found.append(f"{account.unrated_calls} calls have no price yet")
    if account.undecided_faults:
        found.append(f"{account.undecided_faults} faults are not decided on")
    if account.equipment_out:
        more = len(account.equipment_out) - LABELS_SHOWN
        shown = ", ".join(account.equipment_out[:LABELS_SHOWN]) + (f" and {more} more" if more > 0 else "")
        found.append(f"equipment is neither back nor charged: {shown}")
    for amount, words in (
        (account.owed, "is owed"),
        (account.credit, "of credit is not paid out"),
        (account.deposit, "of deposit is not given back"),
    ):
        if amount:
            found.append(f"CNY {amount} {words}")
    return found


def announcement_due(last_end: date, *, retention_days: int, notice_days: int) -> date:
    """The day on which an erasure is to be announced that is to begin when the retention ends; never before the lease
    is over."""
    return last_end + timedelta(days=max(1, retention_days + 1 - notice_days))


def reminder_day(due: date, today: date) -> date:
    """The day that the newest reminder of an announcement due since `due` counts for: one in thirty days."""
    return due + (today - due) // REMINDED_EVERY * REMINDED_EVERY


def earliest_day(last_end: date | None, today: date, *, retention_days: int, notice_days: int) -> date:
    """The first day on which the erasure may begin when it is announced today.

    `retention_days` after the end of the last contract: the final invoice is paid and disputed within them (rule 11).
    `notice_days` from the announcement on: time to fetch the export, and to object.
    """
    after_notice = today + timedelta(days=notice_days)
    return after_notice if last_end is None else max(after_notice, last_end + timedelta(days=retention_days + 1))
