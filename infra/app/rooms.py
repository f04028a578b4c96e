"""The modules that register background tasks; importing this module registers them all."""

from __future__ import annotations

from types import ModuleType

import billing.jobs
import provisioning.jobs
import switch.jobs

TASK_MODULES: tuple[ModuleType, ...] = (billing.jobs, provisioning.jobs, switch.jobs)
