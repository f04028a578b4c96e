"""From the mail to the page to the session: what somebody sees who is invited, or has forgotten a password."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator
from dataclasses import replace

import pytest

from infra.app import administration, cli, installation
from infra.app.installation import Installation
from infra.kit import jobs
from infra.kit.outbox.jobs import send_mail
from infra.kit.outbox.words import LOCALE
from infra.kit.settings import MailServer, OperatorDetails
from tenancy.people import jobs as people_jobs
from tenancy.people import mails
from tenancy.people.pages import STEPS, preferred
from tests.api import Api
from tests.billing.mail_world import SENDER, Postbox, postbox, words_of
from tests.tenancy.people_world import PASSWORD, Browser, company_of, quick_passwords

LI_WEI = "li.wei@anxin.example"


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    quick_passwords(monkeypatch)


@pytest.fixture
async def box() -> AsyncGenerator[Postbox]:
    async with postbox() as opened_box:
        yield opened_box


@pytest.fixture
def runtime(api: Api, box: Postbox) -> jobs.Runtime:
    server = MailServer(host="127.0.0.1", port=box.port, security="none", username=None, password=None, sender=SENDER)
    return jobs.Runtime(api.database, replace(api.settings, mail_server=server))


def _link(box: Postbox) -> tuple[str, str]:
    """Path and token of the link in the only mail that has come."""
    [mail] = box.mails
    text = words_of(mail)
    found = re.search(r"http://127\.0\.0\.1:8300(/\S+)#(\S+)", text)
    assert found is not None, text
    assert f"{found.group(1)}#{found.group(2)}" in words_of(mail, "html")
    box.mails.clear()
    return found.group(1), found.group(2)


@pytest.mark.parametrize(
    ("language", "subject"),
    [("zh", "邀请您加入tenant"), ("en", "You are invited to join tenant")],
)
async def test_an_invitation_from_mail_to_session(
    api: Api, box: Postbox, runtime: jobs.Runtime, language: str, subject: str
) -> None:
    tenant = await api.tenant()
    admin = await api.client("tenant_admin", tenant)
    body = {"address": LI_WEI, "name": "李伟", "role": "tenant_admin", "language": language}
    await admin.post("/v1/invitations", body)
    await send_mail(runtime)
    assert str(box.mails[0]["Subject"]) == subject
    said = words_of(box.mails[0])
    for part in ("李伟", mails.ROLE_WORDS[language]["tenant_admin"], LI_WEI, await company_of(api, tenant)):
        assert part in said
    path, token = _link(box)
    page = await api.http.get(path, headers={"accept-language": language})
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    browser = Browser.of(api.http, await api.http.post(path, json={"token": token, "password": PASSWORD}))
    assert (await browser.get("/v1/me")).status_code == 200


async def test_an_invitation_that_is_withdrawn_before_it_goes_is_not_sent(
    api: Api, box: Postbox, runtime: jobs.Runtime
) -> None:
    admin = await api.client("tenant_admin", await api.tenant())
    made = (await admin.post("/v1/invitations", {"address": LI_WEI, "name": "Li", "role": "tenant_viewer"})).json()
    await admin.post(f"/v1/invitations/{made['invitation_id']}/withdrawal")
    await send_mail(runtime)
    assert box.mails == []


async def test_a_forgotten_password_from_mail_to_session(api: Api, box: Postbox, runtime: jobs.Runtime) -> None:
    tenant = await api.tenant()
    admin = await api.client("tenant_admin", tenant)
    await admin.post("/v1/invitations", {"address": LI_WEI, "name": "Li", "role": "tenant_admin"})
    await send_mail(runtime)
    path, token = _link(box)
    await api.http.post(path, json={"token": token, "password": PASSWORD})
    await people_jobs.begin_password_reset(runtime, company=await company_of(api, tenant), address=LI_WEI)
    await send_mail(runtime)
    path, token = _link(box)
    Browser.of(api.http, await api.http.post(path, json={"token": token, "password": "another three words"}))
    await send_mail(runtime)
    assert [str(mail["Subject"]) for mail in box.mails] == ["您的密码已更改：tenant"]


async def test_the_first_person_of_the_platform_is_invited_at_the_terminal(
    api: Api, box: Postbox, runtime: jobs.Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    operator = OperatorDetails(name="席线云", address="上海", tax_number="1", bank_name="b", bank_account="2")
    monkeypatch.setattr(runtime, "settings", replace(runtime.settings, operator=operator))
    ours = Installation(api.settings, str(api.settings.database_url))
    link = await administration.invite_person(
        ours,
        address="ops@platform.example",
        name="Ops",
        role="platform_operator",
        tenant_id=None,
        language="en",
    )
    await send_mail(runtime)
    assert str(box.mails[0]["Subject"]) == "You are invited to join 席线云"
    path, token = _link(box)
    assert link.endswith(f"{path}#{token}")
    browser = Browser.of(api.http, await api.http.post(path, json={"token": token, "password": PASSWORD}))
    assert (browser.person["role"], browser.person["tenant_id"]) == ("platform_operator", None)


async def test_a_wrong_invitation_at_the_terminal_is_refused(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(cli, "complain", said.append)
    monkeypatch.setattr(installation, "open_installation", lambda: Installation(api.settings, str(api.database.url)))
    command = ["person-invite", "nobody", "--name", "N", "--role", "finance"]
    assert await asyncio.to_thread(cli.main, command) == cli.USAGE_ERROR
    assert said == ["The address is one such as li.wei@example.com, in ASCII."]


@pytest.mark.parametrize("path", STEPS)
@pytest.mark.parametrize("language", ["zh-CN,zh;q=0.9", "en-GB"])
async def test_the_pages_run_nothing_but_their_own_script(api: Api, path: str, language: str) -> None:
    page = await api.http.get(path, headers={"accept-language": language})
    assert page.status_code == 200
    policy = page.headers["content-security-policy"]
    [nonce] = set(re.findall(r"'nonce-([^']+)'", policy))
    assert "unsafe" not in policy
    assert page.text.count(f'nonce="{nonce}"') == 2
    assert not re.search(r"\son\w+=|style=|src=|https?://", page.text)
    assert page.headers["referrer-policy"] == "no-referrer"
    assert ('lang="en"' in page.text) == language.startswith("en")


@pytest.mark.parametrize(
    ("header", "language"), [("", "zh"), ("fr", "zh"), ("fr, en;q=0.8, zh", "en"), ("zh-TW, en", "zh"), ("*;", "zh")]
)
def test_the_language_is_the_first_that_we_speak(header: str, language: str) -> None:
    assert preferred(header) == language


def test_both_languages_say_the_same() -> None:
    def keys(words: object, at: str = "") -> set[str]:
        return {at} if not isinstance(words, dict) else set().union(*(keys(words[k], f"{at}/{k}") for k in words))

    chinese, english = (json.loads((LOCALE / each / "sign_in.json").read_text("utf-8")) for each in ("zh", "en"))
    assert keys(chinese) == keys(english)
