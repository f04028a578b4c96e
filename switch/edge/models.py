"""The table of SIP edges."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Mapped, mapped_column

from infra.kit.database import Base


class SipEdge(Base):
    """A Kamailio that phones reach instead of the nodes; it sends each tenant's requests to its serving node."""

    __tablename__ = "sip_edge"

    edge_id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    host: Mapped[str]
    """The name or address that phones are told."""
    sip_port: Mapped[int]
    """UDP and TCP."""
    sip_tls_port: Mapped[int | None]
    created_at: Mapped[datetime]
