"""What a tenant's own system hears by webhook while the lease goes its way."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import select

from infra.kit import clock
from infra.kit.database import Scope
from switch.ended_calls.models import EndedCall
from tests.journeys.desk import Desk
from tests.switch.exchange import call_record
from tests.tenancy.webhook_world import Receiver, sender
from tests.world import MOBILE, World

TOLD = "seat.opened", "invoice.issued", "payment.recorded", "call.ended", "seat_order.placed"


async def _hears(admin: Desk, receiver: Receiver, *event_types: str) -> None:
    await admin.does("/v1/webhook-endpoints", {"url": receiver.url, "event_types": list(event_types)})


async def test_seats_invoices_and_calls_are_told(world: World) -> None:
    receiver = await Receiver().start()
    try:
        customer = await world.signs(seats=2, opens="2026-06-01")
        await _hears(customer.admin, receiver, *TOLD)
        await world.travel_to("2026-05-31 09:00")
        await customer.pays_everything()
        await world.travel_to("2026-06-01 10:00")
        began_at = clock.now() - timedelta(minutes=1)
        outbound = call_record(customer.tenant_id, leg="caller", began_at=began_at, milliseconds=42_000)
        await world.node_reports(outbound)
        await world.node_reports(outbound)  # a repeated post is one call
        await customer.seat(1).talks(MOBILE, milliseconds=1_000)  # the carrier's leg of a call out is not its beginning
        await customer.orders(1, "2026-06-10")  # the tenant itself, under the role of its own
        await world.work()
        await sender(world.api).send_due()
        (opened,) = receiver.of_type("seat.opened")
        assert len(opened.message["data"]["seat_ids"]) == 2
        assert "opening" in [each.message["data"]["reason"] for each in receiver.of_type("invoice.issued")]
        (payment,) = receiver.of_type("payment.recorded")
        assert payment.message["data"]["value_on"] == "2026-05-31"
        (order,) = receiver.of_type("seat_order.placed")
        assert order.message["data"]["effective_on"] == "2026-06-10"
        (call,) = receiver.of_type("call.ended")
        told = call.message["data"]
        assert (told["destination"], told["duration_milliseconds"]) == ("86" + MOBILE, 42_000)
    finally:
        await receiver.stop()


async def test_calls_of_who_did_not_ask_are_not_even_noted(world: World) -> None:
    customer = await world.signs(seats=1, opens="2026-06-01")
    await customer.admin.does(
        "/v1/webhook-endpoints", {"url": "https://x.example.com/", "event_types": ["invoice.issued"]}
    )
    await world.node_reports(call_record(customer.tenant_id, leg="caller", began_at=clock.now() - timedelta(minutes=1)))
    async with world.api.database.transaction(Scope.platform()) as session:
        assert (await session.execute(select(EndedCall))).scalars().all() == []
