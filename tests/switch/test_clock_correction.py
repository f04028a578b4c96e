"""A node's clock ran ahead: a person says by how much, and its calls are kept and charged at their true times."""

from __future__ import annotations

import asyncio
import json
import uuid
from datetime import date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from infra.kit import clock
from infra.kit.database import Scope
from infra.kit.models import AuditEntry
from switch import record_retry
from switch.canary_call import CANARY
from switch.completeness.models import SeenLeg
from tests.api import Api, Caller
from tests.switch.counted import Counted, figures
from tests.switch.exchange import Exchange, Renter, call_record

NOON = datetime.fromisoformat("2026-07-15T12:00:00+08:00")
AHEAD = timedelta(hours=1)
WHY = "its battery was empty"
WRONG_BY_AN_HOUR = {"clock_ahead_seconds": 3_600, "reason": WHY}
MANY = "/v1/set-aside-records/clock-corrections"


@pytest.fixture
async def exchange(api: Api) -> Exchange:
    exchange = await Exchange(api).open()
    clock.travel_to(NOON + timedelta(minutes=1))
    return exchange


@pytest.fixture
async def operator(exchange: Exchange) -> Caller:
    return await exchange.api.client("platform_operator")


@pytest.fixture
async def renter(exchange: Exchange) -> Renter:
    return await exchange.add_tenant()


def fast(tenant_id: str, began_at: datetime = NOON, *, ahead: timedelta = AHEAD, **variables: str) -> dict[str, Any]:
    """The record of a call as a node writes it whose clock runs ahead."""
    record = call_record(tenant_id, began_at=began_at + ahead)
    record["variables"] |= variables
    return record


def of(boot_id: str, number: int, record: dict[str, Any]) -> dict[str, Any]:
    """The record of this leg of a node's run."""
    record["variables"]["session_id"] = str(number)
    return record | {"core-uuid": boot_id}


def window(**changes: Any) -> dict[str, Any]:
    """A correction of what node-1 has sent this hour."""
    return (
        {
            "node": "node-1",
            "received_from": NOON.isoformat(),
            "received_until": (NOON + timedelta(hours=1)).isoformat(),
        }
        | WRONG_BY_AN_HOUR
        | changes
    )


async def waiting(operator: Caller) -> list[dict[str, Any]]:
    """The records that wait, the newest first."""
    return (await operator.get("/v1/set-aside-records")).json()["items"]


async def retried(operator: Caller, aside: dict[str, Any], **changes: Any) -> Any:
    """The answer to a correction of one record."""
    return await operator.post(f"/v1/set-aside-records/{aside['record_id']}/retry", WRONG_BY_AN_HOUR | changes)


async def test_a_record_from_the_future_is_kept_at_its_true_times_and_its_body_as_it_came(
    exchange: Exchange, operator: Caller, renter: Renter
) -> None:
    record = fast(renter.tenant_id)
    await exchange.report(record)
    [aside] = await waiting(operator)
    assert 3_500 < aside["ahead_seconds"] <= 3_600 - 60 + 6, "as far as its end is later than when it came"
    for _ in range(2):
        done = await retried(operator, aside)
        assert (done.status_code, done.json()["corrected_seconds"]) == (200, 3_600)
        assert json.loads(done.json()["body"]) == record
    [leg] = await exchange.stored()
    assert (leg.started_at, leg.answered_at, leg.ended_at) == (
        NOON,
        NOON + timedelta(seconds=1),
        NOON + timedelta(seconds=5, milliseconds=40),
    )
    assert leg.received_at.isoformat() == datetime.fromisoformat(aside["received_at"]).isoformat()
    assert await exchange.to_rate() == [leg.leg_id]
    async with exchange.api.database.transaction(Scope.platform()) as session:
        wanted = select(AuditEntry).where(AuditEntry.action == "call_record.recovered")
        [entry] = (await session.execute(wanted)).scalars()
    assert (entry.object_id, entry.actor) == (aside["record_id"], operator.client_id)
    assert entry.facts == {"leg_id": leg.leg_id, "clock_ahead_seconds": 3_600, "reason": WHY}


