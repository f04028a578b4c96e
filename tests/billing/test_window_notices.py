"""Every tenant hears by mail of a window that is announced, moved or cancelled (C12, rule 10)."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import date

import pytest

from billing.outages import jobs as outage_jobs
from billing.outages import windows
from billing.reminders.contacts import ContactWanted
from billing.reminders.topics import MAINTENANCE_KINDS
from infra.kit import clock
from infra.kit.database import Database, Scope
from infra.kit.outbox.jobs import send_mail
from infra.kit.settings import Settings
from tests.billing.lease_world import LeaseWorld, morning
from tests.billing.mail_world import CHINESE, ENGLISH, Postbox, has_contacts, postbox, posted, states_of, words_of
from tests.billing.outage_world import at


@pytest.fixture
async def box() -> AsyncGenerator[Postbox]:
    async with postbox() as opened:
        yield opened


@pytest.fixture
async def world(database: Database, settings: Settings, box: Postbox) -> LeaseWorld:
    world = posted(LeaseWorld(database, settings), box)
    await world.sign("onsite", "2026-03-02")
    clock.travel_to(morning(date(2026, 3, 9)))
    return world


async def _announced(world: LeaseWorld) -> str:
    async with world.database.transaction(Scope.platform()) as session:
        window = await windows.announce(
            session, begins_at=at("2026-03-15 02:00"), ends_at=at("2026-03-15 04:00"), note="new software"
        )
        return window.window_id


async def _told(world: LeaseWorld, window_id: str) -> None:
    await outage_jobs.tell_of_window(world.runtime, window_id=window_id)


async def test_a_window_is_told_once_to_every_contact_that_wants_it(world: LeaseWorld, box: Postbox) -> None:
    invoices_only = ContactWanted("kuaiji@anxin.example", "zh", ["invoices"])
    wanted = [ContactWanted(CHINESE, "zh", ["maintenance"]), ContactWanted(ENGLISH, "en", ["maintenance"])]
    await has_contacts(world, *wanted, invoices_only)
    window_id = await _announced(world)
    await _told(world, window_id)
    await _told(world, window_id)
    await send_mail(world.runtime)
    plain = {str(mail["To"]): words_of(mail) for mail in box.mails}
    assert "2026年3月15日 02:00至2026年3月15日 04:00" in plain[CHINESE]
    assert "from 15 March 2026, 02:00 to 15 March 2026, 04:00" in plain[ENGLISH]
    assert all("new software" in words for words in plain.values())
    assert sorted(box.taken()) == [
        (ENGLISH, "Maintenance planned: 15 March 2026, 02:00"),
        (CHINESE, "系统维护通知：2026年3月15日 02:00"),
    ]


async def test_moves_on_one_day_are_told_each_and_what_is_out_of_date_is_not(world: LeaseWorld, box: Postbox) -> None:
    await has_contacts(world, ContactWanted(ENGLISH, "en", ["maintenance"]))
    window_id = await _announced(world)
    await _told(world, window_id)
    for day in ("16", "17"):
        async with world.database.transaction(Scope.platform()) as session:
            times = {"begins_at": at(f"2026-03-{day} 02:00"), "ends_at": at(f"2026-03-{day} 04:00")}
            await windows.move(session, window_id=window_id, **times, reason="parts are late")
        await _told(world, window_id)
    await send_mail(world.runtime)
    assert box.taken() == [(ENGLISH, "Maintenance moved: 17 March 2026, 02:00")]
    async with world.database.transaction(Scope.platform()) as session:
        await windows.cancel(session, window_id=window_id, reason="no need")
    await _told(world, window_id)
    await send_mail(world.runtime)
    assert box.taken() == [(ENGLISH, "Maintenance cancelled: 17 March 2026, 02:00")]
    assert sorted(await states_of(world)) == [
        ("window_announced", "outdated"),
        ("window_cancelled", "sent"),
        ("window_moved", "outdated"),
        ("window_moved", "sent"),
    ]


async def test_a_tenant_without_any_contact_is_noted_and_nothing_is_told_of_what_has_begun(world: LeaseWorld) -> None:
    window_id = await _announced(world)
    await _told(world, window_id)
    assert await states_of(world) == [("window_announced", "no_contact")]
    clock.travel_to(at("2026-03-15 02:00"))
    await has_contacts(world)
    await _told(world, window_id)
    assert len(await states_of(world)) == 1
    assert set(MAINTENANCE_KINDS) == {"window_announced", "window_moved", "window_cancelled"}
