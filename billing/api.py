"""HTTP for contracts, invoices, invoice runs, payments and balances."""

from __future__ import annotations

import asyncio
from datetime import date
from typing import Annotated

from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter
from litestar.status_codes import HTTP_200_OK, HTTP_202_ACCEPTED
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from billing import contracts, invoices, ledger, payments
from billing.agreements.details import history_of
from billing.agreements.schemas import ContractDetails, contract_details
from billing.corrections import voids
from billing.errors import MonthNotBegun
from billing.fapiao import records
from billing.invoice_documents import document_for, read_language
from billing.invoice_pdf import render_invoice
from billing.models import Contract, Invoice, Payment
from billing.rules.months import Month
from billing.runs import releases
from billing.schemas import (
    BalanceView,
    ContractView,
    InvoiceDetails,
    InvoiceRunRequest,
    InvoiceRunView,
    InvoiceView,
    NewContract,
    NewPayment,
    PaymentView,
    ReversalRequest,
    VoidRequest,
    balance_view,
    contract_view,
    invoice_details,
    invoice_view,
    payment_view,
)
from infra.kit import clock, jobs
from infra.kit.http import DEFAULT_PAGE, After, Limit
from infra.kit.pages import Page, fetch_page
from infra.kit.principal import Principal
from infra.kit.problems import InvalidInput
from infra.kit.settings import Settings
from tenancy import tenants

PDF_MEDIA_TYPE = "application/pdf"
RUN_MONTH = "billing.run_month"
EARLIEST_RUN_YEAR = 2000

InvoiceReason = Annotated[
    str | None, QueryParameter(description="`opening`, `addition`, `monthly`, `final` or `credit_note`")
]
InvoiceState = Annotated[str | None, QueryParameter(name="state", description="`open`, `paid` or `void`")]
PdfLanguage = Annotated[str, QueryParameter(name="language", description="`zh`, `en` or `zh-en`")]
Period = Annotated[str | None, QueryParameter(description="A month such as `2026-07`")]


@post("/v1/contracts", permission="contracts:write", tags=["Contracts"], operation_id="CreateContract")
async def create_contract(
    data: JSONBody[NewContract], session: NamedDependency[AsyncSession], principal: NamedDependency[Principal]
) -> ContractView:
    """Sign a contract: a preset's terms with its own in their place. Seats come with an order for `opens_on`."""
    contract = await contracts.create_contract(
        session,
        tenant_id=principal.tenant_for(data.tenant_id),
        title=data.title,
        preset=data.preset,
        terms=data.terms,
        opens_on=data.opens_on,
        ends_on=data.ends_on,
        signed_on=data.signed_on,
        term_years=data.term_years,
        agreed_penalty=data.agreed_penalty,
    )
    return contract_view(contract)


@get("/v1/contracts", permission="contracts:read", tags=["Contracts"], operation_id="ListContracts")
async def list_contracts(
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
    tenant_id: FromQuery[str | None] = None,
    limit: Limit = DEFAULT_PAGE,
    after: After = None,
) -> Page[ContractView]:
    """Contracts, newest first."""
    query = select(Contract)
    query = principal.narrowed(query, Contract.tenant_id, tenant_id)
    rows, following = await fetch_page(session, query, keys=(Contract.contract_id,), limit=limit, after=after)
    return Page(items=[contract_view(row) for row in rows], next=following)


@get("/v1/contracts/{contract_id:str}", permission="contracts:read", tags=["Contracts"], operation_id="GetContract")
async def get_contract(
    contract_id: FromPath[str], session: NamedDependency[AsyncSession], principal: NamedDependency[Principal]
) -> ContractDetails:
    """One contract with every version of its terms, what was agreed about its end, consents and reminders."""
    contract = await contracts.find_contract(session, contract_id, principal.tenant_id)
    return contract_details(await history_of(session, contract))


