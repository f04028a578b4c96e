"""HTTP for a contract over time: amendments, renewal, end, consents."""

from __future__ import annotations

from typing import Annotated

from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter
from litestar.status_codes import HTTP_200_OK
from sqlalchemy.ext.asyncio import AsyncSession

from billing.agreements import amendments, consents, ends, renewals
from billing.agreements.checks import Signed
from billing.agreements.models import Consent
from billing.agreements.schemas import (
    AgreedEnd,
    AgreementView,
    Amendment,
    AmendmentPreview,
    ConsentGrant,
    ConsentRefusal,
    ConsentRequest,
    ConsentView,
    ExtraordinaryEnd,
    Renewal,
    RentPreviewView,
    TermsVersionView,
    Withdrawal,
    agreement_view,
    consent_view,
    rent_preview_view,
    version_view,
)
from billing.contracts import find_contract
from infra.kit.http import DEFAULT_PAGE, After, Limit
from infra.kit.pages import Page, fetch_page
from infra.kit.principal import Principal

TAGS = ["Contracts"]
ConsentState = Annotated[str | None, QueryParameter(name="state", description="`requested`, `granted` or `refused`")]


@post(
    "/v1/contracts/{contract_id:str}/amendments",
    permission="contracts:write",
    tags=TAGS,
    operation_id="AmendContract",
)
async def amend_contract(
    contract_id: FromPath[str],
    data: JSONBody[Amendment],
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
) -> TermsVersionView:
    """Agree on new terms from a day on, a month or more after the written notice; past invoices stay as they are."""
    contract = await find_contract(session, contract_id, principal.tenant_id)
    version = await amendments.amend(
        session,
        tenant_id=contract.tenant_id,
        contract_id=contract_id,
        effective_on=data.effective_on,
        noticed_on=data.noticed_on,
        overrides=data.terms,
        signed=Signed(reason=data.reason, by_operator=data.signed_by_operator, by_tenant=data.signed_by_tenant),
        notice_waiver=data.notice_waiver,
    )
    return version_view(contract, version)


@post(
    "/v1/contracts/{contract_id:str}/amendments/preview",
    permission="contracts:write",
    tags=TAGS,
    operation_id="PreviewAmendment",
    status_code=HTTP_200_OK,
)
async def preview_amendment(
    contract_id: FromPath[str],
    data: JSONBody[AmendmentPreview],
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
) -> RentPreviewView:
    """What terms would make of the rent of the first month they decide, for what is held now; nothing is written."""
    contract = await find_contract(session, contract_id, principal.tenant_id)
    preview = await amendments.preview(
        session,
        tenant_id=contract.tenant_id,
        contract_id=contract_id,
        effective_on=data.effective_on,
        overrides=data.terms,
    )
    return rent_preview_view(preview)


@post(
    "/v1/contracts/{contract_id:str}/amendments/{version:int}/cancellation",
    permission="contracts:write",
    tags=TAGS,
    operation_id="CancelAmendment",
    status_code=HTTP_200_OK,
)
async def cancel_amendment(
    *,
    contract_id: FromPath[str],
    version: FromPath[int],
    data: JSONBody[Withdrawal],
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
) -> TermsVersionView:
    """Take agreed terms back before they hold."""
    contract = await find_contract(session, contract_id, principal.tenant_id)
    cancelled = await amendments.cancel(
        session, tenant_id=contract.tenant_id, contract_id=contract_id, version_number=version, reason=data.reason
    )
    return version_view(contract, cancelled)


@post(
    "/v1/contracts/{contract_id:str}/renewal",
    permission="contracts:write",
    tags=TAGS,
    operation_id="RenewContract",
    status_code=HTTP_200_OK,
)
async def renew_contract(
    contract_id: FromPath[str],
    data: JSONBody[Renewal],
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
) -> AgreementView:
    """Let the contract go on after its term; agreed at least a month before the end."""
    contract = await find_contract(session, contract_id, principal.tenant_id)
    agreement = await renewals.renew(
        session,
        tenant_id=contract.tenant_id,
        contract_id=contract_id,
        term_years=data.term_years,
        ends_on=data.ends_on,
        overrides=data.terms,
        signed=Signed(reason=data.reason, by_operator=data.signed_by_operator, by_tenant=data.signed_by_tenant),
    )
    return agreement_view(agreement)


@post(
    "/v1/contracts/{contract_id:str}/agreed-end",
    permission="contracts:write",
    tags=TAGS,
    operation_id="AgreeContractEnd",
    status_code=HTTP_200_OK,
)
async def agree_contract_end(
    contract_id: FromPath[str],
    data: JSONBody[AgreedEnd],
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
) -> AgreementView:
    """End the contract early by agreement of both, a month or more after the written notice."""
    contract = await find_contract(session, contract_id, principal.tenant_id)
    agreement = await ends.agree(
        session,
        tenant_id=contract.tenant_id,
        contract_id=contract_id,
        ends_on=data.ends_on,
        noticed_on=data.noticed_on,
        signed=Signed(reason=data.reason, by_operator=data.signed_by_operator, by_tenant=data.signed_by_tenant),
        notice_waiver=data.notice_waiver,
    )
    return agreement_view(agreement)


