"""A node that alone gets no answers from the API is cut off; when nobody gets any, nobody is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from infra.kit import clock
from infra.kit.database import Database, Scope
from infra.kit.sealing import Seal
from infra.kit.settings import Settings
from switch import node_lease
from switch.cut_off import Answers, Known, may_take_over, was_answered_after
from switch.draining import drains
from switch.models import Node
from switch.node_lease import Lease, Sighting
from tests.api import Api
from tests.switch.cluster import add_node, eventually, opened_office, ports_of, read_node, simulated_node
from tests.switch.supervision import becomes, jobs_woken, running

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
PATIENCE = timedelta(seconds=10)
PATIENCE_SECONDS = PATIENCE.total_seconds()


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def known(
    *, since: float | None = 3_600, at: float | None = 2, without: float | None = None, supervised: float = 5
) -> Known:
    """A node's row, in seconds ago; `supervised`: for so many seconds more."""
    return Known(
        answered_since=None if since is None else ago(since),
        answered_at=None if at is None else ago(at),
        unanswered_since=None if without is None else ago(without),
        supervised_until=NOW + timedelta(seconds=supervised),
    )


@pytest.mark.parametrize(
    ("other", "takes_over"),
    [
        pytest.param(known(), True, id="it gets answers"),
        pytest.param(known(since=None, at=14, without=11), False, id="it gets none either"),
        pytest.param(known(at=13), False, id="it was last answered before the other was not"),
        pytest.param(known(at=11), False, id="nobody has heard of its answers lately"),
        pytest.param(known(since=4), False, id="the API is just coming back, and the other may be next"),
        pytest.param(known(since=None, at=None), False, id="nobody knows whether it gets any"),
        pytest.param(known(supervised=-1), False, id="nobody supervises it"),
    ],
)
def test_another_node_takes_over_only_if_it_surely_gets_answers_itself(other: Known, takes_over: bool) -> None:
    found = may_take_over(other, unanswered_since=ago(12), now=NOW, patience=PATIENCE)
    assert found is takes_over


def test_an_answer_counts_when_the_question_was_put_later_than_the_other_lost_its_answers() -> None:
    assert was_answered_after(known(at=11.9), ago(12))
    assert not was_answered_after(known(at=12), ago(12))
    assert not was_answered_after(known(at=1, without=0.5), ago(12))


def test_patience_is_needed_before_a_node_is_long_without_answers() -> None:
    def answers(answered: float | None, without: float | None) -> Answers:
        return Answers(answered_seconds_ago=answered, unanswered_seconds=without, patience_seconds=PATIENCE_SECONDS)

    cases = [answers(1, None), answers(None, None), answers(12, 10), answers(None, 10.1)]
    assert [(each.is_answered, each.is_long_without) for each in cases] == [
        (True, False),
        (False, False),
        (False, False),
        (False, True),
    ]


@pytest.fixture
def seal(settings: Settings) -> Seal:
    """The installation's seal."""
    return Seal(settings.secret_key)


class Watched:
    """Nodes of the table and what their supervisor reports of their answers."""

    def __init__(self, database: Database, seal: Seal) -> None:
        self.database = database
        self._seal = seal
        self.leases: dict[str, Lease] = {}

    async def add(self, *names: str) -> None:
        """Nodes in service, each under a lease."""
        for name in names:
            node = await add_node(self.database, self._seal, name)
            async with self.database.transaction(Scope.platform()) as session:
                lease = await node_lease.claim(session, node.node_id, "us", lease_seconds=3_600)
            assert lease is not None
            self.leases[name] = lease

    async def report(self, name: str, *, answered: float | None = None, without: float | None = None) -> Node:
        """What the supervisor of a node says: answered, or without answers, for so many seconds."""
        answers = Answers(answered_seconds_ago=answered, unanswered_seconds=without, patience_seconds=PATIENCE_SECONDS)
        sighting = Sighting(is_heard=True, is_silent=False, version=None, answers=answers)
        async with self.database.transaction(Scope.platform()) as session:
            await node_lease.report(session, self.leases[name], sighting, lease_seconds=3_600)
        return await read_node(self.database, name)

    async def goes_on(self, seconds: float, *answered: str) -> None:
        """Time goes by, and these nodes are answered at its end."""
        clock.travel_to(clock.now() + timedelta(seconds=seconds))
        for name in answered:
            await self.report(name, answered=0)

    async def states(self) -> dict[str, str]:
        """Of all nodes."""
        return {name: (await read_node(self.database, name)).state for name in self.leases}


@pytest.fixture
def watched(database: Database, seal: Seal) -> Watched:
    """No nodes yet."""
    return Watched(database, seal)


async def test_a_node_that_alone_has_no_answers_is_cut_off_and_back_with_the_first_one(watched: Watched) -> None:
    await watched.add("fs-1", "fs-2")
    await watched.goes_on(0, "fs-1", "fs-2")
    await watched.goes_on(60, "fs-1", "fs-2")
    lost_at = clock.now()
    assert (await watched.report("fs-1", answered=4, without=0)).unanswered_since == pytest.approx(
        lost_at, abs=timedelta(seconds=1)
    )
    await watched.goes_on(9, "fs-2")
    assert (await watched.report("fs-1", answered=13, without=9)).state == "active"
    await watched.goes_on(2, "fs-2")
    cut_off = await watched.report("fs-1", answered=15, without=11)
    assert (cut_off.state, cut_off.answered_since) == ("cut_off", None)
    assert await watched.states() == {"fs-1": "cut_off", "fs-2": "active"}
    await watched.goes_on(5, "fs-2")
    assert (await watched.report("fs-1", answered=20, without=16)).state_changed_at == cut_off.state_changed_at
    back = await watched.report("fs-1", answered=0)
    assert (back.state, back.unanswered_since) == ("active", None)
    assert back.answered_since is not None
    assert await jobs_woken(watched.database) == [
        ("provisioning.evacuate_node", "fs-1"),
        ("provisioning.welcome_node", "fs-1"),
    ]


