"""An example of every request that changes something; a route that is missing here fails the tests of every route."""

from __future__ import annotations

from tests.journeys.examples import (
    edges,
    endings,
    finance,
    leases,
    numbers,
    outages,
    papers,
    people,
    platform,
    seats,
    tunnels,
)

EXAMPLES = (
    edges.EXAMPLES
    | endings.EXAMPLES
    | leases.EXAMPLES
    | numbers.EXAMPLES
    | people.EXAMPLES
    | finance.EXAMPLES
    | outages.EXAMPLES
    | papers.EXAMPLES
    | platform.EXAMPLES
    | seats.EXAMPLES
    | tunnels.EXAMPLES
)
"""By operation id."""
