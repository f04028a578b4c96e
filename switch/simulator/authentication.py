"""Decides who may register or call on a profile that asks for a password.

Source: `sofia_reg.c` (`sofia_reg_auth_challenge`, `sofia_reg_parse_auth`): 401 for REGISTER and 407 for
the rest, the realm is the host of the To header
unless told otherwise, an unknown user and a wrong password both get 403.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from enum import Enum

from switch.simulator.directory import Directory, DirectoryUser
from switch.simulator.settings import ProfileSettings
from switch.sip.digest import Challenge, Credentials, NonceBook, NonceVerdict, verify
from switch.sip.errors import SipError
from switch.sip.message import Request
from switch.sip.transactions import ServerTransaction
from switch.sip.uri import NameAddress, SipUri


class Outcome(Enum):
    """What became of one request's credentials."""

    ADMITTED = "admitted"
    CHALLENGED = "challenged"
    REFUSED = "refused"


@dataclass(frozen=True)
class Verdict:
    """The outcome, with the user when one was admitted."""

    outcome: Outcome
    user: DirectoryUser | None = None
    credentials: Credentials | None = None

    @property
    def user_variables(self) -> dict[str, str]:
        """What an admitted user brings to its call and to the events about it, in mod_sofia's order."""
        if self.user is None or self.credentials is None:
            return {}
        return {
            "sip_number_alias": self.user.id,
            "sip_auth_username": self.credentials.user,
            "sip_auth_realm": self.credentials.realm,
            "number_alias": self.user.id,
            "user_name": self.user.id,
            "domain_name": self.user.domain,
            **self.user.variables,
        }


class Authenticator:
    """Challenges and verifies the requests of one profile."""

    def __init__(self, settings: ProfileSettings, directory: Directory) -> None:
        self._settings = settings
        self._directory = directory
        self._nonces = NonceBook(asyncio.get_running_loop().time)

    async def judge(self, transaction: ServerTransaction) -> Verdict:
        """Admit, challenge (the answer is sent here) or refuse (the caller answers 403)."""
        request = transaction.request
        header = "Authorization" if request.method == "REGISTER" else "Proxy-Authorization"
        value = request.headers.get(header)
        if value is None:
            return self._challenge(transaction, stale=False)
        try:
            credentials = Credentials.parse(value)
        except SipError:
            return Verdict(Outcome.REFUSED)
        refused = Verdict(Outcome.REFUSED, None, credentials)
        if (
            request.method == "REGISTER"
            and self._settings.matching_username_only
            and credentials.user.lower() != request.to_address.uri.user.lower()
        ):
            return refused
        user = await self._directory.find(
            credentials.user,
            credentials.realm,
            auth_form(request, transaction.source, credentials, self._settings.name),
            ip=transaction.source[0],
        )
        hashed_a1 = user.hashed_a1(credentials.user, credentials.realm) if user is not None else None
        if hashed_a1 is None or not verify(credentials, method=request.method, hashed_a1=hashed_a1):
            return refused
        if self._nonces.check(credentials) is NonceVerdict.STALE:
            return self._challenge(transaction, stale=True)
        return Verdict(Outcome.ADMITTED, user, credentials)

    def _challenge(self, transaction: ServerTransaction, *, stale: bool) -> Verdict:
        request = transaction.request
        challenge = Challenge(self._realm(request), self._nonces.issue(), stale=stale)
        if request.method == "REGISTER":
            transaction.respond(401, headers=[("WWW-Authenticate", str(challenge))])
        else:
            transaction.respond(407, headers=[("Proxy-Authenticate", str(challenge))])
        return Verdict(Outcome.CHALLENGED)

    def _realm(self, request: Request) -> str:
        """`challenge-realm`: the host of To or From, or a fixed name."""
        wanted = self._settings.challenge_realm
        if wanted == "auto_from":
            return request.from_address.uri.host
        return request.to_address.uri.host if wanted in {"auto_to", ""} else wanted


def auth_form(
    request: Request, source: tuple[str, int], credentials: Credentials, profile_name: str
) -> list[tuple[str, str]]:
    """The `sip_...` fields of an authentication request, in the order mod_sofia sends them."""
    contact = contact_of(request)
    to_uri, from_uri = request.to_address.uri, request.from_address.uri
    request_uri = SipUri.parse(request.uri)
    pairs = [
        ("action", "sip_auth"),
        ("sip_profile", profile_name),
        ("sip_user_agent", request.headers.get("User-Agent") or "unknown"),
        ("sip_auth_username", credentials.user),
        ("sip_auth_realm", credentials.realm),
        ("sip_auth_nonce", credentials.nonce),
        ("sip_auth_uri", credentials.uri),
        ("sip_contact_user", contact.uri.user if contact else ""),
        ("sip_contact_host", contact.uri.host if contact else ""),
        ("sip_to_user", to_uri.user),
        ("sip_to_host", to_uri.host),
        ("sip_via_protocol", request.top_via.transport.lower()),
        ("sip_from_user", from_uri.user),
        ("sip_from_host", from_uri.host),
        ("sip_call_id", request.call_id),
        ("sip_request_user", request_uri.user),
        ("sip_request_host", request_uri.host),
        ("sip_auth_qop", credentials.qop),
        ("sip_auth_cnonce", credentials.client_nonce),
        ("sip_auth_nc", credentials.nonce_count),
        ("sip_auth_response", credentials.response),
        ("sip_auth_method", request.method),
        ("client_port", str(source[1])),
    ]
    return [(name, value) for name, value in pairs if value]


def contact_of(request: Request) -> NameAddress | None:
    """The first Contact, or None when there is none or it cannot be read."""
    contacts = request.headers.all("Contact")
    if not contacts or contacts[0].strip() == "*":
        return None
    try:
        return NameAddress.parse(contacts[0])
    except SipError:
        return None
