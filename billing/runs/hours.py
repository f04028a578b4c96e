"""Whether the calls of a month are all accounted for before its arrears are billed.

The run of a month bills the calls of the one before. It waits until every hour of that month has the record of each
call that a node began, and every node in service has been counted since it ended, or a person has signed for what is
missing (switch/completeness/).
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncSession

from billing.rules.months import Month
from billing.runs.errors import HoursUnreconciled
from switch.completeness import reconciling
from switch.completeness.reconciling import Hour
from switch.completeness.schemas import hour_text

HOURS_SHOWN = 100


async def check_hours(session: AsyncSession, month: Month, *, sign_off: str | None) -> None:
    """Let the run of `month` go on only when the hours of the month before are reconciled.

    `sign_off`: a person's reason to bill although records are missing; it is written beside every such hour. An hour
    whose calls still run cannot be signed. Raises `HoursUnreconciled` with the hours, `InvalidInput` for the reason.
    """
    open_hours = await reconciling.unreconciled_hours(session, month.preceding.first)
    if sign_off is not None:
        signable = [hour for hour in open_hours if hour.is_signable]
        await reconciling.sign_hours(session, signable, sign_off, field="sign_off")
        open_hours = [hour for hour in open_hours if not hour.is_signable]
    if open_hours:
        raise refusal(month, open_hours)


async def missing_hours(session: AsyncSession, month: Month) -> list[Hour]:
    """The hours of the month before that lack records, or a count, and for which nobody has signed."""
    return [hour for hour in await reconciling.unreconciled_hours(session, month.preceding.first) if hour.is_short]


def refusal(month: Month, hours: Sequence[Hour]) -> HoursUnreconciled:
    """Why the month cannot be released, with the hours that keep it."""
    shown = [
        {"node": hour.node, "hour": hour_text(hour.begins_at), "missing": hour.missing, "state": hour.state}
        for hour in hours[:HOURS_SHOWN]
    ]
    return HoursUnreconciled(
        f"Call records of {len(hours)} hours of {month.preceding} are missing or still awaited, or a node has not been "
        "counted since; bring them in, sign the hours off, or release with `sign_off`.",
        field="sign_off",
        hours=shown,
    )
