"""Calls and configuration as nodes ask for them, and what happens when the database is away."""

from __future__ import annotations

import asyncio
import dataclasses
import time

import httpx
import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url

from infra.app import asgi
from infra.kit.database import Database, Scope
from switch import gateways, node_api, phone_numbers
from tests.api import Api
from tests.switch.exchange import (
    INVITE,
    NOT_FOUND,
    REGISTER,
    Exchange,
    call_record,
    encoded,
    lookup_form,
    recorded_form,
)


@pytest.fixture
async def exchange(api: Api) -> Exchange:
    return await Exchange(api).open()


async def test_a_seat_calls_out_with_the_tenants_number(exchange: Exchange) -> None:
    renter = await exchange.add_tenant()
    document = await exchange.dial(renter, "138 0013 8000")
    assert f'<context name="{renter.tenant_id}">' in document
    assert "sofia/gateway/carrier/8613800138000" in document
    assert f"effective_caller_id_number={renter.number}" in document
    assert f"seatline_service={renter.tenant_id}" in document
    assert f"seatline_seat={renter.seats['1001']}" in document


async def test_a_seat_calls_a_seat(exchange: Exchange) -> None:
    renter = await exchange.add_tenant()
    assert f"user/1002@{renter.domain}" in await exchange.dial(renter, "1002")
    assert "seatline_refusal=unknown_number" in await exchange.dial(renter, "1009")


async def test_a_suspended_tenant_reaches_emergency_numbers_and_nothing_else(exchange: Exchange) -> None:
    renter = await exchange.add_tenant()
    await exchange.suspend(renter)
    for context in (renter.tenant_id, "emergency"):
        for dialled in ("13800138000", "1002"):
            refused = await exchange.dial(renter, dialled, context=context)
            assert "seatline_refusal=tenant_suspended" in refused
            assert "bridge" not in refused
        for number in ("110", "119", "120", "122"):
            emergency = await exchange.dial(renter, number, context=context)
            assert f"sofia/gateway/carrier/{number}" in emergency
            assert "seatline_service=" not in emergency


async def test_a_call_from_outside_rings_the_seat_of_its_number(exchange: Exchange) -> None:
    renter = await exchange.add_tenant()
    form = recorded_form("dialplan") | {
        "Caller-Context": "public",
        "Caller-Destination-Number": f"+{renter.number}",
        "Caller-Caller-ID-Number": "13911112222",
        "variable_sip_network_ip": "192.0.2.10",
        "variable_sip_network_port": "5070",
    }
    document = await exchange.ask("dialplan", form)
    assert '<context name="public">' in document
    assert f"user/1001@{renter.domain}" in document
    assert "seatline_gateway=carrier" in document
    await exchange.suspend(renter)
    assert "seatline_refusal=tenant_suspended" in await exchange.ask("dialplan", form)
    unknown = await exchange.ask("dialplan", form | {"Caller-Destination-Number": "+8621555500001"})
    assert "seatline_refusal=unknown_number" in unknown


async def test_a_call_from_outside_to_a_number_that_was_released_rings_nowhere(exchange: Exchange) -> None:
    renter = await exchange.add_tenant()
    async with exchange.api.database.transaction(Scope.platform()) as session:
        await phone_numbers.release(session, f"+{renter.number}")
    form = recorded_form("dialplan") | {
        "Caller-Context": "public",
        "Caller-Destination-Number": f"+{renter.number}",
        "variable_sip_network_ip": "192.0.2.10",
    }
    assert "seatline_refusal=unknown_number" in await exchange.ask("dialplan", form)
    assert "seatline_refusal=number_not_yours" in await exchange.dial(renter, "13800138000")


async def test_a_context_that_is_not_the_callers_own_is_not_answered(exchange: Exchange) -> None:
    ours, theirs = await exchange.add_tenant(), await exchange.add_tenant()
    assert NOT_FOUND in await exchange.dial(ours, "1002", context=theirs.tenant_id)
    assert NOT_FOUND in await exchange.dial(ours, "1002", context="refused")
    assert NOT_FOUND in await exchange.ask("dialplan", recorded_form("dialplan"))


async def test_a_call_at_a_node_that_does_not_serve_the_tenant_is_refused(exchange: Exchange) -> None:
    renter = await exchange.add_tenant(node="node-1")
    assert "seatline_refusal=wrong_node" in await exchange.dial(renter, "1002", node="node-2")


@pytest.mark.parametrize(
    "dialled", ["", "\x00", "1" * 5_000, "${system(reboot)}", "sofia/external/1@evil", "1002,1003"]
)
async def test_whatever_is_dialled_gets_a_document(exchange: Exchange, dialled: str) -> None:
    renter = await exchange.add_tenant()
    document = await exchange.dial(renter, dialled)
    assert "seatline_refusal=destination_invalid" in document
    assert "evil" not in document
    assert "system" not in document


async def test_the_profiles_are_answered_with_the_gateways_of_this_moment(exchange: Exchange) -> None:
    form = recorded_form("sofia-configuration")
    assert '<gateway name="carrier">' in await exchange.ask("configuration", form)
    async with exchange.api.database.transaction(Scope.platform()) as session:
        await gateways.create_gateway(
            session,
            exchange.seal,
            name="second",
            host="192.0.2.20",
            port=5060,
            username="lease",
            password="p&<word>",
            registers=True,
        )
    document = await exchange.ask("configuration", form)
    assert '<gateway name="second">' in document
    assert 'value="p&amp;&lt;word&gt;"' in document


