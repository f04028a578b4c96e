"""`seatline node doctor`: each thing that is wrong with a node is found, said plainly, and comes with advice."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from infra.app import commands_switch
from infra.app.installation import Installation
from infra.kit import clock
from infra.kit.database import Database, Scope
from infra.kit.sealing import Seal
from infra.kit.settings import Settings
from switch import gateways, node_certificates, nodes
from switch.commands import NodeStatus
from switch.doctor.certificates import read_certificate
from switch.doctor.examine import Health, tls_address
from switch.doctor.findings import CertificateReading, Examination, Finding, SupervisionReading, Verdict, examine, worst
from switch.doctor.reading import NodeReading, read_node
from switch.documents.files import API_URL, MODULES
from switch.documents.settings import Gateway, NodeConfiguration
from switch.errors import NodeUnknown
from switch.listening import Socket
from switch.nodes import NodeDetails
from switch.simulator.node import SimulatedNode
from tests.api import Api
from tests.ports import free_ports
from tests.switch.cluster import add_node
from tests.switch.cluster import read_node as node_row
from tests.switch.esl.scripted_node import PASSWORD, ScriptedNode
from tests.switch.serving import served

NOW = datetime(2026, 6, 1, tzinfo=UTC)
READY = NodeStatus(is_ready=True, version="1.11.2-release git 3f13ad1", sessions=10, sessions_since_startup=20)


def expected() -> NodeConfiguration:
    return NodeConfiguration(
        name="fs-1",
        api_url="https://api.example",
        node_secret="s",
        esl_host="127.0.0.1",
        esl_port=8021,
        esl_password="p",
        sip_ip="127.0.0.1",
        sip_port=5060,
        external_sip_port=5080,
        rtp_start_port=20_000,
        rtp_end_port=21_000,
        spool_directory=Path("/spool"),
        gateways=(Gateway("carrier", "192.0.2.1"), Gateway("signed-in", "192.0.2.2", 5060, "u", "p", register=True)),
    )


def healthy() -> NodeReading:
    return NodeReading(
        slowest_answer_seconds=0.01,
        name="fs-1",
        status=READY,
        max_sessions=5_000,
        sessions_per_second=200,
        skew_seconds=0.01,
        modules=dict.fromkeys(MODULES, True),
        profiles={"internal": "RUNNING", "external": "RUNNING"},
        sockets={"internal": Socket("127.0.0.1", 5060), "external": Socket("127.0.0.1", 5080)},
        gateways={"carrier": "NOREG", "signed-in": "REGED"},
        admits_gateways={"carrier": True, "signed-in": True},
        asks_api=True,
        api_seconds=0.02,
    )


SUPERVISED = SupervisionReading("active", is_supervised=True, heard_seconds_ago=3, silence_limit_seconds=30)


def findings_of(
    reading: NodeReading,
    *,
    supervision: SupervisionReading = SUPERVISED,
    certificates: tuple[CertificateReading, ...] = (),
) -> list[Finding]:
    return examine(
        Examination(
            expected=expected(),
            modules=MODULES,
            reading=reading,
            supervision=supervision,
            certificates=certificates,
            at=NOW,
        )
    )


def wrong(findings: list[Finding]) -> dict[str, Verdict]:
    for finding in findings:
        assert bool(finding.advice) == (finding.verdict is not Verdict.FINE), finding
    return {finding.check: finding.verdict for finding in findings if finding.verdict is not Verdict.FINE}


def test_a_healthy_node_has_nothing_wrong_and_everything_was_looked_at() -> None:
    findings = findings_of(healthy(), certificates=(CertificateReading("of SIP", "x:1", NOW + timedelta(days=90)),))
    assert wrong(findings) == {}
    assert worst(findings) is Verdict.FINE
    assert [finding.check for finding in findings] == [
        "supervisor",
        "heartbeat",
        "state",
        "connection",
        "name",
        "version",
        "clock",
        "modules",
        "max_sessions",
        "sessions_per_second",
        "load",
        "profile internal",
        "profile external",
        "gateway carrier",
        "gateway signed-in",
        "api",
        "certificate of SIP",
    ]


@pytest.mark.parametrize(
    ("change", "check", "verdict"),
    [
        ({"unreachable": "cannot connect"}, "connection", Verdict.ERROR),
        ({"unanswered": "'status' within 5 s"}, "connection", Verdict.ERROR),
        ({"slowest_answer_seconds": 1.5}, "connection", Verdict.WARNING),
        ({"name": "fs-2"}, "name", Verdict.ERROR),
        ({"status": replace(READY, version="1.8.7")}, "version", Verdict.ERROR),
        ({"status": replace(READY, version="unheard of")}, "version", Verdict.ERROR),
        ({"status": None}, "version", Verdict.ERROR),
        ({"status": replace(READY, is_ready=False)}, "readiness", Verdict.ERROR),
        ({"status": replace(READY, sessions=4_500)}, "load", Verdict.WARNING),
        ({"skew_seconds": -1.5}, "clock", Verdict.WARNING),
        ({"skew_seconds": 30.0}, "clock", Verdict.ERROR),
        ({"modules": dict.fromkeys(MODULES[1:], True)}, "modules", Verdict.ERROR),
        ({"max_sessions": 1_000}, "max_sessions", Verdict.WARNING),
        ({"sessions_per_second": 30}, "sessions_per_second", Verdict.WARNING),
        ({"profiles": {"internal": "RUNNING"}}, "profile external", Verdict.ERROR),
        ({"profiles": {"internal": "DOWN", "external": "RUNNING"}}, "profile internal", Verdict.ERROR),
        ({"sockets": {"internal": Socket("127.0.0.1", 6060)}}, "profile internal", Verdict.ERROR),
        ({"sockets": {"external": Socket("127.0.0.2", 5080)}}, "profile external", Verdict.ERROR),
        ({"gateways": {"signed-in": "REGED"}}, "gateway carrier", Verdict.ERROR),
        ({"gateways": {"carrier": "NOREG", "signed-in": "FAIL_WAIT"}}, "gateway signed-in", Verdict.WARNING),
        ({"gateways_up": {"carrier": False, "signed-in": True}}, "gateway carrier", Verdict.ERROR),
        ({"admits_gateways": {"carrier": False}}, "gateway carrier in", Verdict.ERROR),
        ({"asks_api": False, "api_seconds": 5.0}, "api", Verdict.ERROR),
        ({"api_seconds": 2.0}, "api", Verdict.WARNING),
    ],
)
def test_what_is_wrong_is_the_one_thing_found(change: dict[str, Any], check: str, verdict: Verdict) -> None:
    assert wrong(findings_of(replace(healthy(), **change))) == {check: verdict}


@pytest.mark.parametrize(
    ("change", "check", "verdict"),
    [
        ({"is_supervised": False}, "supervisor", Verdict.ERROR),
        ({"heard_seconds_ago": None}, "heartbeat", Verdict.ERROR),
        ({"heard_seconds_ago": 31.0}, "heartbeat", Verdict.ERROR),
        ({"state": "draining"}, "state", Verdict.WARNING),
        ({"state": "dead"}, "state", Verdict.ERROR),
        ({"state": "cut_off"}, "state", Verdict.ERROR),
    ],
)
def test_what_its_row_says_counts_too(change: dict[str, Any], check: str, verdict: Verdict) -> None:
    assert wrong(findings_of(healthy(), supervision=replace(SUPERVISED, **change))) == {check: verdict}


def test_a_node_that_is_drained_may_be_paused() -> None:
    paused = replace(healthy(), status=replace(READY, is_ready=False))
    assert wrong(findings_of(paused, supervision=replace(SUPERVISED, state="drained"))) == {"state": Verdict.WARNING}


@pytest.mark.parametrize(
    ("skew_seconds", "verdict", "found"),
    [
        (5_184_000.25, Verdict.FINE, "0.250 s ahead of the demo's clock, which has travelled 60.0 days"),
        (5_183_998.0, Verdict.WARNING, "2.000 s behind the demo's clock, which has travelled 60.0 days"),
        (0.25, Verdict.FINE, "0.250 s ahead of ours"),
        (30.0, Verdict.ERROR, "30.000 s ahead of ours"),
    ],
)
def test_a_node_that_travels_with_a_demos_clock_is_judged_by_that(
    skew_seconds: float, verdict: Verdict, found: str
) -> None:
    reading = replace(healthy(), skew_seconds=skew_seconds, travelled_seconds=5_184_000.0)
    finding = next(each for each in findings_of(reading) if each.check == "clock")
    assert (finding.verdict, finding.found) == (verdict, found)


@pytest.mark.parametrize(
    ("days", "verdict"), [(31, None), (29, Verdict.WARNING), (6, Verdict.ERROR), (-1, Verdict.ERROR), (None, "none")]
)
def test_a_certificate_that_ends_soon_is_told_in_time(days: int | None, verdict: Verdict | str | None) -> None:
    ends = None if days is None else NOW + timedelta(days=days)
    found = wrong(findings_of(healthy(), certificates=(CertificateReading("of SIP", "x:5061", ends, "refused"),)))
    assert found.get("certificate of SIP") == (Verdict.ERROR if verdict == "none" else verdict)


def test_a_certificate_that_works_for_its_node_and_cannot_be_seen_from_here_is_no_fault() -> None:
    unseen = CertificateReading("of the API", "10.0.0.1:443", None, "no answer", is_used=True)
    assert wrong(findings_of(healthy(), certificates=(unseen,))) == {"certificate of the API": Verdict.WARNING}


@asynccontextmanager
async def showing_a_certificate(directory: Path, *, valid_for: timedelta) -> AsyncGenerator[int]:
    """The port of something that shows a certificate and hangs up."""
    pair = node_certificates.make_for_development(directory, host="127.0.0.1", valid_for=valid_for)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate)
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=context)
    async with server:
        yield int(server.sockets[0].getsockname()[1])


async def test_the_end_of_a_certificate_is_read_from_its_address(tmp_path: Path) -> None:
    async with showing_a_certificate(tmp_path, valid_for=timedelta(days=3)) as port:
        read = await read_certificate("of SIP", "127.0.0.1", port)
    real_now = clock.now() - timedelta(seconds=clock.offset_seconds())
    assert read.expires_at is not None
    assert abs(read.expires_at - (real_now + timedelta(days=3))) < timedelta(minutes=5)
    assert (await read_certificate("of SIP", "127.0.0.1", port)).problem


async def test_a_node_that_accepts_but_never_answers_is_an_answer_within_the_limit(
    database: Database, settings: Settings
) -> None:
    seal = Seal(settings.secret_key)
    async with ScriptedNode() as silent:
        silent.answers["api switchname"] = None
        row = await add_node(database, seal, "fs-1", esl_port=silent.port)
        row.sealed_esl_password = seal.close(PASSWORD)
        reading = await read_node(row, (), seal, timeout_seconds=0.05)
    assert reading.unanswered == "'switchname' within 0.05 s"
    assert wrong(findings_of(reading)) == {"connection": Verdict.ERROR}


async def test_a_node_that_nobody_runs_is_found_by_the_api(api: Api) -> None:
    row = await add_node(api.database, Seal(api.settings.secret_key), "fs-1", esl_port=9)
    operator = await api.client("platform_operator")
    by_name = (await operator.get("/v1/nodes/fs-1/health")).json()
    by_id = (await operator.get(f"/v1/nodes/{row.node_id}/health")).json()
    assert by_name["node_id"] == by_id["node_id"] == row.node_id
    assert by_name["verdict"] == "error"
    connection = next(finding for finding in by_name["findings"] if finding["check"] == "connection")
    assert "cannot connect to 127.0.0.1:9" in connection["found"]
    assert connection["advice"]
    assert (await operator.get("/v1/nodes/fs-9/health")).status_code == 404


@dataclass
class Running:
    """A simulated node that runs from node-config and asks the real application."""

    installation: Installation
    node: SimulatedNode

    async def health(self) -> Health:
        return await commands_switch.node_doctor(self.installation, "fs-1")


@asynccontextmanager
async def running(
    settings: Settings, database: Database, directory: Path, *, api_url: str | None = None
) -> AsyncGenerator[Running]:
    """`api_url`: where the node is to ask the API; None: at its public address."""
    sip_port, external_sip_port, esl_port = free_ports(3)
    details = NodeDetails(
        name="fs-1",
        sip_host="127.0.0.1",
        sip_port=sip_port,
        external_sip_port=external_sip_port,
        rtp_start_port=30_000,
        rtp_end_port=31_000,
        esl_host="127.0.0.1",
        esl_port=esl_port,
    )
    async with served(settings, database) as reachable:
        installation = Installation(reachable, database.url)
        async with database.transaction(Scope.platform()) as session:
            node = await nodes.create_node(session, installation.seal, details)
            node.state = "active"
            node.heartbeat_at = clock.now()
            node.supervisor, node.supervised_until = "here", clock.now() + timedelta(minutes=1)
            await gateways.create_gateway(session, installation.seal, name="carrier", host="192.0.2.10", port=5060)
        await commands_switch.node_config(installation, "fs-1", directory, api_url=api_url)
        simulated = SimulatedNode.from_configuration(directory)
        await simulated.start()
        try:
            yield Running(installation, simulated)
        finally:
            await simulated.stop()


async def test_a_node_started_from_node_config_is_fine_until_something_changes(
    settings: Settings, database: Database, tmp_path: Path
) -> None:
    async with running(settings, database, tmp_path / "conf") as system:
        health = await system.health()
        assert wrong(list(health.findings)) == {}
        lines = commands_switch.health_lines(health)
        assert lines[0] == "fs-1 (active): fine"
        assert any(line.startswith("fine     api: answers the node in") for line in lines)
        async with database.transaction(Scope.platform()) as session:
            await gateways.create_gateway(session, system.installation.seal, name="later", host="192.0.2.20", port=5060)
        changed = await system.health()
        assert "gateway later in" in wrong(list(changed.findings))
        assert any(
            line.strip().startswith("-> switchd tells it within seconds")
            for line in commands_switch.health_lines(changed)
        )
        async with database.transaction(Scope.platform()) as session:
            row = await nodes.get_by_name(session, "fs-1")
            row.secret_digest = "0" * 64
        assert wrong(list((await system.health()).findings))["api"] is Verdict.ERROR
    assert (await node_row(database, "fs-1")).state == "active"
    with pytest.raises(NodeUnknown):
        await commands_switch.node_doctor(system.installation, "fs-9")


async def test_a_node_of_a_demo_that_has_travelled_is_fine(
    settings: Settings, database: Database, tmp_path: Path
) -> None:
    clock.set_offset_seconds(timedelta(days=60).total_seconds())
    async with running(settings, database, tmp_path / "conf") as system:
        health = await system.health()
    assert wrong(list(health.findings)) == {}
    assert any("which has travelled 60.0 days" in line for line in commands_switch.health_lines(health))


async def test_the_certificate_is_looked_at_where_the_node_asks_the_api(
    settings: Settings, database: Database, tmp_path: Path
) -> None:
    async with showing_a_certificate(tmp_path, valid_for=timedelta(days=3)) as port:
        address = f"https://127.0.0.1:{port}"
        async with running(settings, database, tmp_path / "conf", api_url=address) as system:
            findings = {each.check: each for each in (await system.health()).findings}
            certificate = findings["certificate of the API"]
            assert certificate.verdict is Verdict.ERROR
            assert certificate.found.startswith(f"127.0.0.1:{port}: expires ")
            assert address in findings["api"].advice
            # Files of an earlier release do not say where.
            del system.node.core.global_variables[API_URL]
            assert "certificate of the API" not in {each.check for each in (await system.health()).findings}


@pytest.mark.parametrize("said", ["https://[", "https://api.example:99999999", "ftp://x", "https:", "\x00"])
def test_an_address_that_is_none_is_not_looked_at(said: str) -> None:
    assert tls_address(said) is None
