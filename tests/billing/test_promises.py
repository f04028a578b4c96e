"""Promises to pay: in every phase of an unpaid invoice finance keeps the service open, until a day (C8, rule 7)."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import select

from billing import jobs as billing_jobs
from billing.reminders import jobs as reminder_jobs
from billing.reminders.contacts import ContactWanted
from billing.reminders.topics import TOPICS
from billing.rules.dunning import LONGEST_PROMISE_DAYS, DunningStep, is_acceptable_promise, step_for
from billing.rules.terms import preset_terms
from infra.kit.database import Database, Scope
from infra.kit.models import AuditEntry
from infra.kit.settings import Settings
from tenancy import tenants
from tests.api import Api
from tests.billing.finance import does, opened, refused
from tests.billing.lease_world import LeaseWorld
from tests.billing.mail_world import ENGLISH, Postbox, has_contacts, live_day, postbox, posted

ACTIVE, SUSPENDED = ("active", None), ("suspended", "payment_overdue")


@pytest.fixture
async def box() -> AsyncGenerator[Postbox]:
    async with postbox() as opened_box:
        yield opened_box


@pytest.fixture
def world(database: Database, settings: Settings, box: Postbox) -> LeaseWorld:
    return posted(LeaseWorld(database, settings), box)


async def _late(world: LeaseWorld, until: str) -> None:
    """April's 4,000.00 were due on the 10th and suspend from the 16th; nothing is paid, it is the day `until`."""
    await opened(world)
    await world.live_to("2026-04-01")
    await has_contacts(world, ContactWanted(ENGLISH, "en", TOPICS))
    await live_day(world, until)


async def _promised(world: LeaseWorld, api: Api, until: str, reason: str = "their bank was closed") -> dict[str, Any]:
    finance = await api.client("finance")
    path = f"/v1/tenants/{world.tenant_id}/payment-promises"
    return await does(finance, path, {"until": until, "reason": reason})


async def _lives(world: LeaseWorld, box: Postbox, *days: str) -> dict[str, tuple[str, list[str]]]:
    """Standing at the end of each of these days of 2026, and the first words of what was written on it."""
    seen: dict[str, tuple[str, list[str]]] = {}
    for day in days:
        await live_day(world, f"2026-{day}")
        subjects = [" ".join(subject.split()[:5]) for _, subject in box.taken()]
        seen[day] = ((await world.standing())[0], sorted(subjects))
    return seen


async def test_a_promise_taken_in_time_puts_the_suspension_off(world: LeaseWorld, box: Postbox, api: Api) -> None:
    await _late(world, "2026-04-13")
    promise = await _promised(world, api, "2026-04-18")
    assert (promise["state"], promise["until"]) == ("in_force", "2026-04-18")
    box.taken()
    assert await _lives(world, box, "04-14", "04-15", "04-16", "04-17", "04-18", "04-19", "04-20") == {
        "04-14": ("active", []),
        "04-15": ("active", []),
        "04-16": ("active", []),
        "04-17": ("active", []),
        "04-18": ("active", ["Your service will be paused"]),
        "04-19": ("suspended", ["Invoice 2026-0002 is 9 days", "Your service is paused: CNY"]),
        "04-20": ("suspended", ["Invoice 2026-0002 is 10 days"]),
    }
    assert await world.suspensions() == [(date(2026, 4, 19), None)]


async def test_a_promise_restores_who_is_suspended_in_the_same_transaction(
    world: LeaseWorld, box: Postbox, api: Api
) -> None:
    await _late(world, "2026-04-16")
    assert await world.standing() == SUSPENDED
    box.taken()
    await _promised(world, api, "2026-04-20")
    assert await world.standing() == ACTIVE
    assert await world.suspensions() == [(date(2026, 4, 16), date(2026, 4, 16))]
    await reminder_jobs.remind_tenant(world.runtime, tenant_id=world.tenant_id)
    assert [subject for _, subject in box.taken()] == ["Your service is open again"]
    await live_day(world, "2026-04-20")
    assert await world.standing() == ACTIVE
    await live_day(world, "2026-04-21")
    assert await world.standing() == SUSPENDED
    assert await world.suspensions() == [
        (date(2026, 4, 16), date(2026, 4, 16)), (date(2026, 4, 21), None),
    ]  # fmt: skip


