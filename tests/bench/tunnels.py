"""A VPN gateway with 5,000 peers: how long one change takes, from the commit to the interface."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median

from sqlalchemy import insert, select

from infra.kit import clock
from infra.kit.database import Scope
from provisioning.rules import tunnel_addresses, tunnel_documents, tunnel_keys
from provisioning.rules.tunnel_documents import Peer
from provisioning.tunnels import gateways, pools
from provisioning.tunnels.models import TunnelAccount, TunnelKey
from switch import accounts
from switch.models import SipAccount
from tenancy import tenants
from tests.bench import seats
from tests.bench.figures import Figure
from tests.bench.system import System
from tests.live import namespaces
from tests.live.namespaces import Host, hosts
from tests.live.waiting import until

PEERS, SUSPENDED_PEERS = 5_000, 1_000
ORDERED_SEATS = 1_000
CHANGES = 3
FIRST_TENANT = 900
"""Behind those of the other measurements."""

GOAL_SECONDS = 5.0
API_PORT = 8_300
INTERFACE, BARE_INTERFACE = "wgbench", "wgbare"
LIMIT_SECONDS = 60.0
CLOSES = "5,000 VPN peers: one seat closed → off the interface"


async def measure(system: System, directory: Path) -> list[Figure]:
    """`seatline gateway` in a network namespace, against the running API; nothing where the machine has none."""
    if namespaces.why_not() is not None:
        return []
    await asyncio.to_thread(directory.mkdir, parents=True, exist_ok=True)
    with hosts("bench") as (host,):
        async with _bridged(host, system.api_port, directory):
            return await _measure(system, host, directory)


async def _measure(system: System, host: Host, directory: Path) -> list[Figure]:
    async with system.database.transaction(Scope.platform()) as session:
        gateway, secret = await gateways.create(
            session, name="bench-vpn", endpoint_host="192.0.2.9", endpoint_port=51_820
        )
    secret_file = directory / "secret"
    secret_file.write_text(secret)
    command = [sys.executable, "-m", "infra.app.cli", "gateway", "--api", f"http://127.0.0.1:{API_PORT}"]
    command += [
        "--interface",
        INTERFACE,
        "--name",
        gateway.name,
        "--secret-file",
        str(secret_file),
        "--state",
        str(directory / "state"),
    ]
    with (directory / "gateway.log").open("wb") as log:
        process = subprocess.Popen(  # noqa: ASYNC220, S603 - our own command, ended below
            [*host.inside, *command], stdout=log, stderr=log, env=dict(os.environ)
        )
    try:

        async def has_signed_in() -> bool:
            async with system.database.transaction(Scope.platform()) as session:
                return (await gateways.get(session, gateway.tunnel_gateway_id)).public_key is not None

        await until(has_signed_in, "the gateway", limit_seconds=LIMIT_SECONDS)
        ordered = await _ordered(system, host)
        staying = await _tenant(system, FIRST_TENANT, PEERS - SUSPENDED_PEERS)
        leaving = await _tenant(system, FIRST_TENANT + 1, SUSPENDED_PEERS)
        await _until_peers(host, PEERS + ORDERED_SEATS)
        bare = _bare_change(host)

        async def close_one() -> None:
            async with system.database.transaction(Scope.platform()) as session:
                query = select(SipAccount.seat_id).where(SipAccount.tenant_id == staying, SipAccount.is_open).limit(1)
                seat_id = str((await session.execute(query)).scalar_one())
                await accounts.set_open(session, staying, [seat_id], False)

        async def suspend() -> None:
            async with system.database.transaction(Scope.platform()) as session:
                await tenants.suspend(session, leaving, reason="operator_decision")

        changes = [await _seconds(host, close_one, PEERS + ORDERED_SEATS - number) for number in range(1, CHANGES + 1)]
        suspended = await _seconds(host, suspend, PEERS + ORDERED_SEATS - CHANGES - SUSPENDED_PEERS)
    finally:
        process.kill()
        process.wait()
    limit_is = "bare `wg syncconf` that takes one of as many peers off"
    return [
        Figure(
            name=f"{ORDERED_SEATS:,} seats ordered and paid → handed out by table, each tunnel up",
            value=ordered,
            unit="s",
            limit=bare,
            limit_is=limit_is,
            goal=None,
            better="lower",
        ),
        Figure(
            name=CLOSES,
            value=median(changes),
            unit="s",
            limit=bare,
            limit_is=limit_is,
            goal=GOAL_SECONDS,
            better="lower",
        ),
        Figure(
            name=f"{SUSPENDED_PEERS:,} seats of {PEERS:,} suspended → last tunnel gone",
            value=suspended,
            unit="s",
            limit=bare,
            limit_is=limit_is,
            goal=GOAL_SECONDS,
            better="lower",
        ),
    ]


async def _ordered(system: System, host: Host) -> float:
    """From the order to the last of the seats' peers on the gateway: paid, opened, and given keys by a table."""
    tenant_id, contract_id = await seats.signed(system, FIRST_TENANT + 2)
    system.worker.start()
    began = time.monotonic()
    await seats.order_and_pay(system, tenant_id, contract_id, ORDERED_SEATS)

    async def are_open() -> list[str] | None:
        system.worker.check()
        opened = await system.operator.items("/v1/seats", tenant_id=tenant_id, state="open")
        return [str(each["seat_id"]) for each in opened] if len(opened) == ORDERED_SEATS else None

    opened = await until(are_open, f"{ORDERED_SEATS} seats", limit_seconds=LIMIT_SECONDS)
    table = "\n".join(["seat_id,action", *(f"{seat_id},reissue" for seat_id in opened)])
    await system.operator.upload("/v1/seat-table", table.encode(), "text/csv", tenant_id=tenant_id, dry_run="false")
    await _until_peers(host, ORDERED_SEATS)
    lasted = time.monotonic() - began
    system.worker.stop()
    return lasted