@get("/v1/invoices", permission="invoices:read", tags=["Invoices"], operation_id="ListInvoices")
async def list_invoices(
    *,
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
    tenant_id: FromQuery[str | None] = None,
    contract_id: FromQuery[str | None] = None,
    reason: InvoiceReason = None,
    invoice_state: InvoiceState = None,
    period: Period = None,
    limit: Limit = DEFAULT_PAGE,
    after: After = None,
) -> Page[InvoiceView]:
    """Invoices, newest first."""
    query = select(Invoice)
    query = principal.narrowed(query, Invoice.tenant_id, tenant_id)
    if contract_id is not None:
        query = query.where(Invoice.contract_id == contract_id)
    if reason is not None:
        query = query.where(Invoice.reason == reason)
    if period is not None:
        query = query.where(Invoice.period == period)
    match invoice_state:
        case None:
            pass
        case "void":
            query = query.where(Invoice.voided_at.is_not(None))
        case "open":
            query = query.where(Invoice.voided_at.is_(None), Invoice.paid < Invoice.total)
        case "paid":
            query = query.where(Invoice.voided_at.is_(None), Invoice.paid >= Invoice.total)
        case _:
            raise InvalidInput("`state` is open, paid or void.", field="state")
    rows, following = await fetch_page(session, query, keys=(Invoice.invoice_id,), limit=limit, after=after)
    fapiao = await records.numbers_of(session, rows)
    return Page(items=[invoice_view(row, fapiao.get(row.invoice_id, ())) for row in rows], next=following)


@get("/v1/invoices/{invoice_id:str}", permission="invoices:read", tags=["Invoices"], operation_id="GetInvoice")
async def get_invoice(
    invoice_id: FromPath[str], session: NamedDependency[AsyncSession], principal: NamedDependency[Principal]
) -> InvoiceDetails:
    """One invoice with its lines: the clause, the formula and the inputs of each."""
    invoice = await invoices.find(session, invoice_id, principal.tenant_id)
    return await _details(session, invoice)


@get(
    "/v1/invoices/{invoice_id:str}/pdf",
    permission="invoices:read",
    tags=["Invoices"],
    operation_id="GetInvoicePdf",
    media_type=PDF_MEDIA_TYPE,
)
async def get_invoice_pdf(
    invoice_id: FromPath[str],
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
    settings: NamedDependency[Settings],
    language: PdfLanguage = "zh-en",
) -> Response[bytes]:
    """The invoice as a PDF, as it stands now (payments, fapiao, a void), with how each amount came about."""
    invoice = await invoices.find(session, invoice_id, principal.tenant_id)
    printed_in = read_language(language)
    document = await document_for(session, invoice, operator=settings.operator, language=printed_in)
    content = await asyncio.to_thread(render_invoice, document)
    name = {"content-disposition": f'attachment; filename="invoice-{invoice.number}.pdf"'}
    return Response(content, media_type=PDF_MEDIA_TYPE, headers=name)


@post(
    "/v1/invoices/{invoice_id:str}/void",
    permission="invoices:write",
    tags=["Invoices"],
    operation_id="VoidInvoice",
    status_code=HTTP_200_OK,
)
async def void_invoice(
    invoice_id: FromPath[str],
    data: JSONBody[VoidRequest],
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
) -> InvoiceDetails:
    """Void an invoice that is wrong as a whole and not paid.

    An order's: the order lapses, a part already paid is credit. A contract's newest monthly or final one: its run makes
    it again when it is tried again. A credit note: what it credited is owed again.
    """
    found = await invoices.find(session, invoice_id, principal.tenant_id)
    invoice = await voids.void_invoice(session, found.tenant_id, invoice_id, reason=data.reason)
    return await _details(session, invoice)


@post(
    "/v1/invoice-runs",
    permission="invoices:write",
    tags=["Invoices"],
    operation_id="StartInvoiceRun",
    status_code=HTTP_202_ACCEPTED,
)
async def start_invoice_run(
    data: JSONBody[InvoiceRunRequest],
    session: NamedDependency[AsyncSession],
    settings: NamedDependency[Settings],
) -> InvoiceRunView:
    """Start the run of a month now; it also starts by itself on the 1st, or with its release where finance releases
    months. Running it again issues nothing twice.

    Where months release themselves, one that is held up by hours without call records is refused
    (`hours_unreconciled`): import the records, sign the hours off, or release the month with `sign_off`. The run is a
    job of its own with one transaction for each contract, so the answer only says that it is queued.
    """
    month = read_month(data.month)
    if month.first > clock.today():
        raise MonthNotBegun(f"{month} has not begun; its invoices are dated {month.first}.", field="month")
    if settings.monthly_release == "finance":
        await releases.check_released(session, month)
    else:
        await releases.check_may_go_out(session, month)
    await jobs.defer(session, RUN_MONTH, lock=RUN_MONTH, month=str(month))
    return InvoiceRunView(month=str(month), state="queued")


