"""The gateway's program against the real API, on an interface that only exists in the test."""

from __future__ import annotations

import asyncio
import stat
from pathlib import Path

import httpx
import pytest

from infra.app import cli
from infra.kit.database import Scope
from provisioning.tunnels.host.agent import Agent
from provisioning.tunnels.host.desk import ApiAway, Credential, CredentialRefused, Desk
from provisioning.tunnels.host.device import DeviceFailed, PeerCounters
from provisioning.tunnels.host.state import FILE, State, StateRefused
from tenancy import tenants
from tests.live.waiting import until
from tests.provisioning.tunnel_world import hand_out, key_of, usage
from tests.provisioning.world import World

MB = 1_000_000


class PretendDevice:
    """An interface as WireGuard keeps one: counters per peer, gone with the peer, all gone with the interface."""

    def __init__(self) -> None:
        self.alias: str | None = None
        self.counters: dict[str, tuple[int, int]] = {}
        self.let_in: set[str] = set()
        self.rules = ""
        self.steps: list[str] = []
        self.fails = False

    async def prepare(self) -> str | None:
        return self.alias

    async def mark(self, token: str) -> None:
        self.alias = token

    async def peers(self) -> dict[str, PeerCounters]:
        self.steps.append("read")
        return {key: PeerCounters(key, *both, 0) for key, both in self.counters.items()}

    async def apply(self, configuration: str) -> None:
        if self.fails:
            raise DeviceFailed("the kernel says no")
        sections = configuration.split("[Peer]\n")[1:]
        named = {each.splitlines()[0].removeprefix("PublicKey = "): "AllowedIPs" in each for each in sections}
        self.steps.append(f"apply {len(named)}, {sum(named.values())} let in")
        self.counters = {key: self.counters.get(key, (0, 0)) for key in named}
        self.let_in = {key for key, is_let_in in named.items() if is_let_in}

    async def remove(self, public_keys: object) -> None:
        assert isinstance(public_keys, list)
        for key in public_keys:
            self.counters.pop(str(key), None)

    async def protect(self, ruleset: str) -> None:
        self.rules = ruleset

    def carries(self, key: str, received: int, sent: int = 0) -> None:
        """Traffic of a peer."""
        before = self.counters[key]
        self.counters[key] = (before[0] + received, before[1] + sent)


class Host:
    """A host with the program installed; it may be started again and again."""

    def __init__(self, world: World, directory: Path, secret: str) -> None:
        self.world = world
        self.directory = directory
        self.device = PretendDevice()
        self.credential = Credential(api_url="http://seatline.test", name="vpn-1", secret=secret)
        self.away = False

    async def start(self) -> Agent:
        """The program as it is after its start: the state read from disk, the interface ready."""
        state = State.open(self.directory)
        transport = httpx.MockTransport(self._pass_on)
        desk = Desk(self.credential, state.kept.instance, transport=transport)
        agent = Agent(
            device=self.device,
            state=state,
            desk=desk,
            interface="wg-seats",
            listen_port=51820,
            report_every_seconds=0.01,
        )
        await agent.begin()
        return agent

    async def _pass_on(self, request: httpx.Request) -> httpx.Response:
        if self.away:
            raise httpx.ConnectError("nobody there")
        headers = {name: request.headers[name] for name in ("authorization", "content-type")}
        answer = await self.world.api.http.post(request.url.path, content=request.content, headers=headers)
        return httpx.Response(answer.status_code, content=answer.content)


@pytest.fixture
async def host(world: World, tmp_path: Path) -> Host:
    """The installation's VPN gateway, never started yet."""
    made = await world.operator.post("/v1/tunnel-gateways", {"name": "vpn-1", "endpoint_host": "192.0.2.9"})
    return Host(world, tmp_path / "state", made.json()["secret"])


async def _seats(host: Host, count: int) -> tuple[str, list[str]]:
    """A tenant and the keys of its seats, which were handed out; the gateway has signed in before."""
    agent = await host.start()
    await agent.follow_once(wait=False)
    tenant_id, _, seat_ids = await host.world.opened(count, terms={"data_rate_per_gb": "5"})
    for seat_id in seat_ids:
        await hand_out(host.world, tenant_id, seat_id)
    return tenant_id, [await key_of(host.world, seat_id) for seat_id in seat_ids]


