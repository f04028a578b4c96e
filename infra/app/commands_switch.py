"""What `seatline` does for the switch side: add nodes, write their configuration, supervise them."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from infra.app.installation import Installation
from infra.kit import jobs
from infra.kit.database import Scope
from infra.kit.problems import InvalidInput
from switch import gateways, node_certificates, nodes, record_import, record_shipping
from switch.doctor.examine import Health, health_of, subject_of
from switch.node_certificates import CertificateRefused, SipTls
from switch.node_configuration import DirectoryRefused, write_node_configuration
from switch.nodes import NodeDetails, NodeLimits
from switch.record_import import Imported
from switch.record_shipping import Shipped
from switch.switchd import Switchd

TLS_DIRECTORY = "tls"
"""In a node's configuration directory: its certificate for SIP over TLS."""


async def add_node(installation: Installation, details: NodeDetails) -> str:
    """Add a node and return its id; what it needs to start is written by `node_config`."""
    database = installation.database()
    try:
        async with database.transaction(Scope.platform()) as session:
            return (await nodes.create_node(session, installation.seal, details)).node_id
    finally:
        await database.close()


async def node_config(
    installation: Installation,
    name: str,
    directory: Path,
    *,
    spool_directory: Path | None = None,
    control_networks: Sequence[str] = (),
    api_url: str | None = None,
    ca_file: Path | None = None,
    sip_tls: SipTls | None = None,
    limits: NodeLimits | None = None,
) -> tuple[Path, ...]:
    """Write the complete configuration directory of a node and return its files.

    `spool_directory` (absolute, on the node) is where call records wait that could not be delivered; by default
    `spool/` in the directory. `control_networks` (CIDR) may command the node besides its own machine: where switchd
    and the workers run. `api_url`: where the node reaches the API, by default SEATLINE_PUBLIC_URL; `ca_file` (absolute,
    on the node) vouches for its certificate. `sip_tls`: phones may register over TLS. `limits`: what is kept of the
    node from now on, for this and every later run.
    Raises `InvalidInput` and `NodeUnknown` with one clear line.
    """
    target = Path.cwd() / directory
    database = installation.database()
    try:
        async with database.transaction(Scope.platform()) as session:
            node = await nodes.get_by_name(session, name)
            if limits is not None:
                await nodes.set_limits(session, node, limits)
            node.sip_tls_port = sip_tls.port if sip_tls else None  # what phones are told from now on
            settings = nodes.configuration(
                node,
                await gateways.settings_for_nodes(session, installation.seal),
                installation.seal,
                api_url=api_url or installation.settings.public_url,
                spool_directory=spool_directory or target / "spool",
                control_networks=control_networks,
                api_ca_file=ca_file,
                sip_tls_port=sip_tls.port if sip_tls else None,
                sip_tls_directory=target / TLS_DIRECTORY if sip_tls else None,
            )
    finally:
        await database.close()
    if sip_tls is not None and sip_tls.is_self_made and installation.settings.environment == "production":
        raise InvalidInput("A self-made certificate is for development; name --sip-tls-certificate.", field="sip_tls")

    def write() -> tuple[Path, ...]:
        files = write_node_configuration(settings, target)
        if sip_tls is not None:
            node_certificates.provide(target / TLS_DIRECTORY, sip_tls, host=settings.sip_ip)
        return files

    try:
        return await asyncio.to_thread(write)
    except CertificateRefused as refused:
        raise InvalidInput(f"{refused}.", field="sip_tls") from refused
    except DirectoryRefused as refused:
        raise InvalidInput(f"{refused}.", field="out") from refused
    except OSError as error:
        raise InvalidInput(f"{target} cannot be written: {error.strerror or error}.", field="out") from error


def sip_tls_of(port: int | None, certificate: Path | None, key: Path | None) -> SipTls | None:
    """What the options of `node-config` say about SIP over TLS. Raises `InvalidInput`."""
    if port is None and (certificate or key):
        raise InvalidInput("Name --sip-tls-port beside the certificate.", field="sip_tls_port")
    if key is not None and certificate is None:
        raise InvalidInput("Name --sip-tls-certificate beside its key.", field="sip_tls_certificate")
    return None if port is None else SipTls(port, certificate, key)


async def node_doctor(installation: Installation, name: str) -> Health:
    """Ask a node how it is, now. Raises `NodeUnknown` and `Unavailable`; a node that is away is a finding."""
    database = installation.database()
    try:
        async with database.transaction(Scope.platform()) as session:
            subject = await subject_of(session, name, installation.seal, installation.settings)
    finally:
        await database.close()
    return await health_of(subject, installation.seal, installation.settings)


def health_lines(health: Health) -> list[str]:
    """A node's health as lines of a terminal."""
    lines = [f"{health.name} ({health.state}): {health.verdict.value}"]
    for finding in health.findings:
        lines.append(f"{finding.verdict.value:8} {finding.check}: {finding.found} (expected: {finding.expected})")
        if finding.advice:
            lines.append(f"{'':8} -> {finding.advice}")
    return lines


async def cdr_import(installation: Installation, directory: Path) -> Imported:
    """Store the call records below a node's spool directory once, and remove the files that are stored.

    Raises `InvalidInput` for a directory that is none, `Unavailable` when the database is away.
    """
    database = installation.database()
    try:
        return await record_import.import_directory(
            database, directory, file_limit_bytes=installation.settings.record_limit_bytes
        )
    finally:
        await database.close()


async def cdr_ship(directory: Path, *, every_seconds: float | None) -> Shipped:
    """Ship a node's call records from its disk to the API; on the node, without settings of an installation.

    `every_seconds`: again and again until SIGTERM or SIGINT; None: once. Raises `ShippingRefused`.
    """
    settings = record_shipping.read_settings(directory)
    if every_seconds is None:
        return await record_shipping.ship(settings)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    done = Shipped()
    while not stop.is_set():
        done = await record_shipping.ship(settings)
        with suppress(TimeoutError):
            async with asyncio.timeout(every_seconds):
                await stop.wait()
    return done


async def switchd(installation: Installation) -> None:
    """Supervise every node until SIGTERM or SIGINT."""
    database = installation.database()
    jobs.install(jobs.Runtime(database, installation.settings))
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        await Switchd(database, installation.settings).run(stop)
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
        await database.close()
