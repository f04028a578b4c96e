"""Faults around what nobody watched: a worker that was away, watches that stood still, two lookers at once (C11)."""

from __future__ import annotations

import asyncio
from datetime import date, datetime, timedelta

import pytest
from sqlalchemy import func, select

from billing.outages import overruns
from infra.kit import clock
from infra.kit.database import Scope
from infra.kit.sealing import Seal
from provisioning.outages import observing
from provisioning.outages.models import Observation, RegistrationWatch
from switch import gateways
from switch.completeness.models import NodeBoot
from tenancy import tenants
from tests.provisioning.outage_looks import MINUTE, Cluster, later
from tests.provisioning.world import TODAY, World, travel
from tests.switch.counts import count_nodes

EVACUATE = "provisioning.evacuate_node"


@pytest.fixture
def cluster(world: World) -> Cluster:
    return Cluster(world)


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


async def starts(world: World, node: str) -> None:
    """A node's FreeSWITCH is started anew."""
    async with world.api.database.transaction(Scope.platform()) as session:
        boot = NodeBoot(
            boot_id=f"boot-{clock.now().isoformat()}",
            node=node,
            first_seen_at=clock.now(),
            last_number=0,
            is_watched=True,
            ended_at=None,
        )
        session.add(boot)


async def stands(world: World, tenant_id: str, standing: str) -> None:
    """Another standing of a tenant, without what else follows from it."""
    async with world.api.database.transaction(Scope.platform()) as session:
        tenant = await tenants.get(session, tenant_id, for_update=True)
        tenant.standing = standing


async def extensions_of(world: World, tenant_id: str) -> list[str]:
    return [str(seat.extension) for seat in await world.seats(tenant_id)]


@pytest.mark.parametrize("looks_first", [True, False])
async def test_a_dead_nodes_tenants_that_waited_for_an_absent_worker_have_their_fault(
    world: World, cluster: Cluster, *, looks_first: bool
) -> None:
    tenant_id, _, _ = await world.opened()
    node = (await cluster.place_of(tenant_id)).serving_node
    await cluster.looks(1)
    died_at = await cluster.node_dies(node)
    later(hours=5)
    if looks_first:
        await cluster.looks(1, every=timedelta(seconds=1))
    await world.defer(EVACUATE, node=node)
    moved_at = (await cluster.place_of(tenant_id)).changed_at
    await cluster.looks(7)
    [fault] = await cluster.faults(tenant_id=tenant_id)
    assert (moment(fault["began_at"]), moment(fault["ended_at"]), fault["cause"]) == (died_at, moved_at, "operator")
    assert await cluster.observations() == [("node_down", "ended")]
    shown = (await world.operator.get(f"/v1/faults/{fault['fault_id']}")).json()
    assert [each["credit"] for each in shown["credits"]] == ["66.67"]


async def test_gateways_that_came_back_while_nobody_looked_end_their_fault_then(world: World, cluster: Cluster) -> None:
    tenant_id, _, _ = await world.opened()
    node = (await cluster.place_of(tenant_id)).serving_node
    gateway = await cluster.gateway("one")
    await cluster.gateway_is(node, gateway, up=False)
    await cluster.looks(4)
    later(minutes=5)
    await cluster.gateway_is(node, gateway, up=True)
    back_at = clock.now()
    later(hours=9)
    await cluster.looks(7)
    [fault] = await cluster.faults(tenant_id=tenant_id)
    assert abs(moment(fault["ended_at"]) - back_at) < MINUTE


async def test_gateways_that_are_switched_off_while_they_are_down_are_still_a_fault(
    world: World, cluster: Cluster
) -> None:
    tenant_id, _, _ = await world.opened()
    node = (await cluster.place_of(tenant_id)).serving_node
    gateway = await cluster.gateway("one")
    await cluster.gateway_is(node, gateway, up=False)
    await cluster.looks(4)
    async with world.api.database.transaction(Scope.platform()) as session:
        await gateways.change_gateway(session, Seal(world.api.settings.secret_key), gateway, {"is_enabled": False})
    await cluster.looks(8)
    [fault] = await cluster.faults(tenant_id=tenant_id)
    assert fault["ended_at"] is None, "no call goes out or comes in, as before"
    another = await cluster.gateway("two")
    await cluster.gateway_is(node, another, up=True)
    await cluster.looks(8)
    [fault] = await cluster.faults(tenant_id=tenant_id)
    assert fault["ended_at"] is not None


