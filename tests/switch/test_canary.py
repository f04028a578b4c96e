"""The canary proves on every node that a suspension or restoration took effect, or raises an alarm."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from infra.app import commands_switch
from infra.app.installation import Installation
from infra.kit import clock
from infra.kit.database import Database, Scope
from infra.kit.jobs import Runtime
from infra.kit.problems import Unavailable
from infra.kit.sealing import Seal
from infra.kit.settings import Settings
from switch import accounts, canary, dialling, nodes, placements
from switch import jobs as switch_jobs
from switch.canary import Observation, Subject
from switch.commands import NodeControl
from switch.completeness.models import SeenLeg
from switch.models import CallRecord, CanaryCheck, Node, SetAsideRecord
from switch.nodes import NodeDetails
from switch.routing import Route
from switch.simulator.node import SimulatedNode
from switch.sip.phone import Phone
from switch.sip.policy import answers
from tenancy import tenants
from tenancy.models import Tenant
from tests.ports import free_ports
from tests.switch.cluster import add_node, add_tenant, read_node
from tests.switch.serving import served

ACCEPTED = Observation("found", "accepted")
REFUSED = Observation("not_found", "refused 403")
HALF = Observation("not_found", "accepted")
GONE = Observation("unreachable", "unreachable")


@dataclass
class Scripted:
    """Answers of each node in order, the last one again and again; and a clock that only waiting moves."""

    answers: dict[str, Sequence[Observation]]
    seconds: float = 0.0
    tried: list[str] = field(default_factory=list[str])

    async def __call__(self, node: Node, subject: Subject) -> Observation:
        self.tried.append(node.name)
        turn = self.tried.count(node.name) - 1
        script = self.answers[node.name]
        return script[min(turn, len(script) - 1)]

    async def wait(self, seconds: float) -> None:
        self.seconds += seconds

    def now(self) -> float:
        return self.seconds


async def _suspended(database: Database, tenant: Tenant) -> None:
    async with database.transaction(Scope.platform()) as session:
        await tenants.suspend(session, tenant.tenant_id, reason="payment_overdue")


async def _restored(database: Database, tenant: Tenant) -> None:
    async with database.transaction(Scope.platform()) as session:
        await tenants.restore(session, tenant.tenant_id)


async def _check(runtime: Runtime, tenant: Tenant, generation: int, script: Scripted) -> dict[str, CanaryCheck]:
    rows = await canary.check(
        runtime, tenant.tenant_id, generation, probe=script, wait=script.wait, seconds_now=script.now
    )
    return {row.node: row for row in rows}


async def _stored(database: Database) -> list[CanaryCheck]:
    async with database.transaction(Scope.platform()) as session:
        return list((await session.execute(select(CanaryCheck).order_by(CanaryCheck.check_id))).scalars())


@pytest.fixture
def runtime(database: Database, settings: Settings) -> Runtime:
    """What tasks may reach."""
    return Runtime(database, settings)


@pytest.fixture
async def tenant(database: Database, settings: Settings) -> Tenant:
    """A tenant served by fs-1, in a cluster of two."""
    seal = Seal(settings.secret_key)
    for name in ("fs-1", "fs-2"):
        await add_node(database, seal, name)
    tenant = await add_tenant(database)
    async with database.transaction(Scope.platform()) as session:
        await placements.assign(session, tenant.tenant_id, home_node="fs-1", spare_node="fs-2")
    return tenant


async def test_a_suspended_tenant_is_refused_everywhere(database: Database, runtime: Runtime, tenant: Tenant) -> None:
    await _suspended(database, tenant)
    script = Scripted({"fs-1": [ACCEPTED, HALF, REFUSED], "fs-2": [REFUSED]})
    rows = await _check(runtime, tenant, 2, script)
    assert {row.expected for row in rows.values()} == {"refused"}
    assert not any(row.is_alarm for row in await _stored(database))
    first, second = rows["fs-1"].seconds_to_effect, rows["fs-2"].seconds_to_effect
    assert first is not None
    assert second is not None
    assert second < first
    assert first == pytest.approx(0.3, abs=0.25)


async def test_an_active_tenant_is_accepted_where_it_is_served_and_nowhere_else(
    database: Database, runtime: Runtime, tenant: Tenant
) -> None:
    rows = await _check(runtime, tenant, 1, Scripted({"fs-1": [ACCEPTED], "fs-2": [REFUSED]}))
    assert {name: (row.expected, row.is_alarm) for name, row in rows.items()} == {
        "fs-1": ("accepted", False),
        "fs-2": ("refused", False),
    }


async def test_a_suspension_without_effect_is_an_alarm_after_the_limit(
    database: Database, runtime: Runtime, tenant: Tenant
) -> None:
    await _suspended(database, tenant)
    script = Scripted({"fs-1": [ACCEPTED], "fs-2": [GONE]})
    rows = await _check(runtime, tenant, 2, script)
    for name, seen in (("fs-1", ACCEPTED), ("fs-2", GONE)):
        row = rows[name]
        assert (row.is_alarm, row.seconds_to_effect) == (True, None)
        assert (row.lookup, row.registration) == (seen.lookup, seen.registration)
    assert script.seconds <= 2 * canary.LIMIT_SECONDS


@pytest.mark.parametrize("state", ["draining", "cut_off"])
async def test_a_node_that_is_drained_or_cut_off_and_takes_nobody_in_is_no_alarm(
    database: Database, runtime: Runtime, tenant: Tenant, state: str
) -> None:
    async with database.transaction(Scope.platform()) as session:
        (await nodes.get_by_name(session, "fs-1")).state = state
    busy = Observation("found", "refused 503")
    rows = await _check(runtime, tenant, 1, Scripted({"fs-1": [busy], "fs-2": [REFUSED]}))
    assert set(rows) == {"fs-2"}


async def test_the_time_before_we_began_to_look_counts_and_travelling_meanwhile_does_not(
    database: Database, runtime: Runtime, tenant: Tenant
) -> None:
    await _suspended(database, tenant)
    clock.travel_to(clock.now() + timedelta(seconds=5))

    class Travelling(Scripted):
        async def wait(self, seconds: float) -> None:
            await super().wait(seconds)
            clock.travel_to(clock.now() + timedelta(days=30))

    rows = await _check(runtime, tenant, 2, Travelling({"fs-1": [ACCEPTED, REFUSED], "fs-2": [REFUSED]}))
    assert rows["fs-1"].seconds_to_effect == pytest.approx(5.1, abs=1)


async def test_a_tenant_that_changed_again_ends_the_check_quietly(
    database: Database, runtime: Runtime, tenant: Tenant
) -> None:
    await _suspended(database, tenant)

    class Restoring(Scripted):
        async def wait(self, seconds: float) -> None:
            await super().wait(seconds)
            await _restored(database, tenant)

    assert await _check(runtime, tenant, 2, Restoring({"fs-1": [ACCEPTED], "fs-2": [REFUSED]})) == {}
    assert await _check(runtime, tenant, 2, Scripted({})) == {}
    assert await _stored(database) == []


async def test_a_tenant_that_is_moved_meanwhile_is_expected_on_its_new_node(
    database: Database, runtime: Runtime, tenant: Tenant
) -> None:
    class Moving(Scripted):
        async def wait(self, seconds: float) -> None:
            await super().wait(seconds)
            async with database.transaction(Scope.platform()) as session:
                await placements.move(session, tenant.tenant_id, "fs-2", reason="node_lost")

    rows = await _check(runtime, tenant, 1, Moving({"fs-1": [GONE, REFUSED], "fs-2": [ACCEPTED]}))
    assert {name: (row.expected, row.is_alarm) for name, row in rows.items()} == {
        "fs-1": ("refused", False),
        "fs-2": ("accepted", False),
    }


async def test_a_check_that_runs_twice_keeps_one_row_a_node(
    database: Database, runtime: Runtime, tenant: Tenant
) -> None:
    script = Scripted({"fs-1": [ACCEPTED], "fs-2": [REFUSED]})
    await _check(runtime, tenant, 1, script)
    assert await _check(runtime, tenant, 1, script) == {}
    assert len(await _stored(database)) == 2


async def test_a_node_that_dies_meanwhile_is_no_alarm(database: Database, runtime: Runtime, tenant: Tenant) -> None:
    await _suspended(database, tenant)

    class Dying(Scripted):
        async def wait(self, seconds: float) -> None:
            await super().wait(seconds)
            async with database.transaction(Scope.platform()) as session:
                node = await session.get(Node, (await read_node(database, "fs-2")).node_id)
                assert node is not None
                node.state = "dead"

    rows = await _check(runtime, tenant, 2, Dying({"fs-1": [REFUSED], "fs-2": [GONE]}))
    assert set(rows) == {"fs-1"}


@asynccontextmanager
async def _cluster(settings: Settings, database: Database, directory: Path) -> AsyncGenerator[dict[str, SimulatedNode]]:
    """Two simulated nodes, started from what node-config writes and asking the real application."""
    async with served(settings, database) as reachable, AsyncExitStack() as stack:
        installation = Installation(reachable, database.url)
        running: dict[str, SimulatedNode] = {}
        for name in ("fs-1", "fs-2"):
            sip_port, external_sip_port, esl_port = free_ports(3)
            details = NodeDetails(
                name=name,
                sip_host="127.0.0.1",
                sip_port=sip_port,
                external_sip_port=external_sip_port,
                rtp_start_port=30_000,
                rtp_end_port=31_000,
                esl_host="127.0.0.1",
                esl_port=esl_port,
            )
            node_id = await commands_switch.add_node(installation, details)
            await commands_switch.node_config(installation, name, directory / name)
            running[name] = SimulatedNode.from_configuration(directory / name)
            await running[name].start()
            stack.push_async_callback(running[name].stop)
            async with database.transaction(Scope.platform()) as session:
                row = await session.get(Node, node_id)
                assert row is not None
                row.state = "active"
        yield running


async def test_the_canarys_call_is_answered_by_the_node_and_leaves_nothing_behind(
    database: Database, settings: Settings, runtime: Runtime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    probe = canary.NodeProbe(NodeControl.of(runtime), runtime.settings.switch_command_timeout_seconds, calls=True)
    async with _cluster(settings, database, tmp_path):
        tenant = await add_tenant(database, domain="acme.example")
        async with database.transaction(Scope.platform()) as session:
            await placements.assign(session, tenant.tenant_id, home_node="fs-1", spare_node="fs-2")
            hashed = await accounts.ensure_canary(session, tenant)
        node = await read_node(database, "fs-1")
        subject = Subject(
            tenant_id=tenant.tenant_id,
            domain=tenant.sip_domain,
            generation=1,
            is_active=True,
            changed_at=clock.now(),
            serving_node="fs-1",
            a1_hash=hashed,
        )
        assert await probe(node, subject) == Observation("found", "accepted", "completed")
        assert await probe(await read_node(database, "fs-2"), subject) == REFUSED

        def no_route(*_: object) -> Route:
            raise Unavailable("for a test")

        monkeypatch.setattr(dialling, "route", no_route)
        seen = await probe(node, subject)
        assert (seen.lookup, seen.registration) == ("found", "accepted")
        assert (seen.call or "").startswith("refused ")
    async with database.transaction(Scope.platform()) as session:
        assert (await session.execute(select(CallRecord))).scalars().all() == []
        assert (await session.execute(select(SetAsideRecord))).scalars().all() == []
        explained = (await session.execute(select(SeenLeg))).scalars().all()
    assert [(leg.session_number, leg.is_void, leg.owner_id) for leg in explained] == [(1, True, None), (2, True, None)]


async def test_on_a_real_cluster_suspension_and_restoration_show_within_a_second(
    database: Database, settings: Settings, runtime: Runtime, tmp_path: Path
) -> None:
    async with _cluster(settings, database, tmp_path) as cluster:
        tenant = await add_tenant(database, domain="acme.example")
        async with database.transaction(Scope.platform()) as session:
            await placements.assign(session, tenant.tenant_id, home_node="fs-1", spare_node="fs-2")
            passwords = await accounts.open_accounts(session, tenant, [("seat_1", "1001")])
        server = cluster["fs-1"].sip_address()
        control = NodeControl.of(runtime)
        node = await read_node(database, "fs-1")
        phone = Phone("1001", "acme.example", server=server, password=passwords["seat_1"], policy=answers())
        async with phone:
            assert await phone.register() == 200
            await switch_jobs.check_canary(runtime, tenant_id=tenant.tenant_id, generation=1)
            assert await control.registrations(node, "acme.example") == ("1001@acme.example",)
            await _suspended(database, tenant)
            await switch_jobs.clear_tenant(runtime, tenant_id=tenant.tenant_id, generation=2)
            await switch_jobs.check_canary(runtime, tenant_id=tenant.tenant_id, generation=2)
            assert await phone.register() == 403
            assert await control.registrations(node, "acme.example") == ()
            await _restored(database, tenant)
            await switch_jobs.check_canary(runtime, tenant_id=tenant.tenant_id, generation=3)
            assert await phone.register() == 200
    rows = await _stored(database)
    assert {(row.generation, row.node, row.expected) for row in rows} == {
        (1, "fs-1", "accepted"),
        (1, "fs-2", "refused"),
        (2, "fs-1", "refused"),
        (2, "fs-2", "refused"),
        (3, "fs-1", "accepted"),
        (3, "fs-2", "refused"),
    }
    assert not any(row.is_alarm for row in rows)
    assert all(row.seconds_to_effect is not None and row.seconds_to_effect < 5 for row in rows)
