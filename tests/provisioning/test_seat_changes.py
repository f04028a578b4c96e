"""Seats in groups, with people, suspended and resumed by their tenant (C20, rule 7)."""

from __future__ import annotations

from datetime import date

from sqlalchemy import select

from infra.kit.database import Scope
from infra.kit.models import AuditEntry
from switch.admission import Attempt, Reason, Refused, SeatView, Standing, TenantView, admit
from switch.sip.digest import a1_hash
from tests.jobs import JobCount, job_counts
from tests.provisioning.tunnel_world import make_gateway
from tests.provisioning.world import TODAY, World, travel


async def actions(world: World, tenant_id: str, seat_id: str) -> list[AuditEntry]:
    async with world.api.database.transaction(Scope.platform()) as session:
        query = select(AuditEntry).where(AuditEntry.tenant_id == tenant_id, AuditEntry.object_id == seat_id)
        return list((await session.execute(query.order_by(AuditEntry.entry_id))).scalars())


async def nobody_listens(world: World) -> None:
    """The nodes of this world are rows only: none is there to be told."""
    for name in ("alpha", "beta"):
        await world.change_node(name, state="dead")


async def test_a_suspended_seat_is_refused_at_once_and_its_rent_goes_on(world: World) -> None:
    tenant_id, contract_id, seat_ids = await world.opened(seats=2)
    admin = await world.api.client("tenant_admin", tenant_id)
    before = (await world.accounts(tenant_id))["1001"]
    shown = await admin.post(f"/v1/seats/{seat_ids[0]}/suspension", {"reason": "on leave"})
    assert (shown.status_code, shown.json()["state"]) == (200, "suspended")
    assert shown.json()["suspended_at"] is not None
    account = (await world.accounts(tenant_id))["1001"]
    seat = SeatView(account.username, account.seat_id, account.is_open)
    tenant = TenantView(tenant_id, "x.example.com", Standing.ACTIVE, "alpha", {"1001": seat})
    assert admit(Attempt("alpha", "1001"), tenant) == Refused(Reason.SEAT_CLOSED)
    assert JobCount("provisioning.flush_registrations", "todo", 1) in await job_counts(world.database_url)
    assert (await admin.get("/v1/seats", params={"state": "suspended"})).json()["items"][0]["seat_id"] == seat_ids[0]

    await nobody_listens(world)
    travel(date(2026, 7, 1))
    await world.defer("billing.advance_month")
    admin = await world.api.client("tenant_admin", tenant_id)
    monthly = (await admin.get("/v1/invoices")).json()["items"][0]
    assert (monthly["reason"], monthly["total"]) == ("monthly", "4000.00")

    back = await admin.post(f"/v1/seats/{seat_ids[0]}/resumption")
    assert (back.json()["state"], back.json()["suspended_at"]) == ("open", None)
    account = (await world.accounts(tenant_id))["1001"]
    assert (account.is_open, account.a1_hash) == (True, before.a1_hash)
    assert contract_id == back.json()["contract_id"]
    assert [entry.action for entry in await actions(world, tenant_id, seat_ids[0])] == [
        "seat.suspended",
        "seat.resumed",
    ]


async def test_only_an_open_seat_is_suspended_and_only_a_suspended_one_resumed(world: World) -> None:
    tenant_id, contract_id, seat_ids = await world.opened(seats=1)
    other, _, foreign = await world.opened(seats=1)
    admin = await world.api.client("tenant_admin", tenant_id)
    viewer = await world.api.client("tenant_viewer", tenant_id)
    circuit = await world.placed(tenant_id, contract_id, item="circuit", quantity=1, effective_on=date(2026, 6, 20))
    why = {"reason": "lost"}
    seat = f"/v1/seats/{seat_ids[0]}"
    assert (await admin.post(f"/v1/seats/{foreign[0]}/suspension", why)).status_code == 404
    assert (await viewer.post(f"{seat}/suspension", why)).status_code == 403
    no_phone = await admin.post(f"/v1/seats/{circuit['seat_ids'][0]}/suspension", why)
    assert (no_phone.status_code, no_phone.json()["code"]) == (409, "seat_not_open")
    silent = await admin.post(f"{seat}/suspension", {"reason": " "})
    assert (silent.status_code, silent.json()["field"]) == (422, "reason")
    early = await admin.post(f"{seat}/resumption")
    assert (early.status_code, early.json()["code"]) == (409, "seat_state_refused")
    assert (await admin.post(f"{seat}/suspension", why)).status_code == 200
    twice = await admin.post(f"{seat}/suspension", why)
    assert (twice.status_code, twice.json()["code"]) == (409, "seat_state_refused")
    assert [row.state for row in await world.seats(other)] == ["open"]


