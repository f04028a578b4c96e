"""Files of banks: read in every form that a mapping describes, or refused whole by line and column."""

from __future__ import annotations

import io
import zipfile
from datetime import date, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing.spreadsheets import CSV_MEDIA_TYPE, XLSX_MEDIA_TYPE
from billing.statements.errors import StatementRefused
from billing.statements.reading import Layout, read_statement
from billing.statements.sheets import Kind
from infra.kit import clock
from tests.api import Api
from tests.billing.bank_world import HEADER, MAPPING, Bank, Row, as_csv, as_xlsx, bank_of


@pytest.fixture
async def bank(api: Api) -> Bank:
    return await bank_of(api)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gbk"])
async def test_csv_comes_in_the_encodings_of_banks(bank: Bank, encoding: str) -> None:
    answer = await bank.send(as_csv([Row("B1", "1,234.56", "租金", "安心保险")], encoding))
    assert answer.status_code == 201, answer.text
    [line] = await bank.lines()
    assert (line["payer"], line["amount"], line["remittance"]) == ("安心保险", "1234.56", "转账 租金")


async def test_a_workbook_with_numbers_and_dates_as_excel_keeps_them(bank: Bank) -> None:
    day = clock.today()
    moment = datetime(day.year, day.month, day.day, 9, 30)  # noqa: DTZ001 - a spreadsheet knows no zone
    table = [
        HEADER,
        [moment, 123456789, 1234.56, None, "安心保险", None, "租金", "CNY"],
        [date(2026, 1, 2), "B2", None, 20, "电力公司", None, None, "CNY", 5],
        [],
    ]
    answer = await bank.send(as_xlsx(table), XLSX_MEDIA_TYPE)
    assert answer.status_code == 201, answer.text
    assert answer.json()["outgoing"] == 1
    [line] = await bank.lines()
    assert (line["value_on"], line["bank_reference"], line["amount"]) == (str(day), "123456789", "1234.56")
    assert line["line_number"] == 2


async def test_a_reference_that_lost_its_end_as_a_number_is_refused(bank: Bank) -> None:
    answer = await bank.send(as_xlsx([HEADER, ["2026-01-02", 1234567890123456789, 5, None, "", "", "", "CNY"]]),
                             XLSX_MEDIA_TYPE)  # fmt: skip
    assert (answer.status_code, answer.json()["field"]) == (422, "line 2, column 交易流水号")


async def test_a_bank_with_one_amount_column_a_title_and_a_sum_below(bank: Bank) -> None:
    mapping = {
        "name": "ccb",
        "bank_account": "1",
        "columns": {
            "value_on": "日期", "bank_reference": "流水", "amount": "金额", "remittance": ["用途"], "direction": "借贷",
        },
        "date_form": "YYYYMMDD", "header_line": 3, "footer_rows": 1, "incoming_word": "贷", "outgoing_word": "借",
    }  # fmt: skip
    made = await bank.finance.post("/v1/bank-mappings", mapping)
    assert made.status_code == 201, made.text
    head = "账户明细\n\n日期,流水,金额,借贷,用途\n"
    rows = "20260105,B1,+5.00,贷,租金,\n20260105 101500,B2,7,借,电费\n合计,2\n"
    answer = await bank.send((head + rows).encode(), mapping="ccb")
    assert answer.status_code == 201, answer.text
    assert answer.json()["outgoing"] == 1
    [line] = await bank.lines()
    assert (line["value_on"], line["amount"], line["line_number"]) == ("2026-01-05", "5.00", 4)
    listed = (await bank.finance.get("/v1/bank-mappings")).json()["items"]
    assert [each["name"] for each in listed] == ["icbc", "ccb"]
    assert listed[0]["columns"]["remittance"] == ["摘要", "附言"]


