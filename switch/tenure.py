"""How long the right to tell a node things lasts for certain, by this machine's own clock.

The lease itself ends by the database's row (switch/node_lease.py), which is asked once a round. A process that slept in
between (stopped, suspended, starved) does not know that another has taken the node over, and what it was about to say
was meant for a node as it was before: so it says nothing until its lease is renewed.
"""

from __future__ import annotations

import time
from collections.abc import Callable


def elapsed_seconds() -> float:
    """A clock that nobody sets and that goes on while the machine is suspended, where the system has such a one."""
    boot_clock: int | None = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boot_clock is None else time.clock_gettime(boot_clock)


class Tenure:
    """A lease's time as its holder counts it: from the moment before it was asked for, so never too long."""

    def __init__(self, lease_seconds: float, *, seconds: Callable[[], float] = elapsed_seconds) -> None:
        self._lease_seconds = lease_seconds
        self._seconds = seconds
        self._ends_at_seconds: float | None = None

    def now_seconds(self) -> float:
        """The moment to remember before a lease is asked for or renewed."""
        return self._seconds()

    def renewed(self, asked_at_seconds: float) -> None:
        """The lease was granted or renewed, having been asked for at this moment."""
        self._ends_at_seconds = asked_at_seconds + self._lease_seconds

    def end(self) -> None:
        """The lease is lost or given back."""
        self._ends_at_seconds = None

    @property
    def holds(self) -> bool:
        """Whether nobody else can have the node now."""
        return self._ends_at_seconds is not None and self._seconds() < self._ends_at_seconds
