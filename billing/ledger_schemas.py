"""Response bodies of the ledger: ageing, revenue, movements, postings. Money is CNY."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from billing.ledger_models import JournalPosting
from billing.ledger_reports import AgeingReport, Movement
from billing.rules.ageing import BANDS, Age
from billing.rules.months import Month
from billing.spreadsheets import Cell, Column
from infra.kit import money
from infra.kit.http import View


@dataclass(frozen=True, slots=True)
class Sheet:
    """A report as a table."""

    name: str
    columns: tuple[Column, ...]
    rows: list[tuple[Cell, ...]]


class AgeView(View):
    """What is owed by age: not due, and 1 to 15, 16 to 30, 31 to 60, over 60 days past the due day; unused credit."""

    not_due: str
    days_1_to_15: str
    days_16_to_30: str
    days_31_to_60: str
    days_over_60: str
    owed: str
    credit: str


class TenantAgeView(View):
    """One tenant's row."""

    tenant_id: str
    tenant_name: str
    age: AgeView


class AgeingView(View):
    """What every tenant owed at the end of a day, with the sums of all."""

    as_of: date
    currency: str
    tenants: list[TenantAgeView]
    total: AgeView


class RevenueMonthView(View):
    """A month's revenue net of tax by kind of invoice line; credits are negative."""

    month: str
    kinds: dict[str, str]
    total: str


class RevenueView(View):
    """Revenue month by month."""

    currency: str
    months: list[RevenueMonthView]


class MovementView(View):
    """What an account and detail moved in a month; a debit positive, a credit negative."""

    month: str
    account: str
    detail: str
    amount: str


class MovementsView(View):
    """Every account by month; each month sums to zero where no account was asked for."""

    currency: str
    movements: list[MovementView]


class PostingView(View):
    """One side of an entry of the journal."""

    tenant_id: str
    source_id: str
    event: str
    posting_number: int
    account: str
    detail: str
    subject_id: str
    amount: str
    currency: str
    due_on: date | None
    value_on: date
    posted_on: date
    recorded_at: datetime


def ageing_view(report: AgeingReport) -> AgeingView:
    """The report as the API shows it."""
    return AgeingView(
        as_of=report.as_of,
        currency=money.CURRENCY,
        tenants=[
            TenantAgeView(tenant_id=tenant_id, tenant_name=name, age=_age_view(age))
            for tenant_id, name, age in report.rows
        ],
        total=_age_view(report.total),
    )


def ageing_sheet(report: AgeingReport) -> Sheet:
    """The report as a table, the sums in the last row."""
    columns = (Column("tenant_id", 34), Column("tenant_name", 28), *_amounts((*BANDS, "owed", "credit")))
    rows: list[tuple[Cell, ...]] = [
        (tenant_id, name, *age.bands.values(), age.owed, age.credit) for tenant_id, name, age in report.rows
    ]
    total = report.total
    rows.append(("", "total", *total.bands.values(), total.owed, total.credit))
    return Sheet(f"ageing {report.as_of}", columns, rows)


def revenue_view(months: dict[Month, dict[str, Decimal]]) -> RevenueView:
    """Revenue as the API shows it."""
    return RevenueView(
        currency=money.CURRENCY,
        months=[
            RevenueMonthView(
                month=str(month),
                kinds={kind: money.amount_text(amount) for kind, amount in kinds.items()},
                total=money.amount_text(sum(kinds.values(), money.ZERO)),
            )
            for month, kinds in months.items()
        ],
    )


def revenue_sheet(months: dict[Month, dict[str, Decimal]]) -> Sheet:
    """Revenue as a table: a row a month, a column a kind, the sums last."""
    kinds = sorted({kind for each in months.values() for kind in each})
    rows: list[tuple[Cell, ...]] = [
        (str(month), *(each.get(kind, money.ZERO) for kind in kinds), sum(each.values(), money.ZERO))
        for month, each in months.items()
    ]
    sums = [sum((each.get(kind, money.ZERO) for each in months.values()), money.ZERO) for kind in kinds]
    rows.append(("total", *sums, sum(sums, money.ZERO)))
    return Sheet("revenue", (Column("month", 10), *_amounts((*kinds, "total"))), rows)


def movements_view(moved: list[Movement]) -> MovementsView:
    """Movements as the API shows them."""
    return MovementsView(
        currency=money.CURRENCY,
        movements=[
            MovementView(
                month=str(each.month),
                account=each.account,
                detail=each.detail,
                amount=money.amount_text(each.amount),
            )
            for each in moved
        ],
    )


def movements_sheet(moved: list[Movement]) -> Sheet:
    """Movements as a table; it has no sums, since every month is zero."""
    rows: list[tuple[Cell, ...]] = [(str(each.month), each.account, each.detail, each.amount) for each in moved]
    columns = (Column("month", 10), Column("account", 16), Column("detail", 16), *_amounts(["amount"]))
    return Sheet("movements", columns, rows)


def posting_view(posting: JournalPosting) -> PostingView:
    """A posting as the API shows it."""
    return PostingView(
        tenant_id=posting.tenant_id,
        source_id=posting.source_id,
        event=posting.event,
        posting_number=posting.posting_number,
        account=posting.account,
        detail=posting.detail,
        subject_id=posting.subject_id,
        amount=money.amount_text(posting.amount),
        currency=money.CURRENCY,
        due_on=posting.due_on,
        value_on=posting.value_on,
        posted_on=posting.posted_on,
        recorded_at=posting.recorded_at,
    )


def _age_view(age: Age) -> AgeView:
    return AgeView(
        **{band: money.amount_text(amount) for band, amount in age.bands.items()},
        owed=money.amount_text(age.owed),
        credit=money.amount_text(age.credit),
    )


def _amounts(headings: Iterable[str]) -> tuple[Column, ...]:
    return tuple(Column(heading, 16, places=2) for heading in headings)
