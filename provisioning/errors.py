"""Refusals of the provisioning room."""

from __future__ import annotations

from infra.kit.problems import Conflict, InvalidInput, NotFound


class SeatUnknown(NotFound):
    """There is no such seat for this caller."""

    code = "seat_not_found"


class OrderUnknown(NotFound):
    """There is no such order for this caller."""

    code = "seat_order_not_found"


class OrderRefused(InvalidInput):
    """The parts of an order do not fit together; `field` names the one at fault."""

    code = "seat_order_refused"


class TenantMayNotOrder(Conflict):
    """The tenant's standing does not allow this order."""

    code = "tenant_may_not_order"


class OpeningMissing(Conflict):
    """Nothing can be added before something opens with the contract."""

    code = "opening_missing"


class ClusterFull(Conflict):
    """The nodes have no room for so many seats."""

    code = "cluster_full"


class NodeTakesNobody(Conflict):
    """The node is not in service, or has no room for the tenant."""

    code = "node_takes_nobody"


class SeatNotOpen(Conflict):
    """Only a seat that is open can do this."""

    code = "seat_not_open"


class SeatReturning(Conflict):
    """The seat's return is ordered already."""

    code = "seat_returning"


class OrderNotCancellable(Conflict):
    """The order has taken effect, or is a return."""

    code = "seat_order_not_cancellable"


class OrdersNotAdvanced(Exception):
    """Some orders of a tenant failed; the log says why, and the task tries again."""
