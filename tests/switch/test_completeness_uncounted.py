"""Hours that nobody counted to their end: they hold up the month, are listed like others, and can be signed."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from infra.kit import clock
from tests.api import Api, Caller
from tests.switch.counted import NINE, Counted, figures

LAST = datetime.fromisoformat("2026-07-31T22:30:00+08:00")
END = datetime.fromisoformat("2026-08-01T00:00:00+08:00")


@pytest.fixture
async def counted(api: Api) -> Counted:
    return await Counted.open(api)


async def test_a_month_does_not_close_while_a_node_in_service_was_not_counted_to_its_end(counted: Counted) -> None:
    clock.travel_to(LAST)
    await counted.begins(1, LAST)
    await counted.reports(1, at=LAST)
    clock.travel_to(END + timedelta(minutes=1))
    assert [(hour.begins_at, hour.state, hour.is_short) for hour in await counted.unreconciled()] == [
        (END - timedelta(hours=1), "counting", False),
    ]
    clock.travel_to(END + timedelta(hours=1))
    (hour,) = await counted.unreconciled()
    assert (hour.node, hour.begins_at, hour.observed_from) == ("node-1", END - timedelta(hours=1), LAST)
    assert (figures(hour), hour.is_short) == ((0, 0, 0, 0, 0, "uncounted"), True)
    assert (await counted.sign_off(hour.begins_at, "its disk was lost")).state == "signed_off"
    assert await counted.unreconciled() == []
    # A record tells of calls that nobody counted: the signature does not cover those.
    await counted.reports(3, at=LAST + timedelta(minutes=50))
    assert [figures(hour) for hour in await counted.unreconciled()] == [(2, 1, 0, 0, 1, "uncounted")]
    # Its supervisor is back: what began unseen is told by the count, in the month in which it may have begun.
    await counted.begins(5, END + timedelta(hours=1), previous_at=LAST)
    clock.travel_to(END + timedelta(hours=3))
    assert [(hour.missing, hour.state) for hour in await counted.unreconciled()] == [
        (1, "incomplete"),
        (2, "incomplete"),
    ]
    await counted.reports(2, 4, 5, at=LAST)
    assert await counted.unreconciled() == []


async def test_a_node_that_is_heard_after_the_month_holds_it_up_no_more(counted: Counted) -> None:
    await counted.begins(1, NINE)
    await counted.reports(1)
    clock.travel_to(END + timedelta(hours=1))
    assert [hour.state for hour in await counted.unreconciled()] == ["uncounted"]
    await counted.begins(1, END)
    assert await counted.unreconciled() == []


async def listed(caller: Caller, **narrowed: Any) -> list[tuple[str, str, str, int]]:
    """Every page of the list, two hours a page."""
    found: list[tuple[str, str, str, int]] = []
    after: dict[str, str] = {}
    while True:
        answer = await caller.get("/v1/completeness", {"limit": 2} | narrowed | after)
        assert answer.status_code == 200, answer.text
        page = answer.json()
        assert len(page["items"]) <= 2
        found += [(item["hour"], item["node"], item["state"], item["missing"]) for item in page["items"]]
        if page["next"] is None:
            return found
        after = {"after": page["next"]}


async def test_it_is_listed_like_other_hours_and_signed_the_same_way(counted: Counted) -> None:
    clock.travel_to(LAST)
    await counted.begins(2, LAST)
    await counted.reports(1, at=LAST)
    await counted.exchange.change_node("node-2", heartbeat_at=LAST)
    other = Counted(counted.exchange, counted.renter)
    await other.begins(1, LAST, node="node-2")
    await other.reports(1, at=LAST, node="node-2")
    clock.travel_to(END + timedelta(hours=1))
    await counted.hours()
    finance = await counted.exchange.api.client("finance")
    assert await listed(finance) == [
        ("2026-07-31T23", "node-2", "uncounted", 0),
        ("2026-07-31T23", "node-1", "uncounted", 0),
        ("2026-07-31T22", "node-2", "complete", 0),
        ("2026-07-31T22", "node-1", "incomplete", 1),
    ]
    assert await listed(finance, state="uncounted", node="node-1", month="2026-07") == [
        ("2026-07-31T23", "node-1", "uncounted", 0)
    ]
    assert await listed(finance, state="incomplete") == [("2026-07-31T22", "node-1", "incomplete", 1)]
    assert await listed(finance, month="2026-08") == await listed(finance, month="2026-06") == []
    assert await listed(finance, to="2026-07-31T23:00:00+08:00", node="node-2") == [
        ("2026-07-31T22", "node-2", "complete", 0)
    ]
    for node in ("node-1", "node-2"):
        path = f"/v1/completeness/{node}/2026-07-31T23/sign-off"
        signed = await finance.post(path, {"reason": "it was taken away"})
        assert (signed.status_code, signed.json()["state"]) == (200, "signed_off")
        assert signed.json()["observed_from"] == "2026-07-31T14:30:00Z"
    assert await listed(finance, state="uncounted") == []
    assert [each[:2] for each in await listed(finance, state="signed_off")] == [
        ("2026-07-31T23", "node-2"), ("2026-07-31T23", "node-1"),
    ]  # fmt: skip
    assert [hour.key for hour in await counted.unreconciled()] == [(END - timedelta(hours=2), "node-1")]


async def test_what_a_record_tells_of_it_is_in_the_list_and_in_the_signature(counted: Counted) -> None:
    clock.travel_to(LAST)
    await counted.begins(1, LAST)
    await counted.reports(1, at=LAST)
    clock.travel_to(END + timedelta(hours=1))
    await counted.reports(4, at=END - timedelta(minutes=10))
    await counted.hours()
    finance = await counted.exchange.api.client("finance")
    (shown,) = (await finance.get("/v1/completeness", {"state": "uncounted"})).json()["items"]
    assert (shown["hour"], shown["started"], shown["accepted"], shown["missing"]) == ("2026-07-31T23", 3, 1, 2)
    assert await listed(finance, state="incomplete") == []
    assert [figures(hour) for hour in await counted.unreconciled()] == [(3, 1, 0, 0, 2, "uncounted")]
    signed = await counted.sign_off(END - timedelta(hours=1))
    assert signed.sign_off is not None
    assert (signed.state, signed.sign_off.missing) == ("signed_off", 2)
    assert await counted.unreconciled() == []


async def test_every_month_that_ended_since_a_node_was_heard_has_one_however_long_ago_that_is(counted: Counted) -> None:
    await counted.begins(1, LAST)
    await counted.reports(1, at=NINE)
    clock.travel_to(datetime.fromisoformat("2027-03-05T09:00:00+08:00"))
    await counted.hours()
    finance = await counted.exchange.api.client("finance")
    expected = ["2027-02-28T23", "2027-01-31T23", "2026-12-31T23", "2026-11-30T23", "2026-10-31T23", "2026-09-30T23"]
    expected += ["2026-08-31T23", "2026-07-31T23"]
    assert [each[0] for each in await listed(finance, state="uncounted")] == expected
    assert [each[0] for each in await listed(finance)] == [*expected, "2026-07-31T22"]
    await counted.exchange.change_node("node-1", state="dead")
    assert await listed(finance, state="uncounted") == []


async def test_a_node_that_was_never_heard_and_never_counted_has_none(counted: Counted) -> None:
    clock.travel_to(END + timedelta(hours=1))
    finance = await counted.exchange.api.client("finance")
    assert await listed(finance) == []
    answer = await finance.post("/v1/completeness/node-1/2026-07-31T23/sign-off", {"reason": "why not"})
    assert (answer.status_code, answer.json()["code"]) == (404, "hour_not_found")


@pytest.mark.parametrize(
    "narrowed",
    [{"state": "counted"}, {"state": ""}, {"month": "2026-7"}, {"month": "9999-12"}, {"month": "july"}, {"after": "x"}],
)
async def test_what_narrows_nothing_is_refused_by_name(counted: Counted, narrowed: dict[str, str]) -> None:
    finance = await counted.exchange.api.client("finance")
    answer = await finance.get("/v1/completeness", narrowed)
    assert (answer.status_code, answer.json()["field"]) == (422, *narrowed)
