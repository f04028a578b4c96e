"""Signed links that open one paper for some minutes, without a sign-in. Pure, but for the key.

A link says which paper, for whom it was made and until when; the signature makes it ours. Nothing is stored of it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import msgspec

from infra.kit.sealing import derived_key
from tenancy.papers.errors import LinkRefused

LIFETIME = timedelta(minutes=5)
LENGTH_LIMIT_CHARACTERS = 1_000
_PURPOSE = "paper links"


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a link opens, for whom, until when (UTC, whole seconds)."""

    tenant_id: str
    paper_id: str
    made_for: str
    expires_at: datetime


def sealed(ticket: Ticket, secret_key: str) -> str:
    """The ticket as it stands in a URL."""
    facts = (ticket.tenant_id, ticket.paper_id, ticket.made_for, int(ticket.expires_at.timestamp()))
    body = msgspec.msgpack.encode(facts)
    return _text(body + _signature(body, secret_key))


def opened(text: str, secret_key: str, now: datetime) -> Ticket:
    """The ticket behind a link. Raises `LinkRefused` for one that is not ours, was changed, or has expired."""
    raw = _bytes(text) if len(text) <= LENGTH_LIMIT_CHARACTERS else b""
    body, signature = raw[: -hashlib.sha256().digest_size], raw[-hashlib.sha256().digest_size :]
    if not body or not hmac.compare_digest(signature, _signature(body, secret_key)):
        raise LinkRefused("This is no link of ours; ask for a new one.")
    tenant_id, paper_id, made_for, expires = msgspec.msgpack.decode(body, type=tuple[str, str, str, int])
    ticket = Ticket(tenant_id, paper_id, made_for, datetime.fromtimestamp(expires, UTC))
    if now >= ticket.expires_at:
        raise LinkRefused("The link has expired; ask for a new one.")
    return ticket


def _signature(body: bytes, secret_key: str) -> bytes:
    return hmac.new(derived_key(secret_key, _PURPOSE), body, hashlib.sha256).digest()


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return b""
