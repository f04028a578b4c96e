"""Events from Stripe: the signature checked, stored once, then applied by a job that reads the object anew.

What an event says of its object is never believed beyond its name: events come twice, late and out of order.
"""

from __future__ import annotations

import hmac
import json
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from billing.cards import seen
from billing.cards.errors import (
    EventMalformed,
    EventNotFound,
    EventNotSetAside,
    EventStateUnknown,
    SignatureInvalid,
)
from billing.cards.models import StripeEvent
from infra.kit import audit, clock, jobs
from infra.kit.database import PLATFORM

APPLY = "billing.apply_stripe_event"
"""The task that reads the object anew and makes our books agree (billing/cards/jobs.py)."""

STATES = ("new", "applied", "set_aside")
TOLERANCE = timedelta(minutes=5)
SCHEME = "v1"
ID_LIMIT_CHARACTERS = 255


@dataclass(frozen=True, slots=True)
class Received:
    """An event, and whether it had come before."""

    event_id: str
    known: bool


def check_signature(body: bytes, signature: str | None, secret: str) -> None:
    """Refuse what was not signed with our secret within the last five minutes, by our clock. Raises `SignatureInvalid`.

    The library's own check goes by the machine's clock, which a journey in time leaves behind.
    """
    moment, given = _signature_parts(signature or "")
    expected = hmac.new(secret.encode(), f"{moment}.".encode() + body, sha256).hexdigest()
    if not any(hmac.compare_digest(expected.encode(), each.encode()) for each in given):
        raise SignatureInvalid("Stripe-Signature does not fit the body and our secret.", field="Stripe-Signature")
    if abs(clock.now().timestamp() - moment) > TOLERANCE.total_seconds():
        raise SignatureInvalid(
            "The event was signed more than five minutes ago; send it signed anew.", field="Stripe-Signature"
        )


async def receive(session: AsyncSession, body: bytes) -> Received:
    """Store an event whose signature was checked, and wake the job that applies it. Raises `EventMalformed`."""
    event = _read(body)
    now = clock.now()
    claim = insert(StripeEvent).values(content=body, received_at=now, woken_at=now, state="new", **event)
    claimed = await session.execute(claim.on_conflict_do_nothing().returning(StripeEvent.event_id))
    known = claimed.scalar_one_or_none() is None
    if not known:
        await wake(session, event["event_id"], event["payment_intent_id"] or event["object_id"])
    return Received(event["event_id"], known)


async def wake(session: AsyncSession, event_id: str, about: str) -> None:
    """Have an event applied; those about the same payment one after another."""
    await jobs.defer(session, APPLY, lock=f"stripe:{about}", event_id=event_id)


async def find(session: AsyncSession, event_id: str, *, for_update: bool = False) -> StripeEvent:
    """An event by Stripe's id. Raises `EventNotFound`."""
    query = select(StripeEvent).where(StripeEvent.event_id == event_id).execution_options(populate_existing=True)
    event = (await session.execute(query.with_for_update() if for_update else query)).scalar_one_or_none()
    if event is None:
        raise EventNotFound(f"There is no event {event_id}.", field="event_id")
    return event


def wanted(state: str | None) -> Select[StripeEvent]:
    """The query of a list. Raises `EventStateUnknown`."""
    query = select(StripeEvent)
    if state is None:
        return query
    if state not in STATES:
        raise EventStateUnknown(f"`state` is {', '.join(STATES)}.", field="state")
    return query.where(StripeEvent.state == state)


async def retry(session: AsyncSession, event_id: str) -> StripeEvent:
    """Try an event again that was set aside, after its cause is gone. Raises `EventNotFound`, `EventNotSetAside`."""
    event = await find(session, event_id, for_update=True)
    if event.state != "set_aside":
        raise EventNotSetAside(f"The event {event_id} is {event.state}; only one set aside is tried again.")
    event.state, event.reason, event.note = "new", None, None
    await session.flush()
    await audit.record(session, PLATFORM, "stripe_event.retried", event_id)
    await wake(session, event_id, event.payment_intent_id or event.object_id)
    return event


def _signature_parts(header: str) -> tuple[int, list[str]]:
    parts = [part.strip().partition("=") for part in header.split(",")]
    moments = [value for name, _, value in parts if name == "t" and value.isascii() and value.isdigit()]
    given = [value for name, _, value in parts if name == SCHEME]
    if not moments or not given:
        raise SignatureInvalid("Send the header Stripe-Signature as Stripe makes it.", field="Stripe-Signature")
    return int(moments[0][:18]), given


def _read(body: bytes) -> dict[str, Any]:
    try:
        event = json.loads(body)
        about = event["data"]["object"]
        intent = about["id"] if about["object"] == "payment_intent" else seen.id_of(about.get("payment_intent"))
        return {
            "event_id": _name(event["id"]),
            "kind": _name(event["type"]),
            "object_kind": _name(about["object"]),
            "object_id": _name(about.get("id") or "none"),
            "payment_intent_id": None if intent is None else _name(intent),
            "sent_at": seen.moment(event["created"]),
        }
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, OSError, RecursionError):
        raise EventMalformed("The body is not an event with an id, a type and an object.", field="body") from None


def _name(value: Any) -> str:
    """A name of Stripe's. Raises `ValueError` for anything else, such as what the database could not keep."""
    if not isinstance(value, str) or not 1 <= len(value) <= ID_LIMIT_CHARACTERS or not value.isprintable():
        raise ValueError("not a name")
    return value
