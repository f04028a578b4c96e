"""Reports out of the ledger and nothing else: ageing, revenue and every other account by month."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from billing.ledger_models import JournalPosting
from billing.rules.accounts import ACCOUNTS
from billing.rules.ageing import Age, Owed, aged
from billing.rules.months import Month
from infra.kit import clock, money
from infra.kit.problems import InvalidInput
from tenancy.models import Tenant

LONGEST_SPAN_MONTHS = 60


@dataclass(frozen=True, slots=True)
class AgeingReport:
    """Who owes how much since when, at the end of a day; by tenant with its name, the sums last."""

    as_of: date
    rows: tuple[tuple[str, str, Age], ...]
    total: Age


@dataclass(frozen=True, slots=True)
class Movement:
    """What an account moved in a month; CNY, a debit positive, a credit negative."""

    month: Month
    account: str
    detail: str
    amount: Decimal


async def ageing(session: AsyncSession, as_of: date) -> AgeingReport:
    """What every tenant owed at the end of a day, by what had been recorded until then.

    A report of a past day is the same whenever it is made. Raises `InvalidInput` for a day to come.
    """
    if as_of > clock.today():
        raise InvalidInput(f"{as_of} has not come; the latest day is {clock.today()}.", field="as_of")
    left = func.sum(JournalPosting.amount)
    of_invoices = (
        select(JournalPosting.tenant_id, func.max(JournalPosting.due_on), left)
        .where(JournalPosting.account == "receivable", JournalPosting.posted_on <= as_of)
        .group_by(JournalPosting.tenant_id, JournalPosting.subject_id)
        .having(left != 0)
    )
    of_credit = (
        select(JournalPosting.tenant_id, -left)
        .where(JournalPosting.account == "credit", JournalPosting.posted_on <= as_of)
        .group_by(JournalPosting.tenant_id)
        .having(left != 0)
    )
    owed = [Owed(*row) for row in await session.execute(of_invoices)]
    credits = [(row[0], row[1]) for row in await session.execute(of_credit)]
    ages = aged(owed, credits, as_of)
    names = await _names(session, ages)
    everybody = aged(
        [Owed("", each.due_on, each.amount) for each in owed], [("", amount) for _, amount in credits], as_of
    )
    rows = tuple((tenant_id, names.get(tenant_id, ""), age) for tenant_id, age in ages.items())
    return AgeingReport(as_of, rows, everybody.get("", Age()))


async def movements(session: AsyncSession, first: Month, last: Month, *, account: str | None = None) -> list[Movement]:
    """What each account and detail moved in each month, by the value day; the months `first` to `last`, both counted.

    Revenue of a month is what invoices dated in it charge net of tax, less what was voided or credited in it. Raises
    `InvalidInput` for an unknown account or a span that is not acceptable.
    """
    if account is not None and account not in ACCOUNTS:
        raise InvalidInput(f"`account` is one of {', '.join(ACCOUNTS)}.", field="account")
    if last < first:
        raise InvalidInput(f"The last month {last} is before the first, {first}.", field="last")
    if (last.year - first.year) * 12 + last.number - first.number >= LONGEST_SPAN_MONTHS:
        raise InvalidInput(f"A report has at most {LONGEST_SPAN_MONTHS} months.", field="last")
    query = (
        select(JournalPosting.month, JournalPosting.account, JournalPosting.detail, func.sum(JournalPosting.amount))
        .where(JournalPosting.month >= first.first, JournalPosting.month <= last.first)
        .group_by(JournalPosting.month, JournalPosting.account, JournalPosting.detail)
        .having(func.sum(JournalPosting.amount) != 0)
    )
    if account is not None:
        query = query.where(JournalPosting.account == account)
    found = [Movement(Month.of(row[0]), row[1], row[2], row[3]) for row in await session.execute(query)]
    places = {name: place for place, name in enumerate(ACCOUNTS)}
    return sorted(found, key=lambda each: (each.month, places[each.account], each.detail))


def revenue_of(moved: Iterable[Movement]) -> dict[Month, dict[str, Decimal]]:
    """Net revenue by month and kind of line, CNY, positive where the operator earned. Pure."""
    months: dict[Month, dict[str, Decimal]] = {}
    for each in moved:
        if each.account == "revenue":
            kinds = months.setdefault(each.month, {})
            kinds[each.detail] = kinds.get(each.detail, money.ZERO) - each.amount
    return months


async def _names(session: AsyncSession, tenant_ids: Iterable[str]) -> dict[str, str]:
    query = select(Tenant.tenant_id, Tenant.name).where(Tenant.tenant_id.in_(list(tenant_ids)))
    return {row[0]: row[1] for row in await session.execute(query)}
