"""Background work around maintenance."""

from __future__ import annotations

from billing.outages import notices, overruns, windows
from infra.kit import jobs


@jobs.task(windows.RECORD_OVERRUN)
async def record_overrun(runtime: jobs.Runtime, *, window_id: str) -> None:
    """Make the overrun of a window that was closed late a fault of everything that was open then (rule 10)."""
    await overruns.record(runtime, window_id)


@jobs.task(windows.TELL_OF_WINDOW)
async def tell_of_window(runtime: jobs.Runtime, *, window_id: str) -> None:
    """Write to every tenant that a window was announced, moved or cancelled."""
    await notices.tell(runtime, window_id)