async def test_the_month_is_the_true_one(exchange: Exchange, operator: Caller, renter: Renter) -> None:
    clock.travel_to(midnight := datetime.fromisoformat("2026-07-31T23:50:00+08:00"))
    operator = await exchange.api.client("platform_operator")
    await exchange.report(fast(renter.tenant_id, midnight - timedelta(minutes=1)))
    [aside] = await waiting(operator)
    assert (await retried(operator, aside)).status_code == 200
    assert [leg.month for leg in await exchange.stored()] == [date(2026, 7, 1)]


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (3_000, "later than the present"),  # still ten minutes ahead
        (3_600 + 32 * 86_400, "more than 31 days before it came"),
        (2_000_000_000, "between 2020"),
    ],
)
async def test_a_wrong_amount_is_refused_and_the_record_waits_on(
    exchange: Exchange, operator: Caller, renter: Renter, seconds: int, said: str
) -> None:
    await exchange.report(fast(renter.tenant_id))
    [aside] = await waiting(operator)
    refused = await retried(operator, aside, clock_ahead_seconds=seconds)
    assert (refused.status_code, refused.json()["code"]) == (409, "record_not_stored")
    assert said in refused.json()["detail"]
    many = await operator.post(MANY, window(clock_ahead_seconds=seconds))
    assert (many.json()["refused"], many.json()["refusals"][0]["record_id"]) == (1, aside["record_id"])
    assert said in many.json()["refusals"][0]["problem"]
    assert (len(await waiting(operator)), await exchange.stored()) == (1, [])


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"clock_ahead_seconds": 0}, "clock_ahead_seconds"),
        ({"clock_ahead_seconds": -3_600}, "clock_ahead_seconds"),
        ({"clock_ahead_seconds": 2_000_000_001}, "clock_ahead_seconds"),
        ({"clock_ahead_seconds": 1.5}, "clock_ahead_seconds"),
        ({"reason": " "}, "reason"),
        ({"reason": "x" * 201}, "reason"),
    ],
)
async def test_what_is_no_correction_is_refused_by_name(
    exchange: Exchange, operator: Caller, renter: Renter, changes: dict[str, Any], field: str
) -> None:
    await exchange.report(fast(renter.tenant_id))
    [aside] = await waiting(operator)
    for refused in (await retried(operator, aside, **changes), await operator.post(MANY, window(**changes))):
        assert (refused.status_code in (400, 422), refused.json()["field"]) == (True, field)
    assert await exchange.stored() == []


async def test_half_a_correction_is_none(exchange: Exchange, operator: Caller, renter: Renter) -> None:
    await exchange.report(fast(renter.tenant_id))
    [aside] = await waiting(operator)
    path = f"/v1/set-aside-records/{aside['record_id']}/retry"
    bare = await exchange.api.http.post(path, headers=operator.headers)
    assert (bare.status_code, bare.json()["code"]) == (409, "record_not_stored"), "no body at all is none either"
    for half, field in (({"clock_ahead_seconds": 3_600}, "reason"), ({"reason": WHY}, "clock_ahead_seconds")):
        refused = await operator.post(path, half)
        assert (refused.status_code, refused.json()["field"]) == (422, field)


async def test_a_window_is_one(operator: Caller) -> None:
    for changes, field in (
        ({"received_until": NOON.isoformat()}, "received_until"),
        ({"received_from": "2026-07-15T12:00:00"}, "received_from"),
        ({"after": "elsewhere"}, "after"),
    ):
        refused = await operator.post(MANY, window(**changes))
        assert (refused.status_code in (400, 422), refused.json()["field"]) == (True, field)


async def test_nobody_moves_a_call_whose_time_was_right(exchange: Exchange, operator: Caller) -> None:
    await exchange.report(call_record("ten_0000000000000000000000000a", began_at=NOON))
    [aside] = await waiting(operator)
    refused = await retried(operator, aside)
    assert (refused.status_code, "not from the future" in refused.json()["detail"]) == (409, True)
    assert (await operator.post(MANY, window())).json()["refused"] == 0


