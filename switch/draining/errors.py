"""Refusals of draining."""

from __future__ import annotations

from infra.kit.problems import Conflict, InvalidInput


class NodeNotActive(Conflict):
    """Only a node in service can be drained."""

    code = "node_not_active"


class NodeNotDraining(Conflict):
    """There is no drain to cancel."""

    code = "node_not_draining"


class NodeNotSweeping(Conflict):
    """The node's drain waits for no call records."""

    code = "node_not_sweeping"


class DrainPastItsDeadline(Conflict):
    """The drain has passed the phase in which its deadline matters."""

    code = "drain_past_deadline"


class DrainDeadlineRefused(InvalidInput):
    """The deadline is over already or too far away."""

    code = "drain_deadline_refused"
