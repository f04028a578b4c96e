"""An example of every request that changes something; a route that is missing here fails the tests of every route."""

from __future__ import annotations

from tests.journeys.examples import finance, leases, platform

EXAMPLES = leases.EXAMPLES | finance.EXAMPLES | platform.EXAMPLES
"""By operation id."""
