"""A builder for lease tests: one tenant and contract, lived through day by day on the real database."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from billing import contracts, dunning, invoice_runs, leases, ledger, openings, order_ends, payments
from billing.ledger_models import WriteOff
from billing.models import Allocation, Charge, Contract, Holding, Invoice, Payment, Suspension
from billing.rules.book import Item
from billing.rules.months import Month
from infra.kit import clock, money
from infra.kit.database import Database, Scope
from infra.kit.ids import new_id
from infra.kit.jobs import Runtime
from infra.kit.settings import Settings
from tenancy import tenants
from tests import papers

_domains = itertools.count(1)


def morning(day: date, minutes: int = 1) -> datetime:
    """A moment early on a local day, in UTC."""
    return datetime.combine(day, time(0, minutes), tzinfo=clock.LOCAL_ZONE).astimezone(UTC)


@dataclass
class LeaseWorld:
    """One tenant with one contract; provisioning is played by `open_what_may_open`."""

    database: Database
    settings: Settings
    tenant_id: str = ""
    contract_id: str = ""
    orders: list[str] = field(default_factory=list)

    @property
    def runtime(self) -> Runtime:
        return Runtime(self.database, self.settings)

    async def sign(
        self,
        preset: str,
        opens_on: str,
        terms: dict[str, Any] | None = None,
        *,
        on: str | None = None,
        ends_on: str | None = None,
    ) -> None:
        """A new tenant signs a contract, by default twenty days before it opens."""
        opening = date.fromisoformat(opens_on)
        clock.travel_to(morning(date.fromisoformat(on) if on else opening - timedelta(days=20)))
        async with self.database.transaction(Scope.platform()) as session:
            tenant = await tenants.create_tenant(
                session, name="安心保险", sip_domain=f"lease-{next(_domains)}.example.com"
            )
            self.tenant_id = tenant.tenant_id
            contract = await contracts.create_contract(
                session,
                tenant_id=self.tenant_id,
                title="坐席租赁合同",
                preset=preset,
                terms=terms or {},
                opens_on=opening,
                ends_on=date.fromisoformat(ends_on) if ends_on else None,
            )
            self.contract_id = contract.contract_id
            papers.hold_all(session, self.tenant_id)

    async def order(self, quantity: int, effective_on: str, *, item: Item = "seat") -> str:
        """Order today; returns the order's id."""
        effective = date.fromisoformat(effective_on)
        order_id = new_id("ord")
        async with self.database.transaction(Scope.platform()) as session:
            contract = await contracts.get_contract(session, self.tenant_id, self.contract_id)
            await leases.order_holdings(
                session,
                tenant_id=self.tenant_id,
                contract_id=self.contract_id,
                item=item,
                quantity=quantity,
                ordered_on=clock.today(),
                effective_on=effective,
                order_id=order_id,
                opening=effective == contract.opens_on,
            )
        self.orders.append(order_id)
        return order_id

    async def give_back(self, numbers: Sequence[int], effective_on: str, *, item: Item = "seat") -> None:
        async with self.database.transaction(Scope.platform()) as session:
            await leases.return_holdings(
                session,
                tenant_id=self.tenant_id,
                contract_id=self.contract_id,
                item=item,
                numbers=numbers,
                ordered_on=clock.today(),
                effective_on=date.fromisoformat(effective_on),
            )

    async def cancel(self, order_id: str) -> None:
        async with self.database.transaction(Scope.platform()) as session:
            await order_ends.cancel_order(
                session, tenant_id=self.tenant_id, order_id=order_id, reason="changed our mind"
            )

    async def pay(self, amount: str | None = None, *, value_on: date | None = None) -> Payment:
        """Finance records a payment, by default of everything open."""
        async with self.database.transaction(Scope.platform()) as session:
            owed = (await ledger.balance(session, self.tenant_id)).owed
            return await payments.record(
                session,
                tenant_id=self.tenant_id,
                amount=amount or money.amount_text(owed),
                value_on=value_on or clock.today(),
                channel="bank_transfer",
                payer=None,
                reference=None,
            )

    async def reverse(self, payment: Payment) -> None:
        async with self.database.transaction(Scope.platform()) as session:
            await payments.reverse(
                session, tenant_id=self.tenant_id, payment_id=payment.payment_id, reason="recorded twice"
            )

    async def called(self, month: str, amount: str) -> None:
        """A rated call that goes on the invoice after this month."""
        first = date.fromisoformat(f"{month}-01")
        async with self.database.transaction(Scope.platform()) as session:
            session.add(
                Charge(
                    tenant_id=self.tenant_id,
                    month=first,
                    leg_id=new_id("leg"),
                    contract_id=self.contract_id,
                    billing_month=first,
                    deck_id="deck",
                    prefix="86",
                    billed_seconds=60,
                    amount=Decimal(amount),
                    rated_at=clock.now(),
                )
            )

    async def begin(self, day: date) -> None:
        """Midnight has passed: the daily jobs run, then provisioning opens what may open."""
        clock.travel_to(morning(day))
        await invoice_runs.issue_openings(self.runtime, day)
        await invoice_runs.end_contracts(self.runtime, day)
        run = await invoice_runs.run_month(self.runtime, Month.of(day))
        assert run.set_aside == []
        await self.open_what_may_open()

    async def open_what_may_open(self) -> None:
        today = clock.today()
        waiting = (
            select(Holding.order_id, Holding.opening, Holding.effective_on)
            .where(
                Holding.tenant_id == self.tenant_id,
                Holding.effective_on <= today,
                Holding.opened_on.is_(None),
                ~Holding.lapsed,
            )
            .distinct()
            .order_by(Holding.effective_on)
        )
        async with self.database.transaction(Scope.platform()) as session:
            contract = await contracts.get_contract(session, self.tenant_id, self.contract_id)
            for order_id, opening, _ in (await session.execute(waiting)).all():
                is_paid = await leases.is_order_paid(session, tenant_id=self.tenant_id, order_id=order_id)
                if is_paid and await openings.may_open(session, contract, opening=opening):
                    await leases.open_holdings(session, tenant_id=self.tenant_id, order_id=order_id, on=today)

    async def waiting(self, order_id: str) -> bool:
        """Whether an order is neither open nor gone."""
        query = select(Holding).where(Holding.order_id == order_id, Holding.opened_on.is_(None), ~Holding.lapsed)
        async with self.database.transaction(Scope.platform()) as session:
            return (await session.execute(query)).first() is not None

    async def close_day(self) -> None:
        """What the day has brought reaches provisioning and dunning."""
        await self.open_what_may_open()
        async with self.database.transaction(Scope.platform()) as session:
            await dunning.advance(session, self.tenant_id, clock.today())

    async def live_to(self, until: str) -> None:
        """Live from tomorrow to the end of a day without doing anything; of the days between only the 1sts matter."""
        day, last = clock.today() + timedelta(days=1), date.fromisoformat(until)
        while day <= last:
            if day.day == 1 or day == last:
                await self.begin(day)
                await self.close_day()
            day += timedelta(days=1)

    async def invoices(self, reason: str | None = None, *, void: bool | None = None) -> list[Invoice]:
        query = select(Invoice).where(Invoice.tenant_id == self.tenant_id).order_by(Invoice.created_at)
        async with self.database.transaction(Scope.platform()) as session:
            rows = (await session.execute(query)).scalars().all()
        return [
            row
            for row in rows
            if (reason is None or row.reason == reason) and (void is None or (row.voided_at is not None) == void)
        ]

    async def payments(self) -> list[Payment]:
        query = select(Payment).where(Payment.tenant_id == self.tenant_id).order_by(Payment.payment_id)
        async with self.database.transaction(Scope.platform()) as session:
            return list((await session.execute(query)).scalars())

    async def balance(self) -> ledger.Balance:
        async with self.database.transaction(Scope.platform()) as session:
            return await ledger.balance(session, self.tenant_id)

    async def standing(self) -> tuple[str, str | None]:
        async with self.database.transaction(Scope.platform()) as session:
            tenant = await tenants.get(session, self.tenant_id)
            return tenant.standing, tenant.standing_reason

    async def contract(self) -> Contract:
        async with self.database.transaction(Scope.platform()) as session:
            return await contracts.get_contract(session, self.tenant_id, self.contract_id)

    async def suspensions(self) -> list[tuple[date, date | None]]:
        query = select(Suspension).where(Suspension.tenant_id == self.tenant_id).order_by(Suspension.began_at)
        async with self.database.transaction(Scope.platform()) as session:
            rows = (await session.execute(query)).scalars().all()
        return [(clock.local_date(row.began_at), row.ended_at and clock.local_date(row.ended_at)) for row in rows]

    async def check_conservation(self) -> None:
        """Every fen received is on an invoice or is credit, and no source or invoice is used beyond its amount."""
        async with self.database.transaction(Scope.platform()) as session:
            await conserved(session, self.tenant_id)


