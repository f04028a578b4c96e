"""A tenant that has ended or left: its numbers go back, nothing new is made for it, nothing personal is left behind."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, text, update

from billing import contracts
from infra.kit import clock, jobs
from infra.kit.database import Scope
from infra.kit.models import IdempotencyRecord
from infra.kit.objects import Objects
from infra.kit.settings import SettingRefused, load
from provisioning.departure import departures, erasing, export_writing, exports
from provisioning.models import Seat
from switch import phone_numbers, set_aside_records
from switch.models import PhoneNumber, SetAsideRecord
from switch.number_pool.models import PooledNumber
from tenancy.models import Tenant
from tenancy.people import persons, resets
from tests.journeys.test_the_end import announced_end, left_tenant, never_rented, rows_with
from tests.world import Customer, World, moment

HONG_KONG = "+85221234567"
NAME, MAIL, EMPLOYEE, GROUP = "李小红", "li@anxin.example.com", "A-0042", "售后三组"


def runtime_of(world: World) -> jobs.Runtime:
    """What jobs are given."""
    return jobs.Runtime(world.api.database, world.api.settings)


async def erased(world: World, customer: Customer) -> dict[str, Any]:
    """The departure, carried out on its day."""
    departure = await announced_end(world, customer)
    clock.travel_to(moment(f"{departure['erase_on']} 09:00"))
    assert await erasing.carry_out(runtime_of(world), departure["departure_id"])
    return await world.operator.ask(f"/v1/departures/{departure['departure_id']}")


async def _pooled(world: World) -> dict[str, tuple[str, str | None]]:
    async with world.api.database.transaction(Scope.platform()) as session:
        rows = await session.execute(select(PooledNumber.number, PooledNumber.state, PooledNumber.tenant_id))
        return {f"+{row.number}": (row.state, row.tenant_id) for row in rows}


async def test_numbers_of_a_tenant_whose_last_contract_has_ended_go_into_quarantine(world: World) -> None:
    customer, neighbour = await left_tenant(world), await world.signs(seats=1, opens="2026-08-01")
    held = {item["number"]: item["tenant_id"] for item in (await world.operator.ask("/v1/phone-numbers"))["items"]}
    assert set(held.values()) == {neighbour.tenant_id}
    states = await _pooled(world)
    assert [number for number, state in states.items() if state == ("quarantined", customer.tenant_id)]
    prepared = {"tenant_id": customer.tenant_id, "number": "+862150001234"}
    await world.operator.does("/v1/phone-numbers", prepared)  # they will sign again
    await jobs_of_a_tenant(world, customer)
    assert (await _pooled(world))["+862150001234"] == ("assigned", customer.tenant_id)


async def jobs_of_a_tenant(world: World, customer: Customer) -> None:
    """What an end, a payment or a new order wakes."""
    async with world.api.database.transaction(Scope.platform()) as session:
        await jobs.defer(session, contracts.ADVANCE_ORDERS, tenant_id=customer.tenant_id)
    await world.work()


async def test_nothing_new_is_made_for_a_tenant_that_has_left(world: World) -> None:
    customer = await never_rented(world)
    await erased(world, customer)
    tenant_id = customer.tenant_id
    lease = {"tenant_id": tenant_id, "title": "again", "preset": "hosted", "opens_on": "2026-08-01"}
    hook = {"tenant_id": tenant_id, "url": "https://x.example.com", "event_types": ["invoice.issued"]}
    person = {"tenant_id": tenant_id, "address": MAIL, "name": NAME, "role": "tenant_admin", "language": "zh"}
    wanted: list[tuple[str, dict[str, Any]]] = [
        ("/v1/contracts", lease),
        ("/v1/phone-numbers", {"tenant_id": tenant_id, "number": HONG_KONG}),
        ("/v1/clients", {"tenant_id": tenant_id, "name": "one more", "role": "tenant_admin"}),
        ("/v1/invitations", person),
        ("/v1/webhook-endpoints", hook),
        (f"/v1/tenants/{tenant_id}/exports", {}),
    ]
    before = await rows_with(world, tenant_id)
    for path, body in wanted:
        answer = await world.operator.post(path, body)
        if answer.status_code == 403:
            continue  # not the operator's to make, and whose it is, is gone
        assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (
            409,
            "tenant_closed",
            "tenant_id",
        ), path
    contacts = {"contacts": [{"address": MAIL}]}
    answer = await world.finance.send("PUT", f"/v1/tenants/{tenant_id}/billing-contacts", json=contacts)
    assert answer.json()["code"] in {"tenant_closed", "forbidden"}
    after = await rows_with(world, tenant_id)
    assert {name: len(rows) for name, rows in after.items()} == {name: len(rows) for name, rows in before.items()}


async def test_an_erasure_waits_for_a_contract_that_is_just_being_signed_and_then_does_not_begin(world: World) -> None:
    customer = await never_rented(world)
    departure = await announced_end(world, customer)
    clock.travel_to(moment(f"{departure['erase_on']} 09:00"))
    async with world.api.database.transaction(Scope.platform()) as session:
        await contracts.create_contract(
            session,
            tenant_id=customer.tenant_id,
            title="again",
            preset="hosted",
            terms={},
            opens_on=clock.today(),
        )
        erasure = asyncio.create_task(erasing.carry_out(runtime_of(world), departure["departure_id"]))
        await _until_somebody_waits(world)
        assert not erasure.done()
    assert not await erasure
    held = await world.operator.ask(f"/v1/departures/{departure['departure_id']}")
    assert held["state"] == "announced"
    assert "contracts have not ended" in held["held_because"]


async def _until_somebody_waits(world: World) -> None:
    """Until a transaction waits for another's lock."""
    async with asyncio.timeout(10), world.api.database.engine.connect() as connection:
        while not await connection.scalar(text("SELECT count(*) FROM pg_locks WHERE NOT granted")):
            continue


