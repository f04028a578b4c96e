"""Tables around fapiao: the tenants' tax particulars, version by version, and the numbers written back."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal

from sqlalchemy import Index
from sqlalchemy.orm import Mapped, mapped_column

from infra.kit.database import Base


class TaxParticulars(Base):
    """What a tenant's fapiao are made out to; a change is a new version, the highest one counts."""

    __tablename__ = "tax_particulars"

    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    """1, 2, 3 …"""
    title: Mapped[str]
    """The company's registered name."""
    credit_code: Mapped[str]
    """Unified social credit code, 18 characters (GB 32100-2015)."""
    address: Mapped[str | None]
    phone: Mapped[str | None]
    bank_name: Mapped[str | None]
    bank_account: Mapped[str | None]
    fapiao_kind: Mapped[str]
    """`general` or `special`; a special one needs all of the above."""
    recorded_by: Mapped[str]
    """The API client that recorded this version."""
    recorded_at: Mapped[datetime]


class Fapiao(Base):
    """A fapiao that was issued outside for an invoice or a part of it; voided or replaced, never deleted."""

    __tablename__ = "fapiao"
    __table_args__ = (Index(None, "fapiao_id"), Index(None, "tenant_id", "invoice_id"))

    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    fapiao_id: Mapped[str] = mapped_column(primary_key=True)
    invoice_id: Mapped[str]
    code: Mapped[str | None]
    """10 or 12 digits; None for a digital fapiao."""
    number: Mapped[str]
    """20 digits, or 8 with a code."""
    issued_on: Mapped[date]
    amount: Mapped[Decimal]
    """CNY with tax; negative on a red-letter fapiao."""
    recorded_by: Mapped[str]
    recorded_at: Mapped[datetime]
    voided_at: Mapped[datetime | None]
    """Set when it was taken back; it counts no more, but stays to be seen."""
    void_reason: Mapped[str | None]
    replaced_by: Mapped[str | None]
    """The fapiao recorded in its place."""


class FapiaoNumber(Base):
    """Which fapiao has a number; global, because no two tenants can have the same one."""

    __tablename__ = "fapiao_number"

    full_number: Mapped[str] = mapped_column(primary_key=True)
    """The number, after its code and a hyphen where it has one."""
    fapiao_id: Mapped[str] = mapped_column(index=True)
