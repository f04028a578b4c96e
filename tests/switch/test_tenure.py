"""How long a supervisor may tell its node things, by its own clock."""

from __future__ import annotations

from switch.tenure import Tenure, elapsed_seconds


class Stopwatch:
    """Seconds as the test has them."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """What it shows."""
        return self.now


def test_a_tenure_lasts_from_the_moment_before_the_lease_was_asked_for() -> None:
    stopwatch = Stopwatch()
    tenure = Tenure(10, seconds=stopwatch)
    assert not tenure.holds
    asked_at = tenure.now_seconds()
    stopwatch.now += 4
    tenure.renewed(asked_at)
    stopwatch.now += 5.9
    assert tenure.holds
    stopwatch.now += 0.2
    assert not tenure.holds
    tenure.renewed(tenure.now_seconds())
    assert tenure.holds
    tenure.end()
    assert not tenure.holds


def test_the_clock_goes_on_whatever_the_date_says() -> None:
    assert 0 < elapsed_seconds() <= elapsed_seconds()
