"""The little SDP a voice call needs (RFC 8866, RFC 3264): one audio line with G.711 and telephone events."""

from __future__ import annotations

import base64
import secrets
from dataclasses import dataclass, field
from typing import Literal

from switch.sip.errors import SipSyntaxError

CONTENT_TYPE = "application/sdp"
Direction = Literal["sendrecv", "sendonly", "recvonly", "inactive"]
_STATIC_CODECS = {"0": "PCMU/8000", "8": "PCMA/8000"}
_TELEPHONE_EVENT = "101"
PLAIN = "RTP/AVP"
ENCRYPTED = "RTP/SAVP"
SUITE = "AES_CM_128_HMAC_SHA1_80"
"""The one that everybody has to have (RFC 4568, section 6.2.1)."""
_KEY_AND_SALT_BYTES = 30
_MIRRORED_DIRECTIONS: dict[str, Direction] = {"sendonly": "recvonly", "recvonly": "sendonly", "inactive": "inactive"}


@dataclass(frozen=True, slots=True)
class Audio:
    """The audio line of a description: where to send, payload types in order of preference, and direction.

    `profile`: RTP/AVP plain, RTP/SAVP encrypted. `crypto_tag`: of the offered or chosen key with the suite that we have
    (RFC 4568); None where there is none. `crypto_key`: that key and its salt, with which this side
    encrypts.
    """

    host: str
    port: int
    payload_types: tuple[str, ...]
    direction: str = "sendrecv"
    profile: str = PLAIN
    crypto_tag: str | None = None
    crypto_key: bytes | None = field(default=None, repr=False)

    @property
    def mirrored(self) -> Direction:
        """The direction of an answer to it."""
        return _MIRRORED_DIRECTIONS.get(self.direction, "sendrecv")

    @classmethod
    def parse(cls, body: bytes) -> Audio:
        """Take a session description apart; raises SipSyntaxError when it has no usable audio line."""
        host = session_host = direction = ""
        media: list[str] = []
        crypto_tag: str | None = None
        crypto_key: bytes | None = None
        for line in body.decode("utf-8", errors="replace").splitlines():
            kind, _, value = line.partition("=")
            if kind == "m":
                if media:
                    break
                fields = value.split()
                if fields[:1] == ["audio"]:
                    media = fields
            elif kind == "c" and len(value.split()) == 3:
                host, session_host = (value.split()[2], session_host) if media else ("", value.split()[2])
            elif kind == "a" and media and value.startswith("crypto:") and crypto_key is None:
                crypto_tag, crypto_key = _usable_key(value)
            elif kind == "a" and value in ("sendrecv", "sendonly", "recvonly", "inactive"):
                direction = value
        port = media[1].partition("/")[0] if len(media) >= 4 else ""
        if not (port.isascii() and port.isdecimal() and len(port) <= 5 and int(port) < 65_536):
            raise SipSyntaxError("the session description has no audio line with a port and payload types")
        if not (host or session_host):
            raise SipSyntaxError("the session description says nowhere to send media (no c= line)")
        where = host or session_host
        return cls(where, int(port), tuple(media[3:]), direction or "sendrecv", media[2], crypto_tag, crypto_key)


def _usable_key(attribute: str) -> tuple[str | None, bytes | None]:
    """Tag and key of a crypto attribute; nothing where it is another suite or no whole key."""
    match attribute.split():
        case [tag, suite, parameters, *_] if suite == SUITE and parameters.startswith("inline:"):
            text = parameters.removeprefix("inline:").partition("|")[0]
        case _:
            return None, None
    try:
        key = base64.b64decode(text, validate=True)
    except ValueError:
        return None, None
    return (tag.removeprefix("crypto:"), key) if len(key) == _KEY_AND_SALT_BYTES else (None, None)


def describe(
    host: str,
    port: int,
    *,
    session_id: int,
    version: int = 1,
    direction: Direction = "sendrecv",
    answer_to: Audio | None = None,
    encrypts: bool = False,
) -> bytes:
    """An offer of PCMU and PCMA in this direction, or the answer to one, which mirrors the offer's.

    `encrypts`: the media is to be encrypted where the other side does it too. Raises SipSyntaxError when the offer has
    neither codec, or asks for encryption that we do not do (answer 488 then).
    """
    crypto_tag = "1" if encrypts else None
    if answer_to is not None:
        crypto_tag = answer_to.crypto_tag if encrypts else None
        if answer_to.profile != PLAIN and crypto_tag is None:
            raise SipSyntaxError("the offer asks for encrypted media, which is not spoken here")
    payload_types = [*_STATIC_CODECS, _TELEPHONE_EVENT]
    if answer_to is not None:
        chosen = [payload for payload in answer_to.payload_types if payload in _STATIC_CODECS][:1]
        if not chosen:
            raise SipSyntaxError("the offer has neither PCMU nor PCMA, the codecs spoken here")
        events = [_TELEPHONE_EVENT] if _TELEPHONE_EVENT in answer_to.payload_types else []
        payload_types = [*chosen, *events]
        direction = answer_to.mirrored
    family = "IP6" if ":" in host else "IP4"
    lines = [
        "v=0",
        f"o=seatline {session_id} {version} IN {family} {host}",
        "s=call",
        f"c=IN {family} {host}",
        "t=0 0",
        f"m=audio {port} {PLAIN if crypto_tag is None else ENCRYPTED} {' '.join(payload_types)}",
    ]
    if crypto_tag is not None:
        key = base64.b64encode(secrets.token_bytes(_KEY_AND_SALT_BYTES)).decode()
        lines.append(f"a=crypto:{crypto_tag} {SUITE} inline:{key}")
    for payload in payload_types:
        if payload == _TELEPHONE_EVENT:
            lines += [f"a=rtpmap:{payload} telephone-event/8000", f"a=fmtp:{payload} 0-15"]
        else:
            lines.append(f"a=rtpmap:{payload} {_STATIC_CODECS[payload]}")
    lines += ["a=ptime:20", f"a={direction}"]
    return ("\r\n".join(lines) + "\r\n").encode()