async def _suspend(host: Host, tenant_id: str) -> None:
    async with host.world.api.database.transaction(Scope.platform()) as session:
        await tenants.suspend(session, tenant_id, reason="payment_overdue")


async def _received(host: Host, tenant_id: str) -> int:
    return sum(row.received for row in await usage(host.world, tenant_id))


async def test_seats_are_let_in_cut_off_and_let_in_again(host: Host) -> None:
    tenant_id, keys = await _seats(host, 2)
    agent = await host.start()
    assert await agent.follow_once(wait=False) is True
    assert host.device.let_in == set(keys)
    assert "ip daddr 127.0.0.1 udp dport" in host.device.rules
    assert await agent.follow_once(wait=False) is False, "nothing is applied twice"
    await _suspend(host, tenant_id)
    assert await agent.follow_once(wait=False) is True
    assert host.device.counters == {}
    async with host.world.api.database.transaction(Scope.platform()) as session:
        await tenants.restore(session, tenant_id)
    await agent.follow_once(wait=False)
    assert host.device.let_in == set(keys)


async def test_a_peer_is_shut_then_read_then_taken_off(host: Host) -> None:
    tenant_id, keys = await _seats(host, 1)
    agent = await host.start()
    await agent.follow_once(wait=False)
    host.device.carries(keys[0], 3 * MB, 1 * MB)
    await _suspend(host, tenant_id)
    host.device.steps.clear()
    await agent.follow_once(wait=False)
    assert host.device.steps == ["read", "apply 1, 0 let in", "read", "apply 0, 0 let in"]
    await agent.report()
    (row,) = await usage(host.world, tenant_id)
    assert (row.received, row.sent) == (3 * MB, 1 * MB)


async def test_a_program_that_is_killed_counts_nothing_twice_and_loses_nothing(host: Host) -> None:
    tenant_id, (key,) = await _seats(host, 1)
    for _ in range(3):
        agent = await host.start()
        await agent.follow_once(wait=False)
        host.device.carries(key, 2 * MB)
        await agent.report()
        host.device.carries(key, 1 * MB)  # and is killed before it reports that
    assert await _received(host, tenant_id) == 8 * MB
    await (await host.start()).report()
    assert await _received(host, tenant_id) == 9 * MB


async def test_a_restart_while_the_api_is_away_cuts_nobody_off(host: Host) -> None:
    _, keys = await _seats(host, 1)
    await (await host.start()).follow_once(wait=False)
    rules = host.device.rules
    host.away = True
    agent = await host.start()
    with pytest.raises(ApiAway):
        await agent.follow_once(wait=False)
    assert (host.device.let_in, host.device.rules) == (set(keys), rules)


async def test_a_host_that_restarts_begins_new_counters(host: Host) -> None:
    tenant_id, (key,) = await _seats(host, 1)
    agent = await host.start()
    await agent.follow_once(wait=False)
    host.device.carries(key, 4 * MB)
    await agent.report()
    host.device = PretendDevice()
    agent = await host.start()
    await agent.follow_once(wait=False)
    host.device.carries(key, 6 * MB)  # more than before: only the interface's mark tells that it is another one
    await agent.report()
    assert await _received(host, tenant_id) == 10 * MB


async def test_somebody_who_takes_a_peer_off_by_hand_changes_nothing(host: Host) -> None:
    tenant_id, (key,) = await _seats(host, 1)
    agent = await host.start()
    await agent.follow_once(wait=False)
    host.device.carries(key, 4 * MB)
    await agent.report()
    host.device.counters[key] = (1 * MB, 0)  # off and on again
    await agent.report()
    assert await _received(host, tenant_id) == 5 * MB


async def test_dying_between_the_last_reading_and_the_removal_counts_nothing_twice(host: Host) -> None:
    tenant_id, (key,) = await _seats(host, 1)
    agent = await host.start()
    await agent.follow_once(wait=False)
    host.device.carries(key, 4 * MB)
    await _suspend(host, tenant_id)
    await agent.follow_once(wait=False)
    host.device.counters[key] = (4 * MB, 0)  # as if the removal had not happened any more
    async with host.world.api.database.transaction(Scope.platform()) as session:
        await tenants.restore(session, tenant_id)
    agent = await host.start()
    await agent.follow_once(wait=False)
    assert host.device.counters == {key: (0, 0)}
    await agent.report()
    assert await _received(host, tenant_id) == 4 * MB


