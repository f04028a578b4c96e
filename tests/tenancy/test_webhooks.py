"""Webhooks end to end: over real sockets, through the database, with the clock of the test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from datetime import timedelta

import pytest
from sqlalchemy import func, select, update

from infra.kit import clock, jobs
from infra.kit.database import Scope
from infra.kit.models import AuditEntry
from tenancy import tenants
from tenancy.webhooks import claims, posting, retrying
from tenancy.webhooks import jobs as webhook_jobs
from tenancy.webhooks.models import WebhookDelivery, WebhookEndpoint, WebhookEvent
from tenancy.webhooks.sender import run_sender
from tests.api import Api
from tests.jobs import run_jobs
from tests.tenancy.webhook_world import (
    RESTORED,
    SUSPENDED,
    TIMEOUT_SECONDS,
    Receiver,
    Starts,
    later,
    receivers,
    restore,
    sender,
    subscribe,
    suspend,
    tenant_with_admin,
)


@pytest.fixture
async def receiver() -> AsyncGenerator[Starts]:
    async with receivers() as start:
        yield start


async def test_an_event_comes_once_signed_and_only_to_who_asked(api: Api, receiver: Starts) -> None:
    tenant_id, admin = await tenant_with_admin(api)
    wants, other = await receiver(), await receiver()
    endpoint = await subscribe(admin, wants.url, SUSPENDED)
    await subscribe(admin, other.url, "invoice.issued")
    await suspend(api, tenant_id)
    await sender(api).send_due()
    await sender(api).send_due()
    (got,) = wants.received
    assert other.received == []
    assert got.path == "/hook?key=1"
    assert got.message["data"] == {"tenant_id": tenant_id, "reason": "payment_overdue"}
    assert got.is_signed_by(endpoint["secret"])
    assert got.headers["host"] == f"127.0.0.1:{wants.port}"
    (delivery,) = (await admin.get("/v1/webhook-deliveries", {"state": "delivered"})).json()["items"]
    assert delivery["event_id"] == got.headers["webhook-id"]
    log = (await admin.get(f"/v1/webhook-deliveries/{delivery['delivery_id']}")).json()
    assert [(each["status"], each["problem"]) for each in log["attempt_log"]] == [(204, None)]


async def test_what_is_rolled_back_is_not_told(api: Api, receiver: Starts) -> None:
    tenant_id, admin = await tenant_with_admin(api)
    wants = await receiver()
    await subscribe(admin, wants.url, SUSPENDED)
    with pytest.raises(RuntimeError):
        async with api.database.transaction(Scope.platform()) as session:
            await tenants.suspend(session, tenant_id, reason="payment_overdue")
            raise RuntimeError
    await sender(api).send_due()
    assert wants.received == []


async def test_a_tenant_without_endpoint_leaves_no_event(api: Api) -> None:
    tenant_id, _ = await tenant_with_admin(api)
    await suspend(api, tenant_id)
    async with api.database.transaction(Scope.platform()) as session:
        assert await session.scalar(select(func.count()).select_from(WebhookEvent)) == 0


async def test_a_failed_message_is_tried_again_with_the_same_id_and_body(api: Api, receiver: Starts) -> None:
    tenant_id, admin = await tenant_with_admin(api)
    wants = await receiver(b"HTTP/1.1 503 Busy\r\nretry-after: 60\r\ncontent-length: 4\r\n\r\nbusy")
    await subscribe(admin, wants.url, SUSPENDED)
    await suspend(api, tenant_id)
    sending = sender(api)
    await sending.send_due()
    later(seconds=30)
    await sending.send_due()
    assert len(wants.received) == 1  # it asked for a minute
    wants.answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
    later(seconds=40)
    await sending.send_due()
    first, second = wants.received
    assert (first.headers["webhook-id"], first.body) == (second.headers["webhook-id"], second.body)
    assert first.headers["webhook-timestamp"] < second.headers["webhook-timestamp"]
    (delivery,) = (await admin.get("/v1/webhook-deliveries")).json()["items"]
    log = (await admin.get(f"/v1/webhook-deliveries/{delivery['delivery_id']}")).json()
    assert [(each["status"], each["answer"]) for each in log["attempt_log"]] == [(503, "busy"), (200, "")]


async def test_after_the_last_attempt_it_is_given_up_and_can_be_replayed(api: Api, receiver: Starts) -> None:
    tenant_id, admin = await tenant_with_admin(api)
    wants = await receiver(b"HTTP/1.1 500 Broken\r\ncontent-length: 0\r\n\r\n")
    endpoint = await subscribe(admin, wants.url, SUSPENDED)
    begun = clock.now()
    await suspend(api, tenant_id)
    sending = sender(api)
    for _ in range(retrying.ATTEMPTS_LIMIT):
        await sending.send_due()
        later(hours=25)
    assert len(wants.received) == retrying.ATTEMPTS_LIMIT
    admin = await api.client("tenant_admin", tenant_id)  # its token has expired long since
    (delivery,) = (await admin.get("/v1/webhook-deliveries", {"state": "given_up"})).json()["items"]
    path = f"/v1/webhook-endpoints/{endpoint['endpoint_id']}"
    assert (await admin.get(path)).json()["state"] == "disabled"  # it had failed for more than five days
    assert (await admin.post(f"{path}/replay", {"since": begun.isoformat()})).status_code == 409
    assert (await admin.post(f"{path}/activation")).json()["state"] == "enabled"
    wants.answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
    assert (await admin.post(f"{path}/replay", {"since": begun.isoformat()})).json() == {"replayed": 1}
    await sending.send_due()
    replayed = f"/v1/webhook-deliveries/{delivery['delivery_id']}"
    assert (await admin.get(replayed)).json()["state"] == "delivered"
    assert (await admin.post(f"{replayed}/replay")).json()["state"] == "waiting"
    assert (await admin.post(f"{replayed}/replay")).json()["code"] == "webhook_delivery_under_way"
    await sending.send_due()
    assert {each.headers["webhook-id"] for each in wants.received} == {delivery["event_id"]}
    async with api.database.transaction(Scope.platform()) as session:
        query = select(AuditEntry.action).where(AuditEntry.action.like("webhook_endpoint.disabled"))
        assert (await session.execute(query)).scalars().all() == ["webhook_endpoint.disabled"]


async def test_a_dead_target_holds_up_nobody_else(api: Api, receiver: Starts) -> None:
    """Six tenants whose targets never answer, and one whose target does: it waits for none of them."""
    silent, quick = await Receiver(None).start(), await receiver()
    for number in range(6):
        tenant_id, admin = await tenant_with_admin(api, f"dead-{number}")
        await subscribe(admin, silent.url, SUSPENDED)
        await suspend(api, tenant_id)
    async with api.database.transaction(Scope.platform()) as session:
        await session.execute(update(WebhookEndpoint).values(is_slow=True))  # as after a first failure
    sending = sender(api, slow_places=2)
    assert await sending.begin_due() == 2  # as many as slow ones may be under way
    tenant_id, admin = await tenant_with_admin(api, "alive")
    await subscribe(admin, quick.url, SUSPENDED)
    await suspend(api, tenant_id)
    assert await sending.begin_due() == 1
    async with asyncio.timeout(TIMEOUT_SECONDS / 2):
        await quick.got_one.wait()
    await silent.stop()
    await sending.send_due()
    async with api.database.transaction(Scope.platform()) as session:
        failures = await session.execute(select(WebhookEndpoint.failures).order_by(WebhookEndpoint.failures))
        assert failures.scalars().all() == [0, 1, 1, 1, 1, 1, 1]


async def test_a_redirect_is_not_followed_and_a_long_answer_is_cut(api: Api, receiver: Starts) -> None:
    tenant_id, admin = await tenant_with_admin(api)
    inside = await receiver()
    moved = await receiver(
        f"HTTP/1.1 302 Found\r\nlocation: {inside.url}\r\ncontent-length: 100000\r\n\r\n".encode() + b"\x00x" * 50_000
    )
    await subscribe(admin, moved.url, SUSPENDED)
    await suspend(api, tenant_id)
    await sender(api).send_due()
    assert inside.received == []
    (delivery,) = (await admin.get("/v1/webhook-deliveries")).json()["items"]
    assert delivery["last_problem"] == "answered 302: redirects are not followed"
    log = (await admin.get(f"/v1/webhook-deliveries/{delivery['delivery_id']}")).json()["attempt_log"]
    assert len(log[0]["answer"]) <= posting.ANSWER_LIMIT_CHARACTERS


async def test_outside_development_nothing_goes_inside(api: Api, receiver: Starts) -> None:
    """Also for an endpoint that was made before: the address is judged at every attempt."""
    tenant_id, admin = await tenant_with_admin(api)
    inside = await receiver()
    await subscribe(admin, inside.url, SUSPENDED)
    await suspend(api, tenant_id)
    await sender(api, inside_allowed=False).send_due()
    assert inside.received == []
    (delivery,) = (await admin.get("/v1/webhook-deliveries")).json()["items"]
    assert (delivery["attempts"], delivery["last_problem"]) == (1, "The URL begins with https://.")


async def test_a_window_is_told_to_every_tenant_once(api: Api, receiver: Starts) -> None:
    wants = await receiver()
    told: list[str] = []
    for name in ("one", "two"):
        tenant_id, admin = await tenant_with_admin(api, name)
        await subscribe(admin, wants.url, "maintenance_window.announced")
        told.append(tenant_id)
    operator = await api.client("platform_operator")
    day = (clock.today() + timedelta(days=10)).isoformat()
    body = {"begins_at": f"{day}T02:00:00+08:00", "ends_at": f"{day}T04:00:00+08:00", "note": "new switches"}
    assert (await operator.post("/v1/maintenance-windows", body)).status_code == 201
    assert api.settings.database_url is not None
    await run_jobs(api.settings.database_url)
    await sender(api).send_due()
    assert sorted(each.message["data"]["tenant_id"] for each in wants.received) == sorted(told)
    assert wants.received[0].message["data"]["begins_at"].startswith(day[:8])


async def test_the_loop_of_a_worker_sends_until_it_is_stopped(api: Api, receiver: Starts) -> None:
    tenant_id, admin = await tenant_with_admin(api)
    wants, stop = await receiver(), asyncio.Event()
    await subscribe(admin, wants.url, SUSPENDED)
    await suspend(api, tenant_id)
    running = asyncio.create_task(run_sender(api.database, api.settings, stop))
    async with asyncio.timeout(5):
        await wants.got_one.wait()
        stop.set()
        await running


async def test_a_defect_with_one_endpoint_stops_no_other(api: Api, receiver: Starts) -> None:
    wants, sending = await receiver(), sender(api)
    for name in ("broken", "whole"):
        tenant_id, admin = await tenant_with_admin(api, name)
        endpoint = await subscribe(admin, wants.url, SUSPENDED)
        await suspend(api, tenant_id)
        if name == "broken":
            async with api.database.transaction(Scope.platform()) as session:
                row = await session.get_one(WebhookEndpoint, (tenant_id, endpoint["endpoint_id"]))
                row.sealed_secret = b"sealed under another key"
    await sending.send_due()
    assert [each.message["data"]["tenant_id"] for each in wants.received] == [tenant_id]


async def test_a_claim_of_a_lost_process_runs_out(api: Api, receiver: Starts) -> None:
    tenant_id, admin = await tenant_with_admin(api)
    wants = await receiver()
    await subscribe(admin, wants.url, SUSPENDED)
    await suspend(api, tenant_id)
    async with api.database.transaction(Scope.platform()) as session:
        (delivery,) = (await session.execute(select(WebhookDelivery))).scalars()
        delivery.state, delivery.next_attempt_at = "sending", clock.now() + claims.CLAIM
    await sender(api).send_due()
    assert wants.received == []
    clock.travel_to(clock.now() + claims.CLAIM + timedelta(seconds=1))
    await sender(api).send_due()
    assert len(wants.received) == 1


async def test_what_is_older_than_a_month_is_forgotten(api: Api, receiver: Starts) -> None:
    tenant_id, admin = await tenant_with_admin(api)
    wants = await receiver()
    await subscribe(admin, wants.url, SUSPENDED, RESTORED)
    await suspend(api, tenant_id)
    await sender(api).send_due()
    clock.travel_to(clock.now() + webhook_jobs.KEPT + timedelta(days=1))
    await restore(api, tenant_id)
    await webhook_jobs.forget_webhooks(jobs.Runtime(api.database, api.settings))
    admin = await api.client("tenant_admin", tenant_id)
    (left,) = (await admin.get("/v1/webhook-deliveries")).json()["items"]
    assert left["event_type"] == RESTORED


async def test_two_workers_send_each_message_once_and_a_dead_ones_message_is_sent_by_the_other(
    api: Api, receiver: Starts
) -> None:
    tenant_id, admin = await tenant_with_admin(api)
    wants = await receiver()
    await subscribe(admin, wants.url, SUSPENDED, RESTORED)
    for _ in range(6):
        await suspend(api, tenant_id)
        await restore(api, tenant_id)
    await asyncio.gather(sender(api).send_due(), sender(api).send_due(), sender(api).send_due())
    ids = [each.headers["webhook-id"] for each in wants.received]
    assert (len(ids), len(set(ids))) == (12, 12)

    silent = await receiver(None)
    endpoint = (await admin.get("/v1/webhook-endpoints")).json()["items"][0]
    moved = {"url": silent.url, "event_types": [SUSPENDED], "description": ""}
    await admin.http.put(f"/v1/webhook-endpoints/{endpoint['endpoint_id']}", json=moved, headers=admin.headers)
    await suspend(api, tenant_id)
    dying = sender(api)
    assert await dying.begin_due() == 1
    async with asyncio.timeout(5):
        await silent.got_one.wait()
    for task in asyncio.all_tasks():
        if getattr(task.get_coro(), "__qualname__", "") == "Sender._send":  # killed while it waits for the answer
            task.cancel()
    silent.answer = b"HTTP/1.1 204 No Content\r\n\r\n"
    await sender(api).send_due()
    assert len(silent.received) == 1, "its claim is respected while it lasts"
    clock.travel_to(clock.now() + claims.CLAIM + timedelta(seconds=1))
    await sender(api).send_due()
    first, second = silent.received
    assert (first.body, first.headers["webhook-id"]) == (second.body, second.headers["webhook-id"])
