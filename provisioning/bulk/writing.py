"""A tenant's seats as a table with the columns that `carry_out` reads: taken, changed and sent back."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession

from billing.spreadsheets import Book, Column, FileKind
from provisioning.bulk.errors import TooManySeats
from provisioning.bulk.reading import ROWS_LIMIT
from provisioning.models import Seat
from provisioning.rules import seat_states
from provisioning.rules.seat_table import COLUMNS

SHEET = "seats"
_WIDTHS = {"seat_id": 32, "contract_id": 32, "person_mail": 28, "name": 20, "group": 20, "reason": 24}


def held_seats() -> Select[Seat]:
    """Seats (no circuits) that can be changed, by tenant and number."""
    return (
        select(Seat)
        .where(Seat.item == "seat", Seat.state.in_(seat_states.HELD))
        .order_by(Seat.tenant_id, Seat.contract_id, Seat.number)
    )


async def load(session: AsyncSession, query: Select[Seat]) -> list[Seat]:
    """The seats of a table. Raises `TooManySeats` for more than a table holds."""
    found = list((await session.execute(query.limit(ROWS_LIMIT + 1))).scalars())
    if len(found) > ROWS_LIMIT:
        raise TooManySeats(f"There are more than {ROWS_LIMIT} seats; ask for those of one tenant or group.")
    return found


def written(shown: Sequence[Seat], kind: FileKind, *, chinese: bool) -> bytes:
    """The table as a file; empty under `action`, `effective_on` and `reason`, for whoever fills it in."""
    with Book(kind) as book:
        table = book.table(SHEET)
        headings = {name: heading if chinese else name for name, heading in COLUMNS.items()}
        table.heading([Column(heading, _WIDTHS.get(name, 14)) for name, heading in headings.items()])
        for seat in shown:
            cells = {
                "seat_id": seat.seat_id,
                "extension": seat.extension,
                "name": seat.name,
                "group": seat.group_name,
                "person_name": seat.person_name,
                "person_mail": seat.person_mail,
                "person_number": seat.person_number,
                "contract_id": seat.contract_id,
            }
            table.row([cells.get(name) for name in COLUMNS])
    return book.content()