@pytest.mark.parametrize(
    ("change", "place", "code"),
    [
        ({"amount": "12.345"}, "line 3, column 贷方金额", "bank_statement_refused"),
        ({"amount": "1e3"}, "line 3, column 贷方金额", "bank_statement_refused"),
        ({"amount": ""}, "line 3, column 贷方金额", "bank_statement_refused"),
        ({"amount": "0.00"}, "line 3, column 贷方金额", "bank_statement_refused"),
        ({"out": "1.00"}, "line 3, column 贷方金额", "bank_statement_refused"),
        ({"out": "x", "amount": ""}, "line 3, column 借方金额", "bank_statement_refused"),
        ({"day": "2026-02-30"}, "line 3, column 交易日期", "bank_statement_refused"),
        ({"day": "1.7.2026"}, "line 3, column 交易日期", "bank_statement_refused"),
        ({"day": "2999-01-01"}, "line 3, column 交易日期", "bank_statement_refused"),
        ({"reference": ""}, "line 3, column 交易流水号", "bank_statement_refused"),
        ({"payer": "x" * 201}, "line 3, column 对方户名", "bank_statement_refused"),
        ({"text": "a\x00b"}, "line 3, column 附言", "bank_statement_refused"),
        ({"currency": "USD"}, "line 3, column 币种", "currency_not_accepted"),
        ({"currency": ""}, "line 3, column 币种", "bank_statement_refused"),
    ],
)
async def test_a_row_that_cannot_be_read_refuses_the_whole_file(
    bank: Bank, change: dict[str, str], place: str, code: str
) -> None:
    anxin = await bank.tenant("anxin")
    good = Row("B1", bank.open[anxin], bank.references[anxin])
    bad = Row(**({"reference": "B2", "amount": "1.00"} | change))
    answer = await bank.send(as_csv([good, bad]))
    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (422, code, place)
    await bank.work()
    assert await bank.payments(anxin) == []
    assert (await bank.finance.get("/v1/bank-statements")).json()["items"] == []


def _with_document_type(content: bytes) -> bytes:
    changed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(changed, "w") as new:
        for part in old.namelist():
            body = old.read(part)
            if part.endswith("sheet1.xml"):
                body = b'<!DOCTYPE a [<!ENTITY b "c">]>' + body
            new.writestr(part, body)
    return changed.getvalue()


def _bomb() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as package:
        package.writestr("xl/sharedStrings.xml", b" " * 61_000_000)
    return content.getvalue()


WORKBOOK = as_xlsx([HEADER])


