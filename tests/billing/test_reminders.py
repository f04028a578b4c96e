"""Reminders over a real SMTP conversation: the calendar of rule 7, each mail once, in the words of its reader."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import date, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import update

from billing.agreements.jobs import remind_of_contract_ends
from billing.reminders import jobs as reminder_jobs
from billing.reminders.contacts import ContactWanted
from billing.reminders.rendering import ContractFacts, Facts, InvoiceFacts, render
from billing.reminders.topics import DUNNING_KINDS, KINDS
from infra.kit import clock
from infra.kit.database import Database, Scope
from infra.kit.languages import LANGUAGES
from infra.kit.outbox.words import day_text
from infra.kit.settings import OperatorDetails, Settings
from tenancy.models import Tenant
from tests.api import Api
from tests.billing.finance import opened, refused
from tests.billing.lease_world import LeaseWorld, morning
from tests.billing.mail_world import (
    CHINESE,
    ENGLISH,
    Postbox,
    has_contacts,
    live_day,
    postbox,
    posted,
    reminders_of,
    states_of,
    words_of,
)


@pytest.fixture
async def box() -> AsyncGenerator[Postbox]:
    async with postbox() as opened_box:
        yield opened_box


@pytest.fixture
def world(database: Database, settings: Settings, box: Postbox) -> LeaseWorld:
    return posted(LeaseWorld(database, settings), box)


async def _in_april(world: LeaseWorld, *wanted: ContactWanted) -> None:
    """Two seats (`onsite`), open and paid since 2 March; tomorrow April's invoice of 4,000.00 is issued."""
    await opened(world)
    await world.live_to("2026-03-31")
    await has_contacts(world, *wanted)


async def _lives(world: LeaseWorld, box: Postbox, first: str, last: str) -> dict[str, list[tuple[str, str]]]:
    """The mails of every day that brought any, each day's jobs having run twice."""
    day, seen = date.fromisoformat(first), dict[str, list[tuple[str, str]]]()
    while day <= date.fromisoformat(last):
        await live_day(world, day)
        await reminder_jobs.send_reminders(world.runtime)
        if taken := box.taken():
            seen[f"{day:%m-%d}"] = taken
        day += timedelta(days=1)
    return seen


async def test_a_month_of_mails_to_a_late_payer_in_both_languages(world: LeaseWorld, box: Postbox) -> None:
    await _in_april(world)
    april = await _lives(world, box, "2026-04-01", "2026-04-17")
    chinese = {day: [subject for to, subject in mails if to == CHINESE] for day, mails in april.items()}
    english = {day: [subject for to, subject in mails if to == ENGLISH] for day, mails in april.items()}
    number = "2026-0002"
    assert chinese == {
        "04-01": [f"账单 {number}：4,000.00 元，2026年4月10日到期"],
        "04-07": [f"账单 {number} 将于2026年4月10日到期：4,000.00 元"],
        "04-10": [f"账单 {number} 今日到期：4,000.00 元"],
        "04-11": [f"账单 {number} 已逾期 1 天：4,000.00 元"],
        "04-12": [f"账单 {number} 已逾期 2 天：4,000.00 元"],
        "04-13": [f"账单 {number} 已逾期 3 天：4,000.00 元"],
        "04-14": [f"账单 {number} 已逾期 4 天：4,000.00 元"],
        "04-15": [f"明日停机提醒：账单 {number} 尚欠 4,000.00 元"],
        "04-16": [f"账单 {number} 已逾期 6 天：4,000.00 元", "服务已暂停：逾期未付 4,000.00 元"],
        "04-17": [f"账单 {number} 已逾期 7 天：4,000.00 元"],
    }
    assert english == {
        "04-01": [f"Invoice {number}: CNY 4,000.00, due on 10 April 2026"],
        "04-07": [f"Invoice {number} is due on 10 April 2026: CNY 4,000.00"],
        "04-10": [f"Invoice {number} is due today: CNY 4,000.00"],
        "04-11": [f"Invoice {number} is 1 day overdue: CNY 4,000.00"],
        "04-12": [f"Invoice {number} is 2 days overdue: CNY 4,000.00"],
        "04-13": [f"Invoice {number} is 3 days overdue: CNY 4,000.00"],
        "04-14": [f"Invoice {number} is 4 days overdue: CNY 4,000.00"],
        "04-15": [f"Your service will be paused tomorrow: CNY 4,000.00 of invoice {number} is open"],
        "04-16": [f"Invoice {number} is 6 days overdue: CNY 4,000.00", "Your service is paused: CNY 4,000.00 overdue"],
        "04-17": [f"Invoice {number} is 7 days overdue: CNY 4,000.00"],
    }
    await world.pay()
    await reminder_jobs.remind_tenant(world.runtime, tenant_id=world.tenant_id)
    assert sorted(box.taken()) == [(ENGLISH, "Your service is open again"), (CHINESE, "服务已恢复")]
    assert await _lives(world, box, "2026-04-18", "2026-04-30") == {}
    assert {state for _, state in await states_of(world)} == {"sent"}


