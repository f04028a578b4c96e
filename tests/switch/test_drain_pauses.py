"""A drain's pause, and supervisors that slept while another took the node over."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest

from infra.kit import clock
from infra.kit.sealing import Seal
from switch import api_watch
from switch.draining.carry_out import Drainer
from switch.draining.pausing import MARK, Pausing
from switch.esl.client import EslConnection
from switch.esl.fencing import FencedConnection
from switch.node_lease import Lease
from switch.simulator.node import SimulatedNode
from switch.sip.phone import Phone
from switch.tenure import Tenure
from tests.api import Api, Caller
from tests.switch.cluster import add_node, eventually, opened_office, ports_of, simulated_node
from tests.switch.simulator.office import DOMAIN, ESL_PASSWORD, PASSWORD, Office
from tests.switch.test_drain import begin, drain_of, held, supervised

BOTH = (True, True)
NEITHER = (False, False)


class Sleeper(FencedConnection):
    """Falls asleep, once, when it is about to send a command that begins so; `meanwhile` is what happens then."""

    before: str = ""
    meanwhile: Callable[[], Awaitable[None]] | None = None

    async def api(self, command: str, *, timeout_seconds: float = 10) -> str:
        """The command, after the sleep."""
        if self.meanwhile is not None and command.startswith(self.before):
            meanwhile, self.meanwhile = self.meanwhile, None
            await meanwhile()
        return await super().api(command, timeout_seconds=timeout_seconds)


@dataclass
class Stopwatch:
    """A supervisor's own seconds."""

    now: float = 100.0

    def __call__(self) -> float:
        """What it shows."""
        return self.now


@dataclass
class Held:
    """A node in service whose supervisors look when the test says so."""

    api: Api
    operator: Caller
    office: Office
    node: SimulatedNode
    seconds: Stopwatch = field(default_factory=Stopwatch)

    @property
    def paused(self) -> tuple[bool, bool]:
        """Inbound and outbound."""
        return self.node.core.paused_inbound, self.node.core.paused_outbound

    async def opened(self, before: str = "", meanwhile: Callable[[], Awaitable[None]] | None = None) -> Sleeper:
        """A supervisor's connection, which sleeps where `before` says."""
        connection = await Sleeper.open(*self.node.event_socket_address, ESL_PASSWORD)
        connection.before, connection.meanwhile = before, meanwhile
        return connection

    def drainer(self, lease: Lease) -> Drainer:
        """What looks after the node's drain under this lease."""
        return Drainer(self.api.database, lease, answer_timeout_seconds=2)

    async def looks(self, lease: Lease, times: int, connection: EslConnection) -> None:
        """So many looks."""
        for _ in range(times):
            await self.drainer(lease).advance(connection)

    async def successor(self) -> Lease:
        """Whoever takes the node over when the lease before is over."""
        clock.travel_to(clock.now() + timedelta(minutes=2))
        self.seconds.now += 120
        return await held(self.api)


@pytest.fixture
async def there(api: Api, tmp_path: Path) -> AsyncGenerator[Held]:
    """The node fs-1, without a supervisor."""
    operator = await api.client("platform_operator")
    async with opened_office() as office, simulated_node(tmp_path / "node", office) as node:
        await add_node(api.database, Seal(api.settings.secret_key), "fs-1", **ports_of(node))
        yield Held(api, operator, office, node)


@pytest.mark.parametrize("before", ["fsctl pause_check inbound", "fsctl pause_check outbound", "global_setvar"])
async def test_a_sleeper_that_pauses_a_node_given_back_meanwhile_is_put_right_at_the_next_look(
    there: Held, before: str
) -> None:
    first = await held(there.api)
    await begin(there.operator)
    async with await there.opened() as awake:
        await there.looks(first, 1, awake)
        assert (await drain_of(there.api)).phase == "pausing"
        second: list[Lease] = []

        async def while_the_first_sleeps() -> None:
            second.append(await there.successor())
            assert (await there.operator.post("/v1/nodes/fs-1/cancel-drain")).status_code == 200
            await there.looks(second[0], 2, awake)
            assert (await drain_of(there.api)).phase == "cancelled"
            assert there.paused == NEITHER

        async with await there.opened(before, while_the_first_sleeps) as sleeper:
            await there.looks(first, 1, sleeper)
        await there.looks(second[0], 1, awake)
        assert there.paused == NEITHER
        assert (await awake.api(f"global_getvar {MARK}")).strip() == "false"


