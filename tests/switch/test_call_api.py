"""Calls and records set aside, as callers of the API see them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from infra.kit import clock
from tests.api import Api
from tests.switch.exchange import Exchange, call_record


@pytest.fixture
async def exchange(api: Api) -> Exchange:
    return await Exchange(api).open()


async def test_calls_come_newest_first_in_pages_without_gap_or_repeat(exchange: Exchange) -> None:
    renter = await exchange.add_tenant()
    viewer = await exchange.api.client("tenant_viewer", renter.tenant_id)
    now = clock.now().replace(microsecond=0)
    begun = [now - timedelta(hours=number // 2) for number in range(7)]  # two begin together
    for moment in begun:
        await exchange.report(call_record(renter.tenant_id, began_at=moment))
    seen: list[str] = []
    after: dict[str, str] = {}
    while True:
        page = (await viewer.get("/v1/calls", {"limit": 3} | after)).json()
        seen += [call["started_at"] for call in page["items"]]
        if page["next"] is None:
            break
        after = {"after": page["next"]}
    assert [datetime.fromisoformat(moment) for moment in seen] == sorted(begun, reverse=True)


async def test_calls_are_narrowed_by_seat_direction_and_time(exchange: Exchange) -> None:
    renter = await exchange.add_tenant()
    viewer = await exchange.api.client("tenant_viewer", renter.tenant_id)
    july, august = datetime(2026, 7, 31, 15, 59, 59, tzinfo=UTC), datetime(2026, 8, 1, 12, tzinfo=UTC)
    await exchange.report(call_record(renter.tenant_id, began_at=july, seatline_seat=renter.seats["1001"]))
    await exchange.report(call_record(renter.tenant_id, began_at=august, direction="inbound"))

    async def begun(**params: str) -> list[str]:
        answer = await viewer.get("/v1/calls", params)
        assert answer.status_code == 200, answer.text
        return [call["started_at"] for call in answer.json()["items"]]

    assert len(await begun()) == 2
    assert await begun(seat_id=renter.seats["1001"]) == ["2026-07-31T15:59:59Z"]
    assert await begun(direction="inbound") == ["2026-08-01T12:00:00Z"]
    assert await begun(**{"from": "2026-08-01T00:00:00+08:00"}) == ["2026-08-01T12:00:00Z"]
    assert await begun(**{"from": "2026-07-31T23:59:59+08:00", "to": "2026-08-01T20:00:00+08:00"}) == [
        "2026-07-31T15:59:59Z"
    ]


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"direction": "up"}, "direction"),
        ({"from": "yesterday"}, "from"),
        ({"from": "2026-07-01T00:00:00"}, "from"),
        ({"to": "2026-07-01"}, "to"),
        ({"after": "nonsense"}, "after"),
        ({"after": "WyJ4IiwieSJd"}, "after"),
        ({"limit": "100000"}, "limit"),
    ],
)
async def test_a_wrong_filter_is_refused_by_name(exchange: Exchange, params: dict[str, str], field: str) -> None:
    operator = await exchange.api.client("platform_operator")
    answer = await operator.get("/v1/calls", params)
    assert (400 <= answer.status_code < 500, answer.json()["field"]) == (True, field)


async def test_a_tenant_sees_its_own_calls_and_no_others(exchange: Exchange) -> None:
    ours, theirs = await exchange.add_tenant(), await exchange.add_tenant()
    record = call_record(theirs.tenant_id)
    await exchange.report(call_record(ours.tenant_id))
    await exchange.report(record)
    viewer = await exchange.api.client("tenant_viewer", ours.tenant_id)
    operator = await exchange.api.client("platform_operator")
    leg = f"/v1/calls/{record['variables']['uuid']}"
    assert {call["tenant_id"] for call in (await viewer.get("/v1/calls")).json()["items"]} == {ours.tenant_id}
    assert (await viewer.get("/v1/calls", {"tenant_id": theirs.tenant_id})).status_code == 404
    assert (await viewer.get(leg)).status_code == 404
    assert (await operator.get(leg)).json()["tenant_id"] == theirs.tenant_id
    assert len((await operator.get("/v1/calls")).json()["items"]) == 2
    assert len((await operator.get("/v1/calls", {"tenant_id": theirs.tenant_id})).json()["items"]) == 1


async def test_operators_see_what_was_set_aside_and_how_much(exchange: Exchange) -> None:
    for number in range(3):
        await exchange.report(f"nonsense {number} \ud7ff".encode())
    operator = await exchange.api.client("platform_operator")
    page = (await operator.get("/v1/set-aside-records", {"limit": 2})).json()
    assert (len(page["items"]), page["unresolved"]) == (2, 3)
    assert page["items"][0]["body"] == "nonsense 2 \ud7ff"
    rest = (await operator.get("/v1/set-aside-records", {"limit": 2, "after": page["next"]})).json()
    assert (len(rest["items"]), rest["next"]) == (1, None)
    assert (await operator.get("/v1/set-aside-records", {"resolved": "true"})).json()["items"] == []


async def test_tenants_do_not_see_what_was_set_aside(exchange: Exchange) -> None:
    admin = await exchange.api.client("tenant_admin", (await exchange.add_tenant()).tenant_id)
    assert (await admin.get("/v1/set-aside-records")).status_code == 403
    assert (await admin.post("/v1/set-aside-records/rec_x/retry")).status_code == 403
    finance = await exchange.api.client("finance")
    assert (await finance.get("/v1/set-aside-records")).status_code == 200
    assert (await finance.post("/v1/set-aside-records/rec_x/retry")).status_code == 403
