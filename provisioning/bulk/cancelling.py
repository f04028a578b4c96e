"""Orders that a table takes back: an order is cancelled whole, by lines that name all of its seats (rule 5)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit.problems import Refusal
from provisioning import orders
from provisioning.models import Seat, SeatOrder
from provisioning.rules.seat_table import LineRefused, SeatLine


async def cancel_orders(
    session: AsyncSession, tenant_id: str, named: Sequence[tuple[SeatLine, Seat]]
) -> list[tuple[list[SeatLine], Refusal]]:
    """Cancel the orders of these seats; returns the lines that cannot be carried out, and why.

    Each order in a savepoint of its own, so that one that is refused does not hide what becomes of the others. Runs
    under the platform's role, with the tenant locked.
    """
    by_order: defaultdict[str, list[tuple[SeatLine, Seat]]] = defaultdict(list)
    for line, seat in named:
        by_order[seat.order_id].append((line, seat))
    refused: list[tuple[list[SeatLine], Refusal]] = []
    for order_id in await _openings_last(session, tenant_id, list(by_order)):
        of_order = by_order[order_id]
        lines = [line for line, _ in of_order]
        try:
            async with session.begin_nested():
                await _check_whole(session, tenant_id, order_id, {seat.seat_id for _, seat in of_order})
                reason = next((line.reason for line in lines if line.reason is not None), None)
                await orders.cancel_order(session, order_id=order_id, tenant_id=tenant_id, reason=reason)
        except Refusal as refusal:
            refused.append((lines, refusal))
    return refused


async def _openings_last(session: AsyncSession, tenant_id: str, order_ids: Sequence[str]) -> list[str]:
    """An opening is not cancelled while additions wait for it, so those of the table go first."""
    query = select(SeatOrder.order_id).where(
        SeatOrder.tenant_id == tenant_id, SeatOrder.order_id.in_(order_ids), SeatOrder.kind == "opening"
    )
    openings = set((await session.execute(query)).scalars())
    return sorted(order_ids, key=openings.__contains__)


async def _check_whole(session: AsyncSession, tenant_id: str, order_id: str, named: set[str]) -> None:
    order = await orders.get_order(session, order_id, tenant_id)
    missing = sorted(set(order.seat_ids) - named)
    if missing:
        raise LineRefused(
            f"The order {order_id} has {order.quantity} seats and is cancelled whole: name {missing[0]} too"
            f"{f' and {len(missing) - 1} more' if len(missing) > 1 else ''}.",
            field="action",
        )
