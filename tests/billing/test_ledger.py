"""The ledger on the real database: append-only, whole, and the only source of balances, ageing and revenue."""

from __future__ import annotations

import importlib
from decimal import Decimal
from io import BytesIO
from typing import Any

import openpyxl
import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError, ProgrammingError

from billing import journal, ledger_check
from billing.journal import Entry
from billing.rules import accounts
from billing.rules.accounts import OutOfBalance, Posting
from infra.kit import clock
from infra.kit.database import Database, Scope, blocking_engine
from infra.kit.pages import encode_cursor
from infra.kit.settings import Settings
from tests.api import Api
from tests.billing.finance import opened, refused
from tests.billing.lease_world import LeaseWorld


@pytest.fixture
def world(database: Database, settings: Settings) -> LeaseWorld:
    return LeaseWorld(database, settings)


async def _lived(world: LeaseWorld) -> None:
    """Four months of two seats: the deposit paid, March late, a seat returned, one call, a payment reversed."""
    await world.sign("hosted", "2026-03-02")
    await world.order(2, "2026-03-02")
    await world.live_to("2026-02-26")
    await world.pay()
    await world.live_to("2026-03-02")
    await world.called("2026-03", "109.0000")
    await world.live_to("2026-04-01")
    await world.reverse(await world.pay("100.00"))
    await world.live_to("2026-04-07")
    await world.pay("1000.00")
    await world.give_back([2], "2026-04-15")
    await world.live_to("2026-05-02")


async def _accounts(world: LeaseWorld) -> dict[str, str]:
    async with world.database.transaction(Scope.platform()) as session:
        stands = await journal.balances(session, world.tenant_id)
    assert sum(stands.values()) == 0
    return {account: str(amount) for account, amount in stands.items() if amount}


async def test_what_every_account_says_after_four_months(world: LeaseWorld) -> None:
    await world.sign("hosted", "2026-03-02")
    await world.order(2, "2026-03-02")
    await world.live_to("2026-02-26")
    rent = Decimal("3870.97")  # 2 × 2000.00 × 30 / 31
    assert await _accounts(world) == {
        "receivable": "7870.97", "deposit_due": "-4000.00", "revenue": "-3651.86", "tax": "-219.11",
    }  # fmt: skip
    await world.pay()
    assert await _accounts(world) == {
        "cash": "7870.97", "deposit_held": "-4000.00", "revenue": "-3651.86", "tax": "-219.11",
    }  # fmt: skip
    assert rent + 4000 == Decimal("7870.97")


async def test_a_reversed_payment_makes_the_deposit_due_again(world: LeaseWorld) -> None:
    await world.sign("hosted", "2026-03-02")
    await world.order(1, "2026-03-02")
    await world.live_to("2026-02-26")
    payment = await world.pay()
    await world.reverse(payment)
    assert await _accounts(world) == {
        "receivable": "3935.48", "deposit_due": "-2000.00", "revenue": "-1825.92", "tax": "-109.56",
    }  # fmt: skip
    await world.pay("4000.00")
    stands = await _accounts(world)
    assert (stands["deposit_held"], stands["credit"]) == ("-2000.00", "-64.52")


async def test_nobody_rewrites_the_ledger(world: LeaseWorld, database: Database) -> None:
    await _lived(world)
    for statement in ("UPDATE posting SET amount = 0", "DELETE FROM posting"):
        with pytest.raises(ProgrammingError, match="permission denied"):
            async with database.transaction(Scope.platform()) as session:
                await session.execute(text(statement))


async def test_an_event_is_posted_once_and_only_when_it_sums_to_zero(world: LeaseWorld, database: Database) -> None:
    await _lived(world)
    entry = Entry("pay_x", "recorded", clock.today(), accounts.money_received("pay_x", Decimal("1.00"), "cash"))
    with pytest.raises(IntegrityError):
        async with database.transaction(Scope.platform()) as session:
            await journal.post(session, world.tenant_id, [entry])
            await journal.post(session, world.tenant_id, [entry])
    lame = Entry("pay_x", "recorded", clock.today(), [Posting("cash", Decimal("1.00"), "pay_x")])
    with pytest.raises(OutOfBalance):
        async with database.transaction(Scope.platform()) as session:
            await journal.post(session, world.tenant_id, [entry, lame])


@pytest.mark.parametrize(
    ("statement", "what"),
    [
        ("UPDATE posting SET amount = amount + 1 WHERE account = 'cash'", "does not sum to zero"),
        ("UPDATE invoice SET paid = paid - 1 WHERE reason = 'opening'", "paid otherwise than its allocations"),
        ("DELETE FROM posting WHERE event = 'allocated'", "owed otherwise than its document"),
        ("DELETE FROM posting WHERE event = 'recorded'", "less than nothing left"),
        ("DELETE FROM posting WHERE event = 'deposit_held'", "deposit held"),
        ("UPDATE invoice SET tax = tax + 1", "tax of an invoice"),
        ("UPDATE invoice_line SET amount = amount + 1", "lines of an invoice"),
    ],
)
async def test_the_check_finds_what_was_changed_by_hand(
    world: LeaseWorld, database_url: str, statement: str, what: str
) -> None:
    await _lived(world)
    engine = blocking_engine(database_url)
    with engine.connect() as connection:  # rolled back at the end
        connection.execute(text(statement))
        found = [
            f"{name}: {row}"
            for name, query in ledger_check.CHECKS.items()
            for row in connection.execute(text(query)).all()
        ]
    engine.dispose()
    assert any(what in each for each in found), found


