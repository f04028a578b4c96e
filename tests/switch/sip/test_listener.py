"""SIP over TCP and TLS from the side that listens: connections used both ways, lost, misused, and too many."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from switch import node_certificates
from switch.sip import listener
from switch.sip.dialog import Address
from switch.sip.endpoint import OnRequest, SipEndpoint
from switch.sip.errors import SipTransportError
from switch.sip.listener import Listening
from switch.sip.message import Headers, Request
from switch.sip.stream import StreamServer
from switch.sip.transactions import ServerTransaction, Timers

TIMERS = Timers(t1_seconds=0.1, t2_seconds=0.8, t4_seconds=1.0)
LIMIT_SECONDS = 5.0


def request_of(method: str, *, call_id: str = "call-1") -> Request:
    headers = Headers(
        [
            ("From", "<sip:1001@ten.example>;tag=caller"),
            ("To", "<sip:1002@ten.example>"),
            ("Call-ID", call_id),
            ("CSeq", f"1 {method}"),
            ("Contact", "<sip:1001@127.0.0.1:5999>"),
        ]
    )
    return Request(headers, method=method, uri="sip:1002@ten.example")


def agreeing(transaction: ServerTransaction) -> None:
    transaction.respond(200)


@dataclass
class Place:
    """Where the listening side is, and what its callers need to trust it."""

    endpoint: SipEndpoint
    seen: list[ServerTransaction]
    trusting: ssl.SSLContext | None = None
    callers: list[SipEndpoint] = field(default_factory=list[SipEndpoint])

    async def caller(self, on_request: OnRequest = agreeing) -> SipEndpoint:
        """Somebody who connects."""
        server = StreamServer(self.endpoint.address, self.trusting)
        caller = await SipEndpoint.open("127.0.0.1", on_request=on_request, timers=TIMERS, stream=server)
        self.callers.append(caller)
        return caller

    async def raw(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Somebody who connects and may send anything."""
        return await asyncio.open_connection(*self.endpoint.address)

    def close(self) -> None:
        for endpoint in (*self.callers, self.endpoint):
            endpoint.close()


async def place_of(listening: Listening, trusting: ssl.SSLContext | None = None) -> Place:
    seen: list[ServerTransaction] = []

    def receive(transaction: ServerTransaction) -> None:
        seen.append(transaction)
        transaction.respond(200)

    endpoint = await SipEndpoint.open("127.0.0.1", on_request=receive, timers=TIMERS, listening=listening)
    return Place(endpoint, seen, trusting)


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    """Over TCP."""
    place = await place_of(Listening())
    yield place
    place.close()


@pytest.fixture
async def place_over_tls(tmp_path: Path) -> AsyncIterator[Place]:
    """Over TLS."""
    files = node_certificates.make_for_development(tmp_path, host="127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate)
    place = await place_of(Listening(context), ssl.create_default_context(cafile=str(files.authority)))
    yield place
    place.close()


async def asks_and_is_asked(place: Place, transport: str) -> None:
    asked: list[ServerTransaction] = []

    def note(transaction: ServerTransaction) -> None:
        asked.append(transaction)
        transaction.respond(200)

    caller = await place.caller(note)
    response = await caller.request(request_of("OPTIONS"), place.endpoint.address, timeout_seconds=LIMIT_SECONDS)
    assert (response.status, response.top_via.transport) == (200, transport)
    assert place.seen[0].source == caller.address
    back = await place.endpoint.request(request_of("NOTIFY"), caller.address, timeout_seconds=LIMIT_SECONDS)
    assert (back.status, asked[0].request.method) == (200, "NOTIFY")
    assert (place.endpoint.transport, place.seen[0].endpoint) == (transport, place.endpoint)


async def test_a_caller_over_tcp_is_reached_by_the_connection_that_it_opened(place: Place) -> None:
    await asks_and_is_asked(place, "TCP")


async def test_a_caller_over_tls_is_reached_by_the_connection_that_it_opened(place_over_tls: Place) -> None:
    await asks_and_is_asked(place_over_tls, "TLS")


async def test_who_has_no_connection_to_us_cannot_be_reached(place: Place) -> None:
    with pytest.raises(SipTransportError, match="no TCP connection"):
        place.endpoint.send(request_of("OPTIONS"), ("127.0.0.1", 9))


async def test_whoever_hangs_up_ends_the_wait_for_its_answer_and_no_other(place: Place) -> None:
    asked = asyncio.Event()

    def silent(_: ServerTransaction) -> None:
        asked.set()

    leaving, staying = await place.caller(silent), await place.caller()
    for caller in (leaving, staying):
        await caller.request(request_of("OPTIONS"), place.endpoint.address, timeout_seconds=LIMIT_SECONDS)
    waiting = asyncio.create_task(place.endpoint.request(request_of("NOTIFY"), leaving.address))
    async with asyncio.timeout(LIMIT_SECONDS):
        await asked.wait()
        leaving.close()
        with pytest.raises(SipTransportError, match="hung up"):
            await waiting
    answer = await place.endpoint.request(request_of("NOTIFY"), staying.address, timeout_seconds=LIMIT_SECONDS)
    assert answer.status == 200


async def test_messages_are_cut_out_of_the_stream_wherever_it_breaks(place: Place) -> None:
    reader, writer = await place.raw()
    one, other = (_with_via(request_of("OPTIONS", call_id=name), name) for name in ("one", "other"))
    stream = b"\r\n\r\n" + one + other
    for start in range(0, len(stream), 7):
        writer.write(stream[start : start + 7])
        await writer.drain()
    async with asyncio.timeout(LIMIT_SECONDS):
        for name in ("one", "other"):
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"SIP/2.0 200 ")
            assert f"Call-ID: {name}\r\n".encode() in head
    writer.close()


