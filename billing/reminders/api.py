"""HTTP for billing contacts, reminders and promises to pay."""

from __future__ import annotations

from typing import Annotated

from litestar import get, post, put
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter
from litestar.status_codes import HTTP_200_OK
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from billing import promises
from billing.reminders import contacts, listing
from billing.reminders.contacts import ContactWanted
from billing.reminders.models import PaymentPromise
from billing.reminders.schemas import (
    ContactList,
    ContactListView,
    NewPromise,
    PromiseView,
    ReminderDetails,
    ReminderView,
    Withdrawal,
    contact_list_view,
    promise_view,
    reminder_details,
    reminder_view,
)
from billing.reminders.topics import LISTED_KINDS
from infra.kit.http import DEFAULT_PAGE, After, Limit
from infra.kit.outbox.models import OutboxMail
from infra.kit.pages import Page, fetch_page
from infra.kit.principal import Principal
from tenancy import tenants

CONTACTS, REMINDERS, PROMISES = ["Billing contacts"], ["Reminders"], ["Promises to pay"]
ReminderKind = Annotated[str | None, QueryParameter(name="kind", description=f"One of {', '.join(LISTED_KINDS)}")]
ReminderState = Annotated[str | None, QueryParameter(name="state", description=f"One of {', '.join(listing.STATES)}")]


@put(
    "/v1/tenants/{tenant_id:str}/billing-contacts",
    permission="billing_contacts:write",
    tags=CONTACTS,
    operation_id="ReplaceBillingContacts",
)
async def replace_billing_contacts(
    tenant_id: FromPath[str],
    data: JSONBody[ContactList],
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
) -> ContactListView:
    """Say who gets the tenant's billing mail, in place of everybody before."""
    tenant_id = principal.tenant_for(tenant_id)
    wanted = [ContactWanted(each.address, each.language, each.topics) for each in data.contacts]
    return contact_list_view(tenant_id, await contacts.replace(session, tenant_id, wanted))


@get(
    "/v1/tenants/{tenant_id:str}/billing-contacts",
    permission="billing_contacts:read",
    tags=CONTACTS,
    operation_id="ListBillingContacts",
)
async def list_billing_contacts(
    tenant_id: FromPath[str], session: NamedDependency[AsyncSession], principal: NamedDependency[Principal]
) -> ContactListView:
    """Who gets the tenant's billing mail."""
    tenant = await tenants.get(session, principal.tenant_for(tenant_id))
    return contact_list_view(tenant.tenant_id, await contacts.of_tenant(session, tenant.tenant_id))


@get("/v1/reminders", permission="reminders:read", tags=REMINDERS, operation_id="ListReminders")
async def list_reminders(
    *,
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
    tenant_id: FromQuery[str | None] = None,
    invoice_id: FromQuery[str | None] = None,
    reminder_kind: ReminderKind = None,
    reminder_state: ReminderState = None,
    limit: Limit = DEFAULT_PAGE,
    after: After = None,
) -> Page[ReminderView]:
    """Mails about invoices and standing, newest first: to be sent, sent, and not deliverable."""
    query = listing.wanted(
        tenant_id=principal.tenant_filter(tenant_id),
        own=principal.tenant_id is not None,
        invoice_id=invoice_id,
        kind=reminder_kind,
        state=reminder_state,
    )
    rows, following = await fetch_page(session, query, keys=(OutboxMail.mail_id,), limit=limit, after=after)
    return Page(items=[reminder_view(row) for row in rows], next=following)


@get("/v1/reminders/{reminder_id:str}", permission="reminders:read", tags=REMINDERS, operation_id="GetReminder")
async def get_reminder(
    reminder_id: FromPath[str], session: NamedDependency[AsyncSession], principal: NamedDependency[Principal]
) -> ReminderDetails:
    """One mail with its text."""
    return reminder_details(await listing.find(session, reminder_id, principal.tenant_id))


@post(
    "/v1/tenants/{tenant_id:str}/payment-promises",
    permission="payment_promises:write",
    tags=PROMISES,
    operation_id="TakePaymentPromise",
)
async def take_payment_promise(
    tenant_id: FromPath[str],
    data: JSONBody[NewPromise],
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
) -> PromiseView:
    """Take a tenant's promise to pay: until the end of its day nothing suspends it; restored at once where it is."""
    promise = await promises.take(
        session, tenant_id=principal.tenant_for(tenant_id), until=data.until, reason=data.reason
    )
    return promise_view(promise)


@get("/v1/payment-promises", permission="payment_promises:read", tags=PROMISES, operation_id="ListPaymentPromises")
async def list_payment_promises(
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
    tenant_id: FromQuery[str | None] = None,
    limit: Limit = DEFAULT_PAGE,
    after: After = None,
) -> Page[PromiseView]:
    """Promises to pay, newest first; those that are over or withdrawn too."""
    query = principal.narrowed(select(PaymentPromise), PaymentPromise.tenant_id, tenant_id)
    rows, following = await fetch_page(session, query, keys=(PaymentPromise.promise_id,), limit=limit, after=after)
    return Page(items=[promise_view(row) for row in rows], next=following)


@post(
    "/v1/tenants/{tenant_id:str}/payment-promises/{promise_id:str}/withdrawal",
    permission="payment_promises:write",
    tags=PROMISES,
    operation_id="WithdrawPaymentPromise",
    status_code=HTTP_200_OK,
)
async def withdraw_payment_promise(
    tenant_id: FromPath[str],
    promise_id: FromPath[str],
    data: JSONBody[Withdrawal],
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
) -> PromiseView:
    """End a promise before its day; what is overdue suspends again within seconds."""
    promise = await promises.withdraw(
        session, tenant_id=principal.tenant_for(tenant_id), promise_id=promise_id, reason=data.reason
    )
    return promise_view(promise)


ROUTES = [
    replace_billing_contacts,
    list_billing_contacts,
    list_reminders,
    get_reminder,
    take_payment_promise,
    list_payment_promises,
    withdraw_payment_promise,
]
