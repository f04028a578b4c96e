"""The canary's own call: answered by the node itself, nobody's in every list, and no way in for anybody else."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncGenerator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import func, select

from infra.kit import clock
from infra.kit.database import Scope
from switch import accounts, cdr_parsing
from switch.admission import Encryption, Reason, Standing
from switch.canary import Observation, make_call
from switch.canary_call import CANARY_DESTINATION, LEG_CANARY
from switch.cdr_parsing import RecordUnreadable
from switch.completeness import counting, listing, reconciling, watching
from switch.completeness.counting import SessionCount
from switch.completeness.listing import HourFilter
from switch.completeness.models import SeenLeg
from switch.completeness.watching import Leg, LegWatch, News
from switch.documents import dialplan
from switch.ended_calls.models import EndedCall
from switch.esl.frames import Event
from switch.live.legs import LiveLegs
from switch.routing import EMERGENCY_CONTEXT, CanaryRoute, EmergencyRoute, RefusedRoute, route
from switch.sip import policy
from switch.sip.carrier import Carrier
from switch.sip.phone import Phone
from switch.sip.policy import Policy
from switch.sip.transactions import Timers
from tests.api import Api
from tests.switch.builders import TENANT, from_gateway, from_seat, tenant
from tests.switch.exchange import INVITE, Exchange, Renter, call_record
from tests.switch.leg_watching import BOOT, FakeNode, watching_of
from tests.switch.leg_watching import event as told

NINE = datetime.fromisoformat("2026-07-01T09:00:00+08:00")
OWN = {"variable_seatline_extension": "canary"}
QUICK = Timers(t1_seconds=0.05, t2_seconds=0.2, t4_seconds=0.2)


@pytest.fixture
async def exchange(api: Api) -> Exchange:
    return await Exchange(api).open()


@pytest.fixture
async def renter(exchange: Exchange) -> Renter:
    renter = await exchange.add_tenant()
    async with exchange.api.database.transaction(Scope.platform()) as session:
        await accounts.ensure_canary(session, renter.tenant)
    return renter


def own_call(dialled: str = CANARY_DESTINATION, **changes: Any) -> Any:
    return from_seat(dialled, extension="canary", **changes)


def reason_of(outcome: object) -> Reason:
    assert isinstance(outcome, RefusedRoute)
    return outcome.reason


def own_record(renter: Renter, **variables: str) -> dict[str, Any]:
    """A record of the canary's call, of a node that numbers its sessions."""
    record = call_record(renter.tenant_id, leg="canary", direction="internal", began_at=NINE)
    facts = {"seatline_extension": "canary", "seatline_destination": CANARY_DESTINATION, "session_id": "1"}
    record["variables"] |= facts | variables
    return record | {"core-uuid": BOOT}


def test_the_canary_is_answered_by_the_node_itself() -> None:
    document = dialplan("ten_a", route(own_call(), TENANT))
    applications = [part.split('"')[0] for part in document.split('application="')[1:]]
    assert [each for each in applications if each not in ("set", "unset")] == ["answer", "sleep", "hangup"]
    assert "limit" not in document, "no limit of the tenant counts it"
    assert "seatline_leg=canary" in document
    assert "seatline_service=" not in document


@pytest.mark.parametrize(
    ("call", "changes", "reason"),
    [
        (own_call(), {"standing": Standing.SUSPENDED}, Reason.TENANT_SUSPENDED),
        (own_call(context=EMERGENCY_CONTEXT), {}, Reason.TENANT_SUSPENDED),
        (own_call(node="node-2"), {}, Reason.WRONG_NODE),
        (own_call("13800138000"), {}, Reason.DESTINATION_INVALID),
        (own_call("1001"), {}, Reason.DESTINATION_INVALID),
        (own_call(), {"seats": {}}, Reason.UNKNOWN_SEAT),
    ],
)
def test_the_canary_is_refused_as_a_phone_would_be_and_calls_nobody_else(
    call: Any, changes: dict[str, Any], reason: Reason
) -> None:
    outcome = route(call, tenant(**changes))
    assert reason_of(outcome) is reason
    if "seats" not in changes:
        assert "seatline_leg=canary" in dialplan(call.context, outcome), "nor is the refusal the tenant's"


def test_what_phones_must_encrypt_the_canary_need_not() -> None:
    assert isinstance(route(own_call(), tenant(encryption=Encryption.DEMANDED)), CanaryRoute)


def test_emergency_numbers_pass_from_every_account() -> None:
    assert isinstance(route(own_call("110"), TENANT), EmergencyRoute)


@pytest.mark.parametrize(
    "call",
    [
        from_seat(CANARY_DESTINATION),
        from_seat(CANARY_DESTINATION.upper()),
        from_seat("canary"),
        from_gateway(CANARY_DESTINATION),
        replace(from_seat(CANARY_DESTINATION), caller="canary"),
    ],
)
def test_whoever_else_dials_it_gets_an_ordinary_refusal(call: Any) -> None:
    outcome = route(call, TENANT)
    assert reason_of(outcome) in (Reason.DESTINATION_INVALID, Reason.UNKNOWN_NUMBER)
    assert "seatline_leg=canary" not in dialplan(call.context, outcome)


