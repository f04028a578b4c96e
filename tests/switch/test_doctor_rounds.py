"""Nodes and edges are examined without anybody asking, and what was found stays to be seen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
import structlog.testing

from infra.kit.database import Scope
from infra.kit.jobs import Runtime
from infra.kit.sealing import Seal
from switch.doctor import rounds
from switch.doctor.edge_reading import EdgeReading, edge_findings, read_edge
from switch.doctor.findings import CertificateReading, Verdict, worst
from switch.edge import edges
from switch.edge.documents import EdgeAddress
from tests.api import Api
from tests.switch.cluster import add_node

NOW = datetime(2026, 6, 1, tzinfo=UTC)


@asynccontextmanager
async def _edge(answer: bytes) -> AsyncGenerator[EdgeAddress]:
    """Something that listens and answers this to whatever comes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield EdgeAddress("east", "127.0.0.1", server.sockets[0].getsockname()[1])
    finally:
        server.close()


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (b"SIP/2.0 200 OK\r\n\r\n", None),
        (b"SIP/2.0 503 \x1b[31mNo\r\n\r\n", "answered SIP/2.0 503 [31mNo"),
        (b"", "answered nothing"),
        (b"x" * 100_000, "ValueError"),
    ],
)
async def test_an_edge_is_asked_as_a_phone_would_ask_it(answer: bytes, problem: str | None) -> None:
    async with _edge(answer) as edge:
        assert (await read_edge(edge)).problem == problem


async def test_an_edge_where_nobody_listens_and_a_certificate_that_ends_soon_are_errors() -> None:
    async with _edge(b"") as edge:
        pass
    gone = await read_edge(edge)
    assert gone.problem is not None
    soon = CertificateReading("of the edge", "e:5061", NOW + timedelta(days=3))
    findings = edge_findings(edge, EdgeReading(None, soon), NOW)
    assert [(each.check, each.verdict) for each in findings] == [
        ("options", Verdict.FINE),
        ("certificate of the edge", Verdict.ERROR),
    ]
    assert worst(edge_findings(edge, gone, NOW)) is Verdict.ERROR


async def test_every_node_in_service_and_every_edge_is_examined_and_what_was_found_is_shown(api: Api) -> None:
    seal = Seal(api.settings.secret_key)
    for name, state in (("fs-1", "active"), ("fs-2", "draining")):
        await add_node(api.database, seal, name, state=state)
    async with _edge(b"SIP/2.0 200 OK\r\n\r\n") as edge:
        async with api.database.transaction(Scope.platform()) as session:
            made = await edges.create_edge(
                session, name="east", host=edge.host, sip_port=edge.sip_port, sip_tls_port=None
            )
        runtime = Runtime(api.database, api.settings)
        with structlog.testing.capture_logs() as told:
            verdicts = await rounds.examine_cluster(runtime)
        assert verdicts == {("node", "fs-1"): Verdict.ERROR, ("edge", "east"): Verdict.FINE}
        assert [(each["log_level"], each["name"]) for each in told if each["event"] == "cluster.unwell"] == [
            ("error", "fs-1")
        ]
        operator = await api.client("platform_operator")
        shown = (await operator.get("/v1/examinations")).json()["items"]
        assert [(each["kind"], each["name"], each["verdict"]) for each in shown] == [
            ("node", "fs-1", "error"),
            ("edge", "east", "fine"),
        ]
        assert any(finding["check"] == "connection" and finding["advice"] for finding in shown[0]["findings"])
        async with api.database.transaction(Scope.platform()) as session:
            await edges.delete_edge(session, made.edge_id)
        await rounds.examine_cluster(runtime)
        shown = (await operator.get("/v1/examinations")).json()["items"]
        assert [each["name"] for each in shown] == ["fs-1"]
    viewer = await api.client("tenant_viewer", await api.tenant())
    assert (await viewer.get("/v1/examinations")).status_code == 403
