"""What `seatline` does for the switch side: add nodes, write their configuration, supervise them."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Sequence
from pathlib import Path

from infra.app.installation import Installation
from infra.kit import jobs
from infra.kit.database import Scope
from infra.kit.problems import InvalidInput
from switch import gateways, nodes, record_import
from switch.node_configuration import DirectoryRefused, write_node_configuration
from switch.nodes import NodeDetails
from switch.record_import import Imported
from switch.supervisor import Switchd


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
) -> tuple[Path, ...]:
    """Write the complete configuration directory of a node and return its files.

    `spool_directory` (absolute, on the node) is where call records wait that could not be delivered; by default
    `spool/` in the directory. `control_networks` (CIDR) may command the node besides its own machine: where switchd
    and the workers run. Raises `InvalidInput` and `NodeUnknown` with one clear line.
    """
    target = Path.cwd() / directory
    database = installation.database()
    try:
        async with database.transaction(Scope.platform()) as session:
            settings = nodes.configuration(
                await nodes.get_by_name(session, name),
                await gateways.settings_for_nodes(session, installation.seal),
                installation.seal,
                api_url=installation.settings.public_url,
                spool_directory=spool_directory or target / "spool",
                control_networks=control_networks,
            )
    finally:
        await database.close()
    try:
        return await asyncio.to_thread(write_node_configuration, settings, target)
    except DirectoryRefused as refused:
        raise InvalidInput(f"{refused}.", field="out") from refused
    except OSError as error:
        raise InvalidInput(f"{target} cannot be written: {error.strerror or error}.", field="out") from error


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
