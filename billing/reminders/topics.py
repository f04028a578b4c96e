"""The kinds of mail, and the topics by which an address gets them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

from billing.rules.dunning import Reminder as DunningReminder
from infra.kit.languages import Language

StandingNotice = Literal["suspended", "restored"]
ContractNotice = Literal["contract_ends"]
OperatorNotice = Literal["operator_suspended", "operator_restored", "operator_contract_ends"]
SpendingNotice = Literal["spending_warning", "spending_cap_reached"]
MaintenanceNotice = Literal["window_announced", "window_moved", "window_cancelled"]
Topic = Literal["invoices", "reminders", "standing", "contracts", "maintenance"]

DUNNING_KINDS: tuple[str, ...] = get_args(DunningReminder)
STANDING_KINDS: tuple[str, ...] = get_args(StandingNotice)
CONTRACT_KINDS: tuple[str, ...] = get_args(ContractNotice)
OPERATOR_KINDS: tuple[str, ...] = get_args(OperatorNotice)
KINDS: tuple[str, ...] = (*DUNNING_KINDS, *STANDING_KINDS, *CONTRACT_KINDS, *OPERATOR_KINDS)
"""Every kind of mail: about an invoice, the tenant's standing or a contract's end, and to the operator's finance."""

MAINTENANCE_KINDS: tuple[str, ...] = get_args(MaintenanceNotice)
SPENDING_KINDS: tuple[str, ...] = get_args(SpendingNotice)
LISTED_KINDS: tuple[str, ...] = (*KINDS, *MAINTENANCE_KINDS, *SPENDING_KINDS)
"""These too are found among a tenant's mails; the last are written in `billing/outages/notices.py` and
`billing/spending/notices.py`.
"""

TOPICS: tuple[Topic, ...] = get_args(Topic)
DEFAULT_LANGUAGE: Language = "zh"
LASTING_DAYS = 7
"""How long a mail that belongs to no single day is worth sending."""


def topic_of(kind: str) -> Topic:
    """What a contact must want to get this kind: new invoices, reminders of them, what stops and lets calls (a
    suspension, a spend cap), the ends of contracts, or maintenance windows.
    """
    if kind == "issued":
        return "invoices"
    if kind in MAINTENANCE_KINDS:
        return "maintenance"
    if kind in CONTRACT_KINDS:
        return "contracts"
    return "reminders" if kind in DUNNING_KINDS else "standing"


def copy_for_operator(kind: str) -> str | None:
    """The kind of the copy that the operator's finance gets; None where it gets none."""
    return f"operator_{kind}" if f"operator_{kind}" in OPERATOR_KINDS else None


def lasts_days(kind: str) -> int:
    """For how many days after its own a mail is still sent: a reminder speaks of its day and is never made up for."""
    return 0 if kind in DUNNING_KINDS and kind != "issued" else LASTING_DAYS


def wants(topics: Sequence[str], kind: str) -> bool:
    """Whether a contact with these topics gets this kind."""
    return topic_of(kind) in topics
