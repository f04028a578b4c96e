"""HTTP for tables of seats: taken as CSV or XLSX, tried, and carried out whole."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from litestar import Request, Response, get, post
from litestar.datastructures import ResponseHeader
from litestar.di import NamedDependency
from litestar.params import FromQuery, QueryParameter
from litestar.status_codes import HTTP_200_OK
from sqlalchemy.ext.asyncio import AsyncSession

from billing.spreadsheets import CSV_MEDIA_TYPE, MEDIA_TYPES, XLSX_MEDIA_TYPE, FileKind
from infra.kit.database import Scope, enter_scope
from infra.kit.languages import Language
from infra.kit.principal import Principal
from infra.kit.problems import Forbidden
from infra.kit.sealing import Seal
from infra.kit.settings import Settings
from provisioning.api import waived_by
from provisioning.bulk import applying, reading, writing
from provisioning.bulk.errors import SeatTableOfTheWrongKind, SeatTableRefused
from provisioning.bulk.schemas import SeatTableReport, SeatTableUpload, refused_lines, report_view
from provisioning.handout import making
from provisioning.handout.making import Wish
from provisioning.models import Seat

TAGS = ["Seats"]
KINDS: dict[str, FileKind] = {CSV_MEDIA_TYPE: "csv", XLSX_MEDIA_TYPE: "xlsx"}
ORDERING = ("add", "return", "cancel")
ORDER_PERMISSION = "seat_orders:write"
NOT_STORED = [ResponseHeader(name="cache-control", value="no-store")]

AsFile = Annotated[FileKind, QueryParameter(name="as", description="`csv` (UTF-8) or `xlsx`")]
"""Named otherwise in the code, where `as` is a word of the language."""


@get("/v1/seat-table", permission="seats:read", tags=TAGS, operation_id="GetSeatTable")
async def get_seat_table(
    *,
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
    tenant_id: FromQuery[str | None] = None,
    group: FromQuery[str | None] = None,
    as_file: AsFile = "csv",
    language: FromQuery[Language] = "zh",
) -> Response[bytes]:
    """The seats as a table to be changed and sent back; a column that stays as it is changes nothing."""
    query = principal.narrowed(writing.held_seats(), Seat.tenant_id, tenant_id)
    if group is not None:
        query = query.where(Seat.group_name == group)
    shown = await writing.load(session, query)
    content = await asyncio.to_thread(writing.written, shown, as_file, chinese=language == "zh")
    disposition = f'attachment; filename="seats.{as_file}"'
    return Response(content, media_type=MEDIA_TYPES[as_file], headers={"content-disposition": disposition})


@post(
    "/v1/seat-table",
    permission="seats:write",
    tags=TAGS,
    operation_id="ApplySeatTable",
    operation_class=SeatTableUpload,
    status_code=HTTP_200_OK,
    response_headers=NOT_STORED,
)
async def apply_seat_table(
    *,
    request: Request[Any, Any, Any],
    session: NamedDependency[AsyncSession],
    principal: NamedDependency[Principal],
    settings: NamedDependency[Settings],
    seal: NamedDependency[Seal],
    tenant_id: FromQuery[str | None] = None,
    dry_run: FromQuery[bool] = True,
    language: FromQuery[Language] = "zh",
    valid_hours: FromQuery[int] = making.HOURS_USUALLY,
    mail: FromQuery[bool] = False,
    waive_notice: FromQuery[bool] = False,
) -> SeatTableReport:
    """Add, return, name, group, move, suspend, resume and reissue seats by a table: the body, `text/csv` (UTF-8 or
    GBK) or XLSX. As long as `dry_run` is not `false` it only tells what every line would do and cost. Then it is
    carried out whole, or, where a line is refused, not at all. New credentials come as links to hand-outs, which `mail`
    sends to those people on the seats who have an address as well. `cancel` takes back an unpaid order by all of its
    seats; with `waive_notice` the operator lets the table's orders stand without notice."""
    owner = principal.tenant_for(tenant_id)
    waiver = waived_by(principal, waive=waive_notice)
    making.check_hours(valid_hours)
    kind = KINDS.get(request.content_type[0])
    if kind is None:
        raise SeatTableOfTheWrongKind(f"Send the table as {CSV_MEDIA_TYPE} or {XLSX_MEDIA_TYPE}.", field="Content-Type")
    lines = await asyncio.to_thread(reading.read_table, await request.body(), kind)
    may_order = ORDER_PERMISSION in principal.permissions
    if not may_order and any(getattr(line, "action", None) in ORDERING for line in lines):
        raise Forbidden(
            "This role may not order or return seats, or cancel that.", field="action", permission=ORDER_PERMISSION
        )
    # Orders need it, see `provisioning.api`; the caller's right to this tenant has been checked above.
    await enter_scope(session, Scope.platform())
    if dry_run:
        report = await applying.dry_run(session, tenant_id=owner, lines=lines, notice_waived_by=waiver)
        return report_view(report, is_dry_run=True)
    wish = Wish(
        language=language,
        valid_hours=valid_hours,
        public_url=settings.public_url,
        mail_seal=seal if mail else None,
    )
    report = await applying.carry_out(session, tenant_id=owner, lines=lines, hand_outs=wish, notice_waived_by=waiver)
    if report.refused:
        raise SeatTableRefused(
            f"{len(report.refused)} of {len(report.outcomes)} lines are refused, so nothing was changed.",
            field=f"line {report.refused[0].line}",
            refused=len(report.refused),
            lines=refused_lines(report),
        )
    return report_view(report, is_dry_run=False)


ROUTES = [get_seat_table, apply_seat_table]
