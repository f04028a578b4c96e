"""Random lives on the database: what was ever charged, added up from where it was recorded, is what invoices say."""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from billing import contracts, invoice_runs, journal, one_off_charges, refunds
from billing.corrections import credit_notes, voids, write_offs
from billing.corrections.errors import InvoiceNotCreditable
from billing.errors import InvoiceNotVoidable, PaymentRefunded
from billing.models import Charge, Holding, Invoice, InvoiceLine, OneOffCharge, Payment, RentCharge
from billing.outages.errors import FaultKnown
from billing.outages.models import FaultCredit
from billing.rules.credit_notes import CreditRefused
from billing.rules.months import Month
from infra.kit import clock, money
from infra.kit.database import Database, Scope
from infra.kit.settings import Settings
from tests.billing.lease_world import LeaseWorld, morning
from tests.billing.outage_world import reported

OPENS, LAST_DAY, UNTIL = date(2026, 3, 9), date(2026, 7, 17), date(2026, 9, 1)
ONE_DAY, NOTICE = timedelta(days=1), timedelta(days=5)
MONTH_REASONS = frozenset({"monthly", "final"})
NOT_SALES = frozenset({"deposit", "deposit_return"})

Sums = defaultdict[tuple[str, str, str | None], Fraction]
"""Exact sums by invoice, kind of line and item."""


@pytest.fixture
def world(database: Database, settings: Settings) -> LeaseWorld:
    return LeaseWorld(database, settings)


