"""Attacks on the live stream: other ways to its address, callers who are not what they were, and streams that spin."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from datetime import timedelta
from functools import partial

import pytest
from litestar.response import ServerSentEventMessage

from infra.kit import clock
from infra.kit.database import Scope
from infra.kit.principal import Presented, Principal
from infra.kit.problems import Unavailable
from switch.live import feed as feed_limits
from switch.live.errors import TooManyStreams
from switch.live.feed import LiveFeed
from switch.live.stream import follow
from tenancy.callers import Callers
from tenancy.people import sessions
from tests.api import Api
from tests.switch.test_live_api import hear, listener, note_node
from tests.tenancy.people_world import joined, quick_passwords

LI_WEI, OPERATOR = "li.wei@anxin.example", "ops@platform.example"


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    quick_passwords(monkeypatch)


@pytest.mark.parametrize("path", ["/v1/live/events/", "//v1//live/events"])
async def test_no_other_way_to_the_stream_holds_a_transaction(api: Api, path: str) -> None:
    """A stream that is answered into a buffer would hold its connection, and grow, until it is cut off."""
    _, _, caller = await listener(api, await api.tenant())
    asked = asyncio.create_task(api.http.get(f"http://seatline.test{path}", headers=caller.headers))
    done, _ = await asyncio.wait({asked}, timeout=0.5)
    pool = api.database.engine.pool.checkedout()  # pyright: ignore[reportAttributeAccessIssue]
    asked.cancel()
    await asyncio.wait({asked})
    assert done or pool == 0
    if done:
        assert asked.cancelled() or asked.result().status_code in (200, 404)


def _said(message: ServerSentEventMessage) -> str:
    return str(message.event or message.comment)


async def test_a_stream_that_finds_no_database_does_not_spin(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    tenant = await api.tenant()
    await note_node(api)
    principal, _, _ = await listener(api, tenant)
    feed = LiveFeed(api.database, look_interval_seconds=0.02)

    async def authenticated(_: object) -> Principal:
        raise Unavailable("The database does not answer.")

    stream = follow(api.database, feed, principal, authenticated, tenant_id=tenant, heartbeat_seconds=0.1)
    said: list[str] = []

    async def listen() -> None:
        async with aclosing(stream):
            async for message in stream:
                said.append(_said(message))

    listening = asyncio.create_task(listen())
    await asyncio.wait({listening}, timeout=0.6)
    listening.cancel()
    await asyncio.wait({listening})
    assert 1 <= len(said) <= 5
    await feed.close()


async def test_a_stream_does_not_keep_a_session_awake(api: Api) -> None:
    tenant = await api.tenant()
    browser = await joined(api, await api.client("tenant_admin", tenant), LI_WEI)
    principal, _, _ = await listener(api, tenant)
    callers, shown = Callers(api.settings), Presented(cookie=browser.cookie, is_activity=False)
    feed = LiveFeed(api.database, look_interval_seconds=0.02)
    authenticated = partial(callers.authenticate, presented=shown)
    stream = follow(api.database, feed, principal, authenticated, tenant_id=tenant, heartbeat_seconds=0.02)
    async with aclosing(stream):
        assert (await hear(stream))[0] == "snapshot"
        clock.travel_to(clock.now() + sessions.IDLE - timedelta(minutes=5))
        assert (await hear(stream))[0] == "comment"
        clock.travel_to(clock.now() + timedelta(minutes=6))
        assert (await hear(stream)) == ("end", {"reason": "token_ended"})
    assert (await browser.get("/v1/me")).status_code == 401
    await feed.close()


@pytest.mark.parametrize("end", ["the visit ends", "another role", "removed", "signed out", "an hour"])
async def test_a_visitors_stream_ends_with_the_visit(api: Api, end: str) -> None:
    tenant = await api.tenant()
    client = await api.client("platform_operator")
    await joined(api, client, "second@platform.example", role="platform_operator")
    operator = await joined(api, client, OPERATOR, role="platform_operator")
    visit = (await operator.post(f"/v1/tenants/{tenant}/visits", {"reason": "ticket 17"})).json()["visit_id"]
    callers, shown = Callers(api.settings), Presented(cookie=operator.cookie, visit_id=visit, is_activity=False)
    async with api.database.transaction(Scope.platform()) as session:
        principal = await callers.authenticate(session, shown)
    assert principal.tenant_id == tenant
    feed = LiveFeed(api.database, look_interval_seconds=0.02)
    authenticated = partial(callers.authenticate, presented=shown)
    stream = follow(api.database, feed, principal, authenticated, tenant_id=tenant, heartbeat_seconds=0.02)
    own = f"/v1/people/{operator.person['person_id']}"
    async with aclosing(stream):
        assert (await hear(stream))[0] == "snapshot"
        if end == "an hour":
            clock.travel_to(clock.now() + timedelta(minutes=30))
            assert (await operator.get("/v1/me")).status_code == 200
            clock.travel_to(clock.now() + timedelta(minutes=31))
        path, body = {
            "the visit ends": (f"/v1/visits/{visit}/end", {}),
            "another role": (f"{own}/role", {"role": "finance"}),
            "removed": (f"{own}/removal", {}),
            "signed out": (f"{own}/sign-out", {}),
            "an hour": (f"/v1/visits/{visit}/end", {}),
        }[end]
        if end != "an hour":
            assert (await client.post(path, body)).status_code == 200
        said = [await hear(stream)]
        while said[-1][0] != "end" and len(said) < 3:  # it may have been about to speak
            said.append(await hear(stream))
        assert said[-1] == ("end", {"reason": "token_ended"})
    await feed.close()


async def test_one_tenant_cannot_take_every_stream(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed_limits, "MAX_STREAMS_A_TENANT", 2)
    feed = LiveFeed(api.database)
    with feed.listening("a", "ten_a"), feed.listening("b", "ten_a"):
        with pytest.raises(TooManyStreams, match="The tenant"):
            feed.check("c", "ten_a")
        feed.check("c", "ten_b")
        feed.check("operator")
    feed.check("c", "ten_a")
    await feed.close()