async def test_a_promise_that_is_kept_leaves_no_trace_of_a_suspension(world: LeaseWorld, api: Api) -> None:
    await _late(world, "2026-04-13")
    await _promised(world, api, "2026-04-18")
    await live_day(world, "2026-04-18")
    await world.pay()
    await live_day(world, "2026-04-19")
    assert (await world.standing(), await world.suspensions()) == (ACTIVE, [])


async def test_a_promise_before_the_due_day_changes_no_other_reminder(
    world: LeaseWorld, box: Postbox, api: Api
) -> None:
    await _late(world, "2026-04-02")
    await _promised(world, api, "2026-05-15")
    box.taken()
    april = ("04-06", "04-07", "04-08", "04-10", "04-11", "04-15", "04-16")
    may = ("05-01", "05-07", "05-10", "05-11", "05-15", "05-16")
    days = await _lives(world, box, *april, *may)
    assert {day: subjects for day, (_, subjects) in days.items() if subjects} == {
        "04-07": ["Invoice 2026-0002 is due on"],
        "04-10": ["Invoice 2026-0002 is due today:"],
        "05-01": ["Invoice 2026-0003: CNY 4,000.00, due"],
        "05-07": ["Invoice 2026-0003 is due on"],
        "05-10": ["Invoice 2026-0003 is due today:"],
        "05-15": ["Your service will be paused", "Your service will be paused"],
        "05-16": ["Invoice 2026-0002 is 36 days", "Invoice 2026-0003 is 6 days", "Your service is paused: CNY"],
    }
    assert [day for day, (standing, _) in days.items() if standing == "suspended"] == ["05-16"]


async def test_a_withdrawn_promise_lets_the_suspension_follow(world: LeaseWorld, api: Api) -> None:
    await _late(world, "2026-04-16")
    promise = await _promised(world, api, "2026-04-30")
    finance = await api.client("finance")
    path = f"/v1/tenants/{world.tenant_id}/payment-promises/{promise['promise_id']}/withdrawal"
    assert refused(await finance.post(path, {"reason": " "})) == (422, "invalid_input", "reason")
    withdrawn = await does(finance, path, {"reason": "they say they will not"}, 200)
    assert (withdrawn["state"], withdrawn["withdrawal_reason"]) == ("withdrawn", "they say they will not")
    assert await world.standing() == ACTIVE
    await billing_jobs.advance_tenant_dunning(world.runtime, tenant_id=world.tenant_id)
    assert await world.standing() == SUSPENDED
    assert refused(await finance.post(path, {"reason": "x"})) == (409, "payment_promise_not_in_force", "promise_id")
    await _promised(world, api, "2026-04-30")
    assert await world.standing() == ACTIVE


async def test_an_operators_decision_is_not_lifted_by_a_promise(world: LeaseWorld, api: Api) -> None:
    await _late(world, "2026-04-13")
    async with world.database.transaction(Scope.platform()) as session:
        await tenants.suspend(session, world.tenant_id, reason="operator_decision")
    await _promised(world, api, "2026-04-30")
    assert await world.standing() == ("suspended", "operator_decision")


async def test_one_promise_at_a_time_listed_and_audited(world: LeaseWorld, api: Api) -> None:
    await _late(world, "2026-04-13")
    promise = await _promised(world, api, "2026-04-18", "the owner called")
    finance = await api.client("finance")
    path = f"/v1/tenants/{world.tenant_id}/payment-promises"
    second = await finance.post(path, {"until": "2026-04-20", "reason": "again"})
    assert refused(second) == (409, "payment_promise_in_force", None)
    assert promise["promise_id"] in second.json()["detail"]
    await live_day(world, "2026-04-19")
    finance = await api.client("finance")
    again = await does(finance, path, {"until": "2026-04-20", "reason": "again"})
    listed = (await finance.get("/v1/payment-promises", {"tenant_id": world.tenant_id})).json()["items"]
    assert [(each["promise_id"], each["state"]) for each in listed] == [
        (again["promise_id"], "in_force"), (promise["promise_id"], "over"),
    ]  # fmt: skip
    async with world.database.transaction(Scope.platform()) as session:
        query = select(AuditEntry).where(AuditEntry.action == "payment_promise.taken").order_by(AuditEntry.entry_id)
        entries = (await session.execute(query)).scalars().all()
    assert [entry.facts["reason"] for entry in entries] == ["the owner called", "again"]
    assert entries[1].actor == finance.client_id


