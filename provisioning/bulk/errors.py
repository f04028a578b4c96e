"""Refusals of tables of seats."""

from __future__ import annotations

from http import HTTPStatus

from infra.kit.problems import Conflict, InvalidInput, Refusal


class SeatTableUnreadable(InvalidInput):
    """The file is no table that can be read; `field` says where."""

    code = "seat_table_unreadable"


class SeatTableOfTheWrongKind(Refusal):
    """The body is neither CSV nor XLSX."""

    code = "seat_table_of_the_wrong_kind"
    status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE
    title = "This kind of file is not read"


class SeatTableRefused(Conflict):
    """Some lines cannot be carried out, so none is; `lines` lists them."""

    code = "seat_table_refused"
    status = HTTPStatus.UNPROCESSABLE_ENTITY
    title = "The table was refused"


class TooManySeats(Conflict):
    """There are more seats than one table holds."""

    code = "too_many_seats"
