"""Two loads taken in turns, so that whatever else the machine does falls on both alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from tests.bench.load import Load, LoadClient, Outcome

ROUNDS = 11
ROUND_SECONDS = 1.2
WARM_UP_SECONDS = 2.0
CONNECTIONS = 32


@dataclass(frozen=True, slots=True)
class Compared:
    """The rounds of the product and of its limit."""

    ours: Sequence[Outcome]
    bare: Sequence[Outcome]

    @property
    def per_second(self) -> tuple[float, float]:
        """Answers a second, product and limit: the medians of the rounds."""
        return median(each.per_second for each in self.ours), median(each.per_second for each in self.bare)

    def latency_milliseconds(self, share: float) -> tuple[float, float]:
        """The latency of this share of the answers, product and limit: the medians of the rounds."""
        ours = median(each.latency_milliseconds(share) for each in self.ours)
        return ours, median(each.latency_milliseconds(share) for each in self.bare)


def compare(
    client: LoadClient, *, our_port: int, our_requests: Sequence[bytes], bare_port: int, bare_requests: Sequence[bytes]
) -> Compared:
    """Warm both up, then measure them in turns."""

    def run(port: int, requests: Sequence[bytes], seconds: float) -> Outcome:
        return client.run(Load(port=port, requests=requests, connections=CONNECTIONS, seconds=seconds)).check()

    run(our_port, our_requests, WARM_UP_SECONDS)
    run(bare_port, bare_requests, WARM_UP_SECONDS)
    ours: list[Outcome] = []
    bare: list[Outcome] = []
    for _ in range(ROUNDS):
        ours.append(run(our_port, our_requests, ROUND_SECONDS))
        bare.append(run(bare_port, bare_requests, ROUND_SECONDS))
    return Compared(ours, bare)
