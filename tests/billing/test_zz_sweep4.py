"""Invoices on the real database: what is ordered is charged, each month once, and exactly as the calculator says."""

from __future__ import annotations

import random
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import select

from billing import invoices
from billing.models import Holding, Invoice, InvoiceLine
from infra.kit import clock, money
from infra.kit.database import Database, Scope
from infra.kit.settings import Settings
from tests.billing.histories import add, end, give_back, pay, quoted, usage
from tests.billing.lease_world import LeaseWorld, morning


@pytest.fixture
def world(database: Database, settings: Settings) -> LeaseWorld:
    return LeaseWorld(database, settings)


async def test_the_opening_invoice_comes_on_the_third_working_day_before_opening(world: LeaseWorld) -> None:
    await world.sign("hosted", "2026-03-02")
    await world.order(10, "2026-03-02")
    assert await world.invoices() == []
    await world.live_to("2026-02-26")
    [opening] = await world.invoices()
    assert (opening.number, opening.reason, str(opening.issued_on), str(opening.due_on), str(opening.total)) == (
        "2026-0001", "opening", "2026-02-26", "2026-02-28", "39354.84",
    )  # fmt: skip
    await world.pay()
    await world.live_to("2026-03-02")
    assert (await world.contract()).state == "open"
    await world.live_to("2026-04-01")
    [monthly] = await world.invoices("monthly")
    assert (str(monthly.total), str(monthly.due_on), str(monthly.suspends_on)) == (
        "20000.00", "2026-04-10", "2026-04-26",
    )  # fmt: skip
    await world.check_conservation()


