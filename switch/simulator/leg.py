"""The signalling of one leg: what its channel wants is said in SIP, what SIP says happens to its channel."""

from __future__ import annotations

import asyncio

from switch.simulator import causes
from switch.simulator.channel import Channel
from switch.simulator.events import now_microseconds
from switch.simulator.leg_host import LegHost
from switch.simulator.leg_texts import SDP_TYPE, reason_header, session_description
from switch.simulator.settings import is_true
from switch.sip.dialog import Dialog
from switch.sip.digest import Challenge, a1_hash, answer
from switch.sip.errors import SipError, SipSyntaxError
from switch.sip.message import Request, Response
from switch.sip.sdp import Audio, Direction
from switch.sip.transactions import ClientTransaction, ServerTransaction
from switch.sip.uri import NameAddress

_CANCELLED = {
    "sip_invite_failure_status": "487",
    "sip_invite_failure_phrase": "CANCEL",
    "sip_term_status": "487",
    "sip_term_cause": "487",
    "proto_specific_hangup_cause": "sip:487",
}
_OK = 200
REDIRECTIONS = frozenset({300, 301, 302, 305})


class Leg:
    """What both directions share: the dialog and its end."""

    def __init__(self, host: LegHost, channel: Channel) -> None:
        self.host = host
        self.core = host.core
        self.channel = channel
        self.dialog: Dialog | None = None
        channel.end = self._end
        self._sdp = session_description(host.state.address[0], channel.session_number)

    @property
    def contact(self) -> tuple[str, str]:
        """Our Contact header in this leg."""
        address = self.host.state.address
        return "Contact", f"<sip:mod_sofia@{address[0]}:{address[1]}>"

    def receive(self, transaction: ServerTransaction) -> None:
        """A request inside the dialog."""
        method = transaction.request.method
        if method == "BYE":
            transaction.respond(_OK)
            self.channel.variables["sip_hangup_disposition"] = "recv_bye"
            self.channel.variables["sip_term_status"] = "200"
            self.channel.variables["sip_term_cause"] = "16"
            self.channel.variables["proto_specific_hangup_cause"] = "sip:200"
            self.core.hang_up(self.channel, causes.NORMAL_CLEARING)
        elif method in {"INVITE", "UPDATE"}:
            self._take_offer(transaction)
        elif method == "REFER":
            self.host.refer(self, transaction)
        elif method in {"OPTIONS", "INFO", "NOTIFY", "MESSAGE"}:
            transaction.respond(_OK)
        else:
            transaction.respond(501)

    def ring(self) -> None:
        """180 Ringing, to whoever called us and has no answer yet."""

    def open_media(self) -> None:
        """183 Session Progress with our SDP, to whoever called us and has no answer yet."""

    def answer(self) -> bool:
        """Answer whoever called us; False when there is nobody any more."""
        return self.channel.is_up

    def refuse(self, status: int, reason: str = "") -> None:
        """A final status of the dialplan's choice (application `respond`)."""
        self.core.hang_up(self.channel, causes.from_sip(status))

    def notify(self, event: str, fragment: str) -> None:
        """Tell the far end how its REFER went (RFC 3515, section 2.4.4): once, and nothing will follow."""
        request = self._within_dialog("NOTIFY")
        if request is None:
            return
        request.headers.add(*self.contact)
        request.headers.add("Event", event)
        request.headers.add("Subscription-State", "terminated;reason=noresource")
        request.set_body("message/sipfrag;version=2.0", f"SIP/2.0 {fragment}\r\n".encode())
        self._send_within(request)

    def _take_offer(self, transaction: ServerTransaction) -> None:
        """A new description within the call; one that no longer listens puts us on hold (RFC 3264, section 8.4)."""
        direction: Direction = "sendrecv"
        if transaction.request.body:
            try:
                direction = Audio.parse(transaction.request.body).mirrored
            except SipSyntaxError:
                transaction.respond(488)
                return
            self.core.hold(self.channel, is_held=direction in ("recvonly", "inactive"))
        answer = session_description(self.host.state.address[0], self.channel.session_number, direction)
        transaction.respond(_OK, headers=[self.contact], content_type=SDP_TYPE, body=answer)

    def _end(self, cause: str) -> None:
        raise NotImplementedError

    def _send_bye(self, cause: str) -> None:
        request = self._within_dialog("BYE")
        if request is None:
            return
        self.channel.variables.setdefault("sip_hangup_disposition", "send_bye")
        request.headers.add(*reason_header(cause))
        self._send_within(request)

    def _within_dialog(self, method: str) -> Request | None:
        return self.dialog.create_request(method) if self.dialog is not None else None

    def _send_within(self, request: Request) -> None:
        assert self.dialog is not None  # noqa: S101 - it made the request
        try:
            transaction = self.host.endpoint.send(request, self.dialog.destination)
        except SipError:
            # The socket is closed: the far end learns it from its own timers.
            return
        self.core.spawn(_settled(transaction))


