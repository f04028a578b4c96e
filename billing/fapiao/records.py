"""The numbers of fapiao issued outside, written back to their invoices; taken back or replaced with a reason."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from billing import invoices
from billing.fapiao.errors import FapiaoNotFound, FapiaoNumberUsed, FapiaoVoided, InvoiceIsVoid
from billing.fapiao.models import Fapiao, FapiaoNumber
from billing.models import Invoice, InvoiceLine
from billing.rules.fapiao import Amount, FapiaoRefused, bounds_of, check_amount, check_number, rows_of
from billing.rules.reading import MAXIMUM_WHOLE_DIGITS, Reader
from infra.kit import audit, clock, money, reasons
from infra.kit.ids import new_id
from tenancy import tenants

_LEAST_AMOUNT = Decimal(-(10**MAXIMUM_WHOLE_DIGITS) + 1)
_READER = Reader(FapiaoRefused)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewFapiao:
    """A fapiao as it stands on the paper: `amount` is CNY with tax as a decimal string, negative on a red one."""

    number: str
    issued_on: date
    amount: str
    code: str | None = None

    @property
    def full_number(self) -> str:
        """What no other fapiao has."""
        return self.number if self.code is None else f"{self.code}-{self.number}"


async def record(session: AsyncSession, tenant_id: str, invoice_id: str, new: NewFapiao) -> Fapiao:
    """Write a fapiao back to its invoice. Locks the tenant, so that it and a void of the invoice follow one another.

    The amount is that of the invoice's taxed lines or a part of it: several fapiao together never come to more.
    Raises `FapiaoRefused` naming `number`, `code`, `issued_on` or `amount`, `InvoiceNotFound`, `InvoiceIsVoid`,
    `FapiaoNumberUsed`.
    """
    check_number(new.number, new.code)
    amount = _READER.decimal(new.amount, "amount", places=money.FEN, minimum=_LEAST_AMOUNT)
    await tenants.get(session, tenant_id, for_update=True)
    invoice = await invoices.get(session, tenant_id, invoice_id)
    if invoice.voided_at is not None:
        raise InvoiceIsVoid(
            f"The invoice {invoice.number} is void; issue a red-letter fapiao for the one that was made.",
            field="invoice_id",
        )
    if not invoice.issued_on <= new.issued_on <= clock.today():
        expected = f"a day from the invoice's, {invoice.issued_on}, to today, {clock.today()}"
        raise FapiaoRefused("issued_on", f"{new.issued_on} is not acceptable", expected)
    live = await live_of(session, tenant_id, invoice_id)
    bounds = bounds_of(rows_of(await amounts_of(session, tenant_id, [invoice_id])))
    check_amount(bounds, [each.amount for each in live], amount)
    fapiao = Fapiao(
        tenant_id=tenant_id,
        fapiao_id=new_id("fap"),
        invoice_id=invoice_id,
        code=new.code,
        number=new.number,
        issued_on=new.issued_on,
        amount=amount,
        recorded_by=audit.actor.get(),
        recorded_at=clock.now(),
        voided_at=None,
        void_reason=None,
        replaced_by=None,
    )
    claim = insert(FapiaoNumber).values(full_number=new.full_number, fapiao_id=fapiao.fapiao_id)
    claimed = await session.execute(claim.on_conflict_do_nothing().returning(FapiaoNumber.full_number))
    if claimed.scalar_one_or_none() is None:
        raise FapiaoNumberUsed(
            f"The fapiao {new.full_number} is recorded already; look for it under /v1/fapiao?number={new.number}.",
            field="number",
        )
    session.add(fapiao)
    await session.flush()
    await audit.record(
        session,
        tenant_id,
        "fapiao.recorded",
        fapiao.fapiao_id,
        invoice=invoice.number,
        number=new.full_number,
        issued_on=new.issued_on.isoformat(),
        amount=money.amount_text(amount),
    )
    return fapiao


async def void(session: AsyncSession, tenant_id: str, fapiao_id: str, *, reason: str) -> Fapiao:
    """Take a number back that was voided outside or written down wrongly; the number is free again.

    Raises `FapiaoNotFound`, `FapiaoVoided`, `InvalidInput` for no reason.
    """
    reason = reasons.given(reason)
    await tenants.get(session, tenant_id, for_update=True)
    fapiao = await find(session, fapiao_id, tenant_id)
    if fapiao.voided_at is not None:
        raise FapiaoVoided(f"The fapiao {fapiao.number} counts no more: {fapiao.void_reason}", field="fapiao_id")
    fapiao.voided_at = clock.now()
    fapiao.void_reason = reason
    await session.execute(delete(FapiaoNumber).where(FapiaoNumber.fapiao_id == fapiao_id))
    await session.flush()
    await audit.record(session, tenant_id, "fapiao.voided", fapiao_id, number=fapiao.number, reason=fapiao.void_reason)
    return fapiao


async def replace(session: AsyncSession, tenant_id: str, fapiao_id: str, new: NewFapiao, *, reason: str) -> Fapiao:
    """Void a fapiao and record the one that was issued in its place; returns the new one. Raises like both."""
    old = await void(session, tenant_id, fapiao_id, reason=reason)
    fapiao = await record(session, tenant_id, old.invoice_id, new)
    old.replaced_by = fapiao.fapiao_id
    await session.flush()
    return fapiao


async def has_fapiao(session: AsyncSession, tenant_id: str, invoice_id: str) -> bool:
    """Whether an invoice has a fapiao that counts; then it cannot be voided before the fapiao is."""
    return bool(await live_of(session, tenant_id, invoice_id))


async def find(session: AsyncSession, fapiao_id: str, tenant_id: str | None) -> Fapiao:
    """A fapiao by its id, narrowed to a tenant where the caller belongs to one. Raises `FapiaoNotFound`."""
    query = select(Fapiao).where(Fapiao.fapiao_id == fapiao_id).execution_options(populate_existing=True)
    if tenant_id is not None:
        query = query.where(Fapiao.tenant_id == tenant_id)
    fapiao = (await session.execute(query)).scalar_one_or_none()
    if fapiao is None:
        raise FapiaoNotFound(f"There is no fapiao {fapiao_id}.", field="fapiao_id")
    return fapiao


async def live_of(session: AsyncSession, tenant_id: str, invoice_id: str) -> list[Fapiao]:
    """The fapiao of one invoice that count, in the order in which they were recorded."""
    return (await live_by_invoice(session, {tenant_id}, {invoice_id})).get(invoice_id, [])


async def live_by_invoice(
    session: AsyncSession, tenant_ids: Collection[str], invoice_ids: Collection[str]
) -> dict[str, list[Fapiao]]:
    """The fapiao that count by invoice, as recorded; invoices without any are missing in the answer."""
    query = (
        select(Fapiao)
        .where(Fapiao.tenant_id.in_(tenant_ids), Fapiao.invoice_id.in_(invoice_ids), Fapiao.voided_at.is_(None))
        .order_by(Fapiao.fapiao_id)
    )
    found: defaultdict[str, list[Fapiao]] = defaultdict(list)
    for row in (await session.execute(query)).scalars():
        found[row.invoice_id].append(row)
    return dict(found)


async def numbers_of(session: AsyncSession, shown: Sequence[Invoice]) -> dict[str, list[str]]:
    """The full numbers of the fapiao that count, by invoice, for invoices that are about to be shown."""
    tenant_ids = {invoice.tenant_id for invoice in shown}
    found = await live_by_invoice(session, tenant_ids, {invoice.invoice_id for invoice in shown})
    return {invoice_id: [full_number(each) for each in rows] for invoice_id, rows in found.items()}


def full_number(fapiao: Fapiao) -> str:
    """The number, after its code and a hyphen where it has one. Pure."""
    return fapiao.number if fapiao.code is None else f"{fapiao.code}-{fapiao.number}"


async def amounts_of(session: AsyncSession, tenant_id: str, invoice_ids: Collection[str]) -> list[Amount]:
    """The lines of one tenant's invoices added up by kind and rate of tax."""
    query = (
        select(InvoiceLine.kind, InvoiceLine.tax_rate, func.sum(InvoiceLine.amount))
        .where(InvoiceLine.tenant_id == tenant_id, InvoiceLine.invoice_id.in_(invoice_ids))
        .group_by(InvoiceLine.kind, InvoiceLine.tax_rate)
    )
    return [Amount(kind, rate, gross) for kind, rate, gross in await session.execute(query)]
