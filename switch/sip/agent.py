"""What phones and carriers have in common: a socket, calls in both directions, and answers to everything
else.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
from collections import deque
from collections.abc import Coroutine
from types import TracebackType
from typing import Self

from switch.sip import policy as policies
from switch.sip import sdp
from switch.sip.authentication import MAX_ATTEMPTS, DigestUser
from switch.sip.call import BYE_TIMEOUT_SECONDS, Call
from switch.sip.dialog import Address, Dialog, dialog_key, new_call_id, new_tag
from switch.sip.endpoint import DEFAULT_USER_AGENT, SipEndpoint
from switch.sip.errors import CallRefused, SipError, SipSyntaxError, SipTransportError, WaitExceeded
from switch.sip.media import MediaPort
from switch.sip.message import Headers, Request, Response
from switch.sip.policy import Policy
from switch.sip.stream import StreamServer
from switch.sip.transactions import ServerTransaction, Timers
from switch.sip.uri import NameAddress, SipUri, tag_of

MAX_CALLS = 1_000
MAX_CALLS_REMEMBERED = 1_000
ALLOWED_METHODS = "INVITE, ACK, CANCEL, BYE, OPTIONS, NOTIFY, INFO, UPDATE"

_log = logging.getLogger(__name__)


def local_host_towards(server: Address) -> str:
    """The address this machine would use to reach a server. Nothing is sent. Raises SipTransportError."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(server)
        except OSError as error:
            raise SipTransportError(f"there is no route to {server[0]}: {error.strerror}") from error
        return str(probe.getsockname()[0])


