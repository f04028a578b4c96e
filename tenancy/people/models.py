"""Tables of people: persons, one-time links, sessions, visits, and how often somebody has guessed."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Index, text
from sqlalchemy.orm import Mapped, mapped_column

from infra.kit.database import Base


class Person(Base):
    """Somebody who works for a tenant or for the platform (`tenant_id` is `platform`)."""

    __tablename__ = "person"
    __table_args__ = (
        Index(None, "person_id"),
        Index("uq_person_address", "tenant_id", "address", unique=True, postgresql_where=text("removed_at IS NULL")),
        Index(
            "uq_person_subject",
            "tenant_id",
            "issuer",
            "subject",
            unique=True,
            postgresql_where=text("removed_at IS NULL AND subject IS NOT NULL"),
        ),
    )

    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    person_id: Mapped[str] = mapped_column(primary_key=True)
    address: Mapped[str]
    """The mail address, in small letters; one person of a tenant has it."""
    name: Mapped[str]
    role: Mapped[str]
    language: Mapped[str]
    """`zh` or `en`: how they are written to."""
    password_hash: Mapped[str | None]
    """argon2id; None: signs in through the identity provider only."""
    issuer: Mapped[str | None]
    subject: Mapped[str | None]
    """Who they are to the identity provider, once they have come from there."""
    created_at: Mapped[datetime]
    signed_in_at: Mapped[datetime | None]
    removed_at: Mapped[datetime | None]


class Invitation(Base):
    """A link by mail with which somebody becomes a person."""

    __tablename__ = "invitation"
    __table_args__ = (Index(None, "invitation_id"), Index(None, "token_digest"))

    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    invitation_id: Mapped[str] = mapped_column(primary_key=True)
    address: Mapped[str]
    name: Mapped[str]
    role: Mapped[str]
    language: Mapped[str]
    token_digest: Mapped[str]
    invited_by: Mapped[str]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    accepted_at: Mapped[datetime | None]
    withdrawn_at: Mapped[datetime | None]
    person_id: Mapped[str | None]
    """Who has come of it."""


class PasswordReset(Base):
    """A link by mail with which a person sets a new password."""

    __tablename__ = "password_reset"
    __table_args__ = (Index(None, "token_digest"), Index(None, "expires_at"))

    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    reset_id: Mapped[str] = mapped_column(primary_key=True)
    person_id: Mapped[str]
    token_digest: Mapped[str]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]


class PersonSession(Base):
    """A signed-in browser; its cookie is kept as a digest."""

    __tablename__ = "person_session"
    __table_args__ = (
        Index(None, "token_digest"),
        Index(None, "tenant_id", "person_id"),
        Index(None, "expires_at"),
    )

    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    session_id: Mapped[str] = mapped_column(primary_key=True)
    person_id: Mapped[str]
    token_digest: Mapped[str]
    csrf_token: Mapped[str]
    """What a page of ours sends along with every change; worth nothing without the cookie."""
    way: Mapped[str]
    """`password`, `provider`, `invitation` or `reset`."""
    source: Mapped[str]
    """The network address it was begun from."""
    user_agent: Mapped[str]
    began_at: Mapped[datetime]
    seen_at: Mapped[datetime]
    """The last request, within a minute."""
    expires_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]


class Visit(Base):
    """An operator within a tenant, for a reason that the tenant can read."""

    __tablename__ = "visit"
    __table_args__ = (Index(None, "visit_id"),)

    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    visit_id: Mapped[str] = mapped_column(primary_key=True)
    visitor: Mapped[str]
    """The person or API client of the platform."""
    reason: Mapped[str]
    began_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]


class SignInAttempts(Base):
    """How often there was a try for an account, or from a network address, in a window of time.

    Global, and of a fixed size: what is counted is hashed into a bounded number of rows.
    """

    __tablename__ = "sign_in_attempts"

    bucket: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    attempts: Mapped[int]
    window_began_at: Mapped[datetime]
