"""Tables of the tenancy room: tenants, their SIP domains, API clients and tokens."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Mapped, mapped_column

from infra.kit.database import Base


class Tenant(Base):
    """A company that rents seats."""

    __tablename__ = "tenant"

    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    sip_domain: Mapped[str]
    standing: Mapped[str]
    """`active`, `suspended` or `closed` (tenancy/standing.py)."""
    generation: Mapped[int]
    """Grows with every change of standing, so that stale work can tell that it is stale."""
    standing_changed_at: Mapped[datetime]
    standing_reason: Mapped[str | None]
    contact_email: Mapped[str | None]
    address: Mapped[str | None]
    credit_code: Mapped[str | None]
    """Unified social credit code (18 characters), clause C19."""
    created_at: Mapped[datetime]


class SipDomain(Base):
    """Which tenant a SIP domain belongs to; global, because the switch asks by domain alone."""

    __tablename__ = "sip_domain"

    domain: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str]


class Client(Base):
    """An API client (RFC 6749 client credentials); global, because it signs in before its tenant is known."""

    __tablename__ = "client"

    client_id: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str | None] = mapped_column(index=True)
    name: Mapped[str]
    role: Mapped[str]
    secret_digest: Mapped[str]
    made_by: Mapped[str | None] = mapped_column(index=True)
    """The person or client who made it and so has seen its secret; None where that was never written down."""
    created_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]


class AccessToken(Base):
    """An opaque bearer token, stored as its digest."""

    __tablename__ = "access_token"

    token_digest: Mapped[str] = mapped_column(primary_key=True)
    client_id: Mapped[str] = mapped_column(index=True)
    issued_at: Mapped[datetime]
    expires_at: Mapped[datetime] = mapped_column(index=True)
    revoked_at: Mapped[datetime | None]