async def conserved(session: AsyncSession, tenant_id: str) -> None:
    """sum(payments, write-offs) + sum(credit invoices) = sum(allocated) + credit, and each part within its whole."""
    received = await session.scalar(
        select(func.coalesce(func.sum(Payment.amount), 0)).where(
            Payment.tenant_id == tenant_id, Payment.reversed_at.is_(None)
        )
    )
    credited = await session.scalar(
        select(func.coalesce(-func.sum(Invoice.total), 0)).where(
            Invoice.tenant_id == tenant_id, Invoice.voided_at.is_(None), Invoice.total < 0
        )
    )
    given_up = await session.scalar(
        select(func.coalesce(func.sum(WriteOff.amount), 0)).where(
            WriteOff.tenant_id == tenant_id, WriteOff.reversed_at.is_(None)
        )
    )
    live = select(Allocation).where(Allocation.tenant_id == tenant_id, Allocation.undone_at.is_(None))
    allocations = (await session.execute(live)).scalars().all()
    account = await ledger.balance(session, tenant_id)
    assert received is not None
    assert credited is not None
    assert given_up is not None
    assert received + credited + given_up == sum((each.amount for each in allocations), money.ZERO) + account.credit
    assert account.credit >= 0
    assert not (account.credit and account.open_invoices), "credit lies idle beside an open invoice"
    invoices = (await session.execute(select(Invoice).where(Invoice.tenant_id == tenant_id))).scalars().all()
    for invoice in invoices:
        paid = sum((each.amount for each in allocations if each.invoice_id == invoice.invoice_id), money.ZERO)
        assert paid == invoice.paid, invoice.number
        assert paid <= max(invoice.total, money.ZERO), invoice.number
        assert invoice.voided_at is None or paid == 0
    numbers = sorted(invoice.number for invoice in invoices)
    years = {number[:4] for number in numbers}
    for year in years:
        of_year = [number for number in numbers if number.startswith(year)]
        assert of_year == [f"{year}-{index:04d}" for index in range(1, len(of_year) + 1)]
