"""Where tenants live and what room the nodes have, as operators see it."""

from __future__ import annotations

from tests.provisioning.world import World


async def test_operators_see_where_a_tenant_lives_and_what_room_is_left(world: World) -> None:
    tenant_id, _, _ = await world.opened(seats=3)
    placed = (await world.operator.get("/v1/placements", params={"tenant_id": tenant_id})).json()["items"]
    assert [(each["tenant_id"], each["serving_node"]) for each in placed] == [(tenant_id, placed[0]["home_node"])]
    rooms = {room["name"]: room for room in (await world.operator.get("/v1/node-rooms")).json()["items"]}
    home, spare = rooms[placed[0]["home_node"]], rooms[placed[0]["spare_node"]]
    assert (home["home_seats"], home["free_seats"], home["reserve_seats"], home["tenants_served"]) == (3, 997, 0, 1)
    assert (spare["home_seats"], spare["free_seats"], spare["reserve_seats"]) == (0, 1000, 3)
    assert spare["tenants_served"] == 0
    await world.change_node(spare["name"], capacity_seats=2)
    crowded = {room["name"]: room for room in (await world.operator.get("/v1/node-rooms")).json()["items"]}
    assert crowded[spare["name"]]["shortfall_seats"] == 1
    elsewhere = await world.operator.get("/v1/placements", params={"node": spare["name"]})
    assert elsewhere.json()["items"] == []


async def test_a_phone_is_told_of_the_edge_before_the_nodes_and_of_tls_where_it_is_spoken(world: World) -> None:
    tenant_id, _, seat_ids = await world.opened(seats=1)
    await world.operator.post("/v1/sip-edges", {"name": "east", "host": "sip.example.net", "sip_tls_port": 5061})
    await world.change_node("alpha", sip_tls_port=5071)
    viewer = await world.api.client("tenant_viewer", tenant_id)
    servers = (await viewer.get(f"/v1/seats/{seat_ids[0]}")).json()["sip"]["servers"]
    assert [server["transport"] for server in servers] == ["udp"] * 3 + ["tcp"] * 3 + ["tls"] * 2
    assert (servers[0]["role"], servers[0]["host"], servers[0]["port"]) == ("edge", "sip.example.net", 5060)
    assert [server["port"] for server in servers[-2:]] == [5061, 5071]