async def test_two_blinks_of_the_canary_with_an_absent_worker_between_are_no_fault(
    world: World, cluster: Cluster
) -> None:
    tenant_id, _, _ = await world.opened()
    node = (await cluster.place_of(tenant_id)).serving_node
    cluster.canary.refused_at = {node}
    await cluster.looks(1)
    later(hours=8)
    await cluster.looks(1)
    cluster.canary.refused_at = set()
    await cluster.looks(8)
    assert (await cluster.faults(), await cluster.observations()) == ([], [])


async def test_a_canary_that_failed_before_an_absence_and_not_after_it_failed_until_the_last_look(
    world: World, cluster: Cluster
) -> None:
    tenant_id, _, _ = await world.opened()
    node = (await cluster.place_of(tenant_id)).serving_node
    cluster.canary.calls_refused_at = {node}
    await cluster.looks(5)
    last_seen_at = clock.now()
    later(hours=8)
    cluster.canary.calls_refused_at = set()
    await cluster.looks(1)
    [fault] = await cluster.faults(tenant_id=tenant_id)
    assert last_seen_at - MINUTE < moment(fault["ended_at"]) <= last_seen_at, "what nobody watched is not made up"
    assert await cluster.observations() == [("canary_failing", "ended")]


async def test_a_canary_that_fails_before_and_after_an_absence_goes_on_failing(world: World, cluster: Cluster) -> None:
    tenant_id, _, _ = await world.opened()
    node = (await cluster.place_of(tenant_id)).serving_node
    cluster.canary.calls_refused_at = {node}
    await cluster.looks(5)
    later(hours=8)
    await cluster.looks(2)
    [fault] = await cluster.faults(tenant_id=tenant_id)
    assert fault["ended_at"] is None
    cluster.canary.calls_refused_at = set()
    await cluster.looks(1)
    first_well_at = clock.now()
    await cluster.looks(6)
    [fault] = await cluster.faults(tenant_id=tenant_id)
    assert first_well_at - MINUTE < moment(fault["ended_at"]) <= first_well_at


async def test_a_node_that_is_out_of_service_after_an_absence_had_its_canary_fail_until_the_last_look(
    world: World, cluster: Cluster
) -> None:
    tenant_id, _, _ = await world.opened()
    node = (await cluster.place_of(tenant_id)).serving_node
    cluster.canary.calls_refused_at = {node}
    await cluster.looks(5)
    last_seen_at = clock.now()
    later(hours=8)
    await world.change_node(node, state="draining")
    await cluster.looks(1)
    [fault] = await cluster.faults(tenant_id=tenant_id)
    assert last_seen_at - MINUTE < moment(fault["ended_at"]) <= last_seen_at


async def test_a_tenant_whose_canary_goes_on_failing_does_not_keep_the_others_from_their_turn(
    world: World, cluster: Cluster
) -> None:
    await world.change_node("beta", state="joining")
    tenants = [(await world.opened(seats=1, tenant_id=await world.api.tenant(f"t{each}")))[0] for each in range(4)]
    cluster.canary.refused_for = {tenants[0]}
    await cluster.looks(4)
    assert {tenant_id for _, tenant_id in cluster.canary.tried} == set(tenants)


