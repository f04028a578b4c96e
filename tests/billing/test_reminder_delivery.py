"""Mail servers as they are: down, slow, forgetful, strict; and every mail sent once, or told of."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from datetime import date

import pytest
from sqlalchemy import update

from billing.reminders import jobs as reminder_jobs
from billing.reminders import planning
from billing.reminders.contacts import ContactWanted
from infra.kit import clock
from infra.kit.database import Database, Scope
from infra.kit.outbox import sending
from infra.kit.outbox.models import OutboxMail
from infra.kit.settings import Settings
from tests.billing.finance import opened
from tests.billing.lease_world import LeaseWorld
from tests.billing.mail_world import (
    CHINESE,
    ENGLISH,
    Postbox,
    has_contacts,
    live_day,
    passes,
    postbox,
    posted,
    reminders_of,
    states_of,
)


@pytest.fixture
async def box() -> AsyncGenerator[Postbox]:
    async with postbox() as opened_box:
        yield opened_box


@pytest.fixture
def world(database: Database, settings: Settings, box: Postbox) -> LeaseWorld:
    return posted(LeaseWorld(database, settings), box)


async def _in_april(world: LeaseWorld, *wanted: ContactWanted) -> None:
    """Two seats (`onsite`), open and paid since 2 March; tomorrow April's invoice of 4,000.00 is issued."""
    await opened(world)
    await world.live_to("2026-03-31")
    await has_contacts(world, *wanted)


async def test_a_server_that_is_down_costs_no_mail(world: LeaseWorld, box: Postbox) -> None:
    await _in_april(world)
    await box.shut()
    await live_day(world, "2026-04-01")
    waiting = await reminders_of(world)
    assert [each.state for each in waiting] == ["waiting", "waiting"]
    assert [each.attempts for each in waiting] == [1, 0]  # the second was spared the wait
    assert "onnect" in str(waiting[0].last_problem)
    await passes(world, 5)
    await box.open()
    await passes(world, 30)
    assert sorted(to for to, _ in box.taken()) == [ENGLISH, CHINESE]
    await passes(world, 600)
    assert box.taken() == []


async def test_a_reminder_that_could_not_go_on_its_day_does_not_go_on_another(world: LeaseWorld, box: Postbox) -> None:
    await _in_april(world, ContactWanted(ENGLISH, "en", ["reminders"]))
    await live_day(world, "2026-04-01")
    await box.shut()
    await live_day(world, "2026-04-11")
    await live_day(world, "2026-04-12")
    await box.open()
    await live_day(world, "2026-04-13")
    assert box.taken() == [(ENGLISH, "Invoice 2026-0002 is 3 days overdue: CNY 4,000.00")]
    assert [state for kind, state in await states_of(world) if kind == "overdue"] == ["outdated", "outdated", "sent"]


async def test_what_is_paid_meanwhile_is_not_asked_for(world: LeaseWorld, box: Postbox) -> None:
    await _in_april(world, ContactWanted(ENGLISH, "en", ["reminders"]))
    await live_day(world, "2026-04-01")
    await box.shut()
    await live_day(world, "2026-04-11")
    await world.pay()
    await box.open()
    await passes(world, 30)
    assert box.taken() == []
    assert (await states_of(world))[-1] == ("overdue", "outdated")


async def test_an_address_refused_for_good_is_left_and_the_other_gets_its_mail(world: LeaseWorld, box: Postbox) -> None:
    await _in_april(world)
    box.turned_down[ENGLISH] = "550 5.1.1 no such user here"
    await live_day(world, "2026-04-01")
    assert [to for to, _ in box.taken()] == [CHINESE]
    [refused_one] = [each for each in await reminders_of(world) if each.recipient == ENGLISH]
    assert (refused_one.state, refused_one.attempts) == ("refused", 1)
    assert str(refused_one.last_problem).startswith("550 5.1.1")
    await passes(world, 600)
    assert box.taken() == []


async def test_a_grey_list_is_waited_for_and_a_wait_without_end_is_given_up(world: LeaseWorld, box: Postbox) -> None:
    await _in_april(world)
    box.turned_down[ENGLISH] = box.turned_down[CHINESE] = "451 4.7.1 come back later"
    await live_day(world, "2026-04-01")
    assert [each.attempts for each in await reminders_of(world)] == [1, 1]  # one says nothing about the other
    del box.turned_down[CHINESE]
    await passes(world, 6)
    assert [to for to, _ in box.taken()] == [CHINESE]
    for _ in range(sending.ATTEMPTS_LIMIT + 2):
        await passes(world, sending.LONGEST_PAUSE_MINUTES + 1)
    [given_up] = [each for each in await reminders_of(world) if each.recipient == ENGLISH and each.kind == "issued"]
    assert (given_up.state, given_up.attempts) == ("given_up", sending.ATTEMPTS_LIMIT)


