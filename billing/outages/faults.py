"""Faults: reported, decided on, ended, corrected, withdrawn; only the operator's are credited (C11, C22, C24, rule 9).

Every change takes the contract's lock, as the monthly run does, and makes the next run look at the fault again. What
an invoice has credited stays credited: a later change adds what is missing and takes nothing back.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession

from billing.contracts import get_contract
from billing.models import Contract
from billing.outages.errors import (
    FaultDecided,
    FaultEnded,
    FaultKnown,
    FaultNotDecided,
    FaultNotFound,
    FaultRefused,
)
from billing.outages.evidence import (
    TEXT_LIMIT_CHARACTERS,
    check_held,
    check_times,
    checked_numbers,
    checked_text,
    known_fault,
)
from billing.outages.models import Fault
from billing.rules.book import ITEMS
from billing.rules.months import day_begins
from billing.rules.reading import Reader
from infra.kit import audit, clock
from infra.kit.ids import new_id
from infra.kit.problems import InvalidInput

STATES = ("reported", "confirmed", "withdrawn")
CAUSES = ("operator", "tenant", "force_majeure")
_READER = Reader(FaultRefused)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What somebody says was at fault. `numbers` None: everything of the item that was open during it.

    `ended_at` None: it lasts. `cause` None: somebody else decides on it; then it is `reported`, else `confirmed`.
    """

    contract_id: str
    began_at: datetime
    note: str
    item: str = "seat"
    numbers: Sequence[int] | None = None
    ended_at: datetime | None = None
    cause: str | None = None


async def report(session: AsyncSession, *, tenant_id: str, report: Report) -> Fault:
    """Record a fault, with its cause where the one who reports it decides that.

    Moments carry an offset. Raises `FaultRefused` naming the value (an end before the beginning, a moment to come or
    before the opening, a seat that was not open), `FaultKnown`, `ContractNotFound`.
    """
    _READER.choice(report.item, "item", ITEMS)
    if report.cause is not None:
        _READER.choice(report.cause, "cause", CAUSES)
    note = checked_text(report.note, "note")
    numbers = checked_numbers(report.numbers)
    contract = await get_contract(session, tenant_id, report.contract_id, for_update=True)
    times = check_times(contract, report.began_at, report.ended_at)
    fault = _fault(contract, report.item, numbers, times, note=note)
    await check_held(session, fault)
    known = await known_fault(session, fault, report.cause)
    if known is not None:
        raise FaultKnown(
            f"The fault {known} is of one of these {report.item}s at this time; correct that one, or report what it "
            "leaves out.",
            field="began_at",
            fault_id=known,
        )
    if report.cause is not None:
        _decide(fault, "confirmed", report.cause, None)
    return await _added(session, fault, "fault.reported")


async def confirm(session: AsyncSession, *, tenant_id: str, fault_id: str, cause: str, reason: str) -> Fault:
    """Decide whose cause a reported fault was, and why. Raises `FaultDecided`, `FaultRefused` for the cause."""
    _READER.choice(cause, "cause", CAUSES)
    reason = checked_text(reason, "reason")
    fault = await _locked(session, tenant_id, fault_id)
    if fault.state != "reported":
        raise FaultDecided(f"The fault {fault_id} is {fault.state}; reclassify it instead.", field="fault_id")
    _decide(fault, "confirmed", cause, reason)
    return await _changed(session, fault, "fault.confirmed", cause=cause, reason=reason)


async def reclassify(session: AsyncSession, *, tenant_id: str, fault_id: str, cause: str, reason: str) -> Fault:
    """Give a confirmed fault another cause. Raises `FaultNotDecided`, `FaultRefused` for the cause it has already."""
    _READER.choice(cause, "cause", CAUSES)
    reason = checked_text(reason, "reason")
    fault = await _locked(session, tenant_id, fault_id)
    if fault.state != "confirmed":
        raise FaultNotDecided(f"The fault {fault_id} is {fault.state}; confirm it with its cause.", field="cause")
    before = fault.cause
    if before == cause:
        raise FaultRefused("cause", f"it is {cause} already", "another cause than the present one")
    _decide(fault, "confirmed", cause, reason)
    return await _changed(session, fault, "fault.reclassified", cause=cause, cause_before=before, reason=reason)


