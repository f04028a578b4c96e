"""Whoever is removed has seen the secrets of the API clients they made: those end too, or are kept knowingly."""

from __future__ import annotations

import asyncio
import importlib
from typing import Any

import httpx
import pytest
from sqlalchemy import select, text

from infra.kit.database import Scope
from tenancy import tokens
from tenancy.models import Client
from tenancy.people import persons
from tests.api import Api, Caller
from tests.tenancy.people_world import Browser, joined, quick_passwords

LI_WEI, WANG = "li.wei@anxin.example", "wang@anxin.example"


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    quick_passwords(monkeypatch)


async def made_client(api: Api, by: Browser | Caller, name: str, *, role: str = "tenant_admin") -> Caller:
    """An API client that somebody has made, signed in."""
    answer = await by.post("/v1/clients", {"name": name, "role": role})
    assert answer.status_code == 201, answer.text
    made = answer.json()
    form, auth = {"grant_type": "client_credentials"}, (made["client_id"], made["client_secret"])
    token = (await api.http.post("/oauth/token", data=form, auth=auth)).json()["access_token"]
    return Caller(api.http, made["client_id"], token)


async def two_admins(api: Api) -> tuple[str, Browser, Browser]:
    """A tenant, its admin who stays, and one who leaves."""
    tenant = await api.tenant()
    stays = await joined(api, await api.client("tenant_admin", tenant), LI_WEI)
    return tenant, stays, await joined(api, stays, WANG)


async def removal(by: Browser, person: Browser, body: dict[str, Any] | None = None) -> httpx.Response:
    answer = await by.post(f"/v1/people/{person.person['person_id']}/removal", body)
    assert answer.status_code == 200, answer.text
    return answer


async def audited(by: Browser, action: str) -> list[dict[str, Any]]:
    """What the tenant reads of an action."""
    entries = (await by.get("/v1/audit", {"limit": 100})).json()["items"]
    return [each for each in entries if each["action"] == action]


async def test_with_a_person_the_clients_end_whose_secrets_it_has_seen(api: Api) -> None:
    _, stays, leaves = await two_admins(api)
    of_leaver, of_stayer = await made_client(api, leaves, "crm"), await made_client(api, stays, "erp")
    by_its_client = await made_client(api, of_leaver, "crm reports", role="tenant_viewer")
    shown = {each["client_id"]: each for each in (await stays.get("/v1/clients")).json()["items"]}
    assert shown[of_leaver.client_id]["made_by"] == leaves.person["person_id"]
    assert shown[by_its_client.client_id]["made_by"] == of_leaver.client_id
    answer = (await removal(stays, leaves)).json()
    assert [(each["client_id"], each["name"]) for each in answer["api_clients"]] == [
        (of_leaver.client_id, "crm"),
        (by_its_client.client_id, "crm reports"),
    ]
    assert all(each["revoked_at"] is not None for each in answer["api_clients"])
    for ended in (of_leaver, by_its_client):
        assert (await ended.get("/v1/seats")).status_code == 401
    assert (await of_stayer.get("/v1/seats")).status_code == 200
    [entry] = await audited(stays, "person.removed")
    assert entry["facts"]["clients_revoked"] == [of_leaver.client_id, by_its_client.client_id]
    revoked = {each["object_id"]: each["actor"] for each in await audited(stays, "client.revoked")}
    assert revoked == dict.fromkeys((of_leaver.client_id, by_its_client.client_id), stays.person["person_id"])


async def test_an_admin_may_keep_them_is_told_which_they_are_and_may_end_them_later(api: Api) -> None:
    _, stays, leaves = await two_admins(api)
    kept = await made_client(api, leaves, "crm")
    answer = (await removal(stays, leaves, {"keep_api_clients": True})).json()
    assert [(each["client_id"], each["revoked_at"]) for each in answer["api_clients"]] == [(kept.client_id, None)]
    assert (await kept.get("/v1/seats")).status_code == 200
    [entry] = await audited(stays, "person.removed")
    assert entry["facts"]["clients_kept"] == [kept.client_id]
    again = (await removal(stays, leaves)).json()
    assert [each["client_id"] for each in again["api_clients"]] == [kept.client_id]
    assert (await kept.get("/v1/seats")).status_code == 401
    assert (await removal(stays, leaves)).json()["api_clients"] == []
    assert len(await audited(stays, "person.removed")) == 1


async def test_who_is_admin_no_more_has_no_client_that_is(api: Api) -> None:
    _, stays, demoted = await two_admins(api)
    strong, weak = await made_client(api, demoted, "crm"), await made_client(api, demoted, "wall", role="tenant_viewer")
    path = f"/v1/people/{demoted.person['person_id']}/role"
    assert (await stays.post(path, {"role": "tenant_viewer"})).status_code == 200
    assert (await strong.get("/v1/seats")).status_code == 401
    assert (await weak.get("/v1/seats")).status_code == 200
    [entry] = await audited(stays, "person.role_changed")
    assert entry["facts"]["clients_revoked"] == [strong.client_id]


async def test_a_removal_without_a_body_is_one_with_everything_that_goes_with_it(api: Api) -> None:
    _, stays, leaves = await two_admins(api)
    client = await made_client(api, leaves, "crm")
    headers = {"cookie": stays.cookie, "x-csrf-token": stays.csrf_token}
    answer = await api.http.post(f"/v1/people/{leaves.person['person_id']}/removal", headers=headers)
    assert answer.status_code == 200, answer.text
    assert (await client.get("/v1/seats")).status_code == 401


async def test_what_somebody_makes_while_being_removed_ends_as_well(api: Api) -> None:
    tenant, stays, leaves = await two_admins(api)
    person_id = leaves.person["person_id"]
    async with api.database.transaction(Scope.platform()) as session:
        await persons.hold(session, person_id, tenant)
        client, _ = await tokens.create_client(session, name="late", role="tenant_admin", tenant_id=tenant)
        client.made_by = person_id
        going = asyncio.create_task(removal(stays, leaves))
        done, _ = await asyncio.wait([going], timeout=0.2)
        assert not done, "the removal waits for what the person is making"
    assert [each["client_id"] for each in (await going).json()["api_clients"]] == [client.client_id]
    async with api.database.transaction(Scope.platform()) as session:
        left = select(Client.revoked_at).where(Client.client_id == client.client_id)
        assert await session.scalar(left) is not None


async def test_who_made_the_clients_of_an_older_installation_is_read_from_the_audit(api: Api) -> None:
    _, stays, leaves = await two_admins(api)
    client = await made_client(api, leaves, "crm")
    migration: Any = importlib.import_module("infra.migrations.versions.0023_names_makers_and_domains")
    async with api.database.engine.begin() as connection:
        await connection.execute(text("UPDATE client SET made_by = NULL"))
        await connection.run_sync(migration.note_makers)
    assert [each["client_id"] for each in (await removal(stays, leaves)).json()["api_clients"]] == [client.client_id]
