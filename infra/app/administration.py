"""What an administrator does at the terminal rather than through the API."""

from __future__ import annotations

from infra.app.installation import Installation
from infra.kit.database import Scope
from tenancy import tokens
from tenancy.people import invitations, mails


async def create_client(installation: Installation, name: str, role: str, tenant_id: str | None) -> tuple[str, str]:
    """A new API client: its id and its secret, which is kept nowhere."""
    database = installation.database()
    try:
        async with database.transaction(Scope.platform()) as session:
            client, secret = await tokens.create_client(session, name=name, role=role, tenant_id=tenant_id)
            return client.client_id, secret
    finally:
        await database.close()


async def invite_person(
    installation: Installation, *, address: str, name: str, role: str, tenant_id: str | None, language: str
) -> str:
    """Invite somebody, as the first person of the platform is; returns the link, which goes by mail besides."""
    database = installation.database()
    try:
        async with database.transaction(Scope.platform()) as session:
            _, token = await invitations.invite(
                session,
                installation.seal,
                tenant_id=tenant_id,
                address=address,
                name=name,
                role=role,
                language=language,
            )
            return mails.invitation_link(installation.settings.public_url, token)
    finally:
        await database.close()
