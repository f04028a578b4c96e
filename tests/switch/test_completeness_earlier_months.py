"""A month waits for the hours of earlier months too; what a person once signed for stays signed."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import pytest

from infra.kit import clock
from infra.kit.database import Scope
from switch.completeness import watching
from switch.completeness.watching import News
from tests.api import Api
from tests.switch.counted import JULY, NINE, Counted, figures

AUGUST = date(2026, 8, 1)
IN_AUGUST = datetime.fromisoformat("2026-08-20T09:00:00+08:00")


@pytest.fixture
async def counted(api: Api) -> Counted:
    return await Counted.open(api)


async def test_a_gap_that_is_found_after_its_month_went_out_holds_up_the_next_one(counted: Counted) -> None:
    clock.travel_to(IN_AUGUST)
    assert await counted.unreconciled(JULY) == []
    # The disk of a node that is gone tells of a run that nobody had watched.
    await counted.exchange.change_node("node-1", state="dead")
    await counted.reports(1, 5, at=NINE)
    clock.travel_to(datetime.fromisoformat("2026-09-01T09:00:00+08:00"))
    [hour] = await counted.unreconciled(AUGUST)
    assert (hour.begins_at, hour.missing, hour.state) == (NINE, 3, "incomplete")
    await counted.sign_off()
    assert await counted.unreconciled(AUGUST) == []


async def test_a_node_that_was_silent_over_an_earlier_month_s_end_holds_up_this_one(counted: Counted) -> None:
    await counted.begins(1, NINE)
    await counted.reports(1)
    clock.travel_to(datetime.fromisoformat("2026-09-01T09:00:00+08:00"))
    ends = [datetime.fromisoformat(f"2026-{month}T23:00:00+08:00") for month in ("07-31", "08-31")]
    assert [(hour.begins_at, hour.state) for hour in await counted.unreconciled(AUGUST)] == [
        (begins_at, "uncounted") for begins_at in ends
    ]
    await counted.sign_off(ends[0])
    assert [hour.begins_at for hour in await counted.unreconciled(AUGUST)] == ends[1:]


async def test_an_hour_that_was_signed_years_ago_lacks_no_more_than_then(counted: Counted) -> None:
    await counted.begins(3, NINE)
    await counted.reports(1)
    async with counted.database.transaction(Scope.platform()) as session:
        await watching.write(session, News(counted.boot_id, void={"given-up": 2}))
    await counted.exchange.change_node("node-1", state="dead")
    clock.travel_to(NINE + timedelta(hours=2))
    signed = await counted.sign_off()
    assert figures(signed) == (3, 1, 1, 0, 1, "signed_off")
    clock.travel_to(NINE + timedelta(days=800))
    assert [figures(hour) for hour in await counted.hours()] == [figures(signed)]
    assert await counted.unreconciled(date(2028, 8, 1)) == []