@pytest.mark.parametrize("before", ["fsctl pause_check inbound", "fsctl pause inbound", "global_setvar"])
async def test_a_sleeper_that_knows_its_lease_is_over_pauses_nothing(there: Held, before: str) -> None:
    first = await held(there.api)
    tenure = Tenure(60, seconds=there.seconds)
    tenure.renewed(tenure.now_seconds())
    await begin(there.operator)
    async with await there.opened() as awake:
        await there.looks(first, 1, awake)

        async def while_it_sleeps() -> None:
            second = await there.successor()
            assert (await there.operator.post("/v1/nodes/fs-1/cancel-drain")).status_code == 200
            await there.looks(second, 2, awake)

        async with await there.opened(before, while_it_sleeps) as sleeper:
            sleeper.may_tell = lambda: tenure.holds
            await there.looks(first, 1, sleeper)
        assert there.paused == NEITHER


async def test_a_sleeper_ends_no_calls_of_a_drain_that_was_cancelled_meanwhile(there: Held) -> None:
    there.office.add_user("1001")
    there.office.dialplan["2001"] = [("set", "seatline_leg=caller"), ("answer", ""), ("park", "")]
    async with Phone("1001", DOMAIN, server=there.node.sip_address(), password=PASSWORD) as phone:
        assert await phone.register() == 200
        call = await phone.call("2001")
        await begin(there.operator, timedelta(seconds=20))
        clock.travel_to(clock.now() + timedelta(seconds=21))
        first = await held(there.api)
        tenure = Tenure(60, seconds=there.seconds)
        tenure.renewed(tenure.now_seconds())
        async with await there.opened() as awake:
            await there.looks(first, 3, awake)
            assert (await drain_of(there.api)).phase == "ending"

            async def while_it_sleeps() -> None:
                await there.successor()
                assert (await there.operator.post("/v1/nodes/fs-1/cancel-drain")).status_code == 200

            async with await there.opened("uuid_getvar", while_it_sleeps) as sleeper:
                sleeper.may_tell = lambda: tenure.holds
                await there.looks(first, 1, sleeper)
        assert call.is_live


async def test_a_pause_that_a_person_made_is_left_alone(there: Held) -> None:
    lease = await held(there.api)
    async with await there.opened() as connection:
        await connection.api("fsctl pause inbound")
        await there.looks(lease, 2, connection)
        assert there.paused == (True, False)


async def test_the_pause_of_a_node_without_answers_outlives_a_drains_that_nobody_wants(there: Held) -> None:
    lease = await held(there.api)
    async with await there.opened() as connection:
        assert await Pausing(connection, 2).pause()
        await connection.api(f"global_setvar {api_watch.MARK}=true")
        await there.looks(lease, 1, connection)
        assert there.paused == (True, False)


async def test_a_node_that_was_paused_without_a_mark_gets_one_while_its_drain_holds(there: Held) -> None:
    async with await there.opened() as connection:
        for direction in ("inbound", "outbound"):
            await connection.api(f"fsctl pause {direction}")
        assert await Pausing(connection, 2).pause()
        assert there.paused == BOTH
        assert (await connection.api(f"global_getvar {MARK}")).strip() == "true"
        assert await Pausing(connection, 2).resume()
        assert there.paused == NEITHER
        assert (await connection.api(f"global_getvar {MARK}")).strip() == "false"


async def test_a_supervisor_whose_time_may_be_over_tells_the_node_nothing(
    there: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Tenure, "holds", property(lambda _: False))
    async with supervised(there.api):
        await begin(there.operator)

        async def is_told() -> bool:
            return "was not sent: the lease on the node was not renewed" in ((await drain_of(there.api)).problem or "")

        await eventually(is_told)
        assert there.paused == NEITHER
