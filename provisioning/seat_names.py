"""A name is one seat's alone among those that its tenant holds, as in tables of seats; the database keeps it so."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit.problems import Conflict
from provisioning.models import Seat
from provisioning.rules import seat_states

INDEX = "uq_seat_name_of_held"


class SeatNameTaken(Conflict):
    """Another seat that the tenant holds has this name."""

    code = "seat_name_taken"


async def check_free(session: AsyncSession, seat: Seat, name: str) -> None:
    """Raise `SeatNameTaken`, naming the other seat, where a held one has the name already.

    Names are compared as they are kept: without blanks around them, capitals and small letters apart.
    """
    if seat.state not in seat_states.HELD:
        return
    query = select(Seat.extension, Seat.seat_id).where(
        Seat.tenant_id == seat.tenant_id,
        Seat.name == name,
        Seat.state.in_(seat_states.HELD),
        Seat.seat_id != seat.seat_id,
    )
    other = (await session.execute(query.limit(1))).first()
    if other is not None:
        detail = f"The name {name[:40]!r} is that of the seat {other[0] or other[1]}; give each seat its own."
        raise SeatNameTaken(detail, field="name")


@asynccontextmanager
async def kept_apart(session: AsyncSession) -> AsyncGenerator[None]:
    """Names are written within, in a savepoint. Raises `SeatNameTaken` where another request was quicker with one."""
    try:
        async with session.begin_nested():
            yield
    except IntegrityError as error:
        if INDEX not in str(error.orig):
            raise
        detail = "Another seat has just been given this name; look at the seats again and give each its own."
        raise SeatNameTaken(detail, field="name") from error


async def take_away(session: AsyncSession, seats: Sequence[Seat]) -> None:
    """Make these seats nameless in the database until their new names are written, so that seats may swap names."""
    if not seats:
        return
    statement = update(Seat).where(
        Seat.tenant_id == seats[0].tenant_id, Seat.seat_id.in_([seat.seat_id for seat in seats])
    )
    await session.execute(statement.values(name=None).execution_options(synchronize_session=False))
