"""Refusals around faults and maintenance windows; a window that breaks rule 10 is a `WindowRefused` of the rules."""

from __future__ import annotations

from billing.rules.errors import BillingRefused
from infra.kit.problems import Conflict, NotFound


class FaultRefused(BillingRefused):
    """A fault's item, numbers, times, cause or note are not acceptable; `field` names the one at fault."""

    code = "fault_refused"
    title = "The fault is not acceptable"


class FaultNotFound(NotFound):
    """There is no such fault for this caller."""

    code = "fault_not_found"


class FaultKnown(Conflict):
    """A fault of one of these seats at this time is reported already."""

    code = "fault_known"


class FaultEnded(Conflict):
    """The fault has ended already."""

    code = "fault_ended"


class FaultDecided(Conflict):
    """The fault's cause is decided already, or it was withdrawn."""

    code = "fault_decided"


class FaultNotDecided(Conflict):
    """The fault has no cause yet that could be changed."""

    code = "fault_not_decided"


class WindowNotFound(NotFound):
    """There is no such maintenance window."""

    code = "maintenance_window_not_found"


class WindowNotOpen(Conflict):
    """The window is cancelled, done, or at a point of time at which this cannot happen to it."""

    code = "maintenance_window_not_open"
