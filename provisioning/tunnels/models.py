"""Tables of the tunnels: gateways, address pools, the seats' accounts, and the counters that gateways have read."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from infra.kit.database import Base


class TunnelGateway(Base):
    """A host where the seats' WireGuard tunnels end; global."""

    __tablename__ = "tunnel_gateway"

    tunnel_gateway_id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    endpoint_host: Mapped[str]
    endpoint_port: Mapped[int]
    secret_digest: Mapped[str]
    instance_digest: Mapped[str | None]
    """Of the installation on the host that used the credential first: nobody else can use it (None: nobody yet)."""
    public_key: Mapped[str | None]
    """Of its interface, as it reports it; the private key never leaves the host."""
    created_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]
    last_seen_at: Mapped[datetime | None]
    applied_state: Mapped[str | None]
    """The fingerprint of the peers and rules that it has applied last."""
    applied_at: Mapped[datetime | None]


class TunnelPool(Base):
    """A tenant's addresses and the gateway that all of them are behind; its row lock orders their assignment."""

    __tablename__ = "tunnel_pool"

    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    tunnel_gateway_id: Mapped[str | None] = mapped_column(index=True)
    """None: there was no gateway yet."""
    created_at: Mapped[datetime]


class TunnelNetwork(Base):
    """A network of a tenant's pool."""

    __tablename__ = "tunnel_network"

    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    network: Mapped[str] = mapped_column(primary_key=True)
    """Such as `10.64.4.0/22`."""
    created_at: Mapped[datetime]


class TunnelBlock(Base):
    """Which tenant a block of 256 addresses belongs to; global, because no two tenants may share one."""

    __tablename__ = "tunnel_block"

    block: Mapped[str] = mapped_column(primary_key=True)
    """Such as `10.64.4.0/24`."""
    tenant_id: Mapped[str] = mapped_column(index=True)


class TunnelAccount(Base):
    """A seat's WireGuard account (clause C20)."""

    __tablename__ = "tunnel_account"
    __table_args__ = (UniqueConstraint("tenant_id", "address"),)

    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    seat_id: Mapped[str] = mapped_column(primary_key=True)
    address: Mapped[str | None]
    """None once the seat is closed: somebody else may have it."""
    public_key: Mapped[str | None]
    """None until a key was handed out or supplied."""
    key_origin: Mapped[str | None]
    """`made` by us for a hand-out, or `supplied` by the tenant."""
    key_changed_at: Mapped[datetime | None]
    last_handshake_at: Mapped[datetime | None]
    created_at: Mapped[datetime]


class TunnelKey(Base):
    """Every public key that a seat has or had; global, because none may come a second time."""

    __tablename__ = "tunnel_key"

    public_key: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str] = mapped_column(index=True)
    seat_id: Mapped[str]
    registered_at: Mapped[datetime]


class TunnelCounter(Base):
    """The highest counters that a gateway has reported of a peer in one life of it, bytes.

    A life begins when the peer is put on an interface, with counters of 0, and ends when it is taken off; the gateway
    names each by itself. Within a life counters only grow, so a report that comes twice or late adds nothing.
    """

    __tablename__ = "tunnel_counter"
    __table_args__ = (Index(None, "tenant_id", "seat_id"),)

    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    tunnel_gateway_id: Mapped[str] = mapped_column(primary_key=True)
    public_key: Mapped[str] = mapped_column(primary_key=True)
    life: Mapped[str] = mapped_column(primary_key=True)
    seat_id: Mapped[str]
    received: Mapped[int] = mapped_column(BigInteger)
    sent: Mapped[int] = mapped_column(BigInteger)
    read_at: Mapped[datetime]