async def test_neither_a_header_nor_a_name_makes_a_phones_call_the_canarys(exchange: Exchange, renter: Renter) -> None:
    document = await exchange.dial(renter, CANARY_DESTINATION)
    assert "seatline_refusal=destination_invalid" in document
    assert "seatline_leg=caller" in document
    assert "answer" not in document
    own = await exchange.dial(renter, CANARY_DESTINATION, extension="canary")
    assert 'application="answer"' in own
    assert "<variable" in await exchange.look_up(renter, "canary", INVITE)


def test_only_the_account_makes_a_record_the_canarys() -> None:
    renter_id = "ten_01k9zq6m2v8d3c4b5a6f7g8h9j"

    def parsed(**variables: str | None) -> cdr_parsing.Record:
        record = call_record(renter_id, leg="caller", began_at=NINE, milliseconds=0)
        record["variables"] |= variables
        record["variables"] = {name: value for name, value in record["variables"].items() if value is not None}
        return cdr_parsing.parse(json.dumps(record).encode(), now=NINE + timedelta(days=1))

    header = {"sip_h_X-seatline_extension": "canary", "sip_from_user": "canary"}
    assert parsed(seatline_extension="canary", seatline_leg="canary").leg == LEG_CANARY
    undirected = parsed(seatline_extension="canary", seatline_leg=None, seatline_direction=None)
    assert undirected.leg == LEG_CANARY, "no dialplan came"
    assert parsed(seatline_extension="canary", seatline_direction="emergency").leg != LEG_CANARY, "that is anybody's"
    assert parsed(seatline_extension="1001", **header).leg != LEG_CANARY
    with pytest.raises(RecordUnreadable, match="seatline_leg"):
        parsed(seatline_extension="1001", seatline_leg="canary")
    with pytest.raises(RecordUnreadable, match="seatline_leg"):
        parsed(seatline_extension="canary", seatline_leg="canary", direction="outbound")


async def test_its_record_is_accepted_explains_its_number_and_is_nobodys(exchange: Exchange, renter: Renter) -> None:
    database = exchange.api.database
    clock.travel_to(NINE + timedelta(minutes=1))
    async with database.transaction(Scope.platform()) as session:
        await counting.observe(session, "node-1", SessionCount(BOOT, 3, NINE), added_at=NINE)
    answered, refused = own_record(renter), own_record(renter, session_id="2", seatline_refusal="wrong_node")
    for record in (answered, refused, answered):
        assert (await exchange.report(record)).status_code == 200
    phones = call_record(renter.tenant_id, leg="caller", began_at=NINE, session_id="3")
    phones["core-uuid"] = BOOT
    assert (await exchange.report(phones)).status_code == 200
    clock.travel_to(NINE + timedelta(hours=2))
    await reconciling.reconcile(database)
    async with database.transaction(Scope.platform()) as session:
        [hour], _ = await listing.list_hours(session, HourFilter(), limit=10)
        told_of = (await session.execute(select(func.count()).select_from(EndedCall))).scalar_one()
    assert (hour.started, hour.accepted, hour.explained, hour.missing, hour.state) == (3, 1, 2, 0, "complete")
    assert [record.leg_id for record in await exchange.stored()] == [phones["variables"]["uuid"]]
    assert (await exchange.to_rate(), await exchange.set_aside(), told_of) == ([], [], 0)
    tenant_admin = await exchange.api.client("tenant_admin", renter.tenant_id)
    assert len((await tenant_admin.get("/v1/calls")).json()["items"]) == 1


async def test_a_record_that_its_supervisor_saw_first_explains_its_number_all_the_same(
    exchange: Exchange, renter: Renter
) -> None:
    record = own_record(renter)
    leg_id = record["variables"]["uuid"]
    seen = Leg(
        boot_id=BOOT,
        leg_id=leg_id,
        session_number=1,
        owner_id=renter.tenant_id,
        direction="inbound",
        caller="canary",
        destination=CANARY_DESTINATION,
        started_at=NINE,
    )
    async with exchange.api.database.transaction(Scope.platform()) as session:
        await watching.write(session, News(BOOT, begun={leg_id: seen}))
    assert (await exchange.report(record)).status_code == 200
    async with exchange.api.database.transaction(Scope.platform()) as session:
        assert (await session.execute(select(SeenLeg.is_void))).scalars().all() == [True]


async def test_what_explained_an_hour_goes_once_it_can_never_be_counted_again(
    exchange: Exchange, renter: Renter
) -> None:
    database = exchange.api.database

    async def left_at(moment: datetime, last_number: int) -> list[int]:
        async with database.transaction(Scope.platform()) as session:
            count = SessionCount(BOOT, last_number, moment)
            await counting.observe(session, "node-1", count, added_at=moment)
        assert (await exchange.report(own_record(renter, session_id=str(last_number)))).status_code == 200
        clock.travel_to(moment + timedelta(hours=2))
        await reconciling.reconcile(database)
        await reconciling.reconcile(database)
        async with database.transaction(Scope.platform()) as session:
            hours, _ = await listing.list_hours(session, HourFilter(), limit=10)
            assert {hour.state for hour in hours} == {"complete"}
            return list((await session.execute(select(SeenLeg.session_number))).scalars())

    clock.travel_to(NINE)
    assert await left_at(NINE, 1) == [1]
    assert await left_at(NINE + timedelta(hours=5), 2) == [2]


