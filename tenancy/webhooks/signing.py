"""Signatures of messages in the form of Standard Webhooks (`v1`: HMAC-SHA256 over id, timestamp and body). Pure."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Sequence

PREFIX = "whsec_"
SECRET_BYTES = 32
"""The form asks for 24 to 64."""


def new_secret() -> str:
    """A secret as the form writes it: `whsec_` and base64."""
    return PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def signature(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """One signature such as `v1,K5oZfzN95Z…`. Raises `ValueError` for a text that is no secret of this form."""
    if not secret.startswith(PREFIX):
        raise ValueError("A webhook secret begins with whsec_.")
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except binascii.Error as error:
        raise ValueError("A webhook secret is base64 after whsec_.") from error
    signed = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def headers(secrets_in_force: Sequence[str], message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The three headers of a message; while a secret is being replaced it is signed by both, the new one first."""
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(signature(each, message_id, timestamp, body) for each in secrets_in_force),
    }
