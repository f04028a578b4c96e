"""Tenants on nodes: a node dies, its tenants flee; it is back, they go home when nobody is speaking."""

from __future__ import annotations

from datetime import timedelta

from cryptography.fernet import Fernet

from infra.kit import clock
from infra.kit.database import Scope
from infra.kit.jobs import Runtime
from infra.kit.sealing import Seal
from provisioning import placing
from switch import placements
from switch.commands import CommandFailed, LiveLeg, NodeControl, Outcome, Verdict
from switch.live.models import LiveLeg as LiveLegRow
from switch.models import Node, Placement
from tests.provisioning.world import TODAY, World


class Nodes(NodeControl):
    """What nodes tell of their calls: contexts by node; a node that is not in it does not answer."""

    def __init__(self, **contexts: list[str]) -> None:
        super().__init__(Seal(Fernet.generate_key().decode()), 1)
        self.contexts = contexts

    async def live_calls(self, node: Node) -> tuple[LiveLeg, ...]:
        if node.name not in self.contexts:
            raise CommandFailed(node.name, Outcome("show channels as json", Verdict.NOT_SENT, "away"))
        return tuple(
            LiveLeg(leg_id=str(index), context=context) for index, context in enumerate(self.contexts[node.name])
        )


async def place_of(world: World, tenant_id: str) -> Placement:
    async with world.api.database.transaction(Scope.platform()) as session:
        return await placements.get(session, tenant_id)


def runtime(world: World) -> Runtime:
    return Runtime(world.api.database, world.api.settings)


async def test_a_dead_nodes_tenants_move_to_their_spare_once(world: World) -> None:
    tenant_id, _, _ = await world.opened()
    before = await place_of(world, tenant_id)
    await world.change_node(before.home_node, state="dead", state_changed_at=clock.now())
    await world.defer("provisioning.evacuate_node", node=before.home_node)
    moved = await place_of(world, tenant_id)
    assert (moved.serving_node, moved.home_node) == (before.spare_node, before.home_node)
    assert moved.generation == before.generation + 1
    await world.defer("provisioning.evacuate_node", node=before.home_node)
    assert (await place_of(world, tenant_id)).generation == moved.generation
    audit = (await world.operator.get("/v1/audit", params={"tenant_id": tenant_id})).json()["items"]
    facts = [entry["facts"] for entry in audit if entry["action"] == "tenant.moved"]
    assert facts == [{"origin": before.home_node, "destination": before.spare_node, "reason": "node_lost"}]


async def test_a_node_that_is_back_before_the_job_keeps_its_tenants(world: World) -> None:
    tenant_id, _, _ = await world.opened()
    before = await place_of(world, tenant_id)
    await world.defer("provisioning.evacuate_node", node=before.home_node)
    assert (await place_of(world, tenant_id)).serving_node == before.home_node


async def test_with_no_node_alive_a_tenant_waits_for_the_next_one(world: World) -> None:
    tenant_id, _, _ = await world.opened()
    for name in ("alpha", "beta"):
        await world.change_node(name, state="dead", state_changed_at=clock.now())
    before = await place_of(world, tenant_id)
    assert await placing.evacuate_node(runtime(world), before.home_node) == []
    await world.node("gamma")
    await world.defer("provisioning.settle_placements")
    assert (await place_of(world, tenant_id)).serving_node == "gamma"


async def away_from_home(world: World) -> tuple[str, Placement]:
    """A tenant on its spare whose home has just come back."""
    tenant_id, _, _ = await world.opened()
    home = (await place_of(world, tenant_id)).home_node
    await world.change_node(home, state="dead", state_changed_at=clock.now())
    await placing.evacuate_node(runtime(world), home)
    await world.change_node(home, state="active", state_changed_at=clock.now())
    return tenant_id, await place_of(world, tenant_id)


def later(minutes: int) -> None:
    clock.travel_to(clock.now() + timedelta(minutes=minutes))


async def test_a_tenant_goes_home_when_its_home_has_been_up_and_it_is_quiet(world: World) -> None:
    tenant_id, away = await away_from_home(world)
    assert await placing.bring_home(runtime(world), control=Nodes(**{away.serving_node: []})) == []
    later(11)
    busy = Nodes(**{away.serving_node: [tenant_id]})
    assert await placing.bring_home(runtime(world), control=busy) == []
    from_outside = Nodes(**{away.serving_node: ["public"]})
    assert await placing.bring_home(runtime(world), control=from_outside) == []
    assert await placing.bring_home(runtime(world), control=Nodes()) == []
    quiet = Nodes(**{away.serving_node: [await world.api.tenant("other")]})
    assert await placing.bring_home(runtime(world), control=quiet) == [tenant_id]
    assert (await place_of(world, tenant_id)).serving_node == away.home_node