async def end(session: AsyncSession, *, tenant_id: str, fault_id: str, ended_at: datetime) -> Fault:
    """Record when a lasting fault was repaired. Raises `FaultEnded`, `FaultDecided`, `FaultRefused` for the moment."""
    fault = await _locked(session, tenant_id, fault_id)
    _refuse_withdrawn(fault)
    if fault.ended_at is not None:
        raise FaultEnded(f"The fault {fault_id} ended at {fault.ended_at.isoformat()}; correct it instead.")
    contract = await get_contract(session, tenant_id, fault.contract_id)
    _, fault.ended_at = check_times(contract, fault.began_at, ended_at)
    return await _changed(session, fault, "fault.ended", ended_at=ended_at.isoformat())


async def correct(
    session: AsyncSession,
    *,
    tenant_id: str,
    fault_id: str,
    reason: str,
    began_at: datetime | None = None,
    ended_at: datetime | None = None,
    numbers: Sequence[int] | None = None,
) -> Fault:
    """Correct a fault's times, for all of it or for some of its seats; returns the fault that has the new times.

    Some `numbers` of it leave it and become a fault of their own. A fault of "all" that is split so goes on for those
    of the rest that have been open during it up to now. Raises `FaultRefused`, `FaultDecided` for a withdrawn one.
    """
    reason = checked_text(reason, "reason")
    wanted = checked_numbers(numbers)
    fault = await _locked(session, tenant_id, fault_id)
    _refuse_withdrawn(fault)
    if began_at is None and ended_at is None:
        raise FaultRefused("began_at", "nothing is corrected", "began_at, ended_at or both")
    contract = await get_contract(session, tenant_id, fault.contract_id)
    began_at, ended_at = check_times(contract, began_at or fault.began_at, ended_at or fault.ended_at)
    times = {"began_at": began_at.isoformat(), "ended_at": None if ended_at is None else ended_at.isoformat()}
    held = await check_held(session, fault)
    if wanted is None or set(wanted) == set(held):
        before = {"began_at_before": fault.began_at.isoformat()}
        before |= {} if fault.ended_at is None else {"ended_at_before": fault.ended_at.isoformat()}
        fault.began_at, fault.ended_at = began_at, ended_at
        await check_held(session, fault)
        return await _changed(session, fault, "fault.corrected", **times, **before, reason=reason)
    if missing := sorted(set(wanted) - set(held)):
        raise FaultRefused("numbers", f"{fault.item} {missing[0]} is not part of the fault", "numbers of the fault")
    part = _fault(contract, fault.item, wanted, (began_at, ended_at), note=fault.note)
    await check_held(session, part)
    part.state, part.cause, part.split_from, part.window_id = fault.state, fault.cause, fault_id, fault.window_id
    part.observation_id = fault.observation_id
    part.decided_by, part.decided_at, part.decision_reason = audit.actor.get(), clock.now(), reason
    fault.numbers = sorted(set(held) - set(wanted))
    await _changed(session, fault, "fault.split", numbers=wanted, into=part.fault_id, reason=reason)
    return await _added(session, part, "fault.corrected", reason=reason)


async def withdraw(session: AsyncSession, *, tenant_id: str, fault_id: str, reason: str) -> Fault:
    """Say that there was no such fault; it stays to be seen and counts no more. Raises `FaultDecided` for the second
    time."""
    reason = checked_text(reason, "reason")
    fault = await _locked(session, tenant_id, fault_id)
    _refuse_withdrawn(fault)
    _decide(fault, "withdrawn", fault.cause, reason)
    return await _changed(session, fault, "fault.withdrawn", reason=reason)


async def record_overrun(
    session: AsyncSession, contract: Contract, item: str, *, window_id: str, began_at: datetime, ended_at: datetime
) -> Fault | None:
    """The operator's fault that the overrun of a window is, from its scheduled end (rule 10); None: recorded before.

    The caller has locked the contract and seen that something of the item was open then.
    """
    query = select(Fault.fault_id).where(
        Fault.tenant_id == contract.tenant_id,
        Fault.contract_id == contract.contract_id,
        Fault.item == item,
        Fault.window_id == window_id,
    )
    if (await session.execute(query)).first() is not None:
        return None
    times = max(began_at, day_begins(contract.opens_on)), ended_at
    fault = _fault(contract, item, None, times, note="The maintenance window was not over at its scheduled end.")
    fault.window_id = window_id
    _decide(fault, "confirmed", "operator", "rule 10")
    return await _added(session, fault, "fault.reported", window_id=window_id)