class _Recorder:
    """Lives a random history day by day and writes down the same history for the calculator."""

    def __init__(self, world: LeaseWorld, seed: int) -> None:
        self.world = world
        self.random = random.Random(seed)  # noqa: S311 - a history that can be told again
        self.events: list[dict[str, Any]] = []

    def chance(self, percent: int) -> bool:
        return self.random.randrange(100) < percent

    async def order(self, effective_on: date, *, opening: bool = False) -> None:
        item = "circuit" if not opening and self.chance(25) else "seat"
        count = self.random.randint(4, 9) if opening else self.random.randint(1, 6)
        await self.world.order(count, effective_on.isoformat(), item=item)
        event = add(effective_on.isoformat(), count, item=item)
        self.events.append(event if opening else {**event, "ordered_on": clock.today().isoformat()})

    async def pay(self) -> None:
        account = await self.world.balance()
        share = self.random.choice([Decimal(1), Decimal(1), Decimal("0.5"), Decimal("1.3"), Decimal("0.07")])
        amount = money.amount_text(account.owed * share)
        if Decimal(amount) > 0:
            await self.world.pay(amount)
            self.events.append(pay(clock.today().isoformat(), amount))

    async def give_back(self, held: list[Holding]) -> None:
        item = self.random.choice(held).item
        numbers = [row.number for row in held if row.item == item]
        some = sorted(self.random.sample(numbers, self.random.randint(1, 1 + len(numbers) // 4)))
        today = clock.today().isoformat()
        await self.world.give_back(some, today, item="seat" if item == "seat" else "circuit")
        self.events.append(give_back(today, some, item=item))

    async def call(self) -> None:
        amount = f"{self.random.randint(1, 99)}.{self.random.randint(0, 9999):04d}"
        today = clock.today()
        await self.world.called(f"{today:%Y-%m}", amount)
        self.events.append(usage(today.isoformat(), "calls", amount))

    async def held_before(self, day: date) -> list[Holding]:
        query = select(Holding).where(
            Holding.tenant_id == self.world.tenant_id, Holding.opened_on < day, Holding.closes_on.is_(None)
        )
        async with self.world.database.transaction(Scope.platform()) as session:
            return list((await session.execute(query.order_by(Holding.item, Holding.number))).scalars())

    async def live(self, until: date, ends_on: date | None) -> None:
        notice = timedelta(days=5)
        while (day := clock.today() + timedelta(days=1)) <= until:
            if day.day <= 2 or day == (ends_on and ends_on + timedelta(days=1)):
                await self.world.begin(day)
            clock.travel_to(morning(day, 2))
            await self.world.open_what_may_open()
            lasting = ends_on is None or day <= ends_on
            # The calculator sets a day's credit off when all of the day is known, we as things come: on the 1st, after
            # the monthly run, nothing else happens here.
            busy = day.day != 1
            if busy and self.chance(9):
                await self.pay()
                await self.world.open_what_may_open()
            held = await self.held_before(day)
            if lasting and len(held) > 3 and self.chance(6):
                await self.give_back(held)
            if lasting and held and self.chance(50):
                await self.call()
            if busy and held and self.chance(10) and (ends_on is None or day + notice <= ends_on):
                await self.order(day + notice)
                if self.chance(40) and not (await self.world.balance()).credit and await self.last_is_unpaid():
                    await self.order(day + notice)
            await self.world.close_day()

    async def last_is_unpaid(self) -> bool:
        newest = (await self.world.invoices(void=False))[-1]
        return newest.reason == "addition" and newest.paid < newest.total


def _as_quoted(invoice: Invoice, lines: list[InvoiceLine]) -> dict[str, Any]:
    return {
        "reason": invoice.reason,
        "issued_on": invoice.issued_on.isoformat(),
        "due_on": invoice.due_on.isoformat(),
        "period": invoice.period,
        "lines": [
            {
                "kind": line.kind,
                "item": line.item,
                "quantity": line.quantity,
                "unit_price": money.amount_text(line.unit_price),
                "amount": money.amount_text(line.amount),
            }
            for line in lines
        ],
        "total": money.amount_text(invoice.total),
        "tax": money.amount_text(invoice.tax),
        "suspends_on": invoice.suspends_on and invoice.suspends_on.isoformat(),
        "paid_on": invoice.paid_on and invoice.paid_on.isoformat(),
        "void": invoice.voided_at is not None,
    }


VOLUME = {"volume": [{"from": 8, "rent": "1800.00"}, {"from": 15, "rent": "1555.55"}], "rent_per_circuit": "133.33"}


@pytest.mark.parametrize(
    ("seed", "preset", "terms", "ends_on"),
    [
        *((seed, "onsite", {"deposit": "300.00", "grace_days": 1}, "2026-06-30") for seed in range(213, 218)),
        *((seed, "hosted", {"grace_days": 3}, None) for seed in range(400, 405)),
        (1, "hosted", VOLUME, None),
        (2, "onsite", {"deposit": "5000.00", "rent_per_circuit": "99.99"}, None),
        (3, "hosted", {"rent_per_circuit": "77.77", "grace_days": 2}, "2026-06-17"),
        (4, "onsite", VOLUME, None),
    ],
)
async def test_what_was_lived_is_what_the_calculator_says(
    world: LeaseWorld, seed: int, preset: str, terms: dict[str, Any], ends_on: str | None
) -> None:
    history = _Recorder(world, seed)
    await world.sign(preset, "2026-03-16", terms, ends_on=ends_on)
    await history.order(date(2026, 3, 16), opening=True)
    await world.live_to("2026-03-11")
    await world.live_to("2026-03-13")
    await world.pay()
    history.events.append(pay("2026-03-13", money.amount_text((await world.invoices())[0].total)))
    await history.live(date(2026, 7, 20), date.fromisoformat(ends_on) if ends_on else None)
    await world.check_conservation()
    if ends_on:
        history.events.append(end(ends_on))
    answer = quoted(preset, "2026-03-16", "2026-07-20", history.events, terms)
    lived: list[dict[str, Any]] = []
    async with world.database.transaction(Scope.platform()) as session:
        for invoice in await world.invoices():
            if invoice.void_reason is None or "made again" not in invoice.void_reason:
                lived.append(_as_quoted(invoice, await invoices.lines_of(session, invoice)))
    order = ["opening", "addition", "monthly", "final"]
    lived.sort(key=lambda each: (each["issued_on"], order.index(each["reason"]), each["due_on"]))
    assert lived == answer.invoices
    assert [(str(begins), to and str(to)) for begins, to in await world.suspensions()] == answer.suspensions()
    if not ends_on:  # after a final invoice the calculator takes the credit as refunded
        account = await world.balance()
        assert money.amount_text(account.owed - account.credit) == answer.plain["balance"]
    assert len(lived) > 5
