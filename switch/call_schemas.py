"""Request and response bodies of the call slice."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from infra.kit.clock import LOCAL_ZONE
from infra.kit.http import Body, View
from switch.admission import Reason
from switch.call_privacy import Sight
from switch.models import CallRecord, SetAsideRecord, StrayCall
from switch.refusal_words import explain

HOUR_FORMAT = "%Y-%m-%dT%H"


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
    operator's person who is not on a visit to the tenant that it names, without who called whom."""

    record_id: str
    node: str
    received_at: datetime
    times_received: int
    problem: str
    body: str
    resolved_at: datetime | None
    dismissed_reason: str | None


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
