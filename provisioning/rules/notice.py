"""How long ahead seats are added and returned (clauses C9 and C10). Pure."""

from __future__ import annotations

from datetime import date, timedelta

from infra.kit.problems import InvalidInput

LONGEST_AHEAD_DAYS = 3_660


class NoticeTooShort(InvalidInput):
    """The day lies before the first one that the notice allows."""

    code = "notice_too_short"


def earliest_day(ordered_on: date, notice_days: int, *, opening: bool, waived: bool) -> date:
    """The first day on which an order can take effect: O + `notice_days` (rules 4 and 6).

    What opens with the contract needs no notice (rule 2), and the operator may waive it (rule 4).
    """
    return ordered_on if opening or waived else ordered_on + timedelta(days=notice_days)


def check_notice(
    ordered_on: date, effective_on: date, notice_days: int, *, opening: bool = False, waived: bool = False
) -> None:
    """Refuse a day that the notice does not allow, or one absurdly far away. Raises `NoticeTooShort`."""
    earliest = earliest_day(ordered_on, notice_days, opening=opening, waived=waived)
    if effective_on < earliest:
        raise NoticeTooShort(
            f"{effective_on} is too early for what is ordered on {ordered_on} with {notice_days} days' notice; "
            f"the first day possible is {earliest}.",
            field="effective_on",
            earliest=earliest.isoformat(),
        )
    latest = ordered_on + timedelta(days=LONGEST_AHEAD_DAYS)
    if effective_on > latest:
        raise InvalidInput(f"{effective_on} is too far ahead; choose a day until {latest}.", field="effective_on")


def needs_waiver(ordered_on: date, effective_on: date, notice_days: int, *, opening: bool) -> bool:
    """Whether the order can only stand because the notice is waived; only then a waiver is recorded."""
    return effective_on < earliest_day(ordered_on, notice_days, opening=opening, waived=False)
