"""Contents that only the holder of a link can read: the key is made from the link's secret, which is nowhere kept."""

from __future__ import annotations

import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_BYTES = 32
NONCE_BYTES = 12
_PURPOSE = b"seatline hand-out"


class ContentUnreadable(Exception):
    """The sealed content does not belong to this secret and place."""


def seal(content: bytes, *, secret: str, place: str) -> bytes:
    """The content under AES-256-GCM with a key derived from a 256-bit secret; `place` binds it to its row."""
    nonce = secrets.token_bytes(NONCE_BYTES)
    return nonce + AESGCM(_key(secret)).encrypt(nonce, content, place.encode())


def unseal(sealed: bytes, *, secret: str, place: str) -> bytes:
    """The content again. Raises `ContentUnreadable` for another secret, another place or changed bytes."""
    try:
        return AESGCM(_key(secret)).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], place.encode())
    except (InvalidTag, ValueError) as error:
        raise ContentUnreadable(place) from error


def _key(secret: str) -> bytes:
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=_PURPOSE).derive(secret.encode())
