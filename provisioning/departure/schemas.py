"""Request and response bodies of exports and departures."""

from __future__ import annotations

from datetime import date, datetime

from infra.kit import money
from infra.kit.http import Body, View
from provisioning.departure.models import Departure, TenantExport
from provisioning.rules import departure as rules


class ExportView(View):
    """An export. `state` is `waiting`, `ready` or `expired`; `contents` counts rows or bytes by file."""

    export_id: str
    tenant_id: str
    state: str
    requested_by: str
    requested_at: datetime
    ready_at: datetime | None
    expires_at: datetime | None
    size_bytes: int
    sha256: str | None
    contents: dict[str, int]


class ExportLink(View):
    """Where the file can be fetched without a sign-in, for some minutes."""

    url: str
    expires_at: datetime


class NewDeparture(Body):
    """Why a tenant's data is to be erased, and from which day on (default: the earliest)."""

    reason: str
    erase_on: date | None = None


class Cancellation(Body):
    """Why a departure is called off."""

    reason: str


class DepartureView(View):
    """A departure. `state` is `announced`, `cancelled`, `erasing` or `erased`; `counts` are rows by table."""

    departure_id: str
    tenant_id: str
    state: str
    reason: str
    begun_by: str
    begun_at: datetime
    erase_on: date
    cancelled_by: str | None
    cancelled_at: datetime | None
    cancellation_reason: str | None
    held_because: str | None
    counts: dict[str, int]
    erased_at: datetime | None


class ReadinessView(View):
    """Whether a tenant may leave: what is in the way, and the earliest day if it were announced today."""

    tenant_id: str
    obstacles: list[str]
    owed: str
    credit: str
    deposit: str
    currency: str
    earliest_erase_on: date


def export_view(export: TenantExport) -> ExportView:
    """An export as the API shows it."""
    return ExportView(**{name: getattr(export, name) for name in ExportView.__struct_fields__})


def departure_view(departure: Departure) -> DepartureView:
    """A departure as the API shows it."""
    return DepartureView(**{name: getattr(departure, name) for name in DepartureView.__struct_fields__})


def readiness_view(tenant_id: str, account: rules.Account, earliest: date) -> ReadinessView:
    """What is in the way of a tenant's end."""
    return ReadinessView(
        tenant_id=tenant_id,
        obstacles=rules.obstacles(account),
        owed=money.amount_text(account.owed),
        credit=money.amount_text(account.credit),
        deposit=money.amount_text(account.deposit),
        currency="CNY",
        earliest_erase_on=earliest,
    )
