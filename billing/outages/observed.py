"""Faults that the cluster itself was seen with: recorded, merged with what was reported, ended (C11).

The room above watches the cluster and says for whom; here it becomes faults. Where somebody has reported the same
before, that report is confirmed by what was seen. Overlaps never count twice: the credit goes by the union of the
faults of a seat (rule 9).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from billing.contracts import get_contract
from billing.models import Holding
from billing.outages import faults
from billing.outages.evidence import TEXT_LIMIT_CHARACTERS, check_held, checked_numbers, checked_text
from billing.outages.faults import Report
from billing.outages.history import touching
from billing.outages.models import Fault, FaultEvidence
from billing.rules.book import Span
from billing.rules.months import local_day
from infra.kit import audit, clock
from infra.kit.ids import new_id

CLUSTER = "cluster"
"""The source of evidence that nobody reported."""

EVIDENCE_LIMIT = 50
"""Of one fault; what is seen beyond adds nothing."""

REPORT_BEFORE = timedelta(minutes=15)
"""A report that begins this little before what was seen means the same."""

_SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A condition of the cluster as a fault: `cause` None where a person decides, `note` says what was seen."""

    observation_id: str
    cause: str | None
    began_at: datetime
    note: str


@dataclass(frozen=True, slots=True)
class OpenItem:
    """A contract of a tenant with something open, `seat` or `circuit`."""

    contract_id: str
    item: str


async def open_items(session: AsyncSession, tenant_id: str, span: Span) -> list[OpenItem]:
    """What a tenant has open at some time of a span."""
    query = (
        select(Holding.contract_id, Holding.item)
        .where(
            Holding.tenant_id == tenant_id,
            Holding.opened_on <= local_day(span.ends),
            Holding.closes_on.is_(None) | (Holding.closes_on >= local_day(span.begins)),
        )
        .distinct()
        .order_by(Holding.contract_id, Holding.item)
    )
    return [OpenItem(contract_id, item) for contract_id, item in await session.execute(query)]


async def record(
    session: AsyncSession, tenant_id: str, seen: Seen, numbers: Mapping[str, Sequence[int]] | None
) -> list[Fault]:
    """Make what was seen a lasting fault of each contract that it concerns; returns those that are new.

    `numbers` are the seats concerned by contract; None: everything that is open. Safe to repeat: a contract that has
    opened meanwhile gets its fault then. Reports that say the same are confirmed where `seen.cause` is known.
    """
    recorded: list[Fault] = []
    now = max(clock.now(), seen.began_at + _SECOND)
    for held in await open_items(session, tenant_id, Span(seen.began_at, now)):
        if numbers is not None and (held.item != "seat" or not numbers.get(held.contract_id)):
            continue
        contract = await get_contract(session, tenant_id, held.contract_id, for_update=True)
        of_contract = None if numbers is None else sorted(numbers[held.contract_id])
        fault = await faults.record_observed(
            session,
            contract,
            held.item,
            observation_id=seen.observation_id,
            cause=seen.cause,
            began_at=seen.began_at,
            numbers=of_contract,
            note=seen.note,
        )
        if fault is None:
            continue
        recorded.append(fault)
        await add_evidence(session, fault, seen.note, observation_id=seen.observation_id, seen_at=seen.began_at)
        for report in await _reports_of_the_same(session, fault, now):
            await add_evidence(session, report, seen.note, observation_id=seen.observation_id, seen_at=seen.began_at)
            if seen.cause is not None:
                await faults.confirm(
                    session, tenant_id=tenant_id, fault_id=report.fault_id, cause=seen.cause, reason=seen.note
                )
    return recorded


async def second(session: AsyncSession, tenant_id: str, report: Report) -> Fault | None:
    """Somebody reports what the cluster has been seen with and what lasts: kept as evidence of that fault.

    Returns that fault; None where the report says more (seats that it leaves out, an earlier beginning, an end, a
    cause), so that it is one of its own. Raises as `faults.report` for the note and the numbers.
    """
    note, numbers = checked_text(report.note, "note"), checked_numbers(report.numbers)
    if report.cause is not None or report.ended_at is not None or report.began_at > clock.now():
        return None
    await get_contract(session, tenant_id, report.contract_id, for_update=True)
    query = (
        select(Fault)
        .where(
            Fault.tenant_id == tenant_id,
            Fault.contract_id == report.contract_id,
            Fault.item == report.item,
            Fault.observation_id.is_not(None),
            Fault.state != "withdrawn",
            Fault.ended_at.is_(None),
            Fault.began_at <= report.began_at + REPORT_BEFORE,
        )
        .order_by(Fault.began_at, Fault.fault_id)
    )
    for fault in (await session.execute(query)).scalars():
        if fault.numbers is None or (numbers is not None and set(numbers) <= set(fault.numbers)):
            await check_held(session, _as_reported(fault, numbers))
            await add_evidence(session, fault, note, seen_at=report.began_at, source=audit.actor.get())
            await audit.record(session, tenant_id, "fault.seconded", fault.fault_id, note=note, numbers=numbers)
            return fault
    return None


