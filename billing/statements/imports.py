"""A bank's file comes in: read whole or refused whole, stored with its lines, then matched by a job.

Nothing is paid here. A file that came before is answered with the statement it became; a line that came before (same
account, reference, day and amount) is kept as a duplicate without effect. Unique indexes hold both when two uploads
meet.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select, text, tuple_
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import defer

from billing.statements import mappings
from billing.statements.errors import StatementNotFound
from billing.statements.models import BankStatement, BankStatementLine
from billing.statements.reading import StatementLine, read_statement
from billing.statements.sheets import CONTENT_LIMIT_BYTES, Kind
from infra.kit import audit, clock, jobs
from infra.kit.database import PLATFORM
from infra.kit.ids import new_id
from infra.kit.problems import TooLarge

MATCH_STATEMENT = "billing.match_bank_statement"
"""The task that turns sure lines into payments (billing/jobs.py)."""

INSERT_LIMIT_ROWS = 1_000
"""Rows of one INSERT; a statement takes at most 65,535 parameters."""

_KEY = ("bank_account", "bank_reference", "value_on", "amount")


@dataclass(frozen=True, slots=True)
class Imported:
    """The statement that a file became, now or before."""

    statement: BankStatement
    imported_before: bool


async def import_statement(session: AsyncSession, *, mapping_name: str, content: bytes, kind: Kind) -> Imported:
    """Store a file and its lines and wake the matching; a file that came before only wakes it again.

    Raises `StatementRefused` naming line and column, `CurrencyRefused`, `MappingNotFound`, `TooLarge`.
    """
    if len(content) > CONTENT_LIMIT_BYTES:
        raise TooLarge(f"The file has {len(content)} bytes; at most {CONTENT_LIMIT_BYTES} are taken.", field="body")
    mapping = await mappings.get(session, mapping_name)
    layout = mappings.layout_of(mapping)
    read = await asyncio.to_thread(read_statement, content, kind, layout, today=clock.today())
    digest = hashlib.sha256(content).hexdigest()
    claim = insert(BankStatement).values(
        statement_id=new_id("bst"),
        mapping=mapping.name,
        bank_account=mapping.bank_account,
        content_digest=digest,
        content=content,
        outgoing_count=read.outgoing_count,
        imported_by=audit.actor.get(),
        imported_at=clock.now(),
    )
    claimed = await session.execute(claim.on_conflict_do_nothing().returning(BankStatement.statement_id))
    statement_id = claimed.scalar_one_or_none()
    before = statement_id is None
    if statement_id is None:
        known = select(BankStatement.statement_id).where(
            BankStatement.bank_account == mapping.bank_account, BankStatement.content_digest == digest
        )
        statement_id = (await session.execute(known)).scalar_one()
    else:
        await _store_lines(session, statement_id, mapping.bank_account, read.lines)
        await audit.record(
            session,
            PLATFORM,
            "bank_statement.imported",
            statement_id,
            mapping=mapping.name,
            lines=len(read.lines),
            outgoing=read.outgoing_count,
        )
    await jobs.defer(session, MATCH_STATEMENT, lock=f"bank_statement:{statement_id}", statement_id=statement_id)
    return Imported(await get(session, statement_id), before)


async def get(session: AsyncSession, statement_id: str) -> BankStatement:
    """A statement without its file. Raises `StatementNotFound`."""
    query = select(BankStatement).where(BankStatement.statement_id == statement_id)
    query = query.options(defer(BankStatement.content, raiseload=True))
    statement = (await session.execute(query)).scalar_one_or_none()
    if statement is None:
        raise StatementNotFound(f"There is no bank statement {statement_id}.", field="statement_id")
    return statement


async def _store_lines(
    session: AsyncSession, statement_id: str, bank_account: str, lines: Sequence[StatementLine]
) -> None:
    # In the order of the key, so that two uploads of the same lines wait for each other instead of locking up.
    ordered = sorted(lines, key=lambda line: (line.bank_reference, line.value_on, line.amount, line.line_number))
    for start in range(0, len(ordered), INSERT_LIMIT_ROWS):
        rows = [_row(statement_id, bank_account, line) for line in ordered[start : start + INSERT_LIMIT_ROWS]]
        claim = insert(BankStatementLine).values(rows)
        claim = claim.on_conflict_do_nothing(index_elements=_KEY, index_where=text("state <> 'duplicate'"))
        claimed = set((await session.execute(claim.returning(BankStatementLine.line_id))).scalars())
        repeated = [row for row in rows if row["line_id"] not in claimed]
        if repeated:
            await _store_duplicates(session, repeated)


async def _store_duplicates(session: AsyncSession, rows: Sequence[dict[str, Any]]) -> None:
    columns = [getattr(BankStatementLine, name) for name in _KEY]
    query = select(BankStatementLine.line_id, *columns).where(
        BankStatementLine.state != "duplicate",
        tuple_(*columns).in_([tuple(row[name] for name in _KEY) for row in rows]),
    )
    first = {tuple(known[1:]): known[0] for known in await session.execute(query)}
    duplicates = [
        {**row, "state": "duplicate", "duplicate_of": first[tuple(row[name] for name in _KEY)]} for row in rows
    ]
    await session.execute(insert(BankStatementLine).values(duplicates))


def _row(statement_id: str, bank_account: str, line: StatementLine) -> dict[str, Any]:
    return {
        "line_id": f"{statement_id}_{line.line_number:07d}",
        "statement_id": statement_id,
        "line_number": line.line_number,
        "bank_account": bank_account,
        "value_on": line.value_on,
        "amount": line.amount,
        "bank_reference": line.bank_reference,
        "payer": line.payer,
        "remittance": line.remittance,
        "state": "new",
        "duplicate_of": None,
    }


async def line_counts(session: AsyncSession, statement_ids: Collection[str]) -> Mapping[str, Mapping[str, int]]:
    """How many lines of each statement are in each state; a statement without lines has an empty entry."""
    query = (
        select(BankStatementLine.statement_id, BankStatementLine.state, func.count())
        .where(BankStatementLine.statement_id.in_(statement_ids))
        .group_by(BankStatementLine.statement_id, BankStatementLine.state)
    )
    counts: dict[str, dict[str, int]] = {statement_id: {} for statement_id in statement_ids}
    for statement_id, state, count in await session.execute(query):
        counts[statement_id][state] = count
    return counts
