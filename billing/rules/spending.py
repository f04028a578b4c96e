"""When a tenant is warned of its daily spend cap, and when its calls out end (clause C18). Pure."""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from fractions import Fraction

WARNING_SHARE = Fraction(4, 5)
"""Of the cap; from here on the tenant is warned."""


class SpendState(StrEnum):
    """How a day's calls stand to the cap."""

    FREE = "free"
    WARNED = "warned"
    REACHED = "reached"


def spend_state(daily_cap: Decimal | None, charged: Decimal, running: Decimal) -> SpendState:
    """How the calls of a day stand to the cap: what is charged, and what the running ones would cost by now (CNY).

    The cap is reached when all of it is used up, not only when it is passed: a cap of 0.00 allows no charged call.
    """
    if daily_cap is None:
        return SpendState.FREE
    spent = charged + running
    if spent >= daily_cap:
        return SpendState.REACHED
    return SpendState.WARNED if spent >= WARNING_SHARE * Fraction(daily_cap) else SpendState.FREE
