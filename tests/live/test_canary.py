"""The system's own call at a node in service: every step works, it is nobody's, and where it fails it is a fault."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

import psycopg
from sqlalchemy.engine import make_url

from infra.kit import clock
from switch.canary_call import CANARY, CANARY_DESTINATION, LEG_CANARY
from switch.sip.phone import Phone
from tests.live.customers import Customer, Office
from tests.live.system import LiveNode, LiveSystem
from tests.live.test_completeness import SEEN_SECONDS, counted, home_of, hours_later, missing_calls
from tests.live.waiting import until

LOOK_LIMIT_SECONDS = 60.0
"""Several looks, and what they take."""

INCOMPLETE_ADDRESS = 484
FORBIDDEN = 403


@asynccontextmanager
async def no_dialplan(system: LiveSystem) -> AsyncGenerator[None]:
    """Let phones sign in, and leave every call without an answer: a table that only calls need is not to be read."""
    url = make_url(system.database_url).set(drivername="postgresql").render_as_string(hide_password=False)
    async with await psycopg.AsyncConnection.connect(url) as connection:
        await connection.execute("LOCK TABLE media_policy IN ACCESS EXCLUSIVE MODE")
        yield
        await connection.rollback()


async def own_record(node: LiveNode) -> Mapping[str, Any]:
    """The record of a call of the canary's that the node has answered, as the node wrote it."""
    looked_at: set[str] = set()

    async def look() -> Mapping[str, Any] | None:
        for path in node.all_records():
            if path.name in looked_at:
                continue
            try:
                variables = json.loads(path.read_bytes())["variables"]
            except (FileNotFoundError, json.JSONDecodeError):
                continue  # it is being written, or was shipped
            looked_at.add(path.name)
            if variables.get("seatline_leg") == LEG_CANARY and variables.get("answer_uepoch", "0") != "0":
                return variables
        return None

    return await until(look, f"the canary calls at {node.name}", limit_seconds=LOOK_LIMIT_SECONDS)


async def observed(office: Office, customer: Customer, state: str) -> Mapping[str, Any]:
    """What was seen of the customer's canary, as soon as it stands so."""

    async def look() -> Mapping[str, Any] | None:
        seen = await office.operator.items("/v1/observations", tenant_id=customer.tenant_id, state=state)
        return next((each for each in seen if each["kind"] == "canary_failing"), None)

    return await until(look, f"the canary of {customer.domain} is {state}", limit_seconds=LOOK_LIMIT_SECONDS)


async def test_the_system_calls_at_its_nodes_and_the_call_is_nobodys(office: Office) -> None:
    customer = await office.customer(seats=1)
    node = await home_of(office, customer)
    record = await own_record(node)
    assert record["seatline_destination"] == CANARY_DESTINATION
    assert record["hangup_cause"] == "NORMAL_CLEARING"
    assert record["sip_hangup_disposition"] == "recv_bye", "it was the canary that hung up"
    await asyncio.sleep(SEEN_SECONDS)
    hours_later(office.system)
    try:
        latest = (await counted(office, node))[0]
        assert await missing_calls(office, customer, 0) == []
    finally:
        office.system.travel_to(None)
    assert latest["explained"] > 0
    assert latest["started"] == latest["accepted"] + latest["explained"] + latest["missing"]
    for path in ("/v1/calls", "/v1/live/calls", "/v1/charges"):
        assert await office.operator.items(path, tenant_id=customer.tenant_id) == []
    for path in ("/v1/calls", "/v1/live/calls"):
        shown = await office.operator.items(path)
        assert not [leg for leg in shown if leg["destination"] == CANARY_DESTINATION]


async def test_nobody_else_gets_in_by_the_canarys_door(office: Office) -> None:
    customer = await office.customer(seats=1)
    phone = await customer.seats[0].registered()
    assert (await phone.call(CANARY_DESTINATION)).status == INCOMPLETE_ADDRESS
    assert await customer.refusals(1) == ["destination_invalid"]
    for password in ("", "canary"):
        server = await customer.seats[0].server()
        guess = office.keep(Phone(CANARY, customer.domain, server=server, password=password))
        assert (await guess.call(CANARY_DESTINATION)).status == FORBIDDEN
    assert len(await customer.legs(1)) == 1
    assert await customer.charges_now() == []


async def test_a_node_at_which_no_call_is_answered_is_at_fault_while_that_was_watched(office: Office) -> None:
    customer = await office.customer(seats=1)
    node = await customer.serving_node()
    try:
        async with no_dialplan(office.system):
            suspected = await observed(office, customer, "suspected")
            office.system.travel_to(clock.now() + timedelta(minutes=3))
            opened = await observed(office, customer, "open")
        office.system.travel_to(clock.now() + timedelta(minutes=12))
        ended = await observed(office, customer, "ended")
        [fault] = await office.operator.items("/v1/faults", tenant_id=customer.tenant_id)
        shown = await office.operator.get(f"/v1/faults/{fault['fault_id']}")
    finally:
        office.system.travel_to(None)
    assert (opened["subject"], fault["cause"], fault["state"]) == (node, "operator", "confirmed")
    assert fault["began_at"] == suspected["began_at"] == opened["began_at"]
    assert fault["ended_at"] == ended["ended_at"]
    lasted = datetime.fromisoformat(fault["ended_at"]) - datetime.fromisoformat(fault["began_at"])
    assert timedelta(minutes=2) < lasted < timedelta(minutes=6), "until the last look that saw it fail"
    notes = [each["note"] for each in shown["evidence"]]
    assert any(f"cannot call at {node} as a phone would: the call was" in note for note in notes), notes
