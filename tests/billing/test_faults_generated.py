"""Random lives with faults, maintenance and suspensions: the stored run and the calculator make the same invoices."""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import select

from billing.calculator import quote
from billing.models import Holding, InvoiceLine
from billing.outages import windows
from billing.outages.errors import FaultKnown
from billing.outages.models import Fault
from billing.rules.book import ITEMS
from billing.rules.errors import WindowRefused
from billing.rules.lines import REASONS
from infra.kit import clock, money
from infra.kit.database import Database, Scope
from infra.kit.settings import Settings
from tests.billing.histories import add, document, fault, give_back, pay, window
from tests.billing.lease_world import LeaseWorld, morning
from tests.billing.outage_world import ends, reported

OPENS, PAYS_OPENING, UNTIL = date(2026, 3, 2), date(2026, 2, 27), date(2026, 6, 4)
NOTICE = timedelta(days=5)
ONE_DAY = timedelta(days=1)
CAUSES = ("operator", "operator", "operator", "tenant", "force_majeure")
CREDITED = "fault_credit"


def local(moment: datetime) -> str:
    """A local moment as tests and quotes write it, without its offset."""
    return moment.isoformat(sep=" ")


@dataclass
class Life:
    """A tenant's days, lived on the database and written down as a quote's events."""

    world: LeaseWorld
    chance: random.Random
    events: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    lasting: tuple[Fault, dict[str, Any]] | None = None
    windows: list[tuple[datetime, datetime]] = field(default_factory=list[tuple[datetime, datetime]])

    async def live_a_day(self, day: date) -> bool:
        """Whatever this day brings, at four in the afternoon; tells whether money or orders have moved."""
        clock.travel_to(datetime.combine(day, time(16), tzinfo=clock.LOCAL_ZONE))
        dice = self.chance.randrange
        if self.lasting is not None and (day.day == 3 or dice(100) < 40):
            await self.repair(day)
        if day.day == 1:
            return False
        moved = False
        for percent, act in ((14, self.pay), (8, self.order), (5, self.give_back)):
            if dice(100) < percent:
                await act(day)
                moved = True
        if dice(100) < 12:
            await self.announce(day)
        if (day + ONE_DAY).day == 1:
            await self.fail(day, datetime.combine(day, time(dice(6, 13))), None)
        elif dice(100) < 70 and (around := self.around_a_window(day)):
            await self.fail(day, *around)
        elif dice(100) < 30:
            began = datetime.combine(day, time(15)) - timedelta(minutes=dice(30, 60 * 24 * 4))
            began = max(began, datetime.combine(max(OPENS, day.replace(day=1)), time(0)))
            longest = int((datetime.combine(day, time(15, 59)) - began).total_seconds())
            await self.fail(day, began, began + timedelta(seconds=dice(60, longest)))
        return moved

    async def pay(self, day: date) -> None:
        owed = (await self.world.balance()).owed
        if owed:
            amount = money.amount_text(owed * self.chance.choice([Decimal(1), Decimal(1), Decimal("0.5")]))
            await self.world.pay(amount)
            self.events.append(pay(day.isoformat(), amount))

    async def order(self, day: date) -> None:
        on = (day + NOTICE + timedelta(days=self.chance.randint(0, 6))).isoformat()
        item, quantity = self.chance.choice(ITEMS), self.chance.randint(1, 2)
        await self.world.order(quantity, on, item=item)
        self.events.append(add(on, quantity, item=item, ordered_on=day.isoformat()))

    async def give_back(self, day: date) -> None:
        able = [row for row in await self.open_on(day) if row.closes_on is None and row.number > 1]
        if able:
            row = self.chance.choice(able)
            on = (day + NOTICE).isoformat()
            await self.world.give_back([row.number], on, item="seat" if row.item == "seat" else "circuit")
            self.events.append(give_back(on, [row.number], item=row.item))

    async def announce(self, day: date) -> None:
        begins = datetime.combine(day + timedelta(days=self.chance.randint(4, 9)), time(self.chance.randrange(20)))
        longest = datetime.combine(begins.date() + ONE_DAY, time(0)) - begins
        ends_at = begins + min(longest, timedelta(minutes=self.chance.randint(60, 600)))
        zone = clock.LOCAL_ZONE
        try:
            async with self.world.database.transaction(Scope.platform()) as session:
                await windows.announce(
                    session, begins_at=begins.replace(tzinfo=zone), ends_at=ends_at.replace(tzinfo=zone), note="work"
                )
        except WindowRefused:
            return  # the third of its month
        self.events.append(window(begins.isoformat(), ends_at.isoformat()))
        self.windows.append((begins, ends_at))

    def around_a_window(self, day: date) -> tuple[datetime, datetime] | None:
        """A fault that takes a day less once a window of this month that is over is taken out of it."""
        over = datetime.combine(day, time(15)) - 2 * ONE_DAY
        for begins, ends_at in self.windows:
            if begins.date() > day.replace(day=1) and begins < over:
                self.windows.remove((begins, ends_at))
                began = begins - timedelta(minutes=self.chance.randint(1, 60))
                return began, began + ONE_DAY + timedelta(minutes=self.chance.randint(1, 59))
        return None

    async def fail(self, day: date, began: datetime, ended: datetime | None) -> None:
        """A fault of all or some that were open when it began."""
        held = [row for row in await self.open_on(began.date()) if row.closes_on is None or row.closes_on >= day]
        if not held or (ended is None and self.lasting is not None):
            return
        item = self.chance.choice(held).item
        same = [row.number for row in held if row.item == item]
        numbers = None
        if self.chance.randrange(3):
            numbers = sorted(self.chance.sample(same, self.chance.randint(1, len(same))))
        cause = self.chance.choice(CAUSES)
        try:
            made = await reported(
                self.world, local(began), ended and local(ended), cause=cause, item=item, numbers=numbers
            )
        except FaultKnown:
            return
        event = fault(began.isoformat(), (ended or began).isoformat(), numbers or "all", cause, item=item)
        self.events.append(event)
        if ended is None:
            self.lasting = made, event

    async def repair(self, day: date) -> None:
        assert self.lasting is not None
        made, event = self.lasting
        ended = datetime.combine(day, time(self.chance.randrange(16), self.chance.randrange(60)))
        if ended.date() > datetime.fromisoformat(event["from"]).date():
            await ends(self.world, made, local(ended))
            event["to"] = f"{ended.isoformat()}+08:00"
            self.lasting = None

    async def open_on(self, day: date) -> list[Holding]:
        query = select(Holding).where(Holding.tenant_id == self.world.tenant_id, Holding.opened_on <= day)
        query = query.where(Holding.closes_on.is_(None) | (Holding.closes_on >= day))
        async with self.world.database.transaction(Scope.platform()) as session:
            rows = (await session.execute(query.order_by(Holding.item, Holding.number))).scalars()
            return list(rows)


