"""Request and response bodies of the call slice."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated

import msgspec

from infra.kit.clock import LOCAL_ZONE
from infra.kit.http import Body, View
from switch.admission import Reason
from switch.call_privacy import Sight
from switch.models import CallRecord, SetAsideRecord, StrayCall
from switch.record_retry import Corrected
from switch.refusal_words import explain

HOUR_FORMAT = "%Y-%m-%dT%H"
Moment = Annotated[datetime, msgspec.Meta(tz=True, description="With its offset: 2026-07-01T09:00:00+08:00")]


class CallView(View):
    """One leg of a call. Times are RFC 3339; `billable_milliseconds` counts from answer to end.

    `refusal`: the reason why it was refused, a stable word; `refusal_explanation` says it in a sentence.
    Quality is what the node heard of this leg: an opinion score of 1 to 4.5, the largest jitter variance in ms², and
    the share of lost packets; null where it heard nothing.
    """

    leg_id: str
    tenant_id: str
    seat_id: str | None
    node: str
    leg: str
    direction: str
    other_leg_id: str | None
    caller: str
    destination: str
    gateway: str | None
    started_at: datetime
    answered_at: datetime | None
    ended_at: datetime
    billable_milliseconds: int
    hangup_cause: str
    refusal: str | None
    refusal_explanation: str | None
    received_at: datetime
    codec: str | None
    mean_opinion_score: str | None
    quality_percent: str | None
    jitter_variance: str | None
    loss_percent: str | None
    packets_received: int | None


class SetAsideRecordView(View):
    """A call record that could not be stored. `body`: as it came (bytes that are no UTF-8 are shown as U+FFFD); to an
    operator's person who is not on a visit to the tenant that it names, without who called whom.

    `ahead_seconds`: how far it came from the future, which for one that came as its call ended is how far its node's
    clock ran ahead. `corrected_seconds`: by how much a person has put its times right; the body stays as it came.
    """

    record_id: str
    node: str
    received_at: datetime
    times_received: int
    problem: str
    body: str
    resolved_at: datetime | None
    dismissed_reason: str | None
    ahead_seconds: int | None
    corrected_seconds: int | None


class Retry(Body):
    """For a record from the future: how far its node's clock ran ahead, and why you say so; all its times are taken so
    much earlier, which stands in the audit trail. Without both it is tried as it is."""

    clock_ahead_seconds: int | None = None
    reason: str | None = None


class ClockCorrection(Body):
    """How far a node's clock ran ahead while these records came (`received_until` exclusive), and why you say so.
    `after`: the `next` of the answer before."""

    node: str
    received_from: Moment
    received_until: Moment
    clock_ahead_seconds: int
    reason: str
    after: str | None = None


class RefusalView(View):
    """A record that still cannot be stored, and why."""

    record_id: str
    problem: str


class CorrectedView(View):
    """What became of the records: `stored` now; `known` copies of one that is stored; `counted` as refused calls of
    nobody's; `refused` still wait, the first of them with the reason. `next`: more wait, send it as `after`."""

    stored: int
    known: int
    counted: int
    refused: int
    refusals: list[RefusalView]
    next: str | None


class Dismissal(Body):
    """Why a record that was set aside is put away unstored; it stands in the audit trail."""

    reason: str


class StrayCallView(View):
    """Calls of one local hour (`2026-07-01T09`) that a node refused before they were any tenant's. `number`: where they
    were meant to go, empty for the rest of an hour with too many different numbers; an operator's person sees numbers
    that nobody has, and of others the last digits.
    """

    stray_id: str
    node: str
    hour: str
    reason: str
    explanation: str | None
    number: str
    times: int
    first_at: datetime
    last_at: datetime


class SetAsidePage(View):
    """A page of records, and how many wait to be looked at altogether."""

    items: list[SetAsideRecordView]
    next: str | None
    unresolved: int


def call_view(record: CallRecord) -> CallView:
    """A leg as the API shows it."""
    return CallView(
        leg_id=record.leg_id,
        tenant_id=record.tenant_id,
        seat_id=record.seat_id,
        node=record.node,
        leg=record.leg,
        direction=record.direction,
        other_leg_id=record.other_leg_id,
        caller=record.caller,
        destination=record.destination,
        gateway=record.gateway,
        started_at=record.started_at,
        answered_at=record.answered_at,
        ended_at=record.ended_at,
        billable_milliseconds=record.billable_milliseconds,
        hangup_cause=record.hangup_cause,
        refusal=record.refusal,
        refusal_explanation=explain(record.refusal),
        received_at=record.received_at,
        codec=record.codec,
        mean_opinion_score=_text(record.mean_opinion_score),
        quality_percent=_text(record.quality_percent),
        jitter_variance=_text(record.jitter_variance),
        loss_percent=_text(record.loss_percent),
        packets_received=record.packets_received,
    )


def _text(number: Decimal | None) -> str | None:
    """A figure of two decimals as text."""
    return None if number is None else f"{number:.2f}"


def set_aside_record_view(record: SetAsideRecord, sight: Sight) -> SetAsideRecordView:
    """A record set aside as the API shows it."""
    return SetAsideRecordView(
        record_id=record.record_id,
        node=record.node,
        received_at=record.received_at,
        times_received=record.times_received,
        problem=record.problem,
        body=sight.body(record.body),
        resolved_at=record.resolved_at,
        dismissed_reason=record.dismissed_reason,
        ahead_seconds=record.ahead_seconds,
        corrected_seconds=record.corrected_seconds,
    )


def corrected_view(corrected: Corrected) -> CorrectedView:
    """What became of many records as the API shows it."""
    return CorrectedView(
        stored=corrected.stored,
        known=corrected.known,
        counted=corrected.counted,
        refused=corrected.refused,
        refusals=[RefusalView(record_id=record_id, problem=problem) for record_id, problem in corrected.refusals],
        next=corrected.following,
    )


def stray_call_view(stray: StrayCall, sight: Sight) -> StrayCallView:
    """Refused calls of nobody's as the API shows them."""
    is_nobodys = stray.reason == Reason.UNKNOWN_NUMBER.value
    return StrayCallView(
        stray_id=stray.stray_id,
        node=stray.node,
        hour=stray.hour.astimezone(LOCAL_ZONE).strftime(HOUR_FORMAT),
        reason=stray.reason,
        explanation=explain(stray.reason),
        number=stray.number if is_nobodys else sight.number(stray.number, None) or "",
        times=stray.times,
        first_at=stray.first_at,
        last_at=stray.last_at,
    )
