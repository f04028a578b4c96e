"""One SIP profile of a node: its sockets, what it does with requests, and the legs that run over it.

Source: `sofia.c` (`our_sofia_event_callback`, `sofia_handle_sip_i_invite`, `sofia_handle_sip_i_options`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine

from switch.simulator.authentication import Authenticator, Outcome, Verdict, contact_of
from switch.simulator.channel import CallerProfile, Channel
from switch.simulator.core import ProfileState, SwitchCore
from switch.simulator.directory import Directory
from switch.simulator.events import now_microseconds
from switch.simulator.leg import InboundLeg, Leg
from switch.simulator.originate import Originator
from switch.simulator.outbound_leg import OutboundLeg
from switch.simulator.registrar import Registrar
from switch.simulator.registration import RegistrationService
from switch.simulator.replacing import inline_actions
from switch.simulator.session import CallSession
from switch.simulator.settings import ProfileSettings
from switch.simulator.sip_sockets import SipSockets
from switch.simulator.transfer import Transfers
from switch.sip.dialog import dialog_key
from switch.sip.endpoint import SipEndpoint
from switch.sip.errors import SipError, SipSyntaxError
from switch.sip.message import Request
from switch.sip.transactions import ServerTransaction, Timers
from switch.sip.uri import SipUri

ALLOW = "INVITE, ACK, BYE, CANCEL, OPTIONS, MESSAGE, INFO, UPDATE, REGISTER, REFER, NOTIFY"
RETRY_AFTER = ("Retry-After", "300")
_OK = 200

_log = logging.getLogger(__name__)


class SipProfile:
    """A running profile. Make it with `open`; `originator` and `transfers` are set by the node before calls
    arrive."""

    def __init__(self, core: SwitchCore, settings: ProfileSettings, directory: Directory) -> None:
        self.core = core
        self.state = ProfileState(
            settings,
            ("", 0),
            Registrar(settings.name, core.bus, elapsed_seconds=asyncio.get_running_loop().time),
            {gateway.name: gateway for gateway in settings.gateways},
        )
        self.originator: Originator | None = None
        self.transfers: Transfers | None = None
        self._directory = directory
        self._sockets: SipSockets | None = None
        self._legs: dict[tuple[str, str, str], Leg] = {}
        self._expected: set[OutboundLeg] = set()
        self._authenticator = Authenticator(settings, directory)
        self._registration = RegistrationService(core, self.state, directory, self._authenticator)

    def endpoint(self, transport: str) -> SipEndpoint:
        """The profile's socket of a transport; raises SipError when it has none or was not opened."""
        if self._sockets is None:
            raise SipError(f"the profile {self.state.settings.name} is not open; call open() first")
        return self._sockets.of(transport)

    async def open(self, *, timers: Timers | None = None) -> None:
        """Open the sockets (raises SipTransportError) and list the profile."""
        settings = self.state.settings
        self._sockets = await SipSockets.open(settings, on_request=self._on_request, timers=timers)
        self.state.address, self.state.tls_address = self._sockets.address, self._sockets.tls_address
        self.core.profiles[settings.name] = self.state

    def close(self) -> None:
        """Fall silent at once."""
        if self._sockets is not None:
            self._sockets.close()

    def expect(self, leg: OutboundLeg) -> None:
        """The leg is being called; whoever answers may go on before the answer has been dealt with."""
        self._expected.add(leg)
        leg.outcome.add_done_callback(lambda _: self._expected.discard(leg))

    def adopt(self, leg: Leg) -> None:
        """Requests inside the leg's dialog go to the leg from now on."""
        if leg.dialog is not None:
            self._legs[leg.dialog.key] = leg

    def release(self, leg: Leg) -> None:
        """The leg is over."""
        if leg.dialog is not None:
            self._legs.pop(leg.dialog.key, None)

    def refer(self, leg: Leg, transaction: ServerTransaction) -> None:
        """A phone wants its party to be sent elsewhere."""
        if self.transfers is None:
            transaction.respond(403)
        else:
            self.transfers.receive(leg, transaction)

    @property
    def legs(self) -> tuple[Leg, ...]:
        """The legs that are answered and not over."""
        return tuple(self._legs.values())

    def _on_request(self, transaction: ServerTransaction) -> None:
        request = transaction.request
        if request.to_address.tag:
            self._receive_within(transaction)
            return
        method = request.method
        if method == "OPTIONS":
            self._answer_options(transaction)
        elif method in {"INVITE", "REGISTER"} and self._is_unavailable:
            transaction.respond(503, "Maximum Calls In Progress", headers=[RETRY_AFTER])
        elif method == "REGISTER" and self.state.settings.registering_disabled:
            transaction.respond(403)
        elif method == "REGISTER":
            self.core.spawn(_guarded(transaction, self._registration.handle(transaction, self.endpoint)))
        elif method == "INVITE":
            self.core.spawn(_guarded(transaction, self._receive_call(transaction)))
        else:
            transaction.respond(405, headers=[("Allow", ALLOW)])

    def _receive_within(self, transaction: ServerTransaction) -> None:
        key = dialog_key(transaction.request)
        leg = self._legs.get(key)
        if leg is not None:
            leg.receive(transaction)
            return
        for expected in self._expected:
            dialog = expected.answered_dialog
            if dialog is not None and dialog.key == key:
                expected.outcome.add_done_callback(lambda _, leg=expected: leg.receive(transaction))
                return
        transaction.respond(481)

    @property
    def _is_unavailable(self) -> bool:
        return self.core.paused_inbound or self.core.is_full

    def _answer_options(self, transaction: ServerTransaction) -> None:
        if self._is_unavailable and self.state.settings.options_unavailable_when_busy:
            transaction.respond(503, "Maximum Calls In Progress", headers=[RETRY_AFTER])
        else:
            transaction.respond(_OK, headers=[("Accept", "application/sdp"), ("Allow", ALLOW)])

    async def _receive_call(self, transaction: ServerTransaction) -> None:
        if contact_of(transaction.request) is None:
            transaction.respond(400, "Missing Contact Header")
            return
        verdict: Verdict | None = None
        lists = self.state.settings.inbound_acl
        listed = bool(lists) and self.core.networks.allows(lists, transaction.source[0])
        if lists and not listed and not self.state.settings.auth_calls:
            transaction.respond(403)
            return
        if self.state.settings.auth_calls and not listed:
            verdict = await self._authenticator.judge(transaction)
            if verdict.outcome is Outcome.CHALLENGED:
                return
            self._registration.tell_attempt(transaction, verdict)
            if verdict.outcome is Outcome.REFUSED:
                transaction.respond(403)
                return
        if self.core.is_full or self.core.is_too_fast:
            transaction.respond(503, "Maximum Calls In Progress", headers=[RETRY_AFTER])
            return
        if transaction.cancelled.is_set() or self.originator is None:
            return
        channel = self._open_channel(transaction, verdict)
        leg = InboundLeg(self, channel, transaction)
        self.state.calls_in += 1
        self.core.fire("CHANNEL_CREATE", channel)
        channel.call_state = "RINGING"
        inline = inline_actions(self.core, transaction.request, but=channel)
        channel.initial_dialplan = "inline" if inline is not None else channel.initial_dialplan
        session = CallSession(self.core, self._directory, self.originator, leg, inline=inline)
        channel.routing = self.core.spawn(session.run())

    def _open_channel(self, transaction: ServerTransaction, verdict: Verdict | None) -> Channel:
        request = transaction.request
        from_address = request.from_address
        from_uri = from_address.uri
        name = self.state.settings.name
        user = verdict.user if verdict is not None else None
        variables = {
            **_request_variables(request, transaction),
            **({"sip_authorized": "true"} if user is not None else {}),
        }
        context = self.state.settings.context
        if user is not None and verdict is not None and verdict.credentials is not None:
            variables["requested_user_name"] = verdict.credentials.user
            variables["requested_domain_name"] = user.domain
            variables.update(verdict.user_variables)
            if self.state.settings.manages_presence:
                variables["presence_id"] = f"{user.id}@{user.domain}"
            context = user.variables.get("user_context") or context
        caller_number = variables.get("effective_caller_id_number") or from_uri.user
        channel = self.core.open_channel(
            "inbound",
            CallerProfile(
                username=user.id if user is not None else from_uri.user,
                caller_id_name=variables.get("effective_caller_id_name") or from_address.display or caller_number,
                caller_id_number=caller_number,
                network_address=transaction.source[0],
                destination_number=SipUri.parse(request.uri).user,
                context=context,
                channel_name=f"sofia/{name}/{from_uri.user}@{from_uri.host}",
            ),
        )
        own = {
            "channel_name": channel.profile.channel_name,
            "sofia_profile_name": name,
            "sofia_profile_url": self.state.url,
            "recovery_profile_name": name,
            "sip_local_network_addr": self.state.address[0],
            "endpoint_disposition": ("DELAYED NEGOTIATION" if self.state.settings.negotiates_late else "RECEIVED"),
            "call_uuid": channel.uuid,
        }
        for key, value in {**variables, **own}.items():
            channel.set(key, value)
        return channel