async def stored_invoices(world: LeaseWorld) -> list[dict[str, Any]]:
    """What counts on each invoice, in the order of a quote."""
    async with world.database.transaction(Scope.platform()) as session:
        lines = (await session.execute(select(InvoiceLine).where(InvoiceLine.tenant_id == world.tenant_id))).scalars()
        kinds: defaultdict[str, defaultdict[str, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
        for line in lines:
            kinds[line.invoice_id][line.kind] += line.amount
    found = [
        {
            "reason": each.reason,
            "issued_on": each.issued_on.isoformat(),
            "due_on": each.due_on.isoformat(),
            "period": each.period,
            "total": each.total,
            "tax": each.tax,
            "paid_on": each.paid_on and each.paid_on.isoformat(),
            "void": each.voided_at is not None,
            "kinds": dict(kinds[each.invoice_id]),
        }
        for each in await world.invoices()
    ]
    return sorted(found, key=lambda each: (each["issued_on"], list(REASONS).index(each["reason"]), each["due_on"]))


def quoted_invoices(answer: dict[str, Any]) -> list[dict[str, Any]]:
    """The same of a quote."""
    found: list[dict[str, Any]] = []
    for each in answer["invoices"]:
        kinds: defaultdict[str, Decimal] = defaultdict(Decimal)
        for line in each["lines"]:
            kinds[line["kind"]] += Decimal(line["amount"])
        plain = {name: each[name] for name in ("reason", "issued_on", "due_on", "period", "paid_on", "void")}
        found.append(plain | {"total": Decimal(each["total"]), "tax": Decimal(each["tax"]), "kinds": dict(kinds)})
    return found


@pytest.mark.parametrize(
    ("preset", "terms", "seed"),
    [
        ("hosted", {"rent_per_circuit": "133.33", "grace_days": 1, "due_day": 3, "repair_hours": "1.5"}, 1),
        ("onsite", {"rent_per_circuit": "99.99", "grace_days": 0, "due_day": 8}, 2),
        ("hosted", {"rent_per_seat": "777.77", "grace_days": 4, "fault_waiver_days": "3", "return_charge": "0.5"}, 3),
        ("onsite", {"rent_per_circuit": "50.00", "grace_days": 2, "due_day": 1, "repair_hours": "0"}, 4),
    ],
)
async def test_the_run_credits_what_the_calculator_credits(
    database: Database, settings: Settings, preset: str, terms: dict[str, Any], seed: int
) -> None:
    world = LeaseWorld(database, settings)
    await world.sign(preset, OPENS.isoformat(), terms)
    await world.order(4, OPENS.isoformat())
    await world.order(2, OPENS.isoformat(), item="circuit")
    await world.live_to(PAYS_OPENING.isoformat())
    life = Life(world, random.Random(seed))  # noqa: S311 - a life that can be lived again
    ordered_on = (OPENS - timedelta(days=20)).isoformat()
    life.events += [
        add(OPENS.isoformat(), 4, ordered_on=ordered_on),
        add(OPENS.isoformat(), 2, item="circuit", ordered_on=ordered_on),
    ]
    opening = (await world.balance()).owed
    await world.pay()
    life.events.append(pay(PAYS_OPENING.isoformat(), money.amount_text(opening)))
    await world.live_to(OPENS.isoformat())
    day = OPENS
    while (day := day + ONE_DAY) <= UNTIL:
        clock.travel_to(morning(day))
        if day.day == 1:
            await world.begin(day)
        await world.close_day()  # what opens and what suspends at midnight
        if day < UNTIL and await life.live_a_day(day):
            await world.close_day()

    assert life.lasting is None, "the last fault was not repaired: the quote would end it too early"
    answer = quote(document(preset, OPENS.isoformat(), UNTIL.isoformat(), life.events, terms))
    stored = await stored_invoices(world)
    assert stored == quoted_invoices(answer)
    spans = [(begins.isoformat(), to and to.isoformat()) for begins, to in await world.suspensions() if begins != to]
    assert spans == [(each["from"], each["to"]) for each in answer["suspensions"]]
    assert sum(CREDITED in each["kinds"] for each in stored) >= 2
    assert {each["type"] for each in life.events} >= {"fault", "maintenance", "pay"}
