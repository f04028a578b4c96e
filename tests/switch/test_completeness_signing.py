"""Signing hours off: what may be signed, what a signature covers, and what opens an hour again."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from sqlalchemy import select

from infra.kit import clock
from infra.kit.database import Scope
from infra.kit.problems import InvalidInput
from switch.completeness import counting, reconciling, signing
from switch.completeness.errors import HourReconciled, HourStillCounted, HourUnknown
from switch.completeness.models import NodeBoot, StartedHour
from tests.api import Api
from tests.switch.counted import JULY, NINE, Counted, figures


@pytest.fixture
async def counted(api: Api) -> Counted:
    return await Counted.open(api)


async def test_an_hour_whose_calls_still_run_cannot_be_signed(counted: Counted) -> None:
    await counted.begins(3, NINE)
    await counted.reports(1)
    await counted.sees(3)
    clock.travel_to(NINE + timedelta(hours=2))
    assert [figures(hour) for hour in await counted.hours()] == [(3, 1, 0, 1, 1, "counting")]
    with pytest.raises(HourStillCounted):
        await counted.sign_off()
    assert [(hour.state, hour.is_short) for hour in await counted.unreconciled()] == [("counting", True)]
    # The call ends without a record: now all of it is known, and a signature covers all of it.
    await counted.exchange.change_node("node-1", state="dead")
    assert [figures(hour) for hour in await counted.unreconciled()] == [(3, 1, 0, 0, 2, "incomplete")]
    assert (await counted.sign_off()).state == "signed_off"
    assert await counted.unreconciled() == []


async def test_an_hour_of_which_another_boot_still_has_calls_cannot_be_signed(counted: Counted) -> None:
    await counted.begins(1, NINE)
    again = Counted(counted.exchange, counted.renter)
    await again.begins(1, NINE + timedelta(minutes=20))
    await again.sees(1)
    clock.travel_to(NINE + timedelta(hours=2))
    assert [figures(hour) for hour in await counted.hours()] == [(2, 0, 0, 1, 1, "counting")]
    with pytest.raises(HourStillCounted):
        await counted.sign_off()
    await again.reports(1)
    assert (await counted.sign_off()).state == "signed_off"


async def test_a_month_does_not_close_over_an_hour_without_a_signature_that_covers_it(counted: Counted) -> None:
    await counted.begins(2, NINE)
    clock.travel_to(NINE + timedelta(hours=2))
    assert [hour.missing for hour in await counted.unreconciled()] == [2]
    signed = await counted.sign_off()
    assert (signed.state, signed.missing) == ("signed_off", 2)
    assert signed.sign_off is not None
    assert signed.sign_off.reason == "the disk of the node was lost"
    assert await counted.unreconciled() == []
    # More is missing than was signed for.
    await counted.exchange.change_node("node-1", state="dead")
    await counted.reports(5)
    assert [hour.missing for hour in await counted.unreconciled()] == [4]
    assert (await counted.sign_off(reason="those as well")).state == "signed_off"
    assert await counted.unreconciled() == []


async def test_a_signature_covers_the_calls_that_it_was_given_for_and_no_others(counted: Counted) -> None:
    await counted.begins(3, NINE)
    await counted.reports(1)
    await counted.exchange.change_node("node-1", state="dead")
    clock.travel_to(NINE + timedelta(hours=2))
    assert (await counted.sign_off()).missing == 2
    # Both came. As many others are missing, of which it only turns out now that they began.
    await counted.reports(2, 3, 6)
    assert [(hour.missing, hour.unsigned) for hour in await counted.unreconciled()] == [(2, 2)]
    assert [hour.state for hour in await counted.hours()] == ["incomplete"]
    assert (await counted.sign_off(reason="those as well")).state == "signed_off"
    assert await counted.unreconciled() == []


async def test_a_record_that_comes_late_makes_no_room_for_another_call_under_the_signature(counted: Counted) -> None:
    await counted.begins(3, NINE)
    await counted.reports(1)
    await counted.exchange.change_node("node-1", state="dead")
    clock.travel_to(NINE + timedelta(hours=2))
    await counted.sign_off()
    await counted.reports(5)
    assert [(hour.missing, hour.unsigned) for hour in await counted.unreconciled()] == [(3, 1)]
    await counted.reports(2)
    assert [(hour.missing, hour.unsigned) for hour in await counted.unreconciled()] == [(2, 1)]
    await counted.reports(4)
    assert await counted.unreconciled() == []
    assert [(hour.missing, hour.state) for hour in await counted.hours()] == [(1, "signed_off")]


async def test_what_is_signed_is_counted_anew_and_never_passed_over(counted: Counted) -> None:
    await counted.begins(5, NINE)
    await counted.reports(1)
    clock.travel_to(NINE + timedelta(hours=2))
    assert [hour.missing for hour in await counted.hours()] == [4]
    await counted.reports(2, 3, 4)
    async with counted.database.transaction(Scope.platform()) as other:
        await other.execute(select(StartedHour).with_for_update())
        signing_off = asyncio.create_task(counted.sign_off())
        await asyncio.wait([signing_off], timeout=0.3)
        assert not signing_off.done()
    signed = await signing_off
    assert signed.sign_off is not None
    assert (signed.missing, signed.sign_off.missing) == (1, 1)


async def test_no_signed_hour_hides_an_unsigned_one_however_many_there_are(counted: Counted) -> None:
    boots = {node: str(uuid.uuid4()) for node in ("node-1", "node-2")}
    async with counted.database.transaction(Scope.platform()) as session:
        for node, boot_id in boots.items():
            boot = NodeBoot(boot_id=boot_id, node=node, first_seen_at=NINE, last_number=540, is_watched=True)
            boot.counted_at = datetime.fromisoformat("2026-08-02T09:00:00+08:00")
            session.add(boot)
            for index in range(540):
                hour = clock.local_midnight(JULY) + timedelta(hours=index)
                row = StartedHour(boot_id=boot_id, hour=hour, node=node, state=counting.COUNTING, observed_from=hour)
                row.first_number = row.last_number = index + 1
                row.accepted = row.explained = row.running = 0
                session.add(row)
    clock.travel_to(datetime.fromisoformat("2026-08-02T09:00:00+08:00"))
    async with counted.database.transaction(Scope.platform()) as session:
        found = await reconciling.unreconciled_hours(session, JULY)
        assert (len(found), {hour.state for hour in found}) == (1_080, {"incomplete"})
        await signing.sign_hours(session, found[:1_040], "those")
    left = await counted.unreconciled()
    assert [(hour.node, hour.begins_at) for hour in left] == [(hour.node, hour.begins_at) for hour in found[1_040:]]
    assert left[0].begins_at < left[-1].begins_at


@pytest.mark.parametrize(
    ("refused", "prepare", "reason"),
    [
        (HourUnknown, None, "why not"),
        (InvalidInput, None, "  "),
        (InvalidInput, None, "x" * 501),
        (HourStillCounted, lambda: clock.travel_to(NINE + timedelta(minutes=5)), "why not"),
        (HourReconciled, lambda: clock.travel_to(NINE + timedelta(hours=2)), "why not"),
    ],
)
async def test_nothing_is_signed_that_needs_no_signature(
    counted: Counted, refused: type[Exception], prepare: Callable[[], None] | None, reason: str
) -> None:
    if prepare is not None:
        await counted.begins(1, NINE)
        await counted.reports(1)
        prepare()
    with pytest.raises(refused):
        await counted.sign_off(reason=reason)


@pytest.mark.parametrize(
    ("hour", "status"),
    [("2026-07-01T9", 422), ("2026-07-01", 422), ("yesterday", 422), ("0001-01-01T00", 422), ("2026-07-01T10", 404)],
)
async def test_an_hour_that_is_none_is_refused_by_name(counted: Counted, hour: str, status: int) -> None:
    operator = await counted.exchange.api.client("platform_operator")
    answer = await operator.post(f"/v1/completeness/node-1/{hour}/sign-off", {"reason": "lost"})
    assert (answer.status_code, answer.json()["field"]) == (status, "hour")
