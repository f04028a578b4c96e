"""What the cluster is seen with becomes faults, merged with what was reported, and credited (C11, rule 9)."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from infra.kit import clock
from infra.kit.database import Scope
from provisioning.outages import observing
from switch import placements
from switch.canary import Observation as Tried
from switch.canary import Subject
from switch.models import Node
from tests.provisioning.outage_looks import MINUTE, Cluster, Patient, later
from tests.provisioning.world import TODAY, World, travel


@pytest.fixture
def cluster(world: World) -> Cluster:
    return Cluster(world)


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


async def test_a_node_that_dies_with_nobody_to_take_over_is_a_fault_from_its_death_on(
    world: World, cluster: Cluster
) -> None:
    tenant_id, _, _ = await world.opened()
    node = (await cluster.place_of(tenant_id)).serving_node
    died_at = await cluster.node_dies(node)
    await cluster.looks(1, every=timedelta(seconds=15))
    assert await cluster.faults() == []
    await cluster.looks(3)
    [fault] = await cluster.faults(tenant_id=tenant_id)
    assert (fault["state"], fault["cause"], fault["numbers"], fault["ended_at"]) == (
        "confirmed",
        "operator",
        None,
        None,
    )
    assert moment(fault["began_at"]) == died_at
    assert node in fault["note"]

    later(hours=5)
    back_at = await cluster.node_is_back(node)
    await cluster.looks(8)
    [fault] = await cluster.faults(tenant_id=tenant_id)
    assert moment(fault["ended_at"]) == back_at
    viewer = await world.api.client("tenant_viewer", tenant_id)
    shown = (await viewer.get(f"/v1/faults/{fault['fault_id']}")).json()
    assert shown["counts"]
    assert [(each["source"], each["observation_id"]) for each in shown["evidence"]] == [
        ("cluster", fault["observation_id"])
    ] * 2
    assert [(each["numbers"], each["days"], each["credit"]) for each in shown["credits"]] == [([1, 2, 3], 1, "66.67")]
    assert await cluster.observations() == [("node_down", "ended")]


async def test_seats_that_the_spare_serves_within_seconds_have_no_fault(world: World, cluster: Cluster) -> None:
    tenant_id, _, _ = await world.opened()
    node = (await cluster.place_of(tenant_id)).serving_node
    await cluster.node_dies(node)
    await cluster.looks(1, every=timedelta(seconds=1))
    assert await cluster.observations() == [("node_down", "suspected")]
    await world.defer("provisioning.evacuate_node", node=node)
    assert (await cluster.place_of(tenant_id)).serving_node != node
    await cluster.looks(10)
    assert (await cluster.faults(), await cluster.observations()) == ([], [])


async def test_a_node_that_comes_and_goes_is_one_fault(world: World, cluster: Cluster) -> None:
    tenant_id, _, _ = await world.opened()
    node = (await cluster.place_of(tenant_id)).serving_node
    await cluster.node_dies(node)
    await cluster.looks(3)
    for _ in range(3):
        await cluster.node_is_back(node)
        await cluster.looks(2)
        await world.change_node(node, state="dead", state_changed_at=clock.now())
        await cluster.looks(2)
    back_at = await cluster.node_is_back(node)
    await cluster.looks(7)
    [fault] = await cluster.faults(tenant_id=tenant_id)
    assert moment(fault["ended_at"]) == back_at


async def test_an_end_that_nobody_watched_is_known_from_the_placement(world: World, cluster: Cluster) -> None:
    tenant_id, _, _ = await world.opened()
    node = (await cluster.place_of(tenant_id)).serving_node
    await cluster.node_dies(node)
    await cluster.looks(3)
    await world.defer("provisioning.evacuate_node", node=node)
    moved_at = (await cluster.place_of(tenant_id)).changed_at
    later(hours=9)
    await cluster.looks(7)
    [fault] = await cluster.faults(tenant_id=tenant_id)
    assert moment(fault["ended_at"]) == moved_at


async def test_a_report_of_the_same_is_confirmed_by_what_was_seen_and_counts_once(
    world: World, cluster: Cluster
) -> None:
    tenant_id, contract_id, _ = await world.opened()
    node = (await cluster.place_of(tenant_id)).serving_node
    await cluster.node_dies(node)
    admin = Patient(world.api, "tenant_admin", tenant_id)
    report = {"contract_id": contract_id, "began_at": clock.now().isoformat(), "note": "seat 2 is dead", "numbers": [2]}
    mine = (await admin.post("/v1/faults", report)).json()
    assert mine["state"] == "reported"
    await cluster.looks(3)
    later(hours=6)
    await cluster.node_is_back(node)
    await cluster.looks(7)
    shown = (await admin.get(f"/v1/faults/{mine['fault_id']}")).json()
    assert (shown["state"], shown["cause"], shown["ended_at"] is not None) == ("confirmed", "operator", True)
    assert shown["evidence"]
    credits = [each for each in shown["credits"] if each["numbers"] == [2]]
    assert [(each["days"], len(each["fault_ids"])) for each in credits] == [(1, 2)]
    preview = (await admin.get(f"/v1/contracts/{contract_id}/fault-credits")).json()
    # Three seats, one started day each of 2000.00 / 30, rounded once.
    assert (preview["month"], preview["credit"], preview["repair_hours"]) == ("2026-06", "200.00", "4")
    other = await world.api.client("tenant_admin", await world.api.tenant("other"))
    assert (await other.get(f"/v1/contracts/{contract_id}/fault-credits")).status_code == 404
    bad = await admin.get(f"/v1/contracts/{contract_id}/fault-credits", params={"month": "2026-6"})
    assert (bad.status_code, bad.json()["field"]) == (422, "month")


async def test_a_report_of_what_was_seen_before_is_kept_as_its_evidence(world: World, cluster: Cluster) -> None:
    tenant_id, contract_id, _ = await world.opened()
    await cluster.node_dies((await cluster.place_of(tenant_id)).serving_node)
    await cluster.looks(3)
    [seen] = await cluster.faults()
    admin = Patient(world.api, "tenant_admin", tenant_id)
    report = {"contract_id": contract_id, "began_at": clock.now().isoformat(), "note": "seat 3 is dead", "numbers": [3]}
    mine = await admin.post("/v1/faults", report)
    assert (mine.status_code, mine.json()["fault_id"]) == (201, seen["fault_id"])
    evidence = (await admin.get(f"/v1/faults/{seen['fault_id']}")).json()["evidence"]
    assert [each["note"] for each in evidence if each["source"] != "cluster"] == ["seat 3 is dead"]
    unknown = await admin.post("/v1/faults", report | {"numbers": [4]})
    assert (unknown.status_code, unknown.json()["field"]) == (422, "numbers")
    earlier = report | {"began_at": (clock.now() - timedelta(hours=2)).isoformat()}
    from_earlier = await admin.post("/v1/faults", earlier | {"ended_at": clock.now().isoformat()})
    assert (from_earlier.status_code, from_earlier.json()["code"]) == (409, "fault_known")
    other = await world.api.client("tenant_admin", await world.api.tenant("other"))
    assert (await other.post("/v1/faults", report)).status_code == 404
    assert len(await cluster.faults()) == 1


async def test_the_operator_reclassifies_and_the_cluster_does_not_insist(world: World, cluster: Cluster) -> None:
    tenant_id, contract_id, _ = await world.opened()
    node = (await cluster.place_of(tenant_id)).serving_node
    await cluster.node_dies(node)
    await cluster.looks(3)
    [fault] = await cluster.faults()
    decision = {"cause": "force_majeure", "reason": "the typhoon took the power away"}
    await world.operator.post(f"/v1/faults/{fault['fault_id']}/reclassification", decision)
    later(hours=6)
    await cluster.looks(2)
    await cluster.node_is_back(node)
    await cluster.looks(7)
    [fault] = await cluster.faults()
    assert (fault["cause"], fault["decision_reason"], fault["ended_at"] is not None) == (*decision.values(), True)
    preview = (await world.operator.get(f"/v1/contracts/{contract_id}/fault-credits")).json()
    assert (preview["credits"], preview["credit"]) == ([], "0.00")
    audit = (await world.operator.get("/v1/audit", params={"tenant_id": tenant_id})).json()["items"]
    assert {"fault.observed", "fault.reclassified", "fault.ended"} <= {entry["action"] for entry in audit}


async def test_many_phones_that_vanish_at_once_are_seen_and_a_person_decides(world: World, cluster: Cluster) -> None:
    tenant_id, _, _ = await world.opened(seats=8)
    extensions = [str(seat.extension) for seat in await world.seats(tenant_id)]
    node = (await cluster.place_of(tenant_id)).serving_node
    await cluster.registers(tenant_id, node, extensions)
    await cluster.looks(1)
    await cluster.vanish(tenant_id, extensions[:2])
    later(minutes=2)
    await cluster.looks(1)
    assert await cluster.observations() == [], "two phones are not many"
    await cluster.registers(tenant_id, node, extensions, minutes=2)
    await cluster.looks(1)
    await cluster.vanish(tenant_id, extensions[:6])
    later(minutes=2)
    await cluster.looks(8)
    [fault] = await cluster.faults()
    assert (fault["state"], fault["cause"], fault["numbers"]) == ("reported", None, [1, 2, 3, 4, 5, 6])
    await cluster.registers(tenant_id, node, extensions)
    await cluster.looks(8, every=timedelta(seconds=50))
    [fault] = await cluster.faults()
    assert fault["ended_at"] is not None


async def test_phones_that_say_goodbye_are_no_fault(world: World, cluster: Cluster) -> None:
    tenant_id, _, _ = await world.opened(seats=8)
    extensions = [str(seat.extension) for seat in await world.seats(tenant_id)]
    node = (await cluster.place_of(tenant_id)).serving_node
    await cluster.registers(tenant_id, node, extensions, minutes=60)
    await cluster.looks(1)
    await cluster.vanish(tenant_id)
    await cluster.looks(10)
    assert await cluster.observations() == []


async def test_phones_of_several_tenants_at_one_node_are_the_operators_fault(world: World, cluster: Cluster) -> None:
    await world.change_node("beta", state="joining")
    tenants = [(await world.opened(seats=6, tenant_id=await world.api.tenant(name)))[0] for name in ("one", "two")]
    for tenant_id in tenants:
        extensions = [str(seat.extension) for seat in await world.seats(tenant_id)]
        await cluster.registers(tenant_id, "alpha", extensions, minutes=1)
    await cluster.looks(1, every=timedelta(seconds=30))
    for tenant_id in tenants:
        await cluster.vanish(tenant_id)
    later(minutes=1)
    await cluster.looks(8)
    faults = await cluster.faults()
    assert [(each["state"], each["cause"]) for each in faults] == [("confirmed", "operator")] * 2


async def test_phones_that_a_dead_node_took_with_it_are_its_fault_until_they_are_back(
    world: World, cluster: Cluster
) -> None:
    tenant_id, _, _ = await world.opened(seats=6)
    extensions = [str(seat.extension) for seat in await world.seats(tenant_id)]
    node = (await cluster.place_of(tenant_id)).serving_node
    await cluster.registers(tenant_id, node, extensions, minutes=60)
    await cluster.looks(1)
    await cluster.node_dies(node)
    await cluster.vanish(tenant_id)
    await world.defer("provisioning.evacuate_node", node=node)
    await cluster.looks(7)
    [fault] = await cluster.faults()
    assert (fault["state"], fault["cause"], fault["numbers"]) == ("confirmed", "operator", [1, 2, 3, 4, 5, 6])
    spare = (await cluster.place_of(tenant_id)).serving_node
    await cluster.registers(tenant_id, spare, extensions[:4], minutes=60)
    await cluster.looks(7)
    [fault] = await cluster.faults()
    assert fault["ended_at"] is not None


async def test_a_canary_that_cannot_sign_in_is_a_fault_of_everybody_there(world: World, cluster: Cluster) -> None:
    tenant_id, _, _ = await world.opened()
    node = (await cluster.place_of(tenant_id)).serving_node
    await cluster.looks(3)
    assert set(cluster.canary.tried) == {(node, tenant_id)}
    cluster.canary.refused_at = {node}
    await cluster.looks(1)
    cluster.canary.refused_at = set()
    await cluster.looks(3)
    assert (await cluster.observations(), await cluster.faults()) == ([], []), "one blink is no fault"
    cluster.canary.refused_at = {node}
    began_at = clock.now()
    await cluster.looks(4)
    [fault] = await cluster.faults()
    assert fault["cause"] == "operator"
    assert timedelta(0) < moment(fault["began_at"]) - began_at < 2 * MINUTE
    cluster.canary.refused_at = set()
    await cluster.looks(8)
    [fault] = await cluster.faults()
    assert fault["ended_at"] is not None


async def test_a_canary_that_signs_in_and_cannot_call_is_a_fault_that_says_so(world: World, cluster: Cluster) -> None:
    tenant_id, _, _ = await world.opened()
    node = (await cluster.place_of(tenant_id)).serving_node
    cluster.canary.calls_refused_at = {node}
    await cluster.looks(1)
    began_at = clock.now()
    await cluster.looks(3)
    [fault] = await cluster.faults(tenant_id=tenant_id)
    assert (began_at - MINUTE < moment(fault["began_at"]) <= began_at, fault["cause"]) == (True, "operator")
    shown = (await world.operator.get(f"/v1/faults/{fault['fault_id']}")).json()
    assert [each["note"] for each in shown["evidence"]] == [
        f"The system itself cannot call at {node} as a phone would: the call was refused (503)."
    ]


async def test_a_canary_that_breaks_keeps_nothing_else_from_being_seen(world: World, cluster: Cluster) -> None:
    async def broken(node: Node, subject: Subject) -> Tried:
        raise RuntimeError(f"{node.name} {subject.tenant_id}")

    tenant_id, _, _ = await world.opened()
    home = (await cluster.place_of(tenant_id)).serving_node
    await cluster.node_dies(home)
    second, _, _ = await world.opened(tenant_id=await world.api.tenant("second"))
    async with world.api.database.transaction(Scope.platform()) as session:
        await placements.move(session, second, "beta" if home == "alpha" else "alpha", reason="test")
    for _ in range(4):
        later(minutes=1)
        await observing.look(cluster.runtime, probe=broken)
    assert [each["tenant_id"] for each in await cluster.faults()] == [tenant_id]


async def test_where_one_tenant_of_many_cannot_sign_in_the_others_have_no_fault(world: World, cluster: Cluster) -> None:
    await world.change_node("beta", state="joining")
    names = ("one", "two", "three", "four")
    tenants = [(await world.opened(seats=1, tenant_id=await world.api.tenant(name)))[0] for name in names]
    cluster.canary.refused_for = {tenants[2]}
    await cluster.looks(10)
    assert [each["tenant_id"] for each in await cluster.faults()] == [tenants[2]]


async def test_gateways_that_are_all_down_are_a_fault_and_one_that_is_up_is_none(
    world: World, cluster: Cluster
) -> None:
    tenant_id, _, _ = await world.opened()
    node = (await cluster.place_of(tenant_id)).serving_node
    first, second, local = [await cluster.gateway(*each) for each in (("one",), ("two",), ("local", "+8610"))]
    await cluster.gateway_is(node, first, up=False)
    await cluster.gateway_is(node, second, up=True)
    await cluster.gateway_is(node, local, up=False)
    await cluster.looks(5)
    assert await cluster.observations() == []
    await cluster.gateway_is(node, local, up=True)
    await cluster.gateway_is(node, second, up=False)
    down_at = clock.now()
    await cluster.looks(4)
    [fault] = await cluster.faults()
    assert (fault["cause"], abs(moment(fault["began_at"]) - down_at) < MINUTE) == ("operator", True)
    await cluster.gateway_is(node, first, up=True)
    await cluster.looks(8)
    [fault] = await cluster.faults()
    assert fault["ended_at"] is not None
    assert await cluster.observations() == [("gateways_down", "ended")]


async def test_planned_maintenance_is_no_fault_and_what_outlasts_it_begins_at_its_end(
    world: World, cluster: Cluster
) -> None:
    tenant_id, _, _ = await world.opened()
    begins, ends = "2026-06-14T02:00:00+08:00", "2026-06-14T04:00:00+08:00"
    made = await world.operator.post("/v1/maintenance-windows", {"begins_at": begins, "ends_at": ends, "note": "power"})
    assert made.status_code == 201
    travel(TODAY + timedelta(days=6), hour=2)
    later(minutes=10)
    node = (await cluster.place_of(tenant_id)).serving_node
    await cluster.node_dies(node)
    await cluster.looks(60)
    assert (await cluster.observations(), await cluster.faults()) == ([], [])
    await cluster.looks(60)
    [fault] = await cluster.faults()
    assert moment(fault["began_at"]) == moment(ends)


async def test_a_node_that_is_drained_by_hand_with_nowhere_to_go_is_a_fault(world: World, cluster: Cluster) -> None:
    tenant_id, _, _ = await world.opened()
    home = (await cluster.place_of(tenant_id)).serving_node
    await world.change_node("beta" if home == "alpha" else "alpha", state="joining")
    await world.operator.post(f"/v1/nodes/{home}/drain")
    await world.work()
    await cluster.looks(3)
    assert await cluster.faults() == [], "it still takes calls while its tenants should move"
    await cluster.drain_is(home, "waiting", state="draining")
    await cluster.looks(3)
    [fault] = await cluster.faults()
    assert fault["cause"] == "operator"
    await cluster.drain_is(home, "cancelled", state="active")
    await cluster.looks(7)
    [fault] = await cluster.faults()
    assert fault["ended_at"] is not None


async def test_a_suspended_tenant_has_no_fault(world: World, cluster: Cluster) -> None:
    tenant_id, _, _ = await world.opened()
    node = (await cluster.place_of(tenant_id)).serving_node
    await world.operator.post(f"/v1/tenants/{tenant_id}/suspension", {"note": "a test"})
    await cluster.node_dies(node)
    await cluster.looks(5)
    assert await cluster.observations() == []


async def test_a_storm_of_looks_and_of_two_lookers_leaves_one_fault(world: World, cluster: Cluster) -> None:
    tenant_id, contract_id, _ = await world.opened()
    second = await world.contract(tenant_id, opens_on=TODAY)
    await world.placed(tenant_id, second, quantity=2, effective_on=TODAY)
    await world.pay(tenant_id)
    await world.work()
    await cluster.node_dies((await cluster.place_of(tenant_id)).serving_node)
    for _ in range(40):
        later(seconds=5)
        await observing.look(cluster.runtime, probe=cluster.canary)
    faults = await cluster.faults()
    assert sorted(each["contract_id"] for each in faults) == sorted([contract_id, second])
    shown = (await world.operator.get(f"/v1/faults/{faults[0]['fault_id']}")).json()
    assert len(shown["evidence"]) == 1
