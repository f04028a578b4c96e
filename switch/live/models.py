"""Tables of the live view: what each node has now. Unlogged: after a crash of the database they are filled anew."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Index
from sqlalchemy.orm import Mapped, mapped_column

from infra.kit.database import Base

UNLOGGED = ["UNLOGGED"]


class LiveLeg(Base):
    """A leg of a call that runs now."""

    __tablename__ = "live_leg"
    __table_args__ = (
        Index(None, "node"),
        Index(None, "leg_id"),
        {"prefixes": UNLOGGED},
    )

    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    node: Mapped[str] = mapped_column(primary_key=True)
    leg_id: Mapped[str] = mapped_column(primary_key=True)
    """FreeSWITCH's uuid of the channel, as in its call record later."""
    leg: Mapped[str]
    """`caller`, `seat` or `gateway`; empty until the dialplan has said."""
    direction: Mapped[str]
    """`outbound`, `inbound`, `internal` or `emergency`; empty until the dialplan has said."""
    state: Mapped[str]
    """`ringing`, `answered` or `held`."""
    other_leg_id: Mapped[str | None]
    """The leg it is connected with now."""
    seat_id: Mapped[str | None]
    caller: Mapped[str]
    destination: Mapped[str]
    gateway: Mapped[str | None]
    started_at: Mapped[datetime]
    answered_at: Mapped[datetime | None]
    changed_at: Mapped[datetime]


class LiveRegistration(Base):
    """A phone that is registered now."""

    __tablename__ = "live_registration"
    __table_args__ = (
        Index(None, "node"),
        {"prefixes": UNLOGGED},
    )

    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    node: Mapped[str] = mapped_column(primary_key=True)
    username: Mapped[str] = mapped_column(primary_key=True)
    call_id: Mapped[str] = mapped_column(primary_key=True)
    """The Call-ID of its REGISTER requests, by which mod_sofia keeps it."""
    contact: Mapped[str]
    transport: Mapped[str]
    network_ip: Mapped[str]
    network_port: Mapped[int]
    user_agent: Mapped[str]
    registered_at: Mapped[datetime]
    """When it was first seen."""
    expires_at: Mapped[datetime]
    changed_at: Mapped[datetime]


class LiveNode(Base):
    """How well one node is seen: a revision that grows with every change, and what had to be put right."""

    __tablename__ = "live_node"
    __table_args__ = ({"prefixes": UNLOGGED},)

    node: Mapped[str] = mapped_column(primary_key=True)
    revision: Mapped[int]
    observed_at: Mapped[datetime]
    """When the supervisor last wrote."""
    compared_at: Mapped[datetime | None]
    """When the view was last compared with the node itself."""
    legs: Mapped[int]
    registrations: Mapped[int]
    unassigned: Mapped[int]
    """Legs and registrations that belong to no known tenant, and are therefore shown to nobody."""
    corrections: Mapped[int]
    """What comparisons had to add or take away since the supervisor began."""
    unknown_events: Mapped[int]
    """Events about legs that had not been heard of."""
    dropped_events: Mapped[int]
    """Events that found a queue full; a comparison follows each time."""
    overflow: Mapped[int]
    """Legs and registrations beyond what is kept of one node."""
