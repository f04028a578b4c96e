"""The end of a lease (C26): the tenant takes its data along; what is personal is erased after the retention time."""

from __future__ import annotations

import csv
import io
import itertools
import json
import zipfile
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import ProgrammingError

from infra.app.schema import metadata
from infra.kit import clock, jobs
from infra.kit.database import Scope, enter_erasure
from infra.kit.models import AuditEntry
from infra.kit.objects import Objects
from infra.kit.outbox.kinds import Desk
from infra.kit.outbox.models import OutboxMail
from provisioning.departure import data_map, erasing, mails
from provisioning.departure.models import Departure
from switch.models import CallRecord
from tenancy.models import Client
from tests.journeys.examples.papers import paper_upload
from tests.provisioning.paper_files import pdf
from tests.world import MOBILE, Customer, World, moment

NAME, ADDRESS = "王小明", "finance@anxin.example.com"
LAST_DAY = "2026-06-30"


async def left_tenant(world: World) -> Customer:
    """A tenant whose contract has ended, whose calls are paid and whose deposit is given back; it is 2 July."""
    await world.has_prices()
    customer = await world.signs(seats=2, opens="2026-06-01", ends=LAST_DAY)
    await world.travel_to("2026-05-31 09:00")
    await customer.pays_everything()
    await world.travel_to("2026-06-17 12:00")
    await customer.seat(1).talks(MOBILE, milliseconds=60_000)
    assert (await paper_upload(customer).send()).status_code == 201
    contacts = {"contacts": [{"address": ADDRESS}]}
    await customer.admin.send("PUT", f"/v1/tenants/{customer.tenant_id}/billing-contacts", json=contacts)
    await world.travel_to("2026-07-02 09:00")
    credit = (await customer.balance())["credit"]
    refund = {"tenant_id": customer.tenant_id, "amount": credit, "value_on": "2026-07-02"}
    await world.finance.does("/v1/refunds", refund | {"reference": "deposit", "note": "given back"})
    return customer


async def never_rented(world: World) -> Customer:
    """A tenant that is known and has never had a contract: nothing is in the way of its end."""
    made = await world.operator.does("/v1/tenants", {"name": NAME, "sip_domain": "never.example.com"})
    admin = await world.desk("tenant_admin", made["tenant_id"])
    customer = Customer(world, made["tenant_id"], "never.example.com", "", admin)
    contacts = {"contacts": [{"address": ADDRESS}, {"address": "second@example.com"}]}
    await admin.send("PUT", f"/v1/tenants/{customer.tenant_id}/billing-contacts", json=contacts)
    return customer


async def announced_end(world: World, customer: Customer, **more: Any) -> dict[str, Any]:
    path = f"/v1/tenants/{customer.tenant_id}/departures"
    return await world.operator.does(path, {"reason": "the lease is over"} | more)


async def rows_with(world: World, words: str) -> dict[str, list[str]]:
    """Every row with these words, as text, by table."""
    found: dict[str, list[str]] = {}
    async with world.api.database.engine.connect() as connection:
        for table in metadata.sorted_tables:
            rows = await connection.execute(
                text(f'SELECT t::text FROM "{table.name}" AS t WHERE strpos(t::text, :words) > 0'),  # noqa: S608
                {"words": words},
            )
            found[table.name] = list(rows.scalars())
    return {name: rows for name, rows in found.items() if rows}