async def test_phones_that_say_goodbye_long_after_a_restart_are_no_fault(world: World, cluster: Cluster) -> None:
    await world.change_node("beta", state="joining")
    idle, busy = [(await world.opened(seats=6, tenant_id=await world.api.tenant(name)))[0] for name in ("idle", "busy")]
    await cluster.registers(idle, "alpha", await extensions_of(world, idle), minutes=60)
    await cluster.looks(1)
    await cluster.vanish(idle)
    await cluster.looks(1)
    later(hours=2)
    await starts(world, "alpha")
    for _ in range(8):
        await cluster.registers(busy, "alpha", await extensions_of(world, busy), minutes=60)
        await cluster.looks(1)
    await cluster.vanish(busy)
    await cluster.looks(8)
    assert (await cluster.observations(), await cluster.faults()) == ([], []), "the shift is over"


async def test_phones_that_went_while_the_worker_was_away_have_not_vanished(world: World, cluster: Cluster) -> None:
    tenants = [(await world.opened(seats=6, tenant_id=await world.api.tenant(name)))[0] for name in ("one", "two")]
    for tenant_id in tenants:
        await cluster.registers(tenant_id, "alpha", await extensions_of(world, tenant_id), minutes=60)
    await cluster.looks(1)
    for tenant_id in tenants:
        await cluster.vanish(tenant_id)
    later(hours=3)
    await cluster.looks(8)
    assert (await cluster.observations(), await cluster.faults()) == ([], [])


async def test_a_tenant_that_is_restored_has_lost_nobody(world: World, cluster: Cluster) -> None:
    tenant_id, _, _ = await world.opened(seats=6)
    node = (await cluster.place_of(tenant_id)).serving_node
    await cluster.registers(tenant_id, node, await extensions_of(world, tenant_id), minutes=2)
    await cluster.looks(1)
    await stands(world, tenant_id, "suspended")
    await cluster.vanish(tenant_id)
    await cluster.looks(8)
    await stands(world, tenant_id, "active")
    await cluster.looks(8)
    assert await cluster.observations() == []


async def test_two_of_many_tenants_whose_shifts_end_together_do_not_make_it_the_operators_fault(
    world: World, cluster: Cluster
) -> None:
    await world.change_node("beta", state="joining")
    leaving = [(await world.opened(seats=5, tenant_id=await world.api.tenant(name)))[0] for name in ("one", "two")]
    staying = [await world.api.tenant(name) for name in ("three", "four", "five")]
    for tenant_id in leaving:
        await cluster.registers(tenant_id, "alpha", await extensions_of(world, tenant_id), minutes=1.5)
    for tenant_id in staying:
        await cluster.registers(tenant_id, "alpha", ["1001"], minutes=60)
    await cluster.looks(1)
    for tenant_id in leaving:
        await cluster.vanish(tenant_id)
    await cluster.looks(8)
    faults = await cluster.faults()
    assert [(each["state"], each["cause"]) for each in faults] == [("reported", None)] * 2


async def test_two_lookers_at_once_leave_one_fault_and_fail_nobody(world: World, cluster: Cluster) -> None:
    tenants = [(await world.opened(seats=1, tenant_id=await world.api.tenant(name)))[0] for name in ("one", "two")]
    for node in ("alpha", "beta"):
        await cluster.node_dies(node)
    for _ in range(5):
        later(minutes=1)
        await asyncio.gather(*(observing.look(cluster.runtime, probe=cluster.canary) for _ in range(3)))
    assert sorted(each["tenant_id"] for each in await cluster.faults()) == sorted(tenants)
    for node in ("alpha", "beta"):
        await cluster.node_is_back(node)
    for _ in range(8):
        later(minutes=1)
        await asyncio.gather(*(observing.look(cluster.runtime, probe=cluster.canary) for _ in range(3)))
    assert [each["ended_at"] is not None for each in await cluster.faults()] == [True, True]
    assert len(await cluster.observations()) == 2


async def test_what_a_closed_tenant_had_open_ends_and_its_phones_are_forgotten(world: World, cluster: Cluster) -> None:
    tenant_id, _, _ = await world.opened(seats=6)
    node = (await cluster.place_of(tenant_id)).serving_node
    await cluster.registers(tenant_id, node, await extensions_of(world, tenant_id), minutes=60)
    await cluster.looks(1)
    await cluster.node_dies(node)
    await cluster.looks(3)
    await stands(world, tenant_id, "closed")
    await cluster.looks(8)
    assert [each["ended_at"] is not None for each in await cluster.faults()] == [True]
    async with world.api.database.transaction(Scope.platform()) as session:
        query = select(func.count()).where(RegistrationWatch.tenant_id == tenant_id)
        assert (await session.execute(query)).scalar_one() == 0
        states = (await session.execute(select(Observation.state))).scalars().all()
    assert set(states) == {"ended"}


