"""Requests of webhooks, exports and departures."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable

from sqlalchemy import update

from infra.kit import clock
from infra.kit.database import Scope
from infra.kit.ids import new_id
from infra.kit.jobs import Runtime
from provisioning.departure import exports
from provisioning.departure.models import Departure, TenantExport
from tenancy.webhooks.models import WebhookDelivery
from tests.journeys.examples.platform import new_tenant
from tests.journeys.house import Example, House
from tests.world import Customer, World

_numbers = itertools.count(1)


async def ending_ids(world: World, theirs: Customer) -> dict[str, str]:
    """One of each: an endpoint with a delivery, an export, and a departure that was called off."""
    endpoint_id = (await webhook_endpoint(theirs))["endpoint_id"]
    delivery = await theirs.admin.does(f"/v1/webhook-endpoints/{endpoint_id}/test")
    made = await theirs.admin.does(f"/v1/tenants/{theirs.tenant_id}/exports")
    await exports.make(Runtime(world.api.database, world.api.settings), made["export_id"])
    departure = Departure(
        tenant_id=theirs.tenant_id,
        departure_id=new_id("dep"),
        state="cancelled",
        reason="a mistake",
        begun_by="cli_x",
        begun_at=clock.now(),
        erase_on=clock.today(),
        counts={},
    )
    async with world.api.database.transaction(Scope.platform()) as session:
        session.add(departure)
    return {
        "endpoint_id": endpoint_id,
        "delivery_id": delivery["delivery_id"],
        "export_id": made["export_id"],
        "departure_id": departure.departure_id,
    }


async def webhook_endpoint(theirs: Customer) -> dict[str, str]:
    """An endpoint of theirs."""
    return await theirs.admin.does("/v1/webhook-endpoints", _endpoint_body())


def _endpoint_body() -> dict[str, object]:
    return {"url": f"https://hooks.example.com/{next(_numbers)}", "event_types": ["call.ended", "seat.opened"]}


async def _endpoint_path(house: House) -> str:
    """A path of an endpoint that is made anew; what was made for earlier examples goes."""
    await _make_room(house)
    made = await webhook_endpoint(house.theirs)
    return f"/v1/webhook-endpoints/{made['endpoint_id']}"


async def _make_room(house: House) -> None:
    for each in (await house.theirs.admin.ask("/v1/webhook-endpoints"))["items"]:
        if each["endpoint_id"] != house.ids["endpoint_id"]:
            await house.theirs.admin.send("DELETE", f"/v1/webhook-endpoints/{each['endpoint_id']}")


async def _create_endpoint(house: House) -> Example:
    await _make_room(house)
    body = _endpoint_body() | {"tenant_id": house.theirs.tenant_id}
    return Example(house.theirs.admin, "/v1/webhook-endpoints", body)


async def _rotate_secret(house: House) -> Example:
    return Example(house.theirs.admin, f"{await _endpoint_path(house)}/secret-rotation")


async def _disable_endpoint(house: House) -> Example:
    return Example(house.theirs.admin, f"{await _endpoint_path(house)}/deactivation", {"reason": "it moves"})


async def _enable_endpoint(house: House) -> Example:
    disabling = await _disable_endpoint(house)
    await disabling.send()
    return Example(house.theirs.admin, disabling.path.replace("deactivation", "activation"))


async def _test_endpoint(house: House) -> Example:
    return Example(house.theirs.admin, f"{await _endpoint_path(house)}/test")


async def _replay_endpoint(house: House) -> Example:
    since = clock.local_midnight(clock.today()).isoformat()
    return Example(house.theirs.admin, f"{await _endpoint_path(house)}/replay", {"since": since})


async def _replay_delivery(house: House) -> Example:
    """A delivery that was given up."""
    made = (await (await _test_endpoint(house)).send()).json()
    async with house.world.api.database.transaction(Scope.platform()) as session:
        of_it = WebhookDelivery.delivery_id == made["delivery_id"]
        await session.execute(update(WebhookDelivery).where(of_it).values(state="given_up"))
    return Example(house.theirs.admin, f"/v1/webhook-deliveries/{made['delivery_id']}/replay")


async def _request_export(house: House) -> Example:
    async with house.world.api.database.transaction(Scope.platform()) as session:
        waiting = TenantExport.state == "waiting"
        await session.execute(update(TenantExport).where(waiting).values(state="expired"))
    return Example(house.theirs.admin, f"/v1/tenants/{house.theirs.tenant_id}/exports")


async def _make_export_link(house: House) -> Example:
    return Example(house.theirs.admin, f"/v1/exports/{house.ids['export_id']}/link")


async def _announce_departure(house: House) -> Example:
    return Example(house.world.operator, f"/v1/tenants/{await new_tenant(house)}/departures", {"reason": "it is over"})


async def _cancel_departure(house: House) -> Example:
    announced = (await (await _announce_departure(house)).send()).json()
    path = f"/v1/departures/{announced['departure_id']}/cancellation"
    return Example(house.world.finance, path, {"reason": "they stay"})


EXAMPLES: dict[str, Callable[[House], Awaitable[Example]]] = {
    "AnnounceDeparture": _announce_departure,
    "CancelDeparture": _cancel_departure,
    "CreateWebhookEndpoint": _create_endpoint,
    "DisableWebhookEndpoint": _disable_endpoint,
    "EnableWebhookEndpoint": _enable_endpoint,
    "MakeExportLink": _make_export_link,
    "ReplayWebhookDelivery": _replay_delivery,
    "ReplayWebhookEndpoint": _replay_endpoint,
    "RequestTenantExport": _request_export,
    "RotateWebhookSecret": _rotate_secret,
    "TestWebhookEndpoint": _test_endpoint,
}
"""By operation id."""
