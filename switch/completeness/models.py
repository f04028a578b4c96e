"""Tables of completeness: boots of nodes, the sessions they began hour by hour, legs that were seen, sign-offs."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Index, text
from sqlalchemy.orm import Mapped, mapped_column

from infra.kit.database import Base


class NodeBoot(Base):
    """One run of a node's FreeSWITCH, from its start to its end; it numbers its sessions from 1 on."""

    __tablename__ = "node_boot"
    __table_args__ = (Index(None, "node"),)

    boot_id: Mapped[str] = mapped_column(primary_key=True)
    """FreeSWITCH's core-uuid."""
    node: Mapped[str]
    first_seen_at: Mapped[datetime]
    last_number: Mapped[int]
    """The highest session number that is known to have begun."""
    is_watched: Mapped[bool]
    """False: no supervisor ever saw this boot; it is known from call records alone."""
    ended_at: Mapped[datetime | None]
    """When the node was first seen with another boot."""
    counted_at: Mapped[datetime | None] = mapped_column(default=None)
    """When its sessions were last counted: what began before is known. A node may be heard and not be counted."""


class StartedHour(Base):
    """The sessions that one boot began within an hour, as numbers, and what has become of their records."""

    __tablename__ = "started_hour"
    __table_args__ = (
        Index(None, "hour", "node"),
        Index("ix_started_hour_unfinished", "hour", postgresql_where=text("state <> 'complete'")),
    )

    boot_id: Mapped[str] = mapped_column(primary_key=True)
    hour: Mapped[datetime] = mapped_column(primary_key=True)
    """The moment the hour begins."""
    node: Mapped[str]
    first_number: Mapped[int]
    last_number: Mapped[int]
    observed_from: Mapped[datetime]
    """When the node had been counted before: earlier than the hour, the sessions may have begun as early as this."""
    accepted: Mapped[int]
    explained: Mapped[int]
    """Records that were set aside, sessions that FreeSWITCH gave up before they were calls, and the canary's calls."""
    running: Mapped[int]
    state: Mapped[str]
    """`counting`, `complete` or `incomplete`."""
    signed_number: Mapped[int | None] = mapped_column(default=None)
    """The last number when a person signed; None: nobody has."""
    signed: Mapped[int] = mapped_column(default=0)
    """How many of the sessions up to that number are without a record by now."""
    counted_at: Mapped[datetime | None]


class SeenLeg(Base):
    """A leg that a supervisor saw and whose record has not come: all that is known should it never come."""

    __tablename__ = "seen_leg"
    __table_args__ = (Index(None, "boot_id", "session_number"),)

    boot_id: Mapped[str] = mapped_column(primary_key=True)
    leg_id: Mapped[str] = mapped_column(primary_key=True)
    session_number: Mapped[int]
    owner_id: Mapped[str | None]
    """The tenant, where the leg told; not a key, since a leg of nobody is kept too."""
    direction: Mapped[str]
    """As FreeSWITCH has it: `inbound` is towards the node."""
    caller: Mapped[str]
    destination: Mapped[str]
    started_at: Mapped[datetime]
    answered_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    is_void: Mapped[bool]
    """Nobody's call. FreeSWITCH took a number for this leg and gave it up before it was one, as for a phone that is not
    registered: no record will come. Or it was the canary's, whose records are not kept. Such a row explains the number,
    and stays until the hour is complete."""


class HourSignOff(Base):
    """A person's word that the month may close although records of this node and hour are missing."""

    __tablename__ = "hour_sign_off"

    node: Mapped[str] = mapped_column(primary_key=True)
    hour: Mapped[datetime] = mapped_column(primary_key=True)
    missing: Mapped[int]
    """How many were missing then. Which they are stands in the hour itself: `signed_number`."""
    reason: Mapped[str]
    signed_by: Mapped[str]
    signed_at: Mapped[datetime]
