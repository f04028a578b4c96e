"""Endpoints of webhooks: made, tried, given a new secret, switched off, removed; each tenant its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest
from sqlalchemy import select

from infra.kit.database import Scope
from infra.kit.outbox.kinds import Desk
from infra.kit.outbox.models import OutboxMail
from tenancy.people import persons
from tenancy.webhooks import mails
from tenancy.webhooks.models import WebhookEndpoint
from tests.api import Api
from tests.tenancy.webhook_world import (
    RESTORED,
    SUSPENDED,
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


async def test_a_target_that_says_gone_is_switched_off_at_once(api: Api, receiver: Starts) -> None:
    tenant_id, admin = await tenant_with_admin(api)
    wants = await receiver(b"HTTP/1.1 410 Gone\r\ncontent-length: 0\r\n\r\n")
    endpoint = await subscribe(admin, wants.url, SUSPENDED)
    await suspend(api, tenant_id)
    await sender(api).send_due()
    seen = (await admin.get(f"/v1/webhook-endpoints/{endpoint['endpoint_id']}")).json()
    assert (seen["state"], seen["disabled_reason"]) == ("disabled", "the target answered 410 Gone")


@pytest.mark.parametrize(
    ("language", "subject"), [("zh", "事件推送已停用：127.0.0.1"), ("en", "Webhooks to 127.0.0.1 are")]
)
async def test_an_admin_hears_by_mail_that_an_endpoint_was_switched_off(
    api: Api, receiver: Starts, language: str, subject: str
) -> None:
    tenant_id, admin = await tenant_with_admin(api)
    async with api.database.transaction(Scope.platform()) as session:
        who = {"address": "li@example.com", "name": "Li", "role": "tenant_admin", "language": language}
        await persons.create(session, tenant_id=tenant_id, password_hash=None, **who)
    wants = await receiver(b"HTTP/1.1 410 Gone\r\ncontent-length: 0\r\n\r\n")
    endpoint = await subscribe(admin, wants.url, SUSPENDED)
    await suspend(api, tenant_id)
    await sender(api).send_due()
    async with api.database.transaction(Scope.platform()) as session:
        query = select(OutboxMail).where(OutboxMail.kind == mails.DISABLED)
        mail = (await session.execute(query)).scalar_one()
        assert (mail.recipient, mail.language) == ("li@example.com", language)
        draft = await mails.webhook_disabled(Desk(session, mail, api.settings, None))
        assert draft is not None
        assert draft.words.subject.startswith(subject)
        assert endpoint["endpoint_id"] in draft.words.text
        assert "key=1" not in draft.words.text, "what is behind the host may be a secret"
    await admin.post(f"/v1/webhook-endpoints/{endpoint['endpoint_id']}/activation")
    async with api.database.transaction(Scope.platform()) as session:
        assert await mails.webhook_disabled(Desk(session, mail, api.settings, None)) is None


async def test_a_rotated_secret_signs_with_the_former_one_for_a_day(api: Api, receiver: Starts) -> None:
    tenant_id, admin = await tenant_with_admin(api)
    wants = await receiver()
    former = await subscribe(admin, wants.url, SUSPENDED, RESTORED)
    path = f"/v1/webhook-endpoints/{former['endpoint_id']}"
    new = (await admin.post(f"{path}/secret-rotation")).json()
    assert new["secret"] != former["secret"]
    assert "secret" not in (await admin.get(path)).json()
    await suspend(api, tenant_id)
    await sender(api).send_due()
    assert wants.received[0].is_signed_by(new["secret"])
    assert wants.received[0].is_signed_by(former["secret"])
    later(hours=24, seconds=1)
    await restore(api, tenant_id)
    await sender(api).send_due()
    assert wants.received[1].is_signed_by(new["secret"])
    assert not wants.received[1].is_signed_by(former["secret"])


async def test_a_removed_endpoint_hears_nothing_and_loses_its_secret(api: Api, receiver: Starts) -> None:
    tenant_id, admin = await tenant_with_admin(api)
    wants = await receiver()
    endpoint = await subscribe(admin, wants.url, SUSPENDED)
    await suspend(api, tenant_id)
    path = f"/v1/webhook-endpoints/{endpoint['endpoint_id']}"
    assert (await admin.http.delete(path, headers=admin.headers)).status_code == 204
    await sender(api).send_due()
    assert wants.received == []
    assert (await admin.get(path)).status_code == 404
    async with api.database.transaction(Scope.platform()) as session:
        assert (await session.execute(select(WebhookEndpoint.sealed_secret))).scalars().all() == [b""]


async def test_a_test_message_shows_that_it_works(api: Api, receiver: Starts) -> None:
    _, admin = await tenant_with_admin(api)
    wants = await receiver()
    endpoint = await subscribe(admin, wants.url, SUSPENDED)
    path = f"/v1/webhook-endpoints/{endpoint['endpoint_id']}"
    made = await admin.post(f"{path}/test")
    assert made.status_code == 201
    again = await admin.post(f"{path}/test")  # nobody fills our tables with tests
    assert (again.status_code, again.json()["code"]) == (409, "webhook_delivery_under_way")
    assert made.json()["delivery_id"] in again.json()["detail"]
    await sender(api).send_due()
    assert len(wants.received) == 1
    assert wants.received[0].message["type"] == "webhook.test"
    assert (await admin.post(f"{path}/deactivation", {"reason": "moving"})).json()["state"] == "disabled"
    assert (await admin.post(f"{path}/test")).json()["code"] == "webhook_endpoint_not_enabled"


@pytest.mark.parametrize(
    ("body", "status", "code", "field"),
    [
        ({"url": "https://x.example.com", "event_types": ["seat.stolen"]}, 422, "webhook_event_type_unknown",
         "event_types[0]"),
        ({"url": "https://x.example.com", "event_types": []}, 422, "webhook_event_type_unknown", "event_types"),
        ({"url": "gopher://x.example.com", "event_types": [SUSPENDED]}, 422, "webhook_target_refused", "url"),
        ({"url": "https://x.example.com", "event_types": [SUSPENDED], "secret": "mine"}, 400, "validation_failed",
         "secret"),
    ],
)  # fmt: skip
async def test_bad_endpoints_are_refused_by_name(
    api: Api, body: dict[str, object], status: int, code: str, field: str
) -> None:
    _, admin = await tenant_with_admin(api)
    answer = await admin.post("/v1/webhook-endpoints", body)
    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (status, code, field)


async def test_a_tenant_has_ten_endpoints_at_most(api: Api) -> None:
    _, admin = await tenant_with_admin(api)
    for number in range(10):
        await subscribe(admin, f"https://x.example.com/{number}", SUSPENDED)
    answer = await admin.post("/v1/webhook-endpoints", {"url": "https://x.example.com", "event_types": [SUSPENDED]})
    assert answer.json()["code"] == "too_many_webhook_endpoints"


async def test_a_tenant_has_ten_endpoints_at_most_however_fast_it_asks(api: Api) -> None:
    _, admin = await tenant_with_admin(api)
    body = {"url": "https://x.example.com", "event_types": [SUSPENDED]}
    answers = await asyncio.gather(*(admin.post("/v1/webhook-endpoints", body) for _ in range(14)))
    assert sorted(answer.status_code for answer in answers) == [201] * 10 + [409] * 4


async def test_one_tenant_neither_sees_nor_hears_another(api: Api, receiver: Starts) -> None:
    theirs, their_admin = await tenant_with_admin(api, "theirs")
    _, our_admin = await tenant_with_admin(api, "ours")
    wants, over_the_fence = await receiver(), await receiver()
    endpoint = await subscribe(their_admin, wants.url, SUSPENDED)
    await subscribe(our_admin, over_the_fence.url, SUSPENDED)
    await suspend(api, theirs)
    await sender(api).send_due()
    assert over_the_fence.received == []
    assert (await our_admin.get("/v1/webhook-deliveries")).json()["items"] == []
    assert (await our_admin.get(f"/v1/webhook-endpoints/{endpoint['endpoint_id']}")).status_code == 404
    viewer = await api.client("tenant_viewer", theirs)
    body = {"url": wants.url, "event_types": [SUSPENDED]}
    assert (await viewer.post("/v1/webhook-endpoints", body)).status_code == 403
    assert (await our_admin.post("/v1/webhook-endpoints", body | {"tenant_id": theirs})).status_code == 404
