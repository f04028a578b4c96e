"""SIP transactions (RFC 3261 section 17, RFC 6026 for 2xx); `endpoint.py` owns the socket."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from switch.sip.dialog import Address, Dialog, new_tag
from switch.sip.errors import SipSyntaxError, SipTimeout
from switch.sip.message import Headers, Request, Response
from switch.sip.uri import tag_of

if TYPE_CHECKING:
    from switch.sip.endpoint import SipEndpoint


@dataclass(frozen=True, slots=True)
class Timers:
    """The timers of RFC 3261 table 4, in seconds; everything else is computed from them."""

    t1_seconds: float = 0.5
    t2_seconds: float = 4.0
    t4_seconds: float = 5.0

    @property
    def transaction_seconds(self) -> float:
        """64·T1: how long an unanswered transaction is tried (timers B, F and H)."""
        return 64 * self.t1_seconds


class _Repeater:
    """Sends the same datagram again at doubling intervals until stopped."""

    def __init__(self, endpoint: SipEndpoint, datagram: bytes, destination: Address) -> None:
        self._endpoint = endpoint
        self._datagram = datagram
        self._destination = destination
        self._handle: asyncio.TimerHandle | None = None
        self._interval_seconds = endpoint.timers.t1_seconds
        self._longest_seconds = float("inf")

    def start(self, *, longest_seconds: float) -> None:
        """Send now and go on repeating; intervals never exceed `longest_seconds`."""
        self._longest_seconds = longest_seconds
        self._endpoint.send_datagram(self._datagram, self._destination)
        self._arm()

    def slow_down(self) -> None:
        """From now on use the longest interval (timer E after a provisional answer)."""
        self._interval_seconds = self._longest_seconds

    def stop(self) -> None:
        """Repeat no more."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _arm(self) -> None:
        self._handle = self._endpoint.loop.call_later(self._interval_seconds, self._again)
        self._interval_seconds = min(self._interval_seconds * 2, self._longest_seconds)

    def _again(self) -> None:
        self._endpoint.send_datagram(self._datagram, self._destination)
        self._arm()


class ClientTransaction:
    """A request of ours under way. Made by `SipEndpoint.send`."""

    def __init__(
        self,
        endpoint: SipEndpoint,
        request: Request,
        destination: Address,
        on_provisional: Callable[[Response], None] | None,
    ) -> None:
        self.request = request
        self.destination = destination
        self.last_provisional: Response | None = None
        self.dialog: Dialog | None = None
        """What a 2xx to our INVITE established; there from the moment the answer arrived."""
        self._endpoint = endpoint
        self._on_provisional = on_provisional
        self._final: asyncio.Future[Response] = endpoint.loop.create_future()
        # A waiter may have given up (cancelled call): an error nobody fetches is no news then.
        self._final.add_done_callback(lambda future: future.cancelled() or future.exception())
        self._repeater = _Repeater(endpoint, request.encode(), destination)
        self._acknowledgement: tuple[bytes, Address] | None = None
        self._cancel_wanted = False
        self._cancel_sent = False
        timers = endpoint.timers
        self._is_invite = request.method == "INVITE"
        if endpoint.is_reliable:
            endpoint.send_datagram(request.encode(), destination)
        else:
            self._repeater.start(longest_seconds=float("inf") if self._is_invite else timers.t2_seconds)
        self._expiry = endpoint.loop.call_later(timers.transaction_seconds, self._expire)

    @property
    def key(self) -> tuple[str, str]:
        """Branch and method: what responses are matched by."""
        return self.request.top_via.branch, self.request.method

    @property
    def is_finished(self) -> bool:
        """Whether a final answer came or the attempt ended without one."""
        return self._final.done()

    async def final(self, *, timeout_seconds: float | None = None) -> Response:
        """The final answer (status 200 to 699).

        Raises SipTimeout when none comes within `timeout_seconds` or the protocol's own limit (64·T1; an
        INVITE that rings has none), and SipTransportError when the endpoint closes meanwhile.
        """
        try:
            return await asyncio.wait_for(asyncio.shield(self._final), timeout_seconds)
        except SipTimeout:
            raise
        except TimeoutError:
            raise SipTimeout(self.request.method, self.destination, timeout_seconds or 0.0) from None

    def cancel(self) -> None:
        """Withdraw an INVITE: CANCEL goes out with the first provisional answer (RFC 3261 9.1), once."""
        if not self._is_invite or self._final.done() or self._cancel_sent:
            return
        self._cancel_wanted = True
        if self.last_provisional is None:
            return
        self._cancel_sent = True
        headers = Headers()
        headers.add("Via", str(self.request.top_via))
        for name in ("Route", "From", "To", "Call-ID"):
            for value in self.request.headers.all(name):
                headers.add(name, value)
        headers.add("CSeq", f"{self.request.sequence[0]} CANCEL")
        self._endpoint.send_as_is(Request(headers=headers, method="CANCEL", uri=self.request.uri), self.destination)
        # The 487 may never come: do not wait for it longer than for any answer.
        self._expiry.cancel()
        self._expiry = self._endpoint.loop.call_later(self._endpoint.timers.transaction_seconds, self._expire)

    def receive(self, response: Response) -> None:
        """A response that matched; called by the endpoint."""
        if response.status < 200:
            self._receive_provisional(response)
            return
        if self._is_invite:
            try:
                self._acknowledge(response)
            except SipSyntaxError as error:
                # An answer that cannot even be acknowledged is of no use to anybody who waits for it.
                self.fail(error)
                self._endpoint.forget_client(self)
                raise
        if self._final.done():
            return
        self._repeater.stop()
        self._expiry.cancel()
        self._final.set_result(response)
        # An INVITE stays to acknowledge repeated answers (timer D), others have nothing left to do.
        linger_seconds = self._endpoint.timers.transaction_seconds if self._is_invite else 0.0
        self._expiry = self._endpoint.loop.call_later(linger_seconds, self._endpoint.forget_client, self)

    def _receive_provisional(self, response: Response) -> None:
        if self._final.done():
            return
        first = self.last_provisional is None
        self.last_provisional = response
        if self._is_invite:
            self._repeater.stop()
            if first:
                self._expiry.cancel()
        else:
            self._repeater.slow_down()
        if self._cancel_wanted:
            self.cancel()
        if self._on_provisional is not None:
            self._on_provisional(response)

    def _acknowledge(self, response: Response) -> None:
        if self._acknowledgement is None:
            if response.status < 300:
                dialog = self.dialog = Dialog.as_caller(self.request, response, self.destination)
                request = dialog.acknowledge(self.request)
                request.headers.prepend("Via", str(self._endpoint.new_via()))
                request.headers.set("Max-Forwards", "70")
                self._acknowledgement = (request.encode(), dialog.destination)
            else:
                headers = Headers([("Via", str(self.request.top_via)), ("Max-Forwards", "70")])
                for name in ("Route", "From", "Call-ID"):
                    for value in self.request.headers.all(name):
                        headers.add(name, value)
                headers.add("To", response.header("To"))
                headers.add("CSeq", f"{self.request.sequence[0]} ACK")
                request = Request(headers=headers, method="ACK", uri=self.request.uri)
                self._acknowledgement = (request.encode(), self.destination)
        self._endpoint.send_datagram(*self._acknowledgement)

    def _expire(self) -> None:
        waited = self._endpoint.timers.transaction_seconds
        self.fail(SipTimeout(self.request.method, self.destination, waited))
        self._endpoint.forget_client(self)

    def fail(self, error: Exception) -> None:
        """End without an answer; called by the endpoint."""
        self._repeater.stop()
        self._expiry.cancel()
        if not self._final.done():
            self._final.set_exception(error)


