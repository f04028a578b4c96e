"""Seats as their tenant sees them: found, named, handed out (C20)."""

from __future__ import annotations

from datetime import date

from infra.kit.database import Scope
from switch import placements
from switch.sip.digest import a1_hash
from tenancy import tenants
from tests.provisioning.world import TODAY, World


async def test_seats_are_listed_by_tenant_contract_and_state(world: World) -> None:
    tenant_id, contract_id, _ = await world.opened(seats=2)
    await world.placed(tenant_id, contract_id, item="circuit", quantity=1, effective_on=date(2026, 6, 20))
    other, _, _ = await world.opened(seats=1)
    viewer = await world.api.client("tenant_viewer", tenant_id)

    async def count(**params: str) -> int:
        return len((await viewer.get("/v1/seats", params=params)).json()["items"])

    assert await count() == 3
    assert await count(state="open") == 2
    assert await count(item="circuit") == 1
    assert await count(contract_id=contract_id) == 3
    assert (await viewer.get("/v1/seats", params={"tenant_id": other})).status_code == 404
    assert (await viewer.get("/v1/seats", params={"state": "lost"})).status_code == 400
    everybody = (await world.operator.get("/v1/seats", params={"state": "open"})).json()["items"]
    assert len(everybody) == 3


async def test_a_seat_tells_where_its_phone_registers(world: World) -> None:
    tenant_id, _, seat_ids = await world.opened()
    viewer = await world.api.client("tenant_viewer", tenant_id)
    seat = (await viewer.get(f"/v1/seats/{seat_ids[0]}")).json()
    async with world.api.database.transaction(Scope.platform()) as session:
        domain = (await tenants.get(session, tenant_id)).sip_domain
        placement = await placements.get(session, tenant_id)
        await placements.move(session, tenant_id, str(placement.spare_node), reason="node_lost")
    assert (seat["state"], seat["extension"], seat["sip"]["username"], seat["sip"]["domain"]) == (
        "open", "1001", "1001", domain,
    )  # fmt: skip
    places = [(server["role"], server["transport"]) for server in seat["sip"]["servers"]]
    assert places == [("serving", "udp"), ("spare", "udp"), ("serving", "tcp"), ("spare", "tcp")]
    moved = (await viewer.get(f"/v1/seats/{seat_ids[0]}")).json()
    assert [server["role"] for server in moved["sip"]["servers"]] == ["serving", "home"] * 2
    assert moved["sip"]["servers"][0]["port"] == seat["sip"]["servers"][1]["port"]
    assert seat["sip"]["servers"][0]["transport"] == "udp"


async def test_a_reissued_password_is_shown_once_and_the_old_one_ends(world: World) -> None:
    tenant_id, _, seat_ids = await world.opened()
    admin = await world.api.client("tenant_admin", tenant_id)
    first = await admin.post(f"/v1/seats/{seat_ids[0]}/credentials")
    second = await admin.post(f"/v1/seats/{seat_ids[0]}/credentials")
    assert (first.status_code, first.headers["cache-control"]) == (200, "no-store")
    shown = second.json()
    assert shown["password"] != first.json()["password"]
    kept = (await world.accounts(tenant_id))["1001"].a1_hash
    assert kept == a1_hash("1001", shown["domain"], shown["password"])
    assert shown["registration_seconds"] > 0
    assert "403" in shown["after_restoration"]["zh"]
    assert "register by hand" in shown["after_restoration"]["en"]
    assert "password" not in (await admin.get(f"/v1/seats/{seat_ids[0]}")).text
    audit = (await world.operator.get("/v1/audit", params={"tenant_id": tenant_id})).text
    assert "sip_account.reissued" in audit
    assert shown["password"] not in audit


async def test_only_an_open_seat_of_ones_own_is_handed_out(world: World) -> None:
    tenant_id, contract_id, _ = await world.opened()
    other, _, foreign = await world.opened(seats=1)
    admin = await world.api.client("tenant_admin", tenant_id)
    viewer = await world.api.client("tenant_viewer", other)
    assert (await admin.post(f"/v1/seats/{foreign[0]}/credentials")).status_code == 404
    assert (await admin.post(f"/v1/seats/{foreign[0]}/name", {"name": "x"})).status_code == 404
    assert (await admin.get(f"/v1/seats/{foreign[0]}")).status_code == 404
    assert (await viewer.post(f"/v1/seats/{foreign[0]}/credentials")).status_code == 403
    circuits = await world.placed(tenant_id, contract_id, item="circuit", quantity=1, effective_on=TODAY)
    refused = await admin.post(f"/v1/seats/{circuits['seat_ids'][0]}/credentials")
    assert (refused.status_code, refused.json()["code"]) == (409, "seat_not_open")
    unpaid_tenant = await world.api.tenant("unpaid")
    unpaid = await world.placed(unpaid_tenant, await world.contract(unpaid_tenant), quantity=1, effective_on=TODAY)
    early = await world.operator.post(f"/v1/seats/{unpaid['seat_ids'][0]}/credentials")
    assert (early.status_code, early.json()["code"]) == (409, "seat_not_open")


async def test_a_seat_is_named_and_unnamed(world: World) -> None:
    tenant_id, _, seat_ids = await world.opened(seats=1)
    admin = await world.api.client("tenant_admin", tenant_id)
    named = await admin.post(f"/v1/seats/{seat_ids[0]}/name", {"name": " 王芳 "})
    assert (named.status_code, named.json()["name"]) == (200, "王芳")
    assert (await admin.post(f"/v1/seats/{seat_ids[0]}/name", {"name": None})).json()["name"] is None
    for bad in (" ", "x" * 101):
        answer = await admin.post(f"/v1/seats/{seat_ids[0]}/name", {"name": bad})
        assert (answer.status_code, answer.json()["field"]) == (422, "name")