@post("/v1/payments", permission="payments:write", tags=["Payments"], operation_id="RecordPayment")
async def record_payment(
    data: JSONBody[NewPayment], session: NamedDependency[AsyncSession], principal: NamedDependency[Principal]
) -> PaymentView:
    """Record money received. It settles what is oldest due first; what is left is credit; it restores at once."""
    payment = await payments.record(
        session,
        tenant_id=principal.tenant_for(data.tenant_id),
        amount=data.amount,
        value_on=data.value_on,
        channel=data.channel,
        payer=data.payer,
        reference=data.reference,
        currency=data.currency,
    )
    return payment_view(payment)


@get("/v1/payments", permission="payments:read", tags=["Payments"], operation_id="ListPayments")
async def list_payments(
    *,
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
    tenant_id: FromQuery[str | None] = None,
    value_since: FromQuery[date | None] = None,
    limit: Limit = DEFAULT_PAGE,
    after: After = None,
) -> Page[PaymentView]:
    """Payments, newest first; reversed ones too."""
    query = select(Payment)
    query = principal.narrowed(query, Payment.tenant_id, tenant_id)
    if value_since is not None:
        query = query.where(Payment.value_on >= value_since)
    rows, following = await fetch_page(session, query, keys=(Payment.payment_id,), limit=limit, after=after)
    return Page(items=[payment_view(row) for row in rows], next=following)


@get("/v1/payments/{payment_id:str}", permission="payments:read", tags=["Payments"], operation_id="GetPayment")
async def get_payment(
    payment_id: FromPath[str], session: NamedDependency[AsyncSession], principal: NamedDependency[Principal]
) -> PaymentView:
    """One payment."""
    return payment_view(await payments.find(session, payment_id, principal.tenant_id))


@post(
    "/v1/payments/{payment_id:str}/reversal",
    permission="payments:write",
    tags=["Payments"],
    operation_id="ReversePayment",
    status_code=HTTP_200_OK,
)
async def reverse_payment(
    payment_id: FromPath[str],
    data: JSONBody[ReversalRequest],
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
) -> PaymentView:
    """Take back a payment that was recorded by mistake; what it paid is open again."""
    found = await payments.find(session, payment_id, principal.tenant_id)
    payment = await payments.reverse(session, tenant_id=found.tenant_id, payment_id=payment_id, reason=data.reason)
    return payment_view(payment)


@get("/v1/tenants/{tenant_id:str}/balance", permission="invoices:read", tags=["Payments"], operation_id="GetBalance")
async def get_balance(
    tenant_id: FromPath[str], session: NamedDependency[AsyncSession], principal: NamedDependency[Principal]
) -> BalanceView:
    """What a tenant owes, its credit, and the open invoices."""
    tenant = await tenants.get(session, principal.tenant_for(tenant_id))
    balance = await ledger.balance(session, tenant.tenant_id)
    return balance_view(tenant.tenant_id, balance, await records.numbers_of(session, balance.open_invoices))


async def _details(session: AsyncSession, invoice: Invoice) -> InvoiceDetails:
    fapiao = await records.numbers_of(session, [invoice])
    return invoice_details(invoice, await invoices.lines_of(session, invoice), fapiao.get(invoice.invoice_id, ()))


def read_month(text: str) -> Month:
    """A month such as `2026-07`; raises `InvalidInput` for anything else."""
    try:
        day = date.fromisoformat(f"{text}-01")
    except ValueError:
        raise InvalidInput(f"{text!r} is not a month such as 2026-07.", field="month") from None
    if str(Month.of(day)) != text or day.year < EARLIEST_RUN_YEAR:
        raise InvalidInput(f"{text!r} is not a month such as 2026-07.", field="month")
    return Month.of(day)


ROUTES = [
    create_contract,
    list_contracts,
    get_contract,
    list_invoices,
    get_invoice,
    get_invoice_pdf,
    void_invoice,
    start_invoice_run,
    record_payment,
    list_payments,
    get_payment,
    reverse_payment,
    get_balance,
]
