"""What a supervisor notes of a node's legs: bounded, whatever the events say, and written once."""

from __future__ import annotations

import asyncio
import uuid
from datetime import timedelta

import pytest
from sqlalchemy import text, update

from infra.kit import clock
from infra.kit.database import Database, Scope
from infra.kit.sealing import Seal
from infra.kit.settings import Settings
from switch import node_lease
from switch.completeness import watching
from switch.completeness.models import SeenLeg
from switch.completeness.taking_in import SEEN_LEGS_KEPT, take_in
from switch.esl.frames import Event
from tests.switch.cluster import CLOSED_PORT, add_node
from tests.switch.leg_watching import BOOT, TENANT, FakeNode, event, keep, seen, taken, watching_of


async def test_a_leg_that_lasts_is_written_with_its_answer_and_its_end(database: Database) -> None:
    watch = await watching_of(FakeNode())
    lasting, short = str(uuid.uuid4()), str(uuid.uuid4())
    watch.note(event("CHANNEL_CREATE", lasting, 7))
    watch.note(event("CHANNEL_CREATE", short, 8))
    watch.note(event("CHANNEL_DESTROY", short, 8))
    await keep(database, watch)
    (leg,) = (await seen(database)).values()
    assert (leg.leg_id, leg.session_number, leg.owner_id) == (lasting, 7, TENANT)
    assert (leg.caller, leg.destination, leg.answered_at, leg.ended_at) == ("1001", "13800138000", None, None)
    watch.note(event("CHANNEL_ANSWER", lasting, 7))
    await keep(database, watch)
    assert (await seen(database))[lasting].answered_at is not None
    watch.note(event("CHANNEL_DESTROY", lasting, 7))
    await keep(database, watch)
    assert (await seen(database))[lasting].ended_at is not None
    assert watch.take() is None


async def test_a_number_that_the_node_gave_up_before_it_was_a_leg_is_kept_as_void(database: Database) -> None:
    watch = await watching_of(FakeNode())
    given_up = str(uuid.uuid4())
    watch.note(event("CHANNEL_DESTROY", given_up, 64, **{"Channel-State": "CS_NONE"}))
    watch.note(event("CHANNEL_DESTROY", str(uuid.uuid4()), 65, **{"Channel-State": "CS_REPORTING"}))
    await keep(database, watch)
    kept = await seen(database)
    assert {leg.leg_id: (leg.session_number, leg.is_void) for leg in kept.values()} == {given_up: (64, True)}


async def test_a_call_from_outside_is_its_tenants_once_the_dialplan_has_said_so(database: Database) -> None:
    watch = await watching_of(FakeNode())
    leg_id = str(uuid.uuid4())
    watch.note(event("CHANNEL_CREATE", leg_id, **{"Caller-Context": "public"}))
    await keep(database, watch)
    assert (await seen(database))[leg_id].owner_id is None
    watch.note(event("CHANNEL_ANSWER", leg_id, variable_seatline_tenant=TENANT))
    await keep(database, watch)
    assert (await seen(database))[leg_id].owner_id == TENANT


async def test_when_a_leg_began_lies_between_the_last_count_and_now_whatever_the_nodes_clock_says(
    database: Database,
) -> None:
    counted_at = clock.now() - timedelta(minutes=1)
    node = FakeNode()
    watch = await watching_of(node)
    assert watch.count(node.connection, 10, counted_at) is not None
    fast, slow, older = (str(uuid.uuid4()) for _ in range(3))
    year_2000, year_2100 = "946684800000000", "4102444800000000"
    watch.note(event("CHANNEL_CREATE", fast, 11, **{"Caller-Channel-Created-Time": year_2100}))
    watch.note(event("CHANNEL_CREATE", slow, 12, **{"Caller-Channel-Created-Time": year_2000}))
    watch.note(event("CHANNEL_CREATE", older, 9, **{"Caller-Channel-Created-Time": year_2000}))
    await taken(database, watch)
    kept = await seen(database)
    assert counted_at < kept[fast].started_at <= clock.now()
    assert kept[slow].started_at == counted_at
    assert kept[older].started_at.year == 2000, "of one that was counted before nothing better is known"


async def test_a_supervisor_that_has_lost_the_node_writes_nothing(database: Database, settings: Settings) -> None:
    node = await add_node(database, Seal(settings.secret_key), "node-1", esl_port=CLOSED_PORT)
    async with database.transaction(Scope.platform()) as session:
        lease = await node_lease.claim(session, node.node_id, "first", lease_seconds=60)
    assert lease is not None
    watch, leg = await watching_of(FakeNode()), str(uuid.uuid4())
    watch.note(event("CHANNEL_CREATE", leg, 1))
    await watching.keep(database, lease, watch)
    assert (await seen(database))[leg].ended_at is None
    async with database.transaction(Scope.platform()) as session:
        await node_lease.release(session, lease)
        assert await node_lease.claim(session, node.node_id, "second", lease_seconds=60) is not None
    watch.note(event("CHANNEL_DESTROY", leg, 1))
    await watching.keep(database, lease, watch)
    assert (await seen(database))[leg].ended_at is None


