"""When a leg has ended: by its last event, or because the node does not list it any more."""

from __future__ import annotations

import uuid

import pytest

from infra.kit import clock
from infra.kit.database import Database
from switch.completeness import watching
from tests.switch.leg_watching import TENANT, FakeNode, GarbledNode, Stopwatch, event, keep, seen, taken, watching_of


async def test_after_a_reconnection_the_legs_are_those_that_the_node_lists(database: Database) -> None:
    gone, here, unseen = (str(uuid.uuid4()) for _ in range(3))
    stopwatch = Stopwatch()
    watch = await watching_of(FakeNode(), stopwatch)
    watch.note(event("CHANNEL_CREATE", gone, 1))
    watch.note(event("CHANNEL_CREATE", here, 2))
    await keep(database, watch)
    stopwatch.now += 10
    await watch.begin(FakeNode(listed={here: "2", unseen: "3"}).connection)
    await keep(database, watch)
    kept = await seen(database)
    assert {leg.session_number: leg.ended_at is None for leg in kept.values()} == {1: False, 2: True, 3: True}
    assert kept[unseen].owner_id == TENANT


async def test_a_leg_that_began_before_a_cut_and_was_not_written_has_ended_when_it_is_not_listed(
    database: Database,
) -> None:
    stopwatch = Stopwatch()
    watch = await watching_of(FakeNode(), stopwatch)
    await taken(database, watch)
    gone = str(uuid.uuid4())
    watch.note(event("CHANNEL_CREATE", gone, 1))
    stopwatch.now += 10
    await watch.begin(FakeNode().connection)
    await taken(database, watch)
    assert (await seen(database))[gone].ended_at is not None


@pytest.mark.parametrize("ended", [True, False])
async def test_a_leg_that_could_not_be_written_before_the_node_was_asked_is_as_it_says(
    database: Database, *, ended: bool
) -> None:
    stopwatch = Stopwatch()
    watch = await watching_of(FakeNode(), stopwatch)
    await taken(database, watch)
    leg = str(uuid.uuid4())
    watch.note(event("CHANNEL_CREATE", leg, 1))
    lost = watch.take()
    assert lost is not None
    stopwatch.now += 10
    await watch.begin(FakeNode(listed={} if ended else {leg: "1"}).connection)
    watch.give_back(lost)
    await taken(database, watch)
    assert [kept.leg_id for kept in (await seen(database)).values() if kept.ended_at is None] == ([leg] * (not ended))


async def test_a_leg_that_is_not_listed_yet_runs(database: Database) -> None:
    stopwatch = Stopwatch()
    watch = await watching_of(FakeNode(), stopwatch)
    new = str(uuid.uuid4())
    watch.note(event("CHANNEL_CREATE", new, 1))
    stopwatch.now += 1
    await watch.begin(FakeNode().connection)
    await taken(database, watch)
    assert (await seen(database))[new].ended_at is None
    # Should it have ended meanwhile, the next list says so.
    watch.compare([], stopwatch.now + 5)
    await taken(database, watch)
    assert (await seen(database))[new].ended_at is not None


async def test_a_leg_ends_whose_last_event_was_lost(database: Database) -> None:
    stopwatch = Stopwatch()
    watch = await watching_of(FakeNode(), stopwatch)
    lost, lasting = str(uuid.uuid4()), str(uuid.uuid4())
    watch.note(event("CHANNEL_CREATE", lost, 1))
    watch.note(event("CHANNEL_CREATE", lasting, 2))
    await taken(database, watch)
    watch.compare([lasting], stopwatch.now + 15)
    await taken(database, watch)
    kept = await seen(database)
    assert (kept[lost].ended_at is None, kept[lasting].ended_at is None) == (False, True)


async def test_a_leg_ends_of_which_nothing_was_asked(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = str(uuid.uuid4()), str(uuid.uuid4())
    before = await watching_of(FakeNode(listed={one: "1", two: "2"}))
    await taken(database, before)
    monkeypatch.setattr(watching, "MAX_LEGS_ASKED", 1)
    watch = await watching_of(FakeNode(listed={one: "1", two: "2"}))
    await taken(database, watch)
    assert [leg.ended_at for leg in (await seen(database)).values()] == [None, None]
    for leg in (one, two):
        watch.note(event("CHANNEL_DESTROY", leg, **{"Channel-State": "CS_REPORTING"}))
    await taken(database, watch)
    assert None not in [leg.ended_at for leg in (await seen(database)).values()]


async def test_a_list_that_cannot_be_read_ends_no_leg(database: Database) -> None:
    stopwatch = Stopwatch()
    watch = await watching_of(FakeNode(), stopwatch)
    leg = str(uuid.uuid4())
    watch.note(event("CHANNEL_CREATE", leg, 1))
    await taken(database, watch)
    stopwatch.now += 60
    await watch.begin(GarbledNode().connection)
    await taken(database, watch)
    assert (await seen(database))[leg].ended_at is None
    # Its sessions are counted all the same, and once a list can be read the leg has ended.
    garbled = GarbledNode().connection
    await watch.begin(garbled)
    assert watch.count(garbled, 1, clock.now()) is not None
    watch.compare([], stopwatch.now)
    await taken(database, watch)
    assert (await seen(database))[leg].ended_at is not None
