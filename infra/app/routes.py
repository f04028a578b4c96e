"""Every route of the API, slice by slice."""

from __future__ import annotations

import billing.agreements.api
import billing.api
import billing.cards.api
import billing.corrections.api
import billing.data_traffic.api
import billing.equipment_api
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
import provisioning.bulk.api
import provisioning.departure.api
import provisioning.handout.api
import provisioning.outages.api
import provisioning.placement_api
import provisioning.seat_changes_api
import provisioning.tunnels.api
import provisioning.tunnels.gateway_api
import switch.api
import switch.call_api
import switch.completeness.api
import switch.doctor.api
import switch.draining.api
import switch.edge.api
import switch.gateway_api
import switch.leaving
import switch.live.api
import switch.media_api
import switch.number_pool.api
import switch.policy_api
import switch.quality_api
import switch.refused_sign_ins.api
import tenancy.api
import tenancy.oidc.api
import tenancy.papers.api
import tenancy.people.api
import tenancy.people.pages
import tenancy.people.sign_in_api
import tenancy.webhooks.api

ROUTES = [
    *tenancy.api.ROUTES,
    *tenancy.oidc.api.ROUTES,
    *tenancy.people.api.ROUTES,
    *tenancy.people.pages.ROUTES,
    *tenancy.people.sign_in_api.ROUTES,
    *tenancy.papers.api.ROUTES,
    *tenancy.webhooks.api.ROUTES,
    *switch.api.ROUTES,
    *switch.gateway_api.ROUTES,
    *switch.number_pool.api.ROUTES,
    *switch.call_api.ROUTES,
    *switch.completeness.api.ROUTES,
    *switch.quality_api.ROUTES,
    *switch.draining.api.ROUTES,
    *switch.edge.api.ROUTES,
    *switch.leaving.ROUTES,
    *switch.doctor.api.ROUTES,
    *switch.live.api.ROUTES,
    *switch.refused_sign_ins.api.ROUTES,
    *switch.media_api.ROUTES,
    *switch.policy_api.ROUTES,
    *billing.agreements.api.ROUTES,
    *billing.api.ROUTES,
    *billing.cards.api.ROUTES,
    *billing.corrections.api.ROUTES,
    *billing.equipment_api.ROUTES,
    *billing.data_traffic.api.ROUTES,
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
    *provisioning.departure.api.ROUTES,
    *provisioning.bulk.api.ROUTES,
    *provisioning.handout.api.ROUTES,
    *provisioning.outages.api.ROUTES,
    *provisioning.tunnels.api.ROUTES,
    *provisioning.tunnels.gateway_api.ROUTES,
    *provisioning.placement_api.ROUTES,
    *provisioning.seat_changes_api.ROUTES,
]
