"""What a phone or carrier does with calls that come in."""

from __future__ import annotations

from dataclasses import dataclass

MAX_RING_SECONDS = 300.0
"""A call that nobody answers, refuses or withdraws ends after this long: 480 to the caller, CANCEL to the
called.
"""


@dataclass(frozen=True, slots=True)
class Policy:
    """Refuse with `refusal_status`, or ring and answer after `answer_after_seconds` (None: never).

    `hang_up_after_seconds` counts from the answer; None leaves hanging up to others.
    """

    refusal_status: int | None = None
    answer_after_seconds: float | None = None
    hang_up_after_seconds: float | None = None
    redirect_to: str | None = None
    """The address that a refusal with 300 to 305 names."""


def answers(*, after_seconds: float = 0.0, hang_up_after_seconds: float | None = None) -> Policy:
    """Ring, then answer."""
    return Policy(answer_after_seconds=after_seconds, hang_up_after_seconds=hang_up_after_seconds)


def busy() -> Policy:
    """486 Busy Here at once."""
    return Policy(refusal_status=486)


def no_answer() -> Policy:
    """Ring until the caller gives up."""
    return Policy()


def rejects(status: int = 603) -> Policy:
    """Refuse at once with this status (300 to 699)."""
    if not 300 <= status <= 699:
        raise ValueError(f"a refusal needs a status from 300 to 699, not {status}")
    return Policy(refusal_status=status)


def redirects(address: str) -> Policy:
    """302 Moved Temporarily to a SIP address such as `sip:13800138000@192.0.2.1`."""
    return Policy(refusal_status=302, redirect_to=address)
