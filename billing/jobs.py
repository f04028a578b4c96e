"""Background work of the billing room."""

from __future__ import annotations

from billing import dunning, invoice_runs, ledger_check, usage
from billing.corrections import re_ratings
from billing.invoice_runs import MonthRun
from billing.models import UnratedCall
from billing.rules.months import Month
from billing.runs import releases
from billing.statements import matching
from infra.kit import clock, jobs, logs
from infra.kit.database import Database, Scope
from switch.models import NewCall

log = logs.get(__name__)


class RatingFailed(Exception):
    """Calls of some tenants could not be rated; those of all others were. The job is tried again."""


@jobs.task("billing.rate_calls")
async def rate_calls(runtime: jobs.Runtime, *, tenant_id: str | None = None, retry_unrated: bool = False) -> None:
    """Price and charge the calls that have come in; started by the schedule and after changes.

    `tenant_id`: this tenant only, else all. `retry_unrated`: also try the calls without a price again. Any number of
    these may run at once: they take different legs.
    """
    run = _RatingRun(runtime.database)
    if retry_unrated:
        await run.every_tenant(UnratedCall, tenant_id)
    await run.every_tenant(NewCall, tenant_id)
    if run.failed:
        raise RatingFailed(f"Not all calls of {', '.join(run.failed)} could be rated; see the log.")


@jobs.task("billing.retry_unrated_calls")
async def retry_unrated_calls(runtime: jobs.Runtime) -> None:
    """Try every call without a price again; for the schedule.

    A change of a deck or contract starts this by itself. A call that was being rated while the change was committed
    may have seen the state before it and be set aside after that run: this one finds it.
    """
    await rate_calls(runtime, retry_unrated=True)


class InvoicesSetAside(Exception):
    """Invoices of some contracts could not be made; those of all others were. The job is tried again."""


class DunningFailed(Exception):
    """Some tenants could not be looked at; all others were. The job is tried again."""


@jobs.task("billing.advance_month")
async def advance_month(runtime: jobs.Runtime) -> None:
    """What the calendar brings: opening invoices, the end of contracts, on the 1st the monthly invoices.

    Started by the schedule at local midnight and every hour; whatever is done already is left alone, and days on
    which nobody worked are made up for. Where months release themselves they go out with `release_month`, some minutes
    after midnight; every hour their run is gone through again.
    """
    today = clock.today()
    await invoice_runs.issue_openings(runtime, today)
    await invoice_runs.end_contracts(runtime, today)
    if runtime.settings.monthly_release == "finance":
        await releases.advance(runtime, today)
    else:
        _complain(await releases.run_automatically(runtime, Month.of(today)))


@jobs.task("billing.release_month")
async def release_month(runtime: jobs.Runtime) -> None:
    """Where months release themselves: let this one go out as soon as nothing holds it up; for the schedule."""
    if runtime.settings.monthly_release == "finance":
        return
    month = Month.of(clock.today())
    async with runtime.database.transaction(Scope.platform()) as session:
        if await releases.release_by_itself(session, month):
            log.info("invoice_run.released", month=str(month))


@jobs.task("billing.run_month")
async def run_month(runtime: jobs.Runtime, *, month: str) -> None:
    """The run of one month (`2026-07`), as finance asks for it."""
    year, number = month.split("-")
    _complain(await invoice_runs.run_month(runtime, Month(int(year), int(number))))


@jobs.task("billing.run_released_month")
async def run_released_month(runtime: jobs.Runtime, *, month: str) -> None:
    """The run of a month (`2026-07`) that finance has released; what cannot be billed is set aside for a person."""
    await releases.carry_out(runtime, releases.month_of(month))


@jobs.task("billing.compute_re_rating")
async def compute_re_rating(runtime: jobs.Runtime, *, tenant_id: str, re_rating_id: str) -> None:
    """Price the calls of a past month again, batch by batch; a run that died goes on behind its last one."""
    is_open = True
    while is_open:
        async with runtime.database.transaction(Scope.platform()) as session:
            is_open = await re_ratings.compute_next(session, tenant_id=tenant_id, re_rating_id=re_rating_id)


@jobs.task("billing.advance_dunning")
async def advance_dunning(runtime: jobs.Runtime) -> None:
    """Suspend and restore every tenant as its unpaid invoices ask today; one transaction a tenant."""
    today = clock.today()
    failed: list[str] = []
    async with runtime.database.transaction(Scope.platform()) as session:
        tenant_ids = await dunning.tenants_to_look_at(session, today)
    for tenant_id in tenant_ids:
        try:
            async with runtime.database.transaction(Scope.platform()) as session:
                await dunning.advance(session, tenant_id, today)
        except Exception:  # the other tenants are not to wait for this one
            log.exception("dunning.failed", tenant_id=tenant_id)
            failed.append(tenant_id)
    if failed:
        raise DunningFailed(f"Dunning failed for {', '.join(failed)}; see the log.")


@jobs.task("billing.advance_tenant_dunning")
async def advance_tenant_dunning(runtime: jobs.Runtime, *, tenant_id: str) -> None:
    """The same for one tenant, after its account has changed."""
    async with runtime.database.transaction(Scope.platform()) as session:
        await dunning.advance(session, tenant_id, clock.today())


@jobs.task("billing.check_ledger")
async def check_ledger(runtime: jobs.Runtime) -> None:
    """Compare the ledger with the documents; a difference is an alarm, since none may ever be."""
    async with runtime.database.transaction(Scope.platform()) as session:
        found = await ledger_check.findings(session)
    if found:
        log.error("ledger.differs", findings=found)


@jobs.task("billing.match_bank_statement")
async def match_bank_statement(runtime: jobs.Runtime, *, statement_id: str) -> None:
    """Turn the sure lines of an imported statement into payments and queue the others; one transaction a tenant."""
    await matching.match_statement(runtime, statement_id)


def _complain(run: MonthRun) -> None:
    if run.set_aside:
        raise InvoicesSetAside(f"No invoice could be made for {', '.join(run.set_aside)}; see the log.")


class _RatingRun:
    """One run of the job, one transaction a batch; it may be stopped after any of them."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.failed: list[str] = []

    async def every_tenant(self, work: usage.WorkList, only: str | None) -> None:
        """Walk once through a work list, tenant by tenant; a tenant that fails does not stop the rest."""
        tenant_id = only or await self._next_tenant(work, "")
        while tenant_id is not None:
            try:
                await self._rate_tenant(work, tenant_id)
            except Exception:  # the other tenants are not to wait for this one
                log.exception("rating.failed", tenant_id=tenant_id)
                self.failed.append(tenant_id)
            tenant_id = None if only else await self._next_tenant(work, tenant_id)

    async def _next_tenant(self, work: usage.WorkList, after: str) -> str | None:
        async with self._database.transaction(Scope.platform()) as session:
            return await usage.next_tenant(session, work, after)

    async def _rate_tenant(self, work: usage.WorkList, tenant_id: str) -> None:
        last = usage.FIRST
        while True:
            async with self._database.transaction(Scope.platform()) as session:
                batch = await usage.rate_batch(session, tenant_id, work=work, after=last)
            if batch.taken == 0:
                return
            last = batch.last
            log.info("calls.rated", tenant_id=tenant_id, charged=batch.charged, unrated=batch.unrated)
