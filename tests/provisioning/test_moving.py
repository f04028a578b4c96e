"""A tenant gets another home because a person says so."""

from __future__ import annotations

from tests.provisioning.world import World


async def _placement(world: World, tenant_id: str) -> dict[str, str]:
    found = await world.operator.get("/v1/placements", params={"tenant_id": tenant_id})
    return found.json()["items"][0]


async def test_a_tenant_moves_to_the_home_that_it_is_given_with_the_reason_in_its_trail(world: World) -> None:
    tenant_id, _, _ = await world.opened(seats=3)
    before = await _placement(world, tenant_id)
    await world.node("third")
    order = {"home_node": "third", "reason": "the node is crowded in the mornings"}
    moved = await world.operator.post(f"/v1/tenants/{tenant_id}/move", order)
    assert moved.status_code == 200, moved.text
    after = await _placement(world, tenant_id)
    assert after == moved.json()
    assert (after["home_node"], after["serving_node"]) == ("third", "third")
    assert after["spare_node"] == before["spare_node"], "it still has room"
    trail = (await world.operator.get("/v1/audit", params={"tenant_id": tenant_id})).json()["items"]
    assert any(order["reason"] in str(each["facts"]) for each in trail)
    rooms = {room["name"]: room for room in (await world.operator.get("/v1/node-rooms")).json()["items"]}
    assert (rooms["third"]["home_seats"], rooms[before["home_node"]]["home_seats"]) == (3, 0)


async def test_to_its_spare_the_tenant_moves_too_and_gets_another_spare(world: World) -> None:
    tenant_id, _, _ = await world.opened(seats=1)
    before = await _placement(world, tenant_id)
    order = {"home_node": before["spare_node"], "reason": "wanted"}
    after = (await world.operator.post(f"/v1/tenants/{tenant_id}/move", order)).json()
    assert (after["home_node"], after["spare_node"]) == (before["spare_node"], before["home_node"])


async def test_nobody_moves_to_a_node_that_is_full_or_out_of_service_or_without_a_reason(world: World) -> None:
    tenant_id, _, _ = await world.opened(seats=3)
    before = await _placement(world, tenant_id)
    await world.node("small", capacity=2)
    await world.node("away", state="draining")
    for node, reason, code, field in (
        ("small", "why not", "node_takes_nobody", "home_node"),
        ("away", "why not", "node_takes_nobody", "home_node"),
        ("nowhere", "why not", "node_not_found", "name"),
        (before["spare_node"], " ", "invalid_input", "reason"),
    ):
        answer = await world.operator.post(f"/v1/tenants/{tenant_id}/move", {"home_node": node, "reason": reason})
        assert (answer.json()["code"], answer.json()["field"]) == (code, field), answer.text
    assert await _placement(world, tenant_id) == before
    stranger = await world.api.client("tenant_admin", tenant_id)
    order = {"home_node": before["spare_node"], "reason": "because"}
    assert (await stranger.post(f"/v1/tenants/{tenant_id}/move", order)).status_code == 403
