"""Whether a node that gets no answers from the API is cut off, which it is only while others get them. Pure.

If no node gets answers, the API itself is away, and moving tenants helps nobody. All moments are those that rows keep;
what one supervisor measures by itself is in real seconds, because the clock of a demo may jump.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What a supervisor knows of the answers that its node gets, in real seconds.

    `answered_seconds_ago`: since the node put the latest question that was answered; None: none was so far.
    `unanswered_seconds`: how long it has been without answers; None: it gets them, or nobody knows yet.
    `patience_seconds`: for so long one node must be without answers, and another one with them, before the one is
    given up.
    """

    answered_seconds_ago: float | None
    unanswered_seconds: float | None
    patience_seconds: float

    @property
    def is_answered(self) -> bool:
        """Whether it gets answers, for certain."""
        return self.unanswered_seconds is None and self.answered_seconds_ago is not None

    @property
    def is_long_without(self) -> bool:
        """Whether it has been without answers for longer than is waited."""
        return self.unanswered_seconds is not None and self.unanswered_seconds > self.patience_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What the row of another node in service says of its answers (see `switch.models.Node`)."""

    answered_since: datetime | None
    answered_at: datetime | None
    unanswered_since: datetime | None
    supervised_until: datetime | None


def was_answered_after(other: Known, moment: datetime) -> bool:
    """Whether a node asked after that moment, was answered, and has not been without answers since."""
    return other.unanswered_since is None and other.answered_at is not None and other.answered_at > moment


def may_take_over(other: Known, *, unanswered_since: datetime, now: datetime, patience: timedelta) -> bool:
    """Whether another node proves that the API is there, so that a node without answers since then is cut off.

    It was asked after that moment and within `patience`, by a supervisor that holds its lease; and it has had answers
    for longer than `patience`: when an API that was away for all comes back, the first node to be answered is no proof
    against those that will be answered a moment later.
    """
    return (
        was_answered_after(other, unanswered_since)
        and other.answered_at is not None
        and now - other.answered_at <= patience
        and other.answered_since is not None
        and now - other.answered_since > patience
        and other.supervised_until is not None
        and other.supervised_until > now
    )
