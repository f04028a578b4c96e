"""The link of a hand-out goes by mail to whoever sits on the seat, and stays a secret in the outbox (C20)."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import pytest
from sqlalchemy import select

from infra.kit.database import Scope
from infra.kit.jobs import Runtime
from infra.kit.outbox import jobs as outbox_jobs
from infra.kit.outbox.models import OutboxMail
from infra.kit.settings import MailServer
from tests.api import Caller
from tests.billing.mail_world import SENDER, Postbox, postbox, words_of
from tests.provisioning.world import World

WANG = {"name": "王芳", "mail": "wang@example.com"}


@pytest.fixture
async def box() -> AsyncGenerator[Postbox]:
    """A mail server that listens."""
    async with postbox() as found:
        yield found


async def staffed(world: World, *people: dict[str, str] | None) -> tuple[Caller, list[str]]:
    """A tenant's admin and its seats with these people."""
    tenant_id, _, seat_ids = await world.opened(seats=len(people))
    admin = await world.api.client("tenant_admin", tenant_id)
    for seat_id, person in zip(seat_ids, people, strict=True):
        if person is not None:
            await admin.post(f"/v1/seats/{seat_id}/person", {"person": person})
    return admin, seat_ids


async def send_mail(world: World, box: Postbox) -> None:
    """The outbox's job runs."""
    server = MailServer(host="127.0.0.1", port=box.port, security="none", username=None, password=None, sender=SENDER)
    settings = replace(world.api.settings, mail_server=server)
    await outbox_jobs.send_mail(Runtime(world.api.database, settings))


async def outbox(world: World) -> list[OutboxMail]:
    async with world.api.database.transaction(Scope.platform()) as session:
        return list((await session.execute(select(OutboxMail).where(OutboxMail.kind == "hand_out"))).scalars())


@pytest.mark.parametrize(
    ("language", "subject"), [("zh", "您的坐席资料：分机 1001"), ("en", "Your seat: extension 1001")]
)
async def test_the_mailed_link_opens_the_seat_and_nothing_of_it_stays(
    world: World, box: Postbox, language: str, subject: str
) -> None:
    admin, seat_ids = await staffed(world, WANG)
    body: dict[str, Any] = {"mail": True, "language": language}
    made = (await admin.post(f"/v1/seats/{seat_ids[0]}/hand-outs", body)).json()
    secret = urlsplit(made["url"]).fragment
    (waiting,) = await outbox(world)
    assert waiting.sealed_secret is not None
    assert secret.encode() not in waiting.sealed_secret
    await send_mail(world, box)
    (mail,) = box.mails
    assert (str(mail["Subject"]), "王芳" in words_of(mail)) == (subject, True)
    link = re.search(r"http\S+#\S+", words_of(mail))
    assert link is not None
    assert link.group(0) == made["url"]
    assert made["url"] in words_of(mail, "html")
    (sent,) = await outbox(world)
    assert (sent.state, sent.sealed_secret, secret in str(sent.content)) == ("sent", None, False)
    assert (await world.api.http.post(f"/hand-outs/{language}", data={"secret": secret})).status_code == 200


async def test_a_link_that_has_ended_is_not_mailed(world: World, box: Postbox) -> None:
    admin, seat_ids = await staffed(world, WANG)
    path = f"/v1/seats/{seat_ids[0]}/hand-outs"
    await admin.post(path, {"mail": True})
    second = (await admin.post(path, {"mail": True})).json()
    await send_mail(world, box)
    assert [second["url"] in words_of(mail) for mail in box.mails] == [True]


async def test_without_an_address_nothing_is_made(world: World) -> None:
    admin, seat_ids = await staffed(world, None)
    answer = await admin.post(f"/v1/seats/{seat_ids[0]}/hand-outs", {"mail": True})
    assert (answer.status_code, answer.json()["code"]) == (409, "seat_without_mail_address")
    assert (await admin.get("/v1/hand-outs")).json()["items"] == []


async def test_a_table_mails_to_those_who_have_an_address(world: World, box: Postbox) -> None:
    admin, _ = await staffed(world, WANG, None)
    table = b"extension,action\r\n1001,reissue\r\n1002,reissue\r\n"
    done = await admin.post_bytes("/v1/seat-table?dry_run=false&mail=true", table, "text/csv")
    assert done.status_code == 200, done.text
    await send_mail(world, box)
    (mail,) = box.mails
    assert done.json()["lines"][0]["hand_out_url"] in words_of(mail)
