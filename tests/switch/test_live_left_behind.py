"""The live view of nodes that are no more: what stood in the tables when they went is shown to nobody."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import select

from infra.kit import clock
from infra.kit.database import Scope
from infra.kit.sealing import Seal
from switch import leaving, node_lease
from switch.live.models import LiveLeg, LiveNode, LiveRegistration
from switch.models import GatewayState
from switch.sip.phone import Phone
from tests.api import Api
from tests.switch.builders import running_leg
from tests.switch.cluster import (
    CLOSED_PORT,
    add_node,
    add_tenant,
    eventually,
    opened_office,
    ports_of,
    read_node,
    simulated_node,
)
from tests.switch.simulator.office import DOMAIN, PASSWORD
from tests.switch.test_drain import becomes, begin, supervised

TABLES = (LiveLeg, LiveRegistration, LiveNode, GatewayState)


async def shown(api: Api, node: str) -> list[int]:
    """How many legs, registrations, views and states of gateways there are of a node."""
    async with api.database.transaction(Scope.platform()) as session:
        return [len((await session.execute(select(table).where(table.node == node))).all()) for table in TABLES]


async def leave_behind(api: Api, tenant_id: str, node: str) -> None:
    """What a supervisor wrote of a node before it went."""
    now = clock.now()
    registration = LiveRegistration(
        tenant_id=tenant_id,
        node=node,
        username="1001",
        call_id="call-1",
        contact="sip:1001@192.0.2.1",
        transport="udp",
        network_ip="192.0.2.1",
        network_port=5060,
        user_agent="phone",
        registered_at=now,
        expires_at=now,
        changed_at=now,
    )
    gateway = GatewayState(
        node=node, gateway_id="gw_1", generation=1, is_up=True, registration="REGED", changed_at=now, checked_at=now
    )
    async with api.database.transaction(Scope.platform()) as session:
        session.add_all((running_leg(tenant_id, node, f"leg at {node}"), registration, gateway))


@pytest.fixture
def seal(api: Api) -> Seal:
    """The installation's seal."""
    return Seal(api.settings.secret_key)


async def test_a_node_that_died_together_with_its_supervisor_shows_nothing_more(api: Api, seal: Seal) -> None:
    tenant = await api.tenant()
    await add_node(api.database, seal, "fs-1", esl_port=CLOSED_PORT)
    for node in ("fs-1", "fs-2"):
        await leave_behind(api, tenant, node)
    async with supervised(api):

        async def is_cleared() -> bool:
            return (await shown(api, "fs-1"))[:2] == [0, 0]

        await eventually(is_cleared)
        assert (await read_node(api.database, "fs-1")).state == "dead"
    assert (await shown(api, "fs-2"))[:2] == [1, 1]
    async with api.database.transaction(Scope.platform()) as session:
        assert await session.get(LiveNode, "fs-1") is not None  # and the streams were told to look


async def test_a_node_that_dies_under_its_supervisor_shows_nothing_more(api: Api, seal: Seal, tmp_path: Path) -> None:
    tenant = await add_tenant(api.database)
    async with opened_office() as office, supervised(api):
        office.add_user("1001", seatline_tenant=tenant.tenant_id)
        async with simulated_node(tmp_path / "node", office) as simulated:
            await add_node(api.database, seal, "fs-1", **ports_of(simulated))
            async with Phone("1001", DOMAIN, server=simulated.sip_address(), password=PASSWORD) as phone:
                assert await phone.register() == 200
                await eventually(partial(_registered, api, 1))
                phone.vanish()
            await leave_behind(api, tenant.tenant_id, "fs-1")  # as if another had written it meanwhile
        await eventually(partial(_registered, api, 0))
        assert (await shown(api, "fs-1"))[:2] == [0, 0]


async def test_of_a_node_that_has_left_nothing_is_shown_or_written_any_more(
    api: Api, seal: Seal, tmp_path: Path
) -> None:
    tenant = await add_tenant(api.database)
    operator = await api.client("platform_operator")
    async with opened_office() as office, simulated_node(tmp_path / "node", office) as simulated:
        await add_node(api.database, seal, "fs-1", **ports_of(simulated))
        office.add_user("1001", seatline_tenant=tenant.tenant_id)
        async with Phone("1001", DOMAIN, server=simulated.sip_address(), password=PASSWORD) as phone:
            assert await phone.register() == 200
            async with supervised(api):
                await eventually(partial(_registered, api, 1))
                await begin(operator)
                await becomes(api, operator, "drained")
                await leave_behind(api, tenant.tenant_id, "fs-1")
                answer = await operator.post("/v1/nodes/fs-1/leave")
                assert (answer.status_code, answer.json()["state"]) == (200, "left")
                assert await shown(api, "fs-1") == [0, 0, 0, 0]
            assert await shown(api, "fs-1") == [0, 0, 0, 0]
            left = await read_node(api.database, "fs-1")
            assert (left.supervisor, left.supervised_until) == (None, None)


async def test_the_supervisor_of_a_node_that_has_left_has_no_right_to_write_of_it(api: Api, seal: Seal) -> None:
    node = await add_node(api.database, seal, "fs-1", state="drained")
    async with api.database.transaction(Scope.platform()) as session:
        lease = await node_lease.claim(session, node.node_id, "somebody", lease_seconds=60)
        assert lease is not None
        await leaving.leave(session, "fs-1")
        assert await node_lease.held_node(session, lease) is None


async def test_what_an_earlier_release_left_behind_goes_when_the_node_leaves_again(api: Api, seal: Seal) -> None:
    tenant = await api.tenant()
    await add_node(api.database, seal, "fs-1", state="left")
    await leave_behind(api, tenant, "fs-1")
    async with api.database.transaction(Scope.platform()) as session:
        await leaving.leave(session, "fs-1")
    assert await shown(api, "fs-1") == [0, 0, 0, 0]


async def _registered(api: Api, count: int) -> bool:
    return (await shown(api, "fs-1"))[1] == count
