"""Calls that were refused before they were any tenant's: to a number that nobody has, from an address of no carrier.

Anybody who dials beside a number makes one, and whoever tries all numbers makes thousands. They concern nobody's bill,
so they are counted instead of kept: per node, hour, reason and number, with a bound to the different numbers. Their
sessions are explained in the count of the node's calls (switch/completeness/).
"""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit import clock
from infra.kit.ids import new_id
from switch.cdr_parsing import StrayRefusal
from switch.completeness.counting import hour_of
from switch.completeness.models import NodeBoot, SeenLeg
from switch.models import StrayCall

NUMBERS_AN_HOUR = 200
"""So many different numbers are told apart in a node's hour; calls to further ones are counted together."""

RETENTION = timedelta(days=90)


async def note(session: AsyncSession, node: str, stray: StrayRefusal) -> None:
    """Count a refused call of nobody's. The same leg again, as from a node's disk, changes nothing while its hour is
    open; later it may be counted twice."""
    if not await _is_new(session, node, stray):
        return
    hour = hour_of(stray.started_at)
    within = (StrayCall.node == node) & (StrayCall.hour == hour)
    numbers = select(StrayCall.number).where(within)
    known = set((await session.execute(numbers.limit(NUMBERS_AN_HOUR + 1))).scalars())
    is_told_apart = len(known) < NUMBERS_AN_HOUR or stray.number in known
    statement = insert(StrayCall).values(
        stray_id=new_id("stray"),
        node=node,
        hour=hour,
        reason=stray.reason,
        number=stray.number if is_told_apart else "",
        times=1,
        first_at=stray.started_at,
        last_at=stray.started_at,
    )
    await session.execute(
        statement.on_conflict_do_update(
            index_elements=[StrayCall.node, StrayCall.hour, StrayCall.reason, StrayCall.number],
            set_={
                "times": StrayCall.times + 1,
                "first_at": func.least(StrayCall.first_at, stray.started_at),
                "last_at": func.greatest(StrayCall.last_at, stray.started_at),
            },
        )
    )


async def forget(session: AsyncSession) -> None:
    """Remove what is older than anybody asks for."""
    await session.execute(delete(StrayCall).where(StrayCall.last_at < clock.now() - RETENTION))


async def _is_new(session: AsyncSession, node: str, stray: StrayRefusal) -> bool:
    """Explain the leg's number in the count of its boot; whether nobody had done so before."""
    boot_id, number = stray.session.boot_id, stray.session.number
    if boot_id is None or number is None:
        return True
    boot = insert(NodeBoot).values(
        boot_id=boot_id, node=node, first_seen_at=clock.now(), last_number=0, is_watched=False
    )
    await session.execute(boot.on_conflict_do_nothing())
    leg = insert(SeenLeg).values(
        boot_id=boot_id,
        leg_id=stray.leg_id,
        session_number=number,
        owner_id=None,
        direction="inbound",
        caller="",
        destination="",
        started_at=stray.started_at,
        answered_at=None,
        ended_at=stray.ended_at,
        is_void=True,
    )
    explained = leg.on_conflict_do_update(
        index_elements=[SeenLeg.boot_id, SeenLeg.leg_id], set_={"is_void": True}, where=~SeenLeg.is_void
    )
    return (await session.execute(explained.returning(SeenLeg.leg_id))).scalar_one_or_none() is not None
