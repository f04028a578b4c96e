"""How a link ends: with it its content is erased, so that nobody can read it any more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit import clock
from provisioning.handout.models import HandOut, HandOutLink

Ending = Literal["fetched", "expired", "replaced", "withdrawn"]


def ended_values(ending: Ending) -> dict[str, object]:
    """The columns of a link that ends now; with them its content is gone."""
    return {"sealed_content": None, "ended_at": clock.now(), "ending": ending}


async def end_links(session: AsyncSession, tenant_id: str, seat_ids: Sequence[str], ending: Ending) -> None:
    """End what nobody has opened yet of these seats of a tenant."""
    of_seats = select(HandOut.hand_out_id).where(HandOut.tenant_id == tenant_id, HandOut.seat_id.in_(seat_ids))
    await session.execute(
        update(HandOutLink)
        .where(
            HandOutLink.tenant_id == tenant_id,
            HandOutLink.hand_out_id.in_(of_seats),
            HandOutLink.ended_at.is_(None),
        )
        .values(**ended_values(ending))
        .execution_options(synchronize_session=False)
    )
