"""Lines of invoices on the real database, explained down to the calls and charges they add up."""

from __future__ import annotations

from decimal import Decimal

import pytest

from infra.kit.database import Database
from infra.kit.settings import Settings
from tests.api import Api
from tests.billing.calls import Calls, rate
from tests.billing.finance import charge_body, does, opened, refused
from tests.billing.lease_world import LeaseWorld
from tests.tenancy.people_world import joined, quick_passwords


@pytest.fixture
def world(database: Database, settings: Settings) -> LeaseWorld:
    return LeaseWorld(database, settings)


async def test_a_line_of_calls_is_explained_down_to_the_calls(
    world: LeaseWorld, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick_passwords(monkeypatch)
    await opened(world)
    calls = Calls(api.database)
    await calls.deck()
    legs = [
        await calls.call(world.tenant_id, answered=f"2026-03-1{day} 10:00", milliseconds=1_000 * day)
        for day in range(3)
    ]
    legs.append(await calls.call(world.tenant_id, "861012345678", answered="2026-03-20 10:00", milliseconds=61_000))
    await rate(api.database, world.tenant_id)
    await world.live_to("2026-04-01")
    [april] = await world.invoices("monthly")
    viewer = await api.client("tenant_viewer", world.tenant_id)
    details = (await viewer.get(f"/v1/invoices/{april.invoice_id}")).json()
    number = [line["kind"] for line in details["lines"]].index("calls") + 1
    path = f"/v1/invoices/{april.invoice_id}/lines/{number}/explain"
    first = (await viewer.get(path, {"limit": 3})).json()
    second = (await viewer.get(path, {"limit": 3, "after": first["next"]})).json()
    shown = [*first["calls"], *second["calls"]]
    assert sorted(each["leg_id"] for each in shown) == sorted(legs)
    assert (first["usage_month"], first["call_count"], second["next"]) == ("2026-03", 4, None)
    exact = sum((Decimal(each["amount"]) for each in shown), Decimal(0))
    assert (Decimal(first["exact"]), Decimal(first["amount"]) - Decimal(first["rounding"])) == (exact, exact)
    [landline] = [each for each in shown if each["leg_id"] == legs[3]]
    assert (landline["prefix"], landline["billed_seconds"], landline["amount"]) == ("86", 66, "0.4300")
    assert (first["clause"], first["formula"]) == ("C3, rule 3", "sum of 4 rated amounts")
    assert first["parts"][0]["inputs"]["month"] == "2026-03"
    clerk = await joined(api, await api.client("platform_operator"), "cw@platform.example", role="finance")
    told = (await clerk.get(path)).json()
    assert (told["calls"], told["next"], told["call_count"]) == ([], None, 4), "whom the tenant called needs a visit"
    assert told["destinations"] == first["destinations"]
    await calls.call(world.tenant_id, answered="2026-03-30 10:00")  # known too late: on the next invoice
    await rate(api.database, world.tenant_id)
    assert (await viewer.get(path)).json()["call_count"] == 4


async def test_rent_and_charges_are_explained_by_their_clause(world: LeaseWorld, api: Api) -> None:
    await opened(world)
    finance = await api.client("finance")
    for amount in ("350.00", "49.90"):
        await does(finance, "/v1/one-off-charges", charge_body(world, kind="equipment", amount=amount))
    await world.live_to("2026-04-01")
    [april] = await world.invoices("monthly")
    admin = await api.client("tenant_admin", world.tenant_id)
    path = f"/v1/invoices/{april.invoice_id}/lines"
    rent, equipment = (await admin.get(f"{path}/1/explain")).json(), (await admin.get(f"{path}/2/explain")).json()
    assert (rent["kind"], rent["clause"], rent["formula"]) == ("rent", "C7, rule 3", "2 × 2000.00")
    assert rent["parts"][0]["inputs"] == {"month": "2026-04", "seats": "1–2"}
    assert (rent["calls"], rent["charges"], rent["exact"]) == ([], [], None)
    assert (equipment["clause"], equipment["amount"], equipment["rounding"]) == ("C22, rule 3", "399.90", "0.0000")
    assert [each["amount"] for each in equipment["charges"]] == ["350.00", "49.90"]
    assert refused(await admin.get(f"{path}/3/explain")) == (404, "invoice_line_not_found", "line_number")
    assert (await admin.get(f"{path}/99999999999999999999/explain")).status_code in (404, 422)
    other = await api.client("tenant_admin", await api.tenant())
    assert (await other.get(f"{path}/1/explain")).status_code == 404
    assert (await other.get("/v1/invoices/inv_none/lines/1/explain")).status_code == 404
