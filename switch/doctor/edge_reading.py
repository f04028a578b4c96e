"""Whether a SIP edge answers where phones are told that it is, and how long its certificate holds."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass
from datetime import datetime

from switch.doctor.certificates import read_certificate
from switch.doctor.findings import CertificateReading, Finding, Verdict, certificate_finding
from switch.edge.documents import EdgeAddress
from switch.sip.uri import format_host

TIMEOUT_SECONDS = 5.0
ANSWER_LIMIT_BYTES = 4_096
ANSWERED = b"SIP/2.0 200"


@dataclass(frozen=True, slots=True)
class EdgeReading:
    """`problem`: why OPTIONS was not answered (None: it was); `certificate`: None where it listens without TLS."""

    problem: str | None
    certificate: CertificateReading | None


async def read_edge(edge: EdgeAddress) -> EdgeReading:
    """Ask an edge by OPTIONS over TCP, and look at its certificate. Never raises for what the other side does."""
    problem = await _options(edge)
    certificate = None
    if edge.sip_tls_port is not None:
        certificate = await read_certificate("of the edge", edge.host, edge.sip_tls_port)
    return EdgeReading(problem, certificate)


def edge_findings(edge: EdgeAddress, reading: EdgeReading, at: datetime) -> list[Finding]:
    """What is wrong with an edge. `at`: the moment of the reading, in real time."""
    where = f"{format_host(edge.host)}:{edge.sip_port}"
    findings = [
        Finding(
            "options",
            Verdict.FINE if reading.problem is None else Verdict.ERROR,
            f"{where} answers" if reading.problem is None else f"{where}: {reading.problem}",
            "200 to OPTIONS over TCP",
            ""
            if reading.problem is None
            else "see that Kamailio runs there, its log, and that phones may reach its port",
        )
    ]
    if reading.certificate is not None:
        findings.append(certificate_finding(reading.certificate, at))
    return findings


async def _options(edge: EdgeAddress) -> str | None:
    target = f"sip:{format_host(edge.host)}:{edge.sip_port};transport=tcp"
    request = "\r\n".join(
        (
            f"OPTIONS {target} SIP/2.0",
            f"Via: SIP/2.0/TCP doctor.invalid;branch=z9hG4bK{secrets.token_hex(8)};rport",
            "Max-Forwards: 5",
            f"From: <sip:doctor@doctor.invalid>;tag={secrets.token_hex(4)}",
            f"To: <{target}>",
            f"Call-ID: {secrets.token_hex(12)}",
            "CSeq: 1 OPTIONS",
            "Content-Length: 0",
            "",
            "",
        )
    )
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            reader, writer = await asyncio.open_connection(edge.host, edge.sip_port, limit=ANSWER_LIMIT_BYTES)
            try:
                writer.write(request.encode())
                await writer.drain()
                line = await reader.readline()
            finally:
                writer.transport.abort()
    except TimeoutError:
        return f"no answer within {TIMEOUT_SECONDS:g} s"
    except (OSError, ValueError) as error:
        return getattr(error, "strerror", None) or type(error).__name__
    if line.startswith(ANSWERED):
        return None
    said = "".join(filter(str.isprintable, line.decode(errors="replace")))[:80]
    return f"answered {said or 'nothing'}"