async def _guarded(transaction: ServerTransaction, work: Coroutine[None, None, None]) -> None:
    """Carry out a request; one that turns out to be unreadable on the way is answered with 400."""
    try:
        await work
    except SipSyntaxError as error:
        _log.debug("request refused: %s", error)
        transaction.respond(400)


def _request_variables(request: Request, transaction: ServerTransaction) -> dict[str, str]:
    """The `sip_...` variables of an INVITE, in mod_sofia's order."""
    host, port = transaction.source
    from_uri, to_uri = request.from_address.uri, request.to_address.uri
    request_uri, contact = SipUri.parse(request.uri), contact_of(request)
    variables = {
        "sip_from_user": from_uri.user,
        "sip_from_uri": f"{from_uri.user}@{from_uri.host}",
        "sip_from_host": from_uri.host,
        "sip_call_id": request.call_id,
        "sip_network_ip": host,
        "sip_network_port": str(port),
        "sip_received_ip": host,
        "sip_received_port": str(port),
        "sip_via_protocol": request.top_via.transport.lower(),
        "sip_via_host": request.top_via.host,
        "sip_via_port": str(request.top_via.port or ""),
        "sip_via_rport": request.top_via.parameters.get("rport", ""),
        "sip_user_agent": request.headers.get("User-Agent") or "",
        "sip_allow": request.headers.get("Allow") or "",
        "sip_invite_stamp": str(now_microseconds()),
        "sip_from_user_stripped": from_uri.user.removeprefix("+"),
        "sip_from_tag": request.from_address.tag,
        "sip_full_via": request.headers.get("Via") or "",
        "sip_full_from": request.header("From"),
        "sip_full_to": request.header("To"),
        "sip_req_user": request_uri.user,
        "sip_req_uri": f"{request_uri.user}@{request_uri.host}" + (f":{request_uri.port}" if request_uri.port else ""),
        "sip_req_host": request_uri.host,
        "sip_to_user": to_uri.user,
        "sip_to_uri": f"{to_uri.user}@{to_uri.host}",
        "sip_to_host": to_uri.host,
        "max_forwards": request.headers.get("Max-Forwards") or "70",
        "switch_r_sdp": request.body.decode(errors="replace"),
        "sip_call_info": request.headers.get("Call-Info") or "",
        "sip_replaces_call_id": (request.headers.get("Replaces") or "").partition(";")[0],
    }
    if contact is not None:
        variables["sip_contact_user"] = contact.uri.user
        variables["sip_contact_port"] = str(contact.uri.port or "")
        variables["sip_contact_host"] = contact.uri.host
        variables["sip_contact_uri"] = f"{contact.uri.user}@{contact.uri.host}"
    for name, value in request.headers:
        if name.lower().startswith("x-"):
            variables[f"sip_h_{name}"] = value
    return variables
