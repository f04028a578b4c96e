"""Writes what has changed at a node, in batches, and finds what the tables have lost or kept too long."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import delete, select, tuple_
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit import clock
from switch.live.legs import Leg, LegChanges
from switch.live.models import LiveLeg, LiveNode, LiveRegistration
from switch.live.registrations import Registration, RegistrationChanges
from tenancy.models import SipDomain

MAX_CHANGES_A_WRITE = 1_000
"""Of legs and of registrations each; more follow in the next write."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """How well a node is seen now."""

    legs: int
    registrations: int
    unassigned: int
    corrections: int
    unknown_events: int
    dropped_events: int
    overflow: int
    compared_at: datetime | None


async def write(
    session: AsyncSession,
    node: str,
    legs: LegChanges,
    registrations: RegistrationChanges,
    figures: Figures,
    *,
    is_changed: bool,
) -> int:
    """Write one batch; returns how many registrations belong to no tenant. What is gone goes first.

    `is_changed`: whether the streams have to look.
    """
    now = clock.now()
    if legs.gone:
        key = tuple_(LiveLeg.tenant_id, LiveLeg.leg_id)
        await session.execute(delete(LiveLeg).where(LiveLeg.node == node, key.in_(legs.gone)))
    await _write_legs(session, node, legs.current, now)
    unassigned = await _write_registrations(session, node, registrations, now)
    await _write_figures(session, node, figures, now, is_changed=is_changed)
    return unassigned


async def written_legs(session: AsyncSession, node: str) -> dict[str, str]:
    """Tenant by leg id of what the table says is at a node."""
    query = select(LiveLeg.leg_id, LiveLeg.tenant_id).where(LiveLeg.node == node)
    return {str(leg_id): str(tenant_id) for leg_id, tenant_id in await session.execute(query)}


async def answered_legs(session: AsyncSession, tenant_id: str, leg_ids: Iterable[str]) -> dict[str, datetime]:
    """When those of a tenant's legs were answered that are known to have been, by leg; by the clocks of their nodes."""
    query = select(LiveLeg.leg_id, LiveLeg.answered_at).where(
        LiveLeg.tenant_id == tenant_id, LiveLeg.leg_id.in_(list(leg_ids))
    )
    return {leg_id: at for leg_id, at in await session.execute(query) if at is not None}


async def written_registrations(session: AsyncSession, node: str) -> dict[tuple[str, str], tuple[str, str, str]]:
    """Primary key without the node, by key, of the registrations that the table says are at a node."""
    query = (
        select(LiveRegistration.tenant_id, LiveRegistration.username, LiveRegistration.call_id, SipDomain.domain)
        .outerjoin(SipDomain, SipDomain.tenant_id == LiveRegistration.tenant_id)
        .where(LiveRegistration.node == node)
    )
    return {
        (f"{username}@{domain}", str(call_id)): (str(tenant_id), str(username), str(call_id))
        for tenant_id, username, call_id, domain in await session.execute(query)
    }


async def delete_legs(session: AsyncSession, node: str, leg_ids: Iterable[str]) -> None:
    """Take away rows that no leg stands behind."""
    await session.execute(delete(LiveLeg).where(LiveLeg.node == node, LiveLeg.leg_id.in_(list(leg_ids))))


async def delete_registrations(session: AsyncSession, node: str, keys: Iterable[tuple[str, str, str]]) -> None:
    """Take away rows that no registration stands behind; keys as `written_registrations` gives them."""
    key = tuple_(LiveRegistration.tenant_id, LiveRegistration.username, LiveRegistration.call_id)
    await session.execute(delete(LiveRegistration).where(LiveRegistration.node == node, key.in_(list(keys))))


async def forget_node(session: AsyncSession, node: str) -> None:
    """Take away everything of a node that nobody looks after any more."""
    for table in (LiveLeg, LiveRegistration, LiveNode):
        await session.execute(delete(table).where(table.node == node))


async def _write_legs(session: AsyncSession, node: str, legs: Sequence[Leg], now: datetime) -> None:
    if not legs:
        return
    statement = insert(LiveLeg).values([_leg_row(node, leg, now) for leg in legs])
    columns = {name: statement.excluded[name] for name in _leg_row(node, legs[0], now)}
    await session.execute(statement.on_conflict_do_update(index_elements=["tenant_id", "node", "leg_id"], set_=columns))


def _leg_row(node: str, leg: Leg, now: datetime) -> dict[str, Any]:
    return {
        "tenant_id": leg.tenant_id,
        "node": node,
        "leg_id": leg.leg_id,
        "leg": leg.leg,
        "direction": leg.direction,
        "state": leg.state,
        "other_leg_id": leg.other_leg_id,
        "seat_id": leg.seat_id,
        "caller": leg.caller,
        "destination": leg.destination,
        "gateway": leg.gateway,
        "started_at": leg.started_at,
        "answered_at": leg.answered_at,
        "changed_at": now,
    }


async def _write_registrations(session: AsyncSession, node: str, changes: RegistrationChanges, now: datetime) -> int:
    domains = {each.domain for each in (*changes.gone, *changes.current)}
    if not domains:
        return 0
    query = select(SipDomain.domain, SipDomain.tenant_id).where(SipDomain.domain.in_(domains))
    tenants = {str(domain): str(tenant_id) for domain, tenant_id in await session.execute(query)}
    gone = [(tenants[each.domain], each.username, each.call_id) for each in changes.gone if each.domain in tenants]
    if gone:
        await delete_registrations(session, node, gone)
    rows = [
        _registration_row(node, tenants[each.domain], each, now) for each in changes.current if each.domain in tenants
    ]
    if rows:
        statement = insert(LiveRegistration).values(rows)
        kept = {"tenant_id", "node", "username", "call_id", "registered_at"}
        columns = {name: statement.excluded[name] for name in rows[0] if name not in kept}
        keys = ["tenant_id", "node", "username", "call_id"]
        await session.execute(statement.on_conflict_do_update(index_elements=keys, set_=columns))
    return len(changes.current) - len(rows)


def _registration_row(node: str, tenant_id: str, registration: Registration, now: datetime) -> dict[str, Any]:
    return {
        "tenant_id": tenant_id,
        "node": node,
        "username": registration.username,
        "call_id": registration.call_id,
        "contact": registration.contact,
        "transport": registration.transport,
        "network_ip": registration.network_ip,
        "network_port": registration.network_port,
        "user_agent": registration.user_agent,
        "registered_at": now,
        "expires_at": registration.expires_at,
        "changed_at": now,
    }


async def _write_figures(
    session: AsyncSession, node: str, figures: Figures, now: datetime, *, is_changed: bool
) -> None:
    values: dict[str, Any] = {
        "observed_at": now,
        "compared_at": figures.compared_at,
        "legs": figures.legs,
        "registrations": figures.registrations,
        "unassigned": figures.unassigned,
        "corrections": figures.corrections,
        "unknown_events": figures.unknown_events,
        "dropped_events": figures.dropped_events,
        "overflow": figures.overflow,
    }
    statement = insert(LiveNode).values(node=node, revision=1, **values)
    revision = LiveNode.revision + (1 if is_changed else 0)
    await session.execute(
        statement.on_conflict_do_update(index_elements=["node"], set_={**values, "revision": revision})
    )
