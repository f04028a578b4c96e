"""Sure lines become payments: one transaction for each tenant and batch, under the tenant's lock.

It may be stopped anywhere and begun again: only lines in the state `new` are taken, and a line leaves that state in
the transaction that records its payment.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from billing.models import Invoice
from billing.rules.statement_matching import (
    Directory,
    KnownTenant,
    Named,
    NamedInvoice,
    Unclear,
    doubt_about,
    who_is_named,
)
from billing.statements import queue
from billing.statements.models import BankStatementLine
from infra.kit import logs, money
from infra.kit.database import Database, Scope
from infra.kit.jobs import Runtime
from infra.kit.problems import Refusal
from tenancy import tenants
from tenancy.models import Tenant

BATCH_LIMIT_LINES = 500
log = logs.get(__name__)


class LinesNotMatched(Exception):
    """Lines of some tenants could not be looked at; all others were. The job is tried again."""


@dataclass(slots=True)
class MatchingRun:
    """What one run did."""

    paid: int = 0
    queued: int = 0
    failed: list[str] = field(default_factory=list)


async def match_statement(runtime: Runtime, statement_id: str) -> MatchingRun:
    """Pay what is sure of a statement's new lines and queue the rest. Raises `LinesNotMatched` at the end of the run
    for tenants whose lines failed.
    """
    run = MatchingRun()
    last = ""
    while True:
        async with runtime.database.transaction(Scope.platform()) as session:
            lines = await _new_lines(session, statement_id, after=last)
            directory = await _directory(session) if lines else Directory(())
        if not lines:
            break
        last = lines[-1].line_id
        await _match_batch(runtime.database, run, lines, directory)
    log.info("bank_statement.matched", statement_id=statement_id, paid=run.paid, queued=run.queued)
    if run.failed:
        raise LinesNotMatched(f"Lines of {', '.join(run.failed)} could not be matched; see the log.")
    return run


async def _match_batch(
    database: Database, run: MatchingRun, lines: Sequence[BankStatementLine], directory: Directory
) -> None:
    unclear: dict[str, Unclear] = {}
    named: dict[str, dict[str, Named]] = defaultdict(dict)
    for line in lines:
        match who_is_named(line.remittance, line.payer, directory):
            case Unclear() as doubt:
                unclear[line.line_id] = doubt
            case Named() as found:
                named[found.tenant_id][line.line_id] = found
    if unclear:
        async with database.transaction(Scope.platform()) as session:
            for line in await _locked(session, unclear.keys()):
                _queue(line, unclear[line.line_id])
                run.queued += 1
    for tenant_id, of_tenant in named.items():
        try:
            async with database.transaction(Scope.platform()) as session:
                paid, queued = await _match_tenant(session, tenant_id, of_tenant)
        except Exception:  # the other tenants are not to wait for this one
            log.exception("bank_statement.match_failed", tenant_id=tenant_id)
            run.failed.append(tenant_id)
        else:
            run.paid += paid
            run.queued += queued


async def _match_tenant(session: AsyncSession, tenant_id: str, of_tenant: Mapping[str, Named]) -> tuple[int, int]:
    """Decide each line in the order of the file, since a payment changes what is open for the next."""
    await tenants.get(session, tenant_id, for_update=True)
    paid = queued = 0
    for line in await _locked(session, of_tenant.keys()):
        named = of_tenant[line.line_id]
        doubt = doubt_about(named, line.amount, await _invoices(session, named))
        if doubt is None and await _paid(session, line, named):
            paid += 1
            continue
        if doubt is not None:
            _queue(line, doubt)
        queued += 1
    return paid, queued


async def _paid(session: AsyncSession, line: BankStatementLine, named: Named) -> bool:
    """Record the payment; what the payments refuse (a reference used before, an old day) waits for a person."""
    try:
        async with session.begin_nested():
            await queue.pay(session, line, named.tenant_id, by=named.by)
    except Refusal as refusal:
        await session.refresh(line)
        line.state, line.reason, line.note = "unmatched", refusal.code, refusal.detail
        line.suggested_tenant_id = named.tenant_id
        return False
    return True


def _queue(line: BankStatementLine, doubt: Unclear) -> None:
    line.state, line.reason, line.suggested_tenant_id = "unmatched", doubt.reason, doubt.suggestion


async def _new_lines(session: AsyncSession, statement_id: str, *, after: str) -> Sequence[BankStatementLine]:
    query = (
        select(BankStatementLine)
        .where(
            BankStatementLine.statement_id == statement_id,
            BankStatementLine.state == "new",
            BankStatementLine.line_id > after,
        )
        .order_by(BankStatementLine.line_id)
        .limit(BATCH_LIMIT_LINES)
    )
    return (await session.execute(query)).scalars().all()


async def _locked(session: AsyncSession, line_ids: Collection[str]) -> Sequence[BankStatementLine]:
    """Those that are still new, locked, in the order of the file."""
    query = (
        select(BankStatementLine)
        .where(BankStatementLine.line_id.in_(line_ids), BankStatementLine.state == "new")
        .order_by(BankStatementLine.line_id)
        .with_for_update()
    )
    return (await session.execute(query)).scalars().all()


async def _directory(session: AsyncSession) -> Directory:
    rows = await session.execute(select(Tenant.tenant_id, Tenant.name))
    return Directory(KnownTenant(tenant_id, name) for tenant_id, name in rows)


async def _invoices(session: AsyncSession, named: Named) -> list[NamedInvoice]:
    query = select(Invoice).where(Invoice.tenant_id == named.tenant_id, Invoice.number.in_(named.numbers))
    return [
        NamedInvoice(each.number, max(each.total - each.paid, money.ZERO) if each.voided_at is None else money.ZERO)
        for each in (await session.execute(query)).scalars()
    ]