@dataclass
class Life:
    """A contract that everything happens to."""

    world: LeaseWorld
    chance: random.Random
    credited: Decimal = money.ZERO
    """What finance has asked credit notes for, in words of its own: line by line, CNY."""
    recorded: list[Payment] = field(default_factory=list[Payment])

    async def live(self) -> None:
        """Three or four days of every month, each 1st, and what comes after the end."""
        day = OPENS
        while day < UNTIL:
            day += ONE_DAY
            busy = self.chance.randrange(100) < 22 and day < LAST_DAY
            if day.day == 1 or day == LAST_DAY + ONE_DAY:
                await self.world.begin(day)
            if busy or day == LAST_DAY + 20 * ONE_DAY:
                clock.travel_to(morning(day) + timedelta(hours=16))
                await self.world.open_what_may_open()
                await self.something(day)
                await self.world.close_day()

    async def something(self, day: date) -> None:
        """Some of everything that moves money, in any order."""
        acts = [self.pays, self.calls, self.is_charged]
        if day < LAST_DAY:
            acts += [self.calls, self.orders, self.gives_back, self.fails, self.corrects, self.takes_money_back]
        for act in self.chance.sample(acts, min(len(acts), 4)):
            await act(day)

    async def pays(self, day: date) -> None:
        owed = (await self.world.balance()).owed
        share = self.chance.choice([Decimal(1), Decimal(1), Decimal("0.37"), Decimal("1.21")])
        amount = money.fen(Fraction(owed * share))
        if amount:
            self.recorded.append(await self.world.pay(money.amount_text(amount)))

    async def takes_money_back(self, day: date) -> None:
        if self.recorded and self.chance.randrange(3) == 0:
            try:
                await self.world.reverse(self.recorded.pop(self.chance.randrange(len(self.recorded))))
            except PaymentRefunded:
                return

    async def calls(self, day: date) -> None:
        if day <= LAST_DAY:
            amount = f"{self.chance.randrange(99)}.{self.chance.randrange(10_000):04d}"
            await self.world.called(f"{day:%Y-%m}", amount)

    async def is_charged(self, day: date) -> None:
        amount = f"{self.chance.randrange(900)}.{self.chance.randrange(1, 100):02d}"
        kind, on = self.chance.choice(one_off_charges.KINDS), min(day, LAST_DAY)
        if kind == one_off_charges.DATA:
            amount += f"{self.chance.randrange(100):02d}"
        async with self.world.database.transaction(Scope.platform()) as session:
            made = await one_off_charges.create(
                session,
                tenant_id=self.world.tenant_id,
                contract_id=self.world.contract_id,
                kind=kind,
                on=on,
                amount=amount,
                note="as agreed",
            )
            if self.chance.randrange(5) == 0:
                await one_off_charges.cancel(
                    session, tenant_id=self.world.tenant_id, charge_id=made.charge_id, reason="a slip"
                )

    async def orders(self, day: date) -> None:
        effective = day + NOTICE + timedelta(days=self.chance.randrange(6))
        if effective < LAST_DAY:
            item = self.chance.choice(["seat", "circuit"])
            await self.world.order(
                self.chance.randint(1, 3), effective.isoformat(), item="seat" if item == "seat" else "circuit"
            )

    async def gives_back(self, day: date) -> None:
        query = select(Holding).where(
            Holding.tenant_id == self.world.tenant_id,
            Holding.opened_on <= day,
            Holding.closes_on.is_(None),
            Holding.number > 1,
        )
        async with self.world.database.transaction(Scope.platform()) as session:
            able = list((await session.execute(query.order_by(Holding.item, Holding.number))).scalars())
        if able and day + NOTICE < LAST_DAY:
            row = self.chance.choice(able)
            on = (day + NOTICE).isoformat()
            await self.world.give_back([row.number], on, item="seat" if row.item == "seat" else "circuit")

    async def fails(self, day: date) -> None:
        began = day - timedelta(days=self.chance.randint(1, 20))
        if began <= OPENS or await self.nothing_is_open(began):
            return
        ended = f"{day - ONE_DAY} {self.chance.randrange(6, 24):02d}:30"
        try:
            await reported(self.world, f"{began} 05:10", ended, numbers=None)
        except FaultKnown:
            return

    async def nothing_is_open(self, day: date) -> bool:
        query = select(func.count()).where(Holding.tenant_id == self.world.tenant_id, Holding.opened_on <= day)
        async with self.world.database.transaction(Scope.platform()) as session:
            return not await session.scalar(query)

    async def corrects(self, day: date) -> None:
        """A credit note, a void that is made again, or a write-off, of the newest invoice of a month."""
        found = [each for each in await self.world.invoices(void=False) if each.reason == "monthly"]
        if not found:
            return
        match self.chance.randrange(4):
            case 0 | 1:
                await self.credits(self.chance.choice(found))
            case 2:
                await self.voids(found[-1])
            case _:
                await self.gives_up(found[0])

    async def credits(self, invoice: Invoice) -> None:
        amount = Decimal(self.chance.randint(1, 20_000)).scaleb(-2)
        try:
            async with self.world.database.transaction(Scope.platform()) as session:
                await credit_notes.create(
                    session,
                    tenant_id=self.world.tenant_id,
                    invoice_id=invoice.invoice_id,
                    lines=[(1, money.amount_text(amount))],
                    reason="goodwill",
                )
        except (CreditRefused, InvoiceNotCreditable):
            return
        self.credited += amount

    async def voids(self, invoice: Invoice) -> None:
        try:
            async with self.world.database.transaction(Scope.platform()) as session:
                await voids.void_invoice(session, self.world.tenant_id, invoice.invoice_id, reason="wrong")
        except InvoiceNotVoidable:
            return
        await invoice_runs.run_month(self.world.runtime, Month.of(invoice.issued_on))

    async def gives_up(self, invoice: Invoice) -> None:
        if invoice.paid < invoice.total:
            async with self.world.database.transaction(Scope.platform()) as session:
                await write_offs.write_off(
                    session, tenant_id=self.world.tenant_id, invoice_id=invoice.invoice_id, reason="lost"
                )

    async def is_settled(self) -> None:
        """What is open at the end is paid, or what is left goes back."""
        account = await self.world.balance()
        if account.owed:
            await self.world.pay()
        elif account.credit:
            async with self.world.database.transaction(Scope.platform()) as session:
                await refunds.record(
                    session,
                    tenant_id=self.world.tenant_id,
                    amount=money.amount_text(account.credit),
                    value_on=clock.today(),
                    reference="OUT-1",
                    note="the end",
                )


async def _rows(session: AsyncSession, table: Any, tenant_id: str) -> list[Any]:
    return list((await session.execute(select(table).where(table.tenant_id == tenant_id))).scalars())


