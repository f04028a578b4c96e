"""The table of data traffic."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal

from sqlalchemy import BigInteger, Index, Numeric, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from infra.kit.database import Base


class DataUsage(Base):
    """What the tunnel of a seat carried on one local day, and its price; grows until its month is invoiced."""

    __tablename__ = "data_usage"
    __table_args__ = (
        UniqueConstraint("tenant_id", "contract_id", "seat_id", "day", "billing_month"),
        Index("ix_data_usage_of_invoice", "tenant_id", "contract_id", "billing_month"),
    )

    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    record_id: Mapped[str] = mapped_column(primary_key=True)
    contract_id: Mapped[str]
    seat_id: Mapped[str]
    day: Mapped[date]
    billing_month: Mapped[date]
    """The usage month on whose invoice this goes: its own, or a later one when its own was already invoiced."""
    received: Mapped[int] = mapped_column(BigInteger)
    """Bytes from the seat."""
    sent: Mapped[int] = mapped_column(BigInteger)
    """Bytes to the seat."""
    rate_per_gb: Mapped[Decimal] = mapped_column(Numeric(16, 4))
    """CNY with tax for 1,000,000,000 bytes, of the terms of that day."""
    amount: Mapped[Decimal] = mapped_column(Numeric(16, 4))
    changed_at: Mapped[datetime]
