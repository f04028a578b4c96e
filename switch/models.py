"""Tables of the switch room: nodes, gateways, numbers, placement, SIP accounts, call records."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from sqlalchemy import Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from infra.kit.database import Base


class Node(Base):
    """A FreeSWITCH node of the cluster."""

    __tablename__ = "node"

    node_id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    state: Mapped[str]
    """`joining` (never seen), `active`, `draining`, `dead` or `left`."""
    capacity_seats: Mapped[int]
    sip_host: Mapped[str]
    sip_port: Mapped[int]
    external_sip_port: Mapped[int]
    rtp_start_port: Mapped[int]
    rtp_end_port: Mapped[int]
    esl_host: Mapped[str]
    esl_port: Mapped[int]
    sealed_esl_password: Mapped[bytes]
    sealed_secret: Mapped[bytes]
    """The node's HTTP password, sealed so that `seatline node-config` can write it again."""
    secret_digest: Mapped[str]
    heartbeat_at: Mapped[datetime | None]
    version: Mapped[str | None]
    generation: Mapped[int]
    state_changed_at: Mapped[datetime]
    created_at: Mapped[datetime]
    supervisor: Mapped[str | None]
    """Who supervises this node now; the lease ends by itself at `supervised_until`."""
    supervised_until: Mapped[datetime | None]
    fencing: Mapped[int]
    """Grows with every change of supervisor; a write with an older value is refused."""


class Gateway(Base):
    """A carrier that calls leave by and arrive from."""

    __tablename__ = "gateway"

    gateway_id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    host: Mapped[str]
    port: Mapped[int]
    username: Mapped[str | None]
    sealed_password: Mapped[bytes | None]
    registers: Mapped[bool] = mapped_column(default=False)
    """Whether nodes sign in at the carrier with `username`."""
    sources: Mapped[list[Any]] = mapped_column(default=list)
    """Addresses or networks (CIDR) that it calls from; empty: `host`."""
    priority: Mapped[int]
    """The lowest number is tried first."""
    created_at: Mapped[datetime]


class PhoneNumber(Base):
    """A public number of a tenant; global, because a call from outside knows nothing but the number."""

    __tablename__ = "phone_number"

    number: Mapped[str] = mapped_column(primary_key=True)
    """E.164 without the plus sign."""
    tenant_id: Mapped[str] = mapped_column(index=True)
    extension: Mapped[str | None]
    """Where calls to this number ring; None: it is only shown as caller number."""
    is_caller_number: Mapped[bool]
    """Shown as the tenant's caller number on calls out."""
    created_at: Mapped[datetime]


class Placement(Base):
    """Where a tenant lives: its home node, its spare, and the one that serves it now."""

    __tablename__ = "placement"

    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    home_node: Mapped[str]
    spare_node: Mapped[str | None]
    serving_node: Mapped[str] = mapped_column(index=True)
    generation: Mapped[int]
    changed_at: Mapped[datetime]


class SipAccount(Base):
    """What a phone registers with. The password itself is nowhere: only MD5(user:domain:password)."""

    __tablename__ = "sip_account"
    __table_args__ = (UniqueConstraint("tenant_id", "username"), Index(None, "account_id"))

    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    account_id: Mapped[str] = mapped_column(primary_key=True)
    username: Mapped[str]
    """The extension, or `canary` for the account by which the system tests itself."""
    a1_hash: Mapped[str]
    kind: Mapped[str]
    """`seat` or `canary`."""
    seat_id: Mapped[str | None] = mapped_column(index=True)
    is_open: Mapped[bool]
    generation: Mapped[int]
    changed_at: Mapped[datetime]


class CallRecord(Base):
    """One leg of a call as its node reported it, stored once; partitioned by the month it was answered or begun."""

    __tablename__ = "call_record"
    __table_args__ = (
        Index(None, "tenant_id", "started_at", "leg_id"),
        Index(None, "started_at", "leg_id"),
        {"postgresql_partition_by": "RANGE (month)"},
    )

    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    month: Mapped[date] = mapped_column(primary_key=True)
    leg_id: Mapped[str] = mapped_column(primary_key=True)
    """FreeSWITCH's uuid of the channel."""
    node: Mapped[str]
    leg: Mapped[str]
    """`caller`, `seat` or `gateway`; the gateway leg bills."""
    direction: Mapped[str]
    """`outbound`, `inbound`, `internal` or `emergency`."""
    other_leg_id: Mapped[str | None]
    seat_id: Mapped[str | None]
    caller: Mapped[str]
    destination: Mapped[str]
    gateway: Mapped[str | None]
    started_at: Mapped[datetime]
    answered_at: Mapped[datetime | None]
    ended_at: Mapped[datetime]
    billable_milliseconds: Mapped[int]
    hangup_cause: Mapped[str]
    refusal: Mapped[str | None]
    received_at: Mapped[datetime]
    body: Mapped[bytes]
    """The record as it came, deflated (zlib)."""


class NewCall(Base):
    """Legs that bill and that the billing room has not read yet: a work list, emptied as they are rated."""

    __tablename__ = "new_call"

    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    month: Mapped[date] = mapped_column(primary_key=True)
    leg_id: Mapped[str] = mapped_column(primary_key=True)


class SetAsideRecord(Base):
    """A call record that could not be read or belongs to nobody, kept as it came."""

    __tablename__ = "set_aside_record"

    record_id: Mapped[str] = mapped_column(primary_key=True)
    body_digest: Mapped[str] = mapped_column(unique=True)
    """SHA-256, so that a repeated post is kept once."""
    node: Mapped[str]
    received_at: Mapped[datetime]
    times_received: Mapped[int]
    problem: Mapped[str]
    body: Mapped[bytes]
    resolved_at: Mapped[datetime | None]


class CanaryCheck(Base):
    """Whether a suspension or restoration took effect on one node, as tried by the system itself."""

    __tablename__ = "canary_check"
    __table_args__ = (Index(None, "check_id"),)

    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    check_id: Mapped[str] = mapped_column(primary_key=True)
    node: Mapped[str]
    generation: Mapped[int]
    expected: Mapped[str]
    """`refused` or `accepted`."""
    changed_at: Mapped[datetime]
    checked_at: Mapped[datetime]
    lookup: Mapped[str]
    registration: Mapped[str]
    seconds_to_effect: Mapped[float | None]
    """None: it had not taken effect when we gave up."""
    is_alarm: Mapped[bool]
