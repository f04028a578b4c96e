"""Request and response bodies of faults and maintenance windows. Money is CNY, times carry an offset."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

import msgspec

from billing.outages import windows
from billing.outages.arithmetic import FaultAccount, MonthAccount, SeatCredit
from billing.outages.models import Fault, FaultEvidence, MaintenanceWindow
from billing.outages.windows import CLUSTER
from infra.kit import money
from infra.kit.http import Body, View

Moment = Annotated[datetime, msgspec.Meta(tz=True, description="With its offset: 2026-04-03T09:00:00+08:00")]


class NewFault(Body):
    """A fault: of these numbers, or without any of every seat (or circuit) that was open; without an end it lasts.

    Only the operator and finance name a `cause` (`operator`, `tenant`, `force_majeure`); without one it is `reported`.
    """

    contract_id: str
    began_at: Moment
    note: str
    item: str = "seat"
    numbers: list[int] | None = None
    ended_at: Moment | None = None
    cause: str | None = None
    tenant_id: str | None = None


class FaultDecision(Body):
    """Whose cause a fault was, and what shows it."""

    cause: str
    reason: str


class FaultEnd(Body):
    """When it was repaired."""

    ended_at: Moment


class FaultCorrection(Body):
    """Other times, for the whole fault or for some of its numbers, and why."""

    reason: str
    began_at: Moment | None = None
    ended_at: Moment | None = None
    numbers: list[int] | None = None


class FaultWithdrawal(Body):
    """Why there was no such fault."""

    reason: str


class FaultView(View):
    """A fault; `numbers` null means every one that was open. `state` is `reported`, `confirmed` or `withdrawn`."""

    fault_id: str
    tenant_id: str
    contract_id: str
    item: str
    numbers: list[int] | None
    began_at: datetime
    ended_at: datetime | None
    state: str
    cause: str | None
    note: str
    reported_by: str
    reported_at: datetime
    decided_by: str | None
    decided_at: datetime | None
    decision_reason: str | None
    window_id: str | None
    observation_id: str | None
    split_from: str | None


class SeatCreditView(View):
    """What each of these numbers is due for one month, for all of its faults of the month together (rule 9).

    `fault_seconds` is the time that counts, `days` its started days, `credit` the amount rounded by itself and `exact`
    the fraction that the invoice adds up, `credited` what invoices have credited each so far.
    """

    month: str
    item: str
    numbers: list[int]
    fault_ids: list[str]
    fault_seconds: int
    days: int
    month_free: bool
    cut_to_charged: bool
    unit_price: str
    credit: str
    exact: str
    credited: str
    currency: str


class EvidenceView(View):
    """Something that was seen and speaks for a fault; `source` is `cluster`, or the API client that reported it."""

    seen_at: datetime
    source: str
    note: str
    observation_id: str | None


class FaultDetailView(FaultView):
    """A fault with its arithmetic so far, worked out as the next invoice would; empty where it does not count.

    `lasted_seconds` is the whole fault as reported; it counts above `repair_hours` and when its cause is the operator.
    """

    evidence: list[EvidenceView]
    counts: bool
    lasted_seconds: int
    repair_hours: str
    credits: list[SeatCreditView]


class FaultCreditPreview(View):
    """What the faults of a month have come to up to now, as the next invoice would credit it (C11, rule 9).

    `credits` as in a fault; `credit` is the sum of what is still due, rounded as on an invoice: once for seats and once
    for circuits. Faults that last are taken as lasting until now; invoices go by what is known when they are made.
    """

    contract_id: str
    month: str
    repair_hours: str
    credits: list[SeatCreditView]
    credit: str
    currency: str


class NewMaintenanceWindow(Body):
    """A window to announce: within one local day, at least 72 hours ahead, at most two a month.

    `nodes` are the names of those that are drained and given back within it, one after another, in this order.
    """

    begins_at: Moment
    ends_at: Moment
    note: str
    cluster: str = CLUSTER
    nodes: tuple[str, ...] = ()


class WindowMove(Body):
    """The new times of a window, with the same notice as for a new one, and why."""

    begins_at: Moment
    ends_at: Moment
    reason: str


class WindowCancellation(Body):
    """Why a window is called off."""

    reason: str


class WindowClosure(Body):
    """When the work was really over."""

    ended_at: Moment


class MaintenanceWindowView(View):
    """A window; `state` is `announced`, `moved`, `cancelled` or `done`, `ended_at` when it was really over.

    `overruns_since`: its scheduled end, while it is past and nobody has said that the work is over. From then on it is
    the operator's fault, which is recorded with its whole time when the window is closed.
    """

    window_id: str
    cluster: str
    begins_at: datetime
    ends_at: datetime
    announced_at: datetime
    note: str
    nodes: list[str]
    state: str
    ended_at: datetime | None
    overruns_since: datetime | None


def _facts(fault: Fault) -> dict[str, object]:
    return {name: getattr(fault, name) for name in FaultView.__struct_fields__}


def fault_view(fault: Fault) -> FaultView:
    """A fault as lists show it."""
    return msgspec.convert(_facts(fault), FaultView)


def fault_detail_view(fault: Fault, account: FaultAccount, evidence: Sequence[FaultEvidence]) -> FaultDetailView:
    """A fault with its arithmetic and what speaks for it."""
    more: dict[str, object] = {
        "evidence": [
            EvidenceView(seen_at=each.seen_at, source=each.source, note=each.note, observation_id=each.observation_id)
            for each in evidence
        ],
        "counts": account.counts,
        "lasted_seconds": int(account.lasted.total_seconds()),
        "repair_hours": str(account.repair_hours),
        "credits": [_credit_view(each) for each in account.credits],
    }
    return msgspec.convert(_facts(fault) | more, FaultDetailView)


def _credit_view(credit: SeatCredit) -> SeatCreditView:
    return SeatCreditView(
        month=str(credit.month),
        item=credit.item,
        numbers=list(credit.numbers),
        fault_ids=list(credit.fault_ids),
        fault_seconds=int(credit.fault_time.total_seconds()),
        days=credit.days,
        month_free=credit.waived,
        cut_to_charged=credit.cut_to_charged,
        unit_price=money.amount_text(credit.unit_price),
        credit=money.amount_text(money.fen(credit.amount)),
        exact=str(credit.amount),
        credited=money.amount_text(money.fen(credit.credited)),
        currency=money.CURRENCY,
    )


def fault_credit_preview(account: MonthAccount) -> FaultCreditPreview:
    """A month's faults and what they come to."""
    return FaultCreditPreview(
        contract_id=account.contract_id,
        month=str(account.month),
        repair_hours=str(account.repair_hours),
        credits=[_credit_view(each) for each in account.credits],
        credit=money.amount_text(account.credit),
        currency=money.CURRENCY,
    )


def window_view(window: MaintenanceWindow) -> MaintenanceWindowView:
    """A window as the API shows it."""
    return MaintenanceWindowView(
        window_id=window.window_id,
        cluster=window.cluster,
        begins_at=window.begins_at,
        ends_at=window.ends_at,
        announced_at=window.announced_at,
        note=window.note,
        nodes=list(window.nodes),
        state=window.state,
        ended_at=window.ended_at,
        overruns_since=windows.overruns_since(window),
    )
