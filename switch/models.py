"""Tables of the switch room: nodes, gateways, numbers, placement, SIP accounts, call records."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Index, Numeric, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from infra.kit.database import Base


class Node(Base):
    """A FreeSWITCH node of the cluster."""

    __tablename__ = "node"

    node_id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    state: Mapped[str]
    """`joining` (never seen), `active`, `cut_off`, `draining`, `drained`, `dead` or `left`."""
    capacity_seats: Mapped[int]
    sip_host: Mapped[str]
    sip_port: Mapped[int]
    external_sip_port: Mapped[int]
    sip_tls_port: Mapped[int | None]
    """Where phones register over TLS; None: nowhere."""
    rtp_start_port: Mapped[int]
    rtp_end_port: Mapped[int]
    listen_host: Mapped[str | None]
    """What it binds where that is not `sip_host`, by which phones and carriers reach it (a network that translates
    addresses one to one).
    """
    max_sessions: Mapped[int]
    """Legs at once."""
    sessions_per_second: Mapped[int]
    rtp_timeout_seconds: Mapped[int]
    """A call without media for so long is ended; 0: never."""
    esl_host: Mapped[str]
    esl_port: Mapped[int]
    sealed_esl_password: Mapped[bytes]
    sealed_secret: Mapped[bytes]
    """The node's HTTP password, sealed so that `seatline node-config` can write it again."""
    secret_digest: Mapped[str]
    heartbeat_at: Mapped[datetime | None]
    answered_since: Mapped[datetime | None]
    """Since when it gets answers from the API without a gap; None: it gets none, or nobody knows."""
    answered_at: Mapped[datetime | None]
    """When it put the latest question that the API answered."""
    unanswered_since: Mapped[datetime | None]
    """Since when it gets no answers; None: it does, or nobody knows."""
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
    weight: Mapped[int]
    """Its share of the calls among gateways of the same priority."""
    prefixes: Mapped[list[Any]] = mapped_column(default=list)
    """Which numbers it takes (`+8610`, `955`, `*`); empty: all."""
    capacity_calls: Mapped[int | None]
    """Calls out at once from one node; None: no limit."""
    check_seconds: Mapped[int | None]
    """How often nodes ask it by OPTIONS whether it is there; None: never."""
    is_enabled: Mapped[bool]
    generation: Mapped[int]
    """Grows with every change that nodes must be told of."""
    created_at: Mapped[datetime]


class GatewayState(Base):
    """How one node sees a gateway; written by the node's supervisor."""

    __tablename__ = "gateway_state"

    node: Mapped[str] = mapped_column(primary_key=True)
    gateway_id: Mapped[str] = mapped_column(primary_key=True, index=True)
    generation: Mapped[int]
    """Which one of the gateway's generations the node was told."""
    is_up: Mapped[bool]
    registration: Mapped[str]
    """FreeSWITCH's word (`NOREG`, `REGED`, `FAIL_WAIT` ...)."""
    problem: Mapped[str | None]
    """What the carrier last said about a registration or check that failed."""
    changed_at: Mapped[datetime]
    checked_at: Mapped[datetime]


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
        Index(
            "ix_call_record_refused", "tenant_id", "started_at", "leg_id", postgresql_where=text("refusal IS NOT NULL")
        ),
        Index("ix_call_record_refused_by_time", "started_at", "leg_id", postgresql_where=text("refusal IS NOT NULL")),
        Index("ix_call_record_session", "boot_id", "session_number", postgresql_where=text("boot_id IS NOT NULL")),
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
    boot_id: Mapped[str | None]
    """FreeSWITCH's core-uuid: which run of the node had this leg."""
    session_number: Mapped[int | None]
    """The number of the leg within that run, from 1 on without a gap."""
    codec: Mapped[str | None]
    """Of what the node heard from this leg."""
    mean_opinion_score: Mapped[Decimal | None] = mapped_column(Numeric(3, 2))
    """FreeSWITCH's estimate, 1 to 4.5; None where it heard nothing. Quality columns: see switch/call_quality.py."""
    quality_percent: Mapped[Decimal | None] = mapped_column(Numeric(5, 2))
    jitter_variance: Mapped[Decimal | None] = mapped_column(Numeric(12, 2))
    loss_percent: Mapped[Decimal | None] = mapped_column(Numeric(5, 2))
    packets_received: Mapped[int | None]
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
    __table_args__ = (
        Index("ix_set_aside_record_session", "boot_id", "session_number", postgresql_where=text("boot_id IS NOT NULL")),
    )

    record_id: Mapped[str] = mapped_column(primary_key=True)
    body_digest: Mapped[str] = mapped_column(unique=True)
    """SHA-256, so that a repeated post is kept once."""
    node: Mapped[str]
    received_at: Mapped[datetime]
    times_received: Mapped[int]
    problem: Mapped[str]
    body: Mapped[bytes]
    resolved_at: Mapped[datetime | None]
    boot_id: Mapped[str | None]
    session_number: Mapped[int | None]
    """Which leg it tells of, where that much could be read."""
    dismissed_reason: Mapped[str | None]
    """Why a person has put it away unstored; `resolved_at` says when."""
    ahead_seconds: Mapped[int | None]
    """How far it, or a copy that came sooner, was ahead of the present in which it came; None: it was not."""
    corrected_seconds: Mapped[int | None]
    """How much earlier than it says its leg is kept, as a person has corrected its node's clock."""


