"""Call records: stored once, or set aside as they came."""

from __future__ import annotations

import asyncio
import json
import uuid
import zlib
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest

from infra.kit import clock
from infra.kit.database import Scope
from infra.kit.ids import new_id
from switch import cdr, cdr_parsing, set_aside_records
from switch.cdr_parsing import RecordUnreadable
from switch.models import SetAsideRecord
from tests.api import Api
from tests.switch.exchange import RECORDED, Exchange, Renter, call_record

NOW = datetime(2026, 11, 22, tzinfo=UTC)
TENANT = "ten_01k9zq6m2v8d3c4b5a6f7g8h9j"


@pytest.fixture
async def exchange(api: Api) -> Exchange:
    return await Exchange(api).open()


@pytest.fixture
async def renter(exchange: Exchange) -> Renter:
    return await exchange.add_tenant()


def parsed(record: dict[str, Any]) -> cdr_parsing.Record:
    return cdr_parsing.parse(json.dumps(record).encode(), now=NOW)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.mark.parametrize("encode", [str, quote])
def test_no_key_of_a_calls_media_is_kept_and_everything_else_is(encode: Callable[[str], str]) -> None:
    key = "WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz/+=="
    described = f"m=audio 4 RTP/SAVP 0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{key}|2^20\r\na=ptime:20"
    variables = {"switch_r_sdp": encode(described), "other": "in line"}
    kept = cdr_parsing.without_media_keys(json.dumps({"variables": variables}).encode())
    without = {"switch_r_sdp": encode(described).replace(encode(key), "removed")}
    assert json.loads(kept)["variables"] == variables | without
    assert zlib.decompress(cdr.deflated(json.dumps({"variables": variables}).encode())) == kept


def test_a_recorded_gateway_leg_is_read() -> None:
    recorded = json.loads((RECORDED / "gateway-leg.json").read_text())
    recorded["variables"] |= {
        "seatline_tenant": TENANT,
        "seatline_leg": "gateway",
        "seatline_direction": "outbound",
        "seatline_gateway": "carrier",
        "seatline_destination": "8613800138000",
    }
    record = parsed(recorded)
    assert record.leg_id == "328c35b7-0ba9-47a1-af95-7566e4ce4552"
    assert record.other_leg_id == "d614b0fb-64e3-48c7-b9f5-ba2cd5e9450c"
    assert record.started_at == at("2026-11-21T20:55:05.688599+00:00")
    assert record.answered_at == at("2026-11-21T20:55:06.527661+00:00")
    assert (record.caller, record.destination, record.gateway) == ("2001", "8613800138000", "carrier")
    assert record.billable_milliseconds == int(recorded["variables"]["billmsec"])
    assert record.bills
    assert record.month == date(2026, 11, 1)


def test_the_month_is_the_local_one_of_the_answer() -> None:
    # 23:59:59.5 on 31 October in Shanghai begun, answered a second later.
    record = call_record(TENANT, began_at=at("2026-10-31T15:59:59+00:00"))
    assert parsed(record).month == date(2026, 11, 1)
    unanswered = call_record(TENANT, began_at=at("2026-10-31T15:59:59+00:00"), milliseconds=0)
    assert parsed(unanswered).month == date(2026, 10, 1)


@pytest.mark.parametrize(
    ("leg", "direction", "milliseconds", "bills"),
    [
        ("gateway", "outbound", 1, True),
        ("gateway", "outbound", 0, False),
        ("gateway", "inbound", 5_000, False),
        ("gateway", "emergency", 5_000, False),
        ("caller", "outbound", 5_000, False),
        ("seat", "internal", 5_000, False),
    ],
)
def test_what_bills_is_the_answered_leg_towards_the_carrier(
    leg: str, direction: str, milliseconds: int, bills: bool
) -> None:
    record = call_record(TENANT, leg=leg, direction=direction, milliseconds=milliseconds, began_at=NOW)
    assert parsed(record).bills is bills


def test_a_phones_call_that_never_got_a_dialplan_is_an_unanswered_attempt() -> None:
    record = call_record(TENANT, leg="caller", began_at=NOW, milliseconds=0)
    del record["variables"]["seatline_leg"], record["variables"]["seatline_direction"]
    assert (parsed(record).leg, parsed(record).direction) == ("caller", "outbound")