async def test_a_tenant_takes_its_data_along_and_is_then_forgotten(world: World) -> None:
    customer, neighbour = await left_tenant(world), await world.signs(seats=1, opens="2026-08-01")
    others = {name: len(rows) for name, rows in (await rows_with(world, neighbour.tenant_id)).items()}
    made = await customer.admin.does(f"/v1/tenants/{customer.tenant_id}/exports")
    departure = await announced_end(world, customer)
    assert departure["erase_on"] == "2026-09-29"  # 90 days after the last day of the lease
    assert (await customer.admin.ask("/v1/departures"))["items"][0]["state"] == "announced"
    await world.work()
    link = await customer.admin.does(f"/v1/exports/{made['export_id']}/link")
    await _check_archive(world, customer, link["url"])
    clock.travel_to(moment("2026-09-28 09:00"))  # nothing of those months is of interest
    await world.work()
    assert (await world.operator.ask(f"/v1/departures/{departure['departure_id']}"))["state"] == "announced"
    clock.travel_to(moment("2026-09-29 09:00"))
    await erasing.carry_out(jobs.Runtime(world.api.database, world.api.settings), departure["departure_id"])
    await world.work()
    gone = await world.operator.ask(f"/v1/departures/{departure['departure_id']}")
    assert gone["state"] == "erased"
    assert gone["counts"]["billing_contact"] == 1
    left = await rows_with(world, customer.tenant_id)
    for personal in (ADDRESS, MOBILE):
        assert await rows_with(world, personal) == {}
    fates = {name: data_map.BY_TABLE[name].fate for name in left if name in data_map.BY_TABLE}
    assert [name for name, fate in fates.items() if fate == "erase"] == []
    assert {"invoice", "invoice_line", "posting", "payment", "refund", "charge"} <= left.keys()
    await _check_proof(world, customer, gone)
    stored = Objects(world.api.settings)
    for collection in data_map.COLLECTIONS:
        assert [page async for page in stored.places(f"{collection}/{customer.tenant_id}") if page] == []
    assert gone["counts"]["objects"] == 1  # the paper: the export had been removed after its seven days
    now = {name: len(rows) for name, rows in (await rows_with(world, neighbour.tenant_id)).items()}
    assert now.keys() >= others.keys()
    assert now["sip_domain"] == others["sip_domain"]


async def _check_archive(world: World, customer: Customer, url: str) -> None:
    path = "/exports/" + url.rpartition("/")[2]
    fetched = await world.api.http.get(path)
    assert fetched.status_code == 200
    archive = zipfile.ZipFile(io.BytesIO(fetched.content))
    manifest = json.loads(archive.read("manifest.json"))
    assert manifest["tenant_id"] == customer.tenant_id
    contacts = list(csv.DictReader(io.StringIO(archive.read("tables/billing_contact.csv").decode())))
    assert [each["address"] for each in contacts] == [ADDRESS]
    calls = list(csv.DictReader(io.StringIO(archive.read("tables/call_record.csv").decode())))
    assert [each["destination"] for each in calls] == ["86" + MOBILE]
    assert "body" not in calls[0]
    (paper,) = [name for name in archive.namelist() if name.startswith("papers/")]
    assert archive.read(paper) == pdf()
    invoices = [name for name in archive.namelist() if name.startswith("invoices/")]
    assert len(invoices) == len(await customer.invoices())
    assert archive.read(invoices[0]).startswith(b"%PDF-")
    assert "secret_digest" not in archive.read("tables/client.csv").decode()
    clock.travel_to(clock.now() + timedelta(minutes=15))
    assert (await world.api.http.get(path)).json()["code"] == "export_link_refused"


async def _check_proof(world: World, customer: Customer, gone: dict[str, Any]) -> None:
    async with world.api.database.transaction(Scope.platform()) as session:
        query = select(AuditEntry).where(
            AuditEntry.tenant_id == customer.tenant_id, AuditEntry.action == "departure.erased"
        )
        proof = (await session.execute(query)).scalar_one()
        assert proof.facts["rows"] == gone["counts"]
        calls = await session.execute(select(CallRecord).where(CallRecord.tenant_id == customer.tenant_id))
        assert {(each.caller, each.destination, each.body) for each in calls.scalars()} == {("", "", b"")}
        assert await session.scalar(select(func.count()).where(Client.tenant_id == customer.tenant_id)) == 0


async def test_nobody_leaves_while_contracts_seats_or_money_are_open(world: World) -> None:
    customer = await world.signs(seats=1, opens="2026-06-01")
    path = f"/v1/tenants/{customer.tenant_id}"
    answer = await world.operator.post(f"{path}/departures", {"reason": "over"})
    assert (answer.status_code, answer.json()["code"]) == (409, "departure_refused")
    assert answer.json()["obstacles"] == (await world.finance.ask(f"{path}/departure-readiness"))["obstacles"]
    assert any("contracts have not ended" in each for each in answer.json()["obstacles"])
    assert any("seats are not closed" in each for each in answer.json()["obstacles"])
    assert (await customer.admin.post(f"{path}/departures", {"reason": "over"})).status_code == 403


