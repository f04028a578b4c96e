"""Every route of the API, slice by slice."""

from __future__ import annotations

import billing.agreements.api
import billing.api
import billing.cards.api
import billing.corrections.api
import billing.fapiao.api
import billing.finance_api
import billing.ledger_api
import billing.outages.api
import billing.reminders.api
import billing.runs.api
import billing.spending.api
import billing.statement_api
import billing.usage_api
import billing.usage_statement_api
import provisioning.api
import switch.api
import switch.call_api
import switch.completeness.api
import switch.doctor.api
import switch.draining.api
import switch.leaving
import switch.live.api
import switch.policy_api
import switch.quality_api
import tenancy.api

ROUTES = [
    *tenancy.api.ROUTES,
    *switch.api.ROUTES,
    *switch.call_api.ROUTES,
    *switch.completeness.api.ROUTES,
    *switch.quality_api.ROUTES,
    *switch.draining.api.ROUTES,
    *switch.leaving.ROUTES,
    *switch.doctor.api.ROUTES,
    *switch.live.api.ROUTES,
    *switch.policy_api.ROUTES,
    *billing.agreements.api.ROUTES,
    *billing.api.ROUTES,
    *billing.cards.api.ROUTES,
    *billing.corrections.api.ROUTES,
    *billing.fapiao.api.ROUTES,
    *billing.finance_api.ROUTES,
    *billing.ledger_api.ROUTES,
    *billing.outages.api.ROUTES,
    *billing.reminders.api.ROUTES,
    *billing.runs.api.ROUTES,
    *billing.spending.api.ROUTES,
    *billing.statement_api.ROUTES,
    *billing.usage_api.ROUTES,
    *billing.usage_statement_api.ROUTES,
    *provisioning.api.ROUTES,
]