async def test_a_bad_promise_is_refused_by_the_field(world: LeaseWorld, api: Api) -> None:
    await _late(world, "2026-04-13")
    finance = await api.client("finance")
    path = f"/v1/tenants/{world.tenant_id}/payment-promises"
    for wrong, expected in (
        ({"until": "2026-04-12"}, (422, "payment_promise_refused", "until")),
        ({"until": "2026-06-13"}, (422, "payment_promise_refused", "until")),
        ({"until": "9999-12-31"}, (422, "payment_promise_refused", "until")),
        ({"until": "soon"}, (400, "validation_failed", "until")),
        ({"reason": "  "}, (422, "payment_promise_refused", "reason")),
        ({"reason": "x" * 501}, (422, "payment_promise_refused", "reason")),
        ({"colour": "red"}, (400, "validation_failed", "colour")),
    ):
        answer = await finance.post(path, {"until": "2026-04-20", "reason": "they called"} | wrong)
        assert refused(answer) == expected
    assert (await finance.get("/v1/payment-promises")).json()["items"] == []


async def test_only_finance_takes_promises(world: LeaseWorld, api: Api) -> None:
    await _late(world, "2026-04-13")
    path, body = f"/v1/tenants/{world.tenant_id}/payment-promises", {"until": "2026-04-20", "reason": "x"}
    for role, tenant_id in (("tenant_admin", world.tenant_id), ("platform_operator", None)):
        caller = await api.client(role, tenant_id)
        assert (await caller.post(path, body)).status_code == 403
    finance = await api.client("finance")
    assert refused(await finance.post("/v1/tenants/ten_none/payment-promises", body))[0] == 404
    promise = await does(finance, path, body)
    elsewhere = f"/v1/tenants/{await api.tenant()}/payment-promises/{promise['promise_id']}/withdrawal"
    assert refused(await finance.post(elsewhere, {"reason": "x"})) == (404, "payment_promise_not_found", "promise_id")


@pytest.mark.parametrize(
    ("day", "promised_until", "expected"),
    [
        ("2026-04-10", "2026-04-12", DunningStep(("due_today",))),
        ("2026-04-11", "2026-04-12", DunningStep()),
        ("2026-04-12", "2026-04-12", DunningStep()),
        ("2026-04-13", "2026-04-12", DunningStep(("overdue",))),
        ("2026-04-15", "2026-04-12", DunningStep(("suspension_tomorrow",))),
        ("2026-04-15", "2026-04-15", DunningStep(("suspension_tomorrow",))),
        ("2026-04-15", "2026-04-20", DunningStep()),
        ("2026-04-20", "2026-04-20", DunningStep(("suspension_tomorrow",))),
        ("2026-04-21", "2026-04-20", DunningStep(("overdue",), suspended=True)),
    ],
)
def test_the_rule_of_a_promise(day: str, promised_until: str, expected: DunningStep) -> None:
    found = step_for(
        preset_terms("onsite", {}),
        date.fromisoformat(day),
        issued_on=date(2026, 4, 1),
        due_on=date(2026, 4, 10),
        suspends=date(2026, 4, 16),
        unpaid=Decimal("0.01"),
        promised_until=date.fromisoformat(promised_until),
    )
    assert found == expected


def test_a_promise_is_for_sixty_days_at_most() -> None:
    today = date(2026, 4, 13)
    assert is_acceptable_promise(today, today)
    assert is_acceptable_promise(today + timedelta(days=LONGEST_PROMISE_DAYS), today)
    assert not is_acceptable_promise(today + timedelta(days=LONGEST_PROMISE_DAYS + 1), today)
    assert not is_acceptable_promise(today - timedelta(days=1), today)
