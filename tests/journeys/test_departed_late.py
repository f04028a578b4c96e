"""What comes of a tenant after its data was erased (C26): it is taken and counted, and nothing personal comes back."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from billing.outages.models import FaultEvidence
from infra.kit import clock, jobs
from infra.kit.database import Scope
from infra.kit.ids import new_id
from infra.kit.models import AuditEntry
from provisioning.departure import data_map, erasing
from switch.ended_calls.models import EndedCall
from switch.models import CallRecord, NewCall, SetAsideRecord
from switch.record_import import import_directory
from tests.journeys.test_departed import erased, runtime_of
from tests.journeys.test_the_end import left_tenant, never_rented, rows_with
from tests.switch.exchange import call_record
from tests.world import Customer, World, moment

CALLED, CALLER, FRIEND = "8613900139000", "+862150009999", "chen@friends.example.com"
BEGAN = "2026-06-20 10:00"


def late(customer: Customer, number: int, **variables: Any) -> dict[str, Any]:
    """The record of a call of June that a node has kept until now."""
    told = {
        "seatline_destination": CALLED,
        "seatline_gateway": "carrier",
        "session_id": str(number),
        "seatline_seat": new_id("seat"),
    } | variables
    record = call_record(customer.tenant_id, began_at=moment(BEGAN), milliseconds=61_000, **told)
    record["callflow"] = [{"caller_profile": {"caller_id_number": CALLER, "destination_number": CALLED}}]
    record["core-uuid"] = "a3c11f0e-5c1c-4c9e-8a5e-0f6f1c1d2e3f"
    return record


async def records_of(world: World, customer: Customer) -> list[CallRecord]:
    """What is kept of its calls from that hour on."""
    async with world.api.database.transaction(Scope.platform()) as session:
        query = select(CallRecord).where(
            CallRecord.tenant_id == customer.tenant_id, CallRecord.started_at >= moment(BEGAN)
        )
        return list((await session.execute(query.order_by(CallRecord.session_number))).scalars())


async def nothing_came_back(world: World, customer: Customer) -> None:
    """No number, address or list of work of the tenant anywhere."""
    for personal in (CALLED, CALLER, FRIEND):
        assert await rows_with(world, personal) == {}, personal
    async with world.api.database.transaction(Scope.platform()) as session:
        for table in (NewCall, EndedCall):
            query = select(func.count()).select_from(table).where(table.tenant_id == customer.tenant_id)
            assert await session.scalar(query) == 0


async def test_a_record_that_comes_after_the_erasure_is_counted_and_tells_nothing_of_who_called_whom(
    world: World, tmp_path: Path
) -> None:
    customer, neighbour = await left_tenant(world), await world.signs(seats=1, opens="2026-08-01")
    await erased(world, customer)
    record = late(customer, 1)
    for _ in range(2):  # a node posts again what it is not sure of
        await world.node_reports(record)
    (tmp_path / "x.cdr.json").write_text(json.dumps(late(customer, 2)))
    done = await import_directory(world.api.database, tmp_path, file_limit_bytes=100_000)
    assert done.stored == 1
    await world.work()
    first, second = await records_of(world, customer)
    blanks = data_map.BY_TABLE["call_record"].blanks
    for kept, number in ((first, 1), (second, 2)):
        assert {column: getattr(kept, column) for column in blanks} == dict(blanks)
        assert (kept.session_number, kept.billable_milliseconds, kept.gateway) == (number, 61_000, "carrier")
    await nothing_came_back(world, customer)
    await world.node_reports(late(neighbour, 3))
    (theirs,) = await records_of(world, neighbour)
    assert (theirs.caller, theirs.destination, theirs.body != b"") == (CALLER, CALLED, True)


async def test_a_record_that_cannot_be_stored_is_set_aside_without_what_it_tells(world: World) -> None:
    customer, neighbour = await left_tenant(world), await world.signs(seats=1, opens="2026-08-01")
    await erased(world, customer)
    of_the_left = [
        late(customer, 1, uuid=None),
        late(customer, 2, seatline_tenant=None, domain_name=customer.domain, sip_contact=FRIEND),
    ]
    of_others = late(neighbour, 3, uuid=None, sip_from_host=f"not-{customer.domain}")
    for record in (*of_the_left, of_the_left[0], of_others):
        await world.node_reports(record)
    async with world.api.database.transaction(Scope.platform()) as session:
        kept = (await session.execute(select(SetAsideRecord).order_by(SetAsideRecord.session_number))).scalars().all()
        assert [row.session_number for row in kept] == [1, 2, 3], "each explains its number"
        assert [(row.body, row.resolved_at is not None) for row in kept[:2]] == [(b"", True)] * 2
        assert kept[0].times_received == 2
        assert (b"uuid" in kept[2].body, kept[2].resolved_at) == (True, None)
        await session.delete(kept[2])
    await nothing_came_back(world, customer)


async def test_a_record_of_a_tenant_that_stays_is_kept_whole_whatever_it_mentions(world: World) -> None:
    """As its `User-Agent`, which a phone chooses."""
    customer, neighbour = await left_tenant(world), await world.signs(seats=1, opens="2026-08-01")
    agent = {"sip_user_agent": f"phone {customer.domain} of {customer.tenant_id}"}
    await world.node_reports(late(neighbour, 1, uuid=None, **agent))
    await erased(world, customer)
    await world.node_reports(late(neighbour, 2, uuid=None, **agent))
    unknown = late(neighbour, 3, seatline_tenant=new_id("ten"), **agent)
    await world.node_reports(unknown)
    async with world.api.database.transaction(Scope.platform()) as session:
        kept = (await session.execute(select(SetAsideRecord).order_by(SetAsideRecord.session_number))).scalars().all()
        assert [(CALLED.encode() in row.body, row.resolved_at is None) for row in kept] == [(True, True)] * 2 + [
            (False, False)
        ]


async def test_a_domain_that_another_tenant_has_by_now_hides_nothing_of_it(world: World) -> None:
    customer = await never_rented(world)
    await erased(world, customer)
    body = {"name": "the next one", "sip_domain": customer.domain}
    made = await world.operator.does("/v1/tenants", body)
    assert made["sip_domain"] == customer.domain
    await world.node_reports(late(customer, 1, seatline_tenant=None, domain_name=customer.domain))
    async with world.api.database.transaction(Scope.platform()) as session:
        [kept] = (await session.execute(select(SetAsideRecord))).scalars()
        assert (CALLED.encode() in kept.body, kept.resolved_at) == (True, None)


async def test_what_was_being_written_while_the_erasure_went_by_is_swept_up(world: World) -> None:
    """As a transaction does that began before the erasure and is committed when its table has been gone through."""
    customer = await left_tenant(world)
    gone = await erased(world, customer)
    runtime: jobs.Runtime = runtime_of(world)
    async with world.api.database.transaction(Scope.platform()) as session:
        session.add(a_record(customer, clock.now()))
        session.add(
            FaultEvidence(
                tenant_id=customer.tenant_id,
                evidence_id=new_id("evi"),
                fault_id="flt_x",
                observation_id=None,
                seen_at=clock.now(),
                source="phones",
                note=FRIEND,
            )
        )
    assert (await rows_with(world, CALLED)).keys() == {"call_record"}
    await erasing.sweep(runtime, gone["departure_id"])
    await nothing_came_back(world, customer)
    swept = {"call_record": 1, "fault_evidence": 1}
    async with world.api.database.transaction(Scope.platform()) as session:
        query = select(AuditEntry.facts).where(AuditEntry.action == "departure.swept")
        assert (await session.execute(query)).scalars().all() == [{"rows": swept}]
    now = await world.operator.ask(f"/v1/departures/{gone['departure_id']}")
    assert {name: now["counts"][name] - gone["counts"].get(name, 0) for name in swept} == swept
    await erasing.sweep(runtime, gone["departure_id"])
    async with world.api.database.transaction(Scope.platform()) as session:
        assert len((await session.execute(query)).scalars().all()) == 1, "nothing more was found"


def a_record(customer: Customer, now: datetime) -> CallRecord:
    began = moment(BEGAN)
    return CallRecord(
        tenant_id=customer.tenant_id,
        month=began.date().replace(day=1),
        leg_id="0d9a4f6e-0000-4000-8000-000000000001",
        node="node-1",
        leg="gateway",
        direction="outbound",
        caller=CALLER,
        destination=CALLED,
        started_at=began,
        ended_at=began,
        billable_milliseconds=0,
        hangup_cause="NORMAL_CLEARING",
        received_at=now,
        body=b"x",
    )