async def _seconds(host: Host, change: Callable[[], Awaitable[None]], peers: int) -> float:
    """From the commit of a change until so many peers are left."""
    await change()
    began = time.monotonic()
    await _until_peers(host, peers)
    return time.monotonic() - began


async def _until_peers(host: Host, peers: int) -> None:
    async def are_there() -> bool:
        shown = await asyncio.to_thread(host.does, "wg", "show", INTERFACE, "peers")
        return len(shown.split()) == peers

    await until(are_there, f"{peers} peers", limit_seconds=LIMIT_SECONDS)


def _bare_change(host: Host) -> float:
    """What the tool alone takes, on an interface beside the gateway's."""
    host.does("wireguard-go", BARE_INTERFACE)
    private = tunnel_keys.new_pair().private
    addresses = tunnel_addresses.free_addresses([tunnel_addresses.SUPERNET], frozenset(), PEERS)
    peers = [Peer(tunnel_keys.new_pair().public, address) for address in addresses]
    host.does(
        "wg",
        "syncconf",
        BARE_INTERFACE,
        "/dev/stdin",
        text=tunnel_documents.gateway_configuration(private, 51_821, peers),
    )
    fewer = tunnel_documents.gateway_configuration(private, 51_821, peers[1:])
    began = time.monotonic()
    host.does("wg", "syncconf", BARE_INTERFACE, "/dev/stdin", text=fewer)
    return time.monotonic() - began


async def _tenant(system: System, index: int, seats: int) -> str:
    """A tenant whose seats all have keys, as many hand-outs would have left them."""
    seated = await system.seated_tenant(index, seats=seats)
    async with system.database.transaction(Scope.platform()) as session:
        query = select(SipAccount.seat_id).where(
            SipAccount.tenant_id == seated.tenant_id, SipAccount.seat_id.is_not(None)
        )
        seat_ids = [str(each) for each in (await session.execute(query)).scalars()]
        network = await pools.add_network(session, seated.tenant_id, f"10.{64 + index % 32}.0.0/16")
        await pools.gateway_of(session, await pools.hold(session, seated.tenant_id))
        addresses = tunnel_addresses.free_addresses(
            [tunnel_addresses.read_network(network.network)], frozenset(), len(seat_ids)
        )
        keys = [tunnel_keys.new_pair().public for _ in seat_ids]
        now = clock.now()
        of_tenant = {"tenant_id": seated.tenant_id}
        await session.execute(
            insert(TunnelAccount),
            [
                of_tenant
                | {
                    "seat_id": seat_id,
                    "address": address,
                    "public_key": key,
                    "key_origin": "supplied",
                    "key_changed_at": now,
                    "last_handshake_at": None,
                    "created_at": now,
                }
                for seat_id, address, key in zip(seat_ids, addresses, keys, strict=True)
            ],
        )
        await session.execute(
            insert(TunnelKey),
            [
                of_tenant | {"public_key": key, "seat_id": seat_id, "registered_at": now}
                for seat_id, key in zip(seat_ids, keys, strict=True)
            ],
        )
    return seated.tenant_id


@asynccontextmanager
async def _bridged(host: Host, api_port: int, directory: Path) -> AsyncGenerator[None]:
    """The API of this machine's loopback at the host's own."""
    socket = directory / "api.socket"
    copying: set[asyncio.Task[None]] = set()

    async def bridge(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", api_port)
        await asyncio.gather(_copy(reader, there_writer), _copy(there_reader, writer), return_exceptions=True)

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(bridge(reader, writer))
        copying.add(task)
        task.add_done_callback(copying.discard)

    server = await asyncio.start_unix_server(accept, socket)
    host.listens_for(socket, API_PORT)
    try:
        yield
    finally:
        server.close()
        for task in copying:
            task.cancel()
        await asyncio.gather(*copying, return_exceptions=True)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()
