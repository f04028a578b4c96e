"""A lease that is broken: the operator ends it for a ground of C16, everything closes, the last invoice says why."""

from __future__ import annotations

from tests.billing.agreements import amendment, extraordinary_end
from tests.world import Answered, World


async def test_a_lease_ended_for_unlawful_use_closes_after_its_last_day(world: World) -> None:
    tenant = await world.tenant(opened="2026-06-01", seats=2)
    contract = f"/v1/contracts/{tenant.contract_id}"
    await world.finance.does(f"{contract}/amendments", amendment("2026-08-01", {"rent_per_seat": "2300.00"}))
    await world.travel_to("2026-07-02 09:00")
    await tenant.pays_everything()
    await world.travel_to("2026-08-05 09:00")
    ended = extraordinary_end("2026-08-12", penalty="20000.00")
    await world.operator.does(f"{contract}/extraordinary-end", ended)
    late = await tenant.tries_to_order(1, "2026-08-13")
    assert (late.status_code, late.json()["code"], late.json()["field"]) == (422, "after_the_end", "effective_on")
    await world.travel_to("2026-08-12 23:00")
    assert isinstance(await tenant.seat(1).registers(), Answered)
    await world.travel_to("2026-08-13 00:05")
    assert {each["state"] for each in (await tenant.admin.ask("/v1/seats"))["items"]} == {"closed"}
    assert (await tenant.admin.ask(contract))["state"] == "ended"

    await world.travel_to("2026-09-01 09:00")
    august, final = await tenant.invoice("monthly", "2026-08"), await tenant.invoice("final")
    assert august.plain["total"] == "4600.00"  # the new rent; the end was not known when August was charged
    assert {line["kind"]: line["amount"] for line in final.plain["lines"]} == {
        "penalty": "20000.00",
        "deposit_return": "-4000.00",
    }
