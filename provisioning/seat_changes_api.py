"""HTTP for what a tenant changes at a seat: its group, its person, and whether it is served."""

from __future__ import annotations

from litestar import post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody
from litestar.status_codes import HTTP_200_OK
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit.database import Scope, enter_scope
from infra.kit.principal import Principal
from provisioning import seat_people, seat_suspension, seats
from provisioning.api import NOT_STORED, SEAT_TAGS
from provisioning.schemas import (
    SeatGroup,
    SeatPerson,
    SeatPersonView,
    SeatSuspension,
    SeatView,
    credentials_view,
    seat_view,
)

WRITE = "seats:write"


@post(
    "/v1/seats/{seat_id:str}/group",
    permission=WRITE,
    tags=SEAT_TAGS,
    operation_id="GroupSeat",
    status_code=HTTP_200_OK,
)
async def group_seat(
    seat_id: FromPath[str],
    data: JSONBody[SeatGroup],
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
) -> SeatView:
    """Put a seat into a group of the tenant's own; lists can be narrowed to it."""
    seat = await seats.get_seat(session, seat_id, principal.tenant_id, for_update=True)
    await seat_people.group(session, seat, data.group)
    return seat_view(seat)


@post(
    "/v1/seats/{seat_id:str}/person",
    permission=WRITE,
    tags=SEAT_TAGS,
    operation_id="MoveSeatToPerson",
    status_code=HTTP_200_OK,
    response_headers=NOT_STORED,
)
async def move_to_person(
    seat_id: FromPath[str],
    data: JSONBody[SeatPerson],
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
) -> SeatPersonView:
    """Give a seat to another person, or to nobody. It gets a new password, shown this once, and its tunnel waits for
    the key of a new hand-out, so that the person before cannot use it any more; not so with `correction`, or when name
    and number stay the same."""
    seat = await seats.get_seat(session, seat_id, principal.tenant_id, for_update=True)
    await enter_scope(session, Scope.platform())  # see `seat_people.move`; the right to the seat is checked above
    person = None if data.person is None else data.person.person()
    issued = await seat_people.move(session, seat, person, is_correction=data.correction)
    return SeatPersonView(seat=seat_view(seat), credentials=None if issued is None else credentials_view(seat, issued))


@post(
    "/v1/seats/{seat_id:str}/suspension",
    permission=WRITE,
    tags=SEAT_TAGS,
    operation_id="SuspendSeat",
    status_code=HTTP_200_OK,
)
async def suspend_seat(
    seat_id: FromPath[str],
    data: JSONBody[SeatSuspension],
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
) -> SeatView:
    """Have the switch refuse one seat from now on. Its rent goes on; return it to end that."""
    seat = await seats.get_seat(session, seat_id, principal.tenant_id, for_update=True)
    await seat_suspension.suspend(session, [seat], reason=data.reason)
    return seat_view(seat)


@post(
    "/v1/seats/{seat_id:str}/resumption",
    permission=WRITE,
    tags=SEAT_TAGS,
    operation_id="ResumeSeat",
    status_code=HTTP_200_OK,
)
async def resume_seat(
    seat_id: FromPath[str], session: NamedDependency[AsyncSession], principal: NamedDependency[Principal]
) -> SeatView:
    """Serve a suspended seat again; its password stays."""
    seat = await seats.get_seat(session, seat_id, principal.tenant_id, for_update=True)
    await seat_suspension.resume(session, [seat])
    return seat_view(seat)


ROUTES = [group_seat, move_to_person, suspend_seat, resume_seat]
