"""How the canary's calls are told from everybody else's, by every part of the system that meets one.

They are calls of the system itself, at a tenant's node and in its domain but no business of the tenant's: nothing
limits, lists, charges or reports them. What makes a call the canary's is the account that the node has checked the
password of, never what is dialled or what a phone says of itself: only our directory sets `seatline_extension`, no
extension can be called `canary`, and nobody knows that account's password.
"""

from __future__ import annotations

from typing import Protocol

CANARY = "canary"
"""User name of the account by which the system tests itself; no extension can be called so."""

CANARY_DESTINATION = "canary-call"
"""What it dials: no number and no extension, so no phone or carrier reaches anything by it."""

LEG_CANARY = "canary"
"""The one leg of such a call, as its record says (`seatline_leg`)."""

HELD_MILLISECONDS = 10_000
"""How long a node keeps a canary's call that is not hung up, because whoever made it is gone."""

_ACCOUNT, _LEG = "variable_seatline_extension", "variable_seatline_leg"


class Told(Protocol):
    """What a node tells of a leg: an event, or a dump of its variables."""

    def get(self, name: str, default: str = "") -> str:
        """A header's value."""
        ...


def is_canary(told: Told) -> bool:
    """Whether an event or dump is about a leg of the canary's; one that is routed anywhere else is an ordinary leg."""
    return told.get(_ACCOUNT) == CANARY and told.get(_LEG) in ("", LEG_CANARY)
