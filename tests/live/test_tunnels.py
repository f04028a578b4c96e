"""VPN tunnels for real: `seatline gateway`, WireGuard and nftables on hosts that are network namespaces.

Two seats of two tenants are on the internet, the gateway has its own host, and behind it is a server of the SIP edge
with an address that is not the edge's beside it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import pytest

from billing.rules.data_traffic import data_charge
from infra.app import asgi
from infra.kit.database import Scope
from tenancy import tenants
from tests.api import Api
from tests.live import namespaces
from tests.live.namespaces import Host, cable, hosts
from tests.live.waiting import until
from tests.provisioning.tunnel_world import hand_out, key_of, usage
from tests.provisioning.world import TODAY, World, travel
from tests.switch.serving import Served

EDGE, BESIDE = "10.202.0.2", "10.202.0.3"
SIP_PORT, OTHER_PORT, FIRST_MEDIA_PORT = 5060, 22, 20_000
ENDPOINT = "10.204.0.1"
LISTEN_PORT = 51_820
API_PORT = 8_300
SECONDS = 15.0
"""Longer than anything here takes; what must be quick says so itself."""

DATAGRAMS, DATAGRAM_BYTES = 200, 1_000
IP_AND_UDP_BYTES = 28
WIREGUARD_BYTES, PADDING_BYTES = 32, 16
"""What WireGuard adds to a packet inside its own datagram: a header of 16, a tag of 16, and padding to 16."""

OVERHEAD_LIMIT_BYTES = 3_000
"""Handshakes (148 and 92 bytes every two minutes) and keepalives (32 every 25 seconds) of a test of seconds."""

WHY_NOT = namespaces.why_not()
pytestmark = pytest.mark.skipif(WHY_NOT is not None, reason=WHY_NOT or "")

ECHO = """
import select, socket, sys
sockets = []
for text in sys.argv[1:]:
    host, _, port = text.partition(":")
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind((host, int(port)))
    sockets.append(made)
while True:
    for each in select.select(sockets, [], [])[0]:
        data, sender = each.recvfrom(65536)
        each.sendto(data, sender)
"""

ASK = """
import socket, sys
source, host, port, count, size, patience = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:6]), float(sys.argv[6])
asking = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
asking.bind((source, 0))
asking.settimeout(patience)
answered = 0
for number in range(count):
    asking.sendto(number.to_bytes(4, "big") + bytes(size - 4), (host, port))
    try:
        answered += len(asking.recv(65536)) == size
    except (TimeoutError, OSError):
        pass
print(answered)
"""

PING = """
import socket, struct, sys
def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
raw.settimeout(float(sys.argv[2]))
head = struct.pack("!BBHHH", 8, 0, 0, 7, 1) + b"seatline"
raw.sendto(head[:2] + struct.pack("!H", checksum(head)) + head[4:], (sys.argv[1], 0))
try:
    answer = raw.recv(1500)
    print(1 if answer[20] == 0 else 0)
except (TimeoutError, OSError):
    print(0)
"""


@dataclass
class Seat:
    """A seat's user: a computer on the internet, set up with what was handed out."""

    host: Host
    tenant_id: str
    seat_id: str
    device: str
    address: str = ""
    configuration: str = ""

    def set_up(self) -> None:
        """As wg-quick does it; again: the user turns the tunnel off and on."""
        configuration = self.configuration
        for_wireguard = [line for line in configuration.splitlines() if not line.startswith(("Address", "MTU"))]
        if self.device not in self.host.does("ip", "-o", "link", "show"):
            self.host.keeps_running("wireguard-go", "-f", self.device)
        deadline = time.monotonic() + SECONDS
        while self.device not in self.host.does("ip", "-o", "link", "show"):
            assert time.monotonic() < deadline
        self.host.does("wg", "setconf", self.device, "/dev/stdin", text="\n".join(for_wireguard) + "\n")
        self.host.does("ip", "address", "replace", f"{self.address}/32", "dev", self.device)
        self.host.does("ip", "link", "set", self.device, "mtu", "1380", "up")
        allowed = next(line for line in configuration.splitlines() if line.startswith("AllowedIPs = "))
        for network in allowed.removeprefix("AllowedIPs = ").split(", "):
            self.host.does("ip", "route", "replace", network, "dev", self.device)

    def reaches_anything(self) -> None:
        """A user who changes the configuration so that everything goes into the tunnel."""
        peer = self.host.does("wg", "show", self.device, "peers").strip()
        self.host.does("wg", "set", self.device, "peer", peer, "allowed-ips", "0.0.0.0/0")
        for network in ("10.202.0.0/24", "10.64.0.0/10", "10.205.0.0/24"):
            self.host.does("ip", "route", "replace", network, "dev", self.device)

    def asks(self, host: str, port: int, *, count: int = 1, size: int = 100, patience: float = 1.0) -> int:
        """How many of `count` datagrams are answered."""
        return int(self.host.python(ASK, self.address, host, str(port), str(count), str(size), str(patience)))

    def pings(self, host: str) -> bool:
        """Whether an echo request is answered."""
        return self.host.python(PING, host, "1.0") == "1"