async def test_no_person_is_left_in_seats_kept_answers_jobs_or_records_set_aside(world: World) -> None:
    customer = await left_tenant(world)
    database, tenant_id = world.api.database, customer.tenant_id
    await world.operator.does("/v1/phone-numbers", {"tenant_id": tenant_id, "number": HONG_KONG})
    async with database.transaction(Scope.platform()) as session:
        named = {"group_name": GROUP, "person_name": NAME, "person_mail": MAIL, "person_number": EMPLOYEE}
        await session.execute(update(Seat).where(Seat.tenant_id == tenant_id).values(**named))
        person = await persons.create(
            session,
            tenant_id=tenant_id,
            address=MAIL,
            name=NAME,
            role="tenant_admin",
            language="zh",
            password_hash=None,
        )
        kept = {"key": "1", "request_digest": "", "created_at": clock.now(), "status": 200, "sealed_response": b"x"}
        session.add(IdempotencyRecord(client_id=person.person_id, **kept))
        body = f'{{"variables": {{"domain_name": "{customer.domain}", "from": "{MAIL}"}}}}'
        await set_aside_records.set_aside(session, "node-1", body.encode(), "seatline_tenant: missing")
        theirs = body.replace(customer.domain, f"not-{customer.domain}").replace(MAIL, "")
        await set_aside_records.set_aside(session, "node-1", theirs.encode(), "seatline_tenant: missing")
        await jobs.defer(session, resets.BEGIN, company=customer.domain, address=MAIL)
        await session.execute(
            text("UPDATE procrastinate_jobs SET status = 'failed' WHERE args ->> 'address' IS NOT NULL")
        )
    gone = await erased(world, customer)
    assert gone["state"] == "erased"
    for personal in (NAME, MAIL, EMPLOYEE, GROUP):
        assert await rows_with(world, personal) == {}, personal
    async with database.engine.connect() as connection:
        query = text("SELECT count(*) FROM procrastinate_jobs WHERE strpos(args::text, :mail) > 0")
        assert await connection.scalar(query, {"mail": MAIL}) == 0
    async with database.transaction(Scope.platform()) as session:
        bodies = (await session.execute(select(SetAsideRecord.body))).scalars().all()
        assert sorted(bodies) == [b"", theirs.encode()], "that a record came is kept, what it told is not"
        kept_answers = select(func.count()).where(IdempotencyRecord.client_id == person.person_id)
        assert await session.scalar(kept_answers) == 0
    assert (await _pooled(world))[HONG_KONG] == ("quarantined", None), "found by its own country's digits"


