"""What the destinations of charged calls are called: the names of the rate decks that priced them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from billing import rate_decks
from billing.models import Charge, RateDeck
from billing.rules.invoice_words import Destination
from billing.rules.prefixes import Deck
from infra.kit import clock


@dataclass(frozen=True, slots=True)
class Names:
    """Names of destinations and decks, by deck; decks that are gone have none."""

    decks: Mapping[str, Deck]
    deck_names: Mapping[str, str]

    def of_call(self, deck_id: str, prefix: str, destination: str | None, answered_at: datetime) -> str:
        """The name in the row that priced a call; empty where that row cannot be told any more. Pure.

        Without its destination a call is named after its prefix, which the row matches too.
        """
        deck = self.decks.get(deck_id)
        row = None if deck is None else deck.match(destination or prefix, answered_at)
        return row.name if row is not None and row.prefix == prefix else ""

    def of_deck(self, deck_id: str) -> str:
        """The deck's name; its id where it has none."""
        return self.deck_names.get(deck_id, deck_id)


async def names_of(session: AsyncSession, deck_ids: Iterable[str]) -> Names:
    """The names in these decks."""
    wanted = set(deck_ids)
    query = select(RateDeck.deck_id, RateDeck.name).where(RateDeck.deck_id.in_(wanted))
    named = {row.deck_id: row.name for row in await session.execute(query)}
    return Names(await rate_decks.load(session, wanted), named)


async def by_destination(session: AsyncSession, *, tenant_id: str, contract_id: str, month: date) -> list[Destination]:
    """The calls on a contract's invoice for a month (its first day) by name of destination, the dearest first.

    A prefix whose name cannot be told is called by itself.
    """
    query = (
        select(
            Charge.deck_id,
            Charge.prefix,
            func.min(Charge.month),
            func.count(),
            func.sum(Charge.billed_seconds),
            func.sum(Charge.amount),
        )
        .where(Charge.tenant_id == tenant_id, Charge.contract_id == contract_id, Charge.billing_month == month)
        .group_by(Charge.deck_id, Charge.prefix)
    )
    rows = (await session.execute(query)).all()
    names = await names_of(session, {row[0] for row in rows})
    found: dict[str, Destination] = {}
    for deck_id, prefix, first, calls, seconds, amount in rows:
        name = names.of_call(deck_id, prefix, None, clock.local_midnight(first)) or prefix
        before = found.get(name, Destination(name, 0, 0, Decimal(0)))
        found[name] = Destination(name, before.calls + calls, before.billed_seconds + seconds, before.amount + amount)
    return sorted(found.values(), key=lambda each: (-each.amount, -each.calls, each.name))
