"""Counters of the gateways become data usage (C3), each byte once, whatever happens to gateways and reports."""

from __future__ import annotations

import asyncio
from datetime import date
from typing import Any

import pytest

from billing import invoice_runs
from billing.rules.months import Month
from infra.kit.jobs import Runtime
from tests.provisioning.tunnel_world import GatewayHost, hand_out, key_of, make_gateway, reading, usage
from tests.provisioning.world import TODAY, World, travel

RATE = {"data_rate_per_gb": "5.0000"}
MB = 1_000_000


@pytest.fixture
async def gateway(world: World) -> GatewayHost:
    """The installation's VPN gateway."""
    return await make_gateway(world)


async def _seat(world: World, **contract: Any) -> tuple[str, str, str]:
    """A tenant, its one seat that was handed out, and that seat's key."""
    tenant_id, _, seat_ids = await world.opened(1, terms=RATE, **contract)
    await hand_out(world, tenant_id, seat_ids[0])
    return tenant_id, seat_ids[0], await key_of(world, seat_ids[0])


async def _bill(world: World, month: str) -> None:
    runtime = Runtime(world.api.database, world.api.settings)
    await invoice_runs.run_month(runtime, Month.of(date.fromisoformat(f"{month}-01")))


async def _data_lines(world: World, tenant_id: str) -> list[tuple[str, str]]:
    """The lines of data on the tenant's invoices, by period."""
    finance = await world.api.client("finance")  # the operator's token has expired on the way here
    listed = (await finance.get("/v1/invoices", {"tenant_id": tenant_id})).json()["items"]
    found: list[tuple[str, str]] = []
    for each in listed:
        whole = (await finance.get(f"/v1/invoices/{each['invoice_id']}")).json()
        found += [(each["period"], line["amount"]) for line in whole["lines"] if line["kind"] == "data"]
    return sorted(found)


async def test_bytes_are_added_up_for_a_seat_and_day_and_priced(world: World, gateway: GatewayHost) -> None:
    tenant_id, seat_id, key = await _seat(world)
    await gateway.reports(reading(key, 3 * MB, 1 * MB))
    await gateway.reports(reading(key, 10 * MB, 2 * MB))
    (row,) = await usage(world, tenant_id)
    assert (row.seat_id, row.day, row.received, row.sent) == (seat_id, TODAY, 10 * MB, 2 * MB)
    assert (str(row.rate_per_gb), str(row.amount)) == ("5.0000", "0.0600")
    admin = await world.api.client("tenant_admin", tenant_id)
    shown = (await admin.get("/v1/data-usage", {"month": "2026-06"})).json()["items"][0]
    assert (shown["amount"], shown["currency"], shown["received"]) == ("0.0600", "CNY", 10 * MB)
    assert (await admin.get("/v1/data-usage", {"month": "June"})).status_code == 422


async def test_a_report_that_comes_twice_or_late_adds_nothing(world: World, gateway: GatewayHost) -> None:
    tenant_id, _, key = await _seat(world)
    earlier, later = reading(key, 3 * MB), reading(key, 8 * MB, 1 * MB)
    await gateway.reports(later)
    await gateway.reports(earlier)
    await gateway.reports(later)
    await gateway.reports(earlier, later, later)
    (row,) = await usage(world, tenant_id)
    assert (row.received, row.sent) == (8 * MB, 1 * MB)


async def test_the_same_report_at_the_same_time_counts_once(world: World, gateway: GatewayHost) -> None:
    tenant_id, _, key = await _seat(world)
    answers = await asyncio.gather(*(gateway.reports(reading(key, 5 * MB)) for _ in range(4)))
    assert [each.status_code for each in answers] == [200] * 4
    (row,) = await usage(world, tenant_id)
    assert row.received == 5 * MB