async def test_a_mail_has_text_html_and_the_invoice(world: LeaseWorld, box: Postbox) -> None:
    await _in_april(world)
    await live_day(world, "2026-04-01")
    mail = next(each for each in box.mails if "安心保险" in words_of(each) and "账单" in words_of(each))
    text, html = words_of(mail), words_of(mail, "html")
    for part in (text, html):
        assert "4,000.00 元" in part
        assert world.settings.operator.bank_account in part
        assert f"2026-0002-{world.tenant_id[-6:].upper()}" in part
    [attached] = list(mail.iter_attachments())
    assert (attached.get_filename(), attached.get_content_type()) == ("invoice-2026-0002.pdf", "application/pdf")
    assert attached.get_content().startswith(b"%PDF-")
    [reminder] = [each for each in await reminders_of(world) if each.recipient == CHINESE]
    assert mail["Message-ID"] == f"<{reminder.mail_id}@seatline.example>" == reminder.message_id
    assert (mail["Auto-Submitted"], reminder.content, reminder.headline) == (
        "auto-generated", text.replace("\r\n", "\n"), str(mail["Subject"]),
    )  # fmt: skip


async def test_only_what_a_contact_wants_goes_to_it(world: LeaseWorld, box: Postbox) -> None:
    topics = {"invoices@a.example": ["invoices"], "reminders@a.example": ["reminders"], "ops@a.example": ["standing"]}
    await _in_april(world, *(ContactWanted(address, "en", chosen) for address, chosen in topics.items()))
    april = await _lives(world, box, "2026-04-01", "2026-04-16")
    by_contact = {address: [day for day, mails in april.items() if address in dict(mails)] for address in topics}
    assert by_contact == {
        "invoices@a.example": ["04-01"],
        "reminders@a.example": ["04-07", "04-10", "04-11", "04-12", "04-13", "04-14", "04-15", "04-16"],
        "ops@a.example": ["04-16"],
    }


async def test_a_tenant_without_contacts_is_noted_and_the_operator_is_told(world: LeaseWorld, box: Postbox) -> None:
    posted(world, box, finance_mail="finance@operator.example")
    await opened(world)
    await world.live_to("2026-03-31")
    await live_day(world, "2026-04-01")
    await live_day(world, "2026-04-16")
    assert box.taken() == [("finance@operator.example", "租户停机：安心保险，逾期未付 4,000.00 元")]
    assert await states_of(world) == [
        ("issued", "no_contact"), ("overdue", "no_contact"),
        ("suspended", "no_contact"), ("operator_suspended", "sent"),
    ]  # fmt: skip


