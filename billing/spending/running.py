"""What calls that are running would cost if they ended now: an estimate for spend caps, never a charge."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
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
    """The legs of the nodes that were asked, and the nodes that gave no answer."""

    legs_by_tenant: dict[str, list[LiveLeg]]
    silent_nodes: tuple[str, ...]


async def live_legs(control: NodeControl, asked: Iterable[Node], tenant_ids: Iterable[str]) -> LiveCosts:
    """The carriers' legs of these tenants that are being spoken on now; each node is asked once."""
    wanted = set(tenant_ids)
    found: dict[str, list[LiveLeg]] = {}
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
                found.setdefault(leg.context, []).append(leg)

    await asyncio.gather(*(ask(node) for node in asked))
    return LiveCosts(found, tuple(sorted(silent)))


async def estimate(session: AsyncSession, tenant_id: str, live: Iterable[LiveLeg], day: date) -> Decimal:
    """What these legs would cost by the tenant's decks if they ended now, of those that began on a local day (CNY).

    From the beginning instead of the answer, which the node does not list: a little too much, never too little. A
    call without a price counts nothing, as it does when it ends.
    """
    now = clock.now()
    legs = [each for leg in live if (each := _as_leg(leg, now)) is not None and each.month == day.replace(day=1)]
    legs = [leg for leg in legs if leg.answered_at is not None and clock.local_date(leg.answered_at) == day]
    if not legs:
        return Decimal(0)
    spans = await usage.hold_contracts(session, tenant_id)
    decks = await rate_decks.load(session, {span.deck_id for span in spans if span.deck_id is not None})
    priced = usage.price(legs, spans, decks)
    return sum((sum(part.ten_thousandths) for part in priced.postings.values()), 0) * TEN_THOUSANDTHS


def _as_leg(live: LiveLeg, now: datetime) -> Leg | None:
    if not live.created_epoch.isdecimal():
        return None
    # A node's clock is the machine's; ours may have travelled.
    created_at = datetime.fromtimestamp(int(live.created_epoch), UTC) + timedelta(seconds=clock.offset_seconds())
    began_at = min(created_at, now)
    month = clock.local_date(began_at).replace(day=1)
    return Leg(month, live.leg_id, live.destination, began_at, (now - began_at) // timedelta(milliseconds=1))
