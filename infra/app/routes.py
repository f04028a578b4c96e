"""Every route of the API, slice by slice."""

from __future__ import annotations

import billing.api
import billing.finance_api
import billing.statement_api
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
    *billing.finance_api.ROUTES,
    *billing.statement_api.ROUTES,
    *billing.usage_api.ROUTES,
    *provisioning.api.ROUTES,
]
