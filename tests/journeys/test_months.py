"""The monthly invoice: rent in advance, calls in arrears, each of them once (C3, C7, rule 3)."""

from __future__ import annotations

import asyncio
import json

from tests.world import LANDLINE, MOBILE, Customer, World


async def opened(world: World) -> Customer:
    """A tenant with two seats since 1 June, in a house that has prices."""
    await world.has_prices()
    return await world.tenant(seats=2, opened="2026-06-01")


async def charged(tenant: Customer) -> list[str]:
    """The amounts of the tenant's rated calls, smallest first."""
    return sorted(each["amount"] for each in (await tenant.admin.ask("/v1/charges", limit=200))["items"])


async def test_calls_are_on_the_invoice_of_the_first_to_the_exact_fen(world: World) -> None:
    tenant = await opened(world)
    await world.travel_to("2026-06-17 12:00")
    # A landline: 0.10 to connect, the first minute whole, then six seconds at a time: 66 seconds at 0.30 a minute.
    await tenant.seat(1).talks(LANDLINE, milliseconds=60_001)
    # A mobile by the second, 61 at 0.1234 a minute: 0.12545666…, rounded away from zero on the fourth place.
    await tenant.seat(2).talks(MOBILE, milliseconds=60_040)
    await tenant.seat(2).talks(MOBILE, milliseconds=60_040)
    # Nobody answered, and an emergency: neither costs anything.
    await tenant.seat(2).talks(MOBILE, milliseconds=0)
    await tenant.seat(2).talks("110", milliseconds=90_000)
    await world.work()
    assert await charged(tenant) == ["0.1255", "0.1255", "0.4300"]
    await world.travel_to("2026-07-01 00:03")
    monthly = await tenant.invoice("monthly")
    assert monthly.dates == ("2026-07-01", "2026-07-10", "2026-07-26")
    assert monthly.kinds() == {"rent": "4000.00", "calls": "0.68"}  # 0.6810 exactly
    assert (monthly.total, monthly.plain["tax"]) == ("4000.68", "226.48")  # 226.4151 of rent, 0.0561 of calls
    pdf = await tenant.admin.get(f"/v1/invoices/{monthly.plain['invoice_id']}/pdf")
    assert (pdf.status_code, pdf.content[:5]) == (200, b"%PDF-")


async def test_a_call_over_midnight_belongs_to_the_month_in_which_it_was_answered(world: World) -> None:
    tenant = await opened(world)
    await world.travel_to("2026-06-30 23:59")
    await tenant.seat(1).talks(MOBILE, milliseconds=240_000, began="2026-06-30 23:55:30")
    await tenant.seat(1).talks(MOBILE, milliseconds=60_000, began="2026-06-30 23:59:59")
    await world.travel_to("2026-07-01 00:03")
    assert (await tenant.invoice("monthly", "2026-07")).kinds()["calls"] == "0.49"
    await world.travel_to("2026-08-01 00:03")
    assert (await tenant.invoice("monthly", "2026-08")).kinds()["calls"] == "0.12"


async def test_a_record_that_comes_late_goes_on_the_next_invoice(world: World) -> None:
    tenant = await opened(world)
    await world.travel_to("2026-06-30 20:00")
    late = await tenant.seat(1).record(LANDLINE, milliseconds=120_000)
    await world.travel_to("2026-07-02 10:00")
    assert "calls" not in (await tenant.invoice("monthly", "2026-07")).kinds()
    await world.node_reports(late)
    await tenant.seat(1).talks(MOBILE, milliseconds=60_000)
    await world.work()
    assert (await tenant.invoice("monthly", "2026-07")).total == "4000.00"
    await world.travel_to("2026-08-01 00:03")
    assert (await tenant.invoice("monthly", "2026-08")).kinds() == {"rent": "4000.00", "calls": "0.82"}
    await world.travel_to("2026-09-01 00:03")
    assert (await tenant.invoice("monthly", "2026-09")).kinds() == {"rent": "4000.00"}