async def test_all_records_of_a_node_that_came_while_its_clock_ran_ahead_are_corrected_at_once(
    exchange: Exchange, operator: Caller, renter: Renter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record_retry, "PIECE_RECORDS", 3)
    monkeypatch.setattr(record_retry, "CALL_LIMIT_RECORDS", 7)
    ours = [fast(renter.tenant_id, NOON - timedelta(minutes=number)) for number in range(10)]
    for record in ours:
        await exchange.report(record)
    await exchange.report(fast("ten_0000000000000000000000000a"))
    await exchange.report(fast(renter.tenant_id), node="node-2")
    await exchange.report(b"nonsense")
    first = (await operator.post(MANY, window())).json()
    assert (first["stored"], first["refused"]) == (7, 0)
    second = (await operator.post(MANY, window(after=first["next"]))).json()
    assert (second["stored"], second["refused"], second["next"]) == (3, 1, None)
    assert "there is no tenant" in second["refusals"][0]["problem"]
    again = (await operator.post(MANY, window())).json()
    assert (again["stored"], again["known"], again["refused"], again["next"]) == (0, 0, 1, None)
    stored = await exchange.stored()
    assert sorted(leg.started_at for leg in stored) == [NOON - timedelta(minutes=number) for number in range(9, -1, -1)]
    assert len(await exchange.to_rate()) == 10
    assert len(await waiting(operator)) == 3


async def test_only_what_came_in_the_window_is_corrected(exchange: Exchange, operator: Caller, renter: Renter) -> None:
    await exchange.report(fast(renter.tenant_id))
    for changes in (
        {"received_from": (NOON + timedelta(minutes=2)).isoformat()},
        {"received_until": (NOON + timedelta(minutes=1)).isoformat()},
        {"node": "node-2"},
    ):
        assert (await operator.post(MANY, window(**changes))).json()["stored"] == 0
    assert (await operator.post(MANY, window())).json()["stored"] == 1


async def test_copies_of_a_leg_are_one(exchange: Exchange, operator: Caller, renter: Renter) -> None:
    """As the node posted it, and as its disk was read."""
    boot_id = str(uuid.uuid4())
    record = of(boot_id, 1, fast(renter.tenant_id))
    await exchange.report(record)
    await exchange.report(json.dumps(record, ensure_ascii=False).encode() + b"\n")
    assert len(await waiting(operator)) == 2
    # A copy that comes when its times have passed is believed no more than the first.
    clock.travel_to(NOON + timedelta(hours=3))
    operator = await exchange.api.client("platform_operator")
    await exchange.report(json.dumps(record).encode() + b"\n\n")
    await exchange.report(record)
    late, *_ = asides = await waiting(operator)
    assert (len(asides), await exchange.stored()) == (3, [])
    plain = await operator.post(f"/v1/set-aside-records/{late['record_id']}/retry")
    assert (plain.status_code, "later than the present" in plain.json()["detail"]) == (409, True)
    done = (await operator.post(MANY, window())).json()
    assert (done["stored"], done["known"], done["refused"]) == (1, 2, 0)
    assert await waiting(operator) == []
    await exchange.report(json.dumps(record).encode() + b"\n\n\n")
    assert (await waiting(operator), len(await exchange.stored())) == ([], 1)


async def test_copies_corrected_differently_at_once_are_stored_once(
    exchange: Exchange, operator: Caller, renter: Renter
) -> None:
    clock.travel_to(datetime.fromisoformat("2026-08-01T00:01:00+08:00"))
    operator = await exchange.api.client("platform_operator")
    record = of(str(uuid.uuid4()), 1, fast(renter.tenant_id, clock.now() - timedelta(seconds=30)))
    await exchange.report(record)
    await exchange.report(json.dumps(record).encode() + b"\n")
    asides = await waiting(operator)
    # By the one the call was in August, by the other in July.
    answers = await asyncio.gather(
        *(retried(operator, aside, clock_ahead_seconds=3_600 + 600 * n) for n, aside in enumerate(asides))
    )
    assert [answer.status_code for answer in answers] == [200, 200]
    assert (len(await exchange.stored()), len(await exchange.to_rate())) == (1, 1)


