"""Response bodies of the pool of numbers, and the body that an import takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from infra.kit.http import FileUpload, View
from switch.number_pool.importing import ImportedRow, RowOutcome
from switch.number_pool.models import NumberEvent, PooledNumber

CSV_MEDIA_TYPE = "text/csv"


class PooledNumberView(View):
    """A number of the operator's, E.164 with the plus sign. `tenant_id`: who has it, or in quarantine had it last."""

    number: str
    state: str
    tenant_id: str | None
    label: str | None
    quarantined_until: datetime | None
    added_at: datetime
    changed_at: datetime


class NumberEventView(View):
    """Something that happened to a number: `added`, `assigned`, `changed`, `released`, `freed` or `removed`."""

    event_id: str
    number: str
    event: str
    tenant_id: str | None
    actor: str
    occurred_at: datetime


class ImportedRowView(View):
    """What became of a row: `added`, `known`, `repeated`, or `invalid` with its problem."""

    line: int
    given: str
    outcome: str
    number: str | None
    problem: str | None


class NumberImportView(View):
    """A file's rows in its order, and how many came to what. Of a dry run: what would become of them."""

    is_dry_run: bool
    added: int
    known: int
    repeated: int
    invalid: int
    rows: list[ImportedRowView]


def pooled_number_view(row: PooledNumber) -> PooledNumberView:
    """A number of the pool as the API shows it."""
    return PooledNumberView(
        number=f"+{row.number}",
        state=row.state,
        tenant_id=row.tenant_id,
        label=row.label,
        quarantined_until=row.quarantined_until,
        added_at=row.added_at,
        changed_at=row.changed_at,
    )


def number_event_view(row: NumberEvent) -> NumberEventView:
    """An event of a number's history as the API shows it."""
    return NumberEventView(
        event_id=row.event_id,
        number=f"+{row.number}",
        event=row.event,
        tenant_id=row.tenant_id,
        actor=row.actor,
        occurred_at=row.occurred_at,
    )


def number_import_view(rows: Sequence[ImportedRow], *, is_dry_run: bool) -> NumberImportView:
    """An import as the API shows it."""
    counts = Counter(row.outcome for row in rows)
    return NumberImportView(
        is_dry_run=is_dry_run,
        added=counts[RowOutcome.ADDED],
        known=counts[RowOutcome.KNOWN],
        repeated=counts[RowOutcome.REPEATED],
        invalid=counts[RowOutcome.INVALID],
        rows=[
            ImportedRowView(
                line=row.line,
                given=row.given,
                outcome=row.outcome.value,
                number=None if row.digits is None else f"+{row.digits}",
                problem=row.problem,
            )
            for row in rows
        ],
    )


class NumberUpload(FileUpload):
    """The body that an import takes, for the API description."""

    media_types = (CSV_MEDIA_TYPE,)