async def record_observed(
    session: AsyncSession,
    contract: Contract,
    item: str,
    *,
    observation_id: str,
    cause: str | None,
    began_at: datetime,
    numbers: Sequence[int] | None,
    note: str,
) -> Fault | None:
    """A lasting fault that the cluster itself was seen with (C11); None: recorded before, whatever became of it.

    With a `cause` it is confirmed, without one somebody decides. The caller has locked the contract and seen that
    something of the item is open.
    """
    query = select(Fault.fault_id).where(
        Fault.tenant_id == contract.tenant_id,
        Fault.contract_id == contract.contract_id,
        Fault.item == item,
        Fault.observation_id == observation_id,
    )
    if (await session.execute(query)).first() is not None:
        return None
    times = max(began_at, day_begins(contract.opens_on)), None
    fault = _fault(contract, item, numbers, times, note=note[:TEXT_LIMIT_CHARACTERS])
    fault.observation_id = observation_id
    if cause is not None:
        _decide(fault, "confirmed", cause, "observed by the cluster itself")
    return await _added(session, fault, "fault.observed", observation_id=observation_id)


async def end_observed(session: AsyncSession, fault: Fault, ended_at: datetime) -> Fault:
    """What a fault was seen by is over; one that somebody ended or withdrew stays as it is. The contract is locked."""
    if fault.ended_at is not None or fault.state == "withdrawn":
        return fault
    fault.ended_at = over = max(ended_at, fault.began_at)
    return await _changed(session, fault, "fault.ended", ended_at=over.isoformat())


async def find(session: AsyncSession, fault_id: str, tenant_id: str | None) -> Fault:
    """A fault by its id, narrowed to a tenant where the caller belongs to one. Raises `FaultNotFound`."""
    query = select(Fault).where(Fault.fault_id == fault_id).execution_options(populate_existing=True)
    if tenant_id is not None:
        query = query.where(Fault.tenant_id == tenant_id)
    fault = (await session.execute(query)).scalar_one_or_none()
    if fault is None:
        raise FaultNotFound(f"There is no fault {fault_id}.", field="fault_id")
    return fault


def wanted(*, tenant_id: str | None, contract_id: str | None, state: str | None) -> Select[Fault]:
    """Faults narrowed to a tenant, a contract and a state; None: every one. Raises `InvalidInput` for the state."""
    if state is not None and state not in STATES:
        raise InvalidInput(f"`state` is one of {', '.join(STATES)}.", field="state")
    query = select(Fault)
    for column, value in ((Fault.tenant_id, tenant_id), (Fault.contract_id, contract_id), (Fault.state, state)):
        if value is not None:
            query = query.where(column == value)
    return query


async def _locked(session: AsyncSession, tenant_id: str, fault_id: str) -> Fault:
    """The fault as it is under the contract's lock."""
    found = await find(session, fault_id, tenant_id)
    await get_contract(session, tenant_id, found.contract_id, for_update=True)
    return await find(session, fault_id, tenant_id)


def _fault(
    contract: Contract, item: str, numbers: Iterable[int] | None, times: tuple[datetime, datetime | None], *, note: str
) -> Fault:
    began_at, ended_at = times
    return Fault(
        tenant_id=contract.tenant_id,
        fault_id=new_id("flt"),
        contract_id=contract.contract_id,
        item=item,
        numbers=None if numbers is None else sorted(numbers),
        began_at=began_at,
        ended_at=ended_at,
        state="reported",
        cause=None,
        note=note,
        reported_by=audit.actor.get(),
        reported_at=clock.now(),
        decided_by=None,
        decided_at=None,
        decision_reason=None,
        window_id=None,
        observation_id=None,
        split_from=None,
        to_credit=True,
    )


def _decide(fault: Fault, state: str, cause: str | None, reason: str | None) -> None:
    fault.state, fault.cause = state, cause
    fault.decided_by, fault.decided_at, fault.decision_reason = audit.actor.get(), clock.now(), reason


def _refuse_withdrawn(fault: Fault) -> None:
    if fault.state == "withdrawn":
        raise FaultDecided(f"The fault {fault.fault_id} was withdrawn; report it anew.", field="fault_id")


async def _added(session: AsyncSession, fault: Fault, action: str, **facts: object) -> Fault:
    session.add(fault)
    times = {"began_at": fault.began_at.isoformat()}
    times |= {} if fault.ended_at is None else {"ended_at": fault.ended_at.isoformat()}
    whole = {"contract_id": fault.contract_id, "item": fault.item, "numbers": fault.numbers, "cause": fault.cause}
    return await _changed(session, fault, action, **whole, **times, **facts)


async def _changed(session: AsyncSession, fault: Fault, action: str, **facts: object) -> Fault:
    fault.to_credit = True
    await session.flush()
    await audit.record(session, fault.tenant_id, action, fault.fault_id, **facts)
    return fault