async def test_a_refused_message_and_a_closing_server(world: LeaseWorld, box: Postbox) -> None:
    await _in_april(world)
    box.answer = "421 4.3.2 shutting down"
    await live_day(world, "2026-04-01")
    assert [each.attempts for each in await reminders_of(world)] == [1, 0]
    box.answer = "554 5.7.1 looks like spam"
    await passes(world, 10)
    assert {each.state for each in await reminders_of(world)} == {"refused"}
    assert box.taken() == []


async def test_an_unknown_outcome_is_repeated_once_with_the_same_message_id(world: LeaseWorld, box: Postbox) -> None:
    await _in_april(world, ContactWanted(ENGLISH, "en", ["invoices"]))
    box.breaks_off = 1
    await live_day(world, "2026-04-01")
    [first] = await reminders_of(world)
    assert (first.state, first.unknown_outcomes) == ("waiting", 1)
    await passes(world, 6)
    assert [each["Message-ID"] for each in box.mails] == [first.message_id, first.message_id]
    assert [state for _, state in await states_of(world)] == ["sent"]


async def test_twice_unknown_is_left_for_a_person(world: LeaseWorld, box: Postbox) -> None:
    await _in_april(world, ContactWanted(ENGLISH, "en", ["invoices"]))
    box.breaks_off = 2
    await live_day(world, "2026-04-01")
    for _ in range(3):
        await passes(world, 30)
    assert len(box.mails) == 2
    assert [state for _, state in await states_of(world)] == ["unknown"]


@pytest.mark.parametrize(("lost_before", "left"), [(0, ("sent", 1)), (1, ("unknown", 0))])
async def test_a_process_that_died_while_sending(
    world: LeaseWorld, box: Postbox, lost_before: int, left: tuple[str, int]
) -> None:
    await _in_april(world, ContactWanted(ENGLISH, "en", ["invoices"]))
    await live_day(world, "2026-04-01")
    box.taken()
    async with world.database.transaction(Scope.platform()) as session:  # as a process leaves it that is killed
        lost = {"state": "sending", "unknown_outcomes": lost_before, "next_attempt_at": clock.now() + sending.CLAIM}
        await session.execute(update(OutboxMail).values(**lost))
    await passes(world, 1)
    assert box.taken() == []  # it might still be at it
    await passes(world, 10)
    assert ((await states_of(world))[0][1], len(box.taken())) == left


async def test_without_a_mail_server_mails_wait(world: LeaseWorld, box: Postbox, settings: Settings) -> None:
    await _in_april(world, ContactWanted(ENGLISH, "en", ["invoices"]))
    world.settings = settings
    await live_day(world, "2026-04-01")
    assert await states_of(world) == [("issued", "waiting")]
    posted(world, box)
    await live_day(world, "2026-04-02")
    assert await states_of(world) == [("issued", "sent")]


async def test_a_mail_that_cannot_be_written_does_not_stop_the_others(world: LeaseWorld, box: Postbox) -> None:
    await _in_april(world)
    await world.begin(date(2026, 4, 1))
    async with world.database.transaction(Scope.platform()) as session:
        await planning.put_into_outbox(session, world.tenant_id, clock.today(), finance_mail=None)
        await session.execute(update(OutboxMail).where(OutboxMail.recipient == CHINESE).values(language="xx"))
    with pytest.raises(reminder_jobs.RemindersFailed):
        await reminder_jobs.send_reminders(world.runtime)
    assert [to for to, _ in box.taken()] == [ENGLISH]
    assert sorted(await states_of(world)) == [("issued", "sent"), ("issued", "waiting")]


async def test_workers_at_the_same_time_send_nothing_twice(world: LeaseWorld, box: Postbox) -> None:
    await _in_april(world)
    await world.begin(date(2026, 4, 1))
    await asyncio.gather(*(reminder_jobs.send_reminders(world.runtime) for _ in range(4)))
    assert sorted(to for to, _ in box.taken()) == [ENGLISH, CHINESE]
    assert await states_of(world) == [("issued", "sent"), ("issued", "sent")]