async def test_counters_that_begin_again_are_a_new_life(world: World, gateway: GatewayHost) -> None:
    tenant_id, _, key = await _seat(world)
    await gateway.reports(reading(key, 8 * MB))
    await gateway.reports(reading(key, 2 * MB, life="after-the-restart"))
    await gateway.reports(reading(key, 9 * MB), reading(key, 3 * MB, life="after-the-restart"))
    (row,) = await usage(world, tenant_id)
    assert row.received == 12 * MB


async def test_what_an_old_key_has_carried_is_still_counted(world: World, gateway: GatewayHost) -> None:
    tenant_id, seat_id, old = await _seat(world)
    await hand_out(world, tenant_id, seat_id)
    await gateway.reports(reading(old, 7 * MB), reading(await key_of(world, seat_id), 1 * MB))
    (row,) = await usage(world, tenant_id)
    assert row.received == 8 * MB


async def test_keys_of_nobody_and_of_another_gateway_are_ignored(world: World, gateway: GatewayHost) -> None:
    tenant_id, _, key = await _seat(world)
    elsewhere = await make_gateway(world, "vpn-2")
    foreign = await elsewhere.reports(reading(key, 9 * MB))
    assert foreign.json() == {"unknown": 1}
    mixed = await gateway.reports(reading("A" * 43 + "=", 9 * MB), reading(key, 1 * MB))
    assert mixed.json() == {"unknown": 1}
    (row,) = await usage(world, tenant_id)
    assert row.received == 1 * MB


async def test_a_gateway_may_tell_the_last_of_a_tenant_that_has_moved_to_another(
    world: World, gateway: GatewayHost
) -> None:
    tenant_id, seat_id, key = await _seat(world)
    await gateway.reports(reading(key, 1 * MB))
    await make_gateway(world, "vpn-2")
    path = f"/v1/tunnel-gateways/{gateway.tunnel_gateway_id}"
    await world.operator.post(f"{path}/revocation")
    moved = await hand_out(world, tenant_id, seat_id)
    assert gateway.public_key not in moved.configuration
    gateway.secret = (await world.operator.post(f"{path}/credential")).json()["secret"]
    assert (await gateway.reports(reading(key, 3 * MB))).json() == {"unknown": 0}
    (row,) = await usage(world, tenant_id)
    assert row.received == 3 * MB


async def test_bad_readings_are_refused_whole(world: World, gateway: GatewayHost) -> None:
    tenant_id, _, key = await _seat(world)
    good = reading(key, 1 * MB)
    for bad in (good | {"received": -1}, good | {"sent": 2**63}, good | {"life": ""}, good | {"colour": "red"}):
        answer = await gateway.reports(good, bad)
        assert (answer.status_code, answer.json()["code"]) == (400, "validation_failed")
    assert await usage(world, tenant_id) == []


async def test_a_reading_counts_for_the_local_day_on_which_it_was_read(world: World, gateway: GatewayHost) -> None:
    tenant_id, _, key = await _seat(world)
    await gateway.reports(reading(key, 1 * MB, age_seconds=0))
    travel(TODAY.replace(day=TODAY.day + 1), hour=1)
    await gateway.reports(reading(key, 3 * MB, age_seconds=2 * 3600), reading(key, 4 * MB))
    assert [(row.day.day, row.received) for row in await usage(world, tenant_id)] == [(8, 3 * MB), (9, 1 * MB)]


async def test_handshakes_are_shown(world: World, gateway: GatewayHost) -> None:
    _, seat_id, key = await _seat(world)
    assert (await world.operator.get(f"/v1/seats/{seat_id}/tunnel")).json()["last_handshake_at"] is None
    await gateway.reports(reading(key, 148, 92, handshake_age_seconds=30))
    shown = (await world.operator.get(f"/v1/seats/{seat_id}/tunnel")).json()["last_handshake_at"]
    assert shown == "2026-06-08T00:59:30Z" or shown.startswith("2026-06-08T00:59:")


