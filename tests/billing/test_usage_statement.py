"""Usage statements on the real database: one row for every call, adding up to the line of the invoice."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest
from openpyxl import load_workbook

from billing import usage_statement
from billing.spreadsheets import XLSX_MEDIA_TYPE
from infra.kit.database import Database
from infra.kit.settings import Settings
from tests.api import Api, Caller
from tests.billing.calls import HEADER, Calls, rate
from tests.billing.finance import charge_body, does, opened, refused
from tests.billing.lease_world import LeaseWorld

DECK = f"{HEADER}\n86,=HYPERLINK(1),0.1,0.30,60,6\n86138,中国移动,,0.60,1,1\n"
"""A deck that somebody would like to be worked out by a spreadsheet program."""


@pytest.fixture
def world(database: Database, settings: Settings) -> LeaseWorld:
    return LeaseWorld(database, settings)


async def _called(world: LeaseWorld, api: Api) -> list[str]:
    """Four calls in March, priced: three mobile ones of 0, 1 and 2 seconds, one of 61 seconds to a landline."""
    await opened(world)
    calls = Calls(api.database)
    await calls.deck(DECK)
    legs = [
        await calls.call(world.tenant_id, answered=f"2026-03-1{day} 10:00", milliseconds=1_000 * day)
        for day in range(3)
    ]
    legs.append(await calls.call(world.tenant_id, "861012345678", answered="2026-03-20 23:59", milliseconds=60_001))
    await rate(api.database, world.tenant_id)
    return legs


async def _monthly_path(world: LeaseWorld) -> str:
    [april] = await world.invoices("monthly")
    return f"/v1/invoices/{april.invoice_id}"


async def _sheets(caller: Caller, path: str, **params: str) -> list[list[Sequence[Any]]]:
    answer = await caller.get(path, params)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith(XLSX_MEDIA_TYPE)
    book = load_workbook(io.BytesIO(answer.content))
    for sheet in book.worksheets:
        assert all(cell.data_type != "f" for row in sheet.iter_rows() for cell in row), "no cell is a formula"
    return [[tuple(row) for row in sheet.iter_rows(values_only=True)] for sheet in book.worksheets]


async def test_every_call_has_a_row_and_the_rows_come_to_the_line(world: LeaseWorld, api: Api) -> None:
    legs = await _called(world, api)
    await world.live_to("2026-04-01")
    admin = await api.client("tenant_admin", world.tenant_id)
    path = await _monthly_path(world)
    lines = (await admin.get(path)).json()["lines"]
    number = [line["kind"] for line in lines].index("calls") + 1
    calls, summary = await _sheets(admin, f"{path}/usage-statement.xlsx", language="en")
    heading, *rows = calls
    assert heading[:4] == ("Call id", "From", "To", "Answered (Asia/Shanghai)")
    assert [row[0] for row in rows[:4]] == legs, "in the order in which they were answered"
    landline = dict(zip(heading, rows[3], strict=True))
    assert str(landline["Answered (Asia/Shanghai)"]) == "2026-03-20 23:59:00"
    assert (landline["Seconds"], landline["Billed seconds"], landline["Prefix"]) == (61, 66, "86")
    assert (landline["To"], landline["Destination"], landline["Rate deck"]) == (
        "861012345678", "=HYPERLINK(1)", "deck",
    )  # fmt: skip
    invoice = (await admin.get(path)).json()
    assert landline["Invoice line"] == f"{invoice['number']} / {number}"
    charges = [Decimal(str(row[9])) for row in rows[:4]]
    assert [row[0] for row in rows[4:]] == ["Sum of the calls", "Rounding", "Amount of the invoice line"]
    exact, rounding, line = (Decimal(str(row[9])) for row in rows[4:])
    assert exact == sum(charges) == Decimal("0.4600")
    assert exact + rounding == line == Decimal(lines[number - 1]["amount"])
    assert summary[1:4] == [
        ("=HYPERLINK(1)", 1, 66, 0.43),
        ("中国移动", 3, 3, 0.03),
        ("Sum of the calls", 4, 69, 0.46),
    ]


async def test_the_words_are_chinese_unless_english_is_asked_for(world: LeaseWorld, api: Api) -> None:
    await _called(world, api)
    await world.live_to("2026-04-01")
    finance = await api.client("finance")
    path = f"{await _monthly_path(world)}/usage-statement.xlsx"
    calls, _ = await _sheets(finance, path)
    assert (calls[0][0], calls[-1][0]) == ("通话标识", "账单行金额")
    assert refused(await finance.get(path, {"language": "fr"})) == (422, "invalid_input", "language")


async def test_as_csv_a_text_like_a_formula_is_defused(world: LeaseWorld, api: Api) -> None:
    await _called(world, api)
    await world.live_to("2026-04-01")
    viewer = await api.client("tenant_viewer", world.tenant_id)
    answer = await viewer.get(f"{await _monthly_path(world)}/usage-statement.csv", {"language": "en"})
    assert answer.headers["content-type"].startswith("text/csv")
    assert answer.content.startswith("\ufeffCall id".encode())
    rows = list(csv.reader(io.StringIO(answer.content.decode("utf-8-sig"), newline="")))
    assert rows[4][7] == "'=HYPERLINK(1)"
    assert (rows[4][3], rows[4][9]) == ("2026-03-20 23:59:00", "0.4300")
    assert sum(Decimal(row[9]) for row in rows[1:5]) == Decimal(rows[5][9])


async def test_a_month_that_is_not_invoiced_yet_can_be_looked_at(world: LeaseWorld, api: Api) -> None:
    await _called(world, api)
    admin = await api.client("tenant_admin", world.tenant_id)
    path = f"/v1/contracts/{world.contract_id}/usage"
    calls, _ = await _sheets(admin, f"{path}/2026-03/statement.xlsx", language="en")
    assert [row[10] for row in calls[1:]] == ["not invoiced yet"] * 4 + [None]
    assert len((await _sheets(admin, f"{path}/2026-02/statement.xlsx"))[0]) == 2, "headings and a sum of nothing"
    assert refused(await admin.get(f"{path}/2026-3/statement.csv")) == (422, "invalid_input", "month")
    await world.live_to("2026-04-01")
    admin = await api.client("tenant_admin", world.tenant_id)
    later = await admin.get(f"{path}/2026-03/statement.csv")
    of_invoice = await admin.get(f"{await _monthly_path(world)}/usage-statement.csv")
    assert later.content == of_invoice.content


async def test_calls_that_come_to_nothing_have_no_line(world: LeaseWorld, api: Api) -> None:
    await opened(world)
    calls = Calls(api.database)
    await calls.deck(f"{HEADER}\n86,China,,0.001,1,1\n")
    await calls.call(world.tenant_id, answered="2026-03-10 10:00", milliseconds=1_000)
    await rate(api.database, world.tenant_id)
    await world.live_to("2026-04-01")
    finance = await api.client("finance")
    rows, _ = await _sheets(finance, f"{await _monthly_path(world)}/usage-statement.xlsx", language="en")
    assert "rounds to 0.00" in rows[1][10]
    assert [row[0] for row in rows[2:]] == ["Sum of the calls", "Rounding", "Amount of the invoice line"]
    assert rows[-1][9] == 0


async def test_other_invoices_and_other_tenants_have_none(world: LeaseWorld, api: Api) -> None:
    await _called(world, api)
    await world.live_to("2026-04-01")
    finance = await api.client("finance")
    [opening] = await world.invoices("opening")
    path = f"/v1/invoices/{opening.invoice_id}/usage-statement.xlsx"
    assert refused(await finance.get(path)) == (409, "no_usage_on_invoice", "invoice_id")
    other = await api.client("tenant_admin", await api.tenant())
    of_contract = f"/v1/contracts/{world.contract_id}/usage/2026-03/statement"
    for path in (f"{await _monthly_path(world)}/usage-statement", of_contract):
        for kind in ("xlsx", "csv"):
            assert (await other.get(f"{path}.{kind}")).status_code == 404


async def test_a_month_beyond_the_limit_is_refused_with_a_way_out(
    world: LeaseWorld, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _called(world, api)
    finance = await api.client("finance")
    path = f"/v1/contracts/{world.contract_id}/usage/2026-03/statement"
    monkeypatch.setattr(usage_statement, "CALLS_LIMIT", {"xlsx": 3, "csv": 4})
    answer = await finance.get(f"{path}.xlsx")
    assert refused(answer) == (409, "usage_statement_too_long", "month")
    assert "Ask for the CSV" in answer.json()["detail"]
    assert (await finance.get(f"{path}.csv")).status_code == 200
    monkeypatch.setattr(usage_statement, "CALLS_LIMIT", {"xlsx": 3, "csv": 3})
    answer = await finance.get(f"{path}.csv")
    assert f"/v1/charges?contract_id={world.contract_id}&month=2026-03" in answer.json()["detail"]


async def test_a_line_is_explained_in_words_down_to_the_destinations(world: LeaseWorld, api: Api) -> None:
    await _called(world, api)
    finance = await api.client("finance")
    await does(finance, "/v1/one-off-charges", charge_body(world))
    await world.live_to("2026-04-01")
    finance = await api.client("finance")
    path = f"{await _monthly_path(world)}/lines"
    rent, calls, recruitment = [(await finance.get(f"{path}/{number}/explain")).json() for number in (1, 2, 3)]
    assert rent["words"] == [
        {
            "zh": "按当月 1 日零时在租数量预收：2026 年 4 月，坐席 2 个（编号 1–2）：2 × 月租 2,000.00 元",
            "en": "Rent in advance for what was held at 00:00 on the 1st: April 2026, 2 seats (No. 1–2): "
            "2 × 2,000.00 a month",
            "exact": "4,000.00",
        }
    ]
    assert [each["en"] for each in calls["words"]] == [
        "4 calls of March 2026, each priced to 0.0001, added up and rounded once",
        "=HYPERLINK(1): 1 call, 66 seconds billed",
        "中国移动: 3 calls, 3 seconds billed",
    ]
    assert calls["destinations"][0] == {"name": "=HYPERLINK(1)", "calls": 1, "billed_seconds": 66, "amount": "0.4300"}
    assert [each["en"] for each in recruitment["words"]] == ["Recruitment of 2026-03-09"]
    pdf = await finance.get(f"{await _monthly_path(world)}/pdf", {"language": "zh"})
    assert pdf.content.startswith(b"%PDF-")
    assert refused(await finance.get(f"{await _monthly_path(world)}/pdf", {"language": "de"}))[2] == "language"
