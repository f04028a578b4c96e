"""Refused calls of nobody's are counted; records set aside are put away for a reason and forgotten in time."""

from __future__ import annotations

import json
import uuid
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from infra.kit import clock
from infra.kit.database import Scope
from infra.kit.jobs import Runtime
from infra.kit.models import AuditEntry
from switch import jobs as switch_jobs
from switch import set_aside_records, stray_calls
from switch.completeness import listing, reconciling
from switch.completeness.listing import HourFilter
from switch.completeness.models import SeenLeg
from switch.models import SetAsideRecord, StrayCall
from switch.record_import import Imported, import_directory
from tests.api import Api, Caller
from tests.switch.exchange import Exchange, call_record
from tests.tenancy.people_world import joined, quick_passwords

NINE = datetime.fromisoformat("2026-07-01T09:00:00+08:00")
NOBODYS = "8621509999"


@pytest.fixture
async def exchange(api: Api) -> Exchange:
    exchange = await Exchange(api).open()
    clock.travel_to(NINE + timedelta(minutes=20))
    return exchange


@pytest.fixture
async def operator(exchange: Exchange) -> Caller:
    return await exchange.api.client("platform_operator")


def stray(number: str = NOBODYS, *, reason: str = "unknown_number", **variables: str) -> dict[str, Any]:
    """The record of a call from outside that was refused before it was any tenant's."""
    told = {"seatline_destination": number, "seatline_refusal": reason} | variables
    record = call_record("", direction="inbound", milliseconds=0, began_at=NINE, **told)
    del record["variables"]["seatline_tenant"]
    return record


async def listed(operator: Caller, **narrowed: str) -> list[tuple[Any, ...]]:
    answer = await operator.get("/v1/stray-calls", narrowed)
    assert answer.status_code == 200
    return [
        (*(each[name] for name in ("node", "hour", "reason", "number")), each["times"])
        for each in answer.json()["items"]
    ]


async def test_calls_to_numbers_that_nobody_has_are_counted_and_nothing_is_set_aside(
    exchange: Exchange, operator: Caller
) -> None:
    for node, number in (("node-1", NOBODYS), ("node-1", NOBODYS), ("node-2", NOBODYS), ("node-1", "+1900\x00\n" * 90)):
        assert (await exchange.report(stray(number), node=node)).status_code == 200
    await exchange.report(stray("8613800138000", reason="unknown_gateway"))
    assert await exchange.set_aside() == []
    hour = "2026-07-01T09"
    assert await listed(operator) == [
        ("node-1", hour, "unknown_gateway", "8613800138000", 1),
        ("node-1", hour, "unknown_number", ("+1900" * 90)[1:33], 1),
        ("node-2", hour, "unknown_number", NOBODYS, 1),
        ("node-1", hour, "unknown_number", NOBODYS, 2),
    ]
    assert await listed(operator, node="node-2", reason="unknown_number") == [
        ("node-2", hour, "unknown_number", NOBODYS, 1)
    ]
    assert await exchange.to_rate() == []


@pytest.mark.parametrize(
    "variables",
    [
        {"seatline_refusal": "because"},
        {"seatline_refusal": ""},
        {"answer_uepoch": str(int(NINE.timestamp()) * 1_000_000)},
    ],
)
async def test_what_was_answered_or_refused_for_no_reason_of_ours_is_set_aside(
    exchange: Exchange, operator: Caller, variables: dict[str, str]
) -> None:
    record = stray()
    record["variables"] |= variables
    await exchange.report(record)
    assert await listed(operator) == []
    assert len(await exchange.set_aside()) == 1


async def test_different_numbers_of_an_hour_are_bounded(
    exchange: Exchange, operator: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stray_calls, "NUMBERS_AN_HOUR", 2)
    for number in ("1", "2", "3", "4", "2"):
        await exchange.report(stray(number))
    assert [(each[3], each[4]) for each in await listed(operator)] == [("", 2), ("2", 2), ("1", 1)]


async def test_its_session_is_explained_and_the_same_record_again_counts_once(
    exchange: Exchange, operator: Caller, tmp_path: Path
) -> None:
    boot_id = str(uuid.uuid4())
    seen = SeenLeg(
        boot_id=boot_id, leg_id=str(uuid.uuid4()), session_number=2, owner_id=None, direction="inbound", caller="",
        destination=NOBODYS, started_at=NINE, answered_at=None, ended_at=None, is_void=False,
    )  # fmt: skip
    async with exchange.api.database.transaction(Scope.platform()) as session:
        session.add(seen)
    both = [stray(session_id="1"), stray(session_id="2", uuid=seen.leg_id)]
    for record in both * 2:
        record["core-uuid"] = boot_id
        await exchange.report(record)
        (tmp_path / f"{record['variables']['uuid']}.cdr.json").write_text(json.dumps(record))
    assert await import_directory(exchange.api.database, tmp_path, file_limit_bytes=100_000) == Imported(stray=2)
    assert [each[4] for each in await listed(operator)] == [2]
    clock.travel_to(NINE + timedelta(hours=2))
    assert await reconciling.reconcile(exchange.api.database) == 0
    async with exchange.api.database.transaction(Scope.platform()) as session:
        [hour], _ = await listing.list_hours(session, HourFilter(), limit=10)
    assert (hour.started, hour.explained, hour.missing, hour.state) == (2, 2, 0, "complete")


