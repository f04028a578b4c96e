"""The mails to people: an invitation, a link for a new password, and that the password was changed."""

from __future__ import annotations

from sqlalchemy import select

from infra.kit import clock
from infra.kit.database import PLATFORM
from infra.kit.outbox.kinds import Desk, Draft, kind
from infra.kit.outbox.words import Link, compose, moment_text
from tenancy import tenants
from tenancy.people.models import Invitation, PasswordReset, Person

INVITED, RESET, CHANGED = "person_invited", "password_reset", "password_changed"
ROLE_WORDS = {
    "zh": {"tenant_admin": "管理员", "tenant_viewer": "查看者", "platform_operator": "平台运营", "finance": "财务"},
    "en": {
        "tenant_admin": "administrator",
        "tenant_viewer": "viewer",
        "platform_operator": "platform operator",
        "finance": "finance",
    },
}
ACCEPT = {"zh": "接受邀请", "en": "Accept the invitation"}
NEW_PASSWORD = {"zh": "设置新密码", "en": "Set a new password"}


def invitation_link(public_url: str, token: str) -> str:
    """Where an invitation is accepted. The token stands behind `#`: browsers send that part to nobody."""
    return f"{public_url.rstrip('/')}/sign-in/invitation#{token}"


def reset_link(public_url: str, token: str) -> str:
    """Where a new password is set."""
    return f"{public_url.rstrip('/')}/sign-in/reset#{token}"


@kind(INVITED)
async def invited(desk: Desk) -> Draft | None:
    """The invitation with its link; none once it was accepted, withdrawn or has expired."""
    mail, operator = desk.mail, desk.settings.operator
    query = select(Invitation).where(
        Invitation.tenant_id == mail.tenant_id, Invitation.invitation_id == mail.subject_id
    )
    invitation = (await desk.session.execute(query)).scalar_one_or_none()
    if invitation is None or invitation.accepted_at or invitation.withdrawn_at or desk.secret is None:
        return None
    if invitation.expires_at <= clock.now():
        return None
    company, domain = await _company(desk)
    words = compose(
        INVITED,
        mail.language,
        {
            "name": invitation.name,
            "inviter": await _inviter(desk, invitation.invited_by),
            "company": company,
            "domain": domain,
            "address": invitation.address,
            "role": ROLE_WORDS[mail.language][invitation.role],
            "expires": moment_text(invitation.expires_at, mail.language),
        },
        operator,
        link=Link(ACCEPT[mail.language], invitation_link(desk.settings.public_url, desk.secret)),
    )
    return Draft(words, operator.name)


@kind(RESET)
async def reset(desk: Desk) -> Draft | None:
    """The link for a new password; none once it was used or has expired."""
    mail, operator = desk.mail, desk.settings.operator
    query = select(PasswordReset).where(
        PasswordReset.tenant_id == mail.tenant_id, PasswordReset.reset_id == mail.subject_id
    )
    found = (await desk.session.execute(query)).scalar_one_or_none()
    if found is None or found.used_at is not None or found.expires_at <= clock.now() or desk.secret is None:
        return None
    company, _ = await _company(desk)
    words = compose(
        RESET,
        mail.language,
        {"company": company, "address": mail.recipient, "expires": moment_text(found.expires_at, mail.language)},
        operator,
        link=Link(NEW_PASSWORD[mail.language], reset_link(desk.settings.public_url, desk.secret)),
    )
    return Draft(words, operator.name)


@kind(CHANGED)
async def changed(desk: Desk) -> Draft | None:
    """Tells the person that the password was changed, in case it was somebody else."""
    mail, operator = desk.mail, desk.settings.operator
    company, _ = await _company(desk)
    words = compose(
        CHANGED,
        mail.language,
        {"company": company, "address": mail.recipient, "moment": moment_text(mail.created_at, mail.language)},
        operator,
        alarming=True,
    )
    return Draft(words, operator.name)


async def _company(desk: Desk) -> tuple[str, str]:
    """The name and the domain that people sign in under; the platform has no domain."""
    if desk.mail.tenant_id == PLATFORM:
        return desk.settings.operator.name, ""
    tenant = await tenants.get(desk.session, desk.mail.tenant_id)
    return tenant.name, tenant.sip_domain


async def _inviter(desk: Desk, actor: str) -> str:
    """The name of the person who invited; empty where it was an API client."""
    query = select(Person.name).where(Person.person_id == actor.partition(" ")[0]).limit(1)
    return (await desk.session.execute(query)).scalar() or ""
