"""Tables of the monthly run: which months are released, and which contracts were set aside."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Index, text
from sqlalchemy.orm import Mapped, mapped_column

from infra.kit.database import Base


class InvoiceRun(Base):
    """The run of one month, from its release on; the platform's own."""

    __tablename__ = "invoice_run"

    month: Mapped[str] = mapped_column(primary_key=True)
    """`2026-07`: the month on whose 1st its invoices are dated."""
    state: Mapped[str]
    """`running` until every contract was looked at, then `finished`."""
    released_at: Mapped[datetime]
    released_by: Mapped[str]
    """The API client that released it, or `system` where months release themselves."""
    note: Mapped[str | None]
    finished_at: Mapped[datetime | None]


class SetAsideContract(Base):
    """A contract that a run could not bill, or whose invoice was voided to be made again; with the reason."""

    __tablename__ = "set_aside_contract"
    __table_args__ = (
        Index(None, "month"),
        Index(
            "ix_set_aside_contract_waiting",
            "tenant_id",
            "contract_id",
            postgresql_where=text("resolved_at IS NULL"),
        ),
    )

    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    contract_id: Mapped[str] = mapped_column(primary_key=True)
    month: Mapped[str] = mapped_column(primary_key=True)
    """The month of the run, `2026-07`."""
    reason: Mapped[str]
    """`failed` or `voided`."""
    problem: Mapped[str]
    """A sentence for people: what stands against the invoice, or why it was voided."""
    times: Mapped[int]
    set_aside_at: Mapped[datetime]
    resolved_at: Mapped[datetime | None]
    """When a later try has billed the contract."""
