"""A link is opened: its content is read once, and erased in the same transaction."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit import audit, clock
from infra.kit.sealing import digest
from provisioning.handout import secrecy
from provisioning.handout.ending import ended_values
from provisioning.handout.errors import HandOutGone
from provisioning.handout.making import Kind, place_of
from provisioning.handout.models import HandOutLink

SECRET_LIMIT_CHARACTERS = 100


async def fetch(session: AsyncSession, kind: Kind, secret: str) -> bytes:
    """The content behind a link, which is erased with this commit; of two readers at once one gets it.

    Runs under the platform's role, because whoever opens a link is nobody we know. Raises `HandOutGone` for a secret
    that is unknown, used, expired or replaced, which all look the same.
    """
    gone = HandOutGone("The link was opened before, has expired or was replaced; ask who gave it to you for a new one.")
    if not secret or len(secret) > SECRET_LIMIT_CHARACTERS:
        raise gone
    query = (
        select(HandOutLink)
        .where(HandOutLink.secret_digest == digest(secret), HandOutLink.kind == kind)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    link = (await session.execute(query)).scalar_one_or_none()
    if link is None or link.sealed_content is None or link.expires_at <= clock.now():
        raise gone
    content = secrecy.unseal(
        link.sealed_content, secret=secret, place=place_of(link.tenant_id, link.hand_out_id, link.kind)
    )
    for column, value in ended_values("fetched").items():
        setattr(link, column, value)
    await session.flush()
    await audit.record(session, link.tenant_id, "hand_out.fetched", link.hand_out_id, kind=kind)
    return content