async def test_what_was_counted_while_the_api_was_away_comes_later(host: Host) -> None:
    tenant_id, (key,) = await _seats(host, 1)
    agent = await host.start()
    await agent.follow_once(wait=False)
    host.device.carries(key, 2 * MB)
    await _suspend(host, tenant_id)
    await agent.follow_once(wait=False)
    host.away = True
    for call in (agent.report(), agent.follow_once(wait=False)):
        with pytest.raises(ApiAway):
            await call
    host.away = False
    await (await host.start()).report()
    assert await _received(host, tenant_id) == 2 * MB


async def test_what_cannot_be_applied_is_tried_again(host: Host) -> None:
    _, keys = await _seats(host, 1)
    agent = await host.start()
    host.device.fails = True
    with pytest.raises(DeviceFailed):
        await agent.follow_once(wait=False)
    host.device.fails = False
    assert await agent.follow_once(wait=False) is True
    assert host.device.let_in == set(keys)


async def test_a_refused_credential_closes_every_tunnel_and_ends_the_program(host: Host) -> None:
    tenant_id, keys = await _seats(host, 2)
    agent = await host.start()
    await agent.follow_once(wait=False)
    host.device.carries(keys[0], 2 * MB)
    gateway = (await host.world.operator.get("/v1/tunnel-gateways")).json()["items"][0]
    path = f"/v1/tunnel-gateways/{gateway['tunnel_gateway_id']}"
    await host.world.operator.post(f"{path}/revocation")
    async with asyncio.timeout(10):
        with pytest.raises(CredentialRefused, match="revoked"):
            await agent.run(asyncio.Event())
    assert host.device.counters == {}
    assert "dport" not in host.device.rules
    renewed = await host.world.operator.post(f"{path}/credential")
    host.credential = Credential(api_url="http://seatline.test", name="vpn-1", secret=renewed.json()["secret"])
    agent = await host.start()
    await agent.follow_once(wait=False)
    assert host.device.let_in == set(keys)
    await agent.report()
    assert await _received(host, tenant_id) == 2 * MB


async def test_the_loops_follow_and_report_until_they_are_told_to_end(host: Host) -> None:
    tenant_id, (key,) = await _seats(host, 1)
    agent = await host.start()
    stop = asyncio.Event()
    running = asyncio.create_task(agent.run(stop))

    async def is_let_in() -> bool:
        return host.device.let_in == {key}

    async def is_told() -> bool:
        return State.open(host.directory).kept.lives[key].told_received == 3 * MB

    async def is_off() -> bool:
        return not host.device.counters

    await until(is_let_in, "the peer", limit_seconds=10)
    host.device.carries(key, 3 * MB)
    await until(is_told, "the report", limit_seconds=10)
    await _suspend(host, tenant_id)
    await until(is_off, "the end of the peer", limit_seconds=10)
    stop.set()
    await running
    assert await _received(host, tenant_id) == 3 * MB


async def test_only_its_owner_may_read_the_state(host: Host) -> None:
    state = State.open(host.directory)
    path = host.directory / FILE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert State.open(host.directory).kept == state.kept
    path.write_text("{}")
    with pytest.raises(StateRefused, match="damaged"):
        State.open(host.directory)
    (host.directory.parent / "file").write_text("")
    with pytest.raises(StateRefused):
        State.open(host.directory.parent / "file")


def test_a_command_without_a_secret_or_with_a_wrong_interface_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = tmp_path / "secret"
    known = ["gateway", "--api", "http://127.0.0.1:9", "--name", "vpn-1", "--state", str(tmp_path / "state")]
    assert cli.main([*known, "--secret-file", str(secret)]) == 2
    assert "cannot be read" in capsys.readouterr().err
    secret.write_text("\n")
    assert cli.main([*known, "--secret-file", str(secret)]) == 2
    assert "is empty" in capsys.readouterr().err
    assert cli.main([*known, "--secret-file", str(secret), "--interface", "a b"]) == 2
    assert "name of an interface" in capsys.readouterr().err