async def test_what_came_is_taken_in_without_waiting_for_whoever_writes_legs(database: Database) -> None:
    watch = await watching_of(FakeNode())
    legs = sorted(str(uuid.uuid4()) for _ in range(2))
    for number, leg in enumerate(legs, 1):
        watch.note(event("CHANNEL_CREATE", leg, number))
    await taken(database, watch)
    async with database.transaction(Scope.platform()) as session:
        await session.execute(update(SeenLeg).values(started_at=clock.now() - SEEN_LEGS_KEPT * 2))
        await session.execute(text("UPDATE seen_leg SET ended_at = started_at"))
    watch.note(event("CHANNEL_ANSWER", legs[0], 1))
    answered = watch.take()
    assert answered is not None
    async with database.transaction(Scope.platform()) as writing:
        await watching.write(writing, answered)
        async with asyncio.timeout(30), database.transaction(Scope.platform()) as session:
            await take_in(session)
    assert list(await seen(database)) == legs[:1]
    async with database.transaction(Scope.platform()) as session:
        await take_in(session)
    assert await seen(database) == {}


async def test_what_could_not_be_written_is_written_later(database: Database) -> None:
    watch = await watching_of(FakeNode())
    leg_id = str(uuid.uuid4())
    watch.note(event("CHANNEL_CREATE", leg_id))
    lost = watch.take()
    assert lost is not None
    watch.note(event("CHANNEL_ANSWER", leg_id))
    watch.give_back(lost)
    await keep(database, watch)
    assert (await seen(database))[leg_id].answered_at is not None


async def test_the_count_belongs_to_the_boot_behind_its_connection() -> None:
    first, second = FakeNode(), FakeNode(boot_id=str(uuid.uuid4()))
    watch = await watching_of(first)
    asked_at = clock.now()
    count = watch.count(first.connection, 12, asked_at)
    assert count is not None
    assert (count.boot_id, count.started, count.at) == (BOOT, 12, asked_at)
    assert watch.count(second.connection, 3, asked_at) is None
    await watch.begin(second.connection)
    assert watch.count(first.connection, 12, asked_at) is None
    assert watch.count(second.connection, -1, asked_at) is None
    await watch.begin(FakeNode(boot_id="-ERR no reply").connection)
    assert watch.count(second.connection, 3, asked_at) is None


@pytest.mark.parametrize(
    "odd",
    [
        event("CHANNEL_CREATE", "../../etc/passwd"),
        event("CHANNEL_CREATE", str(uuid.uuid4()), "many"),
        event("CHANNEL_CREATE", str(uuid.uuid4()), "9" * 40),
        event("CHANNEL_CREATE", str(uuid.uuid4()), 0),
        event("CHANNEL_CREATE", str(uuid.uuid4()), **{"Core-UUID": str(uuid.uuid4())}),
        event("CHANNEL_ANSWER", str(uuid.uuid4())),
        Event({"Event-Name": "CHANNEL_CREATE"}),
        Event(),
    ],
)
async def test_an_event_that_cannot_be_or_of_an_unknown_call_is_passed_over(odd: Event) -> None:
    watch = await watching_of(FakeNode())
    watch.take()
    watch.note(odd)
    assert watch.take() is None


async def test_hostile_words_are_cut_and_kept(database: Database) -> None:
    watch = await watching_of(FakeNode())
    leg_id = str(uuid.uuid4())
    hostile = {"Caller-Caller-ID-Number": "1\x00" * 500, "Caller-Channel-Created-Time": "9" * 30}
    watch.note(event("CHANNEL_CREATE", leg_id, 1, **hostile))
    await keep(database, watch)
    assert (await seen(database))[leg_id].caller == "1" * watching.VALUE_LIMIT_CHARACTERS


async def test_a_storm_of_events_is_bounded_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "MAX_KNOWN_LEGS", 100)
    watch = await watching_of(FakeNode())
    for number in range(1, 1_001):
        watch.note(event("CHANNEL_CREATE", str(uuid.uuid4()), number))
    assert watch.dropped == 900
    for _ in range(1_000):
        watch.note(event("CHANNEL_DESTROY", str(uuid.uuid4())))
    assert watch.dropped == 1_800
    news = watch.take()
    assert news is not None
    assert (len(news.begun), len(news.ended)) == (100, 100)
    assert watch.dropped == 0
