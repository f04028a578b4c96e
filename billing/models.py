"""Tables of the billing room: contracts, holdings, rate decks, charges, invoices, payments."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Index, Numeric, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from infra.kit.database import Base


class Contract(Base):
    """A lease: its own copy of the terms (clause by clause) and its span."""

    __tablename__ = "contract"
    __table_args__ = (Index(None, "contract_id"),)

    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    contract_id: Mapped[str] = mapped_column(primary_key=True)
    title: Mapped[str]
    preset: Mapped[str]
    terms: Mapped[dict[str, Any]]
    """The whole terms, as billing/rules/terms.py writes them."""
    state: Mapped[str]
    """`signed` (nothing open yet), `open`, `ended` or `lapsed`."""
    signed_on: Mapped[date]
    opens_on: Mapped[date]
    ends_on: Mapped[date | None]
    billed_through: Mapped[date | None]
    """First day of the last month whose monthly invoice has been made; later calls of it go on the next one."""
    rate_deck_id: Mapped[str | None]
    """The contract's own deck; None: the default deck."""
    created_at: Mapped[datetime]


class Holding(Base):
    """One rented seat or circuit, as money sees it: held from a day to a day, with what was paid for it."""

    __tablename__ = "holding"

    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    contract_id: Mapped[str] = mapped_column(primary_key=True)
    item: Mapped[str] = mapped_column(primary_key=True)
    """`seat` or `circuit`."""
    number: Mapped[int] = mapped_column(primary_key=True)
    """1, 2, 3 … in the order in which they were ordered."""
    order_id: Mapped[str]
    ordered_on: Mapped[date]
    effective_on: Mapped[date]
    opened_on: Mapped[date | None]
    """None until it is paid and opened."""
    closes_on: Mapped[date | None]
    """Last day held, once a return is ordered."""
    return_ordered_on: Mapped[date | None]
    lapsed: Mapped[bool]


class RentCharge(Base):
    """What a contract's rent was for one holding and month, exactly, and the invoice that charged it."""

    __tablename__ = "rent_charge"

    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    contract_id: Mapped[str] = mapped_column(primary_key=True)
    item: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    month: Mapped[date] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(primary_key=True)
    """`rent` or `deposit`."""
    amount: Mapped[str]
    """An exact fraction as text (`30000/31`): what is returned later is a part of this, not of a rounded line."""
    monthly_rent: Mapped[str]
    """The full month's rent this was priced at, as text."""
    invoice_id: Mapped[str] = mapped_column(index=True)


class OneOffCharge(Base):
    """A charge that happens once: recruitment, equipment, utilities, property, penalty."""

    __tablename__ = "one_off_charge"

    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    charge_id: Mapped[str] = mapped_column(primary_key=True)
    contract_id: Mapped[str]
    kind: Mapped[str]
    on: Mapped[date]
    amount: Mapped[Decimal]
    note: Mapped[str]
    invoice_id: Mapped[str | None]


class RateDeck(Base):
    """A rate deck as it was uploaded; immutable."""

    __tablename__ = "rate_deck"

    deck_id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    is_default: Mapped[bool]
    row_count: Mapped[int]
    content: Mapped[bytes]
    """The CSV in UTF-8."""
    created_at: Mapped[datetime]


class Charge(Base):
    """The price of one call leg, posted exactly once; partitioned by the month of the call."""

    __tablename__ = "charge"
    __table_args__ = (
        Index(None, "tenant_id", "contract_id", "billing_month"),
        {"postgresql_partition_by": "RANGE (month)"},
    )

    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    month: Mapped[date] = mapped_column(primary_key=True)
    leg_id: Mapped[str] = mapped_column(primary_key=True)
    contract_id: Mapped[str]
    billing_month: Mapped[date]
    """The usage month on whose invoice this goes: its own, or a later one when its own was already invoiced."""
    deck_id: Mapped[str]
    prefix: Mapped[str]
    billed_seconds: Mapped[int]
    amount: Mapped[Decimal] = mapped_column(Numeric(16, 4))
    rated_at: Mapped[datetime]