async def test_data_reaches_the_monthly_invoice_rounded_once(world: World, gateway: GatewayHost) -> None:
    tenant_id, _, key = await _seat(world)
    await gateway.reports(reading(key, 1_001_000))  # 0.005005 CNY: 0.0050
    travel(date(2026, 6, 9))
    await gateway.reports(reading(key, 2_002_000))  # the same again
    travel(date(2026, 7, 1))
    await _bill(world, "2026-07")
    assert [str(row.amount) for row in await usage(world, tenant_id)] == ["0.0050", "0.0050"]
    assert await _data_lines(world, tenant_id) == [("2026-07", "0.01")]


async def test_a_line_of_data_is_explained_by_what_was_carried(world: World, gateway: GatewayHost) -> None:
    tenant_id, _, key = await _seat(world)
    await gateway.reports(reading(key, 1_001_000, 1_001_000))
    travel(date(2026, 7, 1))
    await _bill(world, "2026-07")
    finance = await world.api.client("finance")
    listed = (await finance.get("/v1/invoices", {"tenant_id": tenant_id, "period": "2026-07"})).json()["items"]
    path = f"/v1/invoices/{listed[0]['invoice_id']}"
    lines = (await finance.get(path)).json()["lines"]
    number = next(place for place, line in enumerate(lines, start=1) if line["kind"] == "data")
    shown = (await finance.get(f"{path}/lines/{number}/explain")).json()
    assert (shown["exact"], shown["rounding"], shown["amount"]) == ("0.0100", "0.0000", "0.01")
    assert shown["data"] == {"records": 1, "received": 1_001_000, "sent": 1_001_000, "amount": "0.0100"}


async def test_what_comes_after_the_invoice_goes_on_the_next_one(world: World, gateway: GatewayHost) -> None:
    tenant_id, _, key = await _seat(world)
    await gateway.reports(reading(key, 100 * MB))
    travel(date(2026, 7, 1))
    await _bill(world, "2026-07")
    await gateway.reports(reading(key, 160 * MB, age_seconds=12 * 3600))  # still of June, but June is invoiced
    assert [(row.day.month, row.billing_month.month, row.received) for row in await usage(world, tenant_id)] == [
        (6, 6, 100 * MB),
        (6, 7, 60 * MB),
    ]
    travel(date(2026, 8, 1))
    await _bill(world, "2026-08")
    assert await _data_lines(world, tenant_id) == [("2026-07", "0.50"), ("2026-08", "0.30")]
    await _bill(world, "2026-08")
    assert len(await _data_lines(world, tenant_id)) == 2


async def test_data_after_the_end_comes_on_a_supplementary_invoice(world: World, gateway: GatewayHost) -> None:
    tenant_id, _, key = await _seat(world, ends_on=date(2026, 6, 20))
    travel(date(2026, 7, 1))
    await _bill(world, "2026-07")
    await gateway.reports(reading(key, 200 * MB, age_seconds=11 * 86_400))
    travel(date(2026, 8, 1))
    await _bill(world, "2026-08")
    assert await _data_lines(world, tenant_id) == [("2026-07", "1.00")]


async def test_without_an_agreed_rate_data_is_counted_and_costs_nothing(world: World, gateway: GatewayHost) -> None:
    tenant_id, _, seat_ids = await world.opened(1)
    await hand_out(world, tenant_id, seat_ids[0])
    await gateway.reports(reading(await key_of(world, seat_ids[0]), 10**12))
    (row,) = await usage(world, tenant_id)
    assert (row.received, row.amount) == (10**12, 0)
    travel(date(2026, 7, 1))
    await _bill(world, "2026-07")
    assert await _data_lines(world, tenant_id) == []


async def test_a_tenant_sees_only_its_own_traffic(world: World, gateway: GatewayHost) -> None:
    _, _, key = await _seat(world)
    await gateway.reports(reading(key, 1 * MB))
    neighbour = await world.api.client("tenant_viewer", await world.api.tenant("neighbour"))
    assert (await neighbour.get("/v1/data-usage")).json()["items"] == []
