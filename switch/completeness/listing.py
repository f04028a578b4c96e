"""Hours as people look for them: what was counted and what nobody counted, the latest first, page by page."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit.pages import NOT_OURS, check_limit, decode_cursor, encode_cursor
from infra.kit.problems import InvalidInput
from switch.completeness.errors import HourUnknown
from switch.completeness.hours import HOUR, STATES, Hour, counted_hours
from switch.completeness.models import StartedHour
from switch.completeness.uncounted import silent_nodes, uncounted_hours


@dataclass(frozen=True, slots=True, kw_only=True)
class HourFilter:
    """Which hours are wanted; None leaves a thing open. `begins_from` is inclusive, `begins_before` exclusive."""

    node: str | None = None
    state: str | None = None
    begins_from: datetime | None = None
    begins_before: datetime | None = None


async def list_hours(
    session: AsyncSession, wanted: HourFilter, *, limit: int, after: str | None = None
) -> tuple[list[Hour], str | None]:
    """A page of the hours in which nodes began calls or were not counted, the latest first, and the next cursor.

    Raises `InvalidInput` naming the field.
    """
    check_limit(limit)
    if wanted.state is not None and wanted.state not in STATES:
        raise InvalidInput(f"`state` is one of {', '.join(STATES)}.", field="state")
    states = STATES if wanted.state is None else (wanted.state,)
    # Asked first: a node that is counted from here on has written its count before its hours are read.
    silent = await silent_nodes(session, node=wanted.node)
    bounds = {"begins_from": wanted.begins_from, "begins_before": wanted.begins_before}
    uncounted = {hour.key: hour for hour in await uncounted_hours(session, silent, **bounds)}
    position = None if after is None else _position(after)
    conditions = [
        *([] if wanted.node is None else [StartedHour.node == wanted.node]),
        *([] if wanted.begins_from is None else [StartedHour.hour >= wanted.begins_from]),
        *([] if wanted.begins_before is None else [StartedHour.hour < wanted.begins_before]),
        *([] if position is None else [tuple_(StartedHour.hour, StartedHour.node) < position]),
    ]
    # An hour that is uncounted may have been counted in part: so many rows more, and the page is still full.
    counted = await counted_hours(session, *conditions, states=states, limit=limit + 1 + len(uncounted))
    found = [hour for hour in counted if hour.key not in uncounted]
    found += [hour for key, hour in uncounted.items() if hour.state in states and (position is None or key < position)]
    found.sort(key=lambda hour: hour.key, reverse=True)
    if len(found) <= limit:
        return found, None
    last = found[limit - 1]
    return found[:limit], encode_cursor((last.begins_at.isoformat(), last.node))


async def get_hour(session: AsyncSession, node: str, hour: datetime) -> Hour:
    """One node's hour. Raises `HourUnknown`."""
    found, _ = await list_hours(session, HourFilter(node=node, begins_from=hour, begins_before=hour + HOUR), limit=1)
    if not found:
        raise HourUnknown(f"{node} began no call in the hour of {hour.isoformat()}.", field="hour")
    return found[0]


def _position(after: str) -> tuple[datetime, str]:
    hour, node = decode_cursor(after, 2)
    try:
        moment = datetime.fromisoformat(hour)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise InvalidInput(NOT_OURS, field="after")
    return moment, node
