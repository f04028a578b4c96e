"""The release of the monthly run: finance lets a month go out, in order, once (rule 3).

A month is released by a row of `invoice_run`; the job that issues its invoices is deferred in the same transaction and
goes on wherever it was stopped. Where months release themselves (`SEATLINE_MONTHLY_RELEASE=automatic`) a job writes
that row as soon as the month's hours allow it (hours.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from sqlalchemy import Select, case, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from billing import invoice_runs, run_preview
from billing.errors import MonthNotBegun
from billing.invoice_runs import MonthRun
from billing.models import Contract, Invoice
from billing.rules.errors import BillingRefused
from billing.rules.months import Month
from billing.rules.reading import Reader
from billing.runs import hours
from billing.runs.errors import (
    MonthNotReleased,
    MonthOutOfOrder,
    NothingSetAside,
    PreviewOutdated,
    RunNotFound,
    RunReleased,
)
from billing.runs.models import InvoiceRun, SetAsideContract
from infra.kit import audit, clock, jobs, logs, money
from infra.kit.database import PLATFORM, Scope
from infra.kit.jobs import Runtime
from infra.kit.problems import InvalidInput

log = logs.get(__name__)
RUN_RELEASED = "billing.run_released_month"
RUN_LOCK = "billing.run_month"
"""Runs of months follow one another."""

WAITING, RUNNING, FINISHED = "waiting", "running", "finished"
NOTE_LIMIT_CHARACTERS = 500


class ReleaseRefused(BillingRefused):
    """A figure of the preview cannot be read; `field` names it."""

    code = "release_refused"


@dataclass(frozen=True, slots=True)
class RunState:
    """A month's run as finance follows it; `run` None: the month waits for its release.

    `contracts_due` still lack an invoice, `set_aside` of them wait for a person; `issued` invoices of the month come to
    `total`, CNY.
    """

    month: Month
    run: InvoiceRun | None
    contracts_due: int
    set_aside: int
    issued: int
    total: Decimal

    @property
    def state(self) -> str:
        """`waiting`, `running` or `finished`."""
        return WAITING if self.run is None else self.run.state


async def release(
    session: AsyncSession,
    month: Month,
    *,
    note: str | None = None,
    contracts_due: int | None = None,
    expected_total: str | None = None,
    sign_off: str | None = None,
    hours_version: str | None = None,
) -> RunState:
    """Let the invoices of a month go out; they are issued by a job, and dated the 1st whenever that is.

    `contracts_due` and `expected_total` (CNY, a decimal string) are those of the preview that was looked at: given and
    different by now, nothing is released. Raises `MonthNotBegun`, `RunReleased`, `MonthOutOfOrder` naming the month to
    release first, `PreviewOutdated` with the new figures, `InvalidInput` for the note, `HoursUnreconciled` while call
    records of the month before are missing and `sign_off` does not say why it goes out all the same, or the hours are
    others than those that were looked at (`hours_version`).
    """
    if note is not None and len(note) > NOTE_LIMIT_CHARACTERS:
        raise InvalidInput(f"A note has at most {NOTE_LIMIT_CHARACTERS} characters.", field="note")
    if month.first > clock.today():
        raise MonthNotBegun(f"{month} has not begun; its invoices are dated {month.first}.", field="month")
    if await session.get(InvoiceRun, str(month)) is not None:
        raise RunReleased(f"{month} is released already.", field="month")
    waiting = await waiting_months(session)
    expected = waiting[0] if waiting else Month.of(clock.today())
    if month != expected:
        raise MonthOutOfOrder(f"Release {expected} first; months go out in their order.", field="month")
    await hours.check_hours(session, month, sign_off=sign_off, hours_version=hours_version)
    await _check_figures(session, month, contracts_due, expected_total)
    note = note.strip() or None if note is not None else None
    if not await _insert(session, month, released_by=audit.actor.get(), note=note):
        raise RunReleased(f"{month} is released already.", field="month")
    await audit.record(session, PLATFORM, "invoice_run.released", str(month), note=note)
    await jobs.defer(session, RUN_RELEASED, lock=RUN_LOCK, month=str(month))
    return await state_of(session, month)


async def retry(session: AsyncSession, month: Month) -> RunState:
    """Try the contracts that were set aside again. Raises `RunNotFound`, `NothingSetAside`."""
    run = await session.get(InvoiceRun, str(month), with_for_update=True)
    if run is None:
        raise RunNotFound(f"{month} is not released.", field="month")
    if await session.scalar(set_aside_of(month).limit(1)) is None:
        raise NothingSetAside(f"No contract of {month} waits for another try.", field="month")
    run.state = RUNNING
    await session.flush()
    await audit.record(session, PLATFORM, "invoice_run.retried", str(month))
    await jobs.defer(session, RUN_RELEASED, lock=RUN_LOCK, month=str(month))
    return await state_of(session, month)


async def carry_out(runtime: Runtime, month: Month) -> MonthRun | None:
    """Issue the invoices of a released month; None where there is nothing to do. May be stopped and begun again.

    Contracts that cannot be billed are set aside for a person; the run is finished without them.
    """
    async with runtime.database.transaction(Scope.platform()) as session:
        found = await session.get(InvoiceRun, str(month))
        if found is None or found.state != RUNNING:
            return None
        # What is tried again after the run was finished is released on that day.
        released_on = None if found.finished_at is not None else clock.local_date(found.released_at)
    done = await invoice_runs.run_month(runtime, month, released_on=released_on)
    async with runtime.database.transaction(Scope.platform()) as session:
        await session.execute(
            update(InvoiceRun).where(InvoiceRun.month == str(month)).values(state=FINISHED, finished_at=clock.now())
        )
    return done


async def advance(runtime: Runtime, today: date) -> None:
    """What each hour does for months that finance releases: go on with what was stopped, tell of what waits."""
    async with runtime.database.transaction(Scope.platform()) as session:
        running = (await session.execute(select(InvoiceRun.month).where(InvoiceRun.state == RUNNING))).scalars().all()
        waiting = await waiting_months(session)
    for month in sorted(running):
        await carry_out(runtime, month_of(month))
    for month in waiting:
        if today > month.first:
            log.warning("invoice_run.waiting_for_release", month=str(month))


async def run_automatically(runtime: Runtime, month: Month) -> MonthRun:
    """Where months release themselves: the run of this month, for whatever lacks an invoice by now.

    While its hours hold it up an alarm says so, unless their records may still be on their way, and the run goes
    through what was released before.
    """
    async with runtime.database.transaction(Scope.platform()) as session:
        if not await _may_go_out(session, month):  # what is written about the hours stays
            last = await session.scalar(select(func.max(InvoiceRun.month)).where(InvoiceRun.month < str(month)))
            if last is None:
                return MonthRun(month)
            month = month_of(last)
    done = await invoice_runs.run_month(runtime, month)
    async with runtime.database.transaction(Scope.platform()) as session:
        await session.execute(
            update(InvoiceRun)
            .where(InvoiceRun.month == str(month), InvoiceRun.state == RUNNING)
            .values(state=FINISHED, finished_at=clock.now())
        )
    return done


async def _may_go_out(session: AsyncSession, month: Month) -> bool:
    """Whether a month that releases itself is released, or is now; if not, and it should be, an alarm says so."""
    if await session.get(InvoiceRun, str(month)) is not None:
        return True
    if not hours.is_settled(month):
        return False
    if holding := await hours.short_hours(session, month):
        log.error("invoice_run.hours_unreconciled", month=str(month), hours=len(holding))
        return False
    await _insert_by_itself(session, month)
    return True


async def release_by_itself(session: AsyncSession, month: Month) -> bool:
    """Where months release themselves: let this one go out if nothing holds it up, and say whether it goes now.

    Asked every minute, so it begins with what is known: hours are counted anew only where none is known to be short.
    """
    if not hours.is_settled(month) or await session.get(InvoiceRun, str(month)) is not None:
        return False
    if await hours.is_held_up(session, month) or await hours.short_hours(session, month):
        return False
    if not await _insert_by_itself(session, month):
        return False
    await jobs.defer(session, RUN_RELEASED, lock=RUN_LOCK, month=str(month))
    return True


async def check_released(session: AsyncSession, month: Month) -> None:
    """Refuse to run a month that finance has not released. Raises `MonthNotReleased`."""
    if await session.get(InvoiceRun, str(month)) is None:
        raise MonthNotReleased(f"{month} is not released; release it (rule 3).", field="month")


async def check_may_go_out(session: AsyncSession, month: Month) -> None:
    """Where months release themselves: refuse to run one by hand that hours hold up. Raises `HoursUnreconciled`.

    A month that is released, or a later one is, has gone out: what was found missing since is not its affair.
    """
    last = await session.scalar(select(func.max(InvoiceRun.month)))
    if last is None or month > month_of(last):
        await hours.check_by_hand(session, month)


async def waiting_months(session: AsyncSession) -> Sequence[Month]:
    """The months that have begun and are not released, the first to be released first.

    They follow the last one that was released; before the first release they begin with the earliest month for which a
    contract lacks an invoice.
    """
    current = Month.of(clock.today())
    last = await session.scalar(select(func.max(InvoiceRun.month)))
    first = await _earliest_due(session, current) if last is None else month_of(last).following
    waiting: list[Month] = []
    while first is not None and first <= current:
        waiting.append(first)
        first = first.following
    return waiting


async def state_of(session: AsyncSession, month: Month) -> RunState:
    """A month's run, released or waiting for it. Raises `RunNotFound` for any other month."""
    run = await session.get(InvoiceRun, str(month), populate_existing=True)
    if run is None and month not in await waiting_months(session):
        raise RunNotFound(f"{month} is not released, and no invoice waits for it.", field="month")
    aside = await session.scalar(select(func.count()).select_from(set_aside_of(month).subquery())) or 0
    finished = run is not None and run.state == FINISHED
    due = aside if finished else await run_preview.count_due(session, month)
    of_month = select(func.count(), func.coalesce(func.sum(Invoice.total), money.ZERO)).where(
        Invoice.issued_on == month.first, Invoice.reason.in_(("monthly", "final")), Invoice.voided_at.is_(None)
    )
    issued, total = (await session.execute(of_month)).one()
    return RunState(month, run, due, aside, issued, total)


