"""The modules that register background tasks; importing this module registers them all."""

from __future__ import annotations

from types import ModuleType

import billing.agreements.jobs
import billing.cards.jobs
import billing.jobs
import billing.outages.jobs
import billing.reminders.jobs
import billing.spending.jobs
import infra.kit.outbox.jobs
import provisioning.departure.jobs
import provisioning.handout.jobs
import provisioning.jobs
import provisioning.outages.jobs
import provisioning.tunnels.jobs
import switch.completeness.jobs
import switch.ended_calls.jobs
import switch.jobs
import tenancy.papers.jobs
import tenancy.people.jobs
import tenancy.webhooks.jobs

TASK_MODULES: tuple[ModuleType, ...] = (
    billing.agreements.jobs,
    billing.cards.jobs,
    billing.jobs,
    billing.outages.jobs,
    billing.reminders.jobs,
    billing.spending.jobs,
    infra.kit.outbox.jobs,
    provisioning.handout.jobs,
    provisioning.departure.jobs,
    provisioning.jobs,
    provisioning.tunnels.jobs,
    provisioning.outages.jobs,
    switch.completeness.jobs,
    switch.ended_calls.jobs,
    switch.jobs,
    tenancy.papers.jobs,
    tenancy.webhooks.jobs,
    tenancy.people.jobs,
)
