"""Request and response bodies for bank statements. Money is CNY as decimal strings."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime

import msgspec

from billing.rules.statement_matching import ADVICE
from billing.spreadsheets import CSV_MEDIA_TYPE, XLSX_MEDIA_TYPE
from billing.statements.mappings import layout_of
from billing.statements.models import BankMapping, BankStatement, BankStatementLine
from billing.statements.reading import Layout
from billing.statements.returns import PAYMENT_REVERSED
from infra.kit import money
from infra.kit.http import Body, FileUpload, View

_ADVICE: Mapping[str, str] = {
    **ADVICE,
    PAYMENT_REVERSED: "Its payment was reversed; assign the line to the right tenant or dismiss it.",
}


class BankColumns(Body):
    """The words of the file's header; `remittance` may be several columns, which are joined."""

    value_on: str
    amount: str
    bank_reference: str
    remittance: list[str]
    payer: str | None = None
    currency: str | None = None
    debit: str | None = None
    direction: str | None = None


class NewBankMapping(Body):
    """How a bank's file is read: its columns, its dates, the line of its header, the rows below its table.

    A positive `amount` is money received. `debit` names a column of its own for money paid out; `direction` a column
    that tells the two apart by `incoming_word` and `outgoing_word`.
    """

    name: str
    bank_account: str
    columns: BankColumns
    date_form: str = "YYYY-MM-DD"
    header_line: int = 1
    footer_rows: int = 0
    sheet: str | None = None
    incoming_word: str | None = None
    outgoing_word: str | None = None


class BankMappingView(View):
    """A column mapping."""

    name: str
    bank_account: str
    columns: BankColumns
    date_form: str
    header_line: int
    footer_rows: int
    sheet: str | None
    incoming_word: str | None
    outgoing_word: str | None
    created_at: datetime


class LineCounts(View):
    """Lines of a statement by what became of them."""

    new: int = 0
    matched: int = 0
    unmatched: int = 0
    dismissed: int = 0
    duplicate: int = 0


class BankStatementView(View):
    """An imported statement; `outgoing` counts rows of money paid out, which are not kept as lines."""

    statement_id: str
    mapping: str
    bank_account: str
    content_digest: str
    imported_by: str
    imported_at: datetime
    lines: LineCounts
    outgoing: int
    imported_before: bool = False
    """Whether the same file came before: then nothing was added."""


class BankStatementLineView(View):
    """Money received, and what became of it; `advice` says what to do about an unmatched line."""

    line_id: str
    statement_id: str
    line_number: int
    value_on: date
    amount: str
    currency: str
    bank_reference: str
    payer: str | None
    remittance: str
    state: str
    """`new`, `matched`, `unmatched`, `dismissed` or `duplicate`."""
    reason: str | None
    advice: str | None
    note: str | None
    suggested_tenant_id: str | None
    tenant_id: str | None
    payment_id: str | None
    matched_by: str | None
    duplicate_of: str | None
    decided_by: str | None
    decided_at: datetime | None


class LineAssignment(Body):
    """The tenant whose payment a line is."""

    tenant_id: str


class LineDismissal(Body):
    """Why a line is no tenant's payment."""

    reason: str


def layout_from(body: NewBankMapping) -> Layout:
    """The layout that a request describes, not checked yet."""
    return Layout(
        value_on=body.columns.value_on,
        amount=body.columns.amount,
        bank_reference=body.columns.bank_reference,
        remittance=tuple(body.columns.remittance),
        payer=body.columns.payer,
        currency=body.columns.currency,
        debit=body.columns.debit,
        direction=body.columns.direction,
        incoming_word=body.incoming_word,
        outgoing_word=body.outgoing_word,
        date_form=body.date_form,
        header_line=body.header_line,
        footer_rows=body.footer_rows,
        sheet=body.sheet,
    )


def mapping_view(mapping: BankMapping) -> BankMappingView:
    """A mapping as the API shows it."""
    layout = layout_of(mapping)
    return BankMappingView(
        name=mapping.name,
        bank_account=mapping.bank_account,
        columns=BankColumns(
            value_on=layout.value_on,
            amount=layout.amount,
            bank_reference=layout.bank_reference,
            remittance=list(layout.remittance),
            payer=layout.payer,
            currency=layout.currency,
            debit=layout.debit,
            direction=layout.direction,
        ),
        date_form=layout.date_form,
        header_line=layout.header_line,
        footer_rows=layout.footer_rows,
        sheet=layout.sheet,
        incoming_word=layout.incoming_word,
        outgoing_word=layout.outgoing_word,
        created_at=mapping.created_at,
    )


def statement_view(
    statement: BankStatement, counts: Mapping[str, int], *, imported_before: bool = False
) -> BankStatementView:
    """A statement with its lines counted by state."""
    return BankStatementView(
        statement_id=statement.statement_id,
        mapping=statement.mapping,
        bank_account=statement.bank_account,
        content_digest=statement.content_digest,
        imported_by=statement.imported_by,
        imported_at=statement.imported_at,
        lines=msgspec.convert(dict(counts), LineCounts),
        outgoing=statement.outgoing_count,
        imported_before=imported_before,
    )


def line_view(line: BankStatementLine) -> BankStatementLineView:
    """A line as the API shows it."""
    return BankStatementLineView(
        line_id=line.line_id,
        statement_id=line.statement_id,
        line_number=line.line_number,
        value_on=line.value_on,
        amount=money.amount_text(line.amount),
        currency=money.CURRENCY,
        bank_reference=line.bank_reference,
        payer=line.payer,
        remittance=line.remittance,
        state=line.state,
        reason=line.reason,
        advice=_ADVICE.get(line.reason or ""),
        note=line.note,
        suggested_tenant_id=line.suggested_tenant_id,
        tenant_id=line.matched_tenant_id,
        payment_id=line.payment_id,
        matched_by=line.matched_by,
        duplicate_of=line.duplicate_of,
        decided_by=line.decided_by,
        decided_at=line.decided_at,
    )


class StatementUpload(FileUpload):
    """The two bodies that an upload of a statement takes, for the API description."""

    media_types = (CSV_MEDIA_TYPE, XLSX_MEDIA_TYPE)
