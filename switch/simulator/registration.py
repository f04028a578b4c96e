"""Carries out REGISTER requests: authentication, binding, events, and the message count that follows.

Source: `sofia_reg.c` (`sofia_reg_handle_register_token`), `mod_voicemail.c` (message-count and its NOTIFY
happen only on nodes that load mod_voicemail).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from switch.simulator.authentication import Authenticator, Outcome, Verdict, contact_of
from switch.simulator.core import ProfileState, SwitchCore
from switch.simulator.directory import Directory
from switch.simulator.events import gmt_stamp, now_microseconds
from switch.simulator.reach import Way, transport_of, with_path
from switch.simulator.registrar import GRACE_SECONDS, Registration
from switch.simulator.sip_sockets import UDP
from switch.sip.dialog import new_call_id, new_tag
from switch.sip.endpoint import SipEndpoint, resolve
from switch.sip.errors import SipError
from switch.sip.message import Headers, Request
from switch.sip.transactions import ServerTransaction
from switch.sip.uri import NameAddress, SipUri

DEFAULT_EXPIRES_SECONDS = 3_600
MAX_EXPIRES_SECONDS = 86_400
VOICEMAIL_MODULE = "mod_voicemail"


class RegistrationService:
    """Handles the REGISTER requests of one profile."""

    def __init__(
        self, core: SwitchCore, state: ProfileState, directory: Directory, authenticator: Authenticator
    ) -> None:
        self._core = core
        self._state = state
        self._directory = directory
        self._authenticator = authenticator

    async def handle(self, transaction: ServerTransaction, endpoint: Callable[[str], SipEndpoint]) -> None:
        """Answer one REGISTER; `endpoint` gives the profile's socket of a transport."""
        verdict = await self._authenticator.judge(transaction)
        if verdict.outcome is Outcome.CHALLENGED:
            return
        request = transaction.request
        if verdict.outcome is Outcome.REFUSED:
            self.tell_attempt(transaction, verdict)
            self._tell_failure(request, transaction.source)
            transaction.respond(403)
            return
        expires_seconds = self._expires(request)
        if expires_seconds is None:
            transaction.respond(400)
            return
        self.tell_attempt(transaction, verdict)
        if expires_seconds == 0:
            self._unregister(transaction, verdict)
            return
        self._register(transaction, verdict, expires_seconds)
        if VOICEMAIL_MODULE in self._core.modules:
            await self._tell_message_count(request, endpoint)

    def _register(self, transaction: ServerTransaction, verdict: Verdict, expires_seconds: int) -> None:
        request = transaction.request
        contact = contact_of(request)
        if contact is None:
            transaction.respond(400)
            return
        address = request.to_address.uri
        now = now_microseconds()
        kept = _kept(request, contact)
        registration = Registration(
            user=address.user,
            domain=address.host,
            contact=f'"{contact.display}" <{kept}>',
            contact_uri=str(kept),
            call_id=request.call_id,
            agent=request.headers.get("User-Agent") or "unknown",
            network_ip=transaction.source[0],
            network_port=transaction.source[1],
            expires_at=now + (expires_seconds + GRACE_SECONDS) * 1_000_000,
            deadline_seconds=asyncio.get_running_loop().time() + expires_seconds + GRACE_SECONDS,
            auth_user=verdict.credentials.user if verdict.credentials else address.user,
            auth_realm=verdict.credentials.realm if verdict.credentials else address.host,
            transport=transport_of(contact.uri),
            metadata=verdict.user_variables.get("registration_metadata", ""),
        )
        headers = [
            *self._headers(request, transaction.source),
            ("username", registration.auth_user),
            ("realm", registration.auth_realm),
            *verdict.user_variables.items(),
        ]
        if not self._state.registrar.register(registration, headers=headers):
            transaction.respond(503, headers=[("Retry-After", "300")])
            return
        bound = NameAddress(contact.uri, "", {"expires": str(expires_seconds)})
        transaction.respond(200, headers=[("Contact", str(bound)), ("Date", gmt_stamp(now))])

    def tell_attempt(self, transaction: ServerTransaction, verdict: Verdict) -> None:
        """The event about somebody who showed credentials, in a REGISTER or an INVITE."""
        shown = verdict.credentials
        admitted = verdict.outcome is Outcome.ADMITTED
        self._fire(
            transaction.request,
            transaction.source,
            "sofia::register_attempt",
            ("username", shown.user if shown is not None else ""),
            ("realm", shown.realm if shown is not None else ""),
            ("auth-result", "RENEWED" if admitted else "FORBIDDEN"),
        )

    def _unregister(self, transaction: ServerTransaction, verdict: Verdict) -> None:
        request = transaction.request
        address = request.to_address.uri
        self._state.registrar.unregister(
            f"{address.user}@{address.host}",
            headers=[*self._headers(request, transaction.source), *verdict.user_variables.items()],
        )
        transaction.respond(200, headers=[("Date", gmt_stamp(now_microseconds()))])

    def _expires(self, request: Request) -> int | None:
        """Seconds asked for (the Contact's own parameter goes first), 0 to unregister, None when unreadable."""
        contact = contact_of(request)
        text = contact.parameters.get("expires") if contact is not None else None
        text = text or request.headers.get("Expires") or str(DEFAULT_EXPIRES_SECONDS)
        if not (text.isascii() and text.isdecimal()):
            return None
        forced = self._state.settings.max_registration_seconds
        asked = min(int(text), MAX_EXPIRES_SECONDS)
        return forced if forced and asked else asked

    def _headers(self, request: Request, source: tuple[str, int]) -> list[tuple[str, str]]:
        contact = contact_of(request)
        to_uri, from_uri = request.to_address.uri, request.from_address.uri
        return [
            ("profile-name", self._state.settings.name),
            ("from-user", from_uri.user),
            ("from-host", from_uri.host),
            ("presence-hosts", "n/a"),
            ("contact", f'"{contact.display}" <{_kept(request, contact)}>' if contact else ""),
            ("call-id", request.call_id),
            ("rpid", "unknown"),
            ("status", f"Registered({transport_of(contact.uri) if contact else UDP})"),
            ("expires", str(self._expires(request) or 0)),
            ("to-user", to_uri.user),
            ("to-host", to_uri.host),
            ("network-ip", source[0]),
            ("network-port", str(source[1])),
            ("user-agent", request.headers.get("User-Agent") or "unknown"),
        ]

    def _tell_failure(self, request: Request, source: tuple[str, int]) -> None:
        """Its own few headers, the profile's name twice, as 1.11 sends them."""
        profile, address = ("profile-name", self._state.settings.name), request.to_address.uri
        headers = [
            profile,
            ("to-user", address.user),
            ("to-host", address.host),
            ("network-ip", source[0]),
            ("user-agent", request.headers.get("User-Agent") or "unknown"),
            profile,
            ("network-port", str(source[1])),
            ("registration-type", "REGISTER"),
        ]
        self._core.bus.fire("CUSTOM", headers, subclass="sofia::register_failure")

    def _fire(self, request: Request, source: tuple[str, int], subclass: str, *extra: tuple[str, str]) -> None:
        self._core.bus.fire("CUSTOM", [*self._headers(request, source), *extra], subclass=subclass)

    async def _tell_message_count(self, request: Request, endpoint: Callable[[str], SipEndpoint]) -> None:
        """Ask for the mailbox and send the NOTIFY (RFC 3842) that a registered phone then gets."""
        address, contact = request.to_address.uri, contact_of(request)
        user = await self._directory.find(
            address.user, address.host, [("action", "message-count")], event_name="GENERAL"
        )
        if user is None or contact is None:
            return
        account = f"sip:{address.user}@{address.host}"
        own = NameAddress(address)
        headers = Headers(
            [
                ("From", str(own.with_tag(new_tag()))),
                ("To", str(own)),
                ("Call-ID", new_call_id()),
                ("CSeq", "1 NOTIFY"),
                ("Contact", self._state.contact(transport_of(contact.uri))),
                ("Event", "message-summary"),
                ("Subscription-State", "terminated;reason=noresource"),
            ]
        )
        way = Way.to(_kept(request, contact))
        for route in way.routes:
            headers.add("Route", route)
        notify = Request(headers=headers, method="NOTIFY", uri=str(way.target))
        notify.set_body(
            "application/simple-message-summary",
            f"Messages-Waiting: no\r\nMessage-Account: {account}\r\n".encode(),
        )
        try:
            await endpoint(way.transport).request(notify, await resolve(*way.first_hop.address))
        except SipError:
            # A phone that does not answer the NOTIFY stays registered.
            return


def _kept(request: Request, contact: NameAddress) -> SipUri:
    """Where a phone is to be reached later: its Contact, with the Path that its REGISTER came along."""
    return with_path(contact.uri, request.headers.all("Path"))
