"""People are invited by mail, sign in, and are what their company makes them; strangers learn nothing."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select, text

from infra.kit import clock, jobs
from infra.kit.database import Scope
from infra.kit.models import AuditEntry
from infra.kit.outbox import kinds
from infra.kit.outbox.models import OutboxMail
from tenancy.people import invitations, resets, throttle
from tenancy.people import jobs as people_jobs
from tenancy.people.models import SignInAttempts
from tests.api import Api
from tests.tenancy.people_world import (
    PASSWORD,
    Browser,
    company_of,
    invited,
    joined,
    link_token,
    quick_passwords,
    signs_in,
)

LI_WEI, WANG = "li.wei@anxin.example", "wang@anxin.example"


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    quick_passwords(monkeypatch)


def refusal(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


async def _actions(api: Api, tenant_id: str) -> list[tuple[str, str]]:
    async with api.database.transaction(Scope.platform()) as session:
        query = select(AuditEntry.action, AuditEntry.actor).where(AuditEntry.tenant_id == tenant_id)
        return [(action, actor) for action, actor in await session.execute(query.order_by(AuditEntry.entry_id))]


async def test_an_invitation_makes_a_person_who_can_sign_in(api: Api) -> None:
    tenant = await api.tenant()
    admin = await api.client("tenant_admin", tenant)
    invitation, token = await invited(api, admin, "Li.Wei@Anxin.example")
    assert (invitation["address"], invitation["state"], invitation["tenant_id"]) == (LI_WEI, "open", tenant)
    answer = await api.http.post("/sign-in/invitation", json={"token": token, "password": PASSWORD})
    assert "HttpOnly" in answer.headers["set-cookie"]
    assert "SameSite=Lax" in answer.headers["set-cookie"]
    browser = Browser.of(api.http, answer)
    assert (browser.person["role"], browser.person["tenant_id"], browser.person["ways"]) == (
        "tenant_admin", tenant, ["password"],
    )  # fmt: skip
    me = (await browser.get("/v1/me")).json()
    assert (me["person"]["address"], me["csrf_token"]) == (LI_WEI, browser.csrf_token)
    again = await api.http.post("/sign-in/invitation", json={"token": token, "password": PASSWORD})
    assert refusal(again) == (410, "link_not_valid")
    assert (await signs_in(api, await company_of(api, tenant), LI_WEI.upper())).status_code == 200
    listed = (await admin.get("/v1/invitations")).json()["items"]
    assert [(each["state"], each["person_id"]) for each in listed] == [("accepted", browser.person["person_id"])]
    assert ("person.signed_in", browser.person["person_id"]) in await _actions(api, tenant)


async def test_a_person_chooses_the_language_of_its_mails(api: Api) -> None:
    tenant = await api.tenant()
    admin = await api.client("tenant_admin", tenant)
    browser = await joined(api, admin, LI_WEI)
    answer = await browser.put("/v1/me/language", {"language": "en"})
    assert (answer.status_code, answer.json()["language"]) == (200, "en")
    assert refusal(await browser.put("/v1/me/language", {"language": "fr"})) == (422, "invalid_input")
    assert refusal(await admin.put("/v1/me/language", {"language": "en"})) == (403, "forbidden")
    assert ("person.language_changed", browser.person["person_id"]) in await _actions(api, tenant)


async def test_an_invitation_says_who_invites(api: Api) -> None:
    tenant = await api.tenant()
    browser = await joined(api, await api.client("tenant_admin", tenant), LI_WEI)
    await browser.post("/v1/invitations", {"address": WANG, "name": "王芳", "role": "tenant_viewer", "language": "zh"})
    async with api.database.transaction(Scope.platform()) as session:
        query = select(OutboxMail).where(OutboxMail.tenant_id == tenant, OutboxMail.recipient == WANG)
        mail = (await session.execute(query)).scalar_one()
        draft = await kinds.writer_of(mail.kind)(kinds.Desk(session, mail, api.settings, "token"))
    assert draft is not None
    assert f"{browser.person['name']}邀请您" in draft.words.text


async def test_only_digests_of_links_and_sessions_are_kept(api: Api) -> None:
    admin = await api.client("tenant_admin", await api.tenant())
    _, token = await invited(api, admin, LI_WEI)
    answer = await api.http.post("/sign-in/invitation", json={"token": token, "password": PASSWORD})
    cookie = answer.headers["set-cookie"].split(";")[0].partition("=")[2]
    async with api.database.engine.connect() as connection:
        for table in ("invitation", "person", "person_session", "outbox_mail", "audit_entry", "procrastinate_jobs"):
            rows = (await connection.execute(text(f"SELECT t::text FROM {table} AS t"))).scalars().all()  # noqa: S608
            for secret in (token, cookie, PASSWORD):
                assert not [row for row in rows if secret in row], table


async def test_passwords_are_dear_to_guess_and_renewed_when_the_price_has_risen(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant = await api.tenant()
    await joined(api, await api.client("tenant_admin", tenant), LI_WEI)
    monkeypatch.undo()
    assert (await signs_in(api, await company_of(api, tenant), LI_WEI)).status_code == 200
    async with api.database.transaction(Scope.platform()) as session:
        stored = (await session.execute(text("SELECT password_hash FROM person"))).scalar_one()
    assert stored.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    assert (await signs_in(api, await company_of(api, tenant), LI_WEI)).status_code == 200


async def test_a_link_that_is_withdrawn_replaced_or_old_is_worthless(api: Api) -> None:
    admin = await api.client("tenant_admin", await api.tenant())
    first, first_token = await invited(api, admin, LI_WEI)
    second, second_token = await invited(api, admin, LI_WEI)
    assert (await admin.post(f"/v1/invitations/{second['invitation_id']}/withdrawal")).json()["state"] == "withdrawn"
    _, third_token = await invited(api, admin, LI_WEI)
    closed = await admin.post(f"/v1/invitations/{first['invitation_id']}/withdrawal")
    assert refusal(closed) == (409, "invitation_closed")
    clock.travel_to(clock.now() + invitations.LIFETIME + timedelta(seconds=1))
    for token in (first_token, second_token, third_token, "sai_nobodys"):
        answer = await api.http.post("/sign-in/invitation", json={"token": token, "password": PASSWORD})
        assert refusal(answer) == (410, "link_not_valid")


@pytest.mark.parametrize(
    ("password", "code"),
    [("short", "password_refused"), ("a" * 201, "password_refused"), ("ababababababab", "password_refused")],
)
async def test_a_password_that_is_too_easy_leaves_the_link_good(api: Api, password: str, code: str) -> None:
    admin = await api.client("tenant_admin", await api.tenant())
    _, token = await invited(api, admin, LI_WEI)
    answer = await api.http.post("/sign-in/invitation", json={"token": token, "password": password})
    assert refusal(answer) == (422, code)
    async with api.database.transaction(Scope.platform()) as session:
        assert (await invitations.by_token(session, token)).address == LI_WEI


@pytest.mark.parametrize(
    ("change", "code", "field"),
    [
        ({"address": "nobody"}, "invalid_input", "address"),
        ({"address": "李@例子.cn"}, "invalid_input", "address"),
        ({"name": "  "}, "invalid_input", "name"),
        ({"role": "king"}, "invalid_input", "role"),
        ({"role": "platform_operator"}, "forbidden", "role"),
        ({"language": "fr"}, "invalid_input", "language"),
        ({"tenant_id": "ten_other"}, "not_found", "tenant_id"),
    ],
)
async def test_an_invitation_that_is_none(api: Api, change: dict[str, str], code: str, field: str) -> None:
    admin = await api.client("tenant_admin", await api.tenant())
    body = {"address": LI_WEI, "name": "Li", "role": "tenant_viewer"} | change
    answer = (await admin.post("/v1/invitations", body)).json()
    assert (answer["code"], answer["field"]) == (code, field)


async def test_strangers_cannot_tell_who_has_an_account(api: Api) -> None:
    tenant = await api.tenant()
    admin = await api.client("tenant_admin", tenant)
    await joined(api, admin, LI_WEI)
    company = await company_of(api, tenant)
    answers = [
        await signs_in(api, company, LI_WEI, "not the password"),
        await signs_in(api, company, "nobody@anxin.example"),
        await signs_in(api, "nowhere.example.com", LI_WEI),
        await signs_in(api, None, LI_WEI),
    ]
    assert {(each.status_code, each.text) for each in answers} == {(401, answers[0].text)}
    forgotten = [
        await api.http.post("/sign-in/forgotten", json={"company": company, "address": address})
        for address in (LI_WEI, "nobody@anxin.example")
    ]
    assert {(each.status_code, each.text) for each in forgotten} == {(202, forgotten[0].text)}


@pytest.mark.parametrize("odd", ["li\x00@anxin.example", "李@例子.cn", "x" * 5_000, "", "' OR 1=1 --"])
async def test_odd_input_of_strangers_is_refused_or_nobodys(api: Api, odd: str) -> None:
    for path, body in (
        ("/sign-in", {"company": None, "address": odd, "password": PASSWORD}),
        ("/sign-in", {"company": odd, "address": LI_WEI, "password": odd}),
        ("/sign-in/forgotten", {"company": odd, "address": odd}),
        ("/sign-in/invitation", {"token": odd, "password": PASSWORD}),
        ("/sign-in/reset", {"token": odd, "password": PASSWORD}),
    ):
        answer = await api.http.post(path, json=body)
        assert answer.status_code in (202, 401, 410, 422), (path, answer.text)
    assert (await api.http.post("/sign-in", content=b'{"address": "\\ud800", "password": "x"}')).status_code == 400
    assert (await api.http.post("/sign-in", json={"address": "a", "password": "b", "colour": 1})).status_code == 400


async def test_the_same_address_in_two_companies_is_two_people(api: Api) -> None:
    one, other = await api.tenant("one"), await api.tenant("other")
    first = await joined(api, await api.client("tenant_admin", one), LI_WEI)
    second = await joined(api, await api.client("tenant_admin", other), LI_WEI, role="tenant_viewer")
    assert first.person["person_id"] != second.person["person_id"]
    assert (await second.get(f"/v1/people/{first.person['person_id']}")).status_code == 404
    assert [each["person_id"] for each in (await second.get("/v1/people")).json()["items"]] == [
        second.person["person_id"]
    ]


async def test_guesses_are_counted_for_an_account_that_is_there_and_one_that_is_not(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(throttle, "ACCOUNT_LIMIT", 2)
    tenant = await api.tenant()
    await joined(api, await api.client("tenant_admin", tenant), LI_WEI)
    company = await company_of(api, tenant)
    for address in (LI_WEI, "nobody@anxin.example"):
        guesses = [(await signs_in(api, company, address, "wrong password")).status_code for _ in range(4)]
        assert guesses == [401, 401, 429, 429]
    locked = await signs_in(api, company, LI_WEI)
    assert refusal(locked) == (429, "too_many_attempts")
    assert 0 < int(locked.headers["retry-after"]) <= 901
    clock.travel_to(clock.now() + throttle.WINDOW)
    assert (await signs_in(api, company, LI_WEI)).status_code == 200
    guesses = [(await signs_in(api, company, LI_WEI, "wrong password")).status_code for _ in range(3)]
    assert guesses == [401, 401, 429]  # the success began anew


async def test_guesses_are_counted_by_network_address(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle, "SOURCE_LIMIT", 3)
    bodies = [{"token": f"sai_{number}", "password": PASSWORD} for number in range(4)]
    statuses = [(await api.http.post("/sign-in/invitation", json=body)).status_code for body in bodies]
    assert statuses == [410, 410, 410, 429]


async def test_guesses_at_the_same_time_are_counted_all(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle, "ACCOUNT_LIMIT", 2)
    counting = throttle.Throttle(api.database, api.settings.secret_key)

    async def passes() -> bool:
        try:
            await counting.take(source="192.0.2.1", account="x|y")
        except throttle.TooManyAttempts:
            return False
        return True

    assert sum(await asyncio.gather(*(passes() for _ in range(8)))) == 2


async def test_the_counters_have_a_bounded_number_of_rows(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle, "BUCKETS", 4)
    monkeypatch.setattr(throttle, "ACCOUNT_LIMIT", 1_000)
    counting = throttle.Throttle(api.database, api.settings.secret_key)
    for number in range(40):
        await counting.take(source=f"192.0.2.{number}", account=f"x|{number}")
    async with api.database.transaction(Scope.platform()) as session:
        assert await session.scalar(select(func.count()).select_from(SignInAttempts)) == 8


@pytest.mark.parametrize(
    ("source", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("192.0.2.7:50000", "192.0.2.7"),
        ("[2001:db8:1:2::4]:50000", "2001:db8:1:2::/64"),
        ("'; drop", "unknown"),
    ],
)
def test_what_counts_as_one_network_address(source: str, network: str) -> None:
    assert throttle.network_of(source) == network


async def _runtime(api: Api) -> jobs.Runtime:
    return jobs.Runtime(api.database, api.settings)


async def test_a_forgotten_password_is_set_anew_by_mail_and_ends_everything_else(api: Api) -> None:
    tenant = await api.tenant()
    browser = await joined(api, await api.client("tenant_admin", tenant), LI_WEI)
    company = await company_of(api, tenant)
    runtime = await _runtime(api)
    for address in (LI_WEI, "nobody@anxin.example"):
        await people_jobs.begin_password_reset(runtime, company=company, address=address)
    token = await link_token(api, "password_reset", LI_WEI)
    await people_jobs.begin_password_reset(runtime, company=company, address=LI_WEI)
    other_token = await link_token(api, "password_reset", LI_WEI)
    answer = await api.http.post("/sign-in/reset", json={"token": token, "password": "another three words"})
    renewed = Browser.of(api.http, answer)
    assert (await browser.get("/v1/me")).status_code == 401
    assert (await renewed.get("/v1/me")).status_code == 200
    for used in (token, other_token):
        answer = await api.http.post("/sign-in/reset", json={"token": used, "password": "another three words"})
        assert refusal(answer) == (410, "link_not_valid")
    assert (await signs_in(api, company, LI_WEI)).status_code == 401
    assert (await signs_in(api, company, LI_WEI, "another three words")).status_code == 200
    async with api.database.transaction(Scope.platform()) as session:
        query = select(OutboxMail.kind).where(OutboxMail.recipient == LI_WEI).order_by(OutboxMail.mail_id)
        kinds = (await session.execute(query)).scalars().all()
    assert kinds == ["person_invited", "password_reset", "password_reset", "password_changed"]


async def test_links_for_a_new_password_are_few_and_short_lived(api: Api) -> None:
    await joined(api, await api.client("tenant_admin", await api.tenant("reset")), LI_WEI)
    async with api.database.transaction(Scope.platform()) as session:
        domain = (await session.execute(text("SELECT domain FROM sip_domain"))).scalar_one()
    seal = (await _runtime(api)).seal
    sent: list[bool] = []
    for _ in range(resets.LIMIT_AT_ONCE + 1):
        async with api.database.transaction(Scope.platform()) as session:
            sent.append(await resets.begin(session, seal, company=domain, address=LI_WEI))
    assert sent == [True] * resets.LIMIT_AT_ONCE + [False]
    token = await link_token(api, "password_reset", LI_WEI)
    clock.travel_to(clock.now() + resets.LIFETIME)
    answer = await api.http.post("/sign-in/reset", json={"token": token, "password": "another three words"})
    assert refusal(answer) == (410, "link_not_valid")


async def test_a_password_is_changed_by_who_knows_it(api: Api) -> None:
    tenant = await api.tenant()
    browser = await joined(api, await api.client("tenant_admin", tenant), LI_WEI)
    wrong: dict[str, Any] = {"current": "not the password", "password": "another three words"}
    assert refusal(await browser.post("/sign-in/password", wrong)) == (401, "sign_in_refused")
    answer = await browser.post("/sign-in/password", {"current": PASSWORD, "password": "another three words"})
    renewed = Browser.of(api.http, answer)
    assert (await browser.get("/v1/me")).status_code == 401
    assert (await renewed.get("/v1/me")).status_code == 200
    admin = await api.client("tenant_admin", tenant)
    assert refusal(await admin.post("/sign-in/password", wrong)) == (409, "not_a_session")


async def test_roles_and_removal_hold_from_the_next_request_on(api: Api) -> None:
    tenant = await api.tenant()
    first = await joined(api, await api.client("tenant_admin", tenant), LI_WEI)
    second = await joined(api, first, WANG)
    path = f"/v1/people/{second.person['person_id']}"
    assert (await first.post(f"{path}/role", {"role": "tenant_viewer"})).json()["role"] == "tenant_viewer"
    assert refusal(await second.post(f"{path}/role", {"role": "tenant_admin"})) == (403, "forbidden")
    own = f"/v1/people/{first.person['person_id']}"
    assert refusal(await first.post(f"{own}/role", {"role": "tenant_viewer"})) == (409, "last_admin")
    assert refusal(await first.post(f"{own}/removal")) == (409, "last_admin")
    assert refusal(await first.post(f"{path}/role", {"role": "finance"})) == (403, "forbidden")
    assert (await first.post(f"{path}/removal")).json()["state"] == "removed"
    assert (await second.get("/v1/me")).status_code == 401
    assert (await signs_in(api, await company_of(api, tenant), WANG)).status_code == 401
    assert refusal(await first.post(f"{path}/role", {"role": "tenant_admin"})) == (404, "person_not_found")
    await joined(api, first, WANG)  # the address is free again


async def test_two_admins_who_remove_each_other_at_once_leave_one(api: Api) -> None:
    first = await joined(api, await api.client("tenant_admin", await api.tenant()), LI_WEI)
    second = await joined(api, first, WANG)
    answers = await asyncio.gather(
        first.post(f"/v1/people/{second.person['person_id']}/removal"),
        second.post(f"/v1/people/{first.person['person_id']}/removal"),
    )
    assert sorted(each.status_code for each in answers)[0] == 200
    async with api.database.transaction(Scope.platform()) as session:
        left = await session.scalar(text("SELECT count(*) FROM person WHERE removed_at IS NULL"))
    assert left == 1


async def test_everybody_is_told_apart_in_the_audit(api: Api) -> None:
    tenant = await api.tenant()
    browser = await joined(api, await api.client("tenant_admin", tenant), LI_WEI)
    await browser.post("/v1/clients", {"name": "crm", "role": "tenant_viewer"})
    assert ("client.created", browser.person["person_id"]) in await _actions(api, tenant)