IMPOSSIBLE: list[tuple[str, dict[str, str | None]]] = [
    ("uuid", {"uuid": None}),
    ("uuid", {"uuid": "../../etc/passwd"}),
    ("seatline_tenant", {"seatline_tenant": None}),
    ("seatline_tenant", {"seatline_tenant": "x"}),
    ("seatline_leg", {"seatline_leg": "third"}),
    ("seatline_leg", {"seatline_leg": None, "seatline_direction": None}),
    ("seatline_direction", {"seatline_direction": "sideways"}),
    ("seatline_seat", {"seatline_seat": "seat_x"}),
    ("start_uepoch", {"start_uepoch": None}),
    ("start_uepoch", {"start_uepoch": "yesterday"}),
    ("start_uepoch", {"start_uepoch": "-1"}),
    ("start_uepoch", {"start_uepoch": "0"}),
    ("end_uepoch", {"end_uepoch": "9" * 18}),
    ("end_uepoch", {"end_uepoch": str(int((NOW + timedelta(days=40)).timestamp() * 1e6))}),
    ("start_uepoch", {"end_uepoch": str(int((NOW - timedelta(days=1)).timestamp() * 1e6))}),
    ("end_uepoch", {"start_uepoch": str(int((NOW - timedelta(days=8)).timestamp() * 1e6))}),
    ("billmsec", {"billmsec": None}),
    ("billmsec", {"billmsec": "-5"}),
    ("billmsec", {"billmsec": "3600000"}),
    ("billmsec", {"answer_uepoch": "0"}),
    ("hangup_cause", {"hangup_cause": None}),
    ("seatline_destination", {"seatline_destination": "1\x00"}),
    ("JSON", {"seatline_gateway": "\ud800"}),
]


@pytest.mark.parametrize(("named", "changes"), IMPOSSIBLE)
def test_what_is_missing_or_cannot_be_is_named(named: str, changes: dict[str, str | None]) -> None:
    record = call_record(TENANT, began_at=NOW)
    record["variables"] |= changes
    with pytest.raises(RecordUnreadable, match=named):
        parsed(record)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'{"variables": []}', b"\xff\xfe", b"cdr=", b"cdr=%7B"])
def test_what_is_no_record_is_refused(body: bytes) -> None:
    with pytest.raises(RecordUnreadable):
        cdr_parsing.parse(body, now=NOW)


@pytest.mark.parametrize("nested", [b'{"variables":' * 50_000, b'{"zz":' + b"[" * 100_000])
def test_what_is_nested_too_deeply_is_refused_as_well(nested: bytes) -> None:
    with pytest.raises(RecordUnreadable, match="too deeply"):
        cdr_parsing.parse(nested, now=NOW)


@pytest.mark.parametrize(
    ("number", "kept"), [(b"Jos\xe9", "Jos\ufffd"), (b"9" * 300, "9" * 255), ("ф１２".encode(), "ф１２")]
)
def test_nobody_keeps_a_call_from_being_stored_by_the_number_he_shows(number: bytes, kept: str) -> None:
    record = call_record(TENANT, began_at=NOW - timedelta(hours=1))
    record["callflow"][0]["caller_profile"]["caller_id_number"] = "SHOWN"
    body = json.dumps(record).encode().replace(b"SHOWN", number)
    assert cdr_parsing.parse(body, now=NOW).caller == kept


async def test_nobody_fills_the_records_set_aside_by_what_he_dials(exchange: Exchange, renter: Renter) -> None:
    record = call_record(renter.tenant_id, leg="caller", milliseconds=0, seatline_refusal="unknown_number")
    del record["variables"]["seatline_destination"]
    for flow in record["callflow"]:
        flow["caller_profile"]["destination_number"] = "1" * 300
    await exchange.report(record)
    [leg] = await exchange.stored()
    assert (leg.destination, leg.refusal, await exchange.set_aside()) == ("1" * 255, "unknown_number", [])


