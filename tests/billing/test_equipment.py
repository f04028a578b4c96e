"""The register of equipment: handed out, returned, lost, damaged, and charged once (C22)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from infra.kit.database import Database
from infra.kit.settings import Settings
from tests.api import Api, Caller
from tests.billing.finance import does, opened, refused
from tests.billing.lease_world import LeaseWorld


@pytest.fixture
def world(database: Database, settings: Settings) -> LeaseWorld:
    return LeaseWorld(database, settings)


def thing(world: LeaseWorld, label: str = "SN-1", **other: Any) -> dict[str, Any]:
    body = {"tenant_id": world.tenant_id, "contract_id": world.contract_id, "kind": "headset", "label": label}
    return body | {"makers_price": "399.99", "on": "2026-03-02", "seat_number": 1} | other


async def handed_out(world: LeaseWorld, operator: Caller, label: str = "SN-1", **other: Any) -> str:
    """The path of a thing that is out."""
    return f"/v1/equipment/{(await does(operator, '/v1/equipment', thing(world, label, **other)))['equipment_id']}"


def gone(outcome: str = "lost", **other: Any) -> dict[str, Any]:
    return {"outcome": outcome, "on": "2026-03-02", "note": "left on a train"} | other


async def charges(caller: Caller) -> list[tuple[str, str, str]]:
    items = (await caller.get("/v1/one-off-charges")).json()["items"]
    return [(each["kind"], each["amount"], each["state"]) for each in items]


async def test_what_is_lost_is_charged_at_the_makers_price_on_the_next_invoice(world: LeaseWorld, api: Api) -> None:
    await opened(world)
    operator, viewer = await api.client("platform_operator"), await api.client("tenant_viewer", world.tenant_id)
    path = await handed_out(world, operator)
    row = (await viewer.get(path)).json()
    assert (row["state"], row["makers_price"], row["currency"], row["seat_number"]) == ("out", "399.99", "CNY", 1)
    ended = await does(operator, f"{path}/end", gone(), 200)
    assert (ended["state"], ended["ended_on"], ended["note"]) == ("lost", "2026-03-02", "left on a train")
    assert await charges(viewer) == [("equipment", "399.99", "waiting")]
    await world.live_to("2026-04-01")
    [april] = await world.invoices("monthly")
    assert str(april.total) == "4399.99"
    operator = await api.client("platform_operator")
    back = await operator.post(f"{path}/revival", {"reason": "it has turned up"})
    assert refused(back) == (409, "equipment_billed", "equipment_id")


async def test_whoever_ends_it_a_second_time_is_refused_and_nothing_is_charged_twice(
    world: LeaseWorld, api: Api
) -> None:
    await opened(world)
    operator = await api.client("platform_operator")
    path = await handed_out(world, operator)
    answers = await asyncio.gather(
        *(operator.post(f"{path}/end", gone(how)) for how in ("lost", "damaged", "returned", "lost"))
    )
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409]
    assert refused(await operator.post(f"{path}/end", gone())) == (409, "equipment_ended", "equipment_id")
    assert len(await charges(operator)) <= 1
    again = await handed_out(world, operator)  # the label is free once it is not out
    key = {"key": "lost-1"}
    assert (await operator.post(f"{again}/end", gone(), **key)).status_code == 200
    assert (await operator.post(f"{again}/end", gone(), **key)).status_code == 200
    waiting = [each for each in await charges(operator) if each[2] == "waiting"]
    assert len(waiting) == 1 + sum(
        answer.status_code == 200 and answer.json()["charge_id"] is not None for answer in answers
    )


async def test_what_comes_back_or_is_not_the_tenants_doing_costs_nothing(world: LeaseWorld, api: Api) -> None:
    await opened(world)
    operator = await api.client("platform_operator")
    for label, end in (("A", gone("returned")), ("B", gone("damaged", by_tenant=False))):
        ended = await does(operator, f"{await handed_out(world, operator, label)}/end", end, 200)
        assert ended["charge_id"] is None
    cheaper = await does(
        operator, f"{await handed_out(world, operator, 'C')}/end", gone("damaged", amount="99.00"), 200
    )
    assert cheaper["charge_id"] is not None
    assert await charges(operator) == [("equipment", "99.00", "waiting")]
    free = await does(operator, f"{await handed_out(world, operator, 'D', makers_price='0.00')}/end", gone(), 200)
    assert free["charge_id"] is None
    path = await handed_out(world, operator, "E")
    for wrong, field in (
        (gone("damaged", amount="400.00"), "amount"),
        (gone("damaged", amount="-1"), "amount"),
        (gone("returned", amount="1.00"), "amount"),
        (gone(note=" "), "note"),
        (gone(on="2026-03-01"), "on"),
        (gone(on="2026-03-03"), "on"),
    ):
        assert refused(await operator.post(f"{path}/end", wrong))[2] == field


async def test_what_turns_up_is_out_again_and_its_charge_is_cancelled(world: LeaseWorld, api: Api) -> None:
    await opened(world)
    operator = await api.client("platform_operator")
    path = await handed_out(world, operator)
    assert refused(await operator.post(f"{path}/revival", {"reason": "early"}))[1] == "equipment_ended"
    await does(operator, f"{path}/end", gone(), 200)
    other = await handed_out(world, operator)
    assert refused(await operator.post(f"{path}/revival", {"reason": "found"})) == (409, "equipment_is_out", "label")
    await does(operator, f"{other}/end", gone("returned"), 200)
    row = await does(operator, f"{path}/revival", {"reason": "found under the desk"}, 200)
    assert (row["state"], row["charge_id"], row["ended_on"]) == ("out", None, None)
    assert await charges(operator) == [("equipment", "399.99", "cancelled")]
    await does(operator, f"{path}/end", gone(), 200)
    assert sorted(each[2] for each in await charges(operator)) == ["cancelled", "waiting"]


async def test_only_the_operator_keeps_the_register_and_each_tenant_sees_its_own(world: LeaseWorld, api: Api) -> None:
    await opened(world)
    operator, admin = await api.client("platform_operator"), await api.client("tenant_admin", world.tenant_id)
    neighbour = await api.client("tenant_admin", await api.tenant("neighbour"))
    path = await handed_out(world, operator)
    assert (await admin.post("/v1/equipment", thing(world, "SN-2"))).status_code == 403
    assert (await admin.post(f"{path}/end", gone())).status_code == 403
    assert [each["label"] for each in (await admin.get("/v1/equipment", {"state": "out"})).json()["items"]] == ["SN-1"]
    assert (await neighbour.get(path)).status_code == 404
    assert (await neighbour.get("/v1/equipment")).json()["items"] == []
    for wrong, code, field in (
        (thing(world), "equipment_is_out", "label"),
        (thing(world, "X", seat_number=3), "equipment_refused", "seat_number"),
        (thing(world, "X", kind="car"), "equipment_refused", "kind"),
        (thing(world, "X", makers_price="1e3"), "equipment_refused", "makers_price"),
        (thing(world, " "), "equipment_refused", "label"),
        (thing(world, "X", on="2027-01-01"), "equipment_refused", "on"),
        (thing(world, "X", contract_id="ctr_none"), "contract_not_found", "contract_id"),
    ):
        assert refused(await operator.post("/v1/equipment", wrong))[1:] == (code, field)


async def test_under_hosted_nothing_is_handed_out(world: LeaseWorld, api: Api) -> None:
    await world.sign("hosted", "2026-03-02", on="2026-03-02")
    operator = await api.client("platform_operator")
    answer = await operator.post("/v1/equipment", thing(world, seat_number=None))
    assert refused(answer) == (409, "equipment_not_in_contract", "contract_id")
