"""Tenants of a node that alone gets no answers from the API are served by others, and come home without a flap."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from infra.kit import clock
from infra.kit.database import Scope
from provisioning import placing
from switch import placements
from switch.models import Placement
from tests.provisioning.outage_looks import Cluster, later
from tests.provisioning.test_placing import Nodes, runtime
from tests.provisioning.world import World


class Path:
    """The ways of a world's nodes to the API, as their supervisors write them into the rows."""

    def __init__(self, world: World) -> None:
        self.world = world

    async def place_of(self, tenant_id: str) -> Placement:
        """Where a tenant lives now."""
        async with self.world.api.database.transaction(Scope.platform()) as session:
            return await placements.get(session, tenant_id)

    async def answered(self, *names: str) -> None:
        """These nodes get answers, as they have for an hour."""
        now = clock.now()
        for name in names:
            await self.world.change_node(
                name, answered_at=now, answered_since=now - timedelta(hours=1), unanswered_since=None
            )

    async def without(self, name: str) -> datetime:
        """This one gets none any more, from the moment that is returned."""
        now = clock.now()
        await self.world.change_node(name, answered_since=None, unanswered_since=now)
        return now

    async def cut_off(self, name: str) -> None:
        """This one's supervisor has given it up."""
        await self.world.change_node(name, state="cut_off", state_changed_at=clock.now())

    async def back(self, name: str) -> datetime:
        """This one is answered again, from the moment that is returned."""
        now = clock.now()
        values = {"answered_at": now, "answered_since": now, "unanswered_since": None}
        await self.world.change_node(name, state="active", state_changed_at=now, **values)
        return now


@pytest.fixture
def path(world: World) -> Path:
    return Path(world)


async def fled(path: Path) -> tuple[str, Placement]:
    """A tenant whose home was cut off and that its spare serves now."""
    tenant_id, _, _ = await path.world.opened()
    before = await path.place_of(tenant_id)
    assert before.spare_node is not None
    await path.answered("alpha", "beta")
    await path.without(before.home_node)
    later(seconds=11)
    await path.answered(before.spare_node)
    await path.cut_off(before.home_node)
    await path.world.defer("provisioning.evacuate_node", node=before.home_node)
    return tenant_id, await path.place_of(tenant_id)


async def test_tenants_of_a_node_that_is_cut_off_move_to_one_that_gets_answers(world: World, path: Path) -> None:
    tenant_id, moved = await fled(path)
    assert moved.serving_node == moved.spare_node != moved.home_node
    audit = (await world.operator.get("/v1/audit", params={"tenant_id": tenant_id})).json()["items"]
    [facts] = [entry["facts"] for entry in audit if entry["action"] == "tenant.moved"]
    assert facts["reason"] == "node_cut_off"
    await placing.settle_placements(runtime(world), control=Nodes(alpha=[], beta=[]))
    assert (await path.place_of(tenant_id)).generation == moved.generation


async def test_they_come_home_when_it_has_had_answers_for_ten_minutes_and_nobody_speaks(
    world: World, path: Path
) -> None:
    tenant_id, moved = await fled(path)
    later(minutes=30)
    quiet = Nodes(alpha=[], beta=[])
    assert await placing.bring_home(runtime(world), control=quiet) == []
    await path.back(moved.home_node)
    later(minutes=9)
    assert await placing.bring_home(runtime(world), control=quiet) == []
    later(minutes=2)
    assert await placing.bring_home(runtime(world), control=Nodes(alpha=[tenant_id], beta=[tenant_id])) == []
    await path.without(moved.home_node)
    assert await placing.bring_home(runtime(world), control=quiet) == [], "it was lost again, if not for long"
    await path.back(moved.home_node)
    await world.change_node(moved.home_node, state_changed_at=clock.now() - timedelta(hours=1))
    assert await placing.bring_home(runtime(world), control=quiet) == [], "the ten minutes begin with the answers"
    later(minutes=11)
    assert await placing.bring_home(runtime(world), control=quiet) == [tenant_id]
    assert (await path.place_of(tenant_id)).serving_node == moved.home_node


