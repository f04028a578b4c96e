"""The live view at the API: whose it is, hanging up, the stream, and what the supervisor writes for it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from litestar.response import ServerSentEventMessage
from sqlalchemy import delete, select

from infra.app import asgi
from infra.kit.database import Scope
from infra.kit.principal import Principal
from infra.kit.sealing import Seal
from infra.kit.unit_of_work import AsgiApp
from switch.live import feed as feed_limits
from switch.live.errors import TooManyStreams
from switch.live.feed import LiveFeed
from switch.live.models import LiveLeg, LiveNode, LiveRegistration
from switch.live.stream import follow
from switch.sip.phone import Phone
from tenancy import tokens
from tenancy.roles import permissions_of
from tests.api import Api, Caller
from tests.switch.builders import running_leg
from tests.switch.cluster import add_node, add_tenant, eventually, opened_office, simulated_node
from tests.switch.esl.scripted_node import PASSWORD as SCRIPTED_PASSWORD
from tests.switch.esl.scripted_node import ScriptedNode, api_response
from tests.switch.simulator.office import DOMAIN, PASSWORD
from tests.switch.test_drain import supervised

CALLS = "/v1/live/calls"
STREAM_LIMIT_SECONDS = 10.0


async def add(api: Api, *rows: LiveLeg) -> None:
    """Legs that run now, as a supervisor would have written them."""
    async with api.database.transaction(Scope.platform()) as session:
        session.add_all(rows)
        node = await session.get(LiveNode, "fs-1")
        if node is not None:
            node.revision += 1


async def note_node(api: Api) -> None:
    """A node that its supervisor has written of."""
    leg = running_leg("", "fs-1", "")
    counts = dict.fromkeys(
        ("legs", "registrations", "unassigned", "corrections", "unknown_events", "dropped_events", "overflow"), 0
    )
    async with api.database.transaction(Scope.platform()) as session:
        session.add(LiveNode(node="fs-1", revision=1, observed_at=leg.changed_at, compared_at=None, **counts))


async def test_a_tenant_sees_its_own_calls_and_an_operator_everybodys(api: Api) -> None:
    ours, theirs = await api.tenant(), await api.tenant()
    await add(api, running_leg(ours, "fs-1", "leg-1"), running_leg(theirs, "fs-2", "leg-2", seat_id="seat_2"))
    viewer, operator = await api.client("tenant_viewer", ours), await api.client("platform_operator")
    assert [leg["leg_id"] for leg in (await viewer.get(CALLS)).json()["items"]] == ["leg-1"]
    assert (await viewer.get(CALLS, {"tenant_id": theirs})).status_code == 404
    for params, expected in (
        ({}, ["leg-2", "leg-1"]),
        ({"tenant_id": ours}, ["leg-1"]),
        ({"node": "fs-2"}, ["leg-2"]),
        ({"seat_id": "seat_2"}, ["leg-2"]),
    ):
        listed = (await operator.get(CALLS, params)).json()["items"]
        assert [leg["leg_id"] for leg in listed] == expected, params
    assert (await viewer.get("/v1/live/nodes")).status_code == 403
    async with api.database.transaction(Scope.tenant(ours)) as session:
        assert list((await session.execute(select(LiveLeg.leg_id))).scalars()) == ["leg-1"]


async def test_only_whoever_may_hangs_up_and_only_what_runs(api: Api) -> None:
    ours, theirs = await api.tenant(), await api.tenant()
    async with ScriptedNode() as socket:
        node = await add_node(api.database, Seal(api.settings.secret_key), "fs-1", esl_port=socket.port)
        async with api.database.transaction(Scope.platform()) as session:
            node.sealed_esl_password = Seal(api.settings.secret_key).close(SCRIPTED_PASSWORD)
            session.add(node)
        await add(
            api,
            running_leg(ours, "fs-1", "leg-1"),
            running_leg(theirs, "fs-1", "leg-2"),
            running_leg(ours, "fs-1", "leg-3", direction="emergency"),
            running_leg(ours, "fs-1", "leg-4"),
        )
        admin, viewer = await api.client("tenant_admin", ours), await api.client("tenant_viewer", ours)
        socket.answers["api uuid_kill leg-4 NORMAL_CLEARING"] = api_response("-ERR No such channel!\n")
        for caller, leg, status, code in (
            (viewer, "leg-1", 403, "forbidden"),
            (admin, "leg-2", 404, "live_call_not_found"),
            (admin, "leg-0", 404, "live_call_not_found"),
            (admin, "leg-3", 409, "emergency_call"),
            (admin, "leg-4", 404, "live_call_not_found"),
        ):
            refused = await caller.post(f"{CALLS}/{leg}/hangup")
            assert (refused.status_code, refused.json()["code"]) == (status, code), leg
        assert [command for command in socket.commands if "leg-4" not in command and "uuid_kill" in command] == []
        done = await admin.post(f"{CALLS}/leg-1/hangup")
        assert (done.status_code, done.json()["hangup_cause"]) == (200, "NORMAL_CLEARING")
        assert socket.commands[-2:] == ["api uuid_kill leg-1 NORMAL_CLEARING", "exit"]
    away = await admin.post(f"{CALLS}/leg-1/hangup")
    assert (away.status_code, away.json()["code"]) == (503, "node_did_not_answer")


async def listener(api: Api, tenant_id: str) -> tuple[Principal, str, Caller]:
    """A tenant's console."""
    caller = await api.client("tenant_viewer", tenant_id)
    role = "tenant_viewer"
    principal = Principal(client_id=caller.client_id, tenant_id=tenant_id, role=role, permissions=permissions_of(role))
    return principal, caller.headers["authorization"], caller


