"""What an administrator does at the terminal rather than through the API."""

from __future__ import annotations

from infra.app.installation import Installation
from infra.kit.database import Scope
from tenancy import tokens


async def create_client(installation: Installation, name: str, role: str, tenant_id: str | None) -> tuple[str, str]:
    """A new API client: its id and its secret, which is kept nowhere."""
    database = installation.database()
    try:
        async with database.transaction(Scope.platform()) as session:
            client, secret = await tokens.create_client(session, name=name, role=role, tenant_id=tenant_id)
            return client.client_id, secret
    finally:
        await database.close()