async def test_when_no_node_gets_answers_none_is_cut_off_however_long_and_whoever_is_answered_first_again(
    watched: Watched,
) -> None:
    await watched.add("fs-1", "fs-2")
    await watched.goes_on(0, "fs-1", "fs-2")
    await watched.goes_on(60, "fs-1", "fs-2")
    for passed in range(0, 61, 3):  # the second one notices it eight seconds later
        await watched.report("fs-1", answered=passed + 4, without=passed)
        await watched.report("fs-2", answered=passed, without=passed - 8 if passed >= 8 else None)
        await watched.goes_on(3)
    assert set((await watched.states()).values()) == {"active"}
    await watched.report("fs-2", answered=0)
    await watched.report("fs-1", answered=67, without=63)
    await watched.goes_on(8, "fs-2")
    await watched.report("fs-1", answered=75, without=71)
    assert set((await watched.states()).values()) == {"active"}
    await watched.goes_on(4, "fs-2")
    assert (await watched.report("fs-1", answered=79, without=75)).state == "cut_off", "now it is its own affair"


async def test_a_node_that_nobody_supervises_or_that_is_out_of_service_proves_nothing(watched: Watched) -> None:
    await watched.add("fs-1", "fs-2", "fs-3")
    await watched.goes_on(0, "fs-1", "fs-2", "fs-3")
    await watched.goes_on(60, "fs-1", "fs-2", "fs-3")
    async with watched.database.transaction(Scope.platform()) as session:
        await drains.request(session, "fs-2")
        for name in ("fs-2", "fs-3"):
            await node_lease.release(session, watched.leases[name])
    await watched.goes_on(11)
    async with watched.database.transaction(Scope.platform()) as session:
        for name in ("fs-2", "fs-3"):
            node = await session.merge(await read_node(watched.database, name))
            node.answered_at = clock.now()
    assert (await watched.report("fs-1", answered=15, without=11)).state == "active"


async def test_what_the_supervisor_does_not_know_changes_nothing_and_no_moment_lies_ahead(watched: Watched) -> None:
    await watched.add("fs-1")
    before = await watched.report("fs-1", answered=1, without=3)
    assert (await watched.report("fs-1")).unanswered_since == before.unanswered_since
    clock.travel_to(clock.now() - timedelta(days=40))
    node = await watched.report("fs-1", without=5)
    assert node.unanswered_since is not None
    assert node.unanswered_since <= clock.now()


async def test_a_node_that_is_cut_off_can_be_drained_and_can_die(watched: Watched) -> None:
    await watched.add("fs-1", "fs-2")
    for name in ("fs-1", "fs-2"):
        async with watched.database.transaction(Scope.platform()) as session:
            node = await session.merge(await read_node(watched.database, name))
            node.state = "cut_off"
    async with watched.database.transaction(Scope.platform()) as session:
        assert (await drains.request(session, "fs-1")).state == "draining"
        silent = Sighting(is_heard=False, is_silent=True, version=None)
        assert await node_lease.report(session, watched.leases["fs-2"], silent, lease_seconds=10) == "dead"


async def test_the_api_shows_since_when_a_node_gets_no_answers(api: Api) -> None:
    watched = Watched(api.database, Seal(api.settings.secret_key))
    await watched.add("fs-1")
    operator = await api.client("platform_operator")
    [shown] = (await operator.get("/v1/nodes")).json()["items"]
    assert (shown["answered_at"], shown["unanswered_since"]) == (None, None)
    node = await watched.report("fs-1", answered=9, without=5)
    [shown] = (await operator.get("/v1/nodes")).json()["items"]
    assert (node.answered_at, node.unanswered_since) == (
        datetime.fromisoformat(shown["answered_at"]),
        datetime.fromisoformat(shown["unanswered_since"]),
    )


async def test_supervisors_cut_a_node_off_while_others_are_answered_and_end_it(
    database: Database, settings: Settings, seal: Seal, tmp_path: Path
) -> None:
    async with (
        opened_office() as office,
        opened_office() as wrong_way,
        simulated_node(tmp_path / "one", office) as one,
        simulated_node(tmp_path / "two", wrong_way) as two,
        running(database, settings),
    ):
        for name, node in (("fs-1", one), ("fs-2", two)):
            await add_node(database, seal, name, **ports_of(node), state="joining")
            await becomes(database, name, lambda node: node.state == "active" and node.answered_since is not None)
        office.question_status = wrong_way.question_status = 503
        for name in ("fs-1", "fs-2"):
            await becomes(database, name, lambda node: node.unanswered_since is not None)
        since = (await read_node(database, "fs-2")).unanswered_since
        assert since is not None

        async def lasted_long() -> bool:
            seen = await read_node(database, "fs-2")
            return seen.heartbeat_at is not None and seen.heartbeat_at - since > timedelta(seconds=1.5)

        await eventually(lasted_long)
        assert {(await read_node(database, name)).state for name in ("fs-1", "fs-2")} == {"active"}
        office.question_status = 200
        await becomes(database, "fs-2", lambda node: node.state == "cut_off")
        assert (await read_node(database, "fs-1")).state == "active"
        assert ("provisioning.evacuate_node", "fs-2") in await jobs_woken(database)
        wrong_way.question_status = 200
        await becomes(database, "fs-2", lambda node: node.state == "active")
