"""From a stored reminder to the mail as it is now: its facts, its words, and the invoice that goes with it."""

from __future__ import annotations

import asyncio
from datetime import date, timedelta
from functools import partial

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from billing import contracts, dunning, invoices
from billing.agreements.models import ContractReminder
from billing.errors import InvoiceNotFound
from billing.invoice_documents import document_for
from billing.invoice_pdf import InvoiceDocument, render_invoice
from billing.models import Contract, Invoice, Suspension
from billing.reminders.planning import step_of, suspending_day
from billing.reminders.rendering import ContractFacts, Facts, InvoiceFacts, render
from billing.reminders.topics import DUNNING_KINDS, KINDS, lasts_days
from billing.rules.contract_periods import renewal_deadline
from billing.schemas import payment_reference
from infra.kit import clock
from infra.kit.mail import Attachment
from infra.kit.outbox import kinds
from infra.kit.outbox.kinds import Desk, Draft
from infra.kit.outbox.models import OutboxMail
from tenancy import tenants

PDF_MEDIA_TYPE = "application/pdf"


async def draft(desk: Desk) -> Draft | None:
    """The mail as the facts are now; None where it has become pointless: paid, voided, promised, past its day."""
    session, reminder, operator = desk.session, desk.mail, desk.settings.operator
    today = clock.today()
    first_day = clock.local_date(reminder.created_at) if lasts_days(reminder.kind) else reminder.day
    if today > first_day + timedelta(days=lasts_days(reminder.kind)):
        return None
    document = None
    if reminder.kind in DUNNING_KINDS:
        found = await _invoice(session, reminder)
        if found is None:
            return None
        invoice, contract = found
        facts = await _about_invoice(session, reminder, invoice, contract, today)
        if facts is not None:
            document = await document_for(session, invoice, operator=operator)
    elif reminder.kind in ("contract_ends", "operator_contract_ends"):
        facts = await _about_end(session, reminder, today)
    else:
        facts = await _about_standing(session, reminder, today)
    if facts is None:
        return None
    words = render(reminder.kind, reminder.language, facts, operator)
    return Draft(words, operator.name, None if document is None else partial(_printed, document))


for _kind in KINDS:
    kinds.kind(_kind)(draft)


async def _printed(document: InvoiceDocument) -> tuple[Attachment, ...]:
    """The invoice as an attachment; printed in a thread."""
    content = await asyncio.to_thread(render_invoice, document)
    return (Attachment(f"invoice-{document.number}.pdf", PDF_MEDIA_TYPE, content),)


async def _invoice(session: AsyncSession, reminder: OutboxMail) -> tuple[Invoice, Contract] | None:
    try:
        invoice = await invoices.get(session, reminder.tenant_id, reminder.subject_id)
    except InvoiceNotFound:
        return None
    return invoice, await contracts.get_contract(session, reminder.tenant_id, invoice.contract_id)


async def _about_invoice(
    session: AsyncSession, reminder: OutboxMail, invoice: Invoice, contract: Contract, today: date
) -> Facts | None:
    if invoice.voided_at is not None:
        return None
    promised_until = (await dunning.promised_days(session, today, reminder.tenant_id)).get(reminder.tenant_id)
    if reminder.kind != "issued" and reminder.kind not in step_of(invoice, contract, today, promised_until).reminders:
        return None
    tenant = await tenants.get(session, reminder.tenant_id)
    suspends = suspending_day(invoice, contract, today, promised_until)
    return Facts(
        tenant_id=tenant.tenant_id,
        tenant_name=tenant.name,
        today=today,
        invoice=_facts_of(invoice),
        suspends_on=suspends if suspends is not None and suspends > today else None,
        is_suspended=tenant.standing == "suspended" and tenant.standing_reason == dunning.OVERDUE,
        promised_until=promised_until,
    )


async def _about_standing(session: AsyncSession, reminder: OutboxMail, today: date) -> Facts | None:
    query = select(Suspension).where(
        Suspension.tenant_id == reminder.tenant_id, Suspension.suspension_id == reminder.subject_id
    )
    suspension = (await session.execute(query)).scalar_one()
    tenant = await tenants.get(session, reminder.tenant_id)
    overdue = await dunning.overdue_invoices(session, reminder.tenant_id, today)
    tells_of_suspension = reminder.kind in ("suspended", "operator_suspended")
    if tells_of_suspension != (suspension.ended_at is None) or tells_of_suspension != bool(overdue):
        return None
    if not tells_of_suspension and tenant.standing != "active":
        return None
    return Facts(
        tenant_id=tenant.tenant_id,
        tenant_name=tenant.name,
        today=today,
        overdue=tuple(_facts_of(invoice) for invoice in overdue),
        suspended_since=clock.local_date(suspension.began_at),
        promised_until=(await dunning.promised_days(session, today, reminder.tenant_id)).get(reminder.tenant_id),
    )


async def _about_end(session: AsyncSession, reminder: OutboxMail, today: date) -> Facts | None:
    contract = await contracts.get_contract(session, reminder.tenant_id, reminder.subject_id)
    query = select(ContractReminder).where(
        ContractReminder.tenant_id == reminder.tenant_id,
        ContractReminder.contract_id == reminder.subject_id,
        ContractReminder.ends_on == contract.ends_on,
        ContractReminder.made_at >= clock.local_midnight(reminder.day),
    )
    made = (await session.execute(query.order_by(ContractReminder.made_at).limit(1))).scalar_one_or_none()
    if contract.ends_on is None or contract.ends_on < today or made is None:
        return None
    tenant = await tenants.get(session, reminder.tenant_id)
    return Facts(
        tenant_id=tenant.tenant_id,
        tenant_name=tenant.name,
        today=today,
        contract=ContractFacts(
            title=contract.title, ends_on=contract.ends_on, renewable_until=renewal_deadline(contract.ends_on)
        ),
    )


def _facts_of(invoice: Invoice) -> InvoiceFacts:
    return InvoiceFacts(
        number=invoice.number,
        reason=invoice.reason,
        period=invoice.period,
        issued_on=invoice.issued_on,
        due_on=invoice.due_on,
        total=invoice.total,
        open_amount=invoice.total - invoice.paid,
        payment_reference=payment_reference(invoice),
    )
