"""The standing of a tenant: active, suspended, closed. Pure; what it means at the switch is in switch/admission.py."""

from __future__ import annotations

from typing import Literal

from infra.kit.problems import Conflict

Standing = Literal["active", "suspended", "closed"]
Reason = Literal["payment_overdue", "operator_decision", "contract_ended"]


class StandingRefused(Conflict):
    """The tenant's present standing does not allow this change."""

    code = "standing_refused"


def suspended(standing: str) -> Standing:
    """The standing after a suspension (rule 7); a closed tenant stays closed."""
    if standing == "closed":
        raise StandingRefused("The tenant is closed; there is nothing to suspend.")
    return "suspended"


def restored(standing: str) -> Standing:
    """The standing after everything that suspended was paid (rule 7)."""
    if standing == "closed":
        raise StandingRefused("The tenant is closed; a new contract opens it again.")
    return "active"


def outranks(reason: str, present: str | None) -> bool:
    """Whether a new reason replaces the present one of a suspended tenant: an operator's decision does."""
    return reason == "operator_decision" and present != "operator_decision"
