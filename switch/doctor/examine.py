"""Examines one node: what is expected comes from its row, what is so from the node and its TLS addresses."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
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
from switch.doctor.reading import read_node
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
    reading, api_certificates = await asyncio.gather(
        read_node(node, expected.gateways, seal, timeout_seconds=settings.switch_command_timeout_seconds),
        _api_certificates(expected.api_url),
    )
    certificates = list(api_certificates)
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


async def _api_certificates(api_url: str) -> list[CertificateReading]:
    url = urlsplit(api_url)
    if url.scheme != "https" or url.hostname is None:
        return []
    return [await read_certificate("of the API", url.hostname, url.port or HTTPS_PORT)]