@pytest.mark.parametrize(
    ("content", "kind", "problem"),
    [
        (WORKBOOK, CSV_MEDIA_TYPE, "not CSV"),
        (b"a,b\n1,2\n", XLSX_MEDIA_TYPE, "not an XLSX"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", XLSX_MEDIA_TYPE, "old Excel"),
        (WORKBOOK[: len(WORKBOOK) // 2], XLSX_MEDIA_TYPE, "cannot be read"),
        (_with_document_type(WORKBOOK), XLSX_MEDIA_TYPE, "document type"),
        (_bomb(), XLSX_MEDIA_TYPE, "unpacks to"),
        (as_xlsx([HEADER], ["一月", "二月"]), XLSX_MEDIA_TYPE, "its sheets are"),
        (as_xlsx([["x"] * 300]), XLSX_MEDIA_TYPE, "too many columns"),
        (WORKBOOK, XLSX_MEDIA_TYPE, "no row"),
        (b"", CSV_MEDIA_TYPE, "no header"),
        (b"\n" * 20_001, CSV_MEDIA_TYPE, "too many rows"),
        (b"\xff\xfe\x00\x01", CSV_MEDIA_TYPE, "neither UTF-8 nor GBK"),
        (b"%PDF-1.7 nothing", CSV_MEDIA_TYPE, "column is missing"),
        (as_csv([]), CSV_MEDIA_TYPE, "no row"),
        (as_csv([]) + b"\r\n2026-01-01,B1", CSV_MEDIA_TYPE, "2 cells"),
        (as_csv([]) + b"," + as_csv([]), CSV_MEDIA_TYPE, "stands there twice"),
        (as_csv([]) + b'\r\n"open', CSV_MEDIA_TYPE, "unexpected end of data"),
    ],
    ids=range(17),
)
async def test_a_file_of_the_wrong_kind_is_refused(bank: Bank, content: bytes, kind: str, problem: str) -> None:
    answer = await bank.send(content, kind)
    assert (answer.status_code, answer.json()["code"]) == (422, "bank_statement_refused"), answer.text
    assert problem in answer.json()["detail"]


async def test_other_bodies_and_unknown_mappings_are_refused(bank: Bank) -> None:
    wrong = await bank.send(b"%PDF-1.7", "application/pdf")
    assert (wrong.status_code, wrong.json()["code"]) == (415, "unsupported_media_type")
    unknown = await bank.send(as_csv([]), mapping="nobank")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "bank_mapping_not_found")
    large = await bank.send(b"," * 5_000_001)
    assert (large.status_code, large.json()["code"]) == (413, "body_too_large")
    assert (await bank.finance.get("/v1/bank-statements/bst_x")).status_code == 404
    assert (await bank.finance.get("/v1/bank-statements/bst_x/lines")).status_code == 404


@pytest.mark.parametrize(
    ("change", "columns", "field", "status"),
    [
        ({"name": "ICBC"}, {}, "name", 422),
        ({"name": "icbc"}, {}, "name", 409),
        ({"bank_account": " "}, {}, "bank_account", 422),
        ({}, {"amount": ""}, "columns", 422),
        ({}, {"amount": "x" * 101}, "columns", 422),
        ({}, {"amount": "交易日期"}, "columns", 422),
        ({}, {"remittance": []}, "columns.remittance", 422),
        ({}, {"direction": "借贷"}, "columns.direction", 422),
        ({"incoming_word": "贷"}, {}, "columns.direction", 422),
        ({"incoming_word": "贷", "outgoing_word": "贷"}, {"direction": "借贷"}, "incoming_word", 422),
        ({"date_form": "DMY"}, {}, "date_form", 422),
        ({"header_line": 0}, {}, "header_line", 422),
        ({"footer_rows": -1}, {}, "footer_rows", 422),
        ({"colour": "red"}, {}, "colour", 400),
    ],
)
async def test_a_mapping_that_cannot_be_is_refused_by_field(
    bank: Bank, change: dict[str, Any], columns: dict[str, Any], field: str, status: int
) -> None:
    body = {**MAPPING, "name": "other", **change, "columns": {**MAPPING["columns"], **columns}}
    answer = await bank.finance.post("/v1/bank-mappings", body)
    assert (answer.status_code, answer.json()["field"]) == (status, field), answer.text


_LAYOUT = Layout(value_on="日", amount="额", bank_reference="号", remittance=("文",), currency="币")
_TABLE = as_xlsx([["日", "额", "号", "文", "币"], ["2026-01-02", 5, "B1", "租金", "CNY"]])


def _read_or_refuse(content: bytes, kind: Kind) -> None:
    try:
        lines = read_statement(content, kind, _LAYOUT, today=date(2026, 7, 1)).lines
    except StatementRefused as refusal:
        assert refusal.field
    else:
        assert all(line.amount > 0 and line.bank_reference for line in lines)


@settings(max_examples=200, deadline=None)
@given(cells=st.lists(st.lists(st.text(max_size=12), min_size=5, max_size=5), max_size=3), tail=st.binary(max_size=20))
def test_any_text_is_read_or_refused(cells: list[list[str]], tail: bytes) -> None:
    table = "\n".join(["日,额,号,文,币", "2026-01-02,5,B1,租金,CNY", *(",".join(row) for row in cells)])
    _read_or_refuse(table.encode("utf-8", "replace") + tail, "csv")


@settings(max_examples=200, deadline=None)
@given(place=st.integers(0, len(_TABLE) - 1), bytes_put=st.binary(min_size=1, max_size=8))
def test_any_damaged_workbook_is_read_or_refused(place: int, bytes_put: bytes) -> None:
    _read_or_refuse(_TABLE[:place] + bytes_put + _TABLE[place + len(bytes_put) :], "xlsx")
