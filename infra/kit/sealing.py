"""Secrets: hashed when we only compare them, sealed when we must read them again."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets

from cryptography.fernet import Fernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

SECRET_BYTES = 32


def new_secret() -> str:
    """A random secret of 256 bits as URL-safe text; long enough that a plain digest protects it at rest."""
    return secrets.token_urlsafe(SECRET_BYTES)


def digest(secret: str) -> str:
    """SHA-256 of a random secret, in hexadecimal. For machine-made secrets only, never for people's passwords."""
    return hashlib.sha256(secret.encode()).hexdigest()


def matches(secret: str, stored_digest: str) -> bool:
    """Whether a presented secret has this digest, compared in constant time."""
    return hmac.compare_digest(digest(secret), stored_digest)


def derived_key(secret_key: str, purpose: str) -> bytes:
    """A key of 256 bits for one purpose, from the installation's own (HKDF, SHA-256); one says nothing of others."""
    material = base64.urlsafe_b64decode(secret_key)
    return HKDF(SHA256(), length=32, salt=None, info=f"seatline {purpose}".encode()).derive(material)


class Seal:
    """Seals text under the installation's key (`Settings.secret_key`)."""

    def __init__(self, key: str) -> None:
        self._fernet = Fernet(key)

    def close(self, text: str | bytes) -> bytes:
        """The sealed form."""
        return self._fernet.encrypt(text.encode() if isinstance(text, str) else text)

    def open_bytes(self, sealed: bytes) -> bytes:
        """The sealed bytes; raises `cryptography.fernet.InvalidToken` under another key."""
        return self._fernet.decrypt(sealed)

    def open(self, sealed: bytes) -> str:
        """The sealed text."""
        return self.open_bytes(sealed).decode()
