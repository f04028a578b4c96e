"""Refusals of completeness."""

from __future__ import annotations

from infra.kit.problems import Conflict, NotFound


class HourUnknown(NotFound):
    """The node began no call in that hour, or there is no such node."""

    code = "hour_not_found"


class HourReconciled(Conflict):
    """Nothing is missing in that hour; there is nothing to sign off."""

    code = "hour_reconciled"


class HourStillCounted(Conflict):
    """The hour is not over yet, or calls of it still run; wait for them."""

    code = "hour_still_counted"
