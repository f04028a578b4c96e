"""Tables of the billing room: contracts, holdings, rate decks, charges, invoices, payments."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Index, Numeric, UniqueConstraint, text
from sqlalchemy.orm import Mapped, foreign, mapped_column, relationship

from billing.agreements.models import ContractVersion
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
    """The whole terms as signed, as billing/rules/terms.py writes them; `contracts.terms_of` knows those of a day."""
    state: Mapped[str]
    """`signed` (nothing open yet), `open`, `ended` or `lapsed`."""
    signed_on: Mapped[date]
    opens_on: Mapped[date]
    ends_on: Mapped[date | None]
    term_years: Mapped[int | None]
    """The term as signed, in years (C14); None: agreed by its last day, or without an end."""
    agreed_penalty: Mapped[Decimal | None]
    """CNY; what the tenant owes when the operator ends the contract for one of the grounds of C16."""
    transferred_from_contract_id: Mapped[str | None]
    """The contract of another tenant that this one goes on from (C17)."""
    billed_through: Mapped[date | None]
    """First day of the last month whose monthly invoice has been made; later calls of it go on the next one."""
    rate_deck_id: Mapped[str | None]
    """The contract's own deck; None: the default deck."""
    fixed_deposit_returned: Mapped[bool]
    """Whether the final invoice has given the contract's own deposit back (rule 11)."""
    created_at: Mapped[datetime]
    versions: Mapped[list[ContractVersion]] = relationship(
        primaryjoin=lambda: (
            (Contract.tenant_id == foreign(ContractVersion.tenant_id))
            & (Contract.contract_id == foreign(ContractVersion.contract_id))
        ),
        order_by=ContractVersion.version,
        lazy="selectin",
    )
    """Later terms, cancelled ones too; always loaded with the contract, so that no rule forgets one."""


class Holding(Base):
    """One rented seat or circuit, as money sees it: held from a day to a day, with what was paid for it."""

    __tablename__ = "holding"
    __table_args__ = (
        Index(None, "tenant_id", "order_id"),
        Index(None, "tenant_id", "order_invoice_id"),
        Index(
            "ix_holding_opening_to_invoice",
            "tenant_id",
            "contract_id",
            postgresql_where=text("opening AND invoiced_on IS NULL AND NOT lapsed"),
        ),
    )

    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    contract_id: Mapped[str] = mapped_column(primary_key=True)
    item: Mapped[str] = mapped_column(primary_key=True)
    """`seat` or `circuit`."""
    number: Mapped[int] = mapped_column(primary_key=True)
    """1, 2, 3 … in the order in which they were ordered."""
    order_id: Mapped[str]
    ordered_on: Mapped[date]
    effective_on: Mapped[date]
    opening: Mapped[bool]
    """Whether it belongs to the contract's opening (rule 2) rather than to an addition (rule 4)."""
    invoiced_on: Mapped[date | None]
    """When its order was charged; None: the opening invoice's day has not come."""
    order_invoice_id: Mapped[str | None]
    """The invoice that charges its order; None beside an `invoiced_on`: there was nothing to pay."""
    deposit_asked: Mapped[Decimal]
    """CNY; held from the day on which the order's invoice is paid."""
    deposit_returned: Mapped[bool]
    deposit_returned_on: Mapped[date | None]
    """Date of the invoice that gave it back."""
    opened_on: Mapped[date | None]
    """None until it is paid and opened."""
    closes_on: Mapped[date | None]
    """Last day held, once a return is ordered or the contract has ended."""
    returned: Mapped[bool]
    """Tells a return (C10) from the end of the contract."""
    return_ordered_on: Mapped[date | None]
    lapsed: Mapped[bool]


class RentCharge(Base):
    """What a contract's rent was for one holding and month, exactly, and the invoice that charged it.

    The amount is `unit_price` × `days` / `month_days`, not rounded: what is returned later is a part of this, not of a
    rounded line.
    """

    __tablename__ = "rent_charge"

    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    contract_id: Mapped[str] = mapped_column(primary_key=True)
    item: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    month: Mapped[date] = mapped_column(primary_key=True)
    unit_price: Mapped[Decimal]
    """The full month's rent this was priced at, CNY."""
    days: Mapped[int]
    month_days: Mapped[int]
    invoice_id: Mapped[str] = mapped_column(index=True)


class OneOffCharge(Base):
    """A charge that happens once: recruitment, equipment, utilities, property, penalty."""

    __tablename__ = "one_off_charge"
    __table_args__ = (
        Index(None, "charge_id"),
        Index(
            "ix_one_off_charge_to_bill",
            "tenant_id",
            "contract_id",
            "on",
            postgresql_where=text("billed_on IS NULL AND cancelled_at IS NULL"),
        ),
    )

    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    charge_id: Mapped[str] = mapped_column(primary_key=True)
    contract_id: Mapped[str]
    kind: Mapped[str]
    on: Mapped[date]
    amount: Mapped[Decimal] = mapped_column(Numeric(16, 4))
    note: Mapped[str]
    billed_on: Mapped[date | None]
    """Date of the invoice that took it; also set when its kind rounded to nothing there."""
    cancelled_at: Mapped[datetime | None]
    """Set when it was taken back before any invoice took it; it is never charged then."""
    cancellation_reason: Mapped[str | None]


