"""Who gets a tenant's billing mail, and the settings of the mail server."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Any

import pytest

from billing.reminders import contacts
from billing.reminders.contacts import ContactWanted
from billing.reminders.errors import ContactRefused
from infra.kit.database import Database
from infra.kit.settings import SettingRefused, Settings, load
from tests.api import Api
from tests.billing.finance import refused
from tests.billing.lease_world import LeaseWorld
from tests.billing.mail_world import (
    CHINESE,
    ENGLISH,
    Postbox,
    has_contacts,
    postbox,
    posted,
)


@pytest.fixture
async def box() -> AsyncGenerator[Postbox]:
    async with postbox() as opened_box:
        yield opened_box


@pytest.fixture
def world(database: Database, settings: Settings, box: Postbox) -> LeaseWorld:
    return posted(LeaseWorld(database, settings), box)


async def test_contacts_are_kept_by_the_tenant_and_by_finance(world: LeaseWorld, api: Api) -> None:
    await world.sign("onsite", "2026-03-02")
    path = f"/v1/tenants/{world.tenant_id}/billing-contacts"
    admin, finance = await api.client("tenant_admin", world.tenant_id), await api.client("finance")
    body = {"contacts": [{"address": ENGLISH, "language": "en", "topics": ["invoices"]}, {"address": CHINESE}]}
    answer = await admin.http.put(path, json=body, headers=admin.headers)
    assert answer.status_code == 200, answer.text
    listed = [(each["address"], each["language"], each["topics"]) for each in answer.json()["contacts"]]
    assert listed == [
        (ENGLISH, "en", ["invoices"]),
        (CHINESE, "zh", ["invoices", "reminders", "standing", "contracts", "maintenance"]),
    ]
    assert (await finance.get(path)).json() == answer.json()
    changed = await finance.http.put(
        path, json={"contacts": [{"address": CHINESE, "language": "en"}]}, headers=finance.headers
    )
    assert [(each["address"], each["language"]) for each in changed.json()["contacts"]] == [(CHINESE, "en")]
    viewer = await api.client("tenant_viewer", world.tenant_id)
    assert (await viewer.get(path)).status_code == 200
    assert (await viewer.http.put(path, json=body, headers=viewer.headers)).status_code == 403
    other = await api.client("tenant_admin", await api.tenant())
    assert (await other.get(path)).status_code == 404
    assert (await other.http.put(path, json=body, headers=other.headers)).status_code == 404
    unknown = "/v1/tenants/ten_none/billing-contacts"
    assert (await finance.http.put(unknown, json=body, headers=finance.headers)).status_code == 404


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"address": "no address"}, "contacts[0].address"),
        ({"address": "a@b.example\r\nBcc: c@d.example"}, "contacts[0].address"),
        ({"address": "a@b.example\n"}, "contacts[0].address"),
        ({"address": "a@b.example, c@d.example"}, "contacts[0].address"),
        ({"address": "Boss <a@b.example>"}, "contacts[0].address"),
        ({"address": "财务@b.example"}, "contacts[0].address"),
        ({"address": "a@localhost"}, "contacts[0].address"),
        ({"language": "fr"}, "contacts[0].language"),
        ({"topics": []}, "contacts[0].topics"),
        ({"topics": ["gossip"]}, "contacts[0].topics"),
        ({"topics": ["invoices", "invoices"]}, "contacts[0].topics"),
    ],
)
def test_a_bad_contact_is_refused_by_the_field(wrong: dict[str, Any], field: str) -> None:
    contact = replace(ContactWanted("a@b.example", "en", ["invoices"]), **wrong)
    with pytest.raises(ContactRefused) as refusal:
        contacts.check([contact])
    assert (refusal.value.field, refusal.value.code) == (field, "billing_contact_refused")


async def test_a_bad_list_of_contacts_changes_nothing(world: LeaseWorld, api: Api) -> None:
    await world.sign("onsite", "2026-03-02")
    await has_contacts(world)
    finance = await api.client("finance")
    path = f"/v1/tenants/{world.tenant_id}/billing-contacts"
    for listed, expected in (
        ([{"address": "a@b.example"}, {"address": "A@B.example"}],
         (422, "billing_contact_refused", "contacts[1].address")),
        ([{"address": f"a{number}@b.example"} for number in range(21)], (422, "billing_contact_refused", "contacts")),
        ([{"address": "a@b.example", "colour": "red"}], (400, "validation_failed", "contacts[0].colour")),
        ([{"address": 7}], (400, "validation_failed", "contacts[0].address")),
    ):  # fmt: skip
        answer = await finance.http.put(path, json={"contacts": listed}, headers=finance.headers)
        assert refused(answer) == expected
    assert len((await finance.get(path)).json()["contacts"]) == 2


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"SEATLINE_SMTP_URL": "http://mail.example.com"}, "smtps://"),
        ({"SEATLINE_SMTP_URL": "smtps://mail.example.com", "SEATLINE_MAIL_FROM": ""}, "SEATLINE_MAIL_FROM"),
        ({"SEATLINE_SMTP_URL": "smtps://mail.example.com", "SEATLINE_MAIL_FROM": "nobody"}, "SEATLINE_MAIL_FROM"),
        ({"SEATLINE_SMTP_URL": "smtp://me:hush@mail.example.com"}, "TLS"),
        ({"SEATLINE_SMTP_URL": "smtps://me@mail.example.com"}, "smtps://user:password@host:port"),
        ({"SEATLINE_SMTP_URL": "smtps://:25"}, "smtps://user:password@host:port"),
        ({"SEATLINE_SMTP_URL": "smtps://mail.example.com:99999"}, "SEATLINE_SMTP_URL"),
        ({"SEATLINE_FINANCE_MAIL": "finance"}, "SEATLINE_FINANCE_MAIL"),
    ],
)
def test_a_wrong_mail_setting_is_refused_by_its_name(tmp_path: Any, wrong: dict[str, str], says: str) -> None:
    settings = {"SEATLINE_DATA_DIRECTORY": str(tmp_path), "SEATLINE_MAIL_FROM": "billing@example.com"}
    with pytest.raises(SettingRefused, match=says) as refusal:
        load(settings | wrong)
    assert "hush" not in str(refusal.value)
