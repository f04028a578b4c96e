"""Whether all calls up to a month's end are accounted for before its arrears are billed.

The run of a month bills the calls of the one before. It waits until every hour up to that month's end has the record of
each call that a node began, and every node in service has been counted since, or a person has signed for what is
missing (switch/completeness/). Hours of earlier months count too: what is found missing after its month went out holds
up the next one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncSession

from billing.rules.months import Month
from billing.runs.errors import HoursUnreconciled
from infra.kit import clock, reasons
from switch.completeness import listing, reconciling, signing
from switch.completeness.counting import INCOMPLETE
from switch.completeness.hours import SETTLE, UNCOUNTED, Hour
from switch.completeness.listing import HourFilter
from switch.completeness.schemas import hour_text

HOURS_SHOWN = 100
VERSION_CHARACTERS = 16


async def check_hours(
    session: AsyncSession, month: Month, *, sign_off: str | None, hours_version: str | None = None
) -> None:
    """Let the run of `month` go on only when the hours before it are reconciled.

    `sign_off`: a person's reason to bill although records are missing; it is written beside every such hour, if they
    are still those that the person was shown (`hours_version`). An hour whose calls still run cannot be signed. Raises
    `HoursUnreconciled` with the hours, `InvalidInput` for the reason.
    """
    if sign_off is not None:
        reasons.given(sign_off, limit_characters=signing.REASON_LIMIT_CHARACTERS, field="sign_off")
    open_hours = await reconciling.unreconciled_hours(session, month.preceding.first)
    if sign_off is not None and hours_version == version_of(open_hours):
        signable = [hour for hour in open_hours if hour.is_signable]
        await signing.sign_hours(session, signable, sign_off, field="sign_off")
        open_hours = [hour for hour in open_hours if not hour.is_signable]
    if open_hours:
        raise refusal(month, open_hours)


def version_of(hours: Sequence[Hour]) -> str:
    """Tells whether these are the hours that somebody has seen: others, or other calls missing, are another version."""
    facts = "\n".join(f"{hour.node} {hour.begins_at} {hour.started} {hour.missing} {hour.state}" for hour in hours)
    return hashlib.sha256(facts.encode()).hexdigest()[:VERSION_CHARACTERS]


def is_settled(month: Month) -> bool:
    """Whether the last records of the month before have had time to arrive."""
    return clock.now() >= clock.local_midnight(month.first) + SETTLE


async def short_hours(session: AsyncSession, month: Month) -> list[Hour]:
    """The hours that hold up a month which releases itself: they lack records, or a count, and nobody has signed.

    While the last records are on their way that is every hour which is not reconciled; then calls that still run hold
    up nothing, they go on the next invoice.
    """
    return _that_hold(month, await reconciling.unreconciled_hours(session, month.preceding.first))


def _that_hold(month: Month, open_hours: list[Hour]) -> list[Hour]:
    return [hour for hour in open_hours if hour.is_short] if is_settled(month) else open_hours


async def check_by_hand(session: AsyncSession, month: Month) -> None:
    """Refuse to run a month by hand that would not release itself now. Raises `HoursUnreconciled`."""
    open_hours = await reconciling.unreconciled_hours(session, month.preceding.first)
    if _that_hold(month, open_hours):
        raise refusal(month, open_hours, field="month")


async def is_held_up(session: AsyncSession, month: Month) -> bool:
    """Whether an hour that holds the month up is known from the last count; a False is worth no more than that count.

    `short_hours` counts every hour anew and makes supervisors wait for it: too much to ask each minute for weeks.
    """
    ends = clock.local_midnight(month.first)
    for state in (INCOMPLETE, UNCOUNTED):
        found, _ = await listing.list_hours(session, HourFilter(state=state, begins_before=ends), limit=1)
        if found:
            return True
    return False


def refusal(month: Month, hours: Sequence[Hour], *, field: str = "sign_off") -> HoursUnreconciled:
    """Why the month cannot go out, with the earliest of the hours that keep it, and what to do."""
    shown = [
        {"node": hour.node, "hour": hour_text(hour.begins_at), "missing": hour.missing, "state": hour.state}
        for hour in hours[:HOURS_SHOWN]
    ]
    count = "1 hour" if len(hours) == 1 else f"{len(hours)} hours"
    begins = clock.local_midnight(month.preceding.first)
    earlier = sum(hour.begins_at < begins for hour in hours)
    of_those = f" ({earlier} of earlier months)" if earlier else ""
    return HoursUnreconciled(
        f"Of {count} up to the end of {month.preceding}{of_those} call records are missing or still awaited, or a node "
        "has not been counted since. Import the records from the node (`seatline cdr import`), sign the hours off, or "
        "release the month with `sign_off` and the `hours_version` of this answer.",
        field=field,
        hours=shown,
        hours_version=version_of(hours),
    )
