"""One call of a phone or carrier, outgoing or incoming, from its first message to its end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from switch.sip import sdp
from switch.sip.authentication import MAX_ATTEMPTS
from switch.sip.dialog import Address, Dialog
from switch.sip.errors import CallRefused, SipError, SipSyntaxError, SipTimeout, WaitExceeded
from switch.sip.message import Request, Response
from switch.sip.policy import MAX_RING_SECONDS, Policy
from switch.sip.transactions import ClientTransaction, ServerTransaction

if TYPE_CHECKING:
    from switch.sip.agent import UserAgent

BYE_TIMEOUT_SECONDS = 5.0
TRANSFER_TIMEOUT_SECONDS = 5.0
OFFER_TIMEOUT_SECONDS = 5.0
NOT_HUNG_UP = ""


class Call:
    """A call. `status` is the last SIP status seen or sent (0: none yet; final from 200 on).

    `ended_by` is 'us', 'them' or '' while the call runs; `end_reason` the Reason header of their BYE or
    CANCEL answer. `error` is set when the call failed without a final answer (timeout, impossible challenge).
    """

    def __init__(self, agent: UserAgent, *, incoming: bool, call_id: str, remote: str) -> None:
        self.incoming = incoming
        self.call_id = call_id
        self.remote = remote
        self.status = 0
        self.answered = False
        self.ended_by = NOT_HUNG_UP
        self.end_reason = ""
        self.error: SipError | None = None
        self.dialog: Dialog | None = None
        self.remote_audio: sdp.Audio | None = None
        self.request: Request | None = None
        self._agent = agent
        self._changed = asyncio.Condition()
        self._ended = asyncio.Event()
        self._settled = asyncio.Event()
        self._ringing = asyncio.Event()
        self._outgoing: ClientTransaction | None = None
        self._incoming: ServerTransaction | None = None
        self._cancel_wanted = False

    def __repr__(self) -> str:
        way = "from" if self.incoming else "to"
        state = f"ended by {self.ended_by}" if self.is_ended else ("answered" if self.answered else "open")
        return f"<Call {way} {self.remote} {self.status} {state}>"

    @property
    def is_ended(self) -> bool:
        """Whether the call is over, answered or not."""
        return self._ended.is_set()

    @property
    def is_live(self) -> bool:
        """Whether the two sides are connected now."""
        return self.answered and not self.is_ended

    async def wait_ringing(self, timeout_seconds: float) -> int:
        """Wait until the other side rings (or the call is settled); the status then. Raises WaitExceeded."""
        return await self._wait(self._ringing, "ringing", timeout_seconds)

    async def wait_settled(self, timeout_seconds: float) -> int:
        """Wait for the final status and return it.

        Raises WaitExceeded (the call goes on), or the SipError that ended the call without an answer.
        """
        status = await self._wait(self._settled, "an answer", timeout_seconds)
        if self.error is not None:
            raise self.error
        return status

    async def wait_ended(self, timeout_seconds: float) -> str:
        """Wait until the call is over; returns `ended_by`. Raises WaitExceeded."""
        await self._wait(self._ended, "the end of the call", timeout_seconds)
        return self.ended_by

    async def _wait(self, event: asyncio.Event, what: str, timeout_seconds: float) -> int:
        try:
            async with asyncio.timeout(timeout_seconds):
                await event.wait()
        except TimeoutError:
            raise WaitExceeded(what, timeout_seconds) from None
        return self.status

    def cancel(self) -> None:
        """Withdraw an outgoing call that is not answered yet; `status` becomes 487 (an answer may still be
        faster).
        """
        if self.incoming:
            raise CallRefused("an incoming call is refused with reject(), not cancelled")
        if self._settled.is_set():
            return
        self._cancel_wanted = True
        if self._outgoing is not None:
            self._outgoing.cancel()

    async def hangup(self) -> bool:
        """End the call in whatever way its state asks for; whether the other side confirmed the end of one that was
        answered. Nothing happens when it is over.

        BYE when answered, CANCEL when it still rings there, 480 when it rings here. Waits at most
        `BYE_TIMEOUT_SECONDS` for the other side's answer, and the call is over even without one.
        """
        if self.is_ended:
            return False
        if self.incoming and not self.answered:
            self.reject(480)
            return False
        if not self.answered:
            self.cancel()
            return False
        dialog = self.dialog
        self._finish("us")
        return dialog is not None and await self._agent.say_goodbye(dialog)

    async def transfer(self, refer_to: str, *, timeout_seconds: float = TRANSFER_TIMEOUT_SECONDS) -> int:
        """Ask the other side to send its party to an address (REFER, RFC 3515); the status of its answer.

        202 says only that it was understood. Raises SipTimeout, SipTransportError, `CallRefused` when there is no call.
        """
        request = self._within_dialog("REFER")
        request.headers.add("Refer-To", refer_to)
        return (await self._ask(request, timeout_seconds)).status

    async def hold(self, *, timeout_seconds: float = OFFER_TIMEOUT_SECONDS) -> int:
        """Put the other side on hold: a new offer that only sends (RFC 3264, section 8.4); the status of its answer.

        Raises SipTimeout, SipTransportError, `CallRefused` when there is no call.
        """
        return await self._offer_again("sendonly", timeout_seconds)

    async def resume(self, *, timeout_seconds: float = OFFER_TIMEOUT_SECONDS) -> int:
        """Go on after a hold; returns and raises as `hold`."""
        return await self._offer_again("sendrecv", timeout_seconds)

    async def press(self, keys: str) -> None:
        """Press keys one after another, a tenth of a second each (RFC 4733). Raises `CallRefused`."""
        if not self.is_live or self.remote_audio is None:
            raise CallRefused("keys are pressed in a call that is answered and not over")
        for key in keys:
            await self._agent.press((self.remote_audio.host, self.remote_audio.port), key)

    async def _offer_again(self, direction: sdp.Direction, timeout_seconds: float) -> int:
        request = self._within_dialog("INVITE")
        request.set_body(sdp.CONTENT_TYPE, self._agent.describe_media(None, direction=direction))
        response = await self._ask(request, timeout_seconds)
        if response.status < 300:
            self._take_media(response.body)
        return response.status

    def _within_dialog(self, method: str) -> Request:
        if self.dialog is None or not self.is_live:
            raise CallRefused(f"only a call that is answered and not over takes a {method} of ours")
        request = self.dialog.create_request(method)
        for name, value in self._agent.own_headers():
            request.headers.set(name, value)
        return request

    async def _ask(self, request: Request, timeout_seconds: float) -> Response:
        dialog = self.dialog
        assert dialog is not None  # noqa: S101 - it made the request
        # Each challenge takes one more number; none may be used twice in a dialog (RFC 3261, section 12.2.1.1).
        dialog.local_sequence += MAX_ATTEMPTS
        return await self._agent.ask(request, dialog.destination, timeout_seconds=timeout_seconds)

    def reject(self, status: int, *, send_to: str | None = None) -> None:
        """Refuse an incoming call that still rings; `send_to` is the address that a redirection names."""
        if self._incoming is None or self.answered or self.is_ended:
            raise CallRefused("only an incoming call that still rings can be refused")
        self._incoming.respond(status, headers=() if send_to is None else [("Contact", f"<{send_to}>")])
        self._settle(status)
        self._finish("us")

    def answer(self) -> None:
        """Answer an incoming call that still rings."""
        transaction = self._incoming
        if transaction is None or self.answered or self.is_ended:
            raise CallRefused("only an incoming call that still rings can be answered")
        try:
            body = self._agent.describe_media(self.remote_audio)
        except SipSyntaxError:
            self.reject(488)
            return
        if not transaction.respond(200, headers=self._agent.own_headers(), content_type=sdp.CONTENT_TYPE, body=body):
            return
        self.answered = True
        self._settle(200)

    async def run_outgoing(self, request: Request, destination: Address) -> None:
        """Place the call; run as a task by the agent. Given up after `MAX_RING_SECONDS` without an answer."""
        self.request = request
        try:
            response = await self._invite(request, destination)
        except SipError as error:
            self.error = error
            self._settle(self.status)
            self._finish("them")
            return
        if response.status >= 300:
            self.end_reason = response.headers.get("Reason") or ""
            self._settle(response.status)
            self._finish("us" if self._cancel_wanted else "them")
            return
        self._take_media(response.body)
        self.answered = True
        self._settle(response.status)
        if self._cancel_wanted:
            await self.hangup()

    async def _invite(self, request: Request, destination: Address) -> Response:
        attempt = 1
        while True:
            self._outgoing = self._agent.endpoint.send(request, destination, on_provisional=self._progress)
            if self._cancel_wanted:
                self._outgoing.cancel()
            try:
                response = await self._outgoing.final(timeout_seconds=MAX_RING_SECONDS)
            except SipTimeout:
                self._outgoing.cancel()
                raise
            if response.status < 300:
                self.dialog = self._outgoing.dialog
                return response
            again = None
            if self._agent.digest_user is not None:
                again = self._agent.digest_user.authorize(request, response)
            if again is None or attempt == MAX_ATTEMPTS:
                return response
            if self._cancel_wanted:
                return Response.to_request(request, 487)
            request = again
            attempt += 1

    def current_dialog(self) -> Dialog | None:
        """The dialog, also when its answer has arrived but nobody has been woken for it yet.

        A BYE may follow the 200 OK in the same moment.
        """
        if self.dialog is None and self._outgoing is not None:
            self.dialog = self._outgoing.dialog
        return self.dialog

    def _progress(self, response: Response) -> None:
        self.status = response.status
        if response.status > 100:
            self._ringing.set()

    async def run_incoming(self, transaction: ServerTransaction, policy: Policy) -> None:
        """Serve an incoming INVITE by a policy; run as a task by the agent."""
        self._incoming = transaction
        self.request = transaction.request
        try:
            self.dialog = Dialog.as_called(transaction.request, transaction.to_tag, transaction.source)
        except SipSyntaxError:
            self.reject(400)
            return
        if transaction.request.body:
            self._take_media(transaction.request.body)
        if policy.refusal_status is not None:
            self.reject(policy.refusal_status, send_to=policy.redirect_to)
            return
        transaction.respond(180, headers=self._agent.own_headers())
        self.status = 180
        self._ringing.set()
        withdrawn = asyncio.create_task(transaction.cancelled.wait())
        withdrawn.add_done_callback(lambda task: None if task.cancelled() else self._withdrawn())
        try:
            await self._ring(policy)
            if self.answered:
                await self._stay(transaction, policy)
        finally:
            withdrawn.cancel()

    async def _ring(self, policy: Policy) -> None:
        limit_seconds = MAX_RING_SECONDS if policy.answer_after_seconds is None else policy.answer_after_seconds
        try:
            async with asyncio.timeout(limit_seconds):
                await self._settled.wait()
        except TimeoutError:
            if self.is_ended:
                return
            if policy.answer_after_seconds is None:
                self.reject(480)
            else:
                self.answer()

    async def _stay(self, transaction: ServerTransaction, policy: Policy) -> None:
        if not await transaction.wait_acknowledged():
            # The caller never confirmed our answer (RFC 3261 13.3.1.4): the call does not exist for it.
            await self.hangup()
        elif policy.hang_up_after_seconds is not None:
            try:
                async with asyncio.timeout(policy.hang_up_after_seconds):
                    await self._ended.wait()
            except TimeoutError:
                await self.hangup()

    def _withdrawn(self) -> None:
        if not self._settled.is_set():
            self._settle(487)
            self._finish("them")

    def receive_bye(self, request: Request) -> None:
        """Their BYE; called by the agent, which answers it."""
        self.end_reason = request.headers.get("Reason") or ""
        self._finish("them")

    def vanish(self) -> None:
        """Forget the call without a word; called by the agent."""
        self._settled.set()
        self._finish("us")

    def _take_media(self, body: bytes) -> None:
        try:
            self.remote_audio = sdp.Audio.parse(body)
        except SipSyntaxError:
            self.remote_audio = None

    def _settle(self, status: int) -> None:
        self.status = status
        self._ringing.set()
        self._settled.set()

    def _finish(self, by: str) -> None:
        if not self._ended.is_set():
            self.ended_by = by
            self._ended.set()
            self._agent.forget(self)
