"""No request waits for ever: not for its body, not for a database that has fallen silent."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from infra.app import asgi
from infra.kit import unit_of_work
from infra.kit.database import Scope
from infra.kit.sealing import Seal
from infra.kit.unit_of_work import BodyTooSlow, UnitOfWork, read_body
from tenancy.callers import Callers
from tests.api import Api

Message = dict[str, Any]


async def test_a_body_that_does_not_arrive_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unit_of_work, "BODY_TIMEOUT_SECONDS", 0.05)
    begun = False

    async def receive() -> Message:
        nonlocal begun
        if begun:
            await asyncio.Event().wait()
        begun = True
        return {"type": "http.request", "body": b"{", "more_body": True}

    with pytest.raises(BodyTooSlow):
        await read_body({"headers": []}, receive, 100)


@pytest.mark.parametrize("path", ["/v1/tenants", "/oauth/token"])
async def test_a_request_without_an_answer_in_time_gets_503(api: Api, path: str) -> None:
    async def silent(*_: Any) -> None:
        await asyncio.Event().wait()

    caller = await api.client("platform_operator")
    unit = UnitOfWork(
        silent,
        database=api.database,
        authenticate=Callers(api.settings).authenticate,
        seal=Seal(api.settings.secret_key),
        body_limit_bytes=1_000,
        answer_timeout_seconds=0.5,
    )
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b""}

    async def send(message: Message) -> None:
        sent.append(message)

    headers = [(b"authorization", caller.headers["authorization"].encode())]
    scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": headers}
    await unit(scope, receive, send)
    assert sent[0]["status"] == 503
    assert dict(sent[0]["headers"])[b"retry-after"] == b"5"
    async with api.database.transaction(Scope.platform()):  # the work left behind gave its connection back
        pass


async def test_the_start_and_end_of_the_process_pass_through(api: Api) -> None:
    application = asgi.build(api.settings, api.database)
    told: asyncio.Queue[Message] = asyncio.Queue()
    told.put_nowait({"type": "lifespan.startup"})
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)
        if message["type"] == "lifespan.startup.complete":
            told.put_nowait({"type": "lifespan.shutdown"})

    await application({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, told.get, send)
    assert [message["type"] for message in sent] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
