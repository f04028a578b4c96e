"""Every route of the API, slice by slice."""

from __future__ import annotations

import billing.api
import billing.usage_api
import provisioning.api
import switch.api
import switch.call_api
import tenancy.api

ROUTES = [
    *tenancy.api.ROUTES,
    *switch.api.ROUTES,
    *switch.call_api.ROUTES,
    *billing.api.ROUTES,
    *billing.usage_api.ROUTES,
    *provisioning.api.ROUTES,
]
