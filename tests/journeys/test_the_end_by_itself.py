"""A lease that is over and settled and whose end nobody announces (C26): people are reminded, or it does so itself."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from infra.kit import clock, jobs
from infra.kit.database import Scope
from infra.kit.outbox.kinds import Desk, writer_of
from infra.kit.outbox.models import OutboxMail
from infra.kit.settings import SettingRefused, load
from provisioning.departure import mails, waiting
from provisioning.departure.models import TenantExport
from provisioning.rules import departure as rules
from tests.journeys.test_the_end import announced_end, left_tenant
from tests.world import Customer, World, moment

OPERATOR = "ops@platform.example"
DAY_BEFORE, DUE = "2026-09-14 09:00", "2026-09-15 09:00"
"""Fourteen days of notice before 29 September, on which the retention is over."""


async def tended(world: World, at: str, **settings: Any) -> None:
    """Let the hourly job run at a local moment; between them nothing of interest happens."""
    clock.travel_to(moment(at))
    own = replace(world.api.settings, finance_mail=OPERATOR, **settings)
    await waiting.tend(jobs.Runtime(world.api.database, own))


async def reminders(world: World, customer: Customer) -> list[OutboxMail]:
    async with world.api.database.transaction(Scope.platform()) as session:
        query = select(OutboxMail).where(
            OutboxMail.kind == mails.OPERATOR_WAITS, OutboxMail.tenant_id == customer.tenant_id
        )
        return list((await session.execute(query.order_by(OutboxMail.day))).scalars())


async def departures(world: World) -> list[dict[str, Any]]:
    return (await world.operator.ask("/v1/departures"))["items"]


async def test_people_are_reminded_to_announce_an_end_every_thirty_days(world: World) -> None:
    customer = await left_tenant(world)
    await world.signs(seats=1, opens="2026-08-01")  # goes on, and is nobody's business here
    await tended(world, DAY_BEFORE)
    assert await reminders(world, customer) == []
    for at in (DUE, "2026-09-15 17:00", "2026-10-14 09:00", "2026-10-15 09:00"):
        await tended(world, at)
    first, second = await reminders(world, customer)
    assert (first.day, second.day, first.recipient) == (date(2026, 9, 15), date(2026, 10, 15), OPERATOR)
    assert await departures(world) == []
    async with world.api.database.transaction(Scope.platform()) as session:
        draft = await writer_of(mails.OPERATOR_WAITS)(Desk(session, first, world.api.settings, None))
    assert draft is not None
    said = draft.words.subject + draft.words.text
    assert customer.tenant_id in said
    assert "2026" in said


async def test_an_end_announces_itself_where_the_operator_has_said_so(world: World) -> None:
    customer = await left_tenant(world)
    await tended(world, DAY_BEFORE, departures="automatic")
    assert await departures(world) == []
    await tended(world, DUE, departures="automatic")
    await tended(world, DUE, departures="automatic")
    [announced] = await departures(world)
    assert (announced["tenant_id"], announced["state"]) == (customer.tenant_id, "announced")
    assert announced["erase_on"] == "2026-09-29"
    assert announced["begun_by"] == "system"
    assert "2026-06-30" in announced["reason"]
    assert await reminders(world, customer) == []
    async with world.api.database.transaction(Scope.platform()) as session:
        made = (await session.execute(select(TenantExport.state))).scalars().all()
    assert made == ["waiting"], "there is something to take along"


async def test_a_lease_that_lapsed_unopened_is_over_with_the_month_it_was_to_open_in(world: World) -> None:
    customer = await left_tenant(world)
    span = {"opens_on": "2026-07-20", "ends_on": "2029-06-30"}
    lease = {"tenant_id": customer.tenant_id, "title": "again", "preset": "hosted", "terms": {}} | span
    customer.contract_id = (await world.operator.does("/v1/contracts", lease))["contract_id"]
    await customer.orders(1, span["opens_on"])
    await world.travel_to("2026-08-03 09:00")
    assert (await world.operator.ask(f"/v1/contracts/{customer.contract_id}"))["state"] == "lapsed"
    await tended(world, "2026-10-16 09:00", departures="automatic")
    assert await departures(world) == []
    await tended(world, "2026-10-17 09:00", departures="automatic")
    [announced] = await departures(world)
    assert (announced["tenant_id"], announced["erase_on"]) == (customer.tenant_id, "2026-10-31")


async def test_whose_end_was_called_off_is_left_in_peace(world: World) -> None:
    customer = await left_tenant(world)
    departure = await announced_end(world, customer)
    await world.operator.does(f"/v1/departures/{departure['departure_id']}/cancellation", {"reason": "they may return"})
    await tended(world, DUE, departures="automatic")
    await tended(world, DUE)
    assert [each["state"] for each in await departures(world)] == ["cancelled"]
    assert await reminders(world, customer) == []


async def test_what_is_not_settled_waits_without_a_word(world: World) -> None:
    customer = await left_tenant(world)
    too_much = {"tenant_id": customer.tenant_id, "amount": "5.00", "value_on": "2026-07-02", "reference": "twice"}
    await world.finance.does("/v1/payments", too_much)
    await tended(world, DUE, departures="automatic")
    await tended(world, DUE)
    assert await departures(world) == []
    assert await reminders(world, customer) == []


def test_the_days_of_an_announcement() -> None:
    end = date(2026, 6, 30)
    assert rules.announcement_due(end, retention_days=90, notice_days=14) == date(2026, 9, 15)
    assert rules.announcement_due(end, retention_days=5, notice_days=30) == date(2026, 7, 1)
    due = date(2026, 9, 15)
    for after, counts in ((0, 0), (29, 0), (30, 30), (65, 60)):
        assert rules.reminder_day(due, due + timedelta(days=after)) == due + timedelta(days=counts)


def test_the_setting_is_one_of_two() -> None:
    assert load({}).departures == "by_hand"
    assert load({"SEATLINE_DEPARTURES": "automatic"}).departures == "automatic"
    with pytest.raises(SettingRefused, match="SEATLINE_DEPARTURES"):
        load({"SEATLINE_DEPARTURES": "sometimes"})
