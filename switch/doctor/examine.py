"""Examines one node: what is expected comes from its row, what is so from the node and its TLS addresses."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit import clock
from infra.kit.ids import is_id
from infra.kit.sealing import Seal
from infra.kit.settings import Settings
from switch import gateways, nodes
from switch.doctor.certificates import read_certificate
from switch.doctor.findings import CertificateReading, Examination, Finding, SupervisionReading, Verdict, examine, worst
from switch.doctor.reading import NodeReading, read_node
from switch.documents.files import MODULES
from switch.documents.settings import NodeConfiguration
from switch.models import Node

HTTPS_PORT = 443
_UNUSED_SPOOL = Path("/nonexistent")


@dataclass(frozen=True, slots=True)
class Subject:
    """A node as its row is now, and what it should be like."""

    node: Node
    expected: NodeConfiguration
    supervision: SupervisionReading


@dataclass(frozen=True, slots=True)
class Health:
    """How a node is; `examined_at` in real time."""

    node_id: str
    name: str
    state: str
    examined_at: datetime
    verdict: Verdict
    findings: tuple[Finding, ...]


async def subject_of(session: AsyncSession, name: str, seal: Seal, settings: Settings) -> Subject:
    """A node by its name or id. Raises `NodeUnknown`."""
    node = await (nodes.get(session, name) if is_id("node", name) else nodes.get_by_name(session, name))
    expected = nodes.configuration(
        node,
        await gateways.settings_for_nodes(session, seal),
        seal,
        api_url=settings.public_url,
        spool_directory=_UNUSED_SPOOL,
    )
    now = clock.now()
    heard = None if node.heartbeat_at is None else (now - node.heartbeat_at).total_seconds()
    supervision = SupervisionReading(
        state=node.state,
        is_supervised=node.supervised_until is not None and node.supervised_until > now,
        heard_seconds_ago=heard,
        silence_limit_seconds=settings.node_heartbeat_timeout_seconds,
    )
    return Subject(node, expected, supervision)


async def health_of(subject: Subject, seal: Seal, settings: Settings) -> Health:
    """Ask the node and look at its certificates; takes no longer than `reading.WHOLE_LIMIT_SECONDS` and some.

    Needs no transaction: nothing is held while a slow node is waited for. Changes nothing on the node.
    """
    node, expected = subject.node, subject.expected
    reading = await read_node(node, expected.gateways, seal, timeout_seconds=settings.switch_command_timeout_seconds)
    certificates = await _api_certificates(reading, expected.api_url)
    if reading.sip_tls_port is not None:
        certificates.append(await read_certificate("of SIP", node.sip_host, reading.sip_tls_port))
    examined_at = clock.now() - timedelta(seconds=clock.offset_seconds())
    findings = examine(
        Examination(
            expected=expected,
            modules=MODULES,
            reading=reading,
            supervision=subject.supervision,
            certificates=certificates,
            at=examined_at,
        )
    )
    return Health(node.node_id, node.name, node.state, examined_at, worst(findings), tuple(findings))


async def _api_certificates(reading: NodeReading, public_url: str) -> list[CertificateReading]:
    """Of the address where the node asks the API, and of the one that everybody else uses."""
    asked = tls_address(reading.api_url) if reading.api_url else None
    public = tls_address(public_url)
    wanted = {"of the API": asked if reading.api_url else public}
    if reading.api_url and public != asked:
        wanted["of the API's public address"] = public
    read = [read_certificate(what, *address) for what, address in wanted.items() if address is not None]
    return [
        replace(certificate, is_used=bool(reading.asks_api) and certificate.what == "of the API")
        for certificate in await asyncio.gather(*read)
    ]


def tls_address(url: str) -> tuple[str, int] | None:
    """Host and port of an https address; None for any other, and for what is none."""
    try:
        parts = urlsplit(url)
        port = parts.port or HTTPS_PORT
    except ValueError:
        return None
    return None if parts.scheme != "https" or parts.hostname is None else (parts.hostname, port)
