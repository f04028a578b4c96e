"""The way of a run through the tenants: several at once, the contracts of each one after another."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from itertools import groupby
from operator import itemgetter

TENANTS_AT_ONCE = 4
"""Transactions at once: while one waits for the database's disk, others are worked out. More would take connections
from the requests of people and gain nothing, since one process works things out on one core."""


async def tenant_by_tenant(
    due: Iterable[tuple[str, str]], bill: Callable[[str, list[str]], Awaitable[None]], *, at_once: int = TENANTS_AT_ONCE
) -> None:
    """Call `bill` with each tenant and its contracts; `due` are pairs of them, in order of the tenants.

    Two contracts of one tenant would only wait for each other's lock. An error that `bill` lets through ends the walk:
    it is raised when every other transaction that had begun is undone.
    """
    tenants = groupby(due, key=itemgetter(0))
    left = iter([(tenant_id, [contract_id for _, contract_id in pairs]) for tenant_id, pairs in tenants])

    async def take() -> None:
        for tenant_id, contract_ids in left:
            await bill(tenant_id, contract_ids)

    takers = [asyncio.create_task(take()) for _ in range(at_once)]
    try:
        await asyncio.gather(*takers)
    finally:
        for taker in takers:
            taker.cancel()
        await asyncio.gather(*takers, return_exceptions=True)
