"""Who is asking: the caller of a request, already authenticated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select
from sqlalchemy.orm import InstrumentedAttribute

from infra.kit.database import Scope
from infra.kit.problems import InvalidInput, NotFound


@dataclass(frozen=True, slots=True, kw_only=True)
class Presented:
    """What a request shows of its caller, before anybody has looked at it."""

    authorization: str | None = None
    """`Bearer …`: an API client."""
    cookie: str | None = None
    """The whole `Cookie` header: perhaps a person's session."""
    csrf_token: str | None = None
    """`X-CSRF-Token`, which goes with every change that a cookie signs."""
    origin: str | None = None
    """`Origin`: the page that a browser's request comes from."""
    is_safe: bool = True
    """Whether the method only reads (GET, HEAD, OPTIONS)."""
    visit_id: str | None = None
    """`Seatline-Visit`: an operator acts within a tenant."""
    is_activity: bool = True
    """Whether somebody asks now; a stream that runs by itself keeps no session from ending by idleness."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """An authenticated caller; `tenant_id` is None for operators and finance."""

    client_id: str
    """The API client, or the person."""
    tenant_id: str | None
    role: str
    permissions: frozenset[str]
    session_id: str | None = None
    """The session of a person; None for an API client."""
    visit_id: str | None = None
    """An operator's visit to `tenant_id`."""

    @property
    def actor(self) -> str:
        """Who the audit trail says it was."""
        return self.client_id if self.visit_id is None else f"{self.client_id} ({self.visit_id})"

    @property
    def scope(self) -> Scope:
        """Whose rows this caller may see."""
        return Scope(self.tenant_id)

    @property
    def is_of_the_platform(self) -> bool:
        """Whether this is the operator or finance, also while an operator is on a visit to a tenant."""
        return self.tenant_id is None or self.visit_id is not None

    @property
    def is_unvisiting_person(self) -> bool:
        """Whether this is a person of the platform who is on no visit, and so sees nothing that is a tenant's own."""
        return self.tenant_id is None and self.session_id is not None

    def tenant_for(self, tenant_id: str | None) -> str:
        """The tenant a write is for: the caller's own, or the one an operator names."""
        if self.tenant_id is None:
            if tenant_id is None:
                raise InvalidInput("Name the tenant this is for: `tenant_id`.", field="tenant_id")
            return tenant_id
        if tenant_id not in (None, self.tenant_id):
            raise NotFound(f"There is no tenant {tenant_id}.", field="tenant_id")
        return self.tenant_id

    def tenant_filter(self, tenant_id: str | None) -> str | None:
        """The tenant a list is narrowed to: always the caller's own, any or all for an operator."""
        if self.tenant_id is None:
            return tenant_id
        return self.tenant_for(tenant_id)

    def narrowed(
        self,
        query: Select[Any],
        column: InstrumentedAttribute[str] | InstrumentedAttribute[str | None],
        tenant_id: str | None,
    ) -> Select[Any]:
        """A list's query narrowed to `tenant_filter(tenant_id)` by the column that holds the tenant."""
        wanted = self.tenant_filter(tenant_id)
        return query if wanted is None else query.where(column == wanted)
