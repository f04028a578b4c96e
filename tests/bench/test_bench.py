"""The bench itself: what counts as reached, and a load client that counts every answer once."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from pathlib import Path

import pytest

from tests.bench import leases, month_close, re_rating
from tests.bench.figures import Figure, write
from tests.bench.load import FRESH_UUID, Load, LoadBroken, Outcome, drive, post


def figure(value: float, *, goal: float | None, higher: bool) -> Figure:
    return Figure(
        name="n", value=value, unit="1/s", limit=10, limit_is="", goal=goal, better="higher" if higher else "lower"
    )


def test_more_is_held_against_the_limit_and_less_against_the_goal_itself() -> None:
    assert figure(6, goal=0.6, higher=True).is_reached
    assert not figure(5.9, goal=0.6, higher=True).is_reached
    assert figure(1, goal=1, higher=False).is_reached
    assert not figure(1.1, goal=1, higher=False).is_reached
    assert figure(99, goal=None, higher=False).is_reached


def test_the_file_is_a_list_with_the_seven_fields(tmp_path: Path) -> None:
    write([figure(6, goal=0.6, higher=True)], tmp_path / "deep" / "bench.json")
    assert json.loads((tmp_path / "deep" / "bench.json").read_text()) == [
        {"name": "n", "value": 6, "unit": "1/s", "limit": 10, "ratio": 0.6, "goal": 0.6, "better": "higher"}
    ]


class Office:
    """A keep-alive server whose answer depends on what the request's body begins with."""

    def __init__(self) -> None:
        self.bodies: Counter[bytes] = Counter()
        self._lines: set[asyncio.Task[None]] = set()

    def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._lines.add(asyncio.create_task(self._serve(reader, writer)))

    async def close(self) -> None:
        await asyncio.gather(*self._lines)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                body = await reader.readexactly(int(head.partition(b"Content-Length: ")[2].split(b"\r\n")[0]))
                self.bodies[body] += 1
                status, text = {
                    b"y": (b"200 OK", b"yes"),
                    b"n": (b"200 OK", b'<result status="not found"/>'),
                }.get(body[:1], (b"503 Unavailable", b""))
                writer.write(b"HTTP/1.1 %s\r\ncontent-length: %d\r\n\r\n" % (status, len(text)))
                writer.write(text)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            return  # the client has what it wanted
        finally:
            writer.close()
            await writer.wait_closed()


async def sent_once(*bodies: bytes) -> tuple[Outcome, Office]:
    office = Office()
    server = await asyncio.start_server(office.serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        requests = [post("/", body, content_type="text/plain") for body in bodies]
        load = Load(port=port, requests=requests, connections=3, seconds=10, once=True)
        outcome = await asyncio.to_thread(drive, load)
        await office.close()
    return outcome, office


async def test_every_request_is_sent_and_counted_once() -> None:
    outcome, office = await sent_once(*(b"%s%d" % (b"yn"[index % 2 : index % 2 + 1], index) for index in range(20)))
    assert sorted(outcome.indexes) == list(range(20))
    assert {index for index, yes in zip(outcome.indexes, outcome.accepted, strict=True) if yes} == set(range(0, 20, 2))
    assert set(office.bodies.values()) == {1}
    with pytest.raises(LoadBroken, match="10 of 20 were not accepted"):
        outcome.check()


async def test_a_refused_request_spoils_the_measurement() -> None:
    outcome, _ = await sent_once(b"yes", b"broken")
    with pytest.raises(LoadBroken, match="1 requests failed"):
        outcome.check(all_accepted=False)


async def test_each_sending_has_a_uuid_of_its_own() -> None:
    _, office = await sent_once(b"y" + FRESH_UUID, b"y" + FRESH_UUID)
    assert len(office.bodies) == 2
    assert all(len(body) == 1 + len(FRESH_UUID) for body in office.bodies)


async def test_the_month_close_and_the_re_rating_of_a_small_house(postgres_url: str) -> None:
    async with leases.furnished(postgres_url) as made:
        closed = await month_close.measure(made, sizes=(2, 3))
        re_rated = await re_rating.measure(made, calls=2 * leases.CALLS_A_TENANT)
    assert [measured.unit for measured in closed] == ["s", "1/s", "s", "1/s", "x"]
    assert [measured.unit for measured in re_rated] == ["s", "1/s", "s", "1/s"]
    assert all(measured.value > 0 and measured.limit > 0 for measured in [*closed, *re_rated])