async def sees(world: World, node: str, leg_id: str, tenant_id: str) -> None:
    """The live view knows whose leg this is."""
    seen = LiveLegRow(
        tenant_id=tenant_id, node=node, leg_id=leg_id, leg="gateway", direction="inbound", state="answered",
        other_leg_id=None, seat_id=None, caller="", destination="", gateway=None, started_at=clock.now(),
        answered_at=clock.now(), changed_at=clock.now(),
    )  # fmt: skip
    async with world.api.database.transaction(Scope.platform()) as session:
        session.add(seen)


async def test_another_tenants_calls_from_outside_keep_nobody_from_home(world: World) -> None:
    tenant_id, away = await away_from_home(world)
    other = await world.api.tenant("other")
    later(11)
    serving = away.serving_node
    await sees(world, serving, "0", other)
    await sees(world, serving, "1", tenant_id)
    assert await placing.bring_home(runtime(world), control=Nodes(**{serving: ["public", "public"]})) == []
    assert await placing.bring_home(runtime(world), control=Nodes(**{serving: ["public"]})) == [tenant_id]


async def test_a_tenant_placed_on_the_only_node_gets_a_spare_when_there_is_one(world: World) -> None:
    await world.change_node("beta", state="left")
    tenant_id, _, _ = await world.opened(seats=1)
    assert (await place_of(world, tenant_id)).spare_node is None
    await world.node("gamma")
    await placing.settle_placements(runtime(world), control=Nodes())
    placed = await place_of(world, tenant_id)
    assert (placed.home_node, placed.spare_node, placed.serving_node) == ("alpha", "gamma", "alpha")


async def test_before_any_node_has_answered_those_expected_are_chosen(world: World) -> None:
    for name in ("alpha", "beta"):
        await world.change_node(name, state="joining")
    tenant_id = await world.api.tenant("renter")
    await world.placed(tenant_id, await world.contract(tenant_id), quantity=1, effective_on=TODAY)
    placed = await place_of(world, tenant_id)
    assert {placed.home_node, placed.spare_node} == {"alpha", "beta"}


async def test_a_tenant_that_outgrows_its_home_is_given_another_and_goes_there_when_it_is_quiet(world: World) -> None:
    tenant_id, contract_id, _ = await world.opened(seats=4)
    before = await place_of(world, tenant_id)
    await world.change_node(before.home_node, capacity_seats=5)
    await world.placed(tenant_id, contract_id, quantity=2, effective_on=TODAY)
    grown = await place_of(world, tenant_id)
    assert (grown.home_node, grown.serving_node) == (before.spare_node, before.home_node)
    assert grown.spare_node == before.home_node
    later(11)
    moved = await placing.bring_home(runtime(world), control=Nodes(**{before.home_node: []}))
    assert moved == [tenant_id]
    assert (await place_of(world, tenant_id)).serving_node == before.spare_node


async def test_a_tenant_whose_home_has_left_belongs_where_it_is_served(world: World) -> None:
    tenant_id, _, _ = await world.opened()
    before = await place_of(world, tenant_id)
    await world.node("gamma")
    await world.change_node(before.home_node, state="left", state_changed_at=clock.now())
    await placing.settle_placements(runtime(world), control=Nodes())
    settled = await place_of(world, tenant_id)
    assert (settled.home_node, settled.serving_node) == (before.spare_node, before.spare_node)
    assert settled.spare_node == "gamma"


async def test_seats_that_are_returned_give_their_room_back(world: World) -> None:
    tenant_id, contract_id, _ = await world.opened(seats=4)
    async with world.api.database.transaction(Scope.platform()) as session:
        rooms = await placing.rooms(session)
    home = (await place_of(world, tenant_id)).home_node
    assert (rooms[home].home, rooms[home].free) == (4, 996)
    spare = (await place_of(world, tenant_id)).spare_node
    assert spare is not None
    assert (rooms[spare].home, rooms[spare].reserve, rooms[spare].shortfall) == (0, 4, 0)
    waiting = await world.placed(tenant_id, contract_id, quantity=3, effective_on=TODAY + timedelta(days=5))
    await world.operator.post(f"/v1/seat-orders/{waiting['order_id']}/cancellation", {})
    async with world.api.database.transaction(Scope.platform()) as session:
        assert (await placing.rooms(session))[home].home == 4
