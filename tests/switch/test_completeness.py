"""Completeness: the calls that nodes began against the records that came, hour by hour."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Any

import pytest

from infra.kit import clock
from infra.kit.database import Scope
from infra.kit.ids import new_id
from infra.kit.problems import InvalidInput
from switch.completeness import counting, reconciling, watching
from switch.completeness.counting import SessionCount
from switch.completeness.errors import HourReconciled, HourStillCounted, HourUnknown
from switch.completeness.models import NodeBoot, StartedHour
from switch.completeness.reconciling import Hour
from switch.completeness.watching import Leg, News
from tests.api import Api
from tests.switch.exchange import Exchange, Renter, call_record

NINE = datetime.fromisoformat("2026-07-01T09:00:00+08:00")
JULY = date(2026, 7, 1)


class Counted:
    """A node whose supervisor tells how many sessions it began, and the records of those sessions."""

    def __init__(self, exchange: Exchange, renter: Renter) -> None:
        self.exchange = exchange
        self.renter = renter
        self.database = exchange.api.database
        self.boot_id = str(uuid.uuid4())

    async def begins(
        self, number: int, at: datetime, *, node: str = "node-1", previous_at: datetime | None = None
    ) -> None:
        """By this time the node has begun so many sessions."""
        async with self.database.transaction(Scope.platform()) as session:
            count = SessionCount(self.boot_id, number, at)
            await counting.observe(session, node, count, previous_at=previous_at or at)
        await self.exchange.change_node(node, heartbeat_at=at)

    def record(self, number: int, at: datetime = NINE) -> dict[str, Any]:
        """The call record of one of its sessions."""
        record = call_record(self.renter.tenant_id, began_at=at, session_id=str(number))
        return record | {"core-uuid": self.boot_id}

    async def reports(self, *numbers: int, at: datetime = NINE, node: str = "node-1") -> None:
        """The records of these sessions arrive."""
        for number in numbers:
            assert (await self.exchange.report(self.record(number, at), node=node)).status_code == 200

    async def sees(self, number: int, **words: Any) -> str:
        """The supervisor sees a leg that lasts; returns its id."""
        leg_id = str(uuid.uuid4())
        known: dict[str, Any] = {
            "owner_id": self.renter.tenant_id,
            "direction": "inbound",
            "caller": "1001",
            "destination": "13800138000",
            "started_at": NINE,
        }
        leg = Leg(boot_id=self.boot_id, leg_id=leg_id, session_number=number, **(known | words))
        async with self.database.transaction(Scope.platform()) as session:
            await watching.write(session, News(self.boot_id, begun={leg_id: leg}))
        return leg_id

    async def hours(self, node: str | None = None) -> list[Hour]:
        """The hours as they are counted now, the latest first."""
        async with self.database.transaction(Scope.platform()) as session:
            await reconciling.reconcile(session)
            return await reconciling.list_hours(session, node=node, limit=100)

    async def unreconciled(self, month: date = JULY) -> list[Hour]:
        """What keeps a month from closing."""
        async with self.database.transaction(Scope.platform()) as session:
            return await reconciling.unreconciled_hours(session, month)

    async def sign_off(self, hour: datetime = NINE, reason: str = "the disk of the node was lost") -> Hour:
        """Finance signs."""
        async with self.database.transaction(Scope.platform()) as session:
            return await reconciling.sign_off(session, "node-1", hour, reason)


@pytest.fixture
async def counted(api: Api) -> Counted:
    exchange = await Exchange(api).open()
    clock.travel_to(NINE)
    return Counted(exchange, await exchange.add_tenant())


def figures(hour: Hour) -> tuple[int, int, int, int, int, str]:
    return hour.started, hour.accepted, hour.explained, hour.running, hour.missing, hour.state


async def test_an_hour_is_complete_when_the_record_of_every_session_has_come(counted: Counted) -> None:
    await counted.begins(4, NINE + timedelta(minutes=10))
    await counted.reports(1, 2, 3, 4)
    clock.travel_to(NINE + timedelta(minutes=30))
    assert [figures(hour) for hour in await counted.hours()] == [(4, 4, 0, 0, 0, "counting")]
    assert len(await counted.unreconciled()) == 1
    clock.travel_to(NINE + timedelta(minutes=63))
    assert [figures(hour) for hour in await counted.hours()] == [(4, 4, 0, 0, 0, "complete")]
    assert await counted.unreconciled() == []


async def test_a_record_that_comes_late_closes_its_gap_by_itself(counted: Counted) -> None:
    await counted.begins(3, NINE)
    await counted.reports(1, 3)
    clock.travel_to(NINE + timedelta(hours=2))
    assert [figures(hour) for hour in await counted.hours()] == [(3, 2, 0, 0, 1, "incomplete")]
    await counted.reports(2)
    assert [figures(hour) for hour in await counted.hours()] == [(3, 3, 0, 0, 0, "complete")]


async def test_a_record_that_was_posted_twice_counts_once(counted: Counted) -> None:
    await counted.begins(2, NINE)
    twice = counted.record(1)
    for _ in range(2):
        assert (await counted.exchange.report(twice)).status_code == 200
    clock.travel_to(NINE + timedelta(hours=2))
    assert [figures(hour) for hour in await counted.hours()] == [(2, 1, 0, 0, 1, "incomplete")]


async def test_a_record_that_was_set_aside_is_explained(counted: Counted) -> None:
    await counted.begins(2, NINE)
    await counted.reports(1)
    stranger = counted.record(2) | {}
    stranger["variables"]["seatline_tenant"] = new_id("ten")
    assert (await counted.exchange.report(stranger)).status_code == 200
    clock.travel_to(NINE + timedelta(hours=2))
    assert [figures(hour) for hour in await counted.hours()] == [(2, 1, 1, 0, 0, "complete")]


async def test_a_number_that_the_node_gave_up_is_explained(counted: Counted) -> None:
    await counted.begins(2, NINE)
    await counted.reports(1)
    async with counted.database.transaction(Scope.platform()) as session:
        await watching.write(session, News(counted.boot_id, void={str(uuid.uuid4()): 2}))
    clock.travel_to(NINE + timedelta(hours=2))
    assert [figures(hour) for hour in await counted.hours()] == [(2, 1, 1, 0, 0, "complete")]


async def test_a_record_from_the_future_is_set_aside_and_explained(counted: Counted) -> None:
    await counted.begins(1, NINE)
    await counted.reports(1, at=NINE + timedelta(days=40))
    clock.travel_to(NINE + timedelta(hours=2))
    assert [figures(hour) for hour in await counted.hours()] == [(1, 0, 1, 0, 0, "complete")]
    assert await counted.exchange.to_rate() == []


async def test_a_call_that_still_runs_keeps_its_hour_open_and_is_not_missing(counted: Counted) -> None:
    await counted.begins(2, NINE)
    await counted.reports(1)
    await counted.sees(2)
    clock.travel_to(NINE + timedelta(hours=2))
    assert [figures(hour) for hour in await counted.hours()] == [(2, 1, 0, 1, 0, "counting")]
    await counted.reports(2)
    assert [figures(hour) for hour in await counted.hours()] == [(2, 2, 0, 0, 0, "complete")]


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


async def test_a_month_does_not_close_while_a_node_in_service_was_not_counted_to_its_end(counted: Counted) -> None:
    last = datetime.fromisoformat("2026-07-31T22:30:00+08:00")
    end = datetime.fromisoformat("2026-08-01T00:00:00+08:00")
    clock.travel_to(last)
    await counted.begins(1, last)
    await counted.reports(1, at=last)
    clock.travel_to(end + timedelta(minutes=1))
    assert [(hour.begins_at, hour.state, hour.is_short) for hour in await counted.unreconciled()] == [
        (end - timedelta(hours=1), "counting", False),
    ]
    clock.travel_to(end + timedelta(hours=1))
    (hour,) = await counted.unreconciled()
    assert (hour.node, hour.begins_at, hour.observed_from) == ("node-1", end - timedelta(hours=1), last)
    assert (figures(hour), hour.is_short) == ((0, 0, 0, 0, 0, "uncounted"), True)
    assert (await counted.sign_off(hour.begins_at, "its disk was lost")).state == "signed_off"
    assert await counted.unreconciled() == []
    # A record tells of calls that nobody counted: the signature does not cover those.
    await counted.reports(3, at=last + timedelta(minutes=50))
    assert [figures(hour) for hour in await counted.unreconciled()] == [(2, 1, 0, 0, 1, "uncounted")]
    # Its supervisor is back: what began unseen is told by the count, in the month in which it may have begun.
    await counted.begins(5, end + timedelta(hours=1), previous_at=last)
    clock.travel_to(end + timedelta(hours=3))
    assert [(hour.missing, hour.state) for hour in await counted.unreconciled()] == [
        (1, "incomplete"),
        (2, "incomplete"),
    ]
    await counted.reports(2, 4, 5, at=last)
    assert await counted.unreconciled() == []


async def test_a_node_that_is_heard_after_the_month_holds_it_up_no_more(counted: Counted) -> None:
    await counted.begins(1, NINE)
    await counted.reports(1)
    end = datetime.fromisoformat("2026-08-01T00:00:00+08:00")
    clock.travel_to(end + timedelta(hours=1))
    assert [hour.state for hour in await counted.unreconciled()] == ["uncounted"]
    await counted.begins(1, end)
    assert await counted.unreconciled() == []


async def test_the_calls_of_a_node_that_died_are_missing_with_what_was_seen_of_them(counted: Counted) -> None:
    await counted.begins(3, NINE)
    await counted.reports(1)
    leg_id = await counted.sees(2)
    await counted.exchange.change_node("node-1", state="dead")
    clock.travel_to(NINE + timedelta(hours=2))
    assert [figures(hour) for hour in await counted.hours()] == [(3, 1, 0, 0, 2, "incomplete")]
    operator = await counted.exchange.api.client("platform_operator")
    unseen, seen = (await operator.get("/v1/missing-calls")).json()["items"]
    assert (unseen["session_number"], unseen["leg_id"], unseen["tenant_id"]) == (3, None, None)
    assert seen["hour"] == "2026-07-01T09"
    assert (seen["session_number"], seen["leg_id"], seen["tenant_id"]) == (2, leg_id, counted.renter.tenant_id)
    assert (seen["caller"], seen["destination"], seen["started_at"]) == ("1001", "13800138000", "2026-07-01T01:00:00Z")
    # Its spool comes home: the gap closes, nothing of it is shown any more.
    await counted.reports(2, 3)
    assert [figures(hour) for hour in await counted.hours()] == [(3, 3, 0, 0, 0, "complete")]
    assert (await operator.get("/v1/missing-calls")).json()["items"] == []


async def test_records_tell_of_sessions_that_began_after_the_last_look_at_a_node_that_died(counted: Counted) -> None:
    await counted.begins(1, NINE)
    await counted.exchange.change_node("node-1", state="dead")
    await counted.reports(1, 4)
    clock.travel_to(NINE + timedelta(hours=2))
    assert [figures(hour) for hour in await counted.hours()] == [(4, 2, 0, 0, 2, "incomplete")]


async def test_legs_seen_after_the_last_count_of_a_node_that_died_are_missing_and_shown(counted: Counted) -> None:
    await counted.begins(1, NINE)
    await counted.reports(1)
    leg_id = await counted.sees(3)
    clock.travel_to(NINE + timedelta(hours=1, minutes=30))
    # The node lives: its next count tells, nothing is added to it.
    assert [figures(hour) for hour in await counted.hours()] == [(1, 1, 0, 0, 0, "complete")]
    await counted.exchange.change_node("node-1", state="dead")
    assert [figures(hour) for hour in await counted.hours()] == [(3, 1, 0, 0, 2, "incomplete")]
    assert [hour.missing for hour in await counted.unreconciled()] == [2]
    operator = await counted.exchange.api.client("platform_operator")
    shown = (await operator.get("/v1/missing-calls")).json()["items"]
    assert [(call["session_number"], call["leg_id"]) for call in shown] == [(3, leg_id), (2, None)]
    await counted.reports(2, 3)
    assert await counted.unreconciled() == []


async def test_a_number_given_up_or_set_aside_tells_that_those_before_it_began(counted: Counted) -> None:
    await counted.begins(1, NINE)
    await counted.reports(1)
    async with counted.database.transaction(Scope.platform()) as session:
        await watching.write(session, News(counted.boot_id, void={str(uuid.uuid4()): 3}))
    await counted.exchange.change_node("node-1", state="dead")
    stranger = counted.record(5)
    stranger["variables"]["seatline_tenant"] = new_id("ten")
    clock.travel_to(NINE + timedelta(hours=40))
    assert (await counted.exchange.report(stranger)).status_code == 200
    assert [(hour.begins_at, *figures(hour)) for hour in await counted.hours()] == [
        (NINE, 5, 1, 2, 0, 2, "incomplete"),
    ]


async def test_a_seen_number_that_cannot_be_makes_no_gap(counted: Counted) -> None:
    await counted.begins(1, NINE)
    await counted.reports(1)
    await counted.sees(1_999_999_999)
    await counted.exchange.change_node("node-1", state="dead")
    clock.travel_to(NINE + timedelta(hours=2))
    assert [figures(hour) for hour in await counted.hours()] == [(1, 1, 0, 0, 0, "complete")]


async def test_no_signed_hour_hides_an_unsigned_one_however_many_there_are(counted: Counted) -> None:
    boots = {node: str(uuid.uuid4()) for node in ("node-1", "node-2")}
    async with counted.database.transaction(Scope.platform()) as session:
        for node, boot_id in boots.items():
            session.add(NodeBoot(boot_id=boot_id, node=node, first_seen_at=NINE, last_number=540, is_watched=True))
            for index in range(540):
                hour = clock.local_midnight(JULY) + timedelta(hours=index)
                row = StartedHour(boot_id=boot_id, hour=hour, node=node, state=counting.COUNTING, observed_from=hour)
                row.first_number = row.last_number = index + 1
                row.accepted = row.explained = row.running = 0
                session.add(row)
    clock.travel_to(datetime.fromisoformat("2026-08-02T09:00:00+08:00"))
    for node in boots:
        await counted.exchange.change_node(node, heartbeat_at=clock.now())
    async with counted.database.transaction(Scope.platform()) as session:
        found = await reconciling.unreconciled_hours(session, JULY)
        assert (len(found), {hour.state for hour in found}) == (1_080, {"incomplete"})
        await reconciling.sign_hours(session, found[:1_040], "those")
    left = await counted.unreconciled()
    assert [(hour.node, hour.begins_at) for hour in left] == [(hour.node, hour.begins_at) for hour in found[1_040:]]
    assert left[0].begins_at < left[-1].begins_at


async def test_a_boot_that_nobody_watched_is_known_from_its_records(counted: Counted) -> None:
    await counted.reports(1, 2)
    clock.travel_to(NINE + timedelta(hours=1))
    await counted.reports(3, 5, at=NINE + timedelta(hours=1))
    clock.travel_to(NINE + timedelta(hours=3))
    assert [(hour.begins_at, *figures(hour)) for hour in await counted.hours()] == [
        (NINE + timedelta(hours=1), 3, 2, 0, 0, 1, "incomplete"),
        (NINE, 2, 2, 0, 0, 0, "complete"),
    ]


async def test_a_number_that_cannot_be_makes_no_gap(counted: Counted) -> None:
    await counted.reports(1, 1_999_999_999)
    clock.travel_to(NINE + timedelta(hours=2))
    assert [figures(hour) for hour in await counted.hours()] == [(1, 1, 0, 0, 0, "complete")]


async def test_a_node_that_starts_again_counts_from_one_again(counted: Counted) -> None:
    await counted.begins(2, NINE)
    await counted.reports(1, 2)
    again = Counted(counted.exchange, counted.renter)
    await again.begins(1, NINE + timedelta(minutes=20))
    await again.reports(1)
    clock.travel_to(NINE + timedelta(hours=2))
    assert [figures(hour) for hour in await counted.hours()] == [(3, 3, 0, 0, 0, "complete")]


async def test_hours_are_told_apart_by_the_count_and_a_clock_set_back_mixes_none(counted: Counted) -> None:
    await counted.begins(2, NINE)
    await counted.begins(5, NINE + timedelta(hours=1))
    await counted.begins(6, NINE + timedelta(minutes=5))
    await counted.begins(4, NINE + timedelta(hours=2))
    clock.travel_to(NINE + timedelta(hours=4))
    assert [(hour.begins_at, hour.started) for hour in await counted.hours()] == [
        (NINE + timedelta(hours=1), 4),
        (NINE, 2),
    ]


async def test_calls_counted_after_a_long_silence_hold_up_the_month_they_may_have_begun_in(counted: Counted) -> None:
    first = datetime.fromisoformat("2026-08-01T01:30:00+08:00")
    await counted.begins(1, first, previous_at=first - timedelta(hours=4))
    clock.travel_to(first + timedelta(hours=3))
    assert len(await counted.unreconciled(JULY)) == 1
    assert len(await counted.unreconciled(date(2026, 8, 1))) == 1
    assert await counted.unreconciled(date(2026, 6, 1)) == []


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


async def test_the_list_goes_page_by_page_and_signing_goes_over_the_api(counted: Counted) -> None:
    for index in range(3):
        await counted.begins(index + 1, NINE + timedelta(hours=index))
    other = Counted(counted.exchange, counted.renter)
    await other.begins(1, NINE, node="node-2")
    clock.travel_to(NINE + timedelta(hours=6))
    assert len(await counted.hours()) == 4
    finance = await counted.exchange.api.client("finance")
    seen: list[tuple[str, str]] = []
    after: dict[str, str] = {}
    while True:
        page = (await finance.get("/v1/completeness", {"limit": 1} | after)).json()
        seen += [(item["hour"], item["node"]) for item in page["items"]]
        if page["next"] is None:
            break
        after = {"after": page["next"]}
    assert seen == [
        ("2026-07-01T11", "node-1"),
        ("2026-07-01T10", "node-1"),
        ("2026-07-01T09", "node-2"),
        ("2026-07-01T09", "node-1"),
    ]
    narrowed = {"node": "node-1", "from": "2026-07-01T10:00:00+08:00", "to": "2026-07-01T11:00:00+08:00"}
    (hour,) = (await finance.get("/v1/completeness", narrowed)).json()["items"]
    assert (hour["started"], hour["missing"], hour["state"]) == (1, 1, "incomplete")
    signed = await finance.post("/v1/completeness/node-1/2026-07-01T10/sign-off", {"reason": "lost"})
    assert (signed.status_code, signed.json()["state"]) == (200, "signed_off")
    assert signed.json()["sign_off"]["signed_by"] == finance.client_id
    first, second = [
        (await finance.get("/v1/missing-calls", {"limit": 1} | after)).json()
        for after in ({}, {"after": (await finance.get("/v1/missing-calls", {"limit": 1})).json()["next"]})
    ]
    assert [page["items"][0]["hour"] for page in (first, second)] == ["2026-07-01T11", "2026-07-01T10"]


@pytest.mark.parametrize(
    ("hour", "status"),
    [("2026-07-01T9", 422), ("2026-07-01", 422), ("yesterday", 422), ("0001-01-01T00", 422), ("2026-07-01T10", 404)],
)
async def test_an_hour_that_is_none_is_refused_by_name(counted: Counted, hour: str, status: int) -> None:
    operator = await counted.exchange.api.client("platform_operator")
    answer = await operator.post(f"/v1/completeness/node-1/{hour}/sign-off", {"reason": "lost"})
    assert (answer.status_code, answer.json()["field"]) == (status, "hour")


async def test_a_tenant_sees_nothing_of_it(counted: Counted) -> None:
    tenant = await counted.exchange.api.client("tenant_admin", counted.renter.tenant_id)
    for path in ("/v1/completeness", "/v1/missing-calls", "/v1/call-quality"):
        assert (await tenant.get(path)).status_code == 403
