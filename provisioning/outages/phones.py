"""Looks whether many phones of a tenant vanish at once, from the live view's registrations."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit.database import PLATFORM
from provisioning.outages.conditions import Condition
from provisioning.outages.models import Observation, RegistrationWatch
from provisioning.rules import observed_faults as rules
from provisioning.rules.observed_faults import Kind, LostPhone, Phone, Phones
from switch.completeness.models import NodeBoot
from switch.live.models import LiveRegistration
from switch.models import Node
from tenancy.models import Tenant

WRITES_AT_ONCE = 500


async def registrations_lost(session: AsyncSession, now: datetime) -> list[Condition]:
    """Tenants many of whose phones vanished at once; remembers what was seen for the next look.

    The live view is what the supervisors write: one that stands still loses nobody, and after a crash of the database,
    when it is empty, everybody has gone before the end of his registration, which is a goodbye. After a time in which
    nobody looked it only takes stock. Phones of a tenant that is not active are forgotten.
    """
    there = await _there(session)
    watches = {row.tenant_id: row for row in (await session.execute(select(RegistrationWatch))).scalars()}
    looked_at = watches.pop(PLATFORM).looked_at if PLATFORM in watches else None
    active = set((await session.execute(select(Tenant.tenant_id).where(Tenant.standing == "active"))).scalars())
    # The live view hears of a start a little later than the node's count of boots, so this reaches back a little.
    broken = await _broken_nodes(session, (looked_at or now) - rules.AT_ONCE)
    open_losses = await _open_losses(session)
    is_stock = rules.has_looked_away(looked_at, now)
    looks: dict[str, Phones] = {}
    for tenant_id in sorted((watches.keys() | there.keys()) & active):
        before = _read(watches[tenant_id]) if tenant_id in watches else Phones()
        registered = there.get(tenant_id, {})
        if is_stock:
            looks[tenant_id] = rules.stock_of_phones(before, registered, now=now)
        else:
            looks[tenant_id] = rules.look_at_phones(before, registered, broken_nodes=broken, now=now)
    await _forget(session, watches.keys() - active)
    await _write(session, looks, watches, now)
    fresh = {tenant_id: rules.lost_at_once(phones, now=now) for tenant_id, phones in looks.items()}
    node_of = {tenant_id: _mostly(lost) for tenant_id, lost in fresh.items() if lost}
    at = _tenants_at(looks, fresh)

    def cause(node: str, broken_nodes: Collection[str]) -> str | None:
        return rules.cause_of_loss(node, node_of, tenants_there=at[node], broken_nodes=broken_nodes)

    found = [
        _condition(tenant_id, node, fresh[tenant_id], cause(node, broken))
        for tenant_id, node in node_of.items()
        if (tenant_id, node) not in open_losses
    ]
    for (tenant_id, node), row in open_losses.items():
        if tenant_id in looks and rules.still_lost(row.extensions or (), looks[tenant_id]):
            found.append(
                Condition(
                    tenant_id=tenant_id,
                    kind=Kind.REGISTRATIONS_LOST,
                    subject=node,
                    began_at=row.began_at,
                    cause="operator" if row.cause else cause(node, ()),
                    note=row.note,
                    extensions=tuple(row.extensions or ()),
                )
            )
    return found


async def _there(session: AsyncSession) -> dict[str, dict[str, Phone]]:
    query = select(
        LiveRegistration.tenant_id, LiveRegistration.username, LiveRegistration.node, LiveRegistration.expires_at
    )
    there: defaultdict[str, dict[str, Phone]] = defaultdict(dict)
    for tenant_id, username, node, expires_at in await session.execute(query):
        known = there[tenant_id].get(username)
        if known is None or known.expires_at < expires_at:
            there[tenant_id][username] = Phone(node, expires_at)
    return dict(there)


async def _broken_nodes(session: AsyncSession, since: datetime) -> set[str]:
    """Nodes that are not alive, and those whose FreeSWITCH was started since the last look."""
    dead = select(Node.name).where(Node.state.in_(("dead", "left")))
    started = select(NodeBoot.node).where(NodeBoot.first_seen_at >= since, NodeBoot.is_watched)
    return {*(await session.execute(dead)).scalars(), *(await session.execute(started)).scalars()}


async def _open_losses(session: AsyncSession) -> dict[tuple[str, str], Observation]:
    query = select(Observation).where(
        Observation.kind == Kind.REGISTRATIONS_LOST.value, Observation.state.in_(("suspected", "open"))
    )
    return {(row.tenant_id, row.subject): row for row in (await session.execute(query)).scalars()}


def _tenants_at(looks: Mapping[str, Phones], fresh: Mapping[str, Mapping[str, LostPhone]]) -> Counter[str]:
    """How many tenants have phones at each node, or have just lost them there."""
    return Counter(
        node
        for tenant_id, phones in looks.items()
        for node in {each.node for each in (*phones.seen.values(), *fresh[tenant_id].values())}
    )


def _mostly(lost: Mapping[str, LostPhone]) -> str:
    """The node that most of the phones were at."""
    at = [each.node for each in lost.values()]
    return max(sorted(set(at)), key=at.count)


def _condition(tenant_id: str, node: str, lost: Mapping[str, LostPhone], cause: str | None) -> Condition:
    return Condition(
        tenant_id=tenant_id,
        kind=Kind.REGISTRATIONS_LOST,
        subject=node,
        began_at=min(each.lost_at for each in lost.values()),
        cause=cause,
        note=f"{len(lost)} phones vanished from {node} at once without a goodbye.",
        extensions=tuple(sorted(lost)),
    )


async def _forget(session: AsyncSession, tenant_ids: Collection[str]) -> None:
    """A tenant that is suspended or closed has no phones; once it is back they come anew and none of them was lost."""
    if tenant_ids:
        await session.execute(delete(RegistrationWatch).where(RegistrationWatch.tenant_id.in_(sorted(tenant_ids))))


async def _write(
    session: AsyncSession, looks: Mapping[str, Phones], watches: Mapping[str, RegistrationWatch], now: datetime
) -> None:
    """Keep what has changed, and that somebody has looked."""
    rows: list[dict[str, Any]] = [{"tenant_id": PLATFORM, **_written(Phones()), "looked_at": now}]
    for tenant_id, phones in looks.items():
        row = {"tenant_id": tenant_id, **_written(phones), "looked_at": now}
        known = watches.get(tenant_id)
        if known is None and not phones.seen:
            continue
        if known is None or (known.seen, known.lost) != (row["seen"], row["lost"]):
            rows.append(row)
    for begins in range(0, len(rows), WRITES_AT_ONCE):
        statement = insert(RegistrationWatch).values(rows[begins : begins + WRITES_AT_ONCE])
        values = {name: statement.excluded[name] for name in ("seen", "lost", "looked_at")}
        await session.execute(statement.on_conflict_do_update(index_elements=["tenant_id"], set_=values))


def _read(row: RegistrationWatch) -> Phones:
    return Phones(
        {each: Phone(node, datetime.fromtimestamp(until, UTC)) for each, (node, until) in row.seen.items()},
        {each: LostPhone(node, datetime.fromtimestamp(since, UTC)) for each, (node, since) in row.lost.items()},
    )


def _written(phones: Phones) -> dict[str, Any]:
    return {
        "seen": {each: [phone.node, int(phone.expires_at.timestamp())] for each, phone in phones.seen.items()},
        "lost": {each: [phone.node, int(phone.lost_at.timestamp())] for each, phone in phones.lost.items()},
    }
