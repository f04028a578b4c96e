"""The table of identity providers."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy.orm import Mapped, mapped_column

from infra.kit.database import Base


class IdentityProvider(Base):
    """The OpenID provider of a tenant; one each."""

    __tablename__ = "identity_provider"

    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    issuer: Mapped[str]
    """Exactly as the provider calls itself in its tokens."""
    client_id: Mapped[str]
    sealed_client_secret: Mapped[bytes]
    new_people_role: Mapped[str | None]
    """The role that somebody unknown gets who comes from there; None: only people who are known may come."""
    allowed_email_domains: Mapped[list[Any]]
    """The domains of whose verified addresses such somebody may come; never empty where there is a role for them."""
    changed_at: Mapped[datetime]
    changed_by: Mapped[str]
