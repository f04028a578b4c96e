"""Every route of the API, slice by slice."""

from __future__ import annotations

import tenancy.api

ROUTES = [*tenancy.api.ROUTES]
