"""WireGuard keys: X25519 in base64, made here or supplied by a tenant. Pure but for the randomness of a new key."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from infra.kit.problems import InvalidInput

KEY_BYTES = 32
_PROBE = X25519PrivateKey.from_private_bytes(bytes([64] * KEY_BYTES))
"""Any key will do: a point of low order gives zero with each, which the library refuses."""


class KeyRefused(InvalidInput):
    """The text is not a WireGuard public key that a seat can use."""

    code = "tunnel_key_refused"


@dataclass(frozen=True, slots=True)
class KeyPair:
    """Both halves as `wg genkey` and `wg pubkey` would print them."""

    private: str = field(repr=False)
    public: str


def new_pair() -> KeyPair:
    """A new pair from the system's random numbers."""
    private = X25519PrivateKey.generate()
    return KeyPair(_text(private.private_bytes_raw()), _text(private.public_key().public_bytes_raw()))


def public_of(private: str) -> str:
    """The public half of a private key. Raises `KeyRefused`."""
    return _text(X25519PrivateKey.from_private_bytes(_bytes(private, "private_key")).public_key().public_bytes_raw())


def read_public(text: str, *, place: str = "public_key") -> str:
    """A public key in its one canonical form. Raises `KeyRefused` for another form or a point of low order.

    With such a point anybody could compute the secret that both sides derive.
    """
    raw = _bytes(text, place)
    # X25519 ignores the highest bit: without this the same key could be registered in two spellings.
    raw = raw[:-1] + bytes([raw[-1] & 0x7F])
    try:
        _PROBE.exchange(X25519PublicKey.from_public_bytes(raw))
    except ValueError as error:
        raise KeyRefused(
            "This is not a public key that `wg pubkey` can have printed; make a new one.", field=place
        ) from error
    return _text(raw)


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _bytes(text: str, place: str) -> bytes:
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != KEY_BYTES or base64.b64encode(raw).decode() != text:
        raise KeyRefused("A WireGuard key is 44 characters of base64, as `wg pubkey` prints it.", field=place)
    return raw
