"""Background work of payments through Stripe."""

from __future__ import annotations

from billing.cards import application, releases, tending
from billing.stripe_gateway import connected
from infra.kit import jobs


class NotTended(Exception):
    """Some checkouts or payments could not be looked at; all others were. The job is tried again."""


@jobs.task("billing.apply_stripe_event")
async def apply_stripe_event(runtime: jobs.Runtime, *, event_id: str) -> None:
    """Apply one stored event; deferred with it."""
    async with connected(runtime.settings) as gateway:
        await application.apply_event(runtime.database, gateway, event_id)


@jobs.task("billing.send_card_refund")
async def send_card_refund(runtime: jobs.Runtime, *, tenant_id: str, refund_id: str) -> None:
    """Send one released refund through Stripe; deferred with its release."""
    async with connected(runtime.settings) as gateway:
        await releases.send(runtime.database, gateway, tenant_id=tenant_id, refund_id=refund_id)


@jobs.task("billing.tend_card_payments")
async def tend_card_payments(runtime: jobs.Runtime) -> None:
    """End checkouts that nobody should pay on any more and look at what no event has come for; for the schedule."""
    if runtime.settings.stripe_secret_key is None:
        return
    async with connected(runtime.settings) as gateway:
        failed = await tending.tend(runtime.database, gateway)
    if failed:
        raise NotTended(f"{', '.join(failed)} could not be looked at; see the log.")
