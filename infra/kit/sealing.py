"""Secrets: hashed when we only compare them, sealed when we must read them again."""

from __future__ import annotations

import hashlib
import hmac
import secrets

from cryptography.fernet import Fernet

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