async def test_days_without_a_worker_are_not_made_up_for(world: LeaseWorld, box: Postbox) -> None:
    await _in_april(world, ContactWanted(ENGLISH, "en", ["invoices", "reminders"]))
    await live_day(world, "2026-04-13")
    april = (await world.invoices("monthly"))[-1]
    assert (str(april.issued_on), str(april.due_on)) == ("2026-04-01", "2026-04-18")  # released after the 5th
    assert box.taken() == [(ENGLISH, "Invoice 2026-0002: CNY 4,000.00, due on 18 April 2026")]
    await live_day(world, "2026-04-22")
    assert box.taken() == [(ENGLISH, "Invoice 2026-0002 is 4 days overdue: CNY 4,000.00")]


async def test_what_is_paid_by_credit_is_sent_once_and_never_reminded_of(world: LeaseWorld, box: Postbox) -> None:
    await opened(world)
    await has_contacts(world, ContactWanted(ENGLISH, "en", ["invoices", "reminders"]))
    await world.pay("9000.00")
    await world.live_to("2026-03-31")
    assert await _lives(world, box, "2026-04-01", "2026-04-12") == {
        "04-01": [(ENGLISH, "Invoice 2026-0002: CNY 4,000.00, paid from your credit")]
    }


async def test_both_sides_are_written_to_before_a_term_runs_out(world: LeaseWorld, box: Postbox) -> None:
    posted(world, box, finance_mail="finance@operator.example")
    await opened(world, ends_on="2026-06-30")
    await has_contacts(world, ContactWanted(ENGLISH, "en", ["contracts"]))
    written: dict[str, list[tuple[str, str]]] = {}
    for day in ("2026-04-30", "2026-05-01", "2026-05-02", "2026-05-16", "2026-05-31", "2026-06-01"):
        clock.travel_to(morning(date.fromisoformat(day)))
        for _ in range(2):
            await remind_of_contract_ends(world.runtime)
            await reminder_jobs.send_reminders(world.runtime)
        written[day] = sorted(box.taken())
    both = [
        (ENGLISH, "Your contract ends on 30 June 2026: 坐席租赁合同"),
        ("finance@operator.example", "合同到期提醒：安心保险，2026年6月30日"),
    ]
    assert {day: mails for day, mails in written.items() if mails} == {
        "2026-05-01": both, "2026-05-16": both, "2026-05-31": both,
    }  # fmt: skip


async def test_an_opening_is_reminded_of_and_never_threatens(world: LeaseWorld, box: Postbox) -> None:
    await world.sign("onsite", "2026-03-02")
    await has_contacts(world, ContactWanted(ENGLISH, "en", ["invoices", "reminders", "standing"]))
    await world.order(1, "2026-03-02")
    seen = await _lives(world, box, "2026-02-26", "2026-03-09")
    assert [day for day, mails in seen.items() for _ in mails] == [
        "02-26", "02-28", "03-01", "03-02", "03-03", "03-04", "03-05", "03-06", "03-07", "03-08", "03-09",
    ]  # fmt: skip
    assert not [subject for mails in seen.values() for _, subject in mails if "paused" in subject]


async def test_a_tenants_name_stays_words(world: LeaseWorld, box: Postbox) -> None:
    await _in_april(world)
    name = "A\r\nBcc: all@world.example\r\n\r\n<script>x</script>{{ 7*7 }}\u2028\u202e 公司"
    async with world.database.transaction(Scope.platform()) as session:
        await session.execute(update(Tenant).values(name=name))
    posted(world, box, finance_mail="finance@operator.example")
    await live_day(world, "2026-04-01")
    await live_day(world, "2026-04-16")
    assert len(box.mails) == 7
    for mail in box.mails:
        assert mail["Bcc"] is None
        html = words_of(mail, "html")
        assert "<script>" not in html
        assert "A Bcc: all@world.example &lt;script&gt;x&lt;/script&gt;{{ 7*7 }} 公司" in html
        assert "A Bcc: all@world.example <script>x</script>{{ 7*7 }} 公司" in words_of(mail)
    [told] = [each for each in box.mails if each["To"].startswith("finance")]
    assert str(told["Subject"]).startswith("租户停机：A Bcc: all@world.example <script>")


