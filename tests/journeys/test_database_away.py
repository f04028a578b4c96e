"""A database that is away: 503 with Retry-After, and either the whole change or nothing of it."""

from __future__ import annotations

import json
import re
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx
import psycopg
from sqlalchemy import Connection, event
from sqlalchemy.engine import make_url

from billing.cards.stand_in import objects
from infra.app import asgi
from infra.kit import clock
from infra.kit.database import Database
from infra.kit.settings import Settings
from tests.api import Api
from tests.billing.card_world import signature
from tests.journeys.house import House
from tests.switch.serving import free_port
from tests.world import MOBILE, Answered

SHORT_TIMEOUT_SECONDS = 2.0
EVENT = json.dumps(objects.event("charge.succeeded", {"id": "ch_1", "object": "charge"})).encode()
ADDRESS, LONG = "li@example.com", "correct horse battery staple"
SIGNING_IN: dict[str, dict[str, Any]] = {
    "/sign-in": {"json": {"address": ADDRESS, "password": LONG}},
    "/sign-in/invitation": {"json": {"token": LONG, "password": LONG}},
    "/sign-in/forgotten": {"json": {"address": ADDRESS}},
    "/sign-in/reset": {"json": {"token": LONG, "password": LONG}},
    "/sign-in/password": {"json": {"current": LONG, "password": LONG}},
    "/sign-in/provider": {"params": {"company": "a.example.com"}},
}
"""What comes without a caller must be of the right form before anything else is looked at."""

SIGNED_FIRST = ("/sign-in/callback/{tenant_id}", "/papers/{ticket}")
"""Ask the database nothing until the browser shows a cookie or a link that we have signed."""


def is_unavailable(answer: httpx.Response) -> bool:
    """503, with a problem that says so and when to try again."""
    return (
        answer.status_code == 503
        and answer.headers["content-type"] == "application/problem+json"
        and answer.json()["code"] == "unavailable"
        and int(answer.headers["retry-after"]) > 0
    )


async def test_every_route_says_that_it_is_unavailable(settings: Settings) -> None:
    nowhere = f"postgresql+psycopg://seatline@127.0.0.1:{free_port()}/seatline"
    database = Database(nowhere, pool_size=2, timeout_seconds=SHORT_TIMEOUT_SECONDS)
    transport = httpx.ASGITransport(app=asgi.build(settings, database), raise_app_exceptions=False)
    wrong: list[str] = []
    async with httpx.AsyncClient(transport=transport, base_url="http://seatline.test") as http:
        paths: dict[str, dict[str, Any]] = (await http.get("/schema/openapi.json")).json()["paths"]
        for path, operations in paths.items():
            for method in () if path in SIGNED_FIRST else operations:
                concrete = re.sub(r"\{\w+\}", "x", path)
                form = {"grant_type": "client_credentials", "client_id": "cli_x", "client_secret": "x"}
                body: dict[str, Any] = {"data": form} if path.startswith("/oauth") else {"json": {}}
                headers = {"authorization": "Bearer x"} if concrete != "/oauth/token" else {}
                if path == "/v1/stripe/webhooks":
                    body, headers = {"content": EVENT}, {"stripe-signature": signature(EVENT)}
                body = SIGNING_IN.get(path) or (body if method == "post" else {})
                answer = await http.request(method, concrete, headers=headers, **body)
                if not is_unavailable(answer):
                    wrong.append(f"{method} {path}: {answer.status_code} {answer.text[:200]}")
        for section in ("directory", "dialplan", "configuration", "cdr"):
            question = {"user": "1001", "domain": "a.example.com", "key_value": "sofia.conf"}
            answer = await http.post(f"/switch/{section}", data=question, auth=("node-1", "secret"))
            if not is_unavailable(answer) and section != "cdr":
                wrong.append(f"/switch/{section}: {answer.status_code} {answer.text[:200]}")
            if section == "cdr" and answer.status_code != 503:
                wrong.append(f"/switch/{section}: {answer.status_code} {answer.text[:200]}")
    await database.close()
    assert not wrong
    assert len(paths) > 40


@dataclass
class Cut:
    """Whether the connection was cut."""

    happened: bool = False


def _end_session(url: str, connection: Connection) -> None:
    """What an administrator, or a server that goes down, does to a session."""
    driver: Any = connection.connection.driver_connection
    plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(plain, autocommit=True) as administrator:
        administrator.execute("SELECT pg_terminate_backend(%s, 5000)", (driver.info.backend_pid,))


@contextmanager
def cut_before(api: Api, moment: str) -> Generator[Cut]:
    """End the database's session just before the first statement that begins like this (or before COMMIT)."""
    cut, engine = Cut(), api.database.engine.sync_engine

    def before_statement(connection: Connection, _cursor: Any, statement: str, *_: Any) -> None:
        if not cut.happened and statement.startswith(moment):
            cut.happened = True
            _end_session(api.database.url, connection)

    def before_commit(connection: Connection) -> None:
        if not cut.happened and moment == "COMMIT":
            cut.happened = True
            _end_session(api.database.url, connection)

    event.listen(engine, "before_cursor_execute", before_statement)
    event.listen(engine, "commit", before_commit)
    try:
        yield cut
    finally:
        event.remove(engine, "before_cursor_execute", before_statement)
        event.remove(engine, "commit", before_commit)


ORDERING = ("INSERT INTO holding", "INSERT INTO invoice_line", "INSERT INTO seat ", "INSERT INTO audit_entry", "COMMIT")
PAYING = ("UPDATE invoice", "INSERT INTO allocation", "COMMIT")


async def test_an_order_is_placed_whole_or_not_at_all(house: House) -> None:
    tenant = house.theirs
    for number, moment in enumerate(ORDERING, start=1):
        on = (clock.today() + timedelta(days=5 + number)).isoformat()
        body = {"contract_id": tenant.contract_id, "kind": "add", "quantity": 2, "effective_on": on}
        before = await house.contents()
        with cut_before(house.world.api, moment) as cut:
            answer = await tenant.admin.post("/v1/seat-orders", body, key=moment)
        assert cut.happened, moment
        assert is_unavailable(answer), answer.text
        assert await house.contents() == before, moment
        # The caller tries again with the same key, and again, and has ordered once.
        again = await tenant.admin.post("/v1/seat-orders", body, key=moment)
        assert again.status_code == 201, again.text
        assert (await tenant.admin.post("/v1/seat-orders", body, key=moment)).content == again.content
        assert len(await tenant.invoices("addition")) == number


async def test_a_payment_is_recorded_whole_or_not_at_all(house: House) -> None:
    tenant, finance = house.theirs, house.world.finance
    await house.world.travel_to("2026-07-26 00:00")
    owed = (await tenant.balance())["owed"]
    body = {"tenant_id": tenant.tenant_id, "amount": owed, "value_on": "2026-07-26"}
    await finance.ask("/v1/payments")  # signed in
    for moment in PAYING:
        assert (await tenant.standing())[0] == "suspended"
        before = await house.contents()
        with cut_before(house.world.api, moment) as cut:
            answer = await finance.post("/v1/payments", body, key=moment)
        assert cut.happened, moment
        assert is_unavailable(answer), answer.text
        assert await house.contents() == before, moment
        again = await finance.post("/v1/payments", body, key=moment)
        assert again.status_code == 201, again.text
        assert (await tenant.balance())["balance"] == "0.00"
        assert await tenant.seat(1).calls(MOBILE) == Answered()
        await finance.does(f"/v1/payments/{again.json()['payment_id']}/reversal", {"reason": "once more, please"})
        await house.world.work()
