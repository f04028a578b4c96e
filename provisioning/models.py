"""Tables of the provisioning room: seat orders and seats."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from sqlalchemy import Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from infra.kit.database import Base


class SeatOrder(Base):
    """An order to add or return seats (clauses C6, C9, C10)."""

    __tablename__ = "seat_order"
    __table_args__ = (
        Index(None, "order_id"),
        Index(
            "ix_seat_order_pending",
            "effective_on",
            "tenant_id",
            postgresql_where=text("state IN ('awaiting_payment', 'scheduled')"),
        ),
    )

    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    order_id: Mapped[str] = mapped_column(primary_key=True)
    contract_id: Mapped[str]
    kind: Mapped[str]
    """`opening`, `add` or `return`."""
    item: Mapped[str]
    """`seat` or `circuit`."""
    quantity: Mapped[int]
    seat_ids: Mapped[list[Any]]
    """The seats or circuits added or returned, by number."""
    ordered_on: Mapped[date]
    effective_on: Mapped[date]
    state: Mapped[str]
    """`awaiting_payment`, `scheduled`, `done`, `cancelled` or `lapsed`."""
    held_back_by: Mapped[str | None]
    """`papers` while it is paid and due but may not open for lack of them (C19)."""
    notice_waived_by: Mapped[str | None]
    """The client of the operator who waived the notice, where it was needed."""
    created_at: Mapped[datetime]
    changed_at: Mapped[datetime]


class Seat(Base):
    """An agent position: an extension with its SIP account (clause C20)."""

    __tablename__ = "seat"
    __table_args__ = (
        UniqueConstraint("tenant_id", "extension"),
        UniqueConstraint("tenant_id", "contract_id", "item", "number"),
        Index(None, "seat_id"),
        Index(
            "uq_seat_name_of_held",
            "tenant_id",
            "name",
            unique=True,
            postgresql_where=text("name IS NOT NULL AND state IN ('ordered', 'open', 'suspended')"),
        ),
    )

    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    seat_id: Mapped[str] = mapped_column(primary_key=True)
    contract_id: Mapped[str]
    item: Mapped[str]
    number: Mapped[int]
    """The holding's number in its contract."""
    extension: Mapped[str | None]
    """None for a circuit, which nobody registers at."""
    name: Mapped[str | None]
    """One seat's alone among those that its tenant holds (provisioning/rules/seat_states.py)."""
    group_name: Mapped[str | None]
    """The tenant's own grouping, such as a department."""
    person_name: Mapped[str | None]
    """Who sits there; the tenant's own words, as are the two below."""
    person_mail: Mapped[str | None]
    person_number: Mapped[str | None]
    """The tenant's own number for that person."""
    order_id: Mapped[str] = mapped_column(index=True)
    state: Mapped[str]
    """`ordered`, `open`, `suspended`, `closed` or `cancelled` (provisioning/rules/seat_states.py)."""
    opened_at: Mapped[datetime | None]
    suspended_at: Mapped[datetime | None]
    """Since when its tenant has it suspended."""
    closes_on: Mapped[date | None]
    """Its last day, once a return is ordered or the contract has ended."""
    closed_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
