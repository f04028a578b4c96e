"""`make bench`: measure the product beside its limits; writes build/bench.json and prints the same as a table.

`python -m tests.bench leases` measures the month close and re-rating alone, and writes build/bench-leases.json.

Exit code 1 means that something broke, not that a goal was missed: the table marks that.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

from rich.console import Console

from infra.kit import logs
from infra.kit.embedded_postgres import EmbeddedPostgres
from tests.bench import (
    clearing,
    failover,
    figures,
    leases,
    lookups,
    month_close,
    rating,
    re_rating,
    records,
    registrations,
    restarts,
    seats,
    tunnels,
)
from tests.bench.figures import Figure
from tests.bench.load import LoadBroken, LoadClient, load_client
from tests.bench.system import System, running

BUILD = Path("build")
WHOLE_LIMIT_SECONDS = 1_500.0
"""Some six minutes on two quiet cores."""

LEASES_ONLY = "leases"


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
    say("call records while the API restarts ...")
    restarted = await restarts.measure(system, seated[0])
    say("registrations ...")
    registered = await registrations.measure(system, (BUILD / "bench" / "registrations").absolute())
    say("a node dies ...")
    survived = await failover.measure(system, (BUILD / "bench" / "failover").absolute())
    say("seats ordered and paid ...")
    opened, renters = await seats.measure_opening(system, client)
    say("rating ...")
    rated = await rating.measure(system, renters[0].tenant_id)
    say("suspension ...")
    suspended = await seats.measure_suspension(system, client, renters)
    say("VPN peers ...")
    tunnelled = await tunnels.measure(system, (BUILD / "bench" / "tunnels").absolute())
    say("suspension at the node ...")
    cleared = await clearing.measure(system.database_url, (BUILD / "bench" / "clearing").absolute())
    leased = await _measure_leases(system.database_url)
    return [
        *looked_up,
        *recorded,
        *registered,
        *survived,
        *restarted,
        *rated,
        *opened,
        *suspended,
        *cleared,
        *tunnelled,
        *leased,
    ]


async def measure_leases() -> list[Figure]:
    """What needs nothing but a database."""
    logs.configure("error")
    postgres = EmbeddedPostgres((BUILD / "bench-leases").absolute(), durable=True, database="bench")
    postgres.remove()  # what a bench that was killed may have left
    try:
        async with asyncio.timeout(WHOLE_LIMIT_SECONDS):
            return await _measure_leases(postgres.start())
    finally:
        postgres.remove()


async def _measure_leases(server_url: str) -> list[Figure]:
    say = Console(stderr=True).print
    say("month close ...")
    async with leases.furnished(server_url) as made:
        closed = await month_close.measure(made)
        say("re-rating ...")
        return [*closed, *await re_rating.measure(made)]


def main() -> int:
    """Run, write, show."""
    only_leases = sys.argv[1:] == [LEASES_ONLY]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        measured = asyncio.run(measure_leases() if only_leases else measure())
    except (LoadBroken, AssertionError, TimeoutError, OSError) as failure:
        Console(stderr=True).print(f"make bench: {type(failure).__name__}: {failure}", markup=False)
        return 1
    figures.write(measured, BUILD / ("bench-leases.json" if only_leases else "bench.json"))
    figures.show(measured)
    return 0


if __name__ == "__main__":
    sys.exit(main())