@dataclass
class Site:
    """The gateway's host and what is around it."""

    world: World
    gateway: Host
    edge: Host
    one: Seat
    other: Seat
    command: list[str]
    environment: dict[str, str]
    log: Path
    interface: str
    """A name of this test's own: wireguard-go's sockets lie in one folder for all hosts of the machine."""
    process: subprocess.Popen[bytes] | None = None

    def start_gateway(self) -> None:
        """`seatline gateway`, as its unit starts it."""
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(  # noqa: S603 - our own command
                [*self.gateway.inside, *self.command], stdout=output, stderr=output, env=self.environment
            )

    def end_gateway(self, number: signal.Signals) -> int:
        """Its exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(SECONDS)

    def peers(self) -> set[str]:
        """Who is on the interface."""
        return set(self.gateway.does("wg", "show", self.interface, "peers").split())

    def counters(self, seat: Seat) -> tuple[int, int]:
        """What the interface has counted from and to a seat."""
        key = seat.host.does("wg", "show", seat.device, "public-key").strip()
        lines = [line.split() for line in self.gateway.does("wg", "show", self.interface, "transfer").splitlines()]
        return next((int(received), int(sent)) for peer, received, sent in lines if peer == key)

    async def is_through(self, seat: Seat) -> None:
        """Wait until a seat has shaken hands; by itself it tries every five seconds."""

        async def is_answered() -> bool:
            return await asyncio.to_thread(seat.asks, EDGE, SIP_PORT, patience=0.5) == 1

        await until(is_answered, f"{seat.address} to be through", limit_seconds=30)

    async def lets_in(self, *seats: Seat) -> None:
        """Wait until exactly these are on the interface."""
        wanted = {await key_of(self.world, seat.seat_id) for seat in seats}

        async def is_so() -> bool:
            return self.process is not None and self.process.poll() is None and self.peers() == wanted

        await until(is_so, f"{len(wanted)} peers; {self.log.read_text()[-2000:]}", limit_seconds=SECONDS)


@pytest.fixture
def four_hosts() -> Iterator[list[Host]]:
    """The gateway, the edge and two users, with cables between them."""
    with hosts("gw", "edge", "one", "two") as made:
        gateway, edge, one, other = made
        cable(gateway, "10.202.0.1/24", edge, f"{EDGE}/24")
        edge.does("ip", "address", "add", f"{BESIDE}/24", "dev", edge.does("ls", "/sys/class/net").split()[0])
        edge.does("ip", "route", "add", "default", "via", "10.202.0.1")
        gateway.does("ip", "address", "add", f"{ENDPOINT}/32", "dev", "lo")
        gateway.does("ip", "address", "add", "10.205.0.1/32", "dev", "lo")
        for number, user in enumerate((one, other), start=1):
            cable(gateway, f"10.203.{number}.1/24", user, f"10.203.{number}.2/24")
            user.does("ip", "route", "add", "default", "via", f"10.203.{number}.1")
        gateway.does("sysctl", "-q", "-w", "net.ipv4.ip_forward=1")
        yield made


@asynccontextmanager
async def _api_in(gateway: Host, api: Api, directory: Path) -> AsyncGenerator[None]:
    """The real application, reachable at the gateway's own loopback and nowhere else."""
    office = Served(asgi.build(api.settings, api.database))
    path = directory / "api.socket"
    answering: set[asyncio.Task[None]] = set()

    def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(office.serve(reader, writer))
        answering.add(task)
        task.add_done_callback(answering.discard)

    server = await asyncio.start_unix_server(answer, path)
    gateway.listens_for(path, API_PORT)
    try:
        yield
    finally:
        server.close()
        for task in answering:  # a gateway that was waiting for news
            task.cancel()
        await asyncio.gather(*answering, return_exceptions=True)
        await office.close()


