"""Tables of spend caps and of what was told about them."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Index, Numeric
from sqlalchemy.orm import Mapped, mapped_column

from infra.kit.database import Base


class SpendCap(Base):
    """The most that a tenant's calls out may cost on one local day."""

    __tablename__ = "spend_cap"

    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    daily_cap: Mapped[Decimal | None]
    """CNY; None: no cap."""
    changed_at: Mapped[datetime]
    seen_on: Mapped[date | None]
    """The local day that was looked at last."""
    seen_running: Mapped[dict[str, Any] | None]
    """What was seen of calls whose records have not come yet (`billing/spending/seen.py`)."""


class SpendAlert(Base):
    """That a tenant came near its cap, or reached it: one of a kind a day, of the highest cap that it was told of."""

    __tablename__ = "spend_alert"
    __table_args__ = (Index(None, "alert_id"),)

    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    day: Mapped[date] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(primary_key=True)
    """`warning` or `cap_reached`."""
    alert_id: Mapped[str]
    daily_cap: Mapped[Decimal]
    charged: Mapped[Decimal] = mapped_column(Numeric(16, 4))
    """What the calls answered that day were charged by then."""
    running: Mapped[Decimal] = mapped_column(Numeric(16, 4))
    """What the calls running then would have cost if they had ended, and what those cost that were still to be
    charged."""
    raised_at: Mapped[datetime]