async def test_a_record_is_stored_whole_and_put_on_the_work_list(exchange: Exchange, renter: Renter) -> None:
    record = call_record(renter.tenant_id, seatline_seat=renter.seats["1001"])
    assert (await exchange.report(record)).status_code == 200
    (leg,) = await exchange.stored()
    assert (leg.tenant_id, leg.node, leg.seat_id) == (renter.tenant_id, "node-1", renter.seats["1001"])
    assert json.loads(zlib.decompress(leg.body)) == record
    assert await exchange.to_rate() == [record["variables"]["uuid"]]


async def test_a_record_that_comes_again_is_not_stored_again(exchange: Exchange, renter: Renter) -> None:
    record = call_record(renter.tenant_id)
    for _ in range(2):
        assert (await exchange.report(record)).status_code == 200
    answers = await asyncio.gather(*(exchange.report(record) for _ in range(20)))
    assert {answer.status_code for answer in answers} == {200}
    assert len(await exchange.stored()) == len(await exchange.to_rate()) == 1
    assert await exchange.set_aside() == []


async def test_a_record_that_was_rated_meanwhile_does_not_come_back_to_the_work_list(
    exchange: Exchange, renter: Renter
) -> None:
    record = call_record(renter.tenant_id)
    await exchange.report(record)
    await exchange.empty_work_list()
    await exchange.report(record)
    assert await exchange.to_rate() == []


@pytest.mark.parametrize(
    ("content_type", "form"),
    [
        ("application/json", False),
        ("application/x-www-form-urlencoded", False),  # what disable-100-continue makes of it
        ("application/x-www-form-urlencoded", True),
        ("text/plain", False),
    ],
)
async def test_the_body_tells_what_it_is_not_its_content_type(
    exchange: Exchange, renter: Renter, content_type: str, form: bool
) -> None:
    record = call_record(renter.tenant_id, seatline_destination="安心 +%&=")
    body = json.dumps(record, ensure_ascii=False).encode()
    answer = await exchange.report(b"cdr=" + quote(body).encode() if form else body, content_type=content_type)
    assert answer.status_code == 200
    assert [leg.destination for leg in await exchange.stored()] == ["安心 +%&="]


async def test_many_records_at_once_are_all_stored_and_only_the_bad_ones_set_aside(
    exchange: Exchange, renter: Renter
) -> None:
    other = await exchange.add_tenant()
    good = [call_record([renter, other][number % 2].tenant_id) for number in range(60)]
    strangers = [call_record(new_id("ten")) for _ in range(3)]
    bad: list[dict[str, Any] | bytes] = [b"not json", b"{}", *strangers]
    answers = await asyncio.gather(*(exchange.report(record) for record in [*good, *bad]))
    assert {answer.status_code for answer in answers} == {200}
    assert {leg.leg_id for leg in await exchange.stored()} == {record["variables"]["uuid"] for record in good}
    assert len(await exchange.to_rate()) == 60
    assert len(await exchange.set_aside()) == 5


async def test_a_bad_record_is_kept_as_it_came_and_counted(exchange: Exchange) -> None:
    for _ in range(3):
        assert (await exchange.report(b'{"variables": {"uuid": "\xff"}}')).status_code == 200
    (record,) = await exchange.set_aside()
    assert (record.body, record.times_received, record.node) == (b'{"variables": {"uuid": "\xff"}}', 3, "node-1")
    assert record.resolved_at is None


async def test_a_record_the_database_refuses_fails_alone(
    exchange: Exchange, renter: Renter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cdr_parsing, "_text", lambda _, value: value)  # a check that we forgot
    records = [call_record(renter.tenant_id) for _ in range(5)]
    records.append(call_record(renter.tenant_id, hangup_cause="NORMAL\x00CLEARING"))
    answers = await asyncio.gather(*(exchange.report(record) for record in records))
    assert {answer.status_code for answer in answers} == {200}
    assert len(await exchange.stored()) == 5
    (aside,) = await exchange.set_aside()
    assert "The database refuses the record" in aside.problem


async def test_the_address_of_the_request_must_name_the_leg(exchange: Exchange, renter: Renter) -> None:
    record = call_record(renter.tenant_id)
    await exchange.report(record, query=f"?uuid={uuid.uuid4()}")
    assert (await exchange.stored(), len(await exchange.set_aside())) == ([], 1)
    await exchange.report(record, query=f"?uuid={record['variables']['uuid']}")
    assert len(await exchange.stored()) == 1


