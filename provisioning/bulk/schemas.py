"""Response bodies of tables of seats, and how the API describes their upload."""

from __future__ import annotations

from typing import Any

from billing.spreadsheets import CSV_MEDIA_TYPE, XLSX_MEDIA_TYPE
from infra.kit.http import FileUpload, View
from provisioning.bulk.applying import Outcome, Report
from provisioning.schemas import OrderPreviewView, order_preview_view

REFUSED_LIMIT_LINES = 100
"""How many lines a refusal lists; a dry run lists all."""


class LineProblem(View):
    """Why a line cannot be carried out, and which column is at fault."""

    code: str
    field: str | None
    detail: str


class LineOutcome(View):
    """What becomes of a line of the file. `state`: done, unchanged or refused; `changes` are columns written anew.

    `hand_out_url` shows the new credentials once; a dry run makes none.
    """

    line: int
    action: str | None
    seat_id: str | None
    extension: str | None
    state: str
    changes: list[str]
    renews_credentials: bool
    hand_out_url: str | None
    problem: LineProblem | None


class SeatTableReport(View):
    """What a table does, or would do (`is_dry_run`). It is carried out only where no line is refused."""

    is_dry_run: bool
    is_acceptable: bool
    done: int
    unchanged: int
    refused: int
    orders: list[OrderPreviewView]
    lines: list[LineOutcome]


class SeatTableUpload(FileUpload):
    """The two bodies that an upload of a table takes, for the API description."""

    media_types = (CSV_MEDIA_TYPE, XLSX_MEDIA_TYPE)


def _line(outcome: Outcome) -> LineOutcome:
    refusal = outcome.refusal
    return LineOutcome(
        line=outcome.line,
        action=outcome.action,
        seat_id=outcome.seat_id,
        extension=outcome.extension,
        state=outcome.state,
        changes=outcome.changes,
        renews_credentials=outcome.renews_credentials,
        hand_out_url=outcome.hand_out_url,
        problem=None if refusal is None else LineProblem(code=refusal.code, field=refusal.field, detail=refusal.detail),
    )


def report_view(report: Report, *, is_dry_run: bool) -> SeatTableReport:
    """A table that was carried out, or looked at."""
    states = [outcome.state for outcome in report.outcomes]
    return SeatTableReport(
        is_dry_run=is_dry_run,
        is_acceptable="refused" not in states,
        done=states.count("done"),
        unchanged=states.count("unchanged"),
        refused=states.count("refused"),
        orders=[order_preview_view(each) for each in report.orders],
        lines=[_line(outcome) for outcome in report.outcomes],
    )


def refused_lines(report: Report) -> list[dict[str, Any]]:
    """The first lines that are refused, as they travel with the refusal of the whole table."""
    return [
        {
            "line": each.line,
            "code": each.refusal.code,
            "field": each.refusal.field,
            "detail": each.refusal.detail,
        }
        for each in report.refused[:REFUSED_LIMIT_LINES]
        if each.refusal is not None
    ]
