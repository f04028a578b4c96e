"""The event-socket client against nodes that send nonsense, stop half-way, flood or fall silent.

Whatever comes: no hang, bounded memory, and every wait ends with an answer or one of our errors.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import string
import tracemalloc
from collections.abc import AsyncGenerator, Awaitable
from contextlib import asynccontextmanager, suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from switch.esl import client
from switch.esl.client import EslConnection
from switch.esl.errors import EslConnectionLost, EslError, EslTooManyCommands
from switch.esl.frames import (
    EVENT_JSON,
    EVENT_PLAIN,
    MAX_BODY_BYTES,
    MAX_EVENT_HEADERS,
    MAX_HEADER_BYTES,
    MAX_JSON_EVENT_BYTES,
    Frame,
    FrameParser,
    parse_event,
)
from switch.esl.link import EslLink, LinkSettings
from tests.switch.esl.scripted_node import PASSWORD, ScriptedNode, api_response, command_reply, event_plain

WAIT_SECONDS = 0.02
EVERYTHING_ENDS_WITHIN_SECONDS = 5.0
MAX_EVENTS = 8
MAX_EVENT_BYTES = 2_000
GREETING = b"Content-Type: auth/request\n\n"
WELCOME = command_reply("+OK accepted")

pieces = st.one_of(
    st.binary(max_size=200),
    st.sampled_from(
        [
            GREETING,
            WELCOME,
            command_reply("-ERR no"),
            command_reply(""),
            api_response("+OK\n"),
            api_response(""),
            event_plain("HEARTBEAT"),
            event_plain("HEARTBEAT", "x" * 3_000),
            event_plain("BACKGROUND_JOB", "+OK\n", Job_UUID="of nobody"),
            b"Content-Length: 5\nContent-Type: text/event-plain\n\n\xff\xfe\x00\n\n",
            b"Content-Length: 2\nContent-Type: text/event-json\n\n[]",
            b"Content-Length: 60000\nContent-Type: api/response\n\n",
            b"Content-Length: -1\n\n",
            b"Content-Length: 999999999999\n\n",
            b"Content-Type: text/disconnect-notice\nContent-Length: 4\n\nbye\n",
            b"Content-Type: text/rude-rejection\n\n",
            b"Content-Type: log/data\nContent-Length: 3\n\nlog",
            b"Content-Type",
            b"\n\n\n\r\n",
            b": \n",
        ]
    ),
)


class HostileNode:
    """Sends `chunks` one after another, then hangs up or says nothing more."""

    def __init__(self, chunks: list[bytes], *, hangs_up: bool) -> None:
        self._chunks = chunks
        self._hangs_up = hangs_up
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        try:
            with suppress(OSError):
                for chunk in self._chunks:
                    writer.write(chunk)
                    await writer.drain()
                    await asyncio.sleep(0)
                while not self._hangs_up and await reader.read(65_536):
                    pass
        finally:  # also when the test ends first
            writer.close()


@asynccontextmanager
async def listening(chunks: list[bytes], *, hangs_up: bool) -> AsyncGenerator[int]:
    """A hostile node; its port."""
    node = HostileNode(chunks, hangs_up=hangs_up)
    server = await asyncio.start_server(node.serve, "127.0.0.1", 0)
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        server.close()


async def ended(wait: Awaitable[object]) -> None:
    """It ends by itself: with a value or one of our own errors, anything else is a defect."""
    with suppress(EslError):
        await wait


async def limited(wait: Awaitable[object]) -> None:
    """The same of a wait whose end its owner sets, as the link does."""
    with suppress(EslError, TimeoutError):
        async with asyncio.timeout(WAIT_SECONDS):
            await wait


async def everything_at_once(port: int) -> None:
    connection = await EslConnection.open(
        "127.0.0.1",
        port,
        PASSWORD,
        timeout_seconds=10 * WAIT_SECONDS,
        max_queued_events=MAX_EVENTS,
        max_queued_event_bytes=MAX_EVENT_BYTES,
    )
    async with connection:
        await asyncio.gather(
            ended(connection.api("status", timeout_seconds=WAIT_SECONDS)),
            ended(connection.bgapi("reloadxml", timeout_seconds=WAIT_SECONDS)),
            ended(connection.subscribe("HEARTBEAT", timeout_seconds=WAIT_SECONDS)),
            limited(connection.next_event()),
        )
        assert connection.queued_events <= MAX_EVENTS
        assert connection.queued_event_bytes <= MAX_EVENT_BYTES
    with pytest.raises(EslConnectionLost):
        await connection.api("status", timeout_seconds=WAIT_SECONDS)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(pieces, max_size=25), st.booleans(), st.booleans())
def test_whatever_a_node_sends_every_wait_ends(chunks: list[bytes], is_welcoming: bool, hangs_up: bool) -> None:
    async def play() -> None:
        before = [GREETING, WELCOME] if is_welcoming else []
        async with listening([*before, *chunks], hangs_up=hangs_up) as port:
            await ended(everything_at_once(port))

    asyncio.run(asyncio.wait_for(play(), EVERYTHING_ENDS_WITHIN_SECONDS))


@settings(max_examples=30, deadline=None)
@given(st.integers(min_value=0, max_value=2**32), st.integers(min_value=0, max_value=400), st.booleans())
def test_a_session_cut_or_bent_anywhere_ends(seed: int, cut_at: int, hangs_up: bool) -> None:
    session = bytearray(api_response("one") + event_plain("HEARTBEAT", "body", A="%41") + command_reply("+OK"))
    chance = random.Random(seed)  # noqa: S311 - hypothesis keeps the seed
    for _ in range(chance.randrange(4)):
        session[chance.randrange(len(session))] = chance.randrange(256)

    async def play() -> None:
        async with listening([GREETING, WELCOME, bytes(session[:cut_at])], hangs_up=hangs_up) as port:
            await ended(everything_at_once(port))

    asyncio.run(asyncio.wait_for(play(), EVERYTHING_ENDS_WITHIN_SECONDS))


any_text = st.text(st.characters(exclude_categories=[]), max_size=20)  # lone surrogates too, as JSON can spell them
json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), any_text),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=5), inner, max_size=4)),
    max_leaves=20,
)


@given(st.dictionaries(any_text, json_values, max_size=8))
def test_any_json_object_is_an_event_of_texts_that_can_be_written_again(content: dict[str, object]) -> None:
    event = parse_event(Frame({"Content-Type": EVENT_JSON}, json.dumps(content).encode()))
    for name, value in event.headers.items():
        assert (name + value).encode().decode() == name + value


@pytest.mark.parametrize("depth", [100, 500, 900, 990, 1_000, 5_000, 100_000])
@pytest.mark.parametrize("shape", ["[{}]", '{{"a":{}}}'])
def test_deep_nesting_ends_in_an_event_or_an_error(depth: int, shape: str) -> None:
    opening, closing = shape.split("{}") if shape.startswith("[") else ('{"a":', "}")
    body = f'{{"deep":{opening * depth}1{closing * depth}}}'.encode()
    with suppress(EslError):
        parse_event(Frame({"Content-Type": EVENT_JSON}, body))


@pytest.mark.parametrize(
    "frame",
    [
        Frame({"Content-Type": EVENT_JSON}, b'{"a":"' + b"x" * MAX_JSON_EVENT_BYTES + b'"}'),
        Frame({"Content-Type": EVENT_JSON}, json.dumps({str(n): 1 for n in range(MAX_EVENT_HEADERS + 1)}).encode()),
        Frame({"Content-Type": EVENT_PLAIN}, b"\r\n" * (MAX_EVENT_HEADERS + 1)),
        Frame({"Content-Type": EVENT_PLAIN}, b"a:b\n" * (MAX_EVENT_HEADERS + 1)),
    ],
    ids=["json too long", "json with too many headers", "empty lines", "too many lines"],
)
def test_an_event_that_would_take_many_times_its_size_is_refused(frame: Frame) -> None:
    with pytest.raises(EslError):
        parse_event(frame)


@given(st.lists(st.integers(min_value=1, max_value=3_000), min_size=1, max_size=30))
def test_what_is_kept_of_an_unfinished_frame_never_exceeds_its_limits(sizes: list[int]) -> None:
    parser = FrameParser(max_header_bytes=500, max_body_bytes=2_000)
    with suppress(EslError):
        for size in sizes:
            parser.feed(b"Content-Length: 1999\n\n"[: size % 30] + b"x" * size)
            assert parser.buffered_bytes <= 500 + 2_000 + 3_030
    assert MAX_HEADER_BYTES + MAX_BODY_BYTES < 20 * 1024 * 1024


@asynccontextmanager
async def connected(node: ScriptedNode, *, max_queued_event_bytes: int = 10_000) -> AsyncGenerator[EslConnection]:
    connection = await EslConnection.open(
        "127.0.0.1", node.port, PASSWORD, timeout_seconds=5, max_queued_event_bytes=max_queued_event_bytes
    )
    async with connection:
        yield connection


async def test_a_storm_of_large_events_is_kept_to_the_limit_and_counted() -> None:
    async with ScriptedNode() as node, connected(node) as connection:
        for _ in range(50):
            node.send(event_plain("CUSTOM", "x" * 1_000))
        await connection.api("echo behind the storm", timeout_seconds=5)
        assert connection.queued_event_bytes <= 10_000
        kept = connection.queued_events
        assert 0 < kept < 10
        assert connection.dropped_events == 50 - kept
        for _ in range(kept):
            await connection.next_event()
        assert connection.queued_event_bytes == 0


async def test_events_of_thousands_of_short_headers_take_no_more_room_than_they_have_bytes() -> None:
    names = ("".join(letters) for letters in itertools.product(string.ascii_letters, repeat=3))
    body = "".join(f"{name}:\n" for name in itertools.islice(names, MAX_EVENT_HEADERS - 10)).encode()
    storm = [b"Content-Length: %d\nContent-Type: text/event-plain\n\n%b" % (len(body), body)] * 40
    async with ScriptedNode() as node, connected(node, max_queued_event_bytes=40 * len(body)) as connection:
        tracemalloc.start()
        try:
            for event in storm:
                node.send(event)
            await connection.api("echo behind the storm", timeout_seconds=20)
            taken_bytes, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert (connection.queued_events, connection.dropped_events) == (40, 0)
        assert 40 * len(body) <= taken_bytes < 2 * 40 * len(body)
        read = await connection.next_event()
        assert read is not None and len(read.headers) == MAX_EVENT_HEADERS - 10


async def test_an_event_that_only_speaks_of_a_job_is_read_as_any_other() -> None:
    async with ScriptedNode() as node, connected(node) as connection:
        node.send(event_plain("CUSTOM", "BACKGROUND_JOB"))
        node.send(event_plain("BACKGROUND_JOB", "+OK", Job_UUID="of somebody else"))
        node.send(b"Content-Length: 15\nContent-Type: text/event-json\n\n[BACKGROUND_JOB")
        await connection.api("echo behind them", timeout_seconds=5)
        seen = [await connection.next_event() for _ in range(2)]
        assert [event and (event.name, event.body) for event in seen] == [
            ("CUSTOM", "BACKGROUND_JOB"),
            ("BACKGROUND_JOB", "+OK"),
        ]
        assert (connection.queued_events, connection.malformed_events) == (0, 1)


async def test_a_node_that_never_answers_costs_a_bounded_number_of_waits_and_then_its_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(client, "MAX_PENDING_COMMANDS", 3)
    async with ScriptedNode() as node, connected(node) as connection:
        node.answers["api status"] = None
        for _ in range(3):
            await ended(connection.api("status", timeout_seconds=0.001))
        with pytest.raises(EslTooManyCommands):
            await connection.api("status", timeout_seconds=0.001)
        monkeypatch.setattr(client, "MAX_ANSWER_WAIT_SECONDS", 0.0)
        with pytest.raises(EslConnectionLost, match="unanswered"):
            await connection.api("status", timeout_seconds=0.001)
        assert not connection.is_open


async def test_a_link_to_a_hostile_node_keeps_trying_and_then_finds_the_real_one() -> None:
    """A connection that breaks in the middle of an event is made anew, and the state is read again."""
    connected_to: list[EslConnection] = []
    second = asyncio.Event()

    async def on_connected(connection: EslConnection) -> None:
        connected_to.append(connection)
        if len(connected_to) == 1:
            node.send(event_plain("HEARTBEAT", "never ends")[:-5])
            node.drop()
        else:
            second.set()

    async def no_wait(_: float) -> None:
        await asyncio.sleep(0)

    async with ScriptedNode() as node:
        link = EslLink(LinkSettings("127.0.0.1", node.port, PASSWORD), on_connected=on_connected, wait=no_wait)
        running = asyncio.create_task(link.run())
        async with asyncio.timeout(5):
            await second.wait()
        running.cancel()
        await asyncio.wait([running])
    assert node.connections >= 2
