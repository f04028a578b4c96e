"""Request and response bodies of completeness."""

from __future__ import annotations

from datetime import datetime

from infra.kit.clock import LOCAL_ZONE
from infra.kit.http import Body, View
from switch.call_privacy import Sight
from switch.completeness.hours import Hour
from switch.completeness.missing import MissingCall

HOUR_FORMAT = "%Y-%m-%dT%H"


class SignOff(Body):
    """Why the month may close although records of the hour are missing, or nobody counted it to its end."""

    reason: str


class SignOffView(View):
    """Who let the month close over an hour, and why; it covers the calls that were `missing` then, and no others."""

    reason: str
    missing: int
    signed_by: str
    signed_at: datetime


class HourView(View):
    """The legs that a node began within an hour, and what became of their call records.

    `hour` is local (Asia/Shanghai), such as 2026-07-01T09. `started` = `accepted` + `explained` + `running` +
    `missing`. `explained`: the record came and was set aside (see set-aside-records), or FreeSWITCH gave the leg up
    before it was one, as that towards a phone that is not registered, or the system itself called to try the node, or
    the call was refused before it was any tenant's (see stray-calls).
    `state`: `counting` until the hour is over and its calls have ended, then `complete`, `incomplete` or `signed_off`.
    `uncounted`: the last hour of a month, of a node in service that was not counted since; what it began is not known,
    and nothing of it need be missing to sign it. It is gone as soon as the node is counted or declared dead.
    `observed_from`: when the node had been counted before; its legs may have begun as early as that.
    """

    node: str
    hour: str
    begins_at: datetime
    observed_from: datetime
    started: int
    accepted: int
    explained: int
    running: int
    missing: int
    state: str
    counted_at: datetime | None
    sign_off: SignOffView | None


class MissingCallView(View):
    """A leg that a node began and whose record has not come. What its supervisor did not see is null.

    `session_number` counts the legs of one run (`boot_id`) of the node. `direction`: `inbound` is towards the node. Of
    `caller` and `destination` an operator's person who is not on a visit to the tenant sees the last digits.
    """

    node: str
    hour: str
    boot_id: str
    session_number: int
    leg_id: str | None
    tenant_id: str | None
    direction: str | None
    caller: str | None
    destination: str | None
    started_at: datetime | None
    answered_at: datetime | None
    ended_at: datetime | None


def hour_text(hour: datetime) -> str:
    """An hour as the API names it."""
    return hour.astimezone(LOCAL_ZONE).strftime(HOUR_FORMAT)


def hour_view(hour: Hour) -> HourView:
    """An hour as the API shows it."""
    signed = hour.sign_off
    return HourView(
        node=hour.node,
        hour=hour_text(hour.begins_at),
        begins_at=hour.begins_at,
        observed_from=hour.observed_from,
        started=hour.started,
        accepted=hour.accepted,
        explained=hour.explained,
        running=hour.running,
        missing=hour.missing,
        state=hour.state,
        counted_at=hour.counted_at,
        sign_off=None
        if signed is None
        else SignOffView(
            reason=signed.reason, missing=signed.missing, signed_by=signed.signed_by, signed_at=signed.signed_at
        ),
    )


def missing_call_view(call: MissingCall, sight: Sight) -> MissingCallView:
    """A missing call as the API shows it."""
    return MissingCallView(
        node=call.node,
        hour=hour_text(call.hour),
        boot_id=call.boot_id,
        session_number=call.session_number,
        leg_id=call.leg_id,
        tenant_id=call.tenant_id,
        direction=call.direction,
        caller=sight.number(call.caller, call.tenant_id),
        destination=sight.number(call.destination, call.tenant_id),
        started_at=call.started_at,
        answered_at=call.answered_at,
        ended_at=call.ended_at,
    )