async def test_who_may_call_in_is_answered_and_who_may_command_is_not(exchange: Exchange) -> None:
    document = await exchange.ask("configuration", recorded_form("sofia-configuration") | {"key_value": "acl.conf"})
    assert 'cidr="192.0.2.10/32"' in document
    assert 'name="gateways"' in document
    assert "127.0.0" not in document


async def test_a_call_from_an_address_of_no_gateway_is_refused_whatever_the_node_let_in(exchange: Exchange) -> None:
    renter = await exchange.add_tenant()
    form = recorded_form("dialplan") | {
        "Caller-Context": "public",
        "Caller-Destination-Number": f"+{renter.number}",
        "variable_sip_network_ip": "198.51.100.7",
    }
    document = await exchange.ask("dialplan", form)
    assert "seatline_refusal=unknown_gateway" in document
    assert renter.tenant_id not in document


@pytest.mark.parametrize("name", ["json_cdr.conf", "event_socket.conf", ""])
async def test_every_other_configuration_file_is_the_nodes_own(exchange: Exchange, name: str) -> None:
    assert NOT_FOUND in await exchange.ask("configuration", recorded_form("sofia-configuration") | {"key_value": name})


@pytest.mark.parametrize("path", ["/switch/directory", "/switch/dialplan", "/switch/configuration", "/switch/cdr"])
async def test_every_endpoint_wants_a_node(exchange: Exchange, path: str) -> None:
    body = encoded(recorded_form("sofia-configuration"))
    assert (await exchange.api.http.post(path, content=body)).status_code == 401
    assert (await exchange.api.http.post(path, content=body, auth=("node-1", "wrong"))).status_code == 401
    await exchange.change_node("node-1", state="left")
    assert (await exchange.post(path, body)).status_code == 401


async def test_a_form_of_very_many_fields_is_refused(exchange: Exchange) -> None:
    answer = await exchange.post("/switch/dialplan", b"a=1&" * 3_000)
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed_request")


async def test_when_connections_die_the_next_question_gets_new_ones(exchange: Exchange) -> None:
    renter = await exchange.add_tenant()
    await exchange.look_up(renter, "1001", REGISTER)
    await exchange.report(call_record(renter.tenant_id))
    _end_connections(exchange)
    assert NOT_FOUND not in await exchange.look_up(renter, "1001", INVITE)
    assert (await exchange.report(call_record(renter.tenant_id))).status_code == 200
    assert len(await exchange.stored()) == 2


async def test_while_the_database_is_away_nodes_get_503_soon(exchange: Exchange) -> None:
    renter = await exchange.add_tenant()
    away = make_url(exchange.api.database.url).update_query_dict({"host": "/nonexistent"}).render_as_string(False)
    database = Database(away, pool_size=1, timeout_seconds=1)
    application = asgi.build(dataclasses.replace(exchange.api.settings, database_url=away), database)
    transport = httpx.ASGITransport(app=application)
    auth = ("node-1", exchange.secrets["node-1"])
    bodies = {
        "/switch/directory": encoded(lookup_form("1001", renter.domain) | REGISTER),
        "/switch/dialplan": encoded(recorded_form("dialplan")),
        "/switch/configuration": encoded(recorded_form("sofia-configuration")),
        "/switch/cdr": b"nonsense",
    }
    began = time.monotonic()
    async with httpx.AsyncClient(transport=transport, base_url="http://seatline.test", auth=auth) as http:
        answers = await asyncio.gather(*(http.post(path, content=body) for path, body in bodies.items()))
    assert [(answer.status_code, "retry-after" in answer.headers) for answer in answers] == [(503, True)] * 4
    assert time.monotonic() - began < 4
    await database.close()


async def test_a_lookup_that_has_to_wait_for_a_lock_gets_503_and_the_next_one_its_answer(
    exchange: Exchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_api, "STATEMENT_TIMEOUT_SECONDS", 0.2)
    renter = await exchange.add_tenant()
    assert exchange.api.settings.database_url is not None
    database = Database(exchange.api.settings.database_url, pool_size=1)
    transport = httpx.ASGITransport(app=asgi.build(exchange.api.settings, database))
    auth = ("node-1", exchange.secrets["node-1"])
    body = encoded(lookup_form("1001", renter.domain) | REGISTER)
    async with httpx.AsyncClient(transport=transport, base_url="http://seatline.test", auth=auth) as http:
        async with exchange.api.database.transaction(Scope.platform()) as session:
            await session.execute(text("SET LOCAL ROLE NONE"))
            await session.execute(text("LOCK TABLE sip_account IN ACCESS EXCLUSIVE MODE"))
            assert (await http.post("/switch/directory", content=body)).status_code == 503
        assert (await http.post("/switch/directory", content=body)).status_code == 200
    await database.close()


def _end_connections(exchange: Exchange) -> None:
    url = make_url(exchange.api.database.url)
    with psycopg.connect(
        url.set(drivername="postgresql", database="postgres").render_as_string(hide_password=False), autocommit=True
    ) as connection:
        ended = connection.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = %s", (url.database,)
        ).fetchone()
    assert ended is not None
    assert ended[0] >= 3