async def test_a_record_posted_again_and_again_is_charged_once(world: World) -> None:
    tenant = await opened(world)
    await world.travel_to("2026-06-17 12:00")
    record = await tenant.seat(1).record(MOBILE, milliseconds=60_000)
    node, other = await tenant.seat(1).node(), await tenant.seat(2).record(MOBILE, milliseconds=120_000)
    await world.node_reports(record, node)
    await world.work()
    await world.node_reports(record, node)
    await asyncio.gather(*(world.node_reports(other, node) for _ in range(8)))
    await asyncio.gather(world.work(), world.node_reports(record, node), world.node_reports(other, node))
    await world.work()
    assert await charged(tenant) == ["0.1234", "0.2468"]
    await world.travel_to("2026-07-01 00:03")
    await world.node_reports(record, node)
    await world.travel_to("2026-08-01 00:03")
    assert [each.kinds().get("calls") for each in await tenant.invoices("monthly")] == ["0.37", None]


async def test_a_call_of_a_node_whose_clock_ran_ahead_is_charged_in_its_true_month(world: World) -> None:
    tenant = await opened(world)
    await world.travel_to("2026-06-30 23:50")
    record = await tenant.seat(1).record(MOBILE, milliseconds=60_000)
    for name in ("start_uepoch", "answer_uepoch", "end_uepoch"):
        record["variables"][name] = str(int(record["variables"][name]) + 3_600_000_000)
    await world.node_reports(record)
    correction = {
        "node": "node-1",
        "received_from": "2026-06-30T23:00:00+08:00",
        "received_until": "2026-07-01T00:00:00+08:00",
        "clock_ahead_seconds": 3_600,
        "reason": "its clock was set to summer time",
    }
    for stored in (1, 0):
        answer = await world.operator.post("/v1/set-aside-records/clock-corrections", correction)
        assert (answer.status_code, answer.json()["stored"]) == (200, stored)
    await world.work()
    assert await charged(tenant) == ["0.1234"]
    await world.travel_to("2026-07-01 00:03")
    assert (await tenant.invoice("monthly", "2026-07")).kinds() == {"rent": "4000.00", "calls": "0.12"}
    await world.travel_to("2026-08-01 00:03")
    assert (await tenant.invoice("monthly", "2026-08")).kinds() == {"rent": "4000.00"}


async def test_a_month_that_is_run_again_issues_nothing_twice(world: World) -> None:
    tenant = await opened(world)
    await world.travel_to("2026-06-17 12:00")
    await tenant.seat(1).talks(MOBILE, milliseconds=60_000)
    await world.travel_to("2026-07-01 00:03")
    before = [each.plain for each in await tenant.invoices()]
    for _ in range(2):
        answer = await world.finance.post("/v1/invoice-runs", {"month": "2026-07"})
        assert answer.status_code == 202
    await world.work()
    await world.travel_to("2026-07-01 12:00")
    assert [each.plain for each in await tenant.invoices()] == before
    early = await world.finance.post("/v1/invoice-runs", {"month": "2026-08"})
    assert (early.status_code, early.json()["code"]) == (422, "month_not_begun")


async def test_a_record_that_cannot_be_read_is_set_aside_and_shown(world: World) -> None:
    tenant = await opened(world)
    await world.travel_to("2026-06-17 12:00")
    record = await tenant.seat(1).record(MOBILE, milliseconds=60_000)
    del record["variables"]["billmsec"]
    for broken in (b'{"variables": {"uuid": "12', json.dumps(record).encode(), json.dumps(record).encode()):
        await world.node_reports(broken)
    await world.work()
    shown = await world.operator.ask("/v1/set-aside-records")
    assert shown["unresolved"] == 2
    assert [(each["times_received"], each["problem"].partition(":")[0]) for each in shown["items"]] == [
        (2, "billmsec"), (1, "The body is not the JSON of a call record"),
    ]  # fmt: skip
    retried = await world.operator.post(f"/v1/set-aside-records/{shown['items'][0]['record_id']}/retry")
    assert (retried.status_code, "billmsec" in retried.json()["detail"]) == (409, True)
    assert (await tenant.admin.get("/v1/set-aside-records")).status_code == 403
    assert await charged(tenant) == []