async def test_two_tenants_get_their_own_mails(world: LeaseWorld, box: Postbox) -> None:
    await _in_april(world, ContactWanted(ENGLISH, "en", ["invoices"]))
    neighbour = posted(LeaseWorld(world.database, world.settings), box)
    await neighbour.sign("onsite", "2026-04-01", on="2026-03-26")
    await has_contacts(neighbour, ContactWanted("boss@other.example", "en", ["invoices"]))
    await neighbour.order(3, "2026-04-01")
    await live_day(world, "2026-04-01")
    sent = dict(box.taken())
    assert sent.keys() == {ENGLISH, "boss@other.example"}
    assert "4,000.00" in sent[ENGLISH]
    assert "6,000.00" in sent["boss@other.example"]


async def test_what_was_sent_stays_to_be_seen(world: LeaseWorld, box: Postbox, api: Api) -> None:
    posted(world, box, finance_mail="finance@operator.example")
    await _in_april(world)
    await live_day(world, "2026-04-01")
    await live_day(world, "2026-04-16")
    finance, own = await api.client("finance"), await api.client("tenant_viewer", world.tenant_id)
    sent = (await finance.get("/v1/reminders", {"state": "sent"})).json()["items"]
    assert len(sent) == 7
    assert len((await own.get("/v1/reminders")).json()["items"]) == 6  # the operator's own copy is not the tenant's
    [april] = await world.invoices("monthly")
    about = (await own.get("/v1/reminders", {"invoice_id": april.invoice_id, "kind": "issued"})).json()["items"]
    assert {each["recipient"] for each in about} == {CHINESE, ENGLISH}
    one = (await own.get(f"/v1/reminders/{about[0]['reminder_id']}")).json()
    assert (one["state"], one["invoice_id"], "4,000.00" in one["text"]) == ("sent", april.invoice_id, True)
    [copy] = [each for each in sent if each["kind"] == "operator_suspended"]
    assert (await own.get(f"/v1/reminders/{copy['reminder_id']}")).status_code == 404
    other = await api.client("tenant_admin", await api.tenant())
    assert (await other.get("/v1/reminders")).json()["items"] == []
    assert (await other.get(f"/v1/reminders/{one['reminder_id']}")).status_code == 404
    assert refused(await finance.get("/v1/reminders", {"state": "lost"})) == (422, "invalid_input", "state")
    assert refused(await finance.get("/v1/reminders", {"kind": "spam"})) == (422, "invalid_input", "kind")


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_its_words_in_every_language(kind: str, language: str) -> None:
    operator = OperatorDetails(name="席线云", address="", tax_number="", bank_name="示例银行", bank_account="0000")
    day = date(2026, 4, 11)
    invoice = InvoiceFacts(
        number="2026-0002", reason="monthly", period="2026-04", issued_on=date(2026, 4, 1), due_on=date(2026, 4, 10),
        total=Decimal("4000.00"), open_amount=Decimal("3999.99"), payment_reference="2026-0002-ABC",
    )  # fmt: skip
    facts = Facts(
        tenant_id="ten_1",
        tenant_name="安心保险",
        today=day,
        invoice=invoice if kind in DUNNING_KINDS else None,
        contract=ContractFacts(title="二期", ends_on=date(2026, 6, 30), renewable_until=date(2026, 5, 30)),
        overdue=(invoice,) if "suspended" in kind else (),
        suspends_on=date(2026, 4, 16),
        promised_until=date(2026, 4, 20),
    )
    words = render(kind, language, facts, operator)
    for part in (words.text, words.html):
        assert "安心保险" in part
        assert "{" not in part
    assert (kind in DUNNING_KINDS or "suspended" in kind) == ("3,999.99" in words.text)
    assert ("restored" in kind) == (day_text(date(2026, 4, 20), language) in words.text)
