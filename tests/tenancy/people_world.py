"""People in tests: invited by their company, with links read from the outbox as the mail would show them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from argon2 import PasswordHasher
from sqlalchemy import select

from infra.kit.database import Scope
from infra.kit.outbox.models import OutboxMail
from infra.kit.sealing import Seal
from tenancy.models import Tenant
from tenancy.people import passwords
from tests.api import Api, Caller

PASSWORD = "three words are plenty"
ORIGIN = "http://127.0.0.1:8300"
COOKIE = "seatline_session"


QUICK = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


def quick_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hash with the least work: these tests are about who signs in, not about how dear a guess is."""
    monkeypatch.setattr(passwords, "_hasher", QUICK)
    monkeypatch.setattr(passwords, "_nobodys", lambda: QUICK.hash("nobody"))


@dataclass
class Browser:
    """A browser with the cookie of a session, and what a page of ours knows."""

    http: httpx.AsyncClient
    cookie: str
    csrf_token: str
    person: dict[str, Any]

    @classmethod
    def of(cls, http: httpx.AsyncClient, answer: httpx.Response) -> Browser:
        """The browser after an answer that began a session."""
        assert answer.status_code == 200, answer.text
        cookie = answer.headers["set-cookie"].split(";")[0]
        http.cookies.clear()  # each of our browsers keeps its own
        return cls(http, cookie, answer.json()["csrf_token"], answer.json()["person"])

    async def get(self, path: str, params: dict[str, Any] | None = None, **headers: str) -> httpx.Response:
        """GET with the cookie."""
        return await self.http.get(path, params=params, headers={"cookie": self.cookie} | _named(headers))

    async def post(self, path: str, body: Any = None, **headers: str) -> httpx.Response:
        """POST as a page of ours does it."""
        own = {"cookie": self.cookie, "x-csrf-token": self.csrf_token, "origin": ORIGIN}
        return await self.http.post(path, json={} if body is None else body, headers=own | _named(headers))

    async def put(self, path: str, body: Any) -> httpx.Response:
        """PUT as a page of ours does it."""
        own = {"cookie": self.cookie, "x-csrf-token": self.csrf_token, "origin": ORIGIN}
        return await self.http.put(path, json=body, headers=own)


def _named(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


async def link_token(api: Api, kind: str, recipient: str) -> str:
    """The token in the newest mail of a kind that waits for a recipient."""
    async with api.database.transaction(Scope.platform()) as session:
        query = (
            select(OutboxMail.sealed_secret)
            .where(OutboxMail.kind == kind, OutboxMail.recipient == recipient)
            .order_by(OutboxMail.mail_id.desc())
            .limit(1)
        )
        sealed = (await session.execute(query)).scalar_one()
    assert sealed is not None
    return Seal(api.settings.secret_key).open(sealed)


async def company_of(api: Api, tenant_id: str) -> str:
    """What the tenant's people name when they sign in."""
    async with api.database.transaction(Scope.platform()) as session:
        return (await session.get_one(Tenant, tenant_id)).sip_domain


async def invited(
    api: Api, by: Caller | Browser, address: str, *, role: str = "tenant_admin", tenant_id: str | None = None
) -> tuple[dict[str, Any], str]:
    """An invitation and the token of its link."""
    body = {"address": address, "name": "李伟", "role": role, "tenant_id": tenant_id, "language": "zh"}
    made = await by.post("/v1/invitations", body)
    assert made.status_code == 201, made.text
    return made.json(), await link_token(api, "person_invited", address.lower())


async def joined(
    api: Api, by: Caller | Browser, address: str, *, role: str = "tenant_admin", tenant_id: str | None = None
) -> Browser:
    """Somebody who has accepted an invitation, in a session."""
    _, token = await invited(api, by, address, role=role, tenant_id=tenant_id)
    answer = await api.http.post("/sign-in/invitation", json={"token": token, "password": PASSWORD})
    return Browser.of(api.http, answer)


async def signs_in(
    api: Api, company: str | None, address: str, password: str = PASSWORD, **headers: str
) -> httpx.Response:
    """A sign-in by password."""
    body = {"company": company, "address": address, "password": password}
    answer = await api.http.post("/sign-in", json=body, headers=headers)
    api.http.cookies.clear()
    return answer
