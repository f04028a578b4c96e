"""Refusals of the release of a month."""

from __future__ import annotations

from infra.kit.problems import Conflict, NotFound


class RunNotFound(NotFound):
    """The month is not released, and none of its invoices waits for it."""

    code = "invoice_run_not_found"


class RunReleased(Conflict):
    """The month is released already."""

    code = "invoice_run_released"


class MonthOutOfOrder(Conflict):
    """An earlier month waits for its release."""

    code = "month_out_of_order"


class MonthNotReleased(Conflict):
    """Finance has not released the month."""

    code = "month_not_released"


class PreviewOutdated(Conflict):
    """The run has become another than the one that was looked at; the answer has the new figures."""

    code = "preview_outdated"


class HoursUnreconciled(Conflict):
    """Call records of the month to bill are missing; `hours` lists the node's hours, at most 100 of them;
    `GET /v1/completeness` has them all. `hours_version` goes with the `sign_off` of whoever has seen them."""

    code = "hours_unreconciled"


class NothingSetAside(Conflict):
    """No contract of the run waits for another try."""

    code = "nothing_set_aside"