class InboundLeg(Leg):
    """A leg that called us."""

    def __init__(self, host: LegHost, channel: Channel, transaction: ServerTransaction) -> None:
        super().__init__(host, channel)
        self.transaction = transaction
        self.core.spawn(self._watch_cancel())

    async def _watch_cancel(self) -> None:
        waiting = [
            asyncio.ensure_future(self.transaction.cancelled.wait()),
            asyncio.ensure_future(self.channel.ended.wait()),
        ]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for future in waiting:
                future.cancel()
        if self.transaction.cancelled.is_set() and self.channel.is_up:
            self.channel.variables.update(_CANCELLED)
            self.channel.variables["sip_hangup_disposition"] = "recv_cancel"
            self.core.hang_up(self.channel, "ORIGINATOR_CANCEL")

    def ring(self) -> None:
        """180 Ringing."""
        if self.channel.is_answered or not self.channel.is_up:
            return
        if not self.channel.times.progress:
            self.channel.times.progress = now_microseconds()
            self.core.fire("CHANNEL_PROGRESS", self.channel)
            self.channel.call_state = "RINGING"
        self.transaction.respond(180, headers=[self.contact])

    def open_media(self) -> None:
        """183 Session Progress with our SDP."""
        channel = self.channel
        if channel.is_answered or channel.times.progress_media or not channel.is_up:
            return
        now = now_microseconds()
        channel.times.progress = channel.times.progress or now
        channel.times.progress_media = now
        self.core.fire("CHANNEL_PROGRESS_MEDIA", channel)
        self.transaction.respond(183, headers=[self.contact], content_type=SDP_TYPE, body=self._sdp)

    def answer(self) -> bool:
        """200 OK with our SDP; False when the caller was faster with a CANCEL."""
        channel = self.channel
        if channel.is_answered:
            return True
        if not channel.is_up:
            return False
        dialog = Dialog.as_called(self.transaction.request, self.transaction.to_tag, self.transaction.source)
        if not self.transaction.respond(_OK, headers=[self.contact], content_type=SDP_TYPE, body=self._sdp):
            return False
        self.dialog = dialog
        channel.set("sip_to_tag", self.transaction.to_tag)
        if not channel.times.progress_media:
            channel.times.progress_media = now_microseconds()
            channel.call_state = "EARLY"
            self.core.fire("CHANNEL_PROGRESS_MEDIA", channel)
        self.host.adopt(self)
        self.core.answered(channel)
        self.core.spawn(self._await_acknowledgement())
        return True

    async def _await_acknowledgement(self) -> None:
        if not await self.transaction.wait_acknowledged() and self.channel.is_up:
            self.core.hang_up(self.channel, "RECOVERY_ON_TIMER_EXPIRE")

    def refuse(self, status: int, reason: str = "") -> None:
        """A final status of the dialplan's choice (application `respond`)."""
        cause = causes.from_sip(status)
        if self.transaction.respond(status, reason, headers=[reason_header(cause)]):
            self.channel.variables["sip_hangup_disposition"] = "send_refuse"
        self.core.hang_up(self.channel, cause)

    def _refusal_status(self, cause: str) -> int:
        """The status of the far end goes through unless `sip_ignore_remote_cause` forbids it."""
        variables = self.channel.variables
        status = variables.get("last_bridge_proto_specific_hangup_cause", "").removeprefix("sip:")
        if is_true(variables.get("sip_ignore_remote_cause")) or not status.isdigit() or int(status) < 300:
            return causes.to_sip(cause)
        return int(status)

    def _end(self, cause: str) -> None:
        if self.channel.is_answered:
            if self.channel.variables.get("sip_hangup_disposition") != "recv_bye":
                self._send_bye(cause)
        elif self.transaction.final_status is None:
            self.channel.variables["sip_hangup_disposition"] = "send_refuse"
            self.host.state.failed_calls_in += 1
            self.transaction.respond(self._refusal_status(cause), headers=[reason_header(cause)])
        self.host.release(self)


