"""Directory lookups a second with 10,000 seats in the database, against a bare handler that parses the same form."""

from __future__ import annotations

import random

from tests.bench.bare import FORM_PATH
from tests.bench.figures import Figure
from tests.bench.load import LoadClient
from tests.bench.rounds import CONNECTIONS, compare
from tests.bench.system import LOOKUP_PATH, SeatedTenant, System

TENANTS = 20
SEATS_A_TENANT = 500
SEED = 2
GOAL_RATIO = 0.6
BARE = f"a bare handler that parses the same form, same server and {CONNECTIONS} connections"


async def furnish(system: System) -> list[SeatedTenant]:
    """10,000 seats of twenty tenants."""
    seated = [await system.seated_tenant(index, seats=SEATS_A_TENANT) for index in range(TENANTS)]
    with system.driver_connection() as connection:
        connection.execute("ANALYZE")
    return seated


async def measure(system: System, client: LoadClient, seated: list[SeatedTenant]) -> list[Figure]:
    """Every phone registers, in no order, over and over."""
    seats = [(tenant.domain, extension) for tenant in seated for extension in tenant.extensions]
    random.Random(SEED).shuffle(seats)  # noqa: S311 - the same order in every run

    def requests(path: str) -> list[bytes]:
        return [system.lookup(domain, extension, path=path) for domain, extension in seats]

    compared = compare(
        client,
        our_port=system.api_port,
        our_requests=requests(LOOKUP_PATH),
        bare_port=system.bare_port,
        bare_requests=requests(FORM_PATH),
    )
    value, limit = compared.per_second
    figures = [
        Figure(
            name=f"directory lookups, {len(seats):,} seats",
            value=value,
            unit="1/s",
            limit=limit,
            limit_is=BARE,
            goal=GOAL_RATIO,
            better="higher",
        )
    ]
    for name, share in (("p50", 0.5), ("p99", 0.99)):
        value, limit = compared.latency_milliseconds(share)
        figures.append(
            Figure(
                name=f"directory lookup, {name}",
                value=value,
                unit="ms",
                limit=limit,
                limit_is="the same of the bare handler",
                goal=None,
                better="lower",
            )
        )
    return figures
