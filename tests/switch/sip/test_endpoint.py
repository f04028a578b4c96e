"""Transactions over real UDP sockets: loss, repetition, cancellation, and what is not SIP."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable

import pytest

from switch.sip.dialog import Address
from switch.sip.endpoint import SipEndpoint, resolve
from switch.sip.errors import SipSyntaxError, SipTimeout, SipTransportError, TooManyTransactions
from switch.sip.message import Headers, Request, Response, parse
from switch.sip.transactions import ServerTransaction, Timers

PATIENT = Timers(t1_seconds=0.1, t2_seconds=0.8, t4_seconds=1.0)
"""Five times faster than the protocol says: a lost datagram costs little, a busy machine nothing."""
HASTY = Timers(t1_seconds=0.01, t2_seconds=0.04, t4_seconds=0.05)
"""For tests that wait for the end: an unanswered transaction is given up after 0.64 s."""


def request_of(method: str, *, number: int = 1, call_id: str = "call-1") -> Request:
    headers = Headers(
        [
            ("From", "<sip:1001@ten.example>;tag=caller"),
            ("To", "<sip:1002@ten.example>"),
            ("Call-ID", call_id),
            ("CSeq", f"{number} {method}"),
            ("Contact", "<sip:1001@127.0.0.1:5999>"),
        ]
    )
    return Request(headers, method=method, uri="sip:1002@ten.example")


class Wire(asyncio.DatagramProtocol):
    """A bare socket: keeps what comes, sends what the test wants."""

    def __init__(self) -> None:
        self.received: asyncio.Queue[tuple[bytes, Address]] = asyncio.Queue()
        self.transport: asyncio.DatagramTransport | None = None

    @classmethod
    async def open(cls) -> Wire:
        loop = asyncio.get_running_loop()
        transport, wire = await loop.create_datagram_endpoint(cls, local_addr=("127.0.0.1", 0))
        wire.transport = transport
        return wire

    @property
    def address(self) -> Address:
        assert self.transport is not None
        host, port = self.transport.get_extra_info("sockname")
        return str(host), int(port)

    def datagram_received(self, data: bytes, addr: Address) -> None:
        self.received.put_nowait((data, addr))

    def send(self, data: bytes, to: Address) -> None:
        assert self.transport is not None
        self.transport.sendto(data, to)

    async def next(self) -> tuple[Request | Response, Address]:
        async with asyncio.timeout(5):
            data, source = await self.received.get()
        return parse(data), source

    async def next_request(self, method: str) -> Request:
        while True:
            message, _ = await self.next()
            if isinstance(message, Request) and message.method == method:
                return message

    async def next_response(self, status: int) -> Response:
        while True:
            message, _ = await self.next()
            if isinstance(message, Response) and message.status == status:
                return message


class Sockets:
    """Opens endpoints and bare sockets, and closes them all."""

    def __init__(self) -> None:
        self.endpoints: list[SipEndpoint] = []
        self.wires: list[Wire] = []

    async def endpoint(
        self,
        on_request: Callable[[ServerTransaction], None] = lambda _: None,
        *,
        max_transactions: int = 100,
        timers: Timers = PATIENT,
    ) -> SipEndpoint:
        endpoint = await SipEndpoint.open(
            "127.0.0.1", on_request=on_request, timers=timers, max_transactions=max_transactions
        )
        self.endpoints.append(endpoint)
        return endpoint

    async def wire(self) -> Wire:
        self.wires.append(await Wire.open())
        return self.wires[-1]

    def close(self) -> None:
        for endpoint in self.endpoints:
            endpoint.close()
        for wire in self.wires:
            assert wire.transport is not None
            wire.transport.abort()


@pytest.fixture
async def sockets() -> AsyncIterator[Sockets]:
    opened = Sockets()
    yield opened
    opened.close()


async def test_a_request_is_answered(sockets: Sockets) -> None:
    server = await sockets.endpoint(lambda transaction: void(transaction.respond(200)))
    client = await sockets.endpoint()
    response = await client.request(request_of("OPTIONS"), server.address, timeout_seconds=5)
    assert response.status == 200
    assert response.to_address.tag
    assert response.top_via.parameters["rport"] == str(client.address[1])


def void(_: object) -> None:
    """For callbacks whose result nobody wants."""


async def test_a_lost_request_is_sent_again_until_answered(sockets: Sockets) -> None:
    wire, client = await sockets.wire(), await sockets.endpoint()
    transaction = client.send(request_of("OPTIONS"), wire.address)
    first = await wire.next_request("OPTIONS")
    second = await wire.next_request("OPTIONS")
    assert first.top_via.branch == second.top_via.branch
    wire.send(Response.to_request(second, 200).encode(), client.address)
    assert (await transaction.final(timeout_seconds=5)).status == 200


async def test_silence_ends_after_64_t1(sockets: Sockets) -> None:
    wire, client = await sockets.wire(), await sockets.endpoint(timers=HASTY)
    with pytest.raises(SipTimeout, match="OPTIONS"):
        await client.request(request_of("OPTIONS"), wire.address)
    with pytest.raises(SipTimeout):
        await client.request(request_of("OPTIONS"), wire.address, timeout_seconds=0.01)


async def test_a_repeated_request_reaches_the_owner_once_and_gets_the_same_answer(sockets: Sockets) -> None:
    seen: list[ServerTransaction] = []
    marked = asyncio.Event()

    def note(transaction: ServerTransaction) -> None:
        seen.append(transaction)
        if transaction.request.sequence[0] == 2:
            marked.set()

    server, wire = await sockets.endpoint(note), await sockets.wire()
    request = request_of("OPTIONS")
    request.headers.prepend("Via", f"SIP/2.0/UDP 127.0.0.1:{wire.address[1]};branch=z9hG4bKsame")
    wire.send(request.encode(), server.address)
    wire.send(request.encode(), server.address)
    wire.send(b"\r\n\r\n", server.address)
    marker = request_of("OPTIONS", number=2)
    marker.headers.prepend("Via", f"SIP/2.0/UDP 127.0.0.1:{wire.address[1]};branch=z9hG4bKmarker")
    wire.send(marker.encode(), server.address)
    async with asyncio.timeout(5):
        await marked.wait()
    assert len(seen) == 2
    assert seen[0].respond(200)
    assert not seen[0].respond(404)
    first = await wire.next_response(200)
    wire.send(request.encode(), server.address)
    assert (await wire.next_response(200)).encode() == first.encode()
    assert len(seen) == 2


async def test_an_answered_invite_is_acknowledged_and_its_answer_not_repeated(sockets: Sockets) -> None:
    seen: list[ServerTransaction] = []
    server, client = await sockets.endpoint(seen.append), await sockets.endpoint()
    seen_contact = [("Contact", f"<sip:1002@127.0.0.1:{server.address[1]}>")]
    transaction = client.send(
        request_of("INVITE"),
        server.address,
        on_provisional=lambda _: void(seen[0].respond(200, headers=seen_contact)),
    )
    assert (await transaction.final(timeout_seconds=5)).status == 200
    async with asyncio.timeout(5):
        assert await seen[0].wait_acknowledged()


async def test_a_refused_invite_is_acknowledged_too(sockets: Sockets) -> None:
    seen: list[ServerTransaction] = []

    def refuse(transaction: ServerTransaction) -> None:
        seen.append(transaction)
        transaction.respond(486)

    server, client = await sockets.endpoint(refuse), await sockets.endpoint()
    assert (await client.request(request_of("INVITE"), server.address, timeout_seconds=5)).status == 486
    async with asyncio.timeout(5):
        assert await seen[0].wait_acknowledged()


async def test_an_answer_nobody_acknowledges_is_repeated_then_given_up(sockets: Sockets) -> None:
    seen: list[ServerTransaction] = []

    def accept(transaction: ServerTransaction) -> None:
        seen.append(transaction)
        transaction.respond(200)

    server, wire = await sockets.endpoint(accept, timers=HASTY), await sockets.wire()
    request = request_of("INVITE")
    request.headers.prepend("Via", f"SIP/2.0/UDP 127.0.0.1:{wire.address[1]};branch=z9hG4bKlonely")
    wire.send(request.encode(), server.address)
    for _ in range(3):
        await wire.next_response(200)
    async with asyncio.timeout(5):
        assert not await seen[0].wait_acknowledged()


async def test_a_repeated_answer_is_acknowledged_again(sockets: Sockets) -> None:
    wire, client = await sockets.wire(), await sockets.endpoint()
    transaction = client.send(request_of("INVITE"), wire.address)
    invite = await wire.next_request("INVITE")
    response = Response.to_request(invite, 200, to_tag="called")
    response.headers.add("Contact", f"<sip:1002@127.0.0.1:{wire.address[1]}>")
    for _ in range(2):
        wire.send(response.encode(), client.address)
        acknowledgement = await wire.next_request("ACK")
        assert acknowledgement.to_address.tag == "called"
        assert acknowledgement.uri == f"sip:1002@127.0.0.1:{wire.address[1]}"
    assert (await transaction.final(timeout_seconds=5)).status == 200


async def test_a_withdrawn_invite_ends_with_487_on_both_sides(sockets: Sockets) -> None:
    seen: list[ServerTransaction] = []
    server, client = await sockets.endpoint(seen.append), await sockets.endpoint()
    transaction = client.send(request_of("INVITE"), server.address)
    transaction.cancel()  # before any answer: it must wait for the 100
    assert (await transaction.final(timeout_seconds=5)).status == 487
    async with asyncio.timeout(5):
        await seen[0].cancelled.wait()
    assert not seen[0].respond(200)


async def test_a_cancel_for_nothing_is_told_so(sockets: Sockets) -> None:
    server, client = await sockets.endpoint(), await sockets.endpoint()
    assert (await client.request(request_of("CANCEL"), server.address, timeout_seconds=5)).status == 481


async def test_too_much_at_once_is_refused_not_hoarded(sockets: Sockets) -> None:
    server = await sockets.endpoint(max_transactions=2)
    client = await sockets.endpoint(max_transactions=4, timers=HASTY)
    waiting = [client.send(request_of("OPTIONS", call_id=f"call-{number}"), server.address) for number in range(4)]
    with pytest.raises(TooManyTransactions):
        client.send(request_of("OPTIONS"), server.address)
    results = await asyncio.gather(
        *(transaction.final(timeout_seconds=5) for transaction in waiting), return_exceptions=True
    )
    statuses = [result.status for result in results if isinstance(result, Response)]
    assert statuses == [503, 503]
    assert sum(isinstance(result, SipTimeout) for result in results) == 2


async def test_what_is_not_sip_is_counted_and_dropped(sockets: Sockets) -> None:
    server = await sockets.endpoint(lambda transaction: void(transaction.respond(200)))
    client, wire = await sockets.endpoint(), await sockets.wire()
    for datagram in (b"hello", b"\xff" * 500, b"OPTIONS sip:a@b SIP/2.0\r\n\r\n", b"SIP/2.0 200 OK\r\n\r\n"):
        wire.send(datagram, server.address)
    assert (await client.request(request_of("OPTIONS"), server.address, timeout_seconds=5)).status == 200
    assert server.malformed_datagrams == 4


async def test_an_owner_that_fails_still_leaves_an_answer(sockets: Sockets, caplog: pytest.LogCaptureFixture) -> None:
    def fail(transaction: ServerTransaction) -> None:
        raise KeyError(transaction.request.method)

    server, client = await sockets.endpoint(fail), await sockets.endpoint()
    assert (await client.request(request_of("OPTIONS"), server.address, timeout_seconds=5)).status == 500
    assert "could not be carried out" in caplog.text


async def test_an_answer_that_cannot_be_acknowledged_is_an_error_not_a_wait(sockets: Sockets) -> None:
    wire, client = await sockets.wire(), await sockets.endpoint()
    transaction = client.send(request_of("INVITE"), wire.address)
    response = Response.to_request(await wire.next_request("INVITE"), 200, to_tag="called")
    response.headers.add("Contact", "<nonsense>")
    wire.send(response.encode(), client.address)
    with pytest.raises(SipSyntaxError):
        await transaction.final(timeout_seconds=5)


async def test_damaged_datagrams_neither_raise_nor_pile_up(sockets: Sockets) -> None:
    server = await sockets.endpoint(lambda transaction: void(transaction.respond(486)), max_transactions=50)
    client, wire = await sockets.endpoint(), await sockets.wire()
    chance = random.Random(20260601)  # noqa: S311 - damage, not a secret
    for number in range(2_000):
        request = request_of(chance.choice(["INVITE", "ACK", "CANCEL", "BYE"]), call_id=f"call-{number}")
        request.headers.prepend("Via", f"SIP/2.0/UDP 127.0.0.1:{wire.address[1]};branch=z9hG4bK{number}")
        datagram = bytearray(request.encode())
        for _ in range(chance.randint(1, 6)):
            datagram[chance.randrange(len(datagram))] = chance.randrange(256)
        server.receive_datagram(bytes(datagram), wire.address)
    # Full of transactions that nobody acknowledges it says 503, else its owner answers: it still lives.
    ping = await client.request(request_of("OPTIONS"), server.address, timeout_seconds=5)
    assert ping.status in (486, 503)
    assert server.malformed_datagrams > 100


async def test_closing_wakes_every_waiter(sockets: Sockets) -> None:
    wire, client = await sockets.wire(), await sockets.endpoint()
    waiting = asyncio.create_task(client.request(request_of("OPTIONS"), wire.address))
    await wire.next_request("OPTIONS")
    client.close()
    with pytest.raises(SipTransportError, match="closed"):
        await waiting
    with pytest.raises(SipTransportError):
        client.send(request_of("OPTIONS"), wire.address)


async def test_a_port_in_use_and_a_name_without_address_are_told(sockets: Sockets) -> None:
    endpoint = await sockets.endpoint()
    with pytest.raises(SipTransportError, match="cannot be bound"):
        await SipEndpoint.open("127.0.0.1", endpoint.address[1], on_request=void)
    with pytest.raises(SipTransportError, match="resolve"):
        endpoint.send(request_of("OPTIONS"), ("ten.example", 5060))
    assert await resolve("127.0.0.1", 5060) == ("127.0.0.1", 5060)
