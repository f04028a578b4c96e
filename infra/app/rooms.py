"""The modules that register background tasks; importing this module registers them all."""

from __future__ import annotations

from types import ModuleType

TASK_MODULES: tuple[ModuleType, ...] = ()
