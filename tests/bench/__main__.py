"""`make bench`: measure the product beside its limits; writes build/bench.json and prints the same as a table.

Exit code 1 means that something broke, not that a goal was missed: the table marks that.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

from rich.console import Console

from tests.bench import figures, lookups, rating, records, seats
from tests.bench.figures import Figure
from tests.bench.load import LoadBroken, LoadClient, load_client
from tests.bench.system import System, running

BUILD = Path("build")
WHOLE_LIMIT_SECONDS = 600.0
"""Some two minutes on two quiet cores."""


async def measure() -> list[Figure]:
    """Every figure, in the order in which they are shown."""
    async with asyncio.timeout(WHOLE_LIMIT_SECONDS), running((BUILD / "bench").absolute()) as system:
        with load_client() as client:
            return await _measure(system, client)


async def _measure(system: System, client: LoadClient) -> list[Figure]:
    say = Console(stderr=True).print
    say("directory lookups ...")
    seated = await lookups.furnish(system)
    looked_up = await lookups.measure(system, client, seated)
    say("call records ...")
    recorded = await records.measure(system, client, seated)
    say("seats ordered and paid ...")
    opened, renters = await seats.measure_opening(system, client)
    say("rating ...")
    rated = await rating.measure(system, renters[0].tenant_id)
    say("suspension ...")
    suspended = await seats.measure_suspension(system, client, renters)
    return [*looked_up, *recorded, *rated, *opened, *suspended]


def main() -> int:
    """Run, write, show."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        measured = asyncio.run(measure())
    except (LoadBroken, AssertionError, TimeoutError, OSError) as failure:
        Console(stderr=True).print(f"make bench: {type(failure).__name__}: {failure}", markup=False)
        return 1
    figures.write(measured, BUILD / "bench.json")
    figures.show(measured)
    return 0


if __name__ == "__main__":
    sys.exit(main())
