"""A SIP endpoint over UDP, TCP or TLS: one socket and its transactions.

RFC 3261 section 17, RFC 6026 for 2xx, RFC 3581.

How to use it:

- `SipEndpoint.open(host, port, on_request=...)` binds a socket (port 0: the system chooses; see `.address`); with
  `stream` it connects to that one server instead, with `listening` it takes connections over TCP or TLS.
- `endpoint.send(request, destination)` starts a client transaction; `await
  transaction.final(timeout_seconds=...)` gives the final response. The endpoint writes Via, Max-Forwards and
  User-Agent, retransmits, and sends the ACK of every final answer to an INVITE by itself, also of a 2xx.
  `transaction.cancel()` sends CANCEL as soon as allowed.
- `on_request(transaction)` is called once for each new request other than ACK and CANCEL; it must not block
  and may start tasks. `transaction.respond(status, ...)` answers, also more than once for an INVITE; what is
  sent after a final answer is dropped and `respond` returns False. INVITEs get 100 Trying at once. Final
  answers to an INVITE are repeated until the ACK arrives: `await transaction.wait_acknowledged()`.
- A CANCEL is answered here: 200 to it, 487 to its INVITE, whose `cancelled` event is then set.
- `endpoint.close()` falls silent at once: nothing more is sent and every waiter gets SipTransportError.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
from collections.abc import Callable
from typing import Self, cast

from switch.sip.dialog import Address, new_tag
from switch.sip.errors import SipSyntaxError, SipTransportError, TooManyTransactions
from switch.sip.listener import Listening, StreamListener
from switch.sip.message import Request, Response, parse
from switch.sip.stream import StreamServer, StreamTransport
from switch.sip.transactions import ClientTransaction, ServerTransaction, Timers
from switch.sip.uri import Via, is_ip_address, tag_of

MAX_TRANSACTIONS = 20_000
MAX_SEND_BUFFER_BYTES = 4 * 1024 * 1024
RECEIVE_BUFFER_BYTES = 4 * 1024 * 1024
RETRY_AFTER_SECONDS = 5
BRANCH_COOKIE = "z9hG4bK"
DEFAULT_USER_AGENT = "Seatline"

OnRequest = Callable[[ServerTransaction], None]

_log = logging.getLogger(__name__)


async def resolve(host: str, port: int) -> Address:
    """The IPv4 address of a host name (or the address itself). Raises SipTransportError when it has none."""
    if is_ip_address(host):
        return host, port
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, family=socket.AF_INET, type=socket.SOCK_DGRAM)
    except OSError as error:
        raise SipTransportError(f"host name {host!r} cannot be resolved; check the node's SIP address") from error
    return str(found[0][4][0]), port


class _Protocol(asyncio.DatagramProtocol):
    """Hands datagrams to the endpoint."""

    def __init__(self, endpoint: SipEndpoint) -> None:
        self._endpoint = endpoint

    def datagram_received(self, data: bytes, addr: tuple[str | int, int]) -> None:
        self._endpoint.receive_datagram(data, (str(addr[0]), int(addr[1])))

    def error_received(self, exc: Exception) -> None:
        # UDP: a datagram that could not go is one that was lost; the transaction's timers deal with it.
        self._endpoint.lost_datagrams += 1
        _log.debug("datagram not sent: %s", exc)


class SipEndpoint:
    """One socket with its transactions. Make it with `open`."""

    def __init__(self, *, on_request: OnRequest, timers: Timers, user_agent: str, max_transactions: int) -> None:
        self.loop = asyncio.get_running_loop()
        self.timers = timers
        self.user_agent = user_agent
        self.malformed_datagrams = 0
        self.lost_datagrams = 0
        self._on_request = on_request
        self._max_transactions = max_transactions
        self._transport: asyncio.DatagramTransport | StreamTransport | StreamListener | None = None
        self._via_transport = "UDP"
        self._address: Address = ("", 0)
        self._clients: dict[tuple[str, str], ClientTransaction] = {}
        self._servers: dict[tuple[str, ...], ServerTransaction] = {}
        self._answered: dict[tuple[str, ...], ServerTransaction] = {}

    @classmethod
    async def open(
        cls,
        host: str,
        port: int = 0,
        *,
        on_request: OnRequest,
        timers: Timers | None = None,
        user_agent: str = DEFAULT_USER_AGENT,
        max_transactions: int = MAX_TRANSACTIONS,
        stream: StreamServer | None = None,
        listening: Listening | None = None,
    ) -> Self:
        """Bind a UDP socket at an IP address, connect from it, or listen there; port 0 lets the system choose.

        Raises SipTransportError.
        """
        endpoint = cls(
            on_request=on_request,
            timers=timers or Timers(),
            user_agent=user_agent,
            max_transactions=max_transactions,
        )
        if stream is not None:
            endpoint._via_transport = stream.transport
            connection = await StreamTransport.open(
                stream, (host, port), received=endpoint.receive_datagram, lost=endpoint.close
            )
            return endpoint._opened(connection)
        if listening is not None:
            endpoint._via_transport = listening.transport
            listener = await StreamListener.open(
                listening, (host, port), received=endpoint.receive_datagram, lost=endpoint._lose
            )
            return endpoint._opened(listener)
        try:
            transport, _ = await endpoint.loop.create_datagram_endpoint(
                lambda: _Protocol(endpoint), local_addr=(host, port)
            )
        except OSError as error:
            raise SipTransportError(f"UDP {host}:{port} cannot be bound: {error.strerror}") from error
        # A burst of requests must not be dropped while we are busy with another; the kernel may grant less.
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        return endpoint._opened(transport)

    def _opened(self, transport: asyncio.DatagramTransport | StreamTransport | StreamListener) -> Self:
        self._transport = transport
        name = transport.get_extra_info("sockname")
        self._address = (str(name[0]), int(name[1]))
        return self

    @property
    def address(self) -> Address:
        """Where we listen."""
        return self._address

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called."""
        return self._transport is None

    @property
    def transport(self) -> str:
        """UDP, TCP or TLS."""
        return self._via_transport

    @property
    def is_reliable(self) -> bool:
        """Whether what is sent arrives or its connection is lost, so that no request need be repeated."""
        return self._via_transport != "UDP"

    def close(self) -> None:
        """Fall silent at once; every waiter gets SipTransportError (servers' waiters: not acknowledged)."""
        if self._transport is None:
            return
        self._transport.abort()
        self._transport = None
        for client in tuple(self._clients.values()):
            client.fail(SipTransportError("the SIP endpoint was closed while an answer was awaited"))
        for server in tuple(self._servers.values()):
            server.stop()
        self._clients.clear()
        self._servers.clear()
        self._answered.clear()

    def new_via(self) -> Via:
        """A Via with a branch of its own that asks for rport."""
        host, port = self._address
        return Via(host, port, self._via_transport, {"branch": BRANCH_COOKIE + secrets.token_hex(8), "rport": ""})

    def send(
        self,
        request: Request,
        destination: Address,
        *,
        on_provisional: Callable[[Response], None] | None = None,
    ) -> ClientTransaction:
        """Send a request to an IP address (see `resolve`) and return its transaction.

        The request is completed in place: a new Via on top, Max-Forwards, User-Agent. `on_provisional` is
        called for each answer below 200. Raises SipTransportError when closed, when `destination` is a name, or when
        there is no connection from it, TooManyTransactions.
        """
        if self._transport is None:
            raise SipTransportError("the SIP endpoint is closed; open a new one")
        if not is_ip_address(destination[0]):
            raise SipTransportError(f"{destination[0]!r} is a name, an IP address is needed; use resolve() first")
        if isinstance(self._transport, StreamListener) and not self._transport.reaches(destination):
            host, port = destination
            raise SipTransportError(f"{host}:{port} has no {self._via_transport} connection to us; it must open one")
        if len(self._clients) >= self._max_transactions:
            raise TooManyTransactions(self._max_transactions)
        request.headers.prepend("Via", str(self.new_via()))
        if "Max-Forwards" not in request.headers:
            request.headers.add("Max-Forwards", "70")
        if "User-Agent" not in request.headers:
            request.headers.add("User-Agent", self.user_agent)
        transaction = ClientTransaction(self, request, destination, on_provisional)
        self._clients[transaction.key] = transaction
        return transaction

    async def request(
        self, request: Request, destination: Address, *, timeout_seconds: float | None = None
    ) -> Response:
        """Send a request and wait for its final answer; errors as `send` and `ClientTransaction.final`."""
        return await self.send(request, destination).final(timeout_seconds=timeout_seconds)

    def send_as_is(self, request: Request, destination: Address) -> ClientTransaction:
        """Send a request that has its Via already (a CANCEL) as a transaction of its own."""
        transaction = ClientTransaction(self, request, destination, None)
        self._clients[transaction.key] = transaction
        return transaction

    def send_datagram(self, datagram: bytes, destination: Address) -> None:
        """Put bytes on the wire; when the socket's buffer is full the datagram is lost, as UDP may."""
        if self._transport is None:
            return
        # Every writing transport of asyncio has this method, but the type stubs name it on streams only.
        waiting_bytes = cast("StreamTransport", self._transport).get_write_buffer_size()
        if waiting_bytes > MAX_SEND_BUFFER_BYTES:
            self.lost_datagrams += 1
            return
        self._transport.sendto(datagram, destination)

    def forget_client(self, transaction: ClientTransaction) -> None:
        """A client transaction is over; called by it."""
        self._clients.pop(transaction.key, None)

    def forget_server(self, transaction: ServerTransaction) -> None:
        """A server transaction is over; called by it."""
        self._servers.pop(transaction.key, None)
        if transaction.request.method == "INVITE":
            self._answered.pop(_acknowledgement_key(transaction.request, transaction.to_tag), None)

    def _lose(self, peer: Address) -> None:
        """A connection that was opened to us is gone, and with it every answer that was to come over it."""
        for client in tuple(self._clients.values()):
            if client.destination == peer:
                client.fail(SipTransportError(f"{peer[0]}:{peer[1]} hung up while its answer was awaited"))
                self.forget_client(client)

    def receive_datagram(self, datagram: bytes, source: Address) -> None:
        """One datagram from the socket. What is not SIP is counted in `malformed_datagrams` and dropped."""
        if not datagram.strip(b"\r\n\0 "):
            return  # a keep-alive (RFC 5626 3.5.1)
        try:
            message = parse(datagram)
            if isinstance(message, Response):
                self._receive_response(message)
            else:
                self._receive_request(message, source)
        except SipSyntaxError as error:
            self.malformed_datagrams += 1
            _log.debug("datagram from %s:%d dropped: %s", source[0], source[1], error)

    def _receive_response(self, response: Response) -> None:
        transaction = self._clients.get((response.top_via.branch, response.sequence[1]))
        if transaction is not None:
            transaction.receive(response)

    def _receive_request(self, request: Request, source: Address) -> None:
        via = request.top_via.received_from(*source)
        vias = request.headers.all("Via")
        request.headers.set("Via", ", ".join([str(via), *vias[1:]]))
        _check_mandatory(request)
        if request.method == "ACK":
            self._receive_acknowledgement(request, via)
            return
        key = _server_key(request, via, request.method)
        known = self._servers.get(key)
        if known is not None:
            known.repeat()
            return
        if len(self._servers) >= self._max_transactions:
            response = Response.to_request(request, 503, to_tag=new_tag())
            response.headers.add("Retry-After", str(RETRY_AFTER_SECONDS))
            self.send_datagram(response.encode(), source)
            return
        transaction = ServerTransaction(self, request, source, key)
        self._servers[key] = transaction
        if request.method == "CANCEL":
            self._receive_cancel(transaction, via)
            return
        if request.method == "INVITE":
            self._answered[_acknowledgement_key(request, transaction.to_tag)] = transaction
            transaction.respond(100)
        self._hand_over(transaction)

    def _hand_over(self, transaction: ServerTransaction) -> None:
        try:
            self._on_request(transaction)
        except SipSyntaxError as error:
            transaction.respond(400, "Bad Request")
            _log.debug("request refused: %s", error)
        except Exception:
            # The owner's mistake must not leave the other side without an answer.
            _log.exception("request %s could not be carried out", transaction.request.method)
            transaction.respond(500)

    def _receive_cancel(self, cancel: ServerTransaction, via: Via) -> None:
        invite = self._servers.get(_server_key(cancel.request, via, "INVITE"))
        if invite is None:
            cancel.respond(481)
            return
        cancel.to_tag = invite.to_tag
        cancel.respond(200)
        if invite.respond(487):
            invite.cancelled.set()

    def _receive_acknowledgement(self, request: Request, via: Via) -> None:
        transaction = self._servers.get(_server_key(request, via, "INVITE"))
        if transaction is None:
            # The ACK of a 2xx is a transaction of its own: it is known by its dialog and number.
            transaction = self._answered.get(_acknowledgement_key(request, tag_of(request.header("To"))))
        if transaction is not None:
            transaction.acknowledge()


def _check_mandatory(request: Request) -> None:
    """Raise SipSyntaxError unless the headers every request needs are there and readable (RFC 3261 8.1.1)."""
    for name in ("From", "To", "Call-ID"):
        request.header(name)
    if request.sequence[1] != request.method:
        raise SipSyntaxError(f"CSeq names {request.sequence[1]} but the request is {request.method}")


def _server_key(request: Request, via: Via, method: str) -> tuple[str, ...]:
    """What identifies a server transaction (RFC 3261 17.2.3); old clients without the cookie by their
    headers.
    """
    if via.branch.startswith(BRANCH_COOKIE):
        return via.branch, via.host, str(via.port), method
    return request.call_id, str(request.sequence[0]), tag_of(request.header("From")), request.uri, method


def _acknowledgement_key(request: Request, to_tag: str) -> tuple[str, ...]:
    return request.call_id, str(request.sequence[0]), tag_of(request.header("From")), to_tag