@pytest.fixture
async def site(api: Api, four_hosts: list[Host], tmp_path: Path) -> AsyncGenerator[Site]:
    """Two tenants with a seat each, handed out and set up; the gateway's program runs."""
    travel(TODAY)
    gateway, edge, one, other = four_hosts
    world = World(api, await api.client("platform_operator"))
    await world.node("alpha")
    await world.change_node("alpha", sip_host=EDGE, sip_port=SIP_PORT, rtp_start_port=20_000, rtp_end_port=20_010)
    made = await world.operator.post("/v1/tunnel-gateways", {"name": "vpn-1", "endpoint_host": ENDPOINT})
    (tmp_path / "secret").write_text(made.json()["secret"])
    own = [f"{EDGE}:{SIP_PORT}", f"{EDGE}:{OTHER_PORT}", f"{EDGE}:{FIRST_MEDIA_PORT}", f"{BESIDE}:{SIP_PORT}"]
    edge.keeps_running(sys.executable, "-c", ECHO, *own)
    command = [str(Path(sys.executable).with_name("seatline")), "gateway", "--api", f"http://127.0.0.1:{API_PORT}"]
    command += ["--name", "vpn-1", "--secret-file", str(tmp_path / "secret"), "--state", str(tmp_path / "state")]
    mark = uuid.uuid4().hex[:6]
    command += ["--report-every", "1", "--interface", f"wgs{mark}"]
    seats: list[Seat] = []
    for number, host in enumerate((one, other)):
        tenant_id, _, (seat_id,) = await world.opened(1, terms={"data_rate_per_gb": "5"})
        seats.append(Seat(host, tenant_id, seat_id, f"wgu{number}{mark}"))
    async with _api_in(gateway, api, tmp_path):
        environment = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        site = Site(
            world, gateway, edge, seats[0], seats[1], command, environment, tmp_path / "gateway.log", f"wgs{mark}"
        )
        site.start_gateway()
        try:

            async def has_signed_in() -> bool:
                listed = (await world.operator.get("/v1/tunnel-gateways")).json()["items"]
                return listed[0]["applied_state"] is not None

            await until(has_signed_in, "the gateway", limit_seconds=SECONDS)
            for seat in seats:
                setup = await hand_out(world, seat.tenant_id, seat.seat_id)
                seat.address, seat.configuration = setup.address, setup.configuration
            await site.lets_in(*seats)
            for seat in seats:
                await asyncio.to_thread(seat.set_up)
                await site.is_through(seat)
            yield site
        finally:
            if site.process is not None and site.process.poll() is None:
                site.process.kill()
                site.process.wait(SECONDS)


async def _billed(site: Site, seat: Seat) -> tuple[int, int]:
    """Bytes from and to a seat, as its records have them."""
    rows = await usage(site.world, seat.tenant_id)
    return sum(row.received for row in rows), sum(row.sent for row in rows)


async def _billed_at_least(site: Site, seat: Seat, received: int) -> tuple[int, int]:
    async def is_so() -> tuple[int, int] | None:
        billed = await _billed(site, seat)
        return billed if billed[0] >= received else None

    return await until(is_so, f"{received} bytes billed", limit_seconds=SECONDS)