async def test_a_suspended_seat_can_be_returned_and_closes_on_its_day(world: World) -> None:
    tenant_id, contract_id, seat_ids = await world.opened(seats=2)
    admin = await world.api.client("tenant_admin", tenant_id)
    await admin.post(f"/v1/seats/{seat_ids[1]}/suspension", {"reason": "left"})
    await world.placed(tenant_id, contract_id, kind="return", seat_ids=[seat_ids[1]], effective_on=date(2026, 6, 15))
    await nobody_listens(world)
    travel(date(2026, 6, 16))
    await world.periodic()
    assert [row.state for row in await world.seats(tenant_id)] == ["open", "closed"]


async def test_a_seat_moves_to_another_person_with_a_new_password(world: World) -> None:
    tenant_id, _, seat_ids = await world.opened(seats=1)
    admin = await world.api.client("tenant_admin", tenant_id)
    path = f"/v1/seats/{seat_ids[0]}/person"
    wang = {"name": "王芳", "mail": "wang@example.com", "number": "A-17"}
    first = await admin.post(path, {"person": wang})
    assert (first.status_code, first.headers["cache-control"]) == (200, "no-store")
    assert first.json()["seat"]["person"] == wang
    password = first.json()["credentials"]["password"]

    async def kept() -> str:
        return (await world.accounts(tenant_id))["1001"].a1_hash

    domain = first.json()["credentials"]["domain"]
    assert await kept() == a1_hash("1001", domain, password)
    same = await admin.post(path, {"person": wang | {"mail": "fang@example.com"}})
    better = await admin.post(path, {"person": wang | {"name": "王 芳"}, "correction": True})
    assert (same.json()["credentials"], better.json()["credentials"]) == (None, None)
    assert await kept() == a1_hash("1001", domain, password)
    li = await admin.post(path, {"person": {"name": "李雷"}})
    assert li.json()["credentials"]["password"] != password
    nobody = await admin.post(path, {"person": None})
    assert (nobody.json()["seat"]["person"], nobody.json()["credentials"] is None) == (None, False)
    trail = [entry for entry in await actions(world, tenant_id, seat_ids[0]) if entry.action == "seat.person_changed"]
    assert [entry.facts["is_another"] for entry in trail] == [True, False, True, True, True]
    assert not any("王" in str(entry.facts) for entry in trail)


async def test_the_tunnel_of_the_person_before_is_closed(world: World) -> None:
    gateway = await make_gateway(world)
    tenant_id, _, seat_ids = await world.opened(seats=2)
    admin = await world.api.client("tenant_admin", tenant_id)
    for seat_id in seat_ids:
        await admin.post(f"/v1/seats/{seat_id}/hand-outs", {})
    assert len(await gateway.peers()) == 2
    await admin.post(f"/v1/seats/{seat_ids[0]}/person", {"person": {"name": "王芳"}})
    assert len(await gateway.peers()) == 1
    await admin.post(f"/v1/seats/{seat_ids[1]}/suspension", {"reason": "left"})
    assert await gateway.peers() == {}
    await admin.post(f"/v1/seats/{seat_ids[0]}/hand-outs", {})
    await admin.post(f"/v1/seats/{seat_ids[1]}/resumption")
    assert len(await gateway.peers()) == 2


async def test_people_and_groups_of_the_wrong_form_are_refused_by_place(world: World) -> None:
    tenant_id, _, seat_ids = await world.opened(seats=1)
    admin = await world.api.client("tenant_admin", tenant_id)
    seat = f"/v1/seats/{seat_ids[0]}"
    for person, field in (
        ({"name": " "}, "person_name"),
        ({"name": "x" * 101}, "person_name"),
        ({"name": "x", "mail": "nowhere"}, "person_mail"),
        ({"name": "x", "number": "\t"}, "person_number"),
    ):
        answer = await admin.post(f"{seat}/person", {"person": person})
        assert (answer.status_code, answer.json()["field"]) == (422, field)
    assert (await admin.post(f"{seat}/group", {"group": "x" * 101})).json()["field"] == "group"
    assert (await admin.post(f"{seat}/group", {"group": " 电销一部 "})).json()["group"] == "电销一部"
    assert len((await admin.get("/v1/seats", params={"group": "电销一部"})).json()["items"]) == 1
    assert (await admin.get("/v1/seats", params={"group": "电销二部"})).json()["items"] == []
    assert (await admin.post(f"{seat}/group", {"group": None})).json()["group"] is None


async def test_a_seat_that_is_not_open_yet_takes_a_person_without_credentials(world: World) -> None:
    tenant_id = await world.api.tenant("unpaid")
    order = await world.placed(tenant_id, await world.contract(tenant_id), quantity=1, effective_on=TODAY)
    moved = await world.operator.post(f"/v1/seats/{order['seat_ids'][0]}/person", {"person": {"name": "王芳"}})
    assert (moved.status_code, moved.json()["credentials"], moved.json()["seat"]["state"]) == (200, None, "ordered")
