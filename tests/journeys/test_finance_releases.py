"""A month of finance through the public API: looked at, released, and put right afterwards (rule 3, C3)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from infra.kit.settings import Settings, load
from tests.world import MOBILE, PRICES, Customer, World

JULY = "/v1/invoice-runs/2026-07"


@pytest.fixture
def settings(tmp_path: Path, database_url: str) -> Settings:
    """An installation whose finance releases months."""
    given = {"SEATLINE_DATABASE_URL": database_url, "SEATLINE_MONTHLY_RELEASE": "finance"}
    return load(given | {"SEATLINE_DATA_DIRECTORY": str(tmp_path / "data")})


async def _deck(world: World, rate: str) -> str:
    """A deck with another price of mobiles, for nobody yet."""
    path, kind = "/v1/rate-decks?name=corrected&default=false", {"content-type": "text/csv"}
    content = PRICES.replace("0.1234", rate).encode()
    return (await world.finance.send("POST", path, content=content, headers=kind)).json()["deck_id"]


async def _settled(world: World, tenant: Customer, month: str, deck_id: str) -> dict[str, Any]:
    """A month priced again with a deck, looked at and settled."""
    wanted = {"month": month, "rate_deck_id": deck_id, "reason": "mobiles were priced wrongly"}
    asked = await world.finance.does(f"/v1/contracts/{tenant.contract_id}/re-ratings", wanted)
    await world.work()
    path = f"/v1/re-ratings/{asked['re_rating_id']}"
    assert (await world.finance.ask(path))["state"] == "computed"
    return await world.finance.does(f"{path}/settle")


async def test_a_month_is_looked_at_released_and_put_right(world: World) -> None:
    await world.has_prices()
    tenant = await world.tenant(seats=2, opened="2026-06-01")
    await world.travel_to("2026-06-17 12:00")
    await tenant.seat(1).talks(MOBILE, milliseconds=600_000)
    late = await tenant.seat(2).record(MOBILE, milliseconds=60_000)
    node = await tenant.seat(2).node()
    await world.travel_to("2026-07-02 09:00")
    assert await tenant.invoices("monthly") == []
    waiting = (await world.finance.ask("/v1/invoice-runs"))["items"]
    assert [(each["month"], each["state"], each["contracts_due"]) for each in waiting] == [("2026-07", "waiting", 1)]
    early = await world.finance.post("/v1/invoice-runs/2026-08/release", {})
    assert (early.status_code, early.json()["code"]) == (422, "month_not_begun")

    preview = await world.finance.ask(f"{JULY}/preview")
    assert preview["total"] == "4001.23"
    await world.finance.does(f"{JULY}/release", {"expected_total": preview["total"]})
    await world.work()
    run = await world.finance.ask(JULY)
    assert (run["state"], run["issued"], run["total"]) == ("finished", 1, "4001.23")
    july = await tenant.invoice("monthly")
    assert (july.total, july.dates[:2]) == ("4001.23", ("2026-07-01", "2026-07-10"))

    await world.node_reports(late, node)
    await world.work()
    cheaper = await _settled(world, tenant, "2026-06", await _deck(world, "0.1000"))
    assert (cheaper["settlement"], cheaper["difference"]) == ("credit_note", "-0.2340")
    note = await tenant.invoice("credit_note")
    assert (note.kinds(), note.plain["corrects_invoice_id"]) == ({"calls": "-0.23"}, july.plain["invoice_id"])
    assert (await tenant.balance())["owed"] == "4001.00"
    dearer = await _settled(world, tenant, "2026-06", await _deck(world, "0.2000"))
    assert (dearer["settlement"], dearer["billing_month"], dearer["difference"]) == ("supplement", "2026-07", "1.0000")
    rent = {"reason": "the lift was out", "lines": [{"line_number": 1, "amount": "100.00"}]}
    await world.finance.does(f"/v1/invoices/{july.plain['invoice_id']}/credit-notes", rent)
    await tenant.pays_everything()

    await world.travel_to("2026-08-06 09:00")
    await world.finance.does("/v1/invoice-runs/2026-08/release", {})
    await world.work()
    august = await tenant.invoice("monthly", "2026-08")
    assert august.kinds() == {"rent": "4000.00", "calls": "1.12"}  # the late call of 0.1234, and 1.00 of June's
    assert august.dates[:2] == ("2026-08-01", "2026-08-11")
    assert august.plain["lines"][-1]["formula"] == "sum of 1 rated amounts + 1 calls of 2026-06 priced anew"
