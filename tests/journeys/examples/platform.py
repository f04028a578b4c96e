"""Requests of the platform: tenants, clients, nodes, numbers, calls."""

from __future__ import annotations

import itertools
import json
import uuid
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

from infra.kit import clock
from infra.kit.database import Scope
from infra.kit.sealing import Seal
from switch import nodes, placements
from switch.completeness import counting
from switch.completeness.counting import SessionCount
from switch.draining import drains
from tests.journeys.house import Example, House
from tests.switch.builders import running_leg
from tests.switch.esl.scripted_node import PASSWORD as ESL_PASSWORD
from tests.world import MOBILE

_numbers = itertools.count(1)


async def _create_tenant(house: House) -> Example:
    domain = f"new-{next(_numbers)}.example.com"
    return Example(house.world.operator, "/v1/tenants", {"name": "新客户", "sip_domain": domain})


async def new_tenant(house: House) -> str:
    return (await (await _create_tenant(house)).send()).json()["tenant_id"]


async def _suspend_tenant(house: House) -> Example:
    path = f"/v1/tenants/{await new_tenant(house)}/suspension"
    return Example(house.world.operator, path, {"note": "sub-letting"})


async def _lift_suspension(house: House) -> Example:
    suspension = await _suspend_tenant(house)
    await suspension.send()
    return Example(house.world.operator, suspension.path.replace("suspension", "restoration"))


async def _create_client(house: House) -> Example:
    body = {"name": "crm", "role": "tenant_viewer", "tenant_id": house.theirs.tenant_id}
    return Example(house.theirs.admin, "/v1/clients", body)


async def _revoke_client(house: House) -> Example:
    made = (await (await _create_client(house)).send()).json()
    return Example(house.theirs.admin, f"/v1/clients/{made['client_id']}/revocation")


async def _create_node(house: House) -> Example:
    number = next(_numbers)
    port = 25_000 + 10 * number
    addresses = {"sip_host": "127.0.0.1", "esl_host": "127.0.0.1", "sip_port": port, "external_sip_port": port + 1}
    body = {"name": f"more-{number}", "esl_port": port + 2} | addresses
    return Example(house.world.operator, "/v1/nodes", body)


async def _draining_node(house: House) -> str:
    """The path of a node that died while it was being drained: no job has to reach it."""
    path = f"/v1/nodes/{(await (await _create_node(house)).send()).json()['node_id']}"
    await _is(house, path, "active")
    await house.world.operator.does(f"{path}/drain", {})
    await _is(house, path, "dead")
    return path


async def _is(house: House, path: str, state: str) -> None:
    async with house.world.api.database.transaction(Scope.platform()) as session:
        (await nodes.get(session, path.rpartition("/")[2])).state = state


async def _leave_node(house: House) -> Example:
    path = f"/v1/nodes/{(await (await _create_node(house)).send()).json()['node_id']}"
    return Example(house.world.operator, f"{path}/leave")


async def _drain_node(house: House) -> Example:
    deadline = (clock.now() + timedelta(hours=1)).isoformat()
    return Example(house.world.operator, f"{await _draining_node(house)}/drain", {"deadline": deadline})


async def _cancel_node_drain(house: House) -> Example:
    return Example(house.world.operator, f"{await _draining_node(house)}/cancel-drain")


async def _end_node_sweep(house: House) -> Example:
    path = await _draining_node(house)
    async with house.world.api.database.transaction(Scope.platform()) as session:
        drain = await drains.find(session, path.rpartition("/")[2])
        assert drain is not None
        drain.phase = "sweeping"
    return Example(house.world.operator, f"{path}/end-sweep", {"reason": "its disk is broken"})


async def _move_tenant(house: House) -> Example:
    tenant_id = await new_tenant(house)
    async with house.world.api.database.transaction(Scope.platform()) as session:
        await placements.assign(session, tenant_id, home_node="node-1", spare_node=None)
    order = {"home_node": "node-2", "reason": "the node it lives on is crowded"}
    return Example(house.world.operator, f"/v1/tenants/{tenant_id}/move", order)