class UserAgent:
    """Base of `Phone` and `Carrier`. Use it as an asynchronous context manager or call `start` and `close`.

    `policy` says what happens to incoming calls and may be replaced at any time.
    """

    def __init__(
        self,
        *,
        local_host: str,
        local_port: int = 0,
        policy: Policy | None = None,
        digest_user: DigestUser | None = None,
        timers: Timers | None = None,
        user_agent: str = DEFAULT_USER_AGENT,
        encrypts: bool = False,
    ) -> None:
        self.policy = policy or policies.answers()
        self.digest_user = digest_user
        self._local: Address = (local_host, local_port)
        self._timers = timers or Timers()
        self._user_agent = user_agent
        self._encrypts = encrypts
        self._stream: StreamServer | None = None
        self._endpoint: SipEndpoint | None = None
        self._media: asyncio.DatagramTransport | None = None
        self._media_port = MediaPort()
        self._calls: dict[str, Call] = {}
        self._arrived: deque[Call] = deque(maxlen=MAX_CALLS_REMEMBERED)
        self._arrival = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._media_versions = 0
        self._session_id = secrets.randbelow(2**31)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def endpoint(self) -> SipEndpoint:
        """The socket. Raises SipTransportError before `start` and after the end."""
        if self._endpoint is None:
            raise SipTransportError(f"{self!r} is not started")
        return self._endpoint

    @property
    def address(self) -> Address:
        """Where we listen for SIP."""
        return self.endpoint.address

    @property
    def calls(self) -> tuple[Call, ...]:
        """The calls that are not over."""
        return tuple(self._calls.values())

    @property
    def media_packets(self) -> int:
        """How many media packets arrived so far."""
        return self._media_port.packets

    async def heard_keys(self, count: int, *, timeout_seconds: float) -> str:
        """The keys that were pressed at the other ends of our calls, once there are so many. Raises WaitExceeded."""
        try:
            async with asyncio.timeout(timeout_seconds):
                return await self._media_port.wait_keys(count)
        except TimeoutError:
            raise WaitExceeded(f"{count} keys (heard: {self._media_port.keys!r})", timeout_seconds) from None

    async def press(self, destination: Address, key: str) -> None:
        """Press one key towards a media address. Raises `CallRefused` for what is no key, SipTransportError."""
        if self._media is None:
            raise SipTransportError(f"{self!r} is not started")
        await self._media_port.press(self._media, destination, key)

    async def start(self) -> None:
        """Open the sockets; nothing happens when they are open. Raises SipTransportError."""
        if self._endpoint is not None:
            return
        host, port = self._local
        endpoint = await SipEndpoint.open(
            host,
            port,
            on_request=self._receive,
            timers=self._timers,
            user_agent=self._user_agent,
            stream=self._stream,
        )
        try:
            media, _ = await endpoint.loop.create_datagram_endpoint(lambda: self._media_port, local_addr=(host, 0))
        except OSError as error:
            endpoint.close()
            raise SipTransportError(f"no media port can be bound at {host}: {error.strerror}") from error
        self._endpoint, self._media = endpoint, media

    async def close(self) -> None:
        """Hang up what runs, then close the sockets."""
        if self._endpoint is None:
            return
        await asyncio.gather(*(call.hangup() for call in self.calls))
        self.vanish()

    def vanish(self) -> None:
        """Be gone as if the power had failed: sockets closed, nobody told."""
        endpoint, media = self._endpoint, self._media
        self._endpoint = self._media = None
        for task in tuple(self._tasks):
            task.cancel()
        for call in self.calls:
            call.vanish()
        if endpoint is not None:
            endpoint.close()
        if media is not None:
            media.abort()

    async def next_call(self, timeout_seconds: float) -> Call:
        """The oldest incoming call not yet asked for. Raises WaitExceeded."""
        try:
            async with asyncio.timeout(timeout_seconds):
                while not self._arrived:
                    self._arrival.clear()
                    await self._arrival.wait()
        except TimeoutError:
            raise WaitExceeded("an incoming call", timeout_seconds) from None
        return self._arrived.popleft()

    def contact(self) -> str:
        """Our Contact value."""
        host, port = self.address
        parameters = {} if self._stream is None else {"transport": self._stream.transport.lower()}
        return str(NameAddress(SipUri(host, self._contact_user(), port, parameters=parameters)))

    def own_headers(self) -> list[tuple[str, str]]:
        """Contact and Allow, for answers and INVITEs."""
        return [("Contact", self.contact()), ("Allow", ALLOWED_METHODS)]

    def describe_media(self, offer: sdp.Audio | None, *, direction: sdp.Direction = "sendrecv") -> bytes:
        """Our session description: an answer to an offer, or an offer with this direction.

        Raises SipSyntaxError when no codec fits.
        """
        if self._media is None:
            raise SipTransportError(f"{self!r} is not started")
        host, port = self._media.get_extra_info("sockname")[:2]
        self._media_versions += 1
        return sdp.describe(
            host,
            port,
            session_id=self._session_id,
            version=self._media_versions,
            direction=direction,
            answer_to=offer,
            encrypts=self._encrypts,
        )

    def place(self, target: SipUri, caller: NameAddress, destination: Address) -> Call:
        """Start an outgoing call and return it at once; `destination` is an IP address and port."""
        if len(self._calls) >= MAX_CALLS:
            raise CallRefused(f"{self!r} already has {MAX_CALLS} calls; end some first")
        request = Request(headers=Headers(self.own_headers()), method="INVITE", uri=str(target))
        request.headers.add("From", str(caller.with_tag(new_tag())))
        request.headers.add("To", str(NameAddress(target)))
        request.headers.add("Call-ID", new_call_id())
        request.headers.add("CSeq", "1 INVITE")
        request.set_body(sdp.CONTENT_TYPE, self.describe_media(None))
        call = Call(self, incoming=False, call_id=request.call_id, remote=str(target))
        self._calls[call.call_id] = call
        self._run(call.run_outgoing(request, destination))
        return call

    async def say_goodbye(self, dialog: Dialog) -> bool:
        """BYE, and whether it was confirmed; that nobody answers it changes nothing, the call is over for us."""
        try:
            answer = await self.ask(
                dialog.create_request("BYE"), dialog.destination, timeout_seconds=BYE_TIMEOUT_SECONDS
            )
        except SipError as error:
            _log.debug("%r: BYE: %s", self, error)
            return False
        return answer.status < 300

    async def ask(self, request: Request, destination: Address, *, timeout_seconds: float) -> Response:
        """Send a request, with credentials when challenged, and return the final answer.

        `timeout_seconds` is for the whole exchange. Raises SipTimeout, SipTransportError,
        AuthenticationImpossible.
        """
        deadline = self.endpoint.loop.time() + timeout_seconds
        attempt = 1
        while True:
            left_seconds = max(0.0, deadline - self.endpoint.loop.time())
            response = await self.endpoint.request(request, destination, timeout_seconds=left_seconds)
            again = self.digest_user.authorize(request, response) if self.digest_user is not None else None
            if again is None or attempt == MAX_ATTEMPTS:
                return response
            request = again
            attempt += 1

    def forget(self, call: Call) -> None:
        """A call is over; called by it."""
        self._calls.pop(call.call_id, None)

    def policy_for(self, request: Request) -> Policy:
        """What to do with an incoming INVITE; subclasses may look at the number."""
        return self.policy

    def _contact_user(self) -> str:
        return "seatline"

    def _run(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._task_done)

    def _task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("%r: a call failed", self, exc_info=error)

    def _receive(self, transaction: ServerTransaction) -> None:
        request = transaction.request
        if tag_of(request.header("To")):
            self._receive_inside(transaction)
        elif request.method == "INVITE":
            self._receive_invite(transaction)
        elif request.method in ("OPTIONS", "NOTIFY"):
            transaction.respond(200, headers=self.own_headers())
        else:
            self._refuse_method(transaction)

    def _receive_invite(self, transaction: ServerTransaction) -> None:
        request = transaction.request
        if request.call_id in self._calls:
            transaction.respond(482)
            return
        if len(self._calls) >= MAX_CALLS:
            transaction.respond(503)
            return
        if not request.headers.all("Contact"):
            raise SipSyntaxError("the INVITE has no Contact header, which is mandatory")
        call = Call(self, incoming=True, call_id=request.call_id, remote=str(request.from_address.uri))
        self._calls[call.call_id] = call
        self._arrived.append(call)
        self._arrival.set()
        self._run(call.run_incoming(transaction, self.policy_for(request)))

    def _receive_inside(self, transaction: ServerTransaction) -> None:
        """A request with a To tag: it must belong to one of our calls (RFC 3261 12.2.2)."""
        request = transaction.request
        call = self._calls.get(request.call_id)
        dialog = call.current_dialog() if call is not None else None
        if request.method in ("OPTIONS", "NOTIFY"):
            transaction.respond(200, headers=self.own_headers())
        elif call is None or dialog is None or dialog_key(request) != dialog.key:
            transaction.respond(481)
        elif request.sequence[0] <= dialog.remote_sequence:
            transaction.respond(500, "CSeq Out Of Order")
        else:
            dialog.remote_sequence = request.sequence[0]
            self._receive_in_dialog(transaction, call)

    def _receive_in_dialog(self, transaction: ServerTransaction, call: Call) -> None:
        method = transaction.request.method
        if method == "BYE":
            transaction.respond(200)
            call.receive_bye(transaction.request)
        elif method in ("INVITE", "UPDATE"):
            self._receive_new_offer(transaction)
        elif method == "INFO":
            transaction.respond(200)
        else:
            self._refuse_method(transaction)

    def _receive_new_offer(self, transaction: ServerTransaction) -> None:
        body = transaction.request.body
        if not body and transaction.request.method == "UPDATE":
            transaction.respond(200, headers=self.own_headers())
            return
        try:
            answer = self.describe_media(sdp.Audio.parse(body) if body else None)
        except SipSyntaxError:
            transaction.respond(488)
            return
        transaction.respond(200, headers=self.own_headers(), content_type=sdp.CONTENT_TYPE, body=answer)

    def _refuse_method(self, transaction: ServerTransaction) -> None:
        transaction.respond(405, headers=[("Allow", ALLOWED_METHODS)])