async def test_a_stranger_can_store_and_set_aside_nothing(exchange: Exchange, renter: Renter) -> None:
    exchange.secrets["node-9"] = "guessed"
    for body in (call_record(renter.tenant_id), b"nonsense"):
        answer = await exchange.report(body, node="node-9")
        assert (answer.status_code, answer.json()["code"]) == (401, "node_not_signed_in")
    await exchange.change_node("node-1", state="left")
    assert (await exchange.report(call_record(renter.tenant_id))).status_code == 401
    assert (await exchange.stored(), await exchange.set_aside()) == ([], [])


async def test_a_record_beyond_the_limit_is_refused(exchange: Exchange) -> None:
    answer = await exchange.report(b" " * (exchange.api.settings.record_limit_bytes + 1))
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


async def test_an_emergency_call_is_recorded_and_not_charged(exchange: Exchange, renter: Renter) -> None:
    await exchange.suspend(renter)
    record = call_record(renter.tenant_id, direction="emergency", seatline_destination="110")
    assert (await exchange.report(record)).status_code == 200
    assert [leg.direction for leg in await exchange.stored()] == ["emergency"]
    assert await exchange.to_rate() == []


async def test_a_record_set_aside_for_its_tenant_is_stored_by_a_retry(exchange: Exchange, renter: Renter) -> None:
    operator = await exchange.api.client("platform_operator")
    record = call_record("ten_0000000000000000000000000a")
    await exchange.report(record)
    (aside,) = await exchange.set_aside()
    path = f"/v1/set-aside-records/{aside.record_id}/retry"
    refused = await operator.post(path)
    assert (refused.status_code, refused.json()["code"]) == (409, "record_not_stored")
    async with exchange.api.database.transaction(Scope.platform()) as session:
        kept = await session.get_one(SetAsideRecord, aside.record_id)
        kept.body = kept.body.replace(b"ten_0000000000000000000000000a", renter.tenant_id.encode())
    for _ in range(2):
        done = await operator.post(path)
        assert (done.status_code, done.json()["resolved_at"] is not None) == (200, True)
    assert await exchange.to_rate() == [record["variables"]["uuid"]]
    async with exchange.api.database.transaction(Scope.platform()) as session:
        assert await set_aside_records.count_set_aside(session) == 0
    assert (await operator.post("/v1/set-aside-records/rec_nothing/retry")).status_code == 404


async def test_a_retry_of_what_cannot_be_read_says_why(exchange: Exchange) -> None:
    operator = await exchange.api.client("platform_operator")
    await exchange.report(b"nonsense")
    (aside,) = await exchange.set_aside()
    refused = await operator.post(f"/v1/set-aside-records/{aside.record_id}/retry")
    assert (refused.status_code, "not the JSON of a call record" in refused.json()["detail"]) == (409, True)


@pytest.mark.parametrize("ahead", [timedelta(minutes=6), timedelta(hours=20), timedelta(days=3)])
async def test_a_record_from_the_future_is_set_aside_and_never_charged(
    exchange: Exchange, renter: Renter, ahead: timedelta
) -> None:
    clock.travel_to(NOW)
    operator = await exchange.api.client("platform_operator")
    await exchange.report(call_record(renter.tenant_id, began_at=NOW + ahead))
    (aside,) = await exchange.set_aside()
    assert "start_uepoch" in aside.problem
    # It was the future when it came; that the time has come since makes it no truer.
    clock.travel_to(NOW + ahead + timedelta(hours=1))
    operator = await exchange.api.client("platform_operator")
    retried = await operator.post(f"/v1/set-aside-records/{aside.record_id}/retry")
    assert (retried.status_code, "start_uepoch" in retried.json()["detail"]) == (409, True)
    assert await exchange.to_rate() == []


async def test_a_node_whose_clock_runs_a_little_ahead_is_believed(exchange: Exchange, renter: Renter) -> None:
    await exchange.report(call_record(renter.tenant_id, began_at=clock.now() + timedelta(minutes=4)))
    assert (len(await exchange.to_rate()), await exchange.set_aside()) == (1, [])