async def hear(stream: AsyncGenerator[ServerSentEventMessage]) -> tuple[str, Any]:
    """The next thing a stream says: an event, or a comment."""
    async with asyncio.timeout(STREAM_LIMIT_SECONDS):
        message = await anext(stream)
    if message.comment is not None:
        return "comment", message.comment
    assert isinstance(message.data, str)
    return str(message.event), json.loads(message.data)


async def test_a_stream_tells_what_changes_and_ends_with_its_token(api: Api) -> None:
    ours, theirs = await api.tenant(), await api.tenant()
    await note_node(api)
    await add(api, running_leg(ours, "fs-1", "leg-1"), running_leg(theirs, "fs-1", "leg-2"))
    principal, authorization, _ = await listener(api, ours)
    feed = LiveFeed(api.database, look_interval_seconds=0.02)
    authenticated = partial(tokens.authenticate, authorization=authorization)
    stream = follow(api.database, feed, principal, authenticated, tenant_id=ours, heartbeat_seconds=0.5)
    async with aclosing(stream):
        name, content = await hear(stream)
        assert (name, [leg["leg_id"] for leg in content["calls"]]) == ("snapshot", ["leg-1"])
        await add(api, running_leg(theirs, "fs-1", "leg-3"), running_leg(ours, "fs-1", "leg-4"))
        while name != "change":
            name, content = await hear(stream)
        assert [leg["leg_id"] for leg in content["calls"]["changed"]] == ["leg-4"]
        async with api.database.transaction(Scope.platform()) as session:
            await session.execute(delete(LiveLeg).where(LiveLeg.leg_id.in_(["leg-1", "leg-2"])))
        await add(api)
        name = "comment"
        while name == "comment":
            name, content = await hear(stream)
        assert [leg["leg_id"] for leg in content["calls"]["ended"]] == ["leg-1"]
        assert (await hear(stream))[0] == "comment"
        operator = await api.client("platform_operator")
        assert (await operator.post(f"/v1/clients/{principal.client_id}/revocation")).is_success
        while name != "end":
            name, content = await hear(stream)
        assert content == {"reason": "token_ended"}
        with pytest.raises(StopAsyncIteration):
            await anext(stream)
    assert feed.listeners == 0


async def test_a_server_and_a_client_have_a_limited_number_of_streams(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_limits, "MAX_STREAMS", 3)
    monkeypatch.setattr(feed_limits, "MAX_STREAMS_A_CLIENT", 2)
    feed = LiveFeed(api.database)
    with feed.listening("a"), feed.listening("a"):
        with pytest.raises(TooManyStreams, match="This client"):
            feed.check("a")
        with feed.listening("b"), pytest.raises(TooManyStreams, match="This server"):
            feed.check("c")
        feed.check("c")
    assert feed.listeners == 0
    await feed.close()


