"""What a supervisor notes of a node's legs: bounded, whatever the events say, and written once."""

from __future__ import annotations

import uuid
from typing import cast

import pytest
from sqlalchemy import select

from infra.kit.database import Database, Scope
from infra.kit.ids import new_id
from switch.completeness import watching
from switch.completeness.models import SeenLeg
from switch.completeness.watching import LegWatch
from switch.esl.client import EslConnection
from switch.esl.errors import EslCommandRefused
from switch.esl.frames import Event

BOOT = "11111111-2222-3333-4444-555555555555"
TENANT = new_id("ten")


class FakeNode:
    """Answers what a watch asks after connecting."""

    def __init__(self, boot_id: str = BOOT, listed: dict[str, str] | None = None) -> None:
        self.boot_id = boot_id
        self.listed = listed or {}
        """session_id by uuid."""

    async def api(self, command: str, *, timeout_seconds: float) -> str:
        """One answer."""
        assert timeout_seconds == 1
        if command == "global_getvar core_uuid":
            return self.boot_id + "\n"
        if command == "show channels as json":
            rows = ",".join(f'{{"uuid":"{leg}","context":"{TENANT}","created_epoch":"1"}}' for leg in self.listed)
            return f'{{"row_count":{len(self.listed)},"rows":[{rows}]}}'
        _, leg_id, name = command.split()
        if name == "session_id" and leg_id in self.listed:
            return self.listed[leg_id]
        raise EslCommandRefused(command, "-ERR No such channel!")

    @property
    def connection(self) -> EslConnection:
        """Where a connection is wanted."""
        return cast("EslConnection", self)


def event(name: str, leg_id: str, number: object = 1, **headers: str) -> Event:
    """An event about a leg."""
    return Event(
        {
            "Event-Name": name,
            "Core-UUID": BOOT,
            "Unique-ID": leg_id,
            "variable_session_id": str(number),
            "Caller-Context": TENANT,
            "Caller-Caller-ID-Number": "1001",
            "Caller-Destination-Number": "13800138000",
            **headers,
        }
    )


async def watching_of(node: FakeNode) -> LegWatch:
    """A watch that has just connected."""
    watch = LegWatch("node-1", 1)
    await watch.begin(node.connection)
    return watch


async def keep(database: Database, watch: LegWatch) -> None:
    """Write what is new, as the supervisor does."""
    news = watch.take()
    assert news is not None
    async with database.transaction(Scope.platform()) as session:
        await watching.write(session, news)


async def seen(database: Database) -> dict[str, SeenLeg]:
    """What is kept, by leg."""
    async with database.transaction(Scope.platform()) as session:
        return {leg.leg_id: leg for leg in (await session.execute(select(SeenLeg))).scalars()}


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


async def test_after_a_reconnection_the_legs_are_those_that_the_node_lists(database: Database) -> None:
    gone, here, unseen = (str(uuid.uuid4()) for _ in range(3))
    watch = await watching_of(FakeNode())
    watch.note(event("CHANNEL_CREATE", gone, 1))
    watch.note(event("CHANNEL_CREATE", here, 2))
    await keep(database, watch)
    await watch.begin(FakeNode(listed={here: "2", unseen: "3"}).connection)
    await keep(database, watch)
    kept = await seen(database)
    assert {leg.session_number: leg.ended_at is None for leg in kept.values()} == {1: False, 2: True, 3: True}
    assert kept[unseen].owner_id == TENANT


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
    count = watch.count(first.connection, 12)
    assert count is not None
    assert (count.boot_id, count.started) == (BOOT, 12)
    assert watch.count(second.connection, 3) is None
    await watch.begin(second.connection)
    assert watch.count(first.connection, 12) is None
    assert watch.count(second.connection, -1) is None
    await watch.begin(FakeNode(boot_id="-ERR no reply").connection)
    assert watch.count(second.connection, 3) is None


@pytest.mark.parametrize(
    "odd",
    [
        event("CHANNEL_CREATE", "../../etc/passwd"),
        event("CHANNEL_CREATE", str(uuid.uuid4()), "many"),
        event("CHANNEL_CREATE", str(uuid.uuid4()), "9" * 40),
        event("CHANNEL_CREATE", str(uuid.uuid4()), 0),
        event("CHANNEL_CREATE", str(uuid.uuid4()), **{"Core-UUID": str(uuid.uuid4())}),
        event("CHANNEL_DESTROY", str(uuid.uuid4())),
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
    news = watch.take()
    assert news is not None
    assert len(news.begun) == 100
    assert watch.dropped == 0
