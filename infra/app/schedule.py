"""Every periodic job of the house, in one table, and the loop that starts them.

Each entry is started by whichever worker first claims its row, in the transaction that enqueues it: with many workers
it still starts once. Times are those of `infra.kit.clock`, so that a journey in time starts what its days owe.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit import clock, jobs, logs
from infra.kit.database import Database, Scope
from infra.kit.models import ScheduleEntry
from infra.kit.problems import Unavailable

log = logs.get(__name__)
LOOK_EVERY_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Periodic:
    """A job by name and the longest time between two starts; every local midnight starts it as well."""

    task: str
    every: timedelta


SCHEDULE: tuple[Periodic, ...] = (
    Periodic("billing.rate_calls", timedelta(seconds=5)),
    Periodic("billing.retry_unrated_calls", timedelta(minutes=10)),
    Periodic("billing.advance_month", timedelta(hours=1)),
    Periodic("billing.release_month", timedelta(minutes=1)),
    Periodic("billing.advance_dunning", timedelta(minutes=10)),
    Periodic("billing.tend_card_payments", timedelta(minutes=1)),
    Periodic("billing.remind_of_contract_ends", timedelta(hours=6)),
    Periodic("billing.send_reminders", timedelta(minutes=5)),
    Periodic("billing.check_ledger", timedelta(hours=24)),
    Periodic("billing.watch_spending", timedelta(seconds=10)),
    Periodic("provisioning.advance_all_orders", timedelta(minutes=1)),
    Periodic("provisioning.erase_expired_hand_outs", timedelta(minutes=1)),
    Periodic("provisioning.settle_placements", timedelta(minutes=1)),
    Periodic("provisioning.observe_faults", timedelta(seconds=15)),
    Periodic("provisioning.conduct_maintenance", timedelta(seconds=5)),
    Periodic("provisioning.watch_tunnel_gateways", timedelta(minutes=1)),
    Periodic("switch.reconcile_records", timedelta(minutes=1)),
    Periodic("switch.forget_records", timedelta(hours=6)),
    Periodic("switch.free_numbers", timedelta(hours=1)),
    Periodic("switch.examine_cluster", timedelta(hours=1)),
    Periodic("switch.forget_refused_sign_ins", timedelta(hours=24)),
    Periodic("tenancy.tidy_people", timedelta(hours=6)),
    Periodic("infra.send_mail", timedelta(minutes=1)),
    Periodic("provisioning.tend_departures", timedelta(hours=1)),
    Periodic("switch.tell_ended_calls", timedelta(seconds=2)),
    Periodic("tenancy.forget_webhooks", timedelta(hours=24)),
    Periodic("tenancy.tend_papers", timedelta(hours=1)),
    Periodic("infra.keep_house", timedelta(hours=6)),
)


def is_due(entry: Periodic, last_started_at: datetime | None, now: datetime) -> bool:
    """Whether a periodic job should start: never yet, its time is over, or a local midnight has passed since."""
    if last_started_at is None or now - last_started_at >= entry.every or now < last_started_at:
        return True
    return clock.local_date(now) != clock.local_date(last_started_at)


async def start_due(session: AsyncSession, now: datetime) -> list[str]:
    """Claim and enqueue everything that is due, in a few statements however much it is; returns the names."""
    rows = await session.execute(select(ScheduleEntry.name, ScheduleEntry.last_started_at))
    seen = {row.name: row.last_started_at for row in rows}
    due = [entry.task for entry in SCHEDULE if is_due(entry, seen.get(entry.task), now)]
    if not due:
        return []
    claimed = await _claim(session, due, seen, now)
    started = [name for name in due if name in claimed]
    await jobs.defer_each(session, started)
    return started


async def _claim(session: AsyncSession, due: list[str], seen: dict[str, datetime], now: datetime) -> set[str]:
    """Those that nobody else has started since they were seen; whoever starts the same ones now waits for us."""
    # Two workers that lock in the same order never wait for each other in a circle.
    locked = select(ScheduleEntry.name, ScheduleEntry.last_started_at).where(ScheduleEntry.name.in_(due))
    rows = await session.execute(locked.order_by(ScheduleEntry.name).with_for_update())
    unchanged = {name for name, last_started_at in rows if last_started_at == seen.get(name)}
    if unchanged:
        again = update(ScheduleEntry).where(ScheduleEntry.name.in_(unchanged)).values(last_started_at=now)
        await session.execute(again.execution_options(synchronize_session=False))
    new = [{"name": name, "last_started_at": now} for name in sorted(set(due) - seen.keys())]
    if not new:
        return unchanged
    first = insert(ScheduleEntry).values(new).on_conflict_do_nothing().returning(ScheduleEntry.name)
    return unchanged | set((await session.execute(first)).scalars())


async def run_schedule(database: Database, stop: asyncio.Event) -> None:
    """Look every second until `stop` is set; a database that is away is waited for."""
    while not stop.is_set():
        try:
            async with database.transaction(Scope.platform()) as session:
                await start_due(session, clock.now())
        except (Unavailable, OSError) as error:
            log.warning("schedule.database_away", error=str(error))
        try:
            await asyncio.wait_for(stop.wait(), LOOK_EVERY_SECONDS)
        except TimeoutError:
            continue
