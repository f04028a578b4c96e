"""Tables of the bank statements: the platform's own, without any grant to tenants, since all their money is in them."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from infra.kit.database import Base


class BankMapping(Base):
    """Which column of a bank's file says what, for one account of the operator; immutable."""

    __tablename__ = "bank_mapping"

    name: Mapped[str] = mapped_column(primary_key=True)
    bank_account: Mapped[str]
    """The operator's account whose statements are read so."""
    layout: Mapped[dict[str, Any]]
    """A `billing.statements.reading.Layout`."""
    created_at: Mapped[datetime]


class BankStatement(Base):
    """A bank's file as it was uploaded; immutable, and there once for each account."""

    __tablename__ = "bank_statement"
    __table_args__ = (UniqueConstraint("bank_account", "content_digest"),)

    statement_id: Mapped[str] = mapped_column(primary_key=True)
    mapping: Mapped[str]
    bank_account: Mapped[str]
    content_digest: Mapped[str]
    """SHA-256 of the file, hexadecimal."""
    content: Mapped[bytes]
    outgoing_count: Mapped[int]
    """Rows that were money paid out; they are not kept as lines."""
    imported_by: Mapped[str]
    imported_at: Mapped[datetime]


class BankStatementLine(Base):
    """Money received on one of the operator's accounts, and what became of it."""

    __tablename__ = "bank_statement_line"
    __table_args__ = (
        Index(
            "uq_bank_statement_line_once",
            "bank_account",
            "bank_reference",
            "value_on",
            "amount",
            unique=True,
            postgresql_where=text("state <> 'duplicate'"),
        ),
        Index(None, "statement_id", "state"),
        Index(None, "payment_id"),
    )

    line_id: Mapped[str] = mapped_column(primary_key=True)
    """The statement's id and the line number in the file, so that lines sort as they stand there."""
    statement_id: Mapped[str]
    line_number: Mapped[int]
    bank_account: Mapped[str]
    value_on: Mapped[date]
    amount: Mapped[Decimal]
    """CNY, more than zero."""
    bank_reference: Mapped[str]
    payer: Mapped[str | None]
    remittance: Mapped[str]
    state: Mapped[str]
    """`new` (not looked at yet), `matched` (has a payment), `unmatched` (waits for a person), `dismissed` (no payment
    of a tenant) or `duplicate` (repeats another line; without any effect)."""
    reason: Mapped[str | None]
    """Why it is unmatched, as a code."""
    note: Mapped[str | None]
    """Why it was dismissed, or what the payments refused about it, in words."""
    suggested_tenant_id: Mapped[str | None]
    matched_tenant_id: Mapped[str | None]
    payment_id: Mapped[str | None]
    matched_by: Mapped[str | None]
    """`payment_reference`, `invoice_number` or `assignment`."""
    duplicate_of: Mapped[str | None]
    decided_by: Mapped[str | None]
    """The API client that assigned or dismissed it, or `system`."""
    decided_at: Mapped[datetime | None]
