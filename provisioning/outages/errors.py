"""Refusals around maintenance in the cluster."""

from __future__ import annotations

from infra.kit.problems import Conflict, InvalidInput, NotFound


class WindowNodeUnknown(NotFound):
    """The window has no such node, or has not begun."""

    code = "window_node_not_found"


class WindowNodeNotOut(Conflict):
    """Only a node that is out for its window can be given back."""

    code = "window_node_not_out"


class ProposalRefused(InvalidInput):
    """No window can be proposed for this month or of this length."""

    code = "proposal_refused"
