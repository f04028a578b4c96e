"""The register of equipment handed out with seats (C22)."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal

from sqlalchemy import Index, text
from sqlalchemy.orm import Mapped, mapped_column

from infra.kit.database import Base


class Equipment(Base):
    """One thing that a tenant has, or had: a partition, a desk, a computer, a headset."""

    __tablename__ = "equipment"
    __table_args__ = (
        Index(None, "equipment_id"),
        Index("uq_equipment_label_out", "tenant_id", "label", unique=True, postgresql_where=text("state = 'out'")),
        Index(
            "uq_equipment_charge", "tenant_id", "charge_id", unique=True,
            postgresql_where=text("charge_id IS NOT NULL"),
        ),
    )  # fmt: skip

    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    equipment_id: Mapped[str] = mapped_column(primary_key=True)
    contract_id: Mapped[str]
    seat_number: Mapped[int | None]
    """The seat's number in its contract; None: handed out for the room."""
    kind: Mapped[str]
    label: Mapped[str]
    """What stands on it: a serial or inventory number, once among what is out."""
    makers_price: Mapped[Decimal]
    """CNY with tax: what its loss costs (C22)."""
    state: Mapped[str]
    """`out`, `returned`, `lost` or `damaged`."""
    handed_out_on: Mapped[date]
    ended_on: Mapped[date | None]
    """The day of its return, loss or damage."""
    note: Mapped[str | None]
    """What was said of its end."""
    charge_id: Mapped[str | None]
    """The one-off charge for its loss or damage; None where nothing is charged."""
    created_at: Mapped[datetime]
    changed_at: Mapped[datetime]