@pytest.mark.parametrize(
    "garbage",
    [
        b"x" * 200_000,
        b"OPTIONS sip:a@b SIP/2.0\r\nContent-Length: 999999\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 100_000,
    ],
    ids=["no end", "too long", "TLS where there is none"],
)
async def test_who_sends_what_is_no_sip_is_hung_up_on(place: Place, garbage: bytes) -> None:
    reader, writer = await place.raw()
    writer.write(garbage)
    async with asyncio.timeout(LIMIT_SECONDS):
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)
    writer.close()
    await asks_and_is_asked(place, "TCP")


async def test_who_never_agrees_on_tls_is_no_connection(place_over_tls: Place) -> None:
    reader, writer = await place_over_tls.raw()
    writer.write(_with_via(request_of("OPTIONS"), "plain"))
    async with asyncio.timeout(LIMIT_SECONDS):
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(1_000)
    writer.close()
    await asks_and_is_asked(place_over_tls, "TLS")
    assert len(place_over_tls.seen) == 1


async def test_who_does_not_read_is_hung_up_on(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "MAX_UNSENT_BYTES", 1_000)
    reader, writer = await place.raw()
    writer.write(_with_via(request_of("OPTIONS"), "first"))
    async with asyncio.timeout(LIMIT_SECONDS):
        await reader.readuntil(b"\r\n\r\n")
    address: Address = writer.get_extra_info("sockname")
    with pytest.raises(SipTransportError, match="no TCP connection"):
        async with asyncio.timeout(LIMIT_SECONDS):
            while True:
                notify = request_of("NOTIFY")
                notify.body = b"x" * 60_000
                place.endpoint.send(notify, address)
                await asyncio.sleep(0)
    writer.close()


async def test_one_connection_too_many_is_closed_at_once(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "MAX_CONNECTIONS", 1)
    first = await place.caller()
    await first.request(request_of("OPTIONS"), place.endpoint.address, timeout_seconds=LIMIT_SECONDS)
    reader, writer = await place.raw()
    async with asyncio.timeout(LIMIT_SECONDS):
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)
    writer.close()
    again = await first.request(request_of("OPTIONS", call_id="2"), place.endpoint.address, timeout_seconds=5)
    assert again.status == 200


async def test_closing_hangs_up_on_everybody(place: Place) -> None:
    caller = await place.caller()
    await caller.request(request_of("OPTIONS"), place.endpoint.address, timeout_seconds=LIMIT_SECONDS)
    place.endpoint.close()
    with pytest.raises(SipTransportError):
        await caller.request(request_of("OPTIONS", call_id="2"), place.endpoint.address, timeout_seconds=LIMIT_SECONDS)
    with pytest.raises(SipTransportError, match="cannot be connected"):
        await place.caller()


async def test_a_port_in_use_is_told(place: Place) -> None:
    with pytest.raises(SipTransportError, match="cannot be bound"):
        await SipEndpoint.open(*place.endpoint.address, on_request=agreeing, listening=Listening())


def _with_via(request: Request, branch: str) -> bytes:
    request.headers.prepend("Via", f"SIP/2.0/TCP 127.0.0.1:5999;branch=z9hG4bK{branch}")
    return request.encode()
