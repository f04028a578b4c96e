"""Which mails a day brings (rule 7): for the tenants' invoices and standing, put into the outbox once each.

Only the present day's steps are taken: days on which nobody worked are not made up for, so reminders never pile up.
New invoices, changes of standing and ends of contracts are told of for a week, once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import groupby

from sqlalchemy import and_, exists, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from billing import dunning
from billing.agreements.models import ContractReminder
from billing.contracts import terms_of
from billing.models import Contract, Invoice, Suspension
from billing.reminders import contacts
from billing.reminders.topics import DEFAULT_LANGUAGE, KINDS, LASTING_DAYS, copy_for_operator, wants
from billing.rules.dunning import DunningStep, first_suspended_day, step_for
from infra.kit import clock
from infra.kit.outbox import posting
from infra.kit.outbox.models import OutboxMail
from tenancy import tenants
from tenancy.models import Tenant


@dataclass(frozen=True, slots=True)
class Owed:
    """A mail that a tenant is owed: its kind, what it tells of, and the local day it belongs to."""

    tenant_id: str
    subject_id: str
    kind: str
    day: date


def step_of(invoice: Invoice, contract: Contract, day: date, promised_until: date | None) -> DunningStep:
    """What the rule says of a stored invoice on a day; one that would suspend after the contract's end never does."""
    never = suspending_day(invoice, contract, day, promised_until) is None
    return step_for(
        terms_of(contract, invoice.issued_on),
        day,
        issued_on=invoice.issued_on,
        due_on=invoice.due_on,
        suspends=None if never else invoice.suspends_on,
        unpaid=invoice.total - invoice.paid,
        promised_until=promised_until,
    )


def suspending_day(invoice: Invoice, contract: Contract, day: date, promised_until: date | None) -> date | None:
    """The first day without service while the invoice stays unpaid, as it stands on `day`; None: never."""
    first = first_suspended_day(invoice.suspends_on, promised_until, day)
    if first is not None and contract.ends_on is not None and first > contract.ends_on:
        return None
    return first


async def owed_today(session: AsyncSession, today: date, tenant_id: str | None = None) -> list[Owed]:
    """The mails of today that are not in the outbox yet, tenant by tenant; of all tenants or one."""
    since = clock.now() - timedelta(days=LASTING_DAYS)
    owed = [
        *await _about_invoices(session, today, since, tenant_id),
        *await _about_standing(session, since, tenant_id),
        *await _about_ends(session, since, tenant_id),
    ]
    query = select(OutboxMail.subject_id, OutboxMail.kind, OutboxMail.day).where(
        OutboxMail.kind.in_(KINDS), OutboxMail.created_at >= since
    )
    if tenant_id is not None:
        query = query.where(OutboxMail.tenant_id == tenant_id)
    known = {tuple(row) for row in await session.execute(query)}
    fresh = [each for each in owed if (each.subject_id, each.kind, each.day) not in known]
    return sorted(fresh, key=lambda each: (each.tenant_id, each.subject_id))


async def put_into_outbox(session: AsyncSession, tenant_id: str, today: date, *, finance_mail: str | None) -> int:
    """Store what a tenant is owed today, a mail for each of its contacts; returns how many are new.

    Where nobody wants to be written to, that is stored (`no_contact`). `finance_mail`: the operator's own copy of
    what happens to a tenant's standing.
    """
    await tenants.get(session, tenant_id, for_update=True)  # two of these at once would not see each other's mails
    listed = await contacts.of_tenant(session, tenant_id)
    stored = 0
    for owed in await owed_today(session, today, tenant_id):
        recipients = [(each.address, each.language) for each in listed if wants(each.topics, owed.kind)]
        for recipient, language in recipients or [("", DEFAULT_LANGUAGE)]:
            stored += await _store(session, owed, owed.kind, recipient, language)
        copy = copy_for_operator(owed.kind)
        if finance_mail is not None and copy is not None:
            stored += await _store(session, owed, copy, finance_mail, DEFAULT_LANGUAGE)
    return stored


def tenants_among(owed: Sequence[Owed]) -> list[str]:
    """The tenants that are owed something, each once."""
    return [tenant_id for tenant_id, _ in groupby(owed, key=lambda each: each.tenant_id)]


async def _about_invoices(session: AsyncSession, today: date, since: datetime, tenant_id: str | None) -> list[Owed]:
    query = (
        select(Invoice, Contract)
        .join(Contract, and_(Contract.tenant_id == Invoice.tenant_id, Contract.contract_id == Invoice.contract_id))
        .where(
            Invoice.voided_at.is_(None),
            Invoice.total > 0,
            Invoice.issued_on <= today,
            or_(Invoice.paid < Invoice.total, Invoice.created_at >= since),
        )
        .order_by(Invoice.tenant_id, Invoice.created_at, Invoice.invoice_id)
    )
    if tenant_id is not None:
        query = query.where(Invoice.tenant_id == tenant_id)
    promised = await dunning.promised_days(session, today, tenant_id)
    owed: list[Owed] = []
    for invoice, contract in await session.execute(query):
        if invoice.created_at >= since:
            owed.append(Owed(invoice.tenant_id, invoice.invoice_id, "issued", invoice.issued_on))
        step = step_of(invoice, contract, today, promised.get(invoice.tenant_id))
        owed += [
            Owed(invoice.tenant_id, invoice.invoice_id, kind, today) for kind in step.reminders if kind != "issued"
        ]
    return owed


async def _about_standing(session: AsyncSession, since: datetime, tenant_id: str | None) -> list[Owed]:
    """Suspensions for payment that began and go on, and those that ended with the service open again."""
    serves = exists().where(
        Contract.tenant_id == Suspension.tenant_id,
        Contract.state == "open",
        or_(Contract.ends_on.is_(None), Contract.ends_on >= clock.today()),
    )
    query = (
        select(Suspension, Tenant.standing)
        .join(Tenant, Tenant.tenant_id == Suspension.tenant_id)
        .where(
            or_(
                and_(Suspension.ended_at.is_(None), Suspension.began_at >= since),
                and_(Suspension.ended_at >= since, Tenant.standing == "active", serves),
            )
        )
        .order_by(Suspension.tenant_id, Suspension.began_at)
    )
    if tenant_id is not None:
        query = query.where(Suspension.tenant_id == tenant_id)
    owed: list[Owed] = []
    for suspension, _ in await session.execute(query):
        moment = suspension.ended_at or suspension.began_at
        kind = "suspended" if suspension.ended_at is None else "restored"
        owed.append(Owed(suspension.tenant_id, suspension.suspension_id, kind, clock.local_date(moment)))
    return owed


async def _about_ends(session: AsyncSession, since: datetime, tenant_id: str | None) -> list[Owed]:
    """The reminders that a contract's term runs out (C14), as the contracts' own calendar has made them."""
    query = select(ContractReminder).where(ContractReminder.made_at >= since).order_by(ContractReminder.made_at)
    if tenant_id is not None:
        query = query.where(ContractReminder.tenant_id == tenant_id)
    return [
        Owed(each.tenant_id, each.contract_id, "contract_ends", clock.local_date(each.made_at))
        for each in (await session.execute(query)).scalars()
    ]


async def _store(session: AsyncSession, owed: Owed, kind: str, recipient: str, language: str) -> int:
    mail_id = await posting.put(
        session,
        tenant_id=owed.tenant_id,
        kind=kind,
        subject_id=owed.subject_id,
        recipient=recipient,
        language=language,
        day=owed.day,
        at_once=False,
    )
    return 0 if mail_id is None else 1
