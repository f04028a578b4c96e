"""The API as a test's caller sees it: real HTTP semantics over the real application and database."""

from __future__ import annotations

import itertools
from typing import Any

import httpx

from infra.kit.database import Database, Scope
from infra.kit.settings import Settings
from tenancy import tenants, tokens

_numbers = itertools.count(1)


class Caller:
    """One API client with its token."""

    def __init__(self, http: httpx.AsyncClient, client_id: str, token: str) -> None:
        self.http = http
        self.client_id = client_id
        self.headers = {"authorization": f"Bearer {token}"}

    async def get(self, path: str, params: dict[str, Any] | None = None) -> httpx.Response:
        """GET with this caller's token."""
        return await self.http.get(path, params=params, headers=self.headers)

    async def post(self, path: str, body: Any = None, *, key: str | None = None) -> httpx.Response:
        """POST a JSON body, with an Idempotency-Key when given."""
        headers = self.headers | ({"idempotency-key": key} if key else {})
        return await self.http.post(path, json={} if body is None else body, headers=headers)

    async def put(self, path: str, body: Any) -> httpx.Response:
        """PUT a JSON body."""
        return await self.http.put(path, json=body, headers=self.headers)

    async def post_bytes(self, path: str, body: bytes, content_type: str) -> httpx.Response:
        """POST raw bytes."""
        return await self.http.post(path, content=body, headers=self.headers | {"content-type": content_type})


class Api:
    """The application under test."""

    def __init__(self, http: httpx.AsyncClient, database: Database, settings: Settings) -> None:
        self.http = http
        self.database = database
        self.settings = settings

    async def tenant(self, name: str = "tenant") -> str:
        """A new tenant's id."""
        async with self.database.transaction(Scope.platform()) as session:
            tenant = await tenants.create_tenant(session, name=name, sip_domain=f"{name}-{next(_numbers)}.example.com")
            return tenant.tenant_id

    async def client(self, role: str, tenant_id: str | None = None) -> Caller:
        """A new client with this role, signed in through the token endpoint."""
        async with self.database.transaction(Scope.platform()) as session:
            client, secret = await tokens.create_client(session, name=role, role=role, tenant_id=tenant_id)
        answer = await self.http.post(
            "/oauth/token", data={"grant_type": "client_credentials"}, auth=(client.client_id, secret)
        )
        answer.raise_for_status()
        return Caller(self.http, client.client_id, answer.json()["access_token"])