def set_aside_of(month: Month, *, also_resolved: bool = False) -> Select[SetAsideContract]:
    """The contracts of a run that wait for another try, or (with `also_resolved`) ever did."""
    query = select(SetAsideContract).where(SetAsideContract.month == str(month))
    return query if also_resolved else query.where(SetAsideContract.resolved_at.is_(None))


def month_of(text: str) -> Month:
    """A month as the tables keep it."""
    return Month.of(date.fromisoformat(f"{text}-01"))


async def _insert(session: AsyncSession, month: Month, *, released_by: str, note: str | None) -> bool:
    """Write the release; False where somebody else has."""
    values = {
        "month": str(month),
        "state": RUNNING,
        "released_at": clock.now(),
        "released_by": released_by,
        "note": note,
        "finished_at": None,
    }
    statement = insert(InvoiceRun).values(values).on_conflict_do_nothing().returning(InvoiceRun.month)
    return await session.scalar(statement) is not None


async def _insert_by_itself(session: AsyncSession, month: Month) -> bool:
    """Write the release that nobody gave; False where there is one."""
    is_new = await _insert(session, month, released_by=audit.SYSTEM, note=None)
    if is_new:
        await audit.record(session, PLATFORM, "invoice_run.released", str(month))
    return is_new


async def _earliest_due(session: AsyncSession, current: Month) -> Month | None:
    """The first month for which a contract lacks an invoice; None where none does."""
    usage_month = case(
        (Contract.billed_through.is_(None), func.date_trunc("month", Contract.opens_on)),
        else_=func.date_trunc("month", Contract.billed_through) + func.make_interval(0, 1),
    )
    due = invoice_runs.due_contracts(current).order_by(None)
    earliest = await session.scalar(due.with_only_columns(func.min(usage_month)))
    return None if earliest is None else Month(earliest.year, earliest.month).following


async def _check_figures(
    session: AsyncSession, month: Month, contracts_due: int | None, expected_total: str | None
) -> None:
    """Whether the run is still what was looked at."""
    due = await run_preview.count_due(session, month)
    wrong = "contracts_due" if contracts_due not in (None, due) else None
    facts: dict[str, object] = {"contracts_due": due}
    if expected_total is not None:
        looked_at = Reader(ReleaseRefused).decimal(
            expected_total, "expected_total", places=money.FEN, minimum=Decimal("-999999999999")
        )
        summary = await run_preview.summarize(session, month)
        total = sum(summary.totals.values(), money.ZERO)
        facts["total"] = money.amount_text(total)
        if wrong is None and total != looked_at:
            wrong = "expected_total"
    if wrong is not None:
        now = ", ".join(f"{name} {value}" for name, value in facts.items())
        raise PreviewOutdated(f"The run of {month} is another by now: {now}. Look at it again.", field=wrong, **facts)
