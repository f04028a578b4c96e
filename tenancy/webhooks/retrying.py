"""When to try again, when to rest a target, and when to stop for good. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta

PAUSES: tuple[timedelta, ...] = (
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
    timedelta(hours=14),
    timedelta(hours=20),
    timedelta(hours=24),
)
"""Between the attempts of one delivery, as Standard Webhooks advises: over three days in all."""

ATTEMPTS_LIMIT = len(PAUSES) + 1
FIRST_REST = timedelta(seconds=5)
LONGEST_REST = timedelta(minutes=5)
LONGEST_WISH = timedelta(hours=1)
"""How far a target's `Retry-After` is followed."""
DISABLED_AFTER = timedelta(days=5)
DISABLED_AFTER_FAILURES = 10


def pause_after(attempts_left: int, wish: timedelta | None = None) -> timedelta | None:
    """The pause after a failed attempt; None when that was the last. `wish`: what the target asked for."""
    if attempts_left <= 0:
        return None
    pause = PAUSES[max(0, len(PAUSES) - attempts_left)]
    return pause if wish is None else max(pause, min(wish, LONGEST_WISH))


def rest_after(failures: int) -> timedelta:
    """How long nothing at all is sent to a target that has failed this often in a row."""
    return min(LONGEST_REST, FIRST_REST * 2 ** min(max(failures - 1, 0), 10))


def is_hopeless(failing_since: datetime, failures: int, now: datetime) -> bool:
    """Whether a target has failed for so long that it is switched off."""
    return failures >= DISABLED_AFTER_FAILURES and now - failing_since >= DISABLED_AFTER