@asynccontextmanager
async def streamed(application: AsgiApp, authorization: str | None) -> AsyncGenerator[asyncio.Queue[dict[str, Any]]]:
    """What the application sends to a console that listens and then goes."""
    said: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    gone = asyncio.Event()
    asked = False

    async def receive() -> dict[str, Any]:
        nonlocal asked
        if not asked:
            asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await gone.wait()
        return {"type": "http.disconnect"}

    headers = [(b"host", b"seatline.test"), (b"accept", b"text/event-stream")]
    if authorization is not None:
        headers.append((b"authorization", authorization.encode()))
    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/v1/live/events",
        "raw_path": b"/v1/live/events",
        "query_string": b"",
        "root_path": "",
        "headers": headers,
        "client": ("127.0.0.1", 1),
        "server": ("seatline.test", 80),
    }

    async def answer() -> None:
        await application(scope, receive, said.put)

    running = asyncio.create_task(answer())
    try:
        yield said
    finally:
        gone.set()
        await asyncio.wait_for(running, STREAM_LIMIT_SECONDS)


async def test_the_stream_comes_through_the_application_without_a_transaction_around_it(api: Api) -> None:
    ours = await api.tenant()
    await add(api, running_leg(ours, "fs-1", "leg-1"))
    _, authorization, _ = await listener(api, ours)
    application = asgi.build(api.settings, api.database)
    async with (
        asyncio.timeout(STREAM_LIMIT_SECONDS),
        streamed(application, authorization) as one,
        streamed(application, authorization) as other,
    ):
        for said in (one, other):
            begun = await said.get()
            assert begun["status"] == 200
            assert dict(begun["headers"])[b"content-type"].startswith(b"text/event-stream")
            text = b""
            while b"leg-1" not in text:
                text += (await said.get())["body"]
            assert b"event: snapshot" in text
        # Two streams, and at most the one look that serves both is at the database.
        assert api.database.engine.pool.checkedout() <= 1  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize("authorization", [None, "Bearer nobodys", "Basic xxx"])
async def test_nobody_listens_without_a_token(api: Api, authorization: str | None) -> None:
    application = asgi.build(api.settings, api.database)
    async with asyncio.timeout(STREAM_LIMIT_SECONDS), streamed(application, authorization) as said:
        assert (await said.get())["status"] == 401


async def test_the_supervisor_writes_what_the_node_has_and_finds_again_what_the_tables_lost(
    api: Api, tmp_path: Path
) -> None:
    tenant = await add_tenant(api.database)
    seal = Seal(api.settings.secret_key)
    async with opened_office() as office, simulated_node(tmp_path / "node", office) as simulated:
        await add_node(api.database, seal, "fs-1", esl_port=simulated.event_socket_address[1])
        office.add_user("1001", seatline_tenant=tenant.tenant_id)
        office.dialplan["2001"] = [
            ("multiset", "seatline_leg=caller seatline_direction=internal"),
            ("answer", ""),
            ("park", ""),
        ]
        async with Phone("1001", DOMAIN, server=simulated.sip_address(), password=PASSWORD) as phone:
            assert await phone.register() == 200
            before = await phone.call("2001")
            async with supervised(api):
                await eventually(lambda: _has(api, legs=1, registrations=1))
                during = await phone.call("2001")
                await eventually(lambda: _has(api, legs=2, registrations=1))
                await before.hangup()
                await eventually(lambda: _has(api, legs=1, registrations=1))
            await during.hangup()
            await phone.unregister()
            assert await _has(api, legs=1, registrations=1)
            await add(api, running_leg(tenant.tenant_id, "fs-1", "left-behind"))
            async with supervised(api):
                await eventually(lambda: _has(api, legs=0, registrations=0))
                await eventually(lambda: _was_compared(api))


async def _was_compared(api: Api) -> bool:
    async with api.database.transaction(Scope.platform()) as session:
        node = await session.get(LiveNode, "fs-1")
    return node is not None and node.compared_at is not None and node.revision > 1


async def _has(api: Api, *, legs: int, registrations: int) -> bool:
    async with api.database.transaction(Scope.platform()) as session:
        found = [len(list((await session.execute(select(each))).scalars())) for each in (LiveLeg, LiveRegistration)]
    return found == [legs, registrations]