async def test_the_supervisor_takes_its_legs_for_nobodys() -> None:
    watch: LegWatch = await watching_of(FakeNode())
    watch.take()
    own, phones = str(uuid.uuid4()), str(uuid.uuid4())
    watch.note(told("CHANNEL_CREATE", own, 7, **OWN))
    watch.note(told("CHANNEL_ANSWER", own, 7, **OWN))
    watch.note(told("CHANNEL_CREATE", phones, 8, **{"Caller-Destination-Number": CANARY_DESTINATION}))
    watch.note(told("CHANNEL_CREATE", str(uuid.uuid4()), 9, **OWN, variable_seatline_leg="caller"))
    news = watch.take()
    assert news is not None
    assert news.void == {own: 7}
    assert sorted(leg.session_number for leg in news.begun.values()) == [8, 9]


def test_the_live_view_shows_it_to_nobody() -> None:
    legs = LiveLegs()
    own = Event({"Unique-ID": "own", "variable_seatline_tenant": "ten_a", "Channel-State": "CS_EXECUTE", **OWN})
    bare = Event({"Unique-ID": "own", "Channel-State": "CS_EXECUTE"})
    for name, event in (("CHANNEL_CREATE", own), ("CHANNEL_ANSWER", bare), ("CHANNEL_HANGUP", bare)):
        legs.apply(name, event, now=NINE, at_seconds=0.0)
    assert legs.compare(["own"], asked_at_seconds=100.0) == []
    missed = Event({"Unique-ID": "missed", "Channel-State": "CS_EXECUTE"})
    legs.apply("CHANNEL_ANSWER", missed, now=NINE, at_seconds=0.0)
    legs.learn(Event({"Unique-ID": "missed", "variable_seatline_tenant": "ten_a", **OWN}), now=NINE, at_seconds=0.0)
    assert (len(legs), legs.shown, legs.take_changes(10).is_any) == (0, {}, False)


@pytest.fixture
async def answering() -> AsyncGenerator[tuple[Carrier, Phone]]:
    """Whatever answers in place of a node, and a phone that calls it."""
    async with Carrier("127.0.0.1", timers=QUICK) as other:
        server = other.address
        async with Phone("canary", "a.example", server=server, a1_hash="0" * 32, timers=QUICK) as phone:
            yield other, phone


@pytest.mark.parametrize(
    ("behaviour", "seen"),
    [
        (policy.answers(), "completed"),
        (policy.rejects(503), "refused 503"),
        (policy.no_answer(), "unanswered"),
    ],
)
async def test_each_way_for_the_call_to_fail_is_told_apart(
    answering: tuple[Carrier, Phone], behaviour: Policy, seen: str
) -> None:
    other, phone = answering
    other.policy = behaviour
    assert await make_call(phone, timeout_seconds=0.5) == seen


async def test_a_node_that_is_gone_by_the_time_of_the_call_does_not_answer_it(
    answering: tuple[Carrier, Phone],
) -> None:
    other, phone = answering
    other.vanish()
    assert await make_call(phone, timeout_seconds=0.5) in ("unanswered", "unreachable")


async def test_an_answer_that_leaves_no_place_for_voice_is_no_answer(
    answering: tuple[Carrier, Phone], monkeypatch: pytest.MonkeyPatch
) -> None:
    other, phone = answering
    monkeypatch.setattr(other, "describe_media", lambda _: b"v=0\r\n")
    assert await make_call(phone, timeout_seconds=0.5) == "without_media"


async def test_a_node_that_does_not_confirm_the_end_is_told_apart(
    answering: tuple[Carrier, Phone], monkeypatch: pytest.MonkeyPatch
) -> None:
    other, phone = answering
    monkeypatch.setattr(other, "_receive_inside", lambda transaction: transaction.respond(481))
    assert await make_call(phone, timeout_seconds=0.5) == "not_hung_up"


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        (Observation("found", "accepted", "completed"), ""),
        (Observation("found", "accepted"), ""),
        (Observation("found", "accepted", "refused 503"), "the call was refused (503)"),
        (Observation("found", "accepted", "unanswered"), "the call was not answered in time"),
        (Observation("found", "accepted", "cut_off"), "the call was cut off by the node"),
        (Observation("found", "accepted", "not_hung_up"), "the call could not be hung up"),
        (
            Observation("not_found", "refused 403"),
            "the lookup of the account found no account, the sign-in was refused (403)",
        ),
        (
            Observation("unreachable", "unreachable"),
            "the lookup of the account got no answer, the sign-in got no answer",
        ),
    ],
)
def test_what_failed_is_said_in_words(seen: Observation, words: str) -> None:
    assert seen.failures == words
    assert seen.shows("accepted") is not bool(words)
