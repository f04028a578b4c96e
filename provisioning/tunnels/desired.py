"""What a gateway should let through now: asked of the tables each time, so that it follows every commit.

A seat's tunnel is up exactly while its phone could register: tenant active, SIP account open (switch/admission.py). So
whatever suspends a tenant or a seat closes the tunnel with the same commit, and nothing has to be remembered here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import Function, Numeric, Select, cast, func, literal, select
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit.http import View
from provisioning.tunnels import edge
from provisioning.tunnels.edge import EdgeView
from provisioning.tunnels.models import TunnelAccount, TunnelGateway, TunnelPool
from switch.models import SipAccount
from tenancy.models import Tenant


class PeerView(View):
    """A seat that may come in."""

    public_key: str
    address: str


@dataclass(frozen=True, slots=True)
class Desired:
    """Peers and edge, and the fingerprint that names them."""

    state: str
    peers: list[PeerView]
    edge: list[EdgeView]


async def fingerprint(session: AsyncSession, tunnel_gateway_id: str) -> str:
    """Names what `load` would give, without reading the peers one by one; 5,000 take some ten milliseconds.

    A sum over what is committed rather than a counter: no order of commits can hide a change from it.
    """
    query = _peers(tunnel_gateway_id).with_only_columns(func.count(), _digests())
    count, total = (await session.execute(query)).one()
    return _state(count, total or 0, await edge.servers(session))


async def load(session: AsyncSession, tunnel_gateway_id: str) -> Desired:
    """Everything that a gateway has to apply.

    Peers and their fingerprint come from one statement: a commit between two of them could give a gateway old peers
    under a new name, and it would never ask for the new ones.
    """
    query = _peers(tunnel_gateway_id).order_by(TunnelAccount.public_key)
    rows = (await session.execute(query.add_columns(func.count().over(), _digests().over()))).all()
    servers = await edge.servers(session)
    count, total = (rows[0][2], rows[0][3]) if rows else (0, 0)
    return Desired(
        state=_state(count, total, servers),
        peers=[PeerView(public_key=key, address=address) for key, address, *_ in rows if key and address],
        edge=servers,
    )


def _digests() -> Function[Any]:
    text = TunnelAccount.public_key + " " + TunnelAccount.address
    return func.sum(cast(func.hashtextextended(text, literal(0)), Numeric))


def _state(count: int, total: object, servers: Sequence[EdgeView]) -> str:
    return hashlib.sha256(f"{count} {total} ".encode() + msgspec.json.encode(servers)).hexdigest()


def _peers(tunnel_gateway_id: str) -> Select[str | None, str | None]:
    return (
        select(TunnelAccount.public_key, TunnelAccount.address)
        .join(TunnelPool, TunnelPool.tenant_id == TunnelAccount.tenant_id)
        .join(Tenant, Tenant.tenant_id == TunnelAccount.tenant_id)
        .join(
            SipAccount,
            (SipAccount.tenant_id == TunnelAccount.tenant_id) & (SipAccount.seat_id == TunnelAccount.seat_id),
        )
        .where(
            TunnelPool.tunnel_gateway_id == tunnel_gateway_id,
            TunnelAccount.public_key.is_not(None),
            TunnelAccount.address.is_not(None),
            Tenant.standing == "active",
            SipAccount.is_open,
        )
    )


async def is_let_in(session: AsyncSession, account: TunnelAccount) -> bool:
    """Whether the gateway of this seat is told to let it in; one whose credential was revoked is told nothing."""
    pool = await session.get(TunnelPool, account.tenant_id)
    if pool is None or pool.tunnel_gateway_id is None:
        return False
    gateway = await session.get(TunnelGateway, pool.tunnel_gateway_id)
    if gateway is None or gateway.revoked_at is not None:
        return False
    query = _peers(pool.tunnel_gateway_id).where(
        TunnelAccount.tenant_id == account.tenant_id, TunnelAccount.seat_id == account.seat_id
    )
    return (await session.execute(query)).first() is not None
