"""Rate decks: uploaded whole or refused whole, never changed, one of them the default; parsed once a process."""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Iterable

from sqlalchemy import Select, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import defer

from billing import contracts
from billing.models import Contract, RateDeck
from billing.rules.csv_text import decoded
from billing.rules.deck_csv import read_deck
from billing.rules.errors import DeckRefused
from billing.rules.prefixes import Deck
from infra.kit import audit, clock, jobs
from infra.kit.database import PLATFORM
from infra.kit.ids import new_id
from infra.kit.problems import Conflict, InvalidInput, NotFound, TooLarge

RATE_CALLS = "billing.rate_calls"
"""The task that prices calls (billing/jobs.py)."""

DECK_LIMIT_BYTES = 12_000_000
"""About 200,000 rows; a whole world's deck has some 60,000."""

NAME_LIMIT_CHARACTERS = 200
CACHED_ROWS_LIMIT = 400_000
"""Rows of parsed decks that a process keeps, some 0.7 kB each; the deck used last is kept whatever its size."""


class DefaultChangedMeanwhile(Conflict):
    """Another upload became the default in the same moment."""

    code = "default_deck_changed_meanwhile"


class DeckCache:
    """Parsed decks by id, the least recently used given up first. Decks never change, so nothing here grows stale."""

    def __init__(self, rows_limit: int = CACHED_ROWS_LIMIT) -> None:
        self._rows_limit = rows_limit
        self._decks: OrderedDict[str, Deck] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, deck_id: str) -> Deck | None:
        """A deck parsed before, or None."""
        with self._lock:
            deck = self._decks.get(deck_id)
            if deck is not None:
                self._decks.move_to_end(deck_id)
            return deck

    def put(self, deck_id: str, deck: Deck) -> None:
        """Keep a parsed deck and give up the oldest beyond the limit."""
        with self._lock:
            self._decks[deck_id] = deck
            self._decks.move_to_end(deck_id)
            while len(self._decks) > 1 and sum(map(len, self._decks.values())) > self._rows_limit:
                self._decks.popitem(last=False)

    def __len__(self) -> int:
        return len(self._decks)


_cache = DeckCache()


def _read_upload(content: bytes) -> tuple[Deck, bytes]:
    """The deck of an uploaded file and the file in UTF-8, without byte order mark."""
    return read_deck(content), decoded(content, DeckRefused).encode()


async def upload(session: AsyncSession, *, name: str, content: bytes, is_default: bool) -> RateDeck:
    """Store a deck and have the calls without a price tried again.

    Raises `DeckRefused` (its `field` names line and column; the whole file is refused), `InvalidInput` for the name,
    `TooLarge`, `DefaultChangedMeanwhile`.
    """
    if not name.strip() or len(name) > NAME_LIMIT_CHARACTERS:
        raise InvalidInput(f"A rate deck's name has 1 to {NAME_LIMIT_CHARACTERS} characters.", field="name")
    if len(content) > DECK_LIMIT_BYTES:
        raise TooLarge(f"The deck has {len(content)} bytes; at most {DECK_LIMIT_BYTES} are taken.", field="file")
    deck, text = await asyncio.to_thread(_read_upload, content)
    stored = RateDeck(
        deck_id=new_id("deck"),
        name=name.strip(),
        is_default=is_default,
        row_count=len(deck),
        content=text,
        created_at=clock.now(),
    )
    if is_default:
        await session.execute(update(RateDeck).where(RateDeck.is_default).values(is_default=False))
    session.add(stored)
    try:
        await session.flush()
    except IntegrityError as error:
        raise DefaultChangedMeanwhile("Another deck became the default in this moment; try again.") from error
    await audit.record(
        session, PLATFORM, "rate_deck.uploaded", stored.deck_id, name=stored.name, rows=len(deck), default=is_default
    )
    if is_default:
        await retry_unrated(session)
    return stored


def seen_by(query: Select[RateDeck], tenant_id: str | None) -> Select[RateDeck]:
    """Narrow a query to the decks that a tenant may see: the default one and those of its contracts (None: all).

    The prices of other contracts are the other parties' secret (C26).
    """
    if tenant_id is None:
        return query
    own = select(Contract.rate_deck_id).where(Contract.tenant_id == tenant_id, Contract.rate_deck_id.is_not(None))
    return query.where(RateDeck.is_default | RateDeck.deck_id.in_(own))


async def get(
    session: AsyncSession, deck_id: str, *, with_content: bool = False, tenant_id: str | None = None
) -> RateDeck:
    """A deck, narrowed to what a tenant may see; its content is loaded only when asked for. Raises `NotFound`."""
    query = seen_by(select(RateDeck).where(RateDeck.deck_id == deck_id), tenant_id)
    if not with_content:
        query = query.options(defer(RateDeck.content, raiseload=True))
    deck = (await session.execute(query)).scalar_one_or_none()
    if deck is None:
        raise NotFound(f"There is no rate deck {deck_id}.", field="rate_deck_id")
    return deck


async def default_deck_id(session: AsyncSession) -> str | None:
    """The deck of the contracts that name none."""
    return (await session.execute(select(RateDeck.deck_id).where(RateDeck.is_default))).scalar_one_or_none()


async def assign(session: AsyncSession, contract_id: str, deck_id: str | None) -> Contract:
    """Give a contract a deck of its own, or (None) the default one.

    Calls already charged keep their charge; calls without a price are tried again. Raises `NotFound` for the deck,
    `ContractNotFound`.
    """
    if deck_id is not None:
        await get(session, deck_id)
    tenant_id = (await contracts.find_contract(session, contract_id, None)).tenant_id
    contract = await contracts.get_contract(session, tenant_id, contract_id, for_update=True)
    before, contract.rate_deck_id = contract.rate_deck_id, deck_id
    await session.flush()
    await audit.record(
        session, contract.tenant_id, "contract.rate_deck_changed", contract_id, before=before, after=deck_id
    )
    await retry_unrated(session, contract.tenant_id)
    return contract


async def retry_unrated(session: AsyncSession, tenant_id: str | None = None) -> None:
    """Have the calls without a price tried again once this transaction is committed: one tenant's, or (None) all.

    To be called wherever a contract begins, changes or ends and wherever a deck may now match.
    """
    await jobs.defer(session, RATE_CALLS, tenant_id=tenant_id, retry_unrated=True)


_parsing = threading.Lock()
"""Parsing takes a second of processor time, so that several askers of one deck wait for one parsing."""


def _parse_once(deck_id: str, content: bytes) -> Deck:
    with _parsing:
        deck = _cache.get(deck_id)
        if deck is None:
            deck = read_deck(content)
            _cache.put(deck_id, deck)
        return deck


async def load(session: AsyncSession, deck_ids: Iterable[str]) -> dict[str, Deck]:
    """Parsed decks by id; ids that do not exist are missing in the answer."""
    decks: dict[str, Deck] = {}
    for deck_id in deck_ids:
        deck = _cache.get(deck_id)
        if deck is None:
            query = select(RateDeck.content).where(RateDeck.deck_id == deck_id)
            content = (await session.execute(query)).scalar_one_or_none()
            if content is None:
                continue
            deck = await asyncio.to_thread(_parse_once, deck_id, content)
        decks[deck_id] = deck
    return decks