async def test_whatever_speaks_for_a_day_without_service_is_credited_once(world: World, cluster: Cluster) -> None:
    """Two nodes that die one after the other, a report from before, an overrun, a seat that is returned."""
    tenant_id, contract_id, seat_ids = await world.opened()
    times = {"begins_at": "2026-06-14T02:00:00+08:00", "ends_at": "2026-06-14T04:00:00+08:00"}
    window = (await world.operator.post("/v1/maintenance-windows", times | {"note": "power"})).json()
    returned = await world.order(
        tenant_id, contract_id, kind="return", seat_ids=seat_ids[2:], effective_on=TODAY + timedelta(days=10)
    )
    assert returned.status_code == 201, returned.text
    travel(TODAY + timedelta(days=6), hour=4)
    report = {"contract_id": contract_id, "tenant_id": tenant_id, "note": "all is dead", "cause": "operator"}
    reported = await world.operator.post("/v1/faults", report | {"began_at": "2026-06-14T01:00:00+08:00"})
    assert reported.status_code == 201, reported.text
    home = (await cluster.place_of(tenant_id)).serving_node
    await cluster.node_dies(home)
    await cluster.looks(3)
    later(hours=5)
    await world.defer(EVACUATE, node=home)
    await cluster.node_dies((await cluster.place_of(tenant_id)).serving_node)
    await cluster.looks(10)
    later(hours=5)
    overrun = {"ended_at": clock.now().isoformat()}
    closed = await world.operator.post(f"/v1/maintenance-windows/{window['window_id']}/closure", overrun)
    assert closed.status_code == 200, closed.text
    for node in ("alpha", "beta"):
        await cluster.node_is_back(node)
    await cluster.looks(8)
    await asyncio.gather(*(overruns.record(cluster.runtime, window["window_id"]) for _ in range(2)))
    await world.work()
    faults = await cluster.faults(tenant_id=tenant_id)
    assert [sum(each[key] is not None for each in faults) for key in ("observation_id", "window_id")] == [2, 1]
    ended = await world.operator.post(f"/v1/faults/{faults[0]['fault_id']}/end", {"ended_at": clock.now().isoformat()})
    assert (len(faults), ended.status_code) == (4, 200), ended.text
    shown = (await world.operator.get(f"/v1/contracts/{contract_id}/fault-credits")).json()
    assert [(each["numbers"], each["days"], each["credit"]) for each in shown["credits"]] == [([1, 2, 3], 1, "66.67")]
    assert shown["credit"] == "200.00"
    decision = {"cause": "force_majeure", "reason": "a test"}
    travel(date(2026, 7, 1), hour=1)
    await count_nodes(world.api.database)
    await world.defer("billing.advance_month")
    for each in faults:
        decided = await world.operator.post(f"/v1/faults/{each['fault_id']}/reclassification", decision)
        assert decided.status_code == 200, decided.text
        again = await world.operator.post(
            f"/v1/faults/{each['fault_id']}/reclassification", decision | {"cause": "operator"}
        )
        assert again.status_code == 200, again.text
    travel(date(2026, 8, 1), hour=1)
    await count_nodes(world.api.database)
    await world.defer("billing.advance_month")
    invoices = (await world.operator.get("/v1/invoices", params={"tenant_id": tenant_id})).json()["items"]
    credits: list[tuple[str, str]] = []
    for invoice in invoices:
        whole = (await world.operator.get(f"/v1/invoices/{invoice['invoice_id']}")).json()
        credits += [(whole["period"], line["amount"]) for line in whole["lines"] if line["kind"] == "fault_credit"]
    assert credits == [("2026-07", "-200.00")]