class StrayCall(Base):
    """Calls that were refused before they were any tenant's, as to a number that nobody has: counted, not kept."""

    __tablename__ = "stray_call"
    __table_args__ = (UniqueConstraint("node", "hour", "reason", "number"), Index(None, "last_at"))

    stray_id: Mapped[str] = mapped_column(primary_key=True)
    node: Mapped[str]
    hour: Mapped[datetime]
    """The moment the hour begins in which they began."""
    reason: Mapped[str]
    number: Mapped[str]
    """Where they were meant to go; empty for the rest of an hour with too many different numbers."""
    times: Mapped[int]
    first_at: Mapped[datetime]
    last_at: Mapped[datetime]


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


class PlatformCallPolicy(Base):
    """What every tenant's calls may do unless its own policy says otherwise; one row, written by the operator."""

    __tablename__ = "platform_call_policy"

    name: Mapped[str] = mapped_column(primary_key=True)
    """Always `platform`."""
    calls_per_tenant: Mapped[int | None]
    calls_per_seat: Mapped[int]
    calls_per_second: Mapped[int]
    countries: Mapped[list[Any]]
    barred_prefixes: Mapped[list[Any]]
    premium_prefixes: Mapped[list[Any]]
    premium_allowed: Mapped[bool]
    short_codes_allowed: Mapped[bool]
    changed_at: Mapped[datetime]


class MediaPolicy(Base):
    """Whether a tenant's calls must be encrypted between phone and node; no row: where the phone offers it."""

    __tablename__ = "media_policy"

    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    encryption: Mapped[str]
    """`offered` or `demanded`."""
    changed_at: Mapped[datetime]


class TenantCallPolicy(Base):
    """What one tenant's calls may do; None where the platform's policy counts."""

    __tablename__ = "call_policy"

    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    calls_per_tenant: Mapped[int | None]
    calls_per_seat: Mapped[int | None]
    calls_per_second: Mapped[int | None]
    countries: Mapped[list[Any] | None] = mapped_column(JSONB(none_as_null=True))
    barred_prefixes: Mapped[list[Any]]
    """Barred besides the platform's."""
    premium_allowed: Mapped[bool | None]
    short_codes_allowed: Mapped[bool | None]
    forwarding: Mapped[list[Any]]
    """E.164 digits that calls from outside may be sent on to."""
    cap_reached_on: Mapped[date | None]
    """The local day for which the billing room has found the spend cap used up."""
    changed_at: Mapped[datetime]
