"""A tenant hears by mail that its day's calls come near their cap, and that they have reached it: once each a day."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import date, timedelta
from decimal import Decimal

import pytest

from billing.reminders.contacts import ContactWanted
from billing.spending import caps
from infra.kit import clock
from infra.kit.database import Database, Scope
from infra.kit.outbox.jobs import send_mail
from infra.kit.settings import Settings
from tests.billing.lease_world import LeaseWorld, morning
from tests.billing.mail_world import CHINESE, ENGLISH, Postbox, has_contacts, postbox, posted, words_of

TODAY = date(2026, 3, 9)


@pytest.fixture
async def box() -> AsyncGenerator[Postbox]:
    async with postbox() as opened:
        yield opened


@pytest.fixture
async def world(database: Database, settings: Settings, box: Postbox) -> LeaseWorld:
    world = posted(LeaseWorld(database, settings), box)
    await world.sign("onsite", "2026-03-02")
    clock.travel_to(morning(TODAY))
    async with database.transaction(Scope.platform()) as session:
        cap = await caps.hold(session, world.tenant_id)
        await caps.change(session, cap, "100.00", may_widen=True)
    return world


async def _spends(world: LeaseWorld, amount: str) -> None:
    async with world.database.transaction(Scope.platform()) as session:
        await caps.consider(session, world.tenant_id, clock.today(), {"node-1": {"leg-1": Decimal(amount)}})


async def test_each_alert_is_mailed_once_a_day_to_whoever_wants_it(world: LeaseWorld, box: Postbox) -> None:
    wanted = [ContactWanted(CHINESE, "zh", ["standing"]), ContactWanted(ENGLISH, "en", ["standing", "invoices"])]
    await has_contacts(world, *wanted, ContactWanted("kuaiji@anxin.example", "zh", ["invoices"]))
    await _spends(world, "79.99")
    await send_mail(world.runtime)
    assert box.taken() == []
    for _ in range(2):
        await _spends(world, "80.00")
        await send_mail(world.runtime)
    (english,) = [words_of(mail) for mail in box.mails if str(mail["To"]) == ENGLISH]
    assert "Your calls of 9 March 2026 have cost CNY 80.00 so far; the daily cap is CNY 100.00." in english
    assert sorted(box.taken()) == [
        (ENGLISH, "Calls of 9 March 2026: CNY 80.00 of CNY 100.00"),
        (CHINESE, "话费提醒：2026年3月9日已用80.00 元，限额100.00 元"),
    ]
    await _spends(world, "101.50")
    await send_mail(world.runtime)
    assert sorted(box.taken()) == [
        (ENGLISH, "Calls out are stopped for today: CNY 100.00 reached"),
        (CHINESE, "今日呼出已停止：话费达到限额100.00 元"),
    ]


async def test_an_alert_that_could_not_be_sent_on_its_day_is_not_made_up_for(world: LeaseWorld, box: Postbox) -> None:
    await has_contacts(world, ContactWanted(ENGLISH, "en", ["standing"]))
    await _spends(world, "80.00")
    clock.travel_to(morning(TODAY + timedelta(days=1)))
    await send_mail(world.runtime)
    assert box.taken() == []
    await _spends(world, "80.00")
    await send_mail(world.runtime)
    assert box.taken() == [(ENGLISH, "Calls of 10 March 2026: CNY 80.00 of CNY 100.00")]
