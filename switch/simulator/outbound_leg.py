"""The leg that we call: its INVITE, what comes back, and what that makes of its channel."""

from __future__ import annotations

import asyncio

from switch.simulator import causes
from switch.simulator.channel import Channel
from switch.simulator.events import now_microseconds
from switch.simulator.leg import Leg
from switch.simulator.leg_host import LegHost
from switch.simulator.leg_texts import SDP_TYPE
from switch.simulator.protection import NEGOTIATED, UNPROTECTED, answer_to, described, towards_called
from switch.simulator.reach import Hop
from switch.simulator.settings import is_true
from switch.sip.dialog import Dialog
from switch.sip.digest import Challenge, a1_hash, answer
from switch.sip.errors import SipError, SipTransportError
from switch.sip.message import Request, Response
from switch.sip.sdp import SUITE
from switch.sip.status import reason_phrase
from switch.sip.transactions import ClientTransaction
from switch.sip.uri import NameAddress

REDIRECTIONS = frozenset({300, 301, 302, 305})


class OutboundLeg(Leg):
    """A leg that we call. `outcome` becomes `answered` or the cause of its end."""

    def __init__(
        self,
        host: LegHost,
        channel: Channel,
        request: Request,
        hop: Hop,
        credentials: tuple[str, str] | None = None,
    ) -> None:
        super().__init__(host, channel, hop.endpoint)
        self.progressed = asyncio.Event()
        self.media_opened = asyncio.Event()
        loop = asyncio.get_running_loop()
        self.started_at_seconds = loop.time()
        self.outcome: asyncio.Future[str] = loop.create_future()
        self._request = request
        self._destination = hop.address
        self._protection = towards_called(channel.variables)
        self._credentials = credentials
        self._transaction: ClientTransaction | None = None

    def start(self) -> None:
        """Send the INVITE."""
        self.channel.state = "CS_CONSUME_MEDIA"
        self._request.headers.set(*self.contact)
        self._request.set_body(SDP_TYPE, self.describe(self._protection))
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
        except SipTransportError:
            # Nobody is at the other end of the connection that was to carry it; the stack below says so like this.
            self._refused(Response(status=503, reason=reason_phrase(503)))
            return
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
            self.send_bye(self.channel.hangup_cause)
            return
        answered = described(response.body)
        is_encrypted = answered is not None and answer_to(answered) != UNPROTECTED
        if self._protection.is_demanded and not is_encrypted:
            self._over("INCOMPATIBLE_DESTINATION")
            return
        if is_encrypted:
            self.channel.set(NEGOTIATED, SUITE)
        self.host.adopt(self)
        self._note_parties(response)
        self.channel.set("sip_to_tag", dialog.key[2])
        self.core.answered(self.channel)
        self._settle("answered")

    async def _send(self, request: Request) -> Response:
        self._request = request
        self._transaction = self.endpoint.send(request, self._destination, on_provisional=self._progress)
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
                self.send_bye(cause)
        elif self._transaction is not None and not self._transaction.is_finished:
            self.channel.variables["sip_hangup_disposition"] = "send_cancel"
            self.channel.variables["sip_invite_failure_status"] = "487"
            self.channel.variables["sip_invite_failure_phrase"] = "CANCEL"
            self._transaction.cancel()
        self.host.release(self)
        self._settle(cause)
