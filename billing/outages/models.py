"""Tables of faults, of maintenance windows, and of what invoices have credited for faults."""

from __future__ import annotations

from datetime import date, datetime

from sqlalchemy import ARRAY, Index, Integer, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from infra.kit.database import Base


class Fault(Base):
    """A time in which seats or circuits of a contract could not be used, and whose cause it was; never deleted."""

    __tablename__ = "fault"
    __table_args__ = (
        Index(None, "fault_id"),
        Index(None, "tenant_id", "contract_id", "began_at"),
        Index(
            "uq_fault_one_of_a_window",
            "tenant_id",
            "contract_id",
            "item",
            "window_id",
            unique=True,
            postgresql_where=text("window_id IS NOT NULL AND split_from IS NULL"),
        ),
        Index(
            "uq_fault_one_of_an_observation",
            "tenant_id",
            "contract_id",
            "item",
            "observation_id",
            unique=True,
            postgresql_where=text("observation_id IS NOT NULL AND split_from IS NULL"),
        ),
        Index("ix_fault_to_credit", "tenant_id", "contract_id", postgresql_where=text("to_credit")),
    )

    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    fault_id: Mapped[str] = mapped_column(primary_key=True)
    contract_id: Mapped[str]
    item: Mapped[str]
    """`seat` or `circuit`."""
    numbers: Mapped[list[int] | None] = mapped_column(ARRAY(Integer))
    """The holdings at fault in rising order; None: every one that was open during it."""
    began_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    """None while it lasts."""
    state: Mapped[str]
    """`reported` (nobody has decided on it yet), `confirmed` (it has a cause) or `withdrawn`."""
    cause: Mapped[str | None]
    """`operator`, `tenant` or `force_majeure`; None until it is confirmed."""
    note: Mapped[str]
    """What was seen, as evidence."""
    reported_by: Mapped[str]
    """The API client that reported it, or `system`."""
    reported_at: Mapped[datetime]
    decided_by: Mapped[str | None]
    """Who confirmed, reclassified or withdrew it last; what it was before is in the audit trail."""
    decided_at: Mapped[datetime | None]
    decision_reason: Mapped[str | None]
    window_id: Mapped[str | None]
    """The maintenance window whose overrun it is (rule 10)."""
    observation_id: Mapped[str | None]
    """What the cluster was seen at fault with, where no person reported it."""
    split_from: Mapped[str | None]
    """The fault that its numbers were taken out of by a correction."""
    to_credit: Mapped[bool]
    """Whether a run has still to look at all of its months: set by every change, cleared by the run that has seen the
    whole of it."""


class FaultEvidence(Base):
    """Something that was seen and speaks for a fault; at most so many of one fault, and never changed."""

    __tablename__ = "fault_evidence"
    __table_args__ = (Index(None, "tenant_id", "fault_id"), Index(None, "tenant_id", "observation_id"))

    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    evidence_id: Mapped[str] = mapped_column(primary_key=True)
    fault_id: Mapped[str]
    observation_id: Mapped[str | None]
    seen_at: Mapped[datetime]
    source: Mapped[str]
    """Who saw it: `cluster`, or the API client that reported it."""
    note: Mapped[str]


class FaultCredit(Base):
    """What an invoice has credited one holding for the faults of one month, exactly, before any rounding."""

    __tablename__ = "fault_credit"
    __table_args__ = (Index(None, "tenant_id", "invoice_id"),)

    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    contract_id: Mapped[str] = mapped_column(primary_key=True)
    item: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    month: Mapped[date] = mapped_column(primary_key=True)
    invoice_id: Mapped[str] = mapped_column(primary_key=True)
    exact_amount: Mapped[str]
    """CNY as a fraction such as `200/3`, positive."""


class MaintenanceWindow(Base):
    """A planned time without service for a whole cluster (C12); the platform's own, readable by every tenant."""

    __tablename__ = "maintenance_window"
    __table_args__ = (
        Index(
            "uq_maintenance_window_place_in_month",
            "cluster",
            "month",
            "place_in_month",
            unique=True,
            postgresql_where=text("state <> 'cancelled'"),
        ),
        Index(None, "begins_at"),
    )

    window_id: Mapped[str] = mapped_column(primary_key=True)
    cluster: Mapped[str]
    begins_at: Mapped[datetime]
    ends_at: Mapped[datetime]
    """As scheduled; never changed by what really happened."""
    month: Mapped[date]
    """First day of the local month that it counts in."""
    place_in_month: Mapped[int]
    """1, 2 …: with the unique index it keeps two callers at once from announcing one window too many."""
    announced_at: Mapped[datetime]
    """Of the schedule as it is now: a move announces anew."""
    announced_by: Mapped[str]
    note: Mapped[str]
    """What is to be done, for tenants to read."""
    nodes: Mapped[list[str]] = mapped_column(ARRAY(Text))
    """The names of the nodes that are drained for it one after another; empty: people see to everything themselves."""
    state: Mapped[str]
    """`announced`, `moved` (announced anew for another time), `cancelled` or `done`."""
    ended_at: Mapped[datetime | None]
    """When it really ended."""
    overrun_noted_at: Mapped[datetime | None]
    """When an alarm was last raised because nobody has closed it; only of a window without nodes."""