async def test_what_happened_before_the_ledger_is_posted_by_its_migration(
    world: LeaseWorld, database_url: str, database: Database
) -> None:
    await _lived(world)
    before = await _accounts(world)
    migration: Any = importlib.import_module("infra.migrations.versions.0005_ledger")
    engine = blocking_engine(database_url)
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM posting"))
        migration.replay(connection)
        connection.execute(text(migration.TAX_RATES_OF_LINES))
    engine.dispose()
    assert await _accounts(world) == before
    await world.pay()  # and life goes on: `findings` are looked at when this test ends
    async with database.transaction(Scope.platform()) as session:
        assert await ledger_check.findings(session) == []


async def test_the_ageing_report_of_a_past_day_stays_the_same(world: LeaseWorld, api: Api) -> None:
    await _lived(world)
    finance = await api.client("finance")
    now = (await finance.get("/v1/reports/ageing")).json()
    [row] = now["tenants"]
    owed = str((await world.balance()).owed)
    assert (row["tenant_id"], row["tenant_name"], now["as_of"]) == (world.tenant_id, "安心保险", "2026-05-02")
    assert row["age"]["owed"] == now["total"]["owed"] == owed
    assert row["age"]["days_16_to_30"] != "0.00"
    then = (await finance.get("/v1/reports/ageing", {"as_of": "2026-04-10"})).json()
    await world.pay()
    assert (await finance.get("/v1/reports/ageing", {"as_of": "2026-04-10"})).json() == then
    assert then["total"]["not_due"] == then["total"]["owed"]
    assert (await finance.get("/v1/reports/ageing")).json()["total"]["owed"] == "0.00"
    to_come = await finance.get("/v1/reports/ageing", {"as_of": "2026-06-01"})
    assert refused(to_come) == (422, "invalid_input", "as_of")


async def test_revenue_by_month_and_kind_as_api_csv_and_xlsx(world: LeaseWorld, api: Api) -> None:
    await _lived(world)
    finance = await api.client("finance")
    span = {"first": "2026-01", "last": "2026-05"}
    revenue = (await finance.get("/v1/reports/revenue", span)).json()
    months = {each["month"]: each for each in revenue["months"]}
    assert months["2026-04"]["kinds"] == {"calls": "100.00", "rent": "3773.58"}
    assert months["2026-05"]["kinds"] == {"rent": "1886.79", "return_credit": "-566.04"}
    moved = (await finance.get("/v1/reports/movements", span)).json()["movements"]
    for month in months:
        assert sum(Decimal(each["amount"]) for each in moved if each["month"] == month) == 0
    lines = (await finance.get("/v1/reports/revenue/file", span | {"format": "csv"})).content.decode("utf-8-sig")
    assert lines.splitlines()[0] == "month,calls,rent,return_credit,total"
    assert "2026-05,0.00,1886.79,-566.04,1320.75" in lines.splitlines()
    content = (await finance.get("/v1/reports/revenue/file", span)).content
    sheet: Any = openpyxl.load_workbook(BytesIO(content)).active
    assert [cell.value for cell in sheet[1]] == ["month", "calls", "rent", "return_credit", "total"]
    assert sheet.cell(sheet.max_row, 1).value == "total"
    assert refused(await finance.get("/v1/reports/revenue/file", {"format": "pdf"})) == (422, "invalid_input", "format")
    assert refused(await finance.get("/v1/reports/revenue", {"first": "2026-05", "last": "2026-04"}))[2] == "last"
    assert refused(await finance.get("/v1/reports/movements", {"account": "gold"}))[2] == "account"


async def test_the_journal_can_be_read_by_document(world: LeaseWorld, api: Api) -> None:
    await _lived(world)
    finance = await api.client("finance")
    [opening] = await world.invoices("opening")
    listed = (await finance.get("/v1/postings", {"source_id": opening.invoice_id})).json()["items"]
    assert sum(Decimal(each["amount"]) for each in listed) == 0
    assert {each["account"] for each in listed} == {"receivable", "revenue", "tax", "deposit_due"}
    admin = await api.client("tenant_admin", world.tenant_id)
    assert (await admin.get("/v1/postings")).status_code == 403


async def test_the_journal_is_paged_from_its_newest_day_back(world: LeaseWorld, api: Api) -> None:
    await opened(world)
    finance = await api.client("finance")
    whole = (await finance.get("/v1/postings", {"limit": 200})).json()
    assert len(whole["items"]) > 4
    assert whole["next"] is None
    found, after = [], None
    while True:
        page = (await finance.get("/v1/postings", {"limit": 2} | ({"after": after} if after else {}))).json()
        found += page["items"]
        after = page["next"]
        if after is None:
            break
    assert found == whole["items"]
    wrong = encode_cursor(("yesterday", "a", "b", "c", "1"))
    assert refused(await finance.get("/v1/postings", {"after": wrong})) == (422, "invalid_input", "after")
    assert refused(await finance.get("/v1/postings", {"after": "x"})) == (422, "invalid_input", "after")
