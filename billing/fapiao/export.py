"""What still needs a fapiao: one row for each invoice and rate of tax, as whoever issues them outside needs it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from sqlalchemy import func, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from billing.fapiao import particulars, records
from billing.fapiao.errors import TooManyInvoices
from billing.fapiao.models import Fapiao, TaxParticulars
from billing.models import Invoice, InvoiceLine
from billing.rules.fapiao import Amount, FapiaoRow, bounds_of, is_complete, rows_of
from billing.rules.months import Month
from billing.spreadsheets import Book, Cell, Column, FileKind, Table
from infra.kit import money
from infra.kit.languages import Language

INVOICES_LIMIT = 20_000
"""Invoices that one export goes through, with or without a fapiao; some ten seconds."""

BATCH_INVOICES = 500
NO_PARTICULARS = "no_tax_particulars"
PARTLY_ISSUED = "partly_issued"

_REASONS = {
    NO_PARTICULARS: ("客户未提供开票资料", "the tenant has given no tax particulars"),
    PARTLY_ISSUED: ("已部分开票 {issued} 元", "fapiao of {issued} in total are recorded already"),
}
_KINDS = {"general": ("普通发票", "general"), "special": ("专用发票", "special")}
_RED = ("需开红字发票", "needs a red-letter fapiao")
_COLUMNS: tuple[tuple[str, str, int, int | None], ...] = (
    ("账单标识", "invoice_id", 32, None),
    ("账单编号", "invoice_number", 12, None),
    ("账单日期", "invoice_date", 12, None),
    ("客户标识", "tenant_id", 32, None),
    ("购买方名称", "buyer", 32, None),
    ("统一社会信用代码", "credit_code", 22, None),
    ("地址", "address", 30, None),
    ("电话", "phone", 16, None),
    ("开户行", "bank", 24, None),
    ("银行账号", "bank_account", 24, None),
    ("发票类型", "fapiao_kind", 12, None),
    ("项目名称", "goods", 30, None),
    ("税率", "tax_rate", 8, None),
    ("不含税金额", "net", 14, money.FEN),
    ("税额", "tax", 12, money.FEN),
    ("价税合计", "amount", 14, money.FEN),
    ("说明", "note", 30, None),
    ("可开票", "ready", 10, None),
    ("发票代码", "fapiao_code", 14, None),
    ("发票号码", "fapiao_number", 24, None),
    ("开票日期", "fapiao_date", 12, None),
)
"""The last three are empty, to be filled in and sent back (billing/fapiao/imports.py)."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """An invoice that lacks a fapiao, or a part of one; `reasons` (codes) keep it from being issued as it stands."""

    invoice: Invoice
    rows: tuple[FapiaoRow, ...]
    buyer: TaxParticulars | None
    issued: Decimal
    reasons: tuple[str, ...]


async def waiting(session: AsyncSession, month: Month | None, *, limit_invoices: int = INVOICES_LIMIT) -> list[Waiting]:
    """Every invoice dated in a month (None: whenever) that is not void and has taxed lines without a fapiao.

    By tenant and invoice. Under the platform's scope only. Raises `TooManyInvoices` beyond the limit.
    """
    found: list[Waiting] = []
    after = ("", "")
    seen = 0
    while batch := await _next(session, month, after):
        seen += len(batch)
        if seen > limit_invoices:
            raise TooManyInvoices(
                f"There are more than {limit_invoices} invoices to go through; name one `month`, such as 2026-07.",
                field="month",
            )
        found += await _of_batch(session, batch)
        after = (batch[-1].tenant_id, batch[-1].invoice_id)
    return found


async def _next(session: AsyncSession, month: Month | None, after: tuple[str, str]) -> Sequence[Invoice]:
    query = (
        select(Invoice)
        .where(Invoice.voided_at.is_(None), tuple_(Invoice.tenant_id, Invoice.invoice_id) > after)
        .order_by(Invoice.tenant_id, Invoice.invoice_id)
        .limit(BATCH_INVOICES)
    )
    if month is not None:
        query = query.where(Invoice.issued_on.between(month.first, month.last))
    return (await session.execute(query)).scalars().all()


async def _of_batch(session: AsyncSession, batch: Sequence[Invoice]) -> list[Waiting]:
    tenant_ids = {invoice.tenant_id for invoice in batch}
    invoice_ids = {invoice.invoice_id for invoice in batch}
    query = (
        select(InvoiceLine.invoice_id, InvoiceLine.kind, InvoiceLine.tax_rate, func.sum(InvoiceLine.amount))
        .where(InvoiceLine.tenant_id.in_(tenant_ids), InvoiceLine.invoice_id.in_(invoice_ids))
        .group_by(InvoiceLine.invoice_id, InvoiceLine.kind, InvoiceLine.tax_rate)
    )
    amounts: defaultdict[str, list[Amount]] = defaultdict(list)
    for invoice_id, kind, rate, gross in await session.execute(query):
        amounts[invoice_id].append(Amount(kind, rate, gross))
    buyers = await particulars.latest_of(session, tenant_ids)
    recorded = await records.live_by_invoice(session, tenant_ids, invoice_ids)
    each = (
        _of_invoice(
            invoice, amounts[invoice.invoice_id], buyers.get(invoice.tenant_id), recorded.get(invoice.invoice_id, [])
        )
        for invoice in batch
    )
    return [found for found in each if found is not None]


def _of_invoice(
    invoice: Invoice, amounts: Iterable[Amount], buyer: TaxParticulars | None, recorded: Sequence[Fapiao]
) -> Waiting | None:
    """What an invoice lacks; None where nothing. Pure."""
    rows = rows_of(amounts)
    issued = [fapiao.amount for fapiao in recorded]
    if is_complete(bounds_of(rows), issued):
        return None
    reasons = [NO_PARTICULARS] if buyer is None else []
    if issued:
        reasons.append(PARTLY_ISSUED)
    return Waiting(invoice, rows, buyer, sum(issued, money.ZERO), tuple(reasons))


def written(found: Sequence[Waiting], kind: FileKind, language: Language) -> bytes:
    """The rows as a file. Takes seconds for thousands of rows: call it from a thread."""
    chosen = 0 if language == "zh" else 1
    with Book(kind) as book:
        table = book.table(("待开发票", "fapiao")[chosen])
        table.heading([Column((zh, en)[chosen], width, places) for zh, en, width, places in _COLUMNS])
        for each in found:
            for row in each.rows:
                _write(table, each, row, chosen)
    return book.content()


def _write(table: Table, waiting: Waiting, row: FapiaoRow, chosen: int) -> None:
    invoice, buyer = waiting.invoice, waiting.buyer
    notes = [_REASONS[code][chosen].format(issued=money.amount_text(waiting.issued)) for code in waiting.reasons]
    if row.is_red:
        notes.append(_RED[chosen])
    cells: list[Cell] = [
        invoice.invoice_id,
        invoice.number,
        invoice.issued_on,
        invoice.tenant_id,
        *(
            (None,) * 7
            if buyer is None
            else (
                buyer.title,
                buyer.credit_code,
                buyer.address,
                buyer.phone,
                buyer.bank_name,
                buyer.bank_account,
                _KINDS[buyer.fapiao_kind][chosen],
            )
        ),
        (row.goods_zh, row.goods_en)[chosen],
        f"{(row.rate * 100).normalize():f}%",
        row.net,
        row.tax,
        row.gross,
        ("；", "; ")[chosen].join(notes),
        (("否", "no"), ("是", "yes"))[not waiting.reasons][chosen],
    ]
    table.row(cells)