@post(
    "/v1/contracts/{contract_id:str}/extraordinary-end",
    permission="contracts:write",
    tags=TAGS,
    operation_id="EndContractExtraordinarily",
    status_code=HTTP_200_OK,
)
async def end_contract_extraordinarily(
    contract_id: FromPath[str],
    data: JSONBody[ExtraordinaryEnd],
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
) -> AgreementView:
    """End the contract for a ground of C16, five days or more after the notice; the final invoice has the penalty."""
    contract = await find_contract(session, contract_id, principal.tenant_id)
    agreement = await ends.end_extraordinarily(
        session,
        tenant_id=contract.tenant_id,
        contract_id=contract_id,
        ends_on=data.ends_on,
        noticed_on=data.noticed_on,
        ground=data.ground,
        reason=data.reason,
        signed_by_operator=data.signed_by_operator,
        penalty=data.penalty,
    )
    return agreement_view(agreement)


@post(
    "/v1/contracts/{contract_id:str}/end-withdrawal",
    permission="contracts:write",
    tags=TAGS,
    operation_id="WithdrawContractEnd",
    status_code=HTTP_200_OK,
)
async def withdraw_contract_end(
    contract_id: FromPath[str],
    data: JSONBody[Withdrawal],
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
) -> AgreementView:
    """Take an early end back before it takes effect."""
    contract = await find_contract(session, contract_id, principal.tenant_id)
    agreement = await ends.withdraw(session, tenant_id=contract.tenant_id, contract_id=contract_id, reason=data.reason)
    return agreement_view(agreement)


@post(
    "/v1/contracts/{contract_id:str}/consents",
    permission="consents:request",
    tags=TAGS,
    operation_id="RequestConsent",
)
async def request_consent(
    contract_id: FromPath[str],
    data: JSONBody[ConsentRequest],
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
) -> ConsentView:
    """Ask the operator to consent to a transfer to another company, or to sub-letting."""
    contract = await find_contract(session, contract_id, principal.tenant_id)
    consent = await consents.request(
        session,
        tenant_id=contract.tenant_id,
        contract_id=contract_id,
        kind=data.kind,
        company=data.company,
        reason=data.reason,
    )
    return consent_view(consent)


@get("/v1/consents", permission="contracts:read", tags=TAGS, operation_id="ListConsents")
async def list_consents(
    *,
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
    tenant_id: FromQuery[str | None] = None,
    contract_id: FromQuery[str | None] = None,
    consent_state: ConsentState = None,
    limit: Limit = DEFAULT_PAGE,
    after: After = None,
) -> Page[ConsentView]:
    """Requests for consent, newest first."""
    query = consents.wanted(tenant_id=principal.tenant_filter(tenant_id), contract_id=contract_id, state=consent_state)
    rows, following = await fetch_page(session, query, keys=(Consent.consent_id,), limit=limit, after=after)
    return Page(items=[consent_view(row) for row in rows], next=following)


@get("/v1/consents/{consent_id:str}", permission="contracts:read", tags=TAGS, operation_id="GetConsent")
async def get_consent(
    consent_id: FromPath[str], session: NamedDependency[AsyncSession], principal: NamedDependency[Principal]
) -> ConsentView:
    """One request for consent, with the decision."""
    return consent_view(await consents.find(session, consent_id, principal.tenant_id))


@post(
    "/v1/consents/{consent_id:str}/grant",
    permission="consents:decide",
    tags=TAGS,
    operation_id="GrantConsent",
    status_code=HTTP_200_OK,
)
async def grant_consent(
    consent_id: FromPath[str],
    data: JSONBody[ConsentGrant],
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
) -> ConsentView:
    """Consent. With a transfer this contract ends the day before, and one of the receiving tenant goes on from it."""
    found = await consents.find(session, consent_id, principal.tenant_id)
    consent = await consents.grant(
        session,
        tenant_id=found.tenant_id,
        consent_id=consent_id,
        reason=data.reason,
        effective_on=data.effective_on,
        receiving_tenant_id=data.receiving_tenant_id,
    )
    return consent_view(consent)


@post(
    "/v1/consents/{consent_id:str}/refusal",
    permission="consents:decide",
    tags=TAGS,
    operation_id="RefuseConsent",
    status_code=HTTP_200_OK,
)
async def refuse_consent(
    consent_id: FromPath[str],
    data: JSONBody[ConsentRefusal],
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
) -> ConsentView:
    """Refuse the consent with a reason."""
    found = await consents.find(session, consent_id, principal.tenant_id)
    consent = await consents.refuse(session, tenant_id=found.tenant_id, consent_id=consent_id, reason=data.reason)
    return consent_view(consent)


ROUTES = [
    amend_contract,
    preview_amendment,
    cancel_amendment,
    renew_contract,
    agree_contract_end,
    end_contract_extraordinarily,
    withdraw_contract_end,
    request_consent,
    list_consents,
    get_consent,
    grant_consent,
    refuse_consent,
]
