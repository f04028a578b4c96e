"""What calls that are running would cost if they ended now: an estimate for spend caps, never a charge."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from sqlalchemy.ext.asyncio import AsyncSession

from billing import rate_decks, usage
from billing.usage import Leg
from infra.kit import clock
from switch import numbers
from switch.commands import CommandFailed, LiveLeg, NodeControl
from switch.documents.sofia import EXTERNAL_PROFILE
from switch.live.store import answered_legs
from switch.models import Node

CARRIER_LEG = f"sofia/{EXTERNAL_PROFILE}/"
"""How the channels towards carriers are named."""

ACTIVE = "ACTIVE"
SPOKEN_ON = frozenset({ACTIVE, "HELD", "UNHELD"})
"""States of a call that was answered and has not ended. The far end puts it on hold, and it costs what it did; after
the hold it stays `UNHELD`."""

LONGEST_RINGING = timedelta(hours=1)
"""A call answered on a day began no longer than this before it."""

ASKED_AT_ONCE = 16
TEN_THOUSANDTHS = Decimal("0.0001")


@dataclass(frozen=True, slots=True)
class LiveCosts:
    """The legs of the nodes that were asked, by tenant and node, and the nodes that gave no answer."""

    legs_by_tenant: dict[str, dict[str, list[LiveLeg]]]
    silent_nodes: tuple[str, ...]


async def live_legs(control: NodeControl, asked: Iterable[Node], tenant_ids: Iterable[str]) -> LiveCosts:
    """The carriers' legs of these tenants that are up now, also on hold; no calls for help. Each node is asked once."""
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
            if leg.context in wanted and _may_cost(leg):
                found.setdefault(leg.context, {}).setdefault(node.name, []).append(leg)

    await asyncio.gather(*(ask(node) for node in asked))
    return LiveCosts(found, tuple(sorted(silent)))


async def estimate(
    session: AsyncSession, tenant_id: str, live: Mapping[str, Iterable[LiveLeg]], day: date
) -> dict[str, dict[str, Decimal]]:
    """What these legs, by node, would cost by the tenant's decks if they ended now, of those answered on a local day:
    amounts (CNY) by leg, by node.

    From the beginning instead of the answer, which the node does not list: a little too much, never too little. Of a
    call that began before the day the live view says when it was answered. A call without a price counts nothing, as
    it does when it ends.
    """
    now = clock.now()
    node_of = {leg.leg_id: node for node, legs in live.items() for leg in legs}
    began = {leg.leg_id: _began_at(leg, now) for legs in live.values() for leg in legs}
    midnight = clock.local_midnight(day)
    earlier = [leg_id for leg_id, at in began.items() if at is not None and midnight - LONGEST_RINGING <= at < midnight]
    answered = await answered_legs(session, tenant_id, earlier) if earlier else {}
    legs: list[Leg] = []
    for leg in (leg for legs in live.values() for leg in legs):
        told = answered.get(leg.leg_id)
        counts_from = _in_our_time(told, now) if told is not None else began[leg.leg_id]
        if counts_from is not None and clock.local_date(counts_from) == day:
            milliseconds = (now - counts_from) // timedelta(milliseconds=1)
            legs.append(Leg(day.replace(day=1), leg.leg_id, leg.destination, counts_from, milliseconds))
    found: dict[str, dict[str, Decimal]] = {}
    for leg_id, amount in (await prices(session, tenant_id, legs)).items():
        found.setdefault(node_of[leg_id], {})[leg_id] = amount
    return found


async def prices(session: AsyncSession, tenant_id: str, legs: Sequence[Leg]) -> dict[str, Decimal]:
    """What these legs cost by the tenant's decks (CNY), by leg; nothing of one without a price."""
    if not legs:
        return {}
    spans = await usage.contracts_of(session, tenant_id)
    decks = await rate_decks.load(session, {span.deck_id for span in spans if span.deck_id is not None})
    return {
        leg_id: amount * TEN_THOUSANDTHS
        for part in usage.price(legs, spans, decks).postings.values()
        for leg_id, amount in zip(part.leg_ids, part.ten_thousandths, strict=True)
    }


def _may_cost(leg: LiveLeg) -> bool:
    is_up = leg.direction == "outbound" and leg.name.startswith(CARRIER_LEG) and leg.callstate in SPOKEN_ON
    return is_up and numbers.emergency_number(leg.destination) is None


def _began_at(live: LiveLeg, now: datetime) -> datetime | None:
    if not live.created_epoch.isdecimal():
        return None
    return _in_our_time(datetime.fromtimestamp(int(live.created_epoch), UTC), now)


def _in_our_time(told: datetime, now: datetime) -> datetime:
    """A node's clock is the machine's; ours may have travelled."""
    return min(told + timedelta(seconds=clock.offset_seconds()), now)