async def _hang_up_live_call(house: House) -> Example:
    made = (await (await _create_node(house)).send()).json()
    leg_id = str(uuid.uuid4())
    async with house.world.api.database.transaction(Scope.platform()) as session:
        node = await nodes.get(session, made["node_id"])
        node.esl_port = house.event_socket.port
        node.sealed_esl_password = Seal(house.world.api.settings.secret_key).close(ESL_PASSWORD)
        session.add(running_leg(house.theirs.tenant_id, node.name, leg_id))
    return Example(house.theirs.admin, f"/v1/live/calls/{leg_id}/hangup")


async def _create_gateway(house: House) -> Example:
    return Example(house.world.operator, "/v1/gateways", {"name": f"carrier-{next(_numbers)}", "host": "192.0.2.11"})


async def _assign_phone_number(house: House) -> Example:
    body = {"tenant_id": house.theirs.tenant_id, "number": f"+8621{61000000 + next(_numbers)}", "extension": "1001"}
    return Example(house.world.operator, "/v1/phone-numbers", body)


async def _waiting_record(house: House) -> str:
    record = await house.theirs.seat(1).record(MOBILE, milliseconds=1_000)
    elsewhere = "/switch/cdr?uuid=00000000-0000-4000-8000-000000000000"  # another leg than the record's: set aside
    answer = await house.world.node_posts("node-1", elsewhere, json.dumps(record).encode(), "application/json")
    assert answer.status_code == 200
    waiting = (await house.world.operator.ask("/v1/set-aside-records"))["items"][0]["record_id"]
    return f"/v1/set-aside-records/{waiting}"


async def _retry_set_aside_record(house: House) -> Example:
    return Example(house.world.operator, f"{await _waiting_record(house)}/retry", {})


async def _correct_set_aside_records(house: House) -> Example:
    """A record that came from the future, since its node's clock ran an hour ahead."""
    record = await house.theirs.seat(1).record(MOBILE, milliseconds=1_000)
    for name in ("start_uepoch", "answer_uepoch", "end_uepoch"):
        record["variables"][name] = str(int(record["variables"][name]) + 3_600_000_000)
    answer = await house.world.node_posts("node-1", "/switch/cdr", json.dumps(record).encode(), "application/json")
    assert answer.status_code == 200
    now = clock.now()
    body = {
        "node": "node-1",
        "received_from": (now - timedelta(minutes=1)).isoformat(),
        "received_until": (now + timedelta(minutes=1)).isoformat(),
        "clock_ahead_seconds": 3_600,
        "reason": "its battery was empty",
    }
    return Example(house.world.operator, "/v1/set-aside-records/clock-corrections", body)


async def _dismiss_set_aside_record(house: House) -> Example:
    path = f"{await _waiting_record(house)}/dismissal"
    return Example(house.world.operator, path, {"reason": "a carrier's test"})


async def _sign_off_hour(house: House) -> Example:
    """An hour in which two records of a node's calls are missing."""
    hour = house.ids["hour"]
    async with house.world.api.database.transaction(Scope.platform()) as session:
        count = SessionCount(str(uuid.uuid4()), 2, datetime.fromisoformat(f"{hour}:10:00+08:00"))
        await counting.observe(session, house.ids["node"], count, added_at=count.at)
    path = f"/v1/completeness/{house.ids['node']}/{hour}/sign-off"
    return Example(house.world.finance, path, {"reason": "its disk was lost"})


EXAMPLES: dict[str, Callable[[House], Awaitable[Example]]] = {
    "AssignPhoneNumber": _assign_phone_number,
    "CancelNodeDrain": _cancel_node_drain,
    "CorrectSetAsideRecords": _correct_set_aside_records,
    "CreateClient": _create_client,
    "CreateGateway": _create_gateway,
    "CreateNode": _create_node,
    "CreateTenant": _create_tenant,
    "DismissSetAsideRecord": _dismiss_set_aside_record,
    "DrainNode": _drain_node,
    "EndNodeSweep": _end_node_sweep,
    "HangUpLiveCall": _hang_up_live_call,
    "LeaveNode": _leave_node,
    "LiftSuspension": _lift_suspension,
    "MoveTenant": _move_tenant,
    "RetrySetAsideRecord": _retry_set_aside_record,
    "RevokeClient": _revoke_client,
    "SignOffHour": _sign_off_hour,
    "SuspendTenant": _suspend_tenant,
}
"""By operation id."""
