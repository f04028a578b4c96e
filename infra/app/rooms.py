"""The modules that register background tasks; importing this module registers them all."""

from __future__ import annotations

from types import ModuleType

import billing.agreements.jobs
import billing.cards.jobs
import billing.jobs
import billing.outages.jobs
import billing.reminders.jobs
import billing.spending.jobs
import provisioning.jobs
import switch.completeness.jobs
import switch.jobs

TASK_MODULES: tuple[ModuleType, ...] = (
    billing.agreements.jobs,
    billing.cards.jobs,
    billing.jobs,
    billing.outages.jobs,
    billing.reminders.jobs,
    billing.spending.jobs,
    provisioning.jobs,
    switch.completeness.jobs,
    switch.jobs,
)
