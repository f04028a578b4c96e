"""Refusals about SIP edges."""

from __future__ import annotations

from infra.kit.problems import Conflict, NotFound


class EdgeUnknown(NotFound):
    """There is no such edge."""

    code = "sip_edge_not_found"


class EdgeNameTaken(Conflict):
    """Another edge has this name."""

    code = "sip_edge_name_taken"
