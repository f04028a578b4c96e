"""What calls that are running would cost if they ended now: an estimate for spend caps, never a charge."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from sqlalchemy.ext.asyncio import AsyncSession

from billing import rate_decks, usage
from billing.usage import Leg
from infra.kit import clock
from switch.commands import CommandFailed, LiveLeg, NodeControl
from switch.documents.sofia import EXTERNAL_PROFILE
from switch.models import Node

CARRIER_LEG = f"sofia/{EXTERNAL_PROFILE}/"
"""How the channels towards carriers are named."""

ACTIVE = "ACTIVE"
ASKED_AT_ONCE = 16
TEN_THOUSANDTHS = Decimal("0.0001")


@dataclass(frozen=True, slots=True)
class LiveCosts:
    """The legs of the nodes that were asked, by tenant and node, and the nodes that gave no answer."""

    legs_by_tenant: dict[str, dict[str, list[LiveLeg]]]
    silent_nodes: tuple[str, ...]


async def live_legs(control: NodeControl, asked: Iterable[Node], tenant_ids: Iterable[str]) -> LiveCosts:
    """The carriers' legs of these tenants that are being spoken on now; each node is asked once."""
    wanted = set(tenant_ids)
    found: dict[str, dict[str, list[LiveLeg]]] = {}
    silent: list[str] = []
    at_once = asyncio.Semaphore(ASKED_AT_ONCE)

    async def ask(node: Node) -> None:
        try:
            async with at_once:
                legs = await control.live_calls(node)
        except CommandFailed:
            silent.append(node.name)
            return
        for leg in legs:
            is_ours = leg.direction == "outbound" and leg.name.startswith(CARRIER_LEG) and leg.callstate == ACTIVE
            if is_ours and leg.context in wanted:
                found.setdefault(leg.context, {}).setdefault(node.name, []).append(leg)

    await asyncio.gather(*(ask(node) for node in asked))
    return LiveCosts(found, tuple(sorted(silent)))


async def estimate(
    session: AsyncSession, tenant_id: str, live: Mapping[str, Iterable[LiveLeg]], day: date
) -> dict[str, dict[str, Decimal]]:
    """What these legs, by node, would cost by the tenant's decks if they ended now, of those that began on a local day:
    amounts (CNY) by leg, by node.

    From the beginning instead of the answer, which the node does not list: a little too much, never too little. A
    call without a price counts nothing, as it does when it ends.
    """
    now = clock.now()
    node_of = {leg.leg_id: node for node, legs in live.items() for leg in legs}
    every = (_as_leg(leg, now) for legs in live.values() for leg in legs)
    legs = [leg for leg in every if leg is not None and leg.month == day.replace(day=1)]
    legs = [leg for leg in legs if leg.answered_at is not None and clock.local_date(leg.answered_at) == day]
    if not legs:
        return {}
    spans = await usage.hold_contracts(session, tenant_id)
    decks = await rate_decks.load(session, {span.deck_id for span in spans if span.deck_id is not None})
    priced = usage.price(legs, spans, decks)
    found: dict[str, dict[str, Decimal]] = {}
    for part in priced.postings.values():
        for leg_id, amount in zip(part.leg_ids, part.ten_thousandths, strict=True):
            found.setdefault(node_of[leg_id], {})[leg_id] = amount * TEN_THOUSANDTHS
    return found


def _as_leg(live: LiveLeg, now: datetime) -> Leg | None:
    if not live.created_epoch.isdecimal():
        return None
    # A node's clock is the machine's; ours may have travelled.
    created_at = datetime.fromtimestamp(int(live.created_epoch), UTC) + timedelta(seconds=clock.offset_seconds())
    began_at = min(created_at, now)
    month = clock.local_date(began_at).replace(day=1)
    return Leg(month, live.leg_id, live.destination, began_at, (now - began_at) // timedelta(milliseconds=1))
