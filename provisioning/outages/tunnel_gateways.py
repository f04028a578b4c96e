"""VPN gateways that have fallen silent, and the tenants whose seats have their tunnels there."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime, timedelta
from itertools import groupby

from sqlalchemy import and_, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from provisioning.models import Seat
from provisioning.outages.conditions import Condition
from provisioning.rules.observed_faults import Kind
from provisioning.tunnels.gateways import SILENT_AFTER_SECONDS
from provisioning.tunnels.models import TunnelAccount, TunnelGateway, TunnelPool
from switch.live.models import LiveRegistration
from tenancy.models import Tenant


async def tunnel_gateways_down(session: AsyncSession, now: datetime) -> list[Condition]:
    """Tenants with keys at a gateway that is silent, since it was last heard of, or revoked; for the seats with keys.

    A gateway's program that is dead leaves the tunnels of its host as they were, and from afar looks like a host that
    is dead. Where a phone of these seats is registered the tunnels may carry, so that a person has to decide. One that
    was revoked has closed them all.
    """
    silent = TunnelGateway.last_seen_at < now - timedelta(seconds=SILENT_AFTER_SECONDS)
    query = (
        select(
            Tenant.tenant_id,
            TunnelGateway.name,
            func.least(TunnelGateway.last_seen_at, TunnelGateway.revoked_at),
            TunnelGateway.revoked_at,
            Seat.extension,
            TunnelAccount.key_changed_at,
        )
        .join_from(TunnelGateway, TunnelPool, TunnelPool.tunnel_gateway_id == TunnelGateway.tunnel_gateway_id)
        .join(Tenant, Tenant.tenant_id == TunnelPool.tenant_id)
        .join(TunnelAccount, TunnelAccount.tenant_id == TunnelPool.tenant_id)
        .join(Seat, and_(Seat.tenant_id == TunnelAccount.tenant_id, Seat.seat_id == TunnelAccount.seat_id))
        .where(
            TunnelGateway.last_seen_at.is_not(None),
            silent | TunnelGateway.revoked_at.is_not(None),
            Tenant.standing == "active",
            TunnelAccount.public_key.is_not(None),
            Seat.state == "open",
            Seat.extension.is_not(None),
        )
        .order_by(Tenant.tenant_id, Seat.extension)
    )
    rows = (await session.execute(query)).all()
    registered = await _registered(session, {row[0] for row in rows}, now)
    found: list[Condition] = []
    for (tenant_id, name), of_tenant in groupby(rows, key=lambda row: (row[0], row[1])):
        seats = list(of_tenant)
        since, revoked_at = seats[0][2], seats[0][3]
        extensions = tuple(str(row[4]) for row in seats)
        keys_since = [changed_at for *_, changed_at in seats if changed_at is not None]
        carries = revoked_at is None and not registered[tenant_id].isdisjoint(extensions)
        found.append(
            Condition(
                tenant_id=tenant_id,
                kind=Kind.TUNNEL_GATEWAY_DOWN,
                subject=name,
                began_at=min(now, max(since, min(keys_since, default=since))),
                cause=None if carries else "operator",
                note=_note(name, revoked=revoked_at is not None, carries=carries),
                extensions=extensions,
            )
        )
    return found


async def _registered(session: AsyncSession, tenant_ids: set[str], now: datetime) -> defaultdict[str, set[str]]:
    """The extensions of these tenants whose phones are registered."""
    there: defaultdict[str, set[str]] = defaultdict(set)
    if tenant_ids:
        query = select(LiveRegistration.tenant_id, LiveRegistration.username).where(
            LiveRegistration.tenant_id.in_(sorted(tenant_ids)), LiveRegistration.expires_at > now
        )
        for tenant_id, username in await session.execute(query):
            there[tenant_id].add(username)
    return there


def _note(name: str, *, revoked: bool, carries: bool) -> str:
    if revoked:
        return f"The credential of the VPN gateway {name} was revoked, and no other has the tunnels of its seats."
    if carries:
        return f"The VPN gateway {name} fell silent; phones of its seats are registered, so that tunnels may carry."
    return f"The VPN gateway {name} fell silent, and no phone of the seats with tunnels there is registered."
