"""Tables of what was observed, and of how windows go through their nodes."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Index, text
from sqlalchemy.orm import Mapped, mapped_column

from infra.kit.database import Base


class Observation(Base):
    """A condition that keeps a tenant's seats from working, as it was seen; an open one stands behind faults."""

    __tablename__ = "observation"
    __table_args__ = (
        Index(None, "observation_id"),
        Index(
            "uq_observation_one_at_a_time",
            "tenant_id",
            "kind",
            "subject",
            unique=True,
            postgresql_where=text("state <> 'ended'"),
        ),
    )

    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    observation_id: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str]
    """`node_down`, `gateways_down`, `registrations_lost`, `canary_failing` or `tunnel_gateway_down`."""
    subject: Mapped[str]
    """The node, or the VPN gateway, that it was seen at."""
    cause: Mapped[str | None]
    """`operator`, or None where a person has to decide whose it was."""
    extensions: Mapped[list[Any] | None]
    """The extensions of the seats concerned; None: everything that the tenant has open."""
    state: Mapped[str]
    """`suspected` (not long enough to be a fault), `open` or `ended`."""
    note: Mapped[str]
    """What was seen, in words."""
    began_at: Mapped[datetime]
    seen_at: Mapped[datetime]
    """When it was last looked after; what goes on is seen at every look and looked after only now and then."""
    cleared_at: Mapped[datetime | None]
    """Since when it has not been seen any more; None while it is."""
    ended_at: Mapped[datetime | None]


class RegistrationWatch(Base):
    """The phones of one tenant that were registered at the last look, and those that vanished without a goodbye.

    The row of the platform itself has none and tells when the last look was.
    """

    __tablename__ = "registration_watch"

    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    seen: Mapped[dict[str, Any]]
    """Extension to its node and the end of its registration in seconds since 1970."""
    lost: Mapped[dict[str, Any]]
    """Extension to its node and when it was lost, in seconds since 1970."""
    looked_at: Mapped[datetime]


class CanaryWatch(Base):
    """What the last regular tries at one node showed."""

    __tablename__ = "canary_watch"

    node: Mapped[str] = mapped_column(primary_key=True)
    last_tenant_id: Mapped[str]
    """The next look begins with the tenant after it."""
    failing: Mapped[dict[str, Any]]
    """Tenant to since when its tries have failed (`since`, ISO 8601) and what did not work at the last (`what`)."""
    looked_at: Mapped[datetime]


class WindowNode(Base):
    """Where one node stands within a maintenance window, so that any worker can carry on."""

    __tablename__ = "window_node"
    __table_args__ = (Index("ix_window_node_on_the_way", "window_id", postgresql_where=text("settled_at IS NULL")),)

    window_id: Mapped[str] = mapped_column(primary_key=True)
    node: Mapped[str] = mapped_column(primary_key=True)
    place: Mapped[int]
    """1, 2 …: the order of their turns."""
    state: Mapped[str]
    """`waiting`, `draining`, `out`, `returning`, `back` or `skipped` (provisioning/rules/turns.py)."""
    is_done: Mapped[bool]
    """Whether a person said that the work on it is done."""
    turn_began_at: Mapped[datetime | None]
    turn_ends_at: Mapped[datetime | None]
    settled_at: Mapped[datetime | None]
    """When it was back in service or skipped."""
    note: Mapped[str | None]
    """Why it was skipped, or what holds it up."""