async def test_equipment_that_is_not_back_is_listed_before_the_final_invoice_and_keeps_the_tenant(
    world: World,
) -> None:
    customer = await world.signs(preset="onsite", seats=1, opens="2026-06-01", ends=LAST_DAY)
    await world.travel_to("2026-05-29 09:00")
    await customer.pays_everything()
    await world.travel_to("2026-06-02 09:00")
    body = {"tenant_id": customer.tenant_id, "contract_id": customer.contract_id, "makers_price": "399.00"}
    things = [
        await world.operator.does("/v1/equipment", body | {"kind": "headset", "label": label, "on": "2026-06-01"})
        for label in ("SN-1", "SN-2")
    ]
    await world.travel_to("2026-06-30 09:00")
    shown = (await world.finance.ask("/v1/invoice-runs/2026-07/preview"))["items"]
    [found] = [each for each in shown if each["contract_id"] == customer.contract_id]
    assert (found["equipment_out"], found["anomalies"]) == (["SN-1", "SN-2"], ["equipment_out"])
    lost = {"outcome": "lost", "on": "2026-06-30", "note": "left on a train"}
    await world.operator.does(f"/v1/equipment/{things[0]['equipment_id']}/end", lost)
    await world.travel_to("2026-07-02 09:00")
    assert (await customer.invoice("final")).kinds()["equipment"] == "399.00"

    readiness = f"/v1/tenants/{customer.tenant_id}/departure-readiness"
    still = "equipment is neither back nor charged: SN-2"
    assert still in (await world.finance.ask(readiness))["obstacles"]
    back = {"outcome": "returned", "on": "2026-07-02", "note": "complete"}
    await world.operator.does(f"/v1/equipment/{things[1]['equipment_id']}/end", back)
    assert still not in (await world.finance.ask(readiness))["obstacles"]


async def test_a_departure_is_announced_ahead_and_can_be_called_off(world: World) -> None:
    customer = await never_rented(world)
    path = f"/v1/tenants/{customer.tenant_id}/departures"
    early = await world.operator.post(path, {"reason": "over", "erase_on": "2026-05-24"})
    assert (early.status_code, early.json()["code"], early.json()["field"]) == (422, "erasure_day_refused", "erase_on")
    departure = await announced_end(world, customer, erase_on="2026-05-26")
    assert (await world.operator.post(path, {"reason": "again"})).json()["code"] == "departure_refused"
    cancellation = f"/v1/departures/{departure['departure_id']}/cancellation"
    assert (await world.finance.does(cancellation, {"reason": "they sign again"}))["state"] == "cancelled"
    assert (await world.finance.post(cancellation, {"reason": "twice"})).json()["code"] == "departure_not_open"
    async with world.api.database.transaction(Scope.platform()) as session:
        query = select(OutboxMail.kind, OutboxMail.recipient).where(OutboxMail.tenant_id == customer.tenant_id)
        put = {(kind, recipient) for kind, recipient in await session.execute(query)}
    assert put == {
        (kind, recipient)
        for kind in ("departure_announced", "departure_cancelled")
        for recipient in (ADDRESS, "second@example.com")
    }
    await world.travel_to("2026-05-27 09:00")
    contacts = await customer.admin.ask(f"/v1/tenants/{customer.tenant_id}/billing-contacts")
    assert ADDRESS in [each["address"] for each in contacts["contacts"]]


async def test_what_has_come_up_since_the_announcement_holds_the_erasure(world: World) -> None:
    customer = await never_rented(world)
    departure = await announced_end(world, customer)
    assert departure["erase_on"] == "2026-05-25"  # two weeks of notice
    await customer.pays("10.00")
    await world.travel_to("2026-05-25 09:00")
    held = await world.operator.ask(f"/v1/departures/{departure['departure_id']}")
    assert held["state"] == "announced"
    assert "CNY 10.00 of credit is not paid out" in held["held_because"]
    refund = {
        "tenant_id": customer.tenant_id,
        "amount": "10.00",
        "value_on": "2026-05-25",
        "reference": "back",
        "note": "paid by mistake",
    }
    await world.finance.does("/v1/refunds", refund)
    await world.travel_to("2026-05-25 11:00")
    assert (await world.operator.ask(f"/v1/departures/{departure['departure_id']}"))["state"] == "erased"