async def test_an_erasure_leaves_the_numbers_of_others_alone_and_keeps_to_the_set_quarantine(world: World) -> None:
    customer, neighbour = await never_rented(world), await world.signs(seats=1, opens="2026-08-01")
    for number in (HONG_KONG, "+862150001234"):
        await world.operator.does("/v1/phone-numbers", {"tenant_id": customer.tenant_id, "number": number})
    week = replace(world.api.settings, number_quarantine_days=7)
    departure = await announced_end(world, customer)
    clock.travel_to(moment(f"{departure['erase_on']} 09:00"))
    assert await erasing.carry_out(jobs.Runtime(world.api.database, week), departure["departure_id"])
    async with world.api.database.transaction(Scope.platform()) as session:
        assert (await session.execute(select(PhoneNumber.tenant_id))).scalars().all() == [neighbour.tenant_id]
        query = select(PooledNumber.quarantined_until).where(PooledNumber.state == "quarantined")
        ends = set((await session.execute(query)).scalars())
    assert {clock.local_date(end) for end in ends if end is not None} == {clock.today() + timedelta(days=7)}


async def test_an_export_that_is_made_while_the_data_is_erased_is_not_kept(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    customer = await never_rented(world)
    made = await customer.admin.does(f"/v1/tenants/{customer.tenant_id}/exports")
    write = export_writing.write

    async def written_slowly(*given: Any) -> dict[str, Any]:
        contents = await write(*given)
        await erased(world, customer)
        return contents

    monkeypatch.setattr(export_writing, "write", written_slowly)
    await exports.make(runtime_of(world), made["export_id"])
    stored = Objects(world.api.settings)
    assert [page async for page in stored.places(f"exports/{customer.tenant_id}") if page] == []
    shown = await world.operator.ask(f"/v1/exports/{made['export_id']}")
    assert shown["state"] == "expired"


async def test_two_numbers_given_at_once_are_not_both_shown(world: World) -> None:
    customer = await never_rented(world)

    async def gives(number: str) -> None:
        async with world.api.database.transaction(Scope.platform()) as session:
            tenant_id = customer.tenant_id
            await phone_numbers.assign(session, tenant_id, number, extension=None, is_caller_number=True)

    await asyncio.gather(*(gives(f"+86215000{number}") for number in range(1000, 1006)))
    async with world.api.database.transaction(Scope.platform()) as session:
        query = select(PhoneNumber.is_caller_number).where(PhoneNumber.tenant_id == customer.tenant_id)
        assert sorted((await session.execute(query)).scalars()) == [False] * 5 + [True]
        assert await session.scalar(select(Tenant.standing).where(Tenant.tenant_id == customer.tenant_id)) == "active"


async def test_how_long_data_is_kept_is_a_setting(world: World) -> None:
    customer = await never_rented(world)
    month = replace(world.api.settings, departure_notice_days=30)
    async with world.api.database.transaction(Scope.platform()) as session:
        departure = await departures.announce(
            session, month, tenant_id=customer.tenant_id, reason="over", erase_on=None
        )
        assert departure.erase_on == clock.today() + timedelta(days=30)
    settings = load({"SEATLINE_RETENTION_DAYS": "30", "SEATLINE_DEPARTURE_NOTICE_DAYS": "7"})
    assert (settings.retention_days, settings.departure_notice_days) == (30, 7)
    with pytest.raises(SettingRefused, match="SEATLINE_RETENTION_DAYS"):
        load({"SEATLINE_RETENTION_DAYS": "0"})