def _on_the_wire(datagrams: int, size: int) -> int:
    """What WireGuard makes of them."""
    inside = size + IP_AND_UDP_BYTES
    return datagrams * (-(-inside // PADDING_BYTES) * PADDING_BYTES + WIREGUARD_BYTES)


async def test_seats_reach_the_edge_and_nothing_else_and_a_suspended_tenants_seats_nothing(site: Site) -> None:
    for seat in (site.one, site.other):
        assert await asyncio.to_thread(seat.pings, EDGE)
        assert await asyncio.to_thread(seat.asks, EDGE, SIP_PORT) == 1
        assert await asyncio.to_thread(seat.asks, EDGE, FIRST_MEDIA_PORT) == 1
    for seat in (site.one, site.other):
        await asyncio.to_thread(seat.reaches_anything)
    site.other.host.keeps_running(sys.executable, "-c", ECHO, f"{site.other.address}:{SIP_PORT}")
    site.gateway.keeps_running(sys.executable, "-c", ECHO, f"10.205.0.1:{SIP_PORT}")
    for forbidden, port in (
        (EDGE, OTHER_PORT),
        (BESIDE, SIP_PORT),
        (site.other.address, SIP_PORT),
        ("10.205.0.1", SIP_PORT),
    ):
        answered = await asyncio.to_thread(site.one.asks, forbidden, port, count=2, patience=0.3)
        assert answered == 0, f"{forbidden}:{port} is reached"
    assert not await asyncio.to_thread(site.one.pings, BESIDE)
    assert await asyncio.to_thread(site.one.asks, EDGE, SIP_PORT) == 1, "the tunnel itself is as good as before"
    await _is_cut_off_within_seconds_and_comes_back_with_the_same_keys(site)


async def _is_cut_off_within_seconds_and_comes_back_with_the_same_keys(site: Site) -> None:
    async with site.world.api.database.transaction(Scope.platform()) as session:
        await tenants.suspend(session, site.one.tenant_id, reason="payment_overdue")
    began = time.monotonic()
    await site.lets_in(site.other)
    assert time.monotonic() - began < 5, "closing takes seconds"
    assert await asyncio.to_thread(site.one.asks, EDGE, SIP_PORT, count=2, patience=0.3) == 0
    assert await asyncio.to_thread(site.other.asks, EDGE, SIP_PORT) == 1
    async with site.world.api.database.transaction(Scope.platform()) as session:
        await tenants.restore(session, site.one.tenant_id)
    await site.lets_in(site.one, site.other)
    await asyncio.to_thread(site.one.set_up)  # by itself it shakes hands anew after 15 seconds
    await site.is_through(site.one)


async def test_bytes_billed_are_bytes_sent_through_a_killed_program_a_cut_off_and_a_revocation(site: Site) -> None:
    seat, carried = site.one, _on_the_wire(DATAGRAMS, DATAGRAM_BYTES)
    before = site.counters(seat)

    async def is_billed(rounds: int) -> None:
        """Every round, and beyond it only what WireGuard says for itself."""
        received, sent = await _billed_at_least(site, seat, before[0] + rounds * carried)
        for billed, counted in ((received, before[0]), (sent, before[1])):
            assert 0 <= billed - counted - rounds * carried <= OVERHEAD_LIMIT_BYTES

    async def round_trip() -> None:
        asked = await asyncio.to_thread(seat.asks, EDGE, SIP_PORT, count=DATAGRAMS, size=DATAGRAM_BYTES)
        assert asked == DATAGRAMS

    await round_trip()
    await is_billed(1)

    assert site.end_gateway(signal.SIGKILL) != 0
    await round_trip()
    site.start_gateway()
    await is_billed(2)

    await round_trip()
    async with site.world.api.database.transaction(Scope.platform()) as session:
        await tenants.suspend(session, seat.tenant_id, reason="payment_overdue")
    await site.lets_in(site.other)
    await is_billed(3)
    (row,) = await usage(site.world, seat.tenant_id)
    assert (row.day, row.amount) == (TODAY, data_charge(row.received + row.sent, Decimal(5)))
    await _a_revoked_gateway_lets_nobody_in_and_ends(site)


async def _a_revoked_gateway_lets_nobody_in_and_ends(site: Site) -> None:
    assert await asyncio.to_thread(site.other.asks, EDGE, SIP_PORT) == 1
    listed = (await site.world.operator.get("/v1/tunnel-gateways")).json()["items"][0]
    await site.world.operator.post(f"/v1/tunnel-gateways/{listed['tunnel_gateway_id']}/revocation")
    assert site.process is not None
    assert await asyncio.to_thread(site.process.wait, SECONDS) == 2
    assert "The API refuses this gateway" in site.log.read_text()
    assert site.peers() == set()
    assert await asyncio.to_thread(site.other.asks, EDGE, SIP_PORT, count=2, patience=0.3) == 0
