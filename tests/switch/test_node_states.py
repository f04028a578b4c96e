"""The life of a node: one table, and leaving for good."""

from __future__ import annotations

import pytest

from infra.kit.database import Database, Scope
from infra.kit.sealing import Seal
from infra.kit.settings import Settings
from switch import leaving, node_lease, placements
from switch.draining.states import NODE_STATES
from switch.errors import NodeStillNeeded, NodeUnknown
from switch.node_states import NEXT, NodeEvent, NodeState, after, states_for
from switch.nodes import LIVE_STATES
from tests.switch.cluster import add_node, add_tenant, read_node


def test_every_state_can_be_reached_and_only_leaving_is_for_good() -> None:
    assert {NodeState.JOINING, *NEXT.values()} == set(NodeState)
    assert {state for state, _ in NEXT} == set(NodeState) - {NodeState.LEFT}


def test_the_table_agrees_with_those_who_use_it() -> None:
    assert states_for(NodeEvent.SILENT) == LIVE_STATES
    assert set(NODE_STATES.values()) <= {state.value for state in NodeState}
    assert after("drained", NodeEvent.SILENT) is None
    assert after("left", NodeEvent.HEARD) is None


@pytest.fixture
def seal(settings: Settings) -> Seal:
    """The installation's seal."""
    return Seal(settings.secret_key)


@pytest.mark.parametrize("state", ["joining", "drained", "dead"])
async def test_a_node_that_serves_nobody_leaves_and_is_never_supervised_again(
    database: Database, seal: Seal, state: str
) -> None:
    node = await add_node(database, seal, "fs-1", state=state)
    for _ in range(2):
        async with database.transaction(Scope.platform()) as session:
            await leaving.leave(session, "fs-1")
    left = await read_node(database, "fs-1")
    assert (left.state, left.generation) == ("left", node.generation + 1)
    async with database.transaction(Scope.platform()) as session:
        assert await node_lease.claim(session, node.node_id, "somebody", lease_seconds=10) is None


@pytest.mark.parametrize("state", ["active", "cut_off", "draining"])
async def test_a_node_in_service_is_drained_first(database: Database, seal: Seal, state: str) -> None:
    await add_node(database, seal, "fs-1", state=state)
    async with database.transaction(Scope.platform()) as session:
        with pytest.raises(NodeStillNeeded, match="drain it first"):
            await leaving.leave(session, "fs-1")
        with pytest.raises(NodeUnknown):
            await leaving.leave(session, "fs-9")


async def test_a_node_that_still_serves_tenants_stays(database: Database, seal: Seal) -> None:
    await add_node(database, seal, "fs-1", state="dead")
    tenant = await add_tenant(database)
    async with database.transaction(Scope.platform()) as session:
        await placements.assign(session, tenant.tenant_id, home_node="fs-1", spare_node=None)
        with pytest.raises(NodeStillNeeded, match="1 tenants"):
            await leaving.leave(session, "fs-1")
    assert (await read_node(database, "fs-1")).state == "dead"