async def test_a_copy_of_what_a_person_has_put_away_is_left_to_a_person(
    exchange: Exchange, operator: Caller, renter: Renter
) -> None:
    record = of(str(uuid.uuid4()), 1, fast(renter.tenant_id))
    await exchange.report(record)
    [aside] = await waiting(operator)
    await operator.post(f"/v1/set-aside-records/{aside['record_id']}/dismissal", {"reason": "a carrier's test"})
    await exchange.report(json.dumps(record).encode() + b"\n")
    done = (await operator.post(MANY, window())).json()
    assert (done["stored"], done["refused"]) == (0, 1)
    assert "a carrier's test" in done["refusals"][0]["problem"]


async def test_refused_calls_of_nobodys_are_counted_at_their_true_hour(exchange: Exchange, operator: Caller) -> None:
    record = call_record(
        "", direction="inbound", milliseconds=0, began_at=NOON + AHEAD, seatline_refusal="unknown_number"
    )
    del record["variables"]["seatline_tenant"]
    await exchange.report(record)
    done = (await operator.post(MANY, window())).json()
    assert (done["counted"], done["stored"], await waiting(operator)) == (1, 0, [])
    [stray] = (await operator.get("/v1/stray-calls")).json()["items"]
    assert (stray["hour"], stray["times"]) == ("2026-07-15T12", 1)


async def test_the_canarys_own_calls_are_nobodys_also_when_the_clock_ran_ahead(
    exchange: Exchange, operator: Caller, renter: Renter
) -> None:
    record = of(str(uuid.uuid4()), 1, fast(renter.tenant_id, seatline_extension=CANARY))
    record["variables"] |= {"seatline_leg": "canary", "direction": "inbound"}
    await exchange.report(record)
    assert (await operator.post(MANY, window())).json()["stored"] == 1
    clock.travel_to(NOON + timedelta(hours=3))
    await exchange.report(json.dumps(record).encode() + b"\n")
    operator = await exchange.api.client("platform_operator")
    assert (await waiting(operator), await exchange.stored(), await exchange.to_rate()) == ([], [], [])


async def test_one_record_that_the_database_refuses_does_not_keep_the_others(
    exchange: Exchange, operator: Caller, renter: Renter, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        await exchange.report(fast(renter.tenant_id, hangup_cause="NORMAL\x00" if number == 1 else "NORMAL_CLEARING"))
    monkeypatch.setattr("switch.cdr_parsing._text", lambda _, value: value)  # a check that we forgot
    done = (await operator.post(MANY, window())).json()
    assert (done["stored"], done["refused"]) == (2, 1)
    assert "The database refuses the record" in done["refusals"][0]["problem"]


async def test_the_count_of_a_nodes_calls_stays_true(exchange: Exchange, renter: Renter) -> None:
    counted = Counted(exchange, renter)
    for number, at in ((1, NOON - timedelta(minutes=10)), (3, NOON)):
        await counted.begins(number, at, previous_at=NOON - timedelta(minutes=10))
        await exchange.report(of(counted.boot_id, number, fast(renter.tenant_id)))
    leg_id = await counted.sees(2, started_at=NOON + AHEAD)
    await exchange.report(of(counted.boot_id, 2, fast(renter.tenant_id, uuid=leg_id)))
    clock.travel_to(NOON + timedelta(hours=2))
    both = await counted.hours("node-1")
    assert [figures(hour) for hour in both] == [(2, 0, 2, 0, 0, "complete"), (1, 0, 1, 0, 0, "complete")]
    operator = await exchange.api.client("platform_operator")
    assert (await operator.post(MANY, window())).json()["stored"] == 3
    both = await counted.hours("node-1")
    assert [figures(hour) for hour in both] == [(2, 2, 0, 0, 0, "complete"), (1, 1, 0, 0, 0, "complete")]
    async with exchange.api.database.transaction(Scope.platform()) as session:
        assert (await session.execute(select(SeenLeg))).all() == []


@pytest.mark.parametrize("role", ["finance", "tenant_admin"])
async def test_who_may_not_try_again_may_not_correct(exchange: Exchange, renter: Renter, role: str) -> None:
    caller = await exchange.api.client(role, renter.tenant_id if role == "tenant_admin" else None)
    assert (await caller.post(MANY, window())).status_code == 403
    assert (await caller.post("/v1/set-aside-records/rec_x/retry", WRONG_BY_AN_HOUR)).status_code == 403
