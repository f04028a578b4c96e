"""The product as the bench measures it: its own processes over a PostgreSQL that keeps what it commits."""

from __future__ import annotations

import base64
import os
import shutil
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import psycopg
from sqlalchemy.engine import make_url

from infra.app import schema
from infra.kit import logs
from infra.kit.database import Database, Scope, blocking_engine
from infra.kit.embedded_postgres import EmbeddedPostgres
from infra.kit.ids import new_id
from infra.kit.sealing import Seal
from infra.kit.settings import Settings, load
from switch import accounts, nodes, placements
from switch.nodes import NodeDetails
from tenancy import tenants, tokens
from tests.bench.load import FRESH_UUID, post
from tests.live.customers import Desk
from tests.live.processes import ProcessOfTest
from tests.live.system import LOOPBACK, free_ports
from tests.live.waiting import until
from tests.switch.exchange import REGISTER, encoded, lookup_form

HTTP_LIMIT_SECONDS = 60.0
READY_LIMIT_SECONDS = 60.0
NODE = "bench-node"
NODE_CAPACITY_SEATS = 100_000
CLOSED_PORT = 9
"""Of the discard service: nobody listens there, so commands to the node fail at once."""

LOOKUP_PATH = "/switch/directory"
RECORD_PATH = "/switch/cdr"
FORM_TYPE = "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True)
class SeatedTenant:
    """A tenant whose seats have SIP accounts."""

    tenant_id: str
    domain: str
    extensions: Sequence[str]


@dataclass(slots=True)
class System:
    """What runs, and where."""

    settings: Settings
    database: Database
    database_url: str
    api_port: int
    bare_port: int
    api: ProcessOfTest
    worker: ProcessOfTest
    operator: Desk
    finance: Desk
    authorization: str
    """Of the node."""

    async def seated_tenant(self, index: int, *, seats: int) -> SeatedTenant:
        """A tenant with open accounts, made without contract and invoice."""
        extensions = [str(1001 + number) for number in range(seats)]
        domain = f"bench-{index}.example.com"
        async with self.database.transaction(Scope.platform()) as session:
            tenant = await tenants.create_tenant(session, name=f"bench {index}", sip_domain=domain)
            await accounts.open_accounts(session, tenant, [(new_id("seat"), extension) for extension in extensions])
            await placements.assign(session, tenant.tenant_id, home_node=NODE, spare_node=None)
        return SeatedTenant(tenant.tenant_id, domain, extensions)

    def lookup(self, domain: str, extension: str, *, path: str = LOOKUP_PATH) -> bytes:
        """The request of a node that asks about a phone that registers."""
        form = encoded(lookup_form(extension, domain) | REGISTER)
        return post(path, form, content_type=FORM_TYPE, authorization=self.authorization)

    def record(self, body: bytes, *, path: str = RECORD_PATH) -> bytes:
        """The request of a node that reports a call; each sending of it is another call."""
        address = f"{path}?uuid={FRESH_UUID.decode()}"
        return post(address, body, content_type="application/json", authorization=self.authorization)

    def driver_connection(self) -> psycopg.Connection[Any]:
        """A connection as the server's superuser, whom row security does not bind; for filling and for limits."""
        url = make_url(self.database_url).set(drivername="postgresql").render_as_string(hide_password=False)
        return psycopg.connect(url)


@asynccontextmanager
async def running(directory: Path) -> AsyncGenerator[System]:
    """Make everything below `directory`, and leave nothing of it behind."""
    async with AsyncExitStack() as stack:
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        postgres = EmbeddedPostgres(directory / "postgres", durable=True, database="bench")
        postgres.remove()  # what a bench that was killed may have left
        stack.callback(postgres.remove)
        url = postgres.start()
        engine = blocking_engine(url)
        schema.upgrade(engine)
        engine.dispose()
        logs.configure("error")
        api_port, bare_port = free_ports(2)
        environment = _environment(directory, url, api_port)
        settings = replace(load(environment), database_url=url)
        logs_directory = directory / "logs"

        def process(name: str, *arguments: str) -> ProcessOfTest:
            made = ProcessOfTest(name, [sys.executable, *arguments], environment, logs_directory / f"{name}.log")
            stack.callback(made.stop)
            return made

        api = process("api", "-m", "infra.app.cli", "serve", "--workers", "1")
        bare = process("bare", "-m", "tests.bench.bare", str(bare_port))
        worker = process("worker", "-m", "infra.app.cli", "worker")
        for each in (api, bare):
            each.start()
        database = Database(url, pool_size=settings.database_pool_size)
        stack.push_async_callback(database.close)
        http = await stack.enter_async_context(
            httpx.AsyncClient(base_url=f"http://{LOOPBACK}:{api_port}", trust_env=False, timeout=HTTP_LIMIT_SECONDS)
        )
        await _answering(http, api, "/schema/openapi.json")
        await _answering(http, bare, f"http://{LOOPBACK}:{bare_port}/")
        yield System(
            settings=settings,
            database=database,
            database_url=url,
            api_port=api_port,
            bare_port=bare_port,
            api=api,
            worker=worker,
            operator=Desk(http, await _client(database, "platform_operator")),
            finance=Desk(http, await _client(database, "finance")),
            authorization=await _node(database, Seal(settings.secret_key)),
        )


def _environment(directory: Path, url: str, api_port: int) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("SEATLINE_")}
    return {
        **inherited,
        "SEATLINE_DATABASE_URL": url,
        "SEATLINE_DATA_DIRECTORY": str(directory / "data"),
        "SEATLINE_HTTP_HOST": LOOPBACK,
        "SEATLINE_HTTP_PORT": str(api_port),
        "SEATLINE_LOG_LEVEL": "warning",
    }


async def _answering(http: httpx.AsyncClient, process: ProcessOfTest, address: str) -> None:
    async def look() -> bool:
        process.check()
        try:
            return (await http.get(address)).status_code < 500
        except httpx.TransportError:
            return False

    await until(look, f"{process.name} answers", limit_seconds=READY_LIMIT_SECONDS)


async def _client(database: Database, role: str) -> tuple[str, str]:
    async with database.transaction(Scope.platform()) as session:
        client, secret = await tokens.create_client(session, name=role, role=role, tenant_id=None)
        return client.client_id, secret


async def _node(database: Database, seal: Seal) -> str:
    """An active node whose row is all there is of it; returns its `Authorization`."""
    details = NodeDetails(
        name=NODE,
        sip_host=LOOPBACK,
        sip_port=5060,
        external_sip_port=5080,
        rtp_start_port=30_000,
        rtp_end_port=31_000,
        esl_host=LOOPBACK,
        esl_port=CLOSED_PORT,
        capacity_seats=NODE_CAPACITY_SEATS,
    )
    async with database.transaction(Scope.platform()) as session:
        node = await nodes.create_node(session, seal, details)
        node.state = "active"
        secret = seal.open(node.sealed_secret)
    return "Basic " + base64.b64encode(f"{NODE}:{secret}".encode()).decode()