class UnratedCall(Base):
    """A billable leg without a price yet, and why; tried again when a deck or contract changes."""

    __tablename__ = "unrated_call"

    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    month: Mapped[date] = mapped_column(primary_key=True)
    leg_id: Mapped[str] = mapped_column(primary_key=True)
    reason: Mapped[str]
    """`no_contract`, `no_deck` or `no_prefix`."""
    seen_at: Mapped[datetime]


class Invoice(Base):
    """An issued invoice; never changed but for its payment state and a void."""

    __tablename__ = "invoice"
    __table_args__ = (
        UniqueConstraint("tenant_id", "number"),
        Index(None, "invoice_id"),
        Index(None, "tenant_id", "contract_id", "period"),
    )

    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    invoice_id: Mapped[str] = mapped_column(primary_key=True)
    contract_id: Mapped[str]
    number: Mapped[str]
    """Without gaps per tenant and year, such as `2026-0001`."""
    reason: Mapped[str]
    """`opening`, `addition`, `monthly` or `final`."""
    issued_on: Mapped[date]
    due_on: Mapped[date]
    period: Mapped[str]
    """`2026-07`."""
    total: Mapped[Decimal]
    tax: Mapped[Decimal]
    paid: Mapped[Decimal]
    """Payments and credit allocated to it so far."""
    paid_on: Mapped[date | None]
    suspends_on: Mapped[date | None]
    voided_at: Mapped[datetime | None]
    void_reason: Mapped[str | None]
    created_at: Mapped[datetime]


class InvoiceLine(Base):
    """One line, with the clause, inputs and formula that made it."""

    __tablename__ = "invoice_line"

    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    invoice_id: Mapped[str] = mapped_column(primary_key=True)
    line_number: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    item: Mapped[str | None]
    quantity: Mapped[int]
    unit_price: Mapped[Decimal] = mapped_column(Numeric(16, 4))
    amount: Mapped[Decimal]
    clause: Mapped[str]
    formula: Mapped[str]
    inputs: Mapped[dict[str, Any]]


class InvoiceCounter(Base):
    """The last invoice number given out per tenant and year; its row lock keeps the numbers without gaps."""

    __tablename__ = "invoice_counter"

    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    year: Mapped[int] = mapped_column(primary_key=True)
    last: Mapped[int]


class Payment(Base):
    """Money received, as finance recorded it; reversed, never deleted."""

    __tablename__ = "payment"
    __table_args__ = (Index(None, "payment_id"),)

    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    payment_id: Mapped[str] = mapped_column(primary_key=True)
    amount: Mapped[Decimal]
    channel: Mapped[str]
    """`bank_transfer` (clause C25)."""
    value_on: Mapped[date]
    """The day the money counts from."""
    payer: Mapped[str | None]
    reference: Mapped[str | None]
    recorded_at: Mapped[datetime]
    reversed_at: Mapped[datetime | None]
    reversal_reason: Mapped[str | None]


class Allocation(Base):
    """A part of a payment, or of a credit invoice, set against an open invoice."""

    __tablename__ = "allocation"
    __table_args__ = (Index(None, "tenant_id", "source_id"), Index(None, "tenant_id", "invoice_id"))

    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    allocation_id: Mapped[str] = mapped_column(primary_key=True)
    source_id: Mapped[str]
    """A payment, or an invoice with a negative total."""
    invoice_id: Mapped[str]
    amount: Mapped[Decimal]
    allocated_on: Mapped[date]


class Suspension(Base):
    """A time during which a tenant was suspended for non-payment (rule 7)."""

    __tablename__ = "suspension"

    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    suspension_id: Mapped[str] = mapped_column(primary_key=True)
    invoice_id: Mapped[str]
    began_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
