"""Refusals of exports and departures."""

from __future__ import annotations

from infra.kit.problems import Conflict, InvalidInput, NotFound


class DepartureRefused(Conflict):
    """The tenant cannot leave yet; `obstacles` says what is in the way."""

    code = "departure_refused"


class DepartureNotFound(NotFound):
    """There is no such departure for this caller."""

    code = "departure_not_found"


class DepartureNotOpen(Conflict):
    """The departure was cancelled, or its erasure has begun."""

    code = "departure_not_open"


class ErasureDayRefused(InvalidInput):
    """Nothing can be erased on that day."""

    code = "erasure_day_refused"


class ExportNotFound(NotFound):
    """There is no such export for this caller."""

    code = "export_not_found"


class ExportNotReady(Conflict):
    """The export is still being made, or its file has been removed."""

    code = "export_not_ready"


class ExportUnderWay(Conflict):
    """One is being made already."""

    code = "export_under_way"


class ExportLinkRefused(NotFound):
    """The link has expired or was never one."""

    code = "export_link_refused"