class ServerTransaction:
    """A request from the other side; made by the endpoint and given to `on_request`."""

    def __init__(self, endpoint: SipEndpoint, request: Request, source: Address, key: tuple[str, ...]) -> None:
        self.request = request
        self.source = source
        self.key = key
        self.to_tag = tag_of(request.header("To")) or new_tag()
        self.cancelled = asyncio.Event()
        self.final_status: int | None = None
        self._endpoint = endpoint
        self._acknowledged: asyncio.Future[bool] = endpoint.loop.create_future()
        self._last_datagram: bytes | None = None
        self._repeater: _Repeater | None = None
        self._expiry: asyncio.TimerHandle | None = None
        if request.method != "INVITE":
            # An owner that forgets to answer must not keep the transaction for ever; an INVITE may ring.
            self._expiry = endpoint.loop.call_later(endpoint.timers.transaction_seconds, self._expire)

    def respond(
        self,
        status: int,
        reason: str = "",
        *,
        headers: Iterable[tuple[str, str]] = (),
        content_type: str = "",
        body: bytes = b"",
    ) -> bool:
        """Answer. False, and nothing sent, when a final answer went out before (a CANCEL may have been
        faster).
        """
        if self.final_status is not None:
            return False
        response = Response.to_request(self.request, status, reason, to_tag=self.to_tag if status > 100 else "")
        if 100 < status < 300:
            for route in self.request.headers.all("Record-Route"):
                response.headers.add("Record-Route", route)
        for name, value in headers:
            response.headers.add(name, value)
        if body:
            response.set_body(content_type, body)
        if "Server" not in response.headers and "User-Agent" not in response.headers:
            response.headers.add("User-Agent", self._endpoint.user_agent)
        self._last_datagram = response.encode()
        if status < 200:
            self._endpoint.send_datagram(self._last_datagram, self.source)
            return True
        self.final_status = status
        if self._expiry is not None:
            self._expiry.cancel()
        timers = self._endpoint.timers
        # Over TCP only a 2xx is repeated: it goes from end to end, maybe over a stretch that loses it (13.3.1.4).
        if self.request.method == "INVITE" and (status < 300 or not self._endpoint.is_reliable):
            self._repeater = _Repeater(self._endpoint, self._last_datagram, self.source)
            self._repeater.start(longest_seconds=timers.t2_seconds)
        else:
            self._endpoint.send_datagram(self._last_datagram, self.source)
        self._expiry = self._endpoint.loop.call_later(timers.transaction_seconds, self._expire)
        return True

    @property
    def endpoint(self) -> SipEndpoint:
        """Over which the request came; what follows from it goes the same way."""
        return self._endpoint

    async def wait_acknowledged(self) -> bool:
        """True when the ACK of the final answer arrived, False when it did not within 64·T1 or we closed."""
        return await asyncio.shield(self._acknowledged)

    def repeat(self) -> None:
        """The request came again; called by the endpoint."""
        if self._last_datagram is not None:
            self._endpoint.send_datagram(self._last_datagram, self.source)

    def acknowledge(self) -> None:
        """The ACK came; called by the endpoint."""
        if self.final_status is None:
            return
        if self._repeater is not None:
            self._repeater.stop()
        if not self._acknowledged.done():
            self._acknowledged.set_result(True)

    def stop(self) -> None:
        """No more timers; called by the endpoint."""
        if self._repeater is not None:
            self._repeater.stop()
        if self._expiry is not None:
            self._expiry.cancel()
        if not self._acknowledged.done():
            self._acknowledged.set_result(False)

    def _expire(self) -> None:
        self.stop()
        self._endpoint.forget_server(self)
