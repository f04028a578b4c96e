"""The outbox for every room: kinds, secrets that do not stay, and who may put in what."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.exc import ProgrammingError

from infra.kit import clock, jobs
from infra.kit.database import PLATFORM, Database, Scope
from infra.kit.jobs import Runtime
from infra.kit.outbox import kinds, posting, sending
from infra.kit.outbox.jobs import MailFailed, send_mail
from infra.kit.outbox.kinds import Desk, Draft
from infra.kit.outbox.models import OutboxMail
from infra.kit.outbox.words import Link, Row, Table, Words, compose
from infra.kit.settings import MailServer, Settings
from tenancy.people import mails
from tests.billing.mail_world import SENDER, Postbox, postbox, words_of
from tests.jobs import run_jobs

SECRET = "sai_the-token"
TO = "li.wei@anxin.example"


@kinds.kind("test_letter")
async def _letter(desk: Desk) -> Draft | None:
    if desk.mail.facts.get("pointless"):
        return None
    text = f"{desk.mail.facts.get('text', '')} {desk.secret or ''}".strip()
    return Draft(Words(f"Letter {text}", text, f"<p>{text}</p>"), "Sender")


@pytest.fixture
async def box() -> AsyncGenerator[Postbox]:
    async with postbox() as opened_box:
        yield opened_box


@pytest.fixture
def runtime(database: Database, settings: Settings, box: Postbox) -> Runtime:
    server = MailServer(host="127.0.0.1", port=box.port, security="none", username=None, password=None, sender=SENDER)
    return Runtime(database, replace(settings, mail_server=server))


async def _put(runtime: Runtime, *, scope: Scope | None = None, **values: object) -> str | None:
    arguments = {"kind": "test_letter", "subject_id": "thing_1", "recipient": TO, "language": "en"} | values
    async with runtime.database.transaction(scope or Scope.platform()) as session:
        return await posting.put(session, **arguments)  # pyright: ignore[reportArgumentType]


async def _mail(runtime: Runtime) -> OutboxMail:
    async with runtime.database.transaction(Scope.platform()) as session:
        return (await session.execute(select(OutboxMail))).scalar_one()


async def test_a_secret_is_sealed_while_it_waits_and_erased_when_it_has_gone(runtime: Runtime, box: Postbox) -> None:
    await _put(runtime, secret=(runtime.seal, SECRET))
    waiting = await _mail(runtime)
    assert waiting.sealed_secret is not None
    assert SECRET.encode() not in waiting.sealed_secret
    assert waiting.tenant_id == PLATFORM
    await send_mail(runtime)
    assert SECRET in words_of(box.mails[0])
    sent = await _mail(runtime)
    assert (sent.state, sent.sealed_secret, sent.content) == ("sent", None, sending.STRUCK_OUT)
    assert SECRET not in str(sent.headline)


@pytest.mark.parametrize("way", ["refused", "given_up", "outdated"])
async def test_a_secret_goes_too_when_nothing_is_tried_any_more(runtime: Runtime, box: Postbox, way: str) -> None:
    if way == "refused":
        box.turned_down[TO] = "550 no such user"
    elif way == "given_up":
        box.turned_down[TO] = "451 later"
    await _put(runtime, secret=(runtime.seal, SECRET), facts={"pointless": way == "outdated"})
    for _ in range(sending.ATTEMPTS_LIMIT):
        await send_mail(runtime)
        clock.travel_to(clock.now() + timedelta(minutes=sending.LONGEST_PAUSE_MINUTES + 1))
    left = await _mail(runtime)
    assert (left.state, left.sealed_secret, box.mails) == (way, None, [])


async def test_the_same_mail_is_there_once_and_wakes_the_sender_by_itself(runtime: Runtime, box: Postbox) -> None:
    first = await _put(runtime)
    assert first is not None
    assert await _put(runtime) is None
    assert await _put(runtime, recipient="other@anxin.example", at_once=False) is not None
    jobs.install(runtime)
    assert runtime.settings.database_url is not None
    await run_jobs(runtime.settings.database_url)
    assert len(box.taken()) == 2  # whoever is woken takes everything that waits


async def test_nobody_to_write_to_is_noted(runtime: Runtime, box: Postbox) -> None:
    await _put(runtime, recipient="")
    await send_mail(runtime)
    assert ((await _mail(runtime)).state, box.mails) == ("no_contact", [])


async def test_a_tenant_puts_in_its_own_mail_only(runtime: Runtime) -> None:
    assert await _put(runtime, scope=Scope.tenant("ten_1"), tenant_id="ten_1") is not None
    for foreign in ("ten_2", None):
        with pytest.raises(ProgrammingError, match="row-level security"):
            await _put(runtime, scope=Scope.tenant("ten_1"), tenant_id=foreign)


async def test_a_kind_that_nobody_writes_is_a_defect_at_once_and_another_processs_waits(
    runtime: Runtime, box: Postbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(KeyError):
        await _put(runtime, kind="unheard_of")
    with pytest.raises(ValueError, match="already"):
        kinds.kind("test_letter")(_letter)
    await _put(runtime)
    monkeypatch.setattr(kinds, "known", lambda: ["something_else"])  # as in a process of an older version
    await send_mail(runtime)
    assert ((await _mail(runtime)).state, box.mails) == ("waiting", [])


async def test_a_writers_defect_is_told_and_tried_again(runtime: Runtime, box: Postbox) -> None:
    await _put(runtime, kind=mails.CHANGED, tenant_id="ten_gone")
    with pytest.raises(MailFailed):
        await send_mail(runtime)
    assert ((await _mail(runtime)).state, box.mails) == ("waiting", [])


def test_words_of_tenants_stay_words_and_links_stand_in_text_and_html(settings: Settings) -> None:
    name = "<b>A</b>\r\nBcc: x@y.example {{ 7*7 }}"
    values = {"company": name, "address": TO, "expires": "tomorrow"}
    for language in ("zh", "en"):
        words = compose(
            "password_reset",
            language,
            values,
            settings.operator,
            tables=[Table("", [Row("label", name)]), Table("empty", [])],
            link=Link("click", "https://seats.example.com/sign-in/reset#token&x=1"),
        )
        assert "\n" not in words.subject
        assert "{{ 7*7 }}" in words.text
        assert "<b>A</b>" not in words.html
        assert "https://seats.example.com/sign-in/reset#token&x=1\n" in words.text
        assert 'href="https://seats.example.com/sign-in/reset#token&amp;x=1"' in words.html
        assert "empty" not in words.text
