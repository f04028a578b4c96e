"""Request and response bodies of tax particulars and fapiao. Money is CNY as decimal strings."""

from __future__ import annotations

from datetime import date, datetime

from billing.fapiao import records
from billing.fapiao.imports import RowOutcome
from billing.fapiao.models import Fapiao, TaxParticulars
from billing.fapiao.particulars import Particulars
from billing.fapiao.records import NewFapiao
from billing.spreadsheets import CSV_MEDIA_TYPE, XLSX_MEDIA_TYPE
from infra.kit import money
from infra.kit.http import Body, FileUpload, View


class NewTaxParticulars(Body):
    """What fapiao are made out to; `fapiao_kind` is `general`, or `special`, which needs every part."""

    title: str
    credit_code: str
    fapiao_kind: str = "general"
    address: str | None = None
    phone: str | None = None
    bank_name: str | None = None
    bank_account: str | None = None


class TaxParticularsView(View):
    """A tenant's particulars as they count now."""

    tenant_id: str
    version: int
    title: str
    credit_code: str
    fapiao_kind: str
    address: str | None
    phone: str | None
    bank_name: str | None
    bank_account: str | None
    recorded_by: str
    recorded_at: datetime


class FapiaoRecord(Body):
    """A fapiao that was issued outside: 20 digits, or 8 with a `code`; the amount with tax, negative on a red one."""

    number: str
    issued_on: date
    amount: str
    code: str | None = None


class FapiaoVoid(Body):
    """Why a fapiao counts no more."""

    reason: str


class FapiaoReplacement(Body):
    """The fapiao that was issued in another's place, and why."""

    number: str
    issued_on: date
    amount: str
    reason: str
    code: str | None = None


class FapiaoView(View):
    """A fapiao; a voided or replaced one stays to be seen."""

    fapiao_id: str
    tenant_id: str
    invoice_id: str
    code: str | None
    number: str
    full_number: str
    issued_on: date
    amount: str
    currency: str
    recorded_by: str
    recorded_at: datetime
    voided_at: datetime | None
    void_reason: str | None
    replaced_by: str | None


class FapiaoRowView(View):
    """What became of a row of a file; `line` counts the file's lines from 1."""

    line: int
    invoice_id: str
    number: str
    outcome: str
    """`recorded`, `already_recorded`, `refused` (with `code` and `detail`) or `skipped` (the row has no number)."""
    code: str | None
    detail: str | None
    fapiao_id: str | None


class FapiaoImportView(View):
    """A file of fapiao numbers, row by row, and how many rows came to what."""

    recorded: int
    already_recorded: int
    refused: int
    skipped: int
    rows: list[FapiaoRowView]


def particulars_from(body: NewTaxParticulars) -> Particulars:
    """The particulars that a request gives, not checked yet."""
    return Particulars(
        title=body.title,
        credit_code=body.credit_code,
        fapiao_kind=body.fapiao_kind,
        address=body.address,
        phone=body.phone,
        bank_name=body.bank_name,
        bank_account=body.bank_account,
    )


def particulars_view(kept: TaxParticulars) -> TaxParticularsView:
    """Tax particulars as the API shows them."""
    return TaxParticularsView(
        tenant_id=kept.tenant_id,
        version=kept.version,
        title=kept.title,
        credit_code=kept.credit_code,
        fapiao_kind=kept.fapiao_kind,
        address=kept.address,
        phone=kept.phone,
        bank_name=kept.bank_name,
        bank_account=kept.bank_account,
        recorded_by=kept.recorded_by,
        recorded_at=kept.recorded_at,
    )


def fapiao_from(body: FapiaoRecord | FapiaoReplacement) -> NewFapiao:
    """The fapiao that a request gives, not checked yet."""
    return NewFapiao(number=body.number, issued_on=body.issued_on, amount=body.amount, code=body.code)


def fapiao_view(fapiao: Fapiao) -> FapiaoView:
    """A fapiao as the API shows it."""
    return FapiaoView(
        fapiao_id=fapiao.fapiao_id,
        tenant_id=fapiao.tenant_id,
        invoice_id=fapiao.invoice_id,
        code=fapiao.code,
        number=fapiao.number,
        full_number=records.full_number(fapiao),
        issued_on=fapiao.issued_on,
        amount=money.amount_text(fapiao.amount),
        currency=money.CURRENCY,
        recorded_by=fapiao.recorded_by,
        recorded_at=fapiao.recorded_at,
        voided_at=fapiao.voided_at,
        void_reason=fapiao.void_reason,
        replaced_by=fapiao.replaced_by,
    )


def import_view(outcomes: list[RowOutcome]) -> FapiaoImportView:
    """The outcomes of a file as the API shows them."""
    found = [outcome.outcome for outcome in outcomes]
    return FapiaoImportView(
        recorded=found.count("recorded"),
        already_recorded=found.count("already_recorded"),
        refused=found.count("refused"),
        skipped=found.count("skipped"),
        rows=[
            FapiaoRowView(
                line=outcome.line,
                invoice_id=outcome.invoice_id,
                number=outcome.number,
                outcome=outcome.outcome,
                code=outcome.code,
                detail=outcome.detail,
                fapiao_id=outcome.fapiao_id,
            )
            for outcome in outcomes
        ],
    )


class FapiaoUpload(FileUpload):
    """The two bodies that an upload of fapiao numbers takes, for the API description."""

    media_types = (CSV_MEDIA_TYPE, XLSX_MEDIA_TYPE)
