"""Maintenance windows of a cluster: announced, moved, cancelled, closed (C12, rule 10).

A window that was not over at its scheduled end is an operator's fault from there on, for everything that was open:
closing it starts the job that records it tenant by tenant.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy import Select, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from billing.outages.errors import WindowNotFound, WindowNotOpen
from billing.outages.evidence import TEXT_LIMIT_CHARACTERS
from billing.outages.models import MaintenanceWindow
from billing.rules.book import Span
from billing.rules.errors import WindowRefused, shown
from billing.rules.maintenance import check_announcement, month_of, overrun
from infra.kit import audit, clock, jobs, reasons
from infra.kit.database import PLATFORM
from infra.kit.ids import new_id
from infra.kit.problems import InvalidInput
from switch.models import Node

CLUSTER = "main"
"""The nodes of an installation are one cluster so far; a window says for which it is."""

STATES = ("announced", "moved", "cancelled", "done")
PLANNED = frozenset({"announced", "moved"})
RECORD_OVERRUN = "billing.record_overrun"
TELL_OF_WINDOW = "billing.tell_of_window"


async def announce(
    session: AsyncSession,
    *,
    begins_at: datetime,
    ends_at: datetime,
    note: str,
    cluster: str = CLUSTER,
    nodes: Sequence[str] = (),
) -> MaintenanceWindow:
    """Announce a window to every tenant of a cluster. Moments carry an offset.

    `nodes` are drained for it one after another by the room above. Raises `WindowRefused` naming what breaks rule 10:
    less than 72 hours ahead, past midnight, a third in its month; or a node that there is not.
    """
    if cluster != CLUSTER:
        raise WindowRefused("cluster", "there is no such cluster", CLUSTER)
    if not note.strip() or len(note) > TEXT_LIMIT_CHARACTERS:
        expected = f"1 to {TEXT_LIMIT_CHARACTERS} characters that tell tenants what is done"
        raise WindowRefused("note", f"it has {len(note.strip())} characters", expected)
    now = clock.now()
    span, place = await _checked(session, cluster, Span(begins_at, ends_at), now)
    await _check_nodes(session, nodes)
    window = MaintenanceWindow(
        window_id=new_id("mwin"),
        cluster=cluster,
        begins_at=span.begins,
        ends_at=span.ends,
        month=month_of(span).first,
        place_in_month=place,
        announced_at=now,
        announced_by=audit.actor.get(),
        note=note.strip(),
        nodes=list(nodes),
        state="announced",
        ended_at=None,
        overrun_noted_at=None,
    )
    await _written(session, window)
    facts = _times(span) | ({"nodes": list(nodes)} if nodes else {})
    await audit.record(session, PLATFORM, "maintenance_window.announced", window.window_id, **facts)
    await jobs.defer(session, TELL_OF_WINDOW, lock=f"window:{window.window_id}", window_id=window.window_id)
    return window


async def move(
    session: AsyncSession, *, window_id: str, begins_at: datetime, ends_at: datetime, reason: str
) -> MaintenanceWindow:
    """Announce a window anew for another time, with the same notice. Raises as `announce`, and `WindowNotOpen`."""
    reason = reasons.given(reason, limit_characters=TEXT_LIMIT_CHARACTERS)
    window = await _planned(session, window_id)
    now = clock.now()  # not before the window is locked: it may begin while somebody waits for it
    _check_not_begun(window, now, "moved")
    before = _times(Span(window.begins_at, window.ends_at))
    span, place = await _checked(session, window.cluster, Span(begins_at, ends_at), now, moved=window)
    window.begins_at, window.ends_at = span.begins, span.ends
    window.month, window.place_in_month = month_of(span).first, place
    window.announced_at, window.announced_by, window.state = now, audit.actor.get(), "moved"
    await _written(session, window)
    facts = _times(span) | {f"{name}_before": value for name, value in before.items()}
    await audit.record(session, PLATFORM, "maintenance_window.moved", window_id, **facts, reason=reason)
    await jobs.defer(session, TELL_OF_WINDOW, lock=f"window:{window_id}", window_id=window_id)
    return window


async def cancel(session: AsyncSession, *, window_id: str, reason: str) -> MaintenanceWindow:
    """Call a window off before it begins; its place in the month is free again. Raises `WindowNotOpen`."""
    reason = reasons.given(reason, limit_characters=TEXT_LIMIT_CHARACTERS)
    window = await _planned(session, window_id)
    _check_not_begun(window, clock.now(), "cancelled")
    window.state = "cancelled"
    await session.flush()
    await audit.record(session, PLATFORM, "maintenance_window.cancelled", window_id, reason=reason)
    await jobs.defer(session, TELL_OF_WINDOW, lock=f"window:{window_id}", window_id=window_id)
    return window


async def close(session: AsyncSession, *, window_id: str, ended_at: datetime) -> MaintenanceWindow:
    """Record when the work was really over; an overrun becomes a fault of everything that was open (rule 10).

    Raises `WindowNotOpen` for one that is closed, cancelled or still to come, `WindowRefused` for the moment.
    """
    now = clock.now()
    window = await _planned(session, window_id)
    if window.begins_at > now:
        raise WindowNotOpen(
            f"The window {window_id} begins at {window.begins_at.isoformat()}; cancel it instead.", field="window_id"
        )
    if not window.begins_at <= ended_at <= now:
        raise WindowRefused(
            "ended_at", f"{ended_at.isoformat()} is not acceptable", "a moment from the window's beginning up to now"
        )
    ended_at = ended_at.astimezone(UTC)
    window.ended_at, window.state = ended_at, "done"
    await session.flush()
    await audit.record(session, PLATFORM, "maintenance_window.closed", window_id, ended_at=ended_at.isoformat())
    if overrun(Span(window.begins_at, window.ends_at), ended_at) is not None:
        await jobs.defer(session, RECORD_OVERRUN, lock=f"window:{window_id}", window_id=window_id)
    return window


def overruns_since(window: MaintenanceWindow) -> datetime | None:
    """The scheduled end of a window that has passed it and that nobody has closed; None for any other (rule 10)."""
    return window.ends_at if window.state in PLANNED and window.ends_at <= clock.now() else None


async def find(session: AsyncSession, window_id: str, *, for_update: bool = False) -> MaintenanceWindow:
    """A window by its id. Raises `WindowNotFound`."""
    query = select(MaintenanceWindow).where(MaintenanceWindow.window_id == window_id)
    if for_update:
        query = query.with_for_update().execution_options(populate_existing=True)
    window = (await session.execute(query)).scalar_one_or_none()
    if window is None:
        raise WindowNotFound(f"There is no maintenance window {window_id}.", field="window_id")
    return window


def wanted(*, state: str | None) -> Select[MaintenanceWindow]:
    """Windows in a state; None: every one. Raises `InvalidInput` for an unknown state."""
    query = select(MaintenanceWindow)
    if state is None:
        return query
    if state not in STATES:
        raise InvalidInput(f"`state` is one of {', '.join(STATES)}.", field="state")
    return query.where(MaintenanceWindow.state == state)


async def _check_nodes(session: AsyncSession, nodes: Sequence[str]) -> None:
    """Refuse nodes that the cluster does not have, and one that is named twice."""
    known = select(Node.name).where(Node.name.in_(list(nodes)), Node.state != "left")
    there = set((await session.execute(known)).scalars()) if nodes else set[str]()
    for index, name in enumerate(nodes):
        if name not in there:
            raise WindowRefused(f"nodes[{index}]", f"there is no node {shown(name)}", "names of nodes of the cluster")
        if name in nodes[:index]:
            raise WindowRefused(f"nodes[{index}]", f"{name} is there twice", "each node once")


async def _planned(session: AsyncSession, window_id: str) -> MaintenanceWindow:
    window = await find(session, window_id, for_update=True)
    if window.state not in PLANNED:
        raise WindowNotOpen(f"The window {window_id} is {window.state}.", field="window_id")
    return window


def _check_not_begun(window: MaintenanceWindow, now: datetime, what: str) -> None:
    if window.begins_at <= now:
        raise WindowNotOpen(
            f"The window {window.window_id} has begun and cannot be {what}; close it when the work is over.",
            field="window_id",
        )


async def _checked(
    session: AsyncSession, cluster: str, asked: Span, now: datetime, *, moved: MaintenanceWindow | None = None
) -> tuple[Span, int]:
    """The span in UTC and a free place in its month."""
    # First by itself: only a window within one day and near has a month to look into.
    check_announcement(asked, (), now)
    span = Span(asked.begins.astimezone(UTC), asked.ends.astimezone(UTC))
    query = select(MaintenanceWindow).where(
        MaintenanceWindow.cluster == cluster,
        MaintenanceWindow.state != "cancelled",
        MaintenanceWindow.month == month_of(span).first,
    )
    others = [row for row in (await session.execute(query)).scalars() if row is not moved]
    check_announcement(span, [Span(row.begins_at, row.ends_at) for row in others], now)
    taken = {row.place_in_month for row in others}
    return span, next(place for place in range(1, len(taken) + 2) if place not in taken)


async def _written(session: AsyncSession, window: MaintenanceWindow) -> None:
    """Flush; whoever was first in taking the same place in a month has it."""
    month = window.month
    try:
        async with session.begin_nested():
            session.add(window)
    except IntegrityError as error:
        raise WindowRefused(
            "begins_at",
            f"somebody else announced a window in {month:%Y-%m} at this moment",
            "another try, with the other window in view",
        ) from error


def _times(span: Span) -> dict[str, str]:
    return {"begins_at": span.begins.isoformat(), "ends_at": span.ends.isoformat()}
