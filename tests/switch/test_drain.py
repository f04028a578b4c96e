"""Drains through the API, carried out by a supervisor at a simulated node."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from infra.kit import clock
from infra.kit.database import Scope
from infra.kit.jobs import Runtime
from infra.kit.sealing import Seal
from provisioning import placing
from switch import node_lease, placements
from switch.canary_call import CANARY_DESTINATION
from switch.draining import drains
from switch.draining.carry_out import Drainer
from switch.draining.models import NodeDrain
from switch.esl.client import EslConnection
from switch.node_lease import Lease, Sighting
from switch.simulator.node import SimulatedNode
from switch.sip.phone import Phone
from switch.switchd import Switchd
from tests.api import Api, Caller
from tests.switch.cluster import add_node, add_tenant, eventually, opened_office, ports_of, read_node, simulated_node
from tests.switch.simulator.office import DOMAIN, ESL_PASSWORD, PASSWORD, Office
from tests.switch.supervision import QUICK

BUSY = 503
ENDED_LIMIT_SECONDS = 5.0
SILENT = Sighting(is_heard=False, is_silent=True, version=None)
HEARD = Sighting(is_heard=True, is_silent=False, version="1.11.2")


@pytest.fixture
async def operator(api: Api) -> Caller:
    """Who drains nodes."""
    return await api.client("platform_operator")


@asynccontextmanager
async def supervised(api: Api) -> AsyncGenerator[None]:
    """A switchd at work."""
    stop = asyncio.Event()
    running = asyncio.create_task(Switchd(api.database, api.settings, pace=QUICK).run(stop))
    try:
        yield
    finally:
        stop.set()
        await asyncio.wait_for(running, 15)


@asynccontextmanager
async def node_with_phone(api: Api, directory: Path) -> AsyncGenerator[tuple[SimulatedNode, Office, Phone]]:
    """The active node fs-1, and a registered phone whose calls to 2001 and 110 are answered at once."""
    seal = Seal(api.settings.secret_key)
    async with opened_office() as office, simulated_node(directory, office) as simulated:
        await add_node(api.database, seal, "fs-1", **ports_of(simulated))
        office.add_user("1001")
        office.dialplan["2001"] = [("set", "seatline_leg=caller"), ("answer", ""), ("park", "")]
        office.dialplan["110"] = [
            ("set", "seatline_leg=caller"),
            ("set", "seatline_direction=emergency"),
            ("answer", ""),
            ("park", ""),
        ]
        async with Phone("1001", DOMAIN, server=simulated.sip_address(), password=PASSWORD) as phone:
            assert await phone.register() == 200
            yield simulated, office, phone


async def begin(operator: Caller, deadline_in: timedelta = timedelta(minutes=10)) -> dict[str, Any]:
    """Ask for a drain of fs-1."""
    answer = await operator.post("/v1/nodes/fs-1/drain", {"deadline": (clock.now() + deadline_in).isoformat()})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def becomes(api: Api, operator: Caller, phase: str) -> dict[str, Any]:
    """Wait for a phase; the node as the API shows it then."""
    node_id = (await read_node(api.database, "fs-1")).node_id

    async def is_so() -> bool:
        return (await operator.get(f"/v1/nodes/{node_id}")).json()["drain"]["phase"] == phase

    await eventually(is_so)
    return (await operator.get(f"/v1/nodes/{node_id}")).json()


async def jobs_of(api: Api) -> list[str]:
    """The jobs that were woken."""
    async with api.database.transaction(Scope.platform()) as session:
        rows = await (await session.connection()).exec_driver_sql(
            "SELECT task_name FROM procrastinate_jobs ORDER BY id"
        )
        return [str(row[0]) for row in rows]


async def test_calls_end_by_themselves_and_then_the_node_is_drained_until_it_is_given_back(
    api: Api, operator: Caller, tmp_path: Path
) -> None:
    async with node_with_phone(api, tmp_path / "node") as (simulated, _, phone), supervised(api):
        call = await phone.call("2001")
        node = await begin(operator)
        assert (node["state"], node["drain"]["phase"], node["drain"]["tenants_left"]) == ("draining", "moving", 0)
        assert (await becomes(api, operator, "waiting"))["state"] == "draining"
        assert (simulated.core.paused_inbound, simulated.core.paused_outbound) == (True, True)
        assert await phone.register() == BUSY
        assert call.is_live
        await call.hangup()
        drained = await becomes(api, operator, "drained")
        assert (drained["state"], drained["drain"]["legs_left"], drained["drain"]["legs_ended"]) == ("drained", 0, 0)

        answer = await operator.post("/v1/nodes/fs-1/cancel-drain")
        assert (answer.status_code, answer.json()["drain"]["phase"]) == (200, "cancelling")
        assert (await becomes(api, operator, "cancelled"))["state"] == "active"
        assert (simulated.core.paused_inbound, simulated.core.paused_outbound) == (False, False)
        assert await phone.register() == 200
    assert await jobs_of(api) == ["provisioning.evacuate_node", "provisioning.welcome_node"]


async def test_a_node_that_listens_elsewhere_than_its_row_says_is_not_given_back(
    api: Api, operator: Caller, tmp_path: Path
) -> None:
    async with node_with_phone(api, tmp_path / "node") as (simulated, _, phone), supervised(api):
        await begin(operator)
        await becomes(api, operator, "drained")
        listens = simulated.sip_address()[1]
        assert (await operator.put("/v1/nodes/fs-1", {"sip_port": 6060})).status_code == 200
        await operator.post("/v1/nodes/fs-1/cancel-drain")

        async def is_told() -> bool:
            return (await becomes(api, operator, "cancelling"))["drain"]["problem"] is not None

        await eventually(is_told)
        node = await becomes(api, operator, "cancelling")
        assert node["state"] == "draining"
        found = f"its profile internal listens at 127.0.0.1:{listens}, but its row says 127.0.0.1:6060"
        assert node["drain"]["problem"].startswith(f"{found}: write its configuration again (seatline node-config)")
        assert simulated.core.paused_inbound
        assert await phone.register() == BUSY
        assert (await operator.put("/v1/nodes/fs-1", {"sip_port": listens})).status_code == 200
        back = await becomes(api, operator, "cancelled")
        assert (back["state"], back["drain"]["problem"]) == ("active", None)
        assert await phone.register() == 200


async def test_no_record_is_awaited_of_a_call_that_was_the_systems_own(
    api: Api, operator: Caller, tmp_path: Path
) -> None:
    tenant = await add_tenant(api.database)
    async with node_with_phone(api, tmp_path / "node") as (_, office, phone), supervised(api):
        office.dialplan[CANARY_DESTINATION] = [
            ("set", f"seatline_tenant={tenant.tenant_id}"),
            ("set", "seatline_leg=canary"),
            ("answer", ""),
            ("park", ""),
        ]
        call = await phone.call(CANARY_DESTINATION)
        await begin(operator)
        await becomes(api, operator, "waiting")

        async def is_seen() -> bool:
            return (await becomes(api, operator, "waiting"))["drain"]["legs_left"] == 1

        await eventually(is_seen)
        await call.hangup()
        drained = await becomes(api, operator, "drained")
        assert drained["drain"]["records_awaited"] == 0
        async with api.database.transaction(Scope.platform()) as session:
            drain = (await session.execute(select(NodeDrain))).scalar_one()
            assert drain.legs == {}


async def test_a_node_is_drained_when_its_records_are_home_or_a_person_goes_on_without_them(
    api: Api, operator: Caller, tmp_path: Path
) -> None:
    tenant = await add_tenant(api.database)
    async with node_with_phone(api, tmp_path / "node") as (_, office, phone), supervised(api):
        office.dialplan["2001"] = [
            ("set", "seatline_leg=caller"),
            ("set", f"seatline_tenant={tenant.tenant_id}"),
            ("answer", ""),
            ("park", ""),
        ]
        call = await phone.call("2001")
        early = await operator.post("/v1/nodes/fs-1/end-sweep", {"reason": "because"})
        assert (early.status_code, early.json()["code"]) == (409, "node_not_sweeping")
        await begin(operator)
        await becomes(api, operator, "waiting")

        async def is_seen() -> bool:
            async with api.database.transaction(Scope.platform()) as session:
                return bool((await session.execute(select(NodeDrain))).scalar_one().legs)

        await eventually(is_seen)
        await call.hangup()
        waiting = await becomes(api, operator, "sweeping")
        assert (waiting["state"], waiting["drain"]["problem"]) == ("draining", None)
        clock.travel_to(clock.now() + timedelta(minutes=5))

        async def is_told() -> bool:
            drain = (await becomes(api, operator, "sweeping"))["drain"]
            return drain["records_awaited"] == 1 and "records of 1 legs" in (drain["problem"] or "")

        await eventually(is_told)
        nothing_said = await operator.post("/v1/nodes/fs-1/end-sweep", {"reason": " "})
        assert (nothing_said.status_code, nothing_said.json()["field"]) == (422, "reason")
        said = await operator.post("/v1/nodes/fs-1/end-sweep", {"reason": "its disk is broken"})
        assert said.status_code == 200, said.text
        drained = (await becomes(api, operator, "drained"))["drain"]
        assert (drained["records_awaited"], drained["sweep_waived_because"]) == (1, "its disk is broken")


async def test_the_deadline_ends_what_still_runs_but_no_emergency_call(
    api: Api, operator: Caller, tmp_path: Path
) -> None:
    async with node_with_phone(api, tmp_path / "node") as (_, office, phone), supervised(api):
        call, emergency = await phone.call("2001"), await phone.call("110")
        await begin(operator)
        await becomes(api, operator, "waiting")
        moved = await operator.post(
            "/v1/nodes/fs-1/drain", {"deadline": (clock.now() + timedelta(seconds=1)).isoformat()}
        )
        assert (moved.status_code, moved.json()["drain"]["phase"]) == (200, "waiting")
        assert await call.wait_ended(ENDED_LIMIT_SECONDS) == "them"
        ending = await becomes(api, operator, "ending")
        assert emergency.is_live
        too_late = await operator.post("/v1/nodes/fs-1/drain", {})
        assert (too_late.status_code, too_late.json()["code"]) == (409, "drain_past_deadline")
        clock.travel_to(clock.now() + timedelta(minutes=31))
        assert await emergency.wait_ended(ENDED_LIMIT_SECONDS) == "them"
        drained = await becomes(api, operator, "drained")
        assert drained["drain"]["legs_ended"] >= ending["drain"]["legs_ended"] + 1
        causes = [record["hangup_cause"] for record in await office.wait_records(2)]
        assert causes == ["SYSTEM_SHUTDOWN", "SYSTEM_SHUTDOWN"]


async def test_a_drain_that_is_cancelled_under_way_brings_the_tenants_back(
    api: Api, operator: Caller, tmp_path: Path
) -> None:
    tenant = await add_tenant(api.database)
    await add_node(api.database, Seal(api.settings.secret_key), "fs-2")
    async with api.database.transaction(Scope.platform()) as session:
        await placements.assign(session, tenant.tenant_id, home_node="fs-1", spare_node="fs-2")
    async with node_with_phone(api, tmp_path / "node") as (_, _, phone):
        call = await phone.call("2001")
        lease = await held(api)
        before = await begin(operator)
        assert await look(api, lease) == "moving"
        assert (await drain_of(api)).tenants_left == 1
        assert await placing.evacuate_node(runtime(api), "fs-1") == [tenant.tenant_id]
        assert await serving(api, tenant.tenant_id) == "fs-2"
        assert await look(api, lease) == "pausing"
        await operator.post("/v1/nodes/fs-1/cancel-drain")
        again = await operator.post("/v1/nodes/fs-1/cancel-drain")
        assert (again.status_code, again.json()["drain"]["phase"]) == (200, "cancelling")
        assert await look(api, lease, simulated_port=(await read_node(api.database, "fs-1")).esl_port) == "cancelled"
        assert call.is_live
    assert (await jobs_of(api))[-1] == "provisioning.return_tenants"
    since = clock.now() - timedelta(minutes=1)
    assert before["drain"]["requested_at"] > since.isoformat()
    assert await placing.return_tenants(runtime(api), "fs-1", since) == [tenant.tenant_id]
    assert await serving(api, tenant.tenant_id) == "fs-1"


async def test_a_draining_node_that_dies_and_comes_back_goes_on_draining(api: Api, operator: Caller) -> None:
    await add_node(api.database, Seal(api.settings.secret_key), "fs-1")
    lease = await held(api)
    await begin(operator)
    states: list[str | None] = []
    for sighting in (SILENT, HEARD):
        async with api.database.transaction(Scope.platform()) as session:
            states.append(await node_lease.report(session, lease, sighting, lease_seconds=60))
    assert states == ["dead", "draining"]


async def test_a_supervisor_that_lost_its_lease_changes_nothing(api: Api, operator: Caller) -> None:
    await add_node(api.database, Seal(api.settings.secret_key), "fs-1")
    old = await held(api)
    clock.travel_to(clock.now() + timedelta(minutes=2))
    current = await held(api)
    await begin(operator)
    assert await look(api, old) == "moving"
    assert await look(api, current) == "pausing"


async def test_without_a_connection_the_drain_says_why_it_waits(api: Api, operator: Caller) -> None:
    await add_node(api.database, Seal(api.settings.secret_key), "fs-1")
    lease = await held(api)
    await begin(operator)
    await look(api, lease)
    await look(api, lease)
    drain = await drain_of(api)
    assert (drain.phase, drain.problem) == ("pausing", "there is no connection to the node at the moment")


@pytest.mark.parametrize("state", ["joining", "dead", "left"])
async def test_only_an_active_node_is_drained(api: Api, operator: Caller, state: str) -> None:
    await add_node(api.database, Seal(api.settings.secret_key), "fs-1", state=state)
    drain = await operator.post("/v1/nodes/fs-1/drain", {})
    assert (drain.status_code, drain.json()["code"]) == (409, "node_not_active")
    cancel = await operator.post("/v1/nodes/fs-1/cancel-drain")
    assert (cancel.status_code, cancel.json()["code"]) == (409, "node_not_draining")


@pytest.mark.parametrize("deadline_in", [timedelta(minutes=-1), timedelta(days=8)])
async def test_a_deadline_lies_ahead_and_not_too_far(api: Api, operator: Caller, deadline_in: timedelta) -> None:
    await add_node(api.database, Seal(api.settings.secret_key), "fs-1")
    answer = await operator.post("/v1/nodes/fs-1/drain", {"deadline": (clock.now() + deadline_in).isoformat()})
    assert (answer.status_code, answer.json()["field"]) == (422, "deadline")
    assert answer.json()["code"] == "drain_deadline_refused"
    without_offset = await operator.post("/v1/nodes/fs-1/drain", {"deadline": "2036-07-01T22:00:00"})
    assert (without_offset.status_code, without_offset.json()["field"]) == (422, "deadline")
    assert (await read_node(api.database, "fs-1")).state == "active"


async def test_draining_is_the_operators_affair(api: Api) -> None:
    await add_node(api.database, Seal(api.settings.secret_key), "fs-1")
    admin = await api.client("tenant_admin", await api.tenant())
    for path in ("/v1/nodes/fs-1/drain", "/v1/nodes/fs-1/cancel-drain"):
        assert (await admin.post(path, {})).status_code == 403


def runtime(api: Api) -> Runtime:
    """What jobs reach."""
    return Runtime(api.database, api.settings)


async def held(api: Api) -> Lease:
    """A lease on fs-1."""
    node = await read_node(api.database, "fs-1")
    async with api.database.transaction(Scope.platform()) as session:
        lease = await node_lease.claim(session, node.node_id, "test", lease_seconds=60)
    assert lease is not None
    return lease


async def look(api: Api, lease: Lease, *, simulated_port: int | None = None) -> str:
    """One look of a supervisor, with a connection where a port is given; the phase after it."""
    drainer = Drainer(api.database, lease, answer_timeout_seconds=2)
    if simulated_port is None:
        await drainer.advance(None)
    else:
        async with await EslConnection.open("127.0.0.1", simulated_port, ESL_PASSWORD) as connection:
            await drainer.advance(connection)
    return (await drain_of(api)).phase


async def drain_of(api: Api) -> NodeDrain:
    """The drain of fs-1."""
    node = await read_node(api.database, "fs-1")
    async with api.database.transaction(Scope.platform()) as session:
        drain = await drains.find(session, node.node_id)
    assert drain is not None
    return drain


async def serving(api: Api, tenant_id: str) -> str:
    """The node that serves a tenant."""
    async with api.database.transaction(Scope.platform()) as session:
        return (await placements.get(session, tenant_id)).serving_node
