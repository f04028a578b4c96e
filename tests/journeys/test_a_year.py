"""A year lived day by day through the API, and what it charged against the calculator on the same history.

One tenant grows and pays late every month, one shrinks, pays in time and leaves; a third opens behind the National Day
holiday with its make-up Saturday, a fourth across a leap day.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any

from sqlalchemy import select

from billing.models import Suspension
from infra.kit import clock
from infra.kit.database import Scope
from tests.api import Api
from tests.billing.histories import add, charge, document, end, give_back, pay, usage
from tests.journeys.test_calculator_agrees import in_order, plain
from tests.world import LANDLINE, MOBILE, Customer, World

Deed = Callable[[], Awaitable[None]]


@dataclass
class Tenancy:
    """A tenant that keeps a diary: each deed is done through the API and noted as the calculator reads it."""

    customer: Customer
    preset: str
    opens: str
    terms: dict[str, Any]
    events: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    async def pays(self) -> None:
        """Everything that is owed today, when anything is."""
        owed = (await self.customer.balance())["owed"]
        if Decimal(owed):
            await self.customer.pays(owed)
            await self.customer.world.work()
            self.events.append(pay(clock.today().isoformat(), owed))

    def adds(self, seats: int, on: str) -> Deed:
        """Order seats for a day."""

        async def deed() -> None:
            await self.customer.orders(seats, on)
            self.events.append(add(on, seats, ordered_on=clock.today().isoformat()))

        return deed

    def returns(self, number: int, on: str) -> Deed:
        """Give the seat of this number, the last one held, back at the end of a day."""

        async def deed() -> None:
            await self.customer.returns(1, on)
            self.events.append(give_back(on, [number]))

        return deed

    def is_charged(self, kind: str, amount: str) -> Deed:
        """Finance records a one-off charge of today."""

        async def deed() -> None:
            today = clock.today().isoformat()
            body = {"tenant_id": self.customer.tenant_id, "contract_id": self.customer.contract_id, "note": kind}
            body |= {"kind": kind, "on": today, "amount": amount}
            await self.customer.world.finance.does("/v1/one-off-charges", body)
            self.events.append(charge(today, kind, amount))

        return deed

    async def is_refunded(self) -> None:
        """Finance pays the credit out that the final invoice has left (rule 11); the calculator takes it as done."""
        credit = (await self.customer.balance())["credit"]
        body = {"tenant_id": self.customer.tenant_id, "amount": credit, "value_on": clock.today().isoformat()}
        await self.customer.world.finance.does("/v1/refunds", body | {"reference": "OUT-1", "note": "the deposit"})

    async def calls(self) -> None:
        """A few calls of the first seat; what they cost is asked when all is over."""
        for number, milliseconds in ((MOBILE, 61_000), (LANDLINE, 125_000), (MOBILE, 3_599_000)):
            await self.customer.seat(1).talks(number, milliseconds=milliseconds)

    async def agrees_with_the_calculator(self, until: str, ended: str | None = None) -> dict[str, Any]:
        """Compare every invoice, the suspensions, the balance and the deposit; returns the quote."""
        sums = (await self.customer.admin.ask("/v1/charges/summary", limit=200))["items"]
        calls = [usage(f"{each['month']}-28", "calls", each["amount"]) for each in sums]
        events = self.events + calls + ([end(ended)] if ended else [])
        question = document(self.preset, self.opens, until, events, self.terms)
        quoted = await self.customer.admin.does("/v1/quotes", question)
        lived = [each.plain for each in await self.customer.invoices()]
        assert sorted(map(plain, lived), key=in_order) == [plain(each) for each in quoted["invoices"]]
        assert (await self.customer.balance())["balance"] == quoted["balance"]
        assert await self._suspensions() == [(each["from"], each["to"]) for each in quoted["suspensions"]]
        assert await self._deposit_held() == quoted["deposit_held"]
        return quoted

    async def _suspensions(self) -> list[tuple[str, str | None]]:
        query = select(Suspension).where(Suspension.tenant_id == self.customer.tenant_id).order_by(Suspension.began_at)
        async with self.customer.world.api.database.transaction(Scope.platform()) as session:
            rows = (await session.execute(query)).scalars().all()
        days = [(clock.local_date(row.began_at), row.ended_at and clock.local_date(row.ended_at)) for row in rows]
        return [(began.isoformat(), ended.isoformat() if ended else None) for began, ended in days]

    async def _deposit_held(self) -> str:
        params = {"tenant_id": self.customer.tenant_id, "account": "deposit_held", "limit": 200}
        listed = (await self.customer.world.finance.ask("/v1/postings", **params))["items"]
        return str(-sum((Decimal(each["amount"]) for each in listed), Decimal("0.00")) + Decimal("0.00"))


async def _sign(world: World, preset: str, seats: int, opens: str, terms: dict[str, Any], **more: Any) -> Tenancy:
    customer = await world.signs(preset=preset, seats=seats, opens=opens, terms=terms, **more)
    return Tenancy(customer, preset, opens, terms, [add(opens, seats)])


async def _live(world: World, plan: dict[str, list[Deed]], until: str) -> None:
    """Live every day until the last; what is planned is done at nine in the morning."""
    for day in sorted(plan):
        await world.travel_to(f"{day} 09:00", day_by_day=True)
        for deed in plan[day]:
            await deed()
    await world.travel_to(f"{until} 23:00", day_by_day=True)


async def test_a_year_of_a_late_payer_that_grows_and_of_one_that_shrinks_and_leaves(world: World) -> None:
    await world.has_prices()
    volume = [{"from": 8, "rent": "1800.00"}]
    late = await _sign(world, "hosted", 5, "2026-06-01", {"volume": volume})
    leaving = await _sign(world, "onsite", 6, "2026-06-15", {"deposit": "3000.00"}, ends="2027-03-31")
    plan: defaultdict[str, list[Deed]] = defaultdict(list)
    plan["2026-05-29"] += [late.pays]
    plan["2026-06-12"] += [leaving.pays]
    months = [date(2026 + month // 12, month % 12 + 1, 1) for month in range(6, 17)]
    for month in months:
        plan[f"{month:%Y-%m}-06"] += [leaving.pays]
        plan[f"{month:%Y-%m}-12"] += [late.calls]
        plan[f"{month:%Y-%m}-28"] += [late.pays]  # two days after the tolerance of its invoice has ended
    plan["2026-07-15"] += [leaving.calls, leaving.is_charged("recruitment", "800.00")]
    plan["2026-08-10"] += [leaving.returns(6, "2026-08-20")]
    plan["2026-09-16"] += [leaving.returns(5, "2026-09-21"), late.adds(3, "2026-09-21")]
    plan["2026-09-20"] += [late.pays]
    plan["2026-09-30"] += [late.adds(2, "2026-10-09")]
    plan["2026-10-05"] += [late.pays]
    plan["2026-11-10"] += [leaving.is_charged("equipment", "399.99"), late.adds(1, "2026-11-20")]
    plan["2027-01-14"] += [leaving.returns(4, "2027-01-20"), leaving.calls]
    plan["2027-04-02"] += [leaving.is_refunded]
    await _live(world, plan, "2027-06-02")

    quoted = await late.agrees_with_the_calculator("2027-06-02")
    assert len(quoted["suspensions"]) == 9  # it paid early twice, for seats that it wanted
    final = await leaving.agrees_with_the_calculator("2027-06-02", ended="2027-03-31")
    assert final["invoices"][-1]["reason"] == "final"
    assert (final["balance"], final["deposit_held"], final["suspensions"]) == ("0.00", "0.00", [])
    revenue = (await world.finance.ask("/v1/reports/revenue", first="2026-05", last="2027-06"))["months"]
    assert [each["month"] for each in revenue] == sorted({each["month"] for each in revenue})
    assert len(revenue) == 14


async def test_an_opening_behind_a_holiday_with_make_up_days(api: Api) -> None:
    world = await World.open(api, begins="2026-09-21 09:00")
    holiday = await _sign(world, "hosted", 2, "2026-10-12", {})
    plan: dict[str, list[Deed]] = {"2026-10-09": [holiday.pays], "2026-11-05": [holiday.pays]}
    await _live(world, plan, "2026-11-12")
    quoted = await holiday.agrees_with_the_calculator("2026-11-12")
    opening = quoted["invoices"][0]
    # Saturday the 10th is worked; the 1st to the 7th are not.
    assert (opening["issued_on"], opening["due_on"], quoted["provisional"]) == ("2026-10-08", "2026-10-10", False)


async def test_a_month_across_a_leap_day(api: Api) -> None:
    world = await World.open(api, begins="2028-01-28 09:00")
    leap = await _sign(world, "hosted", 3, "2028-02-10", {"rent_per_seat": "2900.00"})
    plan: dict[str, list[Deed]] = {
        "2028-02-09": [leap.pays],
        "2028-02-22": [leap.adds(1, "2028-02-29")],
        "2028-02-24": [leap.returns(3, "2028-02-29")],
        "2028-02-28": [leap.pays],
        "2028-03-10": [leap.pays],
    }
    await _live(world, plan, "2028-03-31")
    quoted = await leap.agrees_with_the_calculator("2028-03-31")
    rents = {each["issued_on"]: each["lines"][-1]["amount"] for each in quoted["invoices"]}
    assert rents["2028-02-22"] == "100.00"  # one of 29 days
    assert quoted["provisional"]
