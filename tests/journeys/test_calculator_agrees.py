"""What was lived is what the calculator says: the same history, once through the API and once as a quote."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest

from infra.kit import clock, money
from tests.billing.histories import add, document, give_back, pay, usage
from tests.world import LANDLINE, MOBILE, Customer, World

OPENS, PAYS_OPENING, UNTIL = "2026-06-08", "2026-06-04", "2026-09-29"
NOTICE = timedelta(days=5)
REASONS = ["opening", "addition", "monthly", "final"]


@dataclass
class Diary:
    """Lets a tenant live a random life and writes it down the way a quote is written."""

    tenant: Customer
    chance: random.Random
    events: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    returning: set[str] = field(default_factory=set[str])

    async def live_a_day(self) -> None:
        """Money first, as the calculator has it, then orders and calls."""
        account = await self.tenant.balance()
        if Decimal(account["owed"]) and self.chance.randrange(100) < 60:
            await self.pay(Decimal(account["owed"]))
        if (await self.tenant.standing())[0] == "active":
            await self.call()
            if self.chance.randrange(100) < 45:
                await self.add_seats()
        if self.chance.randrange(100) < 30:
            await self.give_back()

    async def pay(self, owed: Decimal) -> None:
        """All of it, half of it, or too much."""
        amount = money.amount_text(owed * self.chance.choice([Decimal(1), Decimal(1), Decimal("0.5"), Decimal("1.2")]))
        await self.tenant.pays(amount)
        await self.tenant.world.work()
        self.events.append(pay(clock.today().isoformat(), amount))

    async def call(self) -> None:
        """A few calls of the first seat; what they cost is found when all is over."""
        for _ in range(self.chance.randint(1, 3)):
            number = self.chance.choice([MOBILE, LANDLINE])
            await self.tenant.seat(1).talks(number, milliseconds=self.chance.randint(1, 400_000))

    async def add_seats(self) -> None:
        """An order with the shortest notice, or a longer one."""
        today = clock.today()
        on = (today + NOTICE + timedelta(days=self.chance.randint(0, 9))).isoformat()
        item, quantity = self.chance.choice(["seat", "seat", "circuit"]), self.chance.randint(1, 3)
        await self.tenant.orders(quantity, on, item=item)
        self.events.append(add(on, quantity, item=item, ordered_on=today.isoformat()))

    async def give_back(self) -> None:
        """Some of what is open, never the first seat, which makes the calls."""
        listed = (await self.tenant.admin.ask("/v1/seats", state="open", limit=200))["items"]
        able = [each for each in listed if each["closes_on"] is None and (each["item"], each["number"]) != ("seat", 1)]
        if not able:
            return
        item = self.chance.choice(able)["item"]
        same = [each for each in able if each["item"] == item]
        chosen = self.chance.sample(same, self.chance.randint(1, min(2, len(same))))
        on = (clock.today() + NOTICE + timedelta(days=self.chance.randint(0, 4))).isoformat()
        order = {"contract_id": self.tenant.contract_id, "kind": "return", "item": item, "effective_on": on}
        await self.tenant.admin.does("/v1/seat-orders", order | {"seat_ids": [each["seat_id"] for each in chosen]})
        self.events.append(give_back(on, [each["number"] for each in chosen], item=item))

    async def usage(self) -> list[dict[str, Any]]:
        """What all calls came to, month by month, exactly."""
        sums = (await self.tenant.admin.ask("/v1/charges/summary"))["items"]
        return [usage(f"{each['month']}-28", "calls", each["amount"]) for each in sums]


def plain(invoice: dict[str, Any]) -> dict[str, Any]:
    """What counts on an invoice: its dates, its total and tax, the sum of each kind, what became of it."""
    kinds: dict[str, Decimal] = {}
    for line in invoice["lines"]:
        kinds[line["kind"]] = kinds.get(line["kind"], money.ZERO) + Decimal(line["amount"])
    wanted = ("reason", "issued_on", "due_on", "period", "total", "tax", "suspends_on", "paid_on")
    is_void = invoice["void"] if "void" in invoice else invoice["state"] == "void"
    return {name: invoice[name] for name in wanted} | {"kinds": kinds, "void": is_void}


def in_order(invoice: dict[str, Any]) -> Any:
    """As a quote lists invoices."""
    return invoice["issued_on"], REASONS.index(invoice["reason"]), invoice["due_on"]


@pytest.mark.parametrize(
    ("preset", "terms", "seed"),
    [
        ("hosted", {"rent_per_circuit": "133.33", "volume": [{"from": 8, "rent": "1777.77"}]}, 7),
        ("onsite", {"rent_per_circuit": "99.99", "deposit": "5000.00", "grace_days": 25}, 11),
    ],
)
async def test_the_stored_invoices_are_those_of_the_quote(
    world: World, preset: str, terms: dict[str, Any], seed: int
) -> None:
    await world.has_prices()
    tenant = await world.signs(preset=preset, seats=5, opens=OPENS, terms=terms)
    diary = Diary(tenant, random.Random(seed))  # noqa: S311 - a life that can be lived again
    await world.travel_to(f"{PAYS_OPENING} 10:00")
    opening = await tenant.invoice("opening")
    await tenant.pays(opening.total)
    diary.events += [add(OPENS, 5), pay(PAYS_OPENING, opening.total)]
    day = date.fromisoformat(OPENS)
    while (day := day + timedelta(days=diary.chance.randint(5, 12))) < date.fromisoformat(UNTIL) - 2 * NOTICE:
        if day.day > 1:
            await world.travel_to(f"{day} 10:00")
            await diary.live_a_day()
    await world.travel_to(f"{UNTIL} 23:00")

    question = document(preset, OPENS, UNTIL, diary.events + await diary.usage(), terms)
    quoted = await tenant.admin.does("/v1/quotes", question)
    lived = [each.plain for each in await tenant.invoices() if "made again" not in (each.plain["void_reason"] or "")]
    assert sorted(map(plain, lived), key=in_order) == [plain(each) for each in quoted["invoices"]]
    assert (await tenant.balance())["balance"] == quoted["balance"]
    assert {"rent", "calls", "return_credit"} <= {line["kind"] for each in lived for line in each["lines"]}
    assert len(lived) > 6
