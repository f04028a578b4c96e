"""The mails before a paper expires: to the tenant, and to the operator, who may stop when it lapses (C19)."""

from __future__ import annotations

from infra.kit import clock
from infra.kit.outbox.kinds import Desk, Draft, kind
from infra.kit.outbox.words import compose, day_text
from tenancy import tenants
from tenancy.papers import files, held, rules
from tenancy.papers.errors import PaperUnknown

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


@kind(EXPIRES)
async def paper_expires(desk: Desk) -> Draft | None:
    """Tell the tenant that a paper expires; pointless once it was replaced, refused, or has expired."""
    return await _draft(desk, EXPIRES)


@kind(OPERATOR_EXPIRES)
async def operator_paper_expires(desk: Desk) -> Draft | None:
    """Tell the operator the same."""
    return await _draft(desk, OPERATOR_EXPIRES)


async def _draft(desk: Desk, template: str) -> Draft | None:
    try:
        paper = await files.find(desk.session, desk.mail.subject_id, desk.mail.tenant_id)
    except PaperUnknown:
        return None
    all_held = await held.held_by(desk.session, paper.tenant_id)
    if paper.state != "accepted" or rules.reminder_due(all_held, held.held_of(paper), clock.today()) != desk.mail.day:
        return None
    if paper.valid_until is None:
        return None
    tenant = await tenants.get(desk.session, paper.tenant_id)
    language = desk.mail.language
    values = {
        "tenant_name": tenant.name,
        "paper": NAMES[paper.kind][language],
        "valid_until": day_text(paper.valid_until, language),
        "days_left": (paper.valid_until - clock.today()).days,
    }
    words = compose(template, language, values, desk.settings.operator)
    return Draft(words, desk.settings.operator.name)
