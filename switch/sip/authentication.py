"""The client's side of digest authentication: repeat a challenged request with credentials."""

from __future__ import annotations

from dataclasses import dataclass, field

from switch.sip.digest import Challenge, a1_hash, answer
from switch.sip.errors import AuthenticationImpossible
from switch.sip.message import Request, Response

MAX_ATTEMPTS = 3
"""The plain request, one with credentials, and one more when the server calls the nonce stale."""

_HEADERS = {401: ("WWW-Authenticate", "Authorization"), 407: ("Proxy-Authenticate", "Proxy-Authorization")}


@dataclass(frozen=True, slots=True)
class DigestUser:
    """Who we are to the server: a user of a realm with a stored a1-hash (see `digest.a1_hash`)."""

    user: str
    realm: str
    hashed_a1: str = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.hashed_a1) != 32 or not set(self.hashed_a1.lower()) <= set("0123456789abcdef"):
            raise ValueError("an a1-hash has 32 hexadecimal digits: the MD5 of user:realm:password")

    @classmethod
    def with_password(cls, user: str, realm: str, password: str) -> DigestUser:
        """From the password in clear, which is not kept."""
        return cls(user, realm, a1_hash(user, realm, password))

    def authorize(self, request: Request, response: Response) -> Request | None:
        """The request again with credentials and the next CSeq, or None when the refusal is the server's last
        word.

        It is when the response is no challenge, or when it refuses credentials we gave without calling them
        stale. Raises AuthenticationImpossible when the challenge is for another realm than the a1-hash was
        made for.
        """
        if response.status not in _HEADERS:
            return None
        asked, given = _HEADERS[response.status]
        texts = response.headers.all(asked)
        if not texts:
            raise AuthenticationImpossible(f"the {response.status} answer has no {asked} header")
        challenge = Challenge.parse(texts[0])
        if given in request.headers and not challenge.stale:
            return None
        if challenge.realm != self.realm:
            raise AuthenticationImpossible(
                f"the server asks for realm {challenge.realm!r}, but the a1-hash of {self.user!r} was made for "
                f"{self.realm!r}; check the domain and the profile's challenge-realm"
            )
        number, method = request.sequence
        headers = request.headers.copy()
        headers.remove("Via")
        headers.set("CSeq", f"{number + 1} {method}")
        credentials = answer(
            challenge, method=method, uri=request.uri, user=self.user, hashed_a1=self.hashed_a1.lower()
        )
        headers.set(given, str(credentials))
        return Request(headers=headers, body=request.body, method=method, uri=request.uri)
