"""The signalling of one leg: what its channel wants is said in SIP, what SIP says happens to its channel."""

from __future__ import annotations

import asyncio

from switch.simulator import causes
from switch.simulator.channel import Channel
from switch.simulator.events import now_microseconds
from switch.simulator.leg_host import LegHost
from switch.simulator.leg_texts import SDP_TYPE, reason_header, session_description
from switch.simulator.protection import NEGOTIATED, Protection, answer_to, described
from switch.simulator.settings import is_true
from switch.sip.dialog import Dialog
from switch.sip.endpoint import SipEndpoint
from switch.sip.errors import SipError
from switch.sip.message import Request
from switch.sip.sdp import SUITE, Direction
from switch.sip.transactions import ClientTransaction, ServerTransaction

_CANCELLED = {
    "sip_invite_failure_status": "487",
    "sip_invite_failure_phrase": "CANCEL",
    "sip_term_status": "487",
    "sip_term_cause": "487",
    "proto_specific_hangup_cause": "sip:487",
}
_OK = 200


class Leg:
    """What both directions share: the dialog and its end. It stays with the socket, and so the transport, that it began
    over.
    """

    def __init__(self, host: LegHost, channel: Channel, endpoint: SipEndpoint) -> None:
        self.host = host
        self.core = host.core
        self.channel = channel
        self.endpoint = endpoint
        self.dialog: Dialog | None = None
        channel.end = self._end
        channel.answer = self.answer

    @property
    def contact(self) -> tuple[str, str]:
        """Our Contact header in this leg."""
        return "Contact", self.host.state.contact(self.endpoint.transport)

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
        offer = described(transaction.request.body)
        protection = answer_to(offer)
        if protection is None or (offer is None and transaction.request.body):
            transaction.respond(488)
            return
        if offer is not None:
            direction = offer.mirrored
            self.core.hold(self.channel, is_held=direction in ("recvonly", "inactive"))
        answer = self.describe(protection, direction)
        transaction.respond(_OK, headers=[self.contact], content_type=SDP_TYPE, body=answer)

    def describe(self, protection: Protection, direction: Direction = "sendrecv") -> bytes:
        """Our session description in this leg."""
        return session_description(self.host.state.address[0], self.channel.session_number, direction, protection)

    def _end(self, cause: str) -> None:
        raise NotImplementedError

    def send_bye(self, cause: str) -> None:
        """End the call at the far end."""
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
            transaction = self.endpoint.send(request, self.dialog.destination)
        except SipError:
            # The socket is closed, or the far end's connection is: it learns it from its own timers.
            return
        self.core.spawn(_settled(transaction))


class InboundLeg(Leg):
    """A leg that called us."""

    def __init__(self, host: LegHost, channel: Channel, transaction: ServerTransaction) -> None:
        super().__init__(host, channel, transaction.endpoint)
        self.transaction = transaction
        self._answer: bytes | None = None
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
        sdp = self._negotiate()
        if sdp is None:
            return
        now = now_microseconds()
        channel.times.progress = channel.times.progress or now
        channel.times.progress_media = now
        self.core.fire("CHANNEL_PROGRESS_MEDIA", channel)
        self.transaction.respond(183, headers=[self.contact], content_type=SDP_TYPE, body=sdp)

    def answer(self) -> bool:
        """200 OK with our SDP; False when the caller was faster with a CANCEL."""
        channel = self.channel
        if channel.is_answered:
            return True
        if not channel.is_up:
            return False
        sdp = self._negotiate()
        if sdp is None:
            return False
        dialog = Dialog.as_called(self.transaction.request, self.transaction.to_tag, self.transaction.source)
        if not self.transaction.respond(_OK, headers=[self.contact], content_type=SDP_TYPE, body=sdp):
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

    def _negotiate(self) -> bytes | None:
        """Our answer to the caller's offer, the same each time; None, and the leg is over, when there can be none."""
        if self._answer is None:
            protection = answer_to(described(self.transaction.request.body))
            if protection is None:
                self.core.hang_up(self.channel, "INCOMPATIBLE_DESTINATION")
                return None
            if protection.crypto_tag is not None:
                self.channel.set(NEGOTIATED, SUITE)
            self._answer = self.describe(protection)
        return self._answer

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
                self.send_bye(cause)
        elif self.transaction.final_status is None:
            self.channel.variables["sip_hangup_disposition"] = "send_refuse"
            self.host.state.failed_calls_in += 1
            self.transaction.respond(self._refusal_status(cause), headers=[reason_header(cause)])
        self.host.release(self)


async def _settled(transaction: ClientTransaction) -> None:
    """Wait for an answer that changes nothing any more."""
    try:
        await transaction.final()
    except SipError:
        # The far end is gone; the leg has ended all the same.
        return
