"""The event-socket client against a node that does as the test says."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path

import pytest

from switch.esl.client import EslConnection
from switch.esl.errors import (
    EslAccessDenied,
    EslArgumentRefused,
    EslAuthenticationRefused,
    EslCommandRefused,
    EslConnectionLost,
    EslProtocolError,
    EslTimeout,
)
from tests.switch.esl.scripted_node import PASSWORD, ScriptedNode, api_response, command_reply, event_plain


@pytest.fixture
async def node() -> AsyncIterator[ScriptedNode]:
    async with ScriptedNode() as scripted:
        yield scripted


async def connected(node: ScriptedNode, *, max_queued_events: int = 100) -> EslConnection:
    return await EslConnection.open(
        "127.0.0.1", node.port, PASSWORD, timeout_seconds=5, max_queued_events=max_queued_events
    )


async def anything(waiting: Awaitable[object]) -> object:
    return await waiting


async def test_a_command_is_answered(node: ScriptedNode) -> None:
    async with await connected(node) as connection:
        assert await connection.api("version", timeout_seconds=5) == "+OK version\n"


async def test_answers_belong_to_their_commands_in_order(node: ScriptedNode) -> None:
    async with await connected(node) as connection:
        outputs = await asyncio.gather(*(connection.api(f"echo {n}", timeout_seconds=5) for n in range(50)))
        assert outputs == [f"+OK echo {n}\n" for n in range(50)]


async def test_a_background_job_gives_its_output(node: ScriptedNode) -> None:
    async with await connected(node) as connection:
        assert await connection.bgapi("reloadxml", timeout_seconds=5) == "+OK reloadxml done\n"
        assert await connection.bgapi("reloadxml", timeout_seconds=5) == "+OK reloadxml done\n"
        assert node.commands.count("event plain BACKGROUND_JOB") == 1


@pytest.mark.parametrize("reply", ["-ERR No such channel!\n", "-USAGE: <uuid>\n"])
async def test_a_refusal_is_an_error_with_the_reply(node: ScriptedNode, reply: str) -> None:
    node.answers["api uuid_kill x"] = api_response(reply)
    async with await connected(node) as connection:
        with pytest.raises(EslCommandRefused) as refused:
            await connection.api("uuid_kill x", timeout_seconds=5)
        assert refused.value.reply == reply.strip()


async def test_a_refused_background_job_is_an_error(node: ScriptedNode) -> None:
    node.answers["bgapi nothing"] = command_reply("-ERR no thread")
    async with await connected(node) as connection:
        with pytest.raises(EslCommandRefused):
            await connection.bgapi("nothing", timeout_seconds=5)


async def test_silence_ends_in_a_timeout_and_the_late_answer_goes_to_nobody(node: ScriptedNode) -> None:
    node.answers["api slow"] = None
    async with await connected(node) as connection:
        with pytest.raises(EslTimeout):
            await connection.api("slow", timeout_seconds=0.01)
        node.send(api_response("late"))
        assert await connection.api("quick", timeout_seconds=5) == "+OK quick\n"


async def test_a_background_job_that_never_ends_times_out(node: ScriptedNode) -> None:
    node.answers["bgapi slow"] = command_reply("+OK Job-UUID: whatever")
    async with await connected(node) as connection:
        with pytest.raises(EslTimeout):
            await connection.bgapi("slow", timeout_seconds=0.05)


async def test_a_lost_connection_wakes_every_waiter_at_once(node: ScriptedNode) -> None:
    node.answers |= {"api slow": None, "bgapi slow": None}
    async with await connected(node) as connection:
        await connection.subscribe("HEARTBEAT", "BACKGROUND_JOB", timeout_seconds=5)
        waiters: list[asyncio.Task[object]] = [
            asyncio.create_task(anything(connection.api("slow", timeout_seconds=600))),
            asyncio.create_task(anything(connection.bgapi("slow", timeout_seconds=600))),
            asyncio.create_task(anything(connection.next_event())),
        ]
        await node.saw("api slow")
        await node.saw("bgapi slow")
        node.drop()
        async with asyncio.timeout(5):
            results = await asyncio.gather(*waiters, return_exceptions=True)
        assert [type(result) for result in results] == [EslConnectionLost] * 3
        with pytest.raises(EslConnectionLost):
            await connection.api("version", timeout_seconds=5)


async def test_the_nodes_goodbye_ends_the_connection(node: ScriptedNode) -> None:
    async with await connected(node) as connection:
        node.send(b"Content-Type: text/disconnect-notice\nContent-Length: 14\n\nShutting down.")
        with pytest.raises(EslConnectionLost, match="Shutting down"):
            await connection.next_event()


async def test_a_wrong_password_is_refused_without_repeating_it(
    node: ScriptedNode, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(EslAuthenticationRefused) as refused:
        await EslConnection.open("127.0.0.1", node.port, "hunter2", timeout_seconds=5)
    assert "hunter2" not in f"{refused.value!r} {caplog.text}"


async def test_the_password_is_nowhere_to_be_seen(node: ScriptedNode) -> None:
    async with await connected(node) as connection:
        assert PASSWORD not in f"{connection!r} {vars(connection)!r}"


async def test_an_access_list_that_turns_us_away_is_told(node: ScriptedNode) -> None:
    node.greeting = b"Content-Type: text/rude-rejection\nContent-Length: 24\n\nAccess Denied, go away.\n"
    with pytest.raises(EslAccessDenied):
        await connected(node)


async def test_something_else_that_listens_is_told(node: ScriptedNode) -> None:
    node.greeting = b"220 mail.example.com ESMTP\n\n"
    with pytest.raises(EslProtocolError):
        await connected(node)


async def test_a_port_that_never_greets_is_given_up(node: ScriptedNode) -> None:
    node.greeting = b""
    with pytest.raises(EslTimeout):
        await EslConnection.open("127.0.0.1", node.port, PASSWORD, timeout_seconds=0.05)


async def test_a_port_where_nobody_listens_is_told() -> None:
    async with ScriptedNode() as gone:
        await gone.stop()
        with pytest.raises(EslConnectionLost, match="cannot connect"):
            await connected(gone)


@pytest.mark.parametrize("text", ["version\n\nexit", "version\r", "a\0b", "", "x" * 40_000])
async def test_line_breaks_and_oversized_commands_are_refused(node: ScriptedNode, text: str) -> None:
    async with await connected(node) as connection:
        for attempt in (connection.api(text), connection.bgapi(text), connection.subscribe(text)):
            with pytest.raises(EslArgumentRefused):
                await attempt
        assert len(node.commands) == 1


async def test_a_password_with_a_line_break_is_refused_without_repeating_it(node: ScriptedNode) -> None:
    with pytest.raises(EslArgumentRefused) as refused:
        await EslConnection.open("127.0.0.1", node.port, "hunter2\napi shutdown")
    assert "hunter2" not in str(refused.value)


async def test_custom_events_are_asked_for_last(node: ScriptedNode) -> None:
    async with await connected(node) as connection:
        await connection.subscribe("sofia::register", "HEARTBEAT", "sofia::expire", timeout_seconds=5)
        assert node.commands[-1] == "event plain HEARTBEAT CUSTOM sofia::register sofia::expire"


async def test_events_come_in_order_and_end_with_close(node: ScriptedNode) -> None:
    async with await connected(node) as connection:
        for number in range(5):
            node.send(event_plain("HEARTBEAT", Number=str(number)))
        assert await connection.api("sync", timeout_seconds=5)
        await connection.close()
        assert [event.get("Number") async for event in connection.events()] == ["0", "1", "2", "3", "4"]


async def test_events_nobody_reads_are_counted_not_hoarded(node: ScriptedNode) -> None:
    async with await connected(node, max_queued_events=10) as connection:
        for number in range(35):
            node.send(event_plain("HEARTBEAT", Number=str(number)))
        assert await connection.api("sync", timeout_seconds=5)
        assert (connection.queued_events, connection.dropped_events) == (10, 25)
        first = await connection.next_event()
        assert first is not None and first.get("Number") == "0"


async def test_an_event_that_makes_no_sense_costs_only_itself(node: ScriptedNode) -> None:
    async with await connected(node) as connection:
        node.send(b"Content-Length: 3\nContent-Type: text/event-json\n\n{]}")
        node.send(event_plain("HEARTBEAT"))
        event = await connection.next_event()
        assert event is not None and event.name == "HEARTBEAT"
        assert connection.malformed_events == 1


async def test_a_stream_that_breaks_the_limits_ends_the_connection(node: ScriptedNode) -> None:
    async with await connected(node) as connection:
        node.send(b"Content-Length: 999999999999\n\n")
        with pytest.raises(EslConnectionLost, match="allowed"):
            await connection.next_event()


async def test_a_recorded_session_is_read_to_its_end(node: ScriptedNode) -> None:
    session = (Path(__file__).parent / "data" / "session.raw").read_bytes()
    events_only = session[session.index(b"Content-Length: 474\n") :]
    async with await connected(node) as connection:
        node.send(events_only)
        names: list[str] = []
        with pytest.raises(EslConnectionLost, match="being shut down"):
            async for event in connection.events():
                names.append(event.name)
        assert names[:2] == ["API", "API"]
        assert names[-1] == "CHANNEL_ANSWER"
