"""Digest authentication for SIP (RFC 2617, RFC 3261 section 22): MD5, with qop=auth or without.

FreeSWITCH keeps passwords as `a1-hash`, the MD5 of `user:realm:password`, and so do we: both sides of this
module work from that hash, so that nobody needs the password in clear.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from switch.sip.errors import AuthenticationImpossible, SipSyntaxError
from switch.sip.uri import quoted, split_outside_quotes, unquoted

NONCE_LIFETIME_SECONDS = 120.0
MAX_NONCES_KEPT = 20_000


def _md5(text: str) -> str:
    # The protocol prescribes MD5 (RFC 2617); it protects nothing of ours beyond what SIP phones can do.
    return hashlib.md5(text.encode("utf-8"), usedforsecurity=False).hexdigest()


def a1_hash(user: str, realm: str, password: str) -> str:
    """HA1 of RFC 2617 3.2.2.2: what FreeSWITCH calls `a1-hash`; 32 lower-case hexadecimal digits."""
    return _md5(f"{user}:{realm}:{password}")


def _pairs(text: str) -> dict[str, str]:
    """The `name=value` members after the word Digest, names in lower case."""
    scheme, _, rest = text.strip().partition(" ")
    if scheme.lower() != "digest":
        raise AuthenticationImpossible(f"authentication scheme {scheme[:20]!r} is not Digest, the only one spoken here")
    found: dict[str, str] = {}
    for member in split_outside_quotes(rest, ","):
        name, equals, value = member.partition("=")
        if equals:
            found.setdefault(name.strip().lower(), unquoted(value.strip()))
    return found


@dataclass(frozen=True, slots=True)
class Challenge:
    """A WWW-Authenticate or Proxy-Authenticate value; `qop` is the list offered, '' for the RFC 2069 way."""

    realm: str
    nonce: str
    qop: str = "auth"
    algorithm: str = "MD5"
    opaque: str = ""
    stale: bool = False

    @classmethod
    def parse(cls, text: str) -> Challenge:
        """Take a header value apart; raises SipSyntaxError or AuthenticationImpossible."""
        found = _pairs(text)
        if "realm" not in found or "nonce" not in found:
            raise SipSyntaxError("the challenge has no realm or no nonce, which are mandatory")
        return cls(
            found["realm"],
            found["nonce"],
            found.get("qop", ""),
            found.get("algorithm", "MD5"),
            found.get("opaque", ""),
            found.get("stale", "").lower() == "true",
        )

    def __str__(self) -> str:
        parts = [f"realm={quoted(self.realm)}", f"nonce={quoted(self.nonce)}"]
        if self.stale:
            parts.append("stale=true")
        parts.append(f"algorithm={self.algorithm}")
        if self.opaque:
            parts.append(f"opaque={quoted(self.opaque)}")
        if self.qop:
            parts.append(f"qop={quoted(self.qop)}")
        return "Digest " + ", ".join(parts)


@dataclass(frozen=True, slots=True)
class Credentials:
    """An Authorization or Proxy-Authorization value; `nonce_count` has eight hexadecimal digits, '' without
    qop.
    """

    user: str
    realm: str
    nonce: str
    uri: str
    response: str
    qop: str = ""
    nonce_count: str = ""
    client_nonce: str = ""
    algorithm: str = "MD5"
    opaque: str = ""

    @classmethod
    def parse(cls, text: str) -> Credentials:
        """Take a header value apart; raises SipSyntaxError or AuthenticationImpossible."""
        found = _pairs(text)
        missing = [name for name in ("username", "realm", "nonce", "uri", "response") if name not in found]
        if missing:
            raise SipSyntaxError(f"the credentials lack {', '.join(missing)}")
        return cls(
            found["username"],
            found["realm"],
            found["nonce"],
            found["uri"],
            found["response"],
            found.get("qop", ""),
            found.get("nc", ""),
            found.get("cnonce", ""),
            found.get("algorithm", "MD5"),
            found.get("opaque", ""),
        )

    def __str__(self) -> str:
        parts = [
            f"username={quoted(self.user)}",
            f"realm={quoted(self.realm)}",
            f"nonce={quoted(self.nonce)}",
            f"uri={quoted(self.uri)}",
            f"response={quoted(self.response)}",
            f"algorithm={self.algorithm}",
        ]
        if self.opaque:
            parts.append(f"opaque={quoted(self.opaque)}")
        if self.qop:
            parts.append(f"cnonce={quoted(self.client_nonce)}, qop={self.qop}, nc={self.nonce_count}")
        return "Digest " + ", ".join(parts)

    def __repr__(self) -> str:
        return f"Credentials(user={self.user!r}, realm={self.realm!r}, uri={self.uri!r})"


def _response(
    hashed_a1: str, *, nonce: str, method: str, uri: str, qop: str, nonce_count: str, client_nonce: str
) -> str:
    hashed_a2 = _md5(f"{method}:{uri}")
    if qop:
        return _md5(f"{hashed_a1}:{nonce}:{nonce_count}:{client_nonce}:{qop}:{hashed_a2}")
    return _md5(f"{hashed_a1}:{nonce}:{hashed_a2}")


def answer(
    challenge: Challenge,
    *,
    method: str,
    uri: str,
    user: str,
    hashed_a1: str,
    nonce_count: int = 1,
    client_nonce: str = "",
) -> Credentials:
    """The credentials that satisfy a challenge, from a stored a1-hash.

    `hashed_a1` must have been made for the challenge's realm. Raises AuthenticationImpossible when the server
    wants another algorithm than MD5 or another protection than qop=auth.
    """
    if challenge.algorithm.upper() != "MD5":
        raise AuthenticationImpossible(f"the server asks for {challenge.algorithm}; only MD5 is spoken here")
    offered = [token.strip().lower() for token in challenge.qop.split(",") if token.strip()]
    if offered and "auth" not in offered:
        raise AuthenticationImpossible(f"the server offers qop {challenge.qop!r}; only auth is spoken here")
    qop = "auth" if offered else ""
    count = f"{nonce_count:08x}" if qop else ""
    own_nonce = (client_nonce or secrets.token_hex(8)) if qop else ""
    return Credentials(
        user=user,
        realm=challenge.realm,
        nonce=challenge.nonce,
        uri=uri,
        response=_response(
            hashed_a1,
            nonce=challenge.nonce,
            method=method,
            uri=uri,
            qop=qop,
            nonce_count=count,
            client_nonce=own_nonce,
        ),
        qop=qop,
        nonce_count=count,
        client_nonce=own_nonce,
        opaque=challenge.opaque,
    )


def verify(credentials: Credentials, *, method: str, hashed_a1: str) -> bool:
    """Whether the credentials prove knowledge of the a1-hash; compared in constant time.

    The nonce is the caller's to judge (`NonceBook.check`), and so is the realm.
    """
    if credentials.algorithm.upper() != "MD5" or credentials.qop.lower() not in ("", "auth"):
        return False
    expected = _response(
        hashed_a1.lower(),
        nonce=credentials.nonce,
        method=method,
        uri=credentials.uri,
        qop=credentials.qop,
        nonce_count=credentials.nonce_count,
        client_nonce=credentials.client_nonce,
    )
    return hmac.compare_digest(expected.encode(), credentials.response.lower().encode("utf-8"))


class NonceVerdict(Enum):
    """What a server thinks of the nonce in an answer."""

    GOOD = "good"
    STALE = "stale"
    """Unknown, outlived or replayed: challenge again with stale=true, the password may be right."""


@dataclass(slots=True)
class _Nonce:
    issued_at: float
    last_count: int = 0


class NonceBook:
    """The nonces a server gave out: each lives `lifetime_seconds`, and each nonce count works once.

    `elapsed_seconds` is any monotonic clock (the event loop's `time`). At most `limit` are remembered; the
    oldest go first.
    """

    def __init__(
        self,
        elapsed_seconds: Callable[[], float],
        *,
        lifetime_seconds: float = NONCE_LIFETIME_SECONDS,
        limit: int = MAX_NONCES_KEPT,
    ) -> None:
        self._elapsed_seconds = elapsed_seconds
        self._lifetime_seconds = lifetime_seconds
        self._limit = limit
        self._nonces: OrderedDict[str, _Nonce] = OrderedDict()

    def issue(self) -> str:
        """A new nonce."""
        now = self._elapsed_seconds()
        while self._nonces:
            oldest = next(iter(self._nonces.values()))
            if len(self._nonces) < self._limit and now - oldest.issued_at <= self._lifetime_seconds:
                break
            self._nonces.popitem(last=False)
        nonce = secrets.token_hex(16)
        self._nonces[nonce] = _Nonce(now)
        return nonce

    def check(self, credentials: Credentials) -> NonceVerdict:
        """Judge an answer's nonce and count; a good count is used up by this call, so ask after `verify`."""
        known = self._nonces.get(credentials.nonce)
        if known is None or self._elapsed_seconds() - known.issued_at > self._lifetime_seconds:
            return NonceVerdict.STALE
        if not credentials.qop:
            return NonceVerdict.GOOD
        try:
            count = int(credentials.nonce_count, 16)
        except ValueError:
            return NonceVerdict.STALE
        if count <= known.last_count:
            return NonceVerdict.STALE
        known.last_count = count
        return NonceVerdict.GOOD

    def __len__(self) -> int:
        return len(self._nonces)
