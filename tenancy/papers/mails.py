"""The mails about papers (C19): handed in, accepted, refused, about to expire."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit import clock
from infra.kit.outbox import posting
from infra.kit.outbox.kinds import Desk, Draft, kind
from infra.kit.outbox.words import compose, day_text
from tenancy import readers, tenants
from tenancy.papers import held, rules
from tenancy.papers.models import Paper

SUBMITTED = "operator_paper_submitted"
ACCEPTED = "paper_accepted"
REFUSED = "paper_refused"
EXPIRES = "paper_expires"
OPERATOR_EXPIRES = "operator_paper_expires"

NAMES: dict[str, dict[str, str]] = {
    "unified_certificate": {"zh": "营业执照（统一社会信用代码）", "en": "Business licence with unified credit code"},
    "business_licence": {"zh": "营业执照", "en": "Business licence"},
    "tax_registration": {"zh": "税务登记证", "en": "Tax registration certificate"},
    "organisation_code": {"zh": "组织机构代码证", "en": "Organisation code certificate"},
    "bank_account_permit": {"zh": "开户许可证", "en": "Bank account permit"},
    "bank_account_letter": {"zh": "银行账户证明", "en": "Bank account letter"},
    "representative_id": {"zh": "法定代表人身份证", "en": "Legal representative's ID"},
}


async def post_submitted(session: AsyncSession, paper: Paper, operator_address: str | None) -> None:
    """Tell the operator's mailbox, if there is one, that a paper waits for its review."""
    if operator_address:
        await posting.put(
            session, kind=SUBMITTED, subject_id=paper.paper_id, tenant_id=paper.tenant_id, recipient=operator_address
        )


async def post_decided(session: AsyncSession, paper: Paper) -> None:
    """Tell the tenant what was decided on its paper, with the reason."""
    mail = ACCEPTED if paper.state == "accepted" else REFUSED
    for recipient, language in (await readers.of_tenant(session, paper.tenant_id)).items():
        await posting.put(
            session, kind=mail, subject_id=paper.paper_id, tenant_id=paper.tenant_id, recipient=recipient,
            language=language,
        )  # fmt: skip


@kind(SUBMITTED)
async def operator_paper_submitted(desk: Desk) -> Draft | None:
    """Tell the operator that a paper waits; pointless once somebody has decided, or it was withdrawn."""
    paper = await _paper(desk)
    return None if paper is None or paper.state != "submitted" else await _words(desk, paper, SUBMITTED)


@kind(ACCEPTED)
async def paper_accepted(desk: Desk) -> Draft | None:
    """Tell the tenant that its paper counts; pointless once it was refused after all."""
    paper = await _paper(desk)
    return None if paper is None or paper.state != "accepted" else await _words(desk, paper, ACCEPTED)


@kind(REFUSED)
async def paper_refused(desk: Desk) -> Draft | None:
    """Tell the tenant why its paper does not count."""
    paper = await _paper(desk)
    return None if paper is None or paper.state != "refused" else await _words(desk, paper, REFUSED, alarming=True)


@kind(EXPIRES)
async def paper_expires(desk: Desk) -> Draft | None:
    """Tell the tenant that a paper expires; pointless once it was replaced, refused, or has expired."""
    return await _draft(desk, EXPIRES)


@kind(OPERATOR_EXPIRES)
async def operator_paper_expires(desk: Desk) -> Draft | None:
    """Tell the operator the same."""
    return await _draft(desk, OPERATOR_EXPIRES)


async def _draft(desk: Desk, template: str) -> Draft | None:
    paper = await _paper(desk)
    if paper is None or paper.valid_until is None:
        return None
    all_held = await held.held_by(desk.session, paper.tenant_id)
    if paper.state != "accepted" or rules.reminder_due(all_held, held.held_of(paper), clock.today()) != desk.mail.day:
        return None
    return await _words(desk, paper, template)


async def _paper(desk: Desk) -> Paper | None:
    query = select(Paper).where(Paper.paper_id == desk.mail.subject_id, Paper.tenant_id == desk.mail.tenant_id)
    return (await desk.session.execute(query)).scalar_one_or_none()


async def _words(desk: Desk, paper: Paper, template: str, *, alarming: bool = False) -> Draft:
    tenant = await tenants.get(desk.session, paper.tenant_id)
    language = desk.mail.language
    ends = paper.valid_until
    values = {
        "tenant_name": tenant.name,
        "paper": NAMES[paper.kind][language],
        "paper_id": paper.paper_id,
        "reason": paper.decision_reason or "",
        "valid_until": "" if ends is None else day_text(ends, language),
        "days_left": 0 if ends is None else (ends - clock.today()).days,
    }
    words = compose(template, language, values, desk.settings.operator, alarming=alarming)
    return Draft(words, desk.settings.operator.name)