async def test_an_erasure_that_breaks_off_goes_on_and_counts_every_row_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    customer = await never_rented(world)
    departure = await announced_end(world, customer)
    clock.travel_to(moment("2026-05-25 01:00"))
    before = {name: len(rows) for name, rows in (await rows_with(world, customer.tenant_id)).items()}
    monkeypatch.setattr(erasing, "CHUNK_ROWS", 1)
    count, counted = erasing.count, itertools.count(1)

    def break_off(row: Departure, name: str, rows: int) -> None:
        if next(counted) % 12 == 0:
            raise ConnectionResetError
        count(row, name, rows)

    monkeypatch.setattr(erasing, "count", break_off)
    runtime, tries = jobs.Runtime(world.api.database, world.api.settings), 0
    while True:
        tries += 1
        try:
            assert await erasing.carry_out(runtime, departure["departure_id"])
            break
        except ConnectionResetError:
            monkeypatch.setattr(erasing, "count", count if tries > 9 else break_off)
    gone = await world.operator.ask(f"/v1/departures/{departure['departure_id']}")
    assert gone["state"] == "erased"
    assert tries > 2
    assert (gone["counts"]["billing_contact"], gone["counts"]["client"]) == (2, before["client"])


async def test_the_role_that_erases_reaches_one_tenant_only(world: World) -> None:
    ours, theirs = await world.signs(seats=1, opens="2026-06-01"), await world.signs(seats=1, opens="2026-06-01")
    async with world.api.database.transaction(Scope.platform()) as session:
        await enter_erasure(session, ours.tenant_id)
        await session.execute(text("DELETE FROM seat"))
    async with world.api.database.transaction(Scope.platform()) as session:
        left = await session.execute(text("SELECT DISTINCT tenant_id FROM seat"))
        assert left.scalars().all() == [theirs.tenant_id]
        with pytest.raises(ProgrammingError, match="permission denied"):
            await session.execute(text("DELETE FROM audit_entry"))


@pytest.mark.parametrize("language", ["zh", "en"])
async def test_the_mail_says_from_when_on_and_how_to_take_the_data_along(world: World, language: str) -> None:
    customer = await never_rented(world)
    departure = await announced_end(world, customer)
    async with world.api.database.transaction(Scope.platform()) as session:
        mail = (await session.execute(select(OutboxMail).where(OutboxMail.kind == mails.ANNOUNCED))).scalars().first()
        assert mail is not None
        mail.language = language
        draft = await mails.departure_announced(Desk(session, mail, world.api.settings, None))
        assert draft is not None
        day = {"zh": "2026年5月25日", "en": "25 May 2026"}[language]
        assert (day in draft.words.subject, departure["tenant_id"] in draft.words.text) == (True, True)
        row = await session.get_one(Departure, (customer.tenant_id, departure["departure_id"]))
        row.state = "cancelled"
        assert await mails.departure_announced(Desk(session, mail, world.api.settings, None)) is None
        called_off = await mails.departure_cancelled(Desk(session, mail, world.api.settings, None))
        assert called_off is not None
        assert day in called_off.words.text


def test_every_table_with_a_tenant_has_a_place_in_the_map() -> None:
    """A new table: say in provisioning/departure/data_map.py whether it is exported and what becomes of it."""
    tables = {table.name: table for table in metadata.sorted_tables if "tenant_id" in table.columns}
    assert tables.keys() == data_map.BY_TABLE.keys()
    for name, treatment in data_map.BY_TABLE.items():
        columns = tables[name].columns.keys()
        assert {*treatment.blanks, *treatment.hidden} <= {*columns}, name
        empty = [column for column, value in treatment.blanks.items() if value is None]
        assert all(tables[name].columns[column].nullable for column in empty), name
        assert (
            treatment.hidden
            or not [each for each in columns if each.startswith("sealed_")]
            or (not treatment.is_exported)
        ), name