async def test_nobody_moves_to_a_node_that_gets_no_answers_either(world: World, path: Path) -> None:
    tenant_id, _, _ = await world.opened()
    before = await path.place_of(tenant_id)
    spare = before.spare_node
    assert spare is not None
    await path.answered(spare)
    later(seconds=5)
    await path.without(before.home_node)
    await path.cut_off(before.home_node)
    await placing.evacuate_node(runtime(world), before.home_node)
    assert (await path.place_of(tenant_id)).serving_node == before.home_node, "the spare was answered before that"
    later(seconds=5)
    await path.without(spare)
    await placing.settle_placements(runtime(world), control=Nodes())
    assert (await path.place_of(tenant_id)).serving_node == before.home_node
    await world.node("gamma")
    later(seconds=5)
    await path.answered("gamma")
    await placing.settle_placements(runtime(world), control=Nodes())
    assert (await path.place_of(tenant_id)).serving_node == "gamma"


async def test_tenants_of_a_dead_node_rather_go_where_answers_are(world: World, path: Path) -> None:
    tenant_id, _, _ = await world.opened()
    before = await path.place_of(tenant_id)
    assert before.spare_node is not None
    await world.node("gamma")
    await path.without(before.spare_node)
    await world.change_node(before.home_node, state="dead", state_changed_at=clock.now())
    await placing.evacuate_node(runtime(world), before.home_node)
    assert (await path.place_of(tenant_id)).serving_node == "gamma"


async def test_where_the_api_is_away_for_all_a_dead_nodes_tenants_go_to_their_spare_all_the_same(
    world: World, path: Path
) -> None:
    tenant_id, _, _ = await world.opened()
    before = await path.place_of(tenant_id)
    for name in ("alpha", "beta"):
        await path.without(name)
    await world.change_node(before.home_node, state="dead", state_changed_at=clock.now())
    await placing.evacuate_node(runtime(world), before.home_node)
    assert (await path.place_of(tenant_id)).serving_node == before.spare_node


async def test_a_cancelled_drain_brings_nobody_back_to_a_node_without_answers(world: World, path: Path) -> None:
    tenant_id, _, _ = await world.opened()
    before = await path.place_of(tenant_id)
    since = clock.now()
    later(seconds=1)
    await world.change_node(before.home_node, state="draining")
    await placing.evacuate_node(runtime(world), before.home_node)
    await world.change_node(before.home_node, state="active")
    await path.without(before.home_node)
    assert await placing.return_tenants(runtime(world), before.home_node, since) == []
    await path.answered(before.home_node)
    assert await placing.return_tenants(runtime(world), before.home_node, since) == [tenant_id]


async def test_a_node_that_is_cut_off_takes_no_new_tenants_and_nobody_by_hand(world: World, path: Path) -> None:
    tenant_id, moved = await fled(path)
    body = {"home_node": moved.home_node, "reason": "it is near"}
    refused = await world.operator.post(f"/v1/tenants/{tenant_id}/move", body)
    assert (refused.status_code, refused.json()["code"]) == (409, "node_takes_nobody")
    assert "cut_off" in refused.json()["detail"]
    other_id, _, _ = await world.opened(tenant_id=await world.api.tenant("other"))
    assert (await path.place_of(other_id)).home_node == moved.spare_node


async def test_seats_at_a_node_that_is_cut_off_with_nobody_to_take_over_have_a_fault_from_its_last_answers_on(
    world: World, path: Path
) -> None:
    cluster = Cluster(world)
    tenant_id, _, _ = await world.opened()
    node = (await path.place_of(tenant_id)).serving_node
    lost_at = await path.without(node)
    later(seconds=11)
    await path.cut_off(node)
    await cluster.looks(3)
    [fault] = await cluster.faults(tenant_id=tenant_id)
    assert datetime.fromisoformat(fault["began_at"]) == lost_at
    assert "gets no answers" in fault["note"]
    back_at = await path.back(node)
    await cluster.looks(7)
    [fault] = await cluster.faults(tenant_id=tenant_id)
    assert datetime.fromisoformat(fault["ended_at"]) == back_at


async def test_tenants_that_waited_for_an_absent_worker_have_their_fault_once_another_node_serves_them(
    world: World, path: Path
) -> None:
    cluster = Cluster(world)
    tenant_id, _, _ = await world.opened()
    before = await path.place_of(tenant_id)
    assert before.spare_node is not None
    await cluster.looks(1)
    lost_at = await path.without(before.home_node)
    later(seconds=11)
    await path.cut_off(before.home_node)
    later(hours=5)
    await path.answered(before.spare_node)
    await world.defer("provisioning.evacuate_node", node=before.home_node)
    moved_at = (await path.place_of(tenant_id)).changed_at
    await cluster.looks(7)
    [fault] = await cluster.faults(tenant_id=tenant_id)
    assert datetime.fromisoformat(fault["began_at"]) == lost_at
    assert datetime.fromisoformat(fault["ended_at"]) == moved_at
