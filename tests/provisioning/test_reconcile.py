"""The switch is made to agree, on a node that runs: suspended tenants cleared, reissued and closed accounts flushed."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from infra.kit.database import Scope
from infra.kit.jobs import Runtime
from infra.kit.sealing import Seal
from provisioning import reconcile
from switch.commands import NodeControl
from switch.errors import NodesNotReached
from switch.models import CanaryCheck, SipAccount
from switch.simulator.node import SimulatedNode
from switch.sip.phone import Phone
from tenancy import tenants
from tenancy.models import Tenant
from tests.jobs import JobCount, job_counts
from tests.provisioning.world import TODAY, World, travel
from tests.switch.cluster import add_node, add_tenant, opened_office, read_node, simulated_node
from tests.switch.simulator.office import DOMAIN, PASSWORD, Office


@dataclass
class Floor:
    """A tenant with three open seats, a node that runs, and its phones."""

    world: World
    office: Office
    simulated: SimulatedNode
    tenant_id: str
    contract_id: str
    seat_ids: list[str]

    @property
    def runtime(self) -> Runtime:
        """As a worker has it."""
        return Runtime(self.world.api.database, self.world.api.settings)

    async def register(self, extension: str) -> None:
        """A phone registers, with what its account is now, and goes on its way."""
        async with self.world.api.database.transaction(Scope.platform()) as session:
            query = select(SipAccount.generation).where(SipAccount.username == extension)
            generation = (await session.execute(query)).scalar_one()
        self.office.add_user(extension, registration_metadata=str(generation))
        async with Phone(extension, DOMAIN, server=self.simulated.sip_address(), password=PASSWORD) as phone:
            assert await phone.register() == 200

    async def registered(self) -> tuple[str, ...]:
        """Who is registered at the node."""
        return await NodeControl.of(self.runtime).registrations(await read_node(self.world.api.database, "sim"), DOMAIN)

    async def tenant(self) -> Tenant:
        """The tenant as it stands."""
        async with self.world.api.database.transaction(Scope.platform()) as session:
            return await tenants.get(session, self.tenant_id)

    async def suspend(self) -> None:
        """From this commit on it is suspended."""
        async with self.world.api.database.transaction(Scope.platform()) as session:
            await tenants.suspend(session, self.tenant_id, reason="payment_overdue")

    async def checks(self) -> list[CanaryCheck]:
        """What the canary saw."""
        async with self.world.api.database.transaction(Scope.platform()) as session:
            return list((await session.execute(select(CanaryCheck))).scalars())


@pytest.fixture
async def floor(world: World, tmp_path: Path) -> AsyncGenerator[Floor]:
    """The nodes without anybody behind them have left; one runs."""
    for name in ("alpha", "beta"):
        await world.change_node(name, state="left")
    database = world.api.database
    async with opened_office() as office, simulated_node(tmp_path / "node", office) as simulated:
        seal = Seal(world.api.settings.secret_key)
        esl_port, sip_port = simulated.event_socket_address[1], simulated.sip_address()[1]
        await add_node(database, seal, "sim", esl_port=esl_port, sip_port=sip_port)
        tenant = await add_tenant(database)
        yield Floor(world, office, simulated, *await world.opened(tenant_id=tenant.tenant_id))


async def test_a_suspension_clears_what_is_there_twice_and_is_proved(floor: Floor) -> None:
    await floor.register("1001")
    await floor.suspend()
    await floor.world.work()
    assert await floor.registered() == ()
    assert [(check.node, check.expected, check.is_alarm) for check in await floor.checks()] == [
        ("sim", "refused", False)
    ]
    again = [count for count in await job_counts(floor.world.database_url) if count.task == "switch.clear_tenant"]
    assert [(count.status, count.count) for count in again] == [("todo", 1)]


async def test_a_change_that_another_has_overtaken_does_nothing(floor: Floor) -> None:
    await floor.suspend()
    async with floor.world.api.database.transaction(Scope.platform()) as session:
        await tenants.restore(session, floor.tenant_id)
    await floor.register("1001")
    await reconcile.reconcile_tenant(floor.runtime, floor.tenant_id, (await floor.tenant()).generation - 1)
    assert await floor.registered() == (f"1001@{DOMAIN}",)
    assert not [count for count in await job_counts(floor.world.database_url) if count.task == "switch.check_canary"]


async def test_a_node_that_was_not_told_is_tried_again_and_checked_all_the_same(floor: Floor) -> None:
    await floor.suspend()
    await floor.simulated.stop()
    with pytest.raises(NodesNotReached):
        await reconcile.reconcile_tenant(floor.runtime, floor.tenant_id, (await floor.tenant()).generation)
    tasks = [count.task for count in await job_counts(floor.world.database_url)]
    assert "switch.check_canary" in tasks


async def test_a_reissue_ends_the_registration_made_with_the_old_password(floor: Floor) -> None:
    await floor.register("1001")
    await floor.register("1002")
    await floor.world.operator.post(f"/v1/seats/{floor.seat_ids[0]}/credentials")
    await floor.world.work()
    assert await floor.registered() == (f"1002@{DOMAIN}",)


async def test_a_phone_that_has_the_new_password_already_is_not_forgotten_by_a_flush_that_comes_late(
    floor: Floor,
) -> None:
    await floor.world.operator.post(f"/v1/seats/{floor.seat_ids[0]}/credentials")
    await floor.world.operator.post(f"/v1/seats/{floor.seat_ids[0]}/suspension", {"reason": "lost"})
    await floor.world.operator.post(f"/v1/seats/{floor.seat_ids[0]}/resumption")
    await floor.register("1001")
    await floor.world.work()
    assert await floor.registered() == (f"1001@{DOMAIN}",)


async def test_a_registration_that_was_admitted_with_the_old_password_in_the_last_moment_ends_too(
    floor: Floor,
) -> None:
    await floor.world.operator.post(f"/v1/seats/{floor.seat_ids[0]}/credentials")
    await floor.world.work()
    floor.office.add_user("1001", registration_metadata="1")
    async with Phone("1001", DOMAIN, server=floor.simulated.sip_address(), password=PASSWORD) as phone:
        assert await phone.register() == 200
    queued = await job_counts(floor.world.database_url)
    assert JobCount("provisioning.flush_registrations", "todo", 1) in queued
    await reconcile.flush_registrations(floor.runtime, floor.tenant_id, floor.seat_ids, again=True)
    assert await floor.registered() == ()


async def test_a_node_that_cannot_list_its_registrations_is_asked_again(floor: Floor) -> None:
    await floor.simulated.stop()
    with pytest.raises(NodesNotReached):
        await reconcile.flush_registrations(floor.runtime, floor.tenant_id, floor.seat_ids[:1])


async def test_a_returned_seats_registration_ends_with_its_last_day(floor: Floor) -> None:
    await floor.register("1003")
    await floor.register("1001")
    last_day = TODAY + timedelta(days=5)
    await floor.world.placed(floor.tenant_id, floor.contract_id, kind="return", quantity=1, effective_on=last_day)
    travel(last_day + timedelta(days=1), hour=0)
    await floor.world.periodic()
    assert await floor.registered() == (f"1001@{DOMAIN}",)


async def test_a_node_that_is_back_is_cleared_of_whoever_was_suspended_meanwhile(floor: Floor) -> None:
    await floor.register("1001")
    await floor.world.change_node("sim", state="dead")
    await floor.suspend()
    await floor.world.work()
    assert await floor.registered() == (f"1001@{DOMAIN}",)
    await floor.world.change_node("sim", state="active")
    await floor.world.defer("provisioning.welcome_node", node="sim")
    assert await floor.registered() == ()