async def _recorded(session: AsyncSession, world: LeaseWorld, invoices: list[Invoice]) -> Sums:
    """What stands where it was recorded: rent by holding and month, calls, one-off charges, returns, faults."""
    terms = contracts.terms_of(await contracts.get_contract(session, world.tenant_id, world.contract_id))
    monthly = [each for each in invoices if each.reason in MONTH_REASONS]
    of_usage = {Month.of(each.issued_on).preceding.first: each.invoice_id for each in monthly}
    dated = {each.issued_on: each.invoice_id for each in monthly}
    sums: Sums = defaultdict(Fraction)
    rent: dict[tuple[str, int, date], Fraction] = {}
    for row in await _rows(session, RentCharge, world.tenant_id):
        exact = Fraction(row.unit_price) * row.days / row.month_days
        rent[row.item, row.number, row.month] = exact
        sums[row.invoice_id, "rent", row.item] += exact
    for row in await _rows(session, Charge, world.tenant_id):
        sums[of_usage.get(row.billing_month, "waiting"), "calls", None] += Fraction(row.amount)
    for row in await _rows(session, OneOffCharge, world.tenant_id):
        if row.cancelled_at is None:
            sums[dated.get(row.billed_on, "waiting"), row.kind, None] += Fraction(row.amount)
    for row in await _rows(session, FaultCredit, world.tenant_id):
        sums[row.invoice_id, "fault_credit", row.item] -= Fraction(row.exact_amount)
    for row in await _rows(session, Holding, world.tenant_id):
        if row.order_invoice_id and not row.lapsed:
            sums[row.order_invoice_id, "deposit", row.item] += Fraction(row.deposit_asked)
        if row.deposit_returned:
            sums[dated[row.deposit_returned_on], "deposit_return", row.item] -= Fraction(row.deposit_asked)
        if row.returned and row.closes_on.day <= terms.return_cutoff_day:
            month = Month.of(row.closes_on).first
            charged = rent.get((row.item, row.number, month), Fraction(0))
            sums[of_usage[month], "return_credit", row.item] -= charged * (1 - Fraction(terms.return_charge))
    return sums


@pytest.mark.parametrize("seed", range(1, 7))
async def test_everything_ever_charged_is_what_all_invoice_lines_come_to(world: LeaseWorld, seed: int) -> None:
    life = Life(world, random.Random(seed))  # noqa: S311 - a life that can be lived again
    terms = {"rent_per_circuit": "133.33", "volume": [{"from": 4, "rent": "1777.77"}], "grace_days": 25}
    await world.sign("hosted", OPENS.isoformat(), terms, ends_on=LAST_DAY.isoformat())
    await world.order(3, OPENS.isoformat())
    await world.order(2, OPENS.isoformat(), item="circuit")
    await world.live_to("2026-03-04")
    await world.pay()
    await world.live_to(OPENS.isoformat())
    await life.live()
    await life.is_settled()

    invoices = await world.invoices(void=False)
    async with world.database.transaction(Scope.platform()) as session:
        recorded = await _recorded(session, world, invoices)
        lines: defaultdict[tuple[str, str, str | None], Decimal] = defaultdict(lambda: money.ZERO)
        everything = money.ZERO
        notes = {each.invoice_id for each in invoices if each.reason == "credit_note"}
        live = {each.invoice_id for each in invoices}
        for line in await _rows(session, InvoiceLine, world.tenant_id):
            if line.invoice_id in live:
                everything += line.amount
            if line.invoice_id in live - notes:
                lines[line.invoice_id, line.kind, line.item] += line.amount
        ledger = await journal.balances(session, world.tenant_id)
    rounded = {place: money.fen(amount) for place, amount in recorded.items()}
    assert {place: amount for place, amount in rounded.items() if amount} == dict(lines)
    assert sum(rounded.values(), money.ZERO) - life.credited == everything
    earned = ("revenue", "tax", "deposit_due", "deposit_held")
    assert -sum((ledger.get(account, money.ZERO) for account in earned), money.ZERO) == everything
    assert "waiting" not in {invoice_id for invoice_id, _, _ in recorded}
    assert (ledger.get("deposit_due", money.ZERO), ledger.get("deposit_held", money.ZERO)) == (0, 0)
    kinds = {kind for _, kind, _ in lines}
    assert {"rent", "calls", "deposit", "deposit_return", "return_credit", "fault_credit"} <= kinds
    assert kinds & set(one_off_charges.KINDS)
    await world.check_conservation()
