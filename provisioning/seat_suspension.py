"""One seat suspended by its tenant, and resumed: the switch refuses it, the lease goes on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit import audit, clock, jobs, reasons
from provisioning.errors import SeatNotOpen
from provisioning.models import Seat
from provisioning.order_progress import FLUSH_REGISTRATIONS
from provisioning.rules import seat_states
from provisioning.rules.seat_states import SeatState
from switch import accounts


async def suspend(session: AsyncSession, seats: Sequence[Seat], *, reason: str) -> None:
    """Have the switch refuse these seats of one tenant from this commit on; a job ends their registrations.

    Rent goes on and the seat stays the tenant's. Calls that run go on; emergency numbers stay reachable, as for any
    account that is not open (rule 7). Raises `SeatMoveRefused` unless every one is open, `SeatNotOpen` for a circuit,
    `InvalidInput` for an empty reason.
    """
    await suspend_each(session, seats, [reason] * len(seats))


async def suspend_each(session: AsyncSession, seats: Sequence[Seat], each_reason: Sequence[str]) -> None:
    """As `suspend`, each seat for its own reason; a few statements and one job for thousands."""
    texts = [reasons.given(reason) for reason in each_reason]
    seat_ids = _moved(seats, "suspend")
    if not seat_ids:
        return
    tenant_id = seats[0].tenant_id
    await session.flush()
    await accounts.set_open(session, tenant_id, seat_ids, False)
    await jobs.defer(session, FLUSH_REGISTRATIONS, tenant_id=tenant_id, seat_ids=seat_ids)
    for seat_id, text in zip(seat_ids, texts, strict=True):
        await audit.record(session, tenant_id, "seat.suspended", seat_id, reason=text)


async def resume(session: AsyncSession, seats: Sequence[Seat]) -> None:
    """Serve these seats of one tenant again from this commit on, with the password that they had.

    Raises `SeatMoveRefused` unless every one is suspended.
    """
    seat_ids = _moved(seats, "resume")
    if not seat_ids:
        return
    tenant_id = seats[0].tenant_id
    await session.flush()
    await accounts.set_open(session, tenant_id, seat_ids, True)
    for seat_id in seat_ids:
        await audit.record(session, tenant_id, "seat.resumed", seat_id)


def check_move(seat: Seat, move: seat_states.SeatMove) -> SeatState:
    """The state to which a seat would go. Raises `SeatMoveRefused`, and `SeatNotOpen` for a circuit."""
    if seat.extension is None:
        raise SeatNotOpen("A circuit has no account that could be refused; only seats have.", field="seat_id")
    return seat_states.after(cast("SeatState", seat.state), move)


def _moved(seats: Sequence[Seat], move: seat_states.SeatMove) -> list[str]:
    following = [check_move(seat, move) for seat in seats]
    now = clock.now()
    for seat, state in zip(seats, following, strict=True):
        seat.state = state
        seat.suspended_at = now if state == "suspended" else None
    return [seat.seat_id for seat in seats]
