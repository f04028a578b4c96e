"""WireGuard accounts: who is let in, with which key, at which address; and what is refused."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from ipaddress import IPv4Address, IPv4Network

import pytest

from infra.kit import clock
from infra.kit.database import Scope
from infra.kit.jobs import Runtime
from provisioning import order_progress
from provisioning.rules import tunnel_keys
from provisioning.seats import get_seat
from provisioning.tunnels import gateways, handing, pools
from provisioning.tunnels.models import TunnelGateway
from switch import accounts as sip_accounts
from tenancy import tenants
from tests.provisioning.tunnel_world import GatewayHost, hand_out, key_of, make_gateway
from tests.provisioning.world import TODAY, World, travel


@pytest.fixture
async def gateway(world: World) -> GatewayHost:
    """The installation's VPN gateway."""
    return await make_gateway(world)


async def _suspend(world: World, tenant_id: str) -> None:
    async with world.api.database.transaction(Scope.platform()) as session:
        await tenants.suspend(session, tenant_id, reason="payment_overdue")


async def test_a_seat_that_was_handed_out_is_let_in_at_its_own_address(world: World, gateway: GatewayHost) -> None:
    tenant_id, _, seat_ids = await world.opened(2)
    assert await gateway.peers() == {}, "nobody has a key yet"
    first, second = [await hand_out(world, tenant_id, seat_id) for seat_id in seat_ids]
    assert first.address != second.address
    assert await gateway.peers() == {
        await key_of(world, seat_ids[0]): first.address,
        await key_of(world, seat_ids[1]): second.address,
    }
    assert f"PublicKey = {gateway.public_key}" in first.configuration
    assert "Endpoint = vpn.example.com:51820" in first.configuration
    private = first.configuration.splitlines()[1].removeprefix("PrivateKey = ")
    assert tunnel_keys.public_of(private) == await key_of(world, seat_ids[0])
    assert private not in repr(first)