class RateDeck(Base):
    """A rate deck as it was uploaded; immutable."""

    __tablename__ = "rate_deck"
    __table_args__ = (
        Index("uq_rate_deck_one_default", "is_default", unique=True, postgresql_where=text("is_default")),
    )

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
    """What the invoice of `billing_month` adds up."""
    revised_amount: Mapped[Decimal | None] = mapped_column(Numeric(16, 4))
    """The price since a re-rating after that invoice; the difference is settled by itself."""
    rated_at: Mapped[datetime]


class UnratedCall(Base):
    """A billable leg without a price yet, and why; tried again when a deck or contract changes."""

    __tablename__ = "unrated_call"

    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    month: Mapped[date] = mapped_column(primary_key=True)
    leg_id: Mapped[str] = mapped_column(primary_key=True)
    reason: Mapped[str]
    """One of `billing.usage.REASONS`, such as `no_contract`, `no_deck` or `no_prefix`."""
    seen_at: Mapped[datetime]
    """When it was first found to have no price."""


class Invoice(Base):
    """An issued invoice; never changed but for its payment state and a void."""

    __tablename__ = "invoice"
    __table_args__ = (
        UniqueConstraint("tenant_id", "number"),
        Index(None, "invoice_id"),
        Index(None, "tenant_id", "contract_id", "period"),
        Index(
            "uq_invoice_one_a_month",
            "tenant_id",
            "contract_id",
            "reason",
            "period",
            unique=True,
            postgresql_where=text("reason IN ('monthly', 'final') AND voided_at IS NULL"),
        ),
        Index(
            "ix_invoice_open",
            "tenant_id",
            postgresql_where=text("paid < total AND voided_at IS NULL"),
        ),
        Index("ix_invoice_of_month", "issued_on", postgresql_where=text("reason IN ('monthly', 'final')")),
        Index(
            "ix_invoice_corrects",
            "tenant_id",
            "corrects_invoice_id",
            postgresql_where=text("corrects_invoice_id IS NOT NULL"),
        ),
    )

    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    invoice_id: Mapped[str] = mapped_column(primary_key=True)
    contract_id: Mapped[str]
    number: Mapped[str]
    """Without gaps per tenant and year, such as `2026-0001`."""
    reason: Mapped[str]
    """`opening`, `addition`, `monthly`, `final` or `credit_note`."""
    corrects_invoice_id: Mapped[str | None]
    """The invoice that a credit note reduces."""
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
    """The day from whose beginning it suspends while unpaid; None where it never does."""
    fixed_deposit_asked: Mapped[Decimal]
    """The part of an opening invoice that is the contract's own deposit (C4)."""
    provisional: Mapped[bool]
    """Whether its dates rest on a year whose working days are not published yet (rule 1)."""
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
    tax_rate: Mapped[Decimal] = mapped_column(Numeric(7, 6))
    """The rate of the tax that `amount` contains (rule 12), such as 0.06."""
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
    __table_args__ = (
        Index(None, "payment_id"),
        Index(
            "uq_payment_reference",
            "tenant_id",
            "reference",
            unique=True,
            postgresql_where=text("reversed_at IS NULL"),
        ),
    )

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


class Refund(Base):
    """Credit paid out to the tenant, as finance released it; reversed, never deleted."""

    __tablename__ = "refund"
    __table_args__ = (
        Index(None, "refund_id"),
        Index(
            "uq_refund_reference",
            "tenant_id",
            "reference",
            unique=True,
            postgresql_where=text("reversed_at IS NULL"),
        ),
    )

    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    refund_id: Mapped[str] = mapped_column(primary_key=True)
    amount: Mapped[Decimal]
    channel: Mapped[str]
    """How the money went back: `bank_transfer`, or the channel it had come by."""
    value_on: Mapped[date]
    """The day on which the money left the operator's account."""
    reference: Mapped[str]
    """What the bank's transfer out is known by."""
    note: Mapped[str]
    released_by: Mapped[str]
    """The API client that released it."""
    recorded_at: Mapped[datetime]
    reversed_at: Mapped[datetime | None]
    reversal_reason: Mapped[str | None]


class Allocation(Base):
    """A part of a payment, or of a credit invoice, set against an open invoice or paid out as a refund."""

    __tablename__ = "allocation"
    __table_args__ = (Index(None, "tenant_id", "source_id"), Index(None, "tenant_id", "invoice_id"))

    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    allocation_id: Mapped[str] = mapped_column(primary_key=True)
    source_id: Mapped[str]
    """A payment, or an invoice with a negative total."""
    invoice_id: Mapped[str]
    """The invoice that it pays a part of; a refund's id where the money went back to the tenant."""
    amount: Mapped[Decimal]
    allocated_on: Mapped[date]
    undone_at: Mapped[datetime | None]
    """Set when the payment or refund was reversed or the invoice voided; it counts no more, but stays to be seen."""


class Suspension(Base):
    """A time during which a tenant was suspended for non-payment (rule 7)."""

    __tablename__ = "suspension"
    __table_args__ = (
        Index("uq_suspension_one_lasting", "tenant_id", unique=True, postgresql_where=text("ended_at IS NULL")),
    )

    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    suspension_id: Mapped[str] = mapped_column(primary_key=True)
    invoice_id: Mapped[str]
    began_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