def _as_reported(fault: Fault, numbers: list[int] | None) -> Fault:
    """The fault of the numbers that somebody reports, to see whether they were open; it is never stored."""
    return Fault(
        tenant_id=fault.tenant_id,
        contract_id=fault.contract_id,
        item=fault.item,
        numbers=numbers,
        began_at=fault.began_at,
        ended_at=None,
    )


async def decide(session: AsyncSession, tenant_id: str, observation_id: str, cause: str, reason: str) -> None:
    """The cause of something that was seen has become clear: its faults that nobody has decided on are confirmed."""
    query = select(Fault.fault_id).where(
        Fault.tenant_id == tenant_id, Fault.observation_id == observation_id, Fault.state == "reported"
    )
    for fault_id in list((await session.execute(query)).scalars()):
        await faults.confirm(session, tenant_id=tenant_id, fault_id=fault_id, cause=cause, reason=reason)


async def end(session: AsyncSession, tenant_id: str, observation_id: str, ended_at: datetime) -> list[Fault]:
    """What was seen is over: its faults end then, and so do the reports that it confirmed and nobody has ended."""
    linked = select(FaultEvidence.fault_id).where(
        FaultEvidence.tenant_id == tenant_id, FaultEvidence.observation_id == observation_id
    )
    query = select(Fault).where(
        Fault.tenant_id == tenant_id,
        Fault.ended_at.is_(None),
        Fault.state != "withdrawn",
        (Fault.observation_id == observation_id) | Fault.fault_id.in_(linked),
    )
    ended: list[Fault] = []
    # By contract, as everybody locks them: two at once must not wait for each other.
    for found in list((await session.execute(query.order_by(Fault.contract_id, Fault.fault_id))).scalars()):
        await get_contract(session, tenant_id, found.contract_id, for_update=True)
        fault = await faults.find(session, found.fault_id, tenant_id)
        ended.append(await faults.end_observed(session, fault, ended_at))
        await add_evidence(session, fault, "It is over.", observation_id=observation_id, seen_at=ended_at)
    return ended


async def add_evidence(
    session: AsyncSession,
    fault: Fault,
    note: str,
    *,
    seen_at: datetime,
    source: str = CLUSTER,
    observation_id: str | None = None,
) -> None:
    """Keep what speaks for a fault, up to `EVIDENCE_LIMIT` of them."""
    known = select(func.count()).where(
        FaultEvidence.tenant_id == fault.tenant_id, FaultEvidence.fault_id == fault.fault_id
    )
    if (await session.execute(known)).scalar_one() >= EVIDENCE_LIMIT:
        return
    session.add(
        FaultEvidence(
            tenant_id=fault.tenant_id,
            evidence_id=new_id("evd"),
            fault_id=fault.fault_id,
            observation_id=observation_id,
            seen_at=seen_at,
            source=source,
            note=note[:TEXT_LIMIT_CHARACTERS],
        )
    )
    await session.flush()


async def evidence_of(session: AsyncSession, fault: Fault) -> list[FaultEvidence]:
    """What speaks for a fault, the earliest first; that of one it was split from too."""
    whose = [fault.fault_id] if fault.split_from is None else [fault.fault_id, fault.split_from]
    query = (
        select(FaultEvidence)
        .where(FaultEvidence.tenant_id == fault.tenant_id, FaultEvidence.fault_id.in_(whose))
        .order_by(FaultEvidence.seen_at, FaultEvidence.evidence_id)
    )
    return list((await session.execute(query)).scalars())


async def _reports_of_the_same(session: AsyncSession, observed: Fault, now: datetime) -> list[Fault]:
    """Undecided reports of (some of) these seats that began with what was seen, or after it."""
    query = (
        select(Fault)
        .where(
            Fault.tenant_id == observed.tenant_id,
            Fault.contract_id == observed.contract_id,
            Fault.item == observed.item,
            Fault.state == "reported",
            Fault.observation_id.is_(None),
            Fault.began_at >= observed.began_at - REPORT_BEFORE,
            touching(Span(observed.began_at, now)),
        )
        .order_by(Fault.began_at, Fault.fault_id)
    )
    return [
        report
        for report in (await session.execute(query)).scalars()
        if observed.numbers is None or (report.numbers is not None and set(report.numbers) <= set(observed.numbers))
    ]