async def test_the_private_key_is_nowhere_in_the_database(world: World, gateway: GatewayHost) -> None:
    tenant_id, _, seat_ids = await world.opened(1)
    setup = await hand_out(world, tenant_id, seat_ids[0])
    private = setup.configuration.splitlines()[1].removeprefix("PrivateKey = ")
    async with world.api.database.engine.connect() as connection:
        tables = (
            await connection.exec_driver_sql("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        ).scalars()
        for table in tables.all():
            found = await connection.exec_driver_sql(
                f'SELECT count(*) FROM "{table}" AS t WHERE t::text LIKE %(key)s',  # noqa: S608 - a table of ours
                {"key": f"%{private}%"},
            )
            assert found.scalar() == 0, table


async def test_new_keys_end_the_old_ones(world: World, gateway: GatewayHost) -> None:
    tenant_id, _, seat_ids = await world.opened(1)
    first = await hand_out(world, tenant_id, seat_ids[0])
    old = await key_of(world, seat_ids[0])
    second = await hand_out(world, tenant_id, seat_ids[0])
    assert second.address == first.address
    assert list(await gateway.peers()) == [await key_of(world, seat_ids[0])] != [old]


async def test_a_tenant_may_bring_its_own_key(world: World, gateway: GatewayHost) -> None:
    tenant_id, _, seat_ids = await world.opened(1)
    admin = await world.api.client("tenant_admin", tenant_id)
    own = tunnel_keys.new_pair()
    answer = await admin.post(f"/v1/seats/{seat_ids[0]}/tunnel/key", {"public_key": own.public})
    assert (answer.status_code, answer.json()["key_origin"], answer.json()["public_key"]) == (
        200,
        "supplied",
        own.public,
    )
    assert list(await gateway.peers()) == [own.public]
    async with world.api.database.transaction(Scope.platform()) as session:
        seat = await get_seat(session, seat_ids[0], tenant_id)
        assert await handing.has_own_key(session, seat)
        setup = await handing.without_key(session, seat)
        assert setup is not None
        assert "PrivateKey = (the one whose public key you supplied)" in setup.configuration
    assert list(await gateway.peers()) == [own.public]
    assert (await admin.get(f"/v1/seats/{seat_ids[0]}/tunnel")).json()["is_open"] is True


async def test_with_a_reissued_account_the_key_that_was_made_for_it_ends(world: World, gateway: GatewayHost) -> None:
    tenant_id, _, seat_ids = await world.opened(2)
    admin = await world.api.client("tenant_admin", tenant_id)
    await hand_out(world, tenant_id, seat_ids[0])
    own = tunnel_keys.new_pair().public
    await admin.post(f"/v1/seats/{seat_ids[1]}/tunnel/key", {"public_key": own})
    for seat_id in seat_ids:
        assert (await admin.post(f"/v1/seats/{seat_id}/credentials")).status_code == 200
    assert list(await gateway.peers()) == [own]  # its private half never was in our hands
    asked = await admin.post(f"/v1/seats/{seat_ids[1]}/credentials", {"including_tunnel": True})
    assert asked.status_code == 200
    assert await gateway.peers() == {}
    shown = (await admin.get(f"/v1/seats/{seat_ids[1]}/tunnel")).json()
    assert (shown["public_key"], shown["key_origin"], shown["is_open"]) == (None, None, False)
    again = await admin.post(f"/v1/seats/{seat_ids[1]}/tunnel/key", {"public_key": own})
    assert (again.status_code, again.json()["code"]) == (409, "tunnel_key_used_before")


async def test_a_key_is_revoked_whoever_made_it_and_the_account_stays(world: World, gateway: GatewayHost) -> None:
    tenant_id, _, seat_ids = await world.opened(1)
    admin = await world.api.client("tenant_admin", tenant_id)
    path = f"/v1/seats/{seat_ids[0]}/tunnel"
    await admin.post(f"{path}/key", {"public_key": tunnel_keys.new_pair().public})
    before = (await world.accounts(tenant_id))["1001"].a1_hash
    for _ in range(2):
        revoked = await admin.post(f"{path}/revocation")
        assert (revoked.status_code, revoked.json()["public_key"], revoked.json()["is_open"]) == (200, None, False)
    assert await gateway.peers() == {}
    assert (await world.accounts(tenant_id))["1001"].a1_hash == before
    viewer = await world.api.client("tenant_viewer", tenant_id)
    assert (await viewer.post(f"{path}/revocation")).status_code == 403
    await hand_out(world, tenant_id, seat_ids[0])
    assert list(await gateway.peers()) == [await key_of(world, seat_ids[0])]


async def test_behind_a_revoked_gateway_no_tunnel_is_shown_open(world: World, gateway: GatewayHost) -> None:
    tenant_id, _, seat_ids = await world.opened(1)
    viewer = await world.api.client("tenant_viewer", tenant_id)
    await hand_out(world, tenant_id, seat_ids[0])
    assert (await viewer.get(f"/v1/seats/{seat_ids[0]}/tunnel")).json()["is_open"] is True
    await world.operator.post(f"/v1/tunnel-gateways/{gateway.tunnel_gateway_id}/revocation")
    assert (await viewer.get(f"/v1/seats/{seat_ids[0]}/tunnel")).json()["is_open"] is False


async def test_a_public_key_used_twice_is_refused(world: World, gateway: GatewayHost) -> None:
    tenant_id, _, seat_ids = await world.opened(2)
    other_id, _, other_seats = await world.opened(1)
    admin = await world.api.client("tenant_admin", tenant_id)
    key = tunnel_keys.new_pair().public
    assert (await admin.post(f"/v1/seats/{seat_ids[0]}/tunnel/key", {"public_key": key})).is_success
    other = await world.api.client("tenant_admin", other_id)
    for caller, seat_id in ((admin, seat_ids[0]), (admin, seat_ids[1]), (other, other_seats[0])):
        again = await caller.post(f"/v1/seats/{seat_id}/tunnel/key", {"public_key": key})
        assert (again.status_code, again.json()["code"], again.json()["field"]) == (
            409,
            "tunnel_key_used_before",
            "public_key",
        )
    replacement = await admin.post(f"/v1/seats/{seat_ids[0]}/tunnel/key", {"public_key": tunnel_keys.new_pair().public})
    assert replacement.is_success
    after = await admin.post(f"/v1/seats/{seat_ids[1]}/tunnel/key", {"public_key": key})
    assert after.json()["code"] == "tunnel_key_used_before", "also when nobody uses it any more"
    assert await key_of(world, seat_ids[1]) is None


async def test_a_key_that_is_none_and_a_seat_that_is_not_open_are_refused(world: World, gateway: GatewayHost) -> None:
    tenant_id, contract_id, seat_ids = await world.opened(1)
    bad = await world.operator.post(f"/v1/seats/{seat_ids[0]}/tunnel/key", {"public_key": "AAAA"})
    assert (bad.status_code, bad.json()["code"], bad.json()["field"]) == (422, "tunnel_key_refused", "public_key")
    order = await world.placed(tenant_id, contract_id, quantity=1, effective_on="2026-06-20")
    key = {"public_key": tunnel_keys.new_pair().public}
    early = await world.operator.post(f"/v1/seats/{order['seat_ids'][0]}/tunnel/key", key)
    assert (early.status_code, early.json()["code"]) == (409, "tunnel_seat_not_open")
    assert (await world.operator.post(f"/v1/seats/{seat_ids[0]}/tunnel/key", key)).is_success, "nothing was half done"


async def test_suspending_a_tenant_closes_its_tunnels_with_the_same_commit(world: World, gateway: GatewayHost) -> None:
    tenant_id, _, seat_ids = await world.opened(2)
    other_id, _, other_seats = await world.opened(1)
    for owner, seat_id in ((tenant_id, seat_ids[0]), (tenant_id, seat_ids[1]), (other_id, other_seats[0])):
        await hand_out(world, owner, seat_id)
    assert len(await gateway.peers()) == 3
    await _suspend(world, tenant_id)
    assert list(await gateway.peers()) == [await key_of(world, other_seats[0])]
    assert (await world.operator.get(f"/v1/seats/{seat_ids[0]}/tunnel")).json()["is_open"] is False
    async with world.api.database.transaction(Scope.platform()) as session:
        await tenants.restore(session, tenant_id)
    assert len(await gateway.peers()) == 3, "with the same keys as before"


async def test_a_seat_whose_account_is_closed_has_no_tunnel(world: World, gateway: GatewayHost) -> None:
    tenant_id, _, seat_ids = await world.opened(2)
    for seat_id in seat_ids:
        await hand_out(world, tenant_id, seat_id)
    async with world.api.database.transaction(Scope.platform()) as session:
        await sip_accounts.set_open(session, tenant_id, seat_ids[:1], False)
    assert list(await gateway.peers()) == [await key_of(world, seat_ids[1])]


async def test_a_waiting_gateway_hears_of_a_suspension_while_it_waits(world: World, gateway: GatewayHost) -> None:
    tenant_id, _, seat_ids = await world.opened(1)
    await hand_out(world, tenant_id, seat_ids[0])
    state = (await gateway.asks()).json()["state"]
    waiting = asyncio.create_task(gateway.asks(state=state, wait_seconds=10.0))
    await _suspend(world, tenant_id)
    async with asyncio.timeout(5):
        news = (await waiting).json()
    assert (news["changed"], news["peers"]) == (True, [])
    unchanged = (await gateway.asks(state=news["state"])).json()
    assert (unchanged["changed"], unchanged["state"]) == (False, news["state"])
    shown = (await world.operator.get("/v1/tunnel-gateways")).json()["items"][0]
    assert shown["applied_state"] == news["state"]
    assert shown["last_seen_at"] is not None


async def test_a_closed_seats_address_and_key_end_with_it(world: World, gateway: GatewayHost) -> None:
    tenant_id, _, seat_ids = await world.opened(1, ends_on=TODAY)
    await hand_out(world, tenant_id, seat_ids[0])
    travel(TODAY + timedelta(days=1))
    await order_progress.advance_all(Runtime(world.api.database, world.api.settings))
    assert await gateway.peers() == {}
    operator = await world.api.client("platform_operator")
    shown = (await operator.get(f"/v1/seats/{seat_ids[0]}/tunnel")).json()
    assert (shown["address"], shown["public_key"], shown["is_open"]) == (None, None, False)


async def test_more_seats_than_addresses_are_refused_and_nothing_is_half_done(world: World) -> None:
    await world.change_node("alpha", capacity_seats=10_000)
    tenant_id = await world.api.tenant("crowded")
    contract_id = await world.contract(tenant_id)
    added = await world.operator.post("/v1/tunnel-networks", {"tenant_id": tenant_id, "network": "10.64.8.0/24"})
    assert (added.status_code, added.json()["addresses"]) == (201, 254)
    first = await world.placed(tenant_id, contract_id, quantity=254, effective_on=TODAY)
    refused = await world.order(tenant_id, contract_id, quantity=1, effective_on=TODAY)
    assert (refused.status_code, refused.json()["code"], refused.json()["field"]) == (
        409,
        "tunnel_addresses_exhausted",
        "quantity",
    )
    assert len(await world.seats(tenant_id)) == 254
    assert (await world.order_row(first["order_id"])).quantity == 254
    more = await world.operator.post("/v1/tunnel-networks", {"tenant_id": tenant_id, "network": "10.64.9.0/24"})
    assert more.status_code == 201
    await world.placed(tenant_id, contract_id, quantity=1, effective_on=TODAY)


async def test_a_network_of_another_tenant_is_refused(world: World) -> None:
    ours, theirs = await world.api.tenant("ours"), await world.api.tenant("theirs")
    assert (await world.operator.post("/v1/tunnel-networks", {"tenant_id": ours, "network": "10.65.1.0/24"})).is_success
    taken = await world.operator.post("/v1/tunnel-networks", {"tenant_id": theirs, "network": "10.65.0.0/22"})
    assert (taken.status_code, taken.json()["code"], taken.json()["field"]) == (409, "tunnel_network_taken", "network")
    async with world.api.database.transaction(Scope.platform()) as session:
        assert await pools.networks_of(session, theirs) == []
    clear = await world.operator.post("/v1/tunnel-networks", {"tenant_id": theirs, "network": "10.65.0.0/24"})
    assert clear.status_code == 201, "the refused one has claimed nothing"
    outside = await world.operator.post("/v1/tunnel-networks", {"tenant_id": ours, "network": "192.168.1.0/24"})
    assert (outside.status_code, outside.json()["code"]) == (422, "tunnel_network_refused")


async def test_two_tenants_have_networks_of_their_own(world: World, gateway: GatewayHost) -> None:
    addresses: list[IPv4Address] = []
    networks: list[IPv4Network] = []
    for _ in range(2):
        tenant_id, _, seat_ids = await world.opened(1)
        addresses.append(IPv4Address((await hand_out(world, tenant_id, seat_ids[0])).address))
        admin = await world.api.client("tenant_admin", tenant_id)
        shown = (await admin.get("/v1/tunnel-networks")).json()["items"]
        assert len(shown) == 1
        networks.append(IPv4Network(shown[0]["network"]))
    assert not networks[0].overlaps(networks[1])
    assert all(address in network for address, network in zip(addresses, networks, strict=True))


async def test_without_a_gateway_there_is_nothing_to_hand_out(world: World) -> None:
    tenant_id, _, seat_ids = await world.opened(1)
    async with world.api.database.transaction(Scope.platform()) as session:
        assert await handing.make_keys(session, await get_seat(session, seat_ids[0], tenant_id)) is None
    assert await key_of(world, seat_ids[0]) is None


async def test_a_wrong_stolen_or_revoked_credential_is_refused(world: World, gateway: GatewayHost) -> None:
    tenant_id, _, seat_ids = await world.opened(1)
    await hand_out(world, tenant_id, seat_ids[0])
    stolen = GatewayHost(world.api, gateway.tunnel_gateway_id, gateway.name, gateway.secret, "instance-of-the-thief")
    unknown = GatewayHost(world.api, "", "vpn-9", gateway.secret)
    guessed = GatewayHost(world.api, "", gateway.name, "sgw_guess", gateway.instance)
    for host, code in (
        (stolen, "tunnel_gateway_instance_refused"),
        (unknown, "tunnel_gateway_not_signed_in"),
        (guessed, "tunnel_gateway_not_signed_in"),
    ):
        for answer in (await host.asks(), await host.reports()):
            assert (answer.status_code, answer.json()["code"]) == (401, code)
            assert "peers" not in answer.json()
    async with world.api.database.transaction(Scope.platform()) as session:
        row = await session.get(TunnelGateway, gateway.tunnel_gateway_id)
        assert row is not None
        assert row.public_key == gateway.public_key, "the thief's key was not taken over"
    revoked = await world.operator.post(f"/v1/tunnel-gateways/{gateway.tunnel_gateway_id}/revocation")
    assert revoked.json()["revoked_at"] is not None
    assert (await gateway.asks()).status_code == 401
    assert (await gateway.reports()).status_code == 401
    nobody = await world.api.http.post("/gateway/peers", json={"instance": "x" * 20, "public_key": gateway.public_key})
    assert (nobody.status_code, nobody.json()["code"]) == (401, "tunnel_gateway_not_signed_in")


async def test_a_revocation_ends_a_wait(world: World, gateway: GatewayHost) -> None:
    state = (await gateway.asks()).json()["state"]
    waiting = asyncio.create_task(gateway.asks(state=state, wait_seconds=10.0))
    await world.operator.post(f"/v1/tunnel-gateways/{gateway.tunnel_gateway_id}/revocation")
    async with asyncio.timeout(5):
        assert (await waiting).status_code == 401


async def test_a_new_credential_is_for_a_new_host(world: World, gateway: GatewayHost) -> None:
    renewed = await world.operator.post(f"/v1/tunnel-gateways/{gateway.tunnel_gateway_id}/credential")
    assert renewed.headers["cache-control"] == "no-store"
    assert (await gateway.asks()).status_code == 401
    rebuilt = GatewayHost(
        world.api, gateway.tunnel_gateway_id, gateway.name, renewed.json()["secret"], "instance-of-the-new-host"
    )
    assert (await rebuilt.asks()).status_code == 200


async def test_what_a_gateway_is_called_and_where_it_is_are_checked(world: World, gateway: GatewayHost) -> None:
    for body, field in (
        ({"name": "Vpn 1", "endpoint_host": "vpn.example.com"}, "name"),
        ({"name": "vpn-2", "endpoint_host": "vpn example"}, "endpoint_host"),
        ({"name": "vpn-2", "endpoint_host": "vpn:51820"}, "endpoint_host"),
        ({"name": "vpn-2", "endpoint_host": "fe80::1%eth0"}, "endpoint_host"),
        ({"name": "vpn-2", "endpoint_host": "vpn.example.com", "endpoint_port": 0}, "endpoint_port"),
        ({"name": gateway.name, "endpoint_host": "vpn.example.com"}, "name"),
    ):
        answer = await world.operator.post("/v1/tunnel-gateways", body)
        assert (answer.is_success, answer.json().get("field")) == (False, field)
    admin = await world.api.client("tenant_admin", await world.api.tenant("curious"))
    assert (await admin.get("/v1/tunnel-gateways")).status_code == 403


async def test_a_gateway_that_falls_silent_is_an_alarm(world: World, gateway: GatewayHost) -> None:
    await world.operator.post("/v1/tunnel-gateways", {"name": "vpn-never", "endpoint_host": "2001:db8::9"})
    async with world.api.database.transaction(Scope.platform()) as session:
        assert await gateways.find_silent(session) == []
    clock.travel_to(clock.now() + timedelta(minutes=2))
    async with world.api.database.transaction(Scope.platform()) as session:
        assert [each.name for each in await gateways.find_silent(session)] == [gateway.name]
    await world.defer("provisioning.watch_tunnel_gateways")
    await world.operator.post(f"/v1/tunnel-gateways/{gateway.tunnel_gateway_id}/revocation")
    async with world.api.database.transaction(Scope.platform()) as session:
        assert await gateways.find_silent(session) == []


async def test_a_gateway_learns_the_edge(world: World, gateway: GatewayHost) -> None:
    before = (await gateway.asks()).json()
    assert {each["host"] for each in before["edge"]} == {"127.0.0.1"}
    await world.change_node("beta", sip_host="192.0.2.77", sip_port=5070)
    after = (await gateway.asks(state=before["state"])).json()
    assert after["changed"] is True
    added = next(each for each in after["edge"] if each["host"] == "192.0.2.77")
    assert added["udp_ports"] == [5070]
