"""What `seatline` does for SIP edges: write their files, keep them true, and print DNS records."""

from __future__ import annotations

import asyncio
import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from infra.app.installation import Installation
from infra.kit import logs
from infra.kit.database import Database, Scope
from infra.kit.problems import InvalidInput, Unavailable
from switch.edge import documents, edges, files
from switch.edge.documents import EdgeSettings, NameRefused
from tenancy import tenants

TEMPLATE = Path(__file__).parent.parent / "deploy" / "kamailio" / "kamailio.cfg"
PROGRAM_FILE = "kamailio.cfg"
MAX_REQUESTS_PER_SECOND = 100_000

log = logs.get(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeOptions:
    """What the edge's machine decides: where it listens, what it is called, its certificate, and its patience."""

    listen_on: str | None = None
    advertised: str | None = None
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    requests_per_second: int = 200


async def edge_config(installation: Installation, name: str, directory: Path, options: EdgeOptions) -> list[str]:
    """Write everything that a Kamailio needs to be the edge `name`; the files that changed.

    Raises `EdgeUnknown` and `InvalidInput` with one clear line.
    """
    target = (Path.cwd() / directory).resolve()
    database = installation.database()
    try:
        async with database.transaction(Scope.platform()) as session:
            edge = edges.address_of(await edges.get_edge(session, name))
            known = await edges.current_map(session)
    finally:
        await database.close()
    if not 1 <= options.requests_per_second <= MAX_REQUESTS_PER_SECOND:
        raise InvalidInput(f"An address may send 1 to {MAX_REQUESTS_PER_SECOND} requests a second.", field="requests")
    if edge.sip_tls_port is not None and options.tls_certificate is None:
        raise InvalidInput("The edge has a port for TLS; name --tls-certificate.", field="tls_certificate")
    settings = EdgeSettings(
        edge=edge,
        listen_on=options.listen_on or edge.host,
        directory=target,
        advertised=options.advertised,
        tls_certificate=options.tls_certificate,
        tls_key=options.tls_key,
        requests_per_second=options.requests_per_second,
    )
    try:
        texts = {
            documents.SETTINGS_FILE: documents.settings_file(settings),
            PROGRAM_FILE: TEMPLATE.read_text(),
            **files.map_files(known),
        }
        if settings.tls_certificate is not None:
            texts[documents.TLS_FILE] = documents.tls_file(settings)
        return await asyncio.to_thread(files.write, target, texts)
    except NameRefused as refused:
        raise InvalidInput(f"{refused}.", field="name") from refused
    except OSError as error:
        raise InvalidInput(f"{target} cannot be written: {error.strerror or error}.", field="out") from error


async def edge_follow(installation: Installation, directory: Path, *, every_seconds: float) -> None:
    """Keep a written edge's map true until SIGTERM or SIGINT: look, write, have Kamailio read it again.

    A look that fails is tried again at the next; until then the edge goes on with what it knows.
    """
    target = (Path.cwd() / directory).resolve()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    database = installation.database()
    untold: set[str] = set()
    try:
        while not stop.is_set():
            try:
                await follow_once(database, target, untold)
            except (Unavailable, OSError, NameRefused) as failure:
                log.warning("edge.map_not_renewed", directory=str(target), reason=str(failure))
            with suppress(TimeoutError):
                async with asyncio.timeout(every_seconds):
                    await stop.wait()
    finally:
        await database.close()


async def follow_once(database: Database, directory: Path, untold: set[str]) -> list[str]:
    """One look: write what has changed and tell Kamailio; the files that changed.

    `untold` keeps, from look to look, what Kamailio could not be told yet.
    """
    async with database.transaction(Scope.platform()) as session:
        known = await edges.current_map(session)
    changed = await asyncio.to_thread(files.write, directory, files.map_files(known))
    untold.update(changed)
    for name in files.RELOADS:
        if name in untold and await files.reload(directory, name):
            untold.discard(name)
    return changed


async def srv_records(installation: Installation, tenant_id: str | None) -> str:
    """Zone fragments of one tenant's domain, or of all. Raises `TenantUnknown`, `NotPlaced`."""
    database = installation.database()
    try:
        async with database.transaction(Scope.platform()) as session:
            if tenant_id is None:
                return await edges.whole_zone(session)
            return await edges.zone_of(session, (await tenants.get(session, tenant_id)).tenant_id)
    finally:
        await database.close()