async def test_an_operators_person_sees_numbers_that_nobody_has_and_of_others_the_last_digits(
    exchange: Exchange, operator: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick_passwords(monkeypatch)
    for reason in ("unknown_number", "switch_away"):
        await exchange.report(stray("8621509999", reason=reason))
    person = await joined(exchange.api, operator, "ops@platform.example", role="platform_operator")
    shown = (await person.get("/v1/stray-calls")).json()["items"]
    assert {each["reason"]: each["number"] for each in shown} == {
        "unknown_number": "8621509999",
        "switch_away": "*******999",
    }
    finance = await exchange.api.client("finance")
    assert (await finance.get("/v1/stray-calls")).status_code == 200
    renter = await exchange.add_tenant()
    admin = await exchange.api.client("tenant_admin", renter.tenant_id)
    assert (await admin.get("/v1/stray-calls")).status_code == 403


async def test_an_old_row_of_such_a_call_is_counted_by_a_retry(exchange: Exchange, operator: Caller) -> None:
    async with exchange.api.database.transaction(Scope.platform()) as session:
        await set_aside_records.set_aside(
            session, "node-1", json.dumps(stray()).encode(), "seatline_tenant: is missing."
        )
    (aside,) = await exchange.set_aside()
    for _ in range(2):
        done = await operator.post(f"/v1/set-aside-records/{aside.record_id}/retry")
        assert (done.status_code, done.json()["resolved_at"] is not None) == (200, True)
    assert [each[4] for each in await listed(operator)] == [1]


async def test_a_record_is_put_away_for_a_reason_and_stays_so(exchange: Exchange, operator: Caller) -> None:
    await exchange.report(b"nonsense")
    (aside,) = await exchange.set_aside()
    path = f"/v1/set-aside-records/{aside.record_id}"
    for reason in ("", " ", "x" * 201):
        refused = await operator.post(f"{path}/dismissal", {"reason": reason})
        assert (refused.status_code, refused.json()["field"]) == (422, "reason")
    for reason in ("a carrier's test", "another word"):
        done = await operator.post(f"{path}/dismissal", {"reason": reason})
        assert (done.status_code, done.json()["dismissed_reason"]) == (200, "a carrier's test")
    assert (await operator.get("/v1/set-aside-records")).json()["unresolved"] == 0
    await exchange.report(b"nonsense")
    [shown] = (await operator.get("/v1/set-aside-records", {"resolved": "true"})).json()["items"]
    assert (shown["times_received"], shown["dismissed_reason"]) == (2, "a carrier's test")
    retried = await operator.post(f"{path}/retry")
    assert (retried.status_code, "a carrier's test" in retried.json()["detail"]) == (409, True)
    assert (await operator.post("/v1/set-aside-records/rec_none/dismissal", {"reason": "why"})).status_code == 404
    finance = await exchange.api.client("finance")
    assert (await finance.post(f"{path}/dismissal", {"reason": "why"})).status_code == 403
    async with exchange.api.database.transaction(Scope.platform()) as session:
        kept = (await session.execute(select(AuditEntry).where(AuditEntry.action == "call_record.dismissed"))).scalars()
        [entry] = kept
    assert (entry.actor, entry.facts["reason"]) == (operator.client_id, "a carrier's test")


async def test_what_is_resolved_is_forgotten_in_time_and_what_waits_is_kept(
    exchange: Exchange, operator: Caller
) -> None:
    boot_id = str(uuid.uuid4())
    await exchange.report(stray())
    for number in ("1", "2"):
        strange = stray(session_id=number, seatline_refusal="because") | {"core-uuid": boot_id}
        await exchange.report(strange)
    await exchange.report(b"nonsense")
    for aside in (await exchange.set_aside())[:2]:
        await operator.post(f"/v1/set-aside-records/{aside.record_id}/dismissal", {"reason": "a test"})
    runtime = Runtime(exchange.api.database, exchange.api.settings)

    async def after(time: timedelta) -> tuple[int, list[bool]]:
        clock.travel_to(NINE + time)
        await switch_jobs.forget_records(runtime)
        async with exchange.api.database.transaction(Scope.platform()) as session:
            strays = len((await session.execute(select(StrayCall))).scalars().all())
            kept = (await session.execute(select(SetAsideRecord).order_by(SetAsideRecord.record_id))).scalars()
            return strays, [row.body != b"" for row in kept]

    assert await after(set_aside_records.CONTENT_KEPT - timedelta(minutes=10)) == (1, [True, True, True])
    assert await after(set_aside_records.CONTENT_KEPT + timedelta(hours=1)) == (0, [False, False, True])
    assert await after(set_aside_records.RECORD_KEPT + timedelta(hours=1)) == (0, [True])