class OutboundLeg(Leg):
    """A leg that we call. `outcome` becomes `answered` or the cause of its end."""

    def __init__(
        self,
        host: LegHost,
        channel: Channel,
        request: Request,
        destination: tuple[str, int],
        credentials: tuple[str, str] | None = None,
    ) -> None:
        super().__init__(host, channel)
        self.progressed = asyncio.Event()
        self.media_opened = asyncio.Event()
        loop = asyncio.get_running_loop()
        self.started_at_seconds = loop.time()
        self.outcome: asyncio.Future[str] = loop.create_future()
        self._request = request
        self._destination = destination
        self._credentials = credentials
        self._transaction: ClientTransaction | None = None

    def start(self) -> None:
        """Send the INVITE."""
        self.channel.state = "CS_CONSUME_MEDIA"
        self._request.headers.set(*self.contact)
        self._request.set_body(SDP_TYPE, self._sdp)
        self.host.expect(self)
        self.core.spawn(self._invite())

    @property
    def answered_dialog(self) -> Dialog | None:
        """The dialog, also when its answer has come but nothing has been made of it yet."""
        return self.dialog or (self._transaction.dialog if self._transaction is not None else None)

    async def _invite(self) -> None:
        try:
            response = await self._send(self._request)
            if response.status in {401, 407} and self._credentials is not None and self.channel.is_up:
                response = await self._send(self._authenticated(response))
        except SipError:
            self._over("RECOVERY_ON_TIMER_EXPIRE")
            return
        if response.status >= 300:
            self._refused(response)
            return
        dialog = Dialog.as_caller(self._request, response, self._destination)
        self.dialog = dialog
        if not self.channel.is_up:
            # The answer crossed our CANCEL: hang up what nobody wants any more (RFC 3261 9.1).
            self._send_bye(self.channel.hangup_cause)
            return
        self.host.adopt(self)
        self._note_parties(response)
        self.channel.set("sip_to_tag", dialog.key[2])
        self.core.answered(self.channel)
        self._settle("answered")

    async def _send(self, request: Request) -> Response:
        self._request = request
        self._transaction = self.host.endpoint.send(request, self._destination, on_provisional=self._progress)
        return await self._transaction.final()

    def _authenticated(self, response: Response) -> Request:
        user, password = self._credentials or ("", "")
        name = "WWW-Authenticate" if response.status == 401 else "Proxy-Authenticate"
        challenge = Challenge.parse(response.header(name))
        old = self._request
        headers = old.headers.copy()
        headers.remove("Via")
        number = old.sequence[0] + 1
        headers.set("CSeq", f"{number} INVITE")
        credentials = answer(
            challenge,
            method="INVITE",
            uri=old.uri,
            user=user,
            hashed_a1=a1_hash(user, challenge.realm, password),
        )
        headers.set("Authorization" if response.status == 401 else "Proxy-Authorization", str(credentials))
        return Request(headers=headers, body=old.body, method="INVITE", uri=old.uri)

    def _progress(self, response: Response) -> None:
        if response.status <= 100 or not self.channel.is_up:
            return
        now = now_microseconds()
        self._note_parties(response)
        if not self.channel.times.progress:
            self.channel.times.progress = now
            self.core.fire("CHANNEL_PROGRESS", self.channel)
            self.channel.call_state = "RINGING"
        if response.body and not self.channel.times.progress_media:
            self.channel.times.progress_media = now
            self.core.fire("CHANNEL_PROGRESS_MEDIA", self.channel)
            self.media_opened.set()
        self.progressed.set()

    def _note_parties(self, response: Response) -> None:
        """The variables mod_sofia takes from the first answer that is more than 100 Trying."""
        own, called = response.from_address.uri, response.to_address.uri
        self.channel.set("sip_from_user", own.user)
        self.channel.set("sip_from_uri", f"{own.user}@{own.host}")
        self.channel.set("sip_from_host", own.host)
        self.channel.set("sip_to_user", called.user)
        self.channel.set("sip_to_host", called.host)

    def _refused(self, response: Response) -> None:
        variables = self.channel.variables
        variables["sip_invite_failure_status"] = str(response.status)
        variables["sip_invite_failure_phrase"] = response.reason
        variables["sip_term_status"] = str(response.status)
        variables["proto_specific_hangup_cause"] = f"sip:{response.status}"
        if self.channel.is_up:
            variables["sip_hangup_disposition"] = "recv_refuse"
        self.host.state.failed_calls_out += 1
        cause = self._redirected(response) or causes.from_sip(response.status)
        variables["sip_term_cause"] = str(causes.q850(cause))
        self._over(cause)

    def _redirected(self, response: Response) -> str | None:
        """The cause with which a leg ends that was sent elsewhere, after its caller was told; None: it was not.

        With `manual-redirect`, as our profiles have it (`sofia_handle_sip_r_invite`): the caller goes through the
        dialplan again, the address itself is never called.
        """
        contacts = response.headers.all("Contact")
        if response.status not in REDIRECTIONS:
            return None
        if is_true(self.channel.variables.get("outbound_redirect_fatal")):
            return "REQUESTED_CHAN_UNAVAIL"
        caller = self.channel.originator
        if caller is not None and caller.is_up and contacts:
            context = self.channel.variables.get("sip_redirect_context") or "redirected"
            caller.rerouted_to = (NameAddress.parse(contacts[0]).uri.user, context)
        return "REDIRECTION_TO_NEW_DESTINATION"

    def _over(self, cause: str) -> None:
        self.core.hang_up(self.channel, cause)
        self._settle(self.channel.hangup_cause)

    def _settle(self, outcome: str) -> None:
        if not self.outcome.done():
            self.outcome.set_result(outcome)

    def _end(self, cause: str) -> None:
        if self.dialog is not None:
            if self.channel.variables.get("sip_hangup_disposition") != "recv_bye":
                self._send_bye(cause)
        elif self._transaction is not None and not self._transaction.is_finished:
            self.channel.variables["sip_hangup_disposition"] = "send_cancel"
            self.channel.variables["sip_invite_failure_status"] = "487"
            self.channel.variables["sip_invite_failure_phrase"] = "CANCEL"
            self._transaction.cancel()
        self.host.release(self)
        self._settle(cause)


async def _settled(transaction: ClientTransaction) -> None:
    """Wait for an answer that changes nothing any more."""
    try:
        await transaction.final()
    except SipError:
        # The far end is gone; the leg has ended all the same.
        return
