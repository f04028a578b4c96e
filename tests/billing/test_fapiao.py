"""Tax particulars and fapiao on the real database: what is to be issued outside, and the numbers that come back."""

from __future__ import annotations

import asyncio
import csv
import io
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest
from openpyxl import load_workbook
from pypdf import PdfReader

from billing.fapiao import export, records
from billing.fapiao.errors import TooManyInvoices
from billing.rules.months import Month
from billing.spreadsheets import CSV_MEDIA_TYPE, XLSX_MEDIA_TYPE
from infra.kit.database import Database, Scope
from infra.kit.settings import Settings
from tests.api import Api, Caller
from tests.billing.bank_world import as_xlsx
from tests.billing.buyers import PARTICULARS, put_particulars
from tests.billing.calls import Calls, rate
from tests.billing.finance import charge_body, does, opened, refused
from tests.billing.lease_world import LeaseWorld

NUMBER = "26312000000012345678"
HEADING = "账单标识,发票号码,发票代码,开票日期,价税合计"


@pytest.fixture
def world(database: Database, settings: Settings) -> LeaseWorld:
    return LeaseWorld(database, settings)


async def _rows(finance: Caller, **params: str) -> list[dict[str, str]]:
    answer = await finance.get("/v1/fapiao-export", {"format": "csv", "language": "en"} | params)
    assert answer.status_code == 200, answer.text
    return list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"), newline="")))


async def _april(world: LeaseWorld, api: Api) -> tuple[str, Caller]:
    """The invoice of April: two seats of 2,000.00 at 6 % and one call of 3.00 at 9 %; and finance."""
    await opened(world)
    calls = Calls(api.database)
    await calls.deck()
    await calls.call(world.tenant_id, answered="2026-03-10 10:00", milliseconds=300_000)
    await rate(api.database, world.tenant_id)
    await world.live_to("2026-04-01")
    [april] = await world.invoices("monthly")
    return april.invoice_id, await api.client("finance")


def _fapiao(amount: str, number: str = NUMBER, **other: Any) -> dict[str, Any]:
    return {"number": number, "issued_on": "2026-04-01", "amount": amount} | other


async def _upload(finance: Caller, rows: Sequence[str], encoding: str = "utf-8") -> list[dict[str, Any]]:
    content = "\r\n".join([HEADING, *rows]).encode(encoding)
    answer = await finance.post_bytes("/v1/fapiao-imports", content, CSV_MEDIA_TYPE)
    assert answer.status_code == 200, answer.text
    return answer.json()["rows"]


async def test_the_export_has_one_row_for_each_rate_and_says_what_is_missing(world: LeaseWorld, api: Api) -> None:
    _, finance = await _april(world, api)
    rent, calls = await _rows(finance, month="2026-04")
    assert (calls["goods"], calls["tax_rate"], calls["net"], calls["tax"], calls["amount"]) == (
        "Telephone calls", "9%", "2.75", "0.25", "3.00",
    )  # fmt: skip
    assert (rent["goods"], rent["tax_rate"], rent["net"], rent["tax"], rent["amount"]) == (
        "Seat rental", "6%", "3773.58", "226.42", "4000.00",
    )  # fmt: skip
    assert (rent["ready"], rent["note"], rent["buyer"]) == ("no", "the tenant has given no tax particulars", "")
    await put_particulars(finance, world.tenant_id, PARTICULARS | {"title": "=1+1"})
    rent = next(row for row in await _rows(finance, month="2026-04") if row["tax_rate"] == "6%")
    assert (rent["ready"], rent["note"], rent["credit_code"]) == ("yes", "", "91350100M000100Y43")
    assert (rent["buyer"], rent["fapiao_kind"], rent["bank_account"]) == ("'=1+1", "special", "571905123410001")
    assert await _rows(finance, month="2026-05") == []
    assert len(await _rows(finance)) == 3, "the opening invoice too"


async def test_the_export_as_a_workbook_shows_no_formula(world: LeaseWorld, api: Api) -> None:
    _, finance = await _april(world, api)
    await put_particulars(finance, world.tenant_id, PARTICULARS | {"title": "=HYPERLINK(1)"})
    answer = await finance.get("/v1/fapiao-export", {"month": "2026-04"})
    assert answer.headers["content-type"].startswith(XLSX_MEDIA_TYPE)
    [sheet] = load_workbook(io.BytesIO(answer.content)).worksheets
    heading, *rows = sheet.iter_rows(values_only=True)
    assert heading[:3] == ("账单标识", "账单编号", "账单日期")
    assert [row[4] for row in rows] == ["=HYPERLINK(1)"] * 2
    assert all(cell.data_type != "f" for row in sheet.iter_rows() for cell in row)


async def test_deposits_are_left_out_and_credits_need_a_red_letter_fapiao(world: LeaseWorld, api: Api) -> None:
    await world.sign("hosted", "2026-03-02", {"proration": "full_month"}, ends_on="2026-04-30")
    await world.order(2, "2026-03-02")
    await world.live_to("2026-02-26")
    finance = await api.client("finance")
    await world.pay()
    [row] = await _rows(finance)
    assert (row["amount"], row["goods"]) == ("4000.00", "Seat rental"), "and no deposit"
    await world.live_to("2026-04-10")
    await world.pay()
    await world.give_back([1], "2026-04-20")
    await world.live_to("2026-05-01")
    finance = await api.client("finance")
    [final] = await world.invoices("final")
    [red] = await _rows(finance, month="2026-05")
    assert (red["invoice_id"], red["amount"], red["net"], red["tax"]) == (
        final.invoice_id, "-600.00", "-566.04", "-33.96",
    )  # fmt: skip
    assert "needs a red-letter fapiao" in red["note"]
    path = f"/v1/invoices/{final.invoice_id}/fapiao"
    assert refused(await finance.post(path, _fapiao("600.00", issued_on="2026-05-01")))[1:] == (
        "fapiao_refused",
        "amount",
    )
    too_much = await finance.post(path, _fapiao("-600.01", issued_on="2026-05-01"))
    assert refused(too_much) == (422, "fapiao_refused", "amount")
    await does(finance, path, _fapiao("-600.00", issued_on="2026-05-01"))
    assert await _rows(finance, month="2026-05") == []


async def test_a_number_is_written_back_and_shown(world: LeaseWorld, api: Api) -> None:
    invoice_id, finance = await _april(world, api)
    path = f"/v1/invoices/{invoice_id}"
    fapiao = await does(finance, f"{path}/fapiao", _fapiao("4003.00"))
    assert (fapiao["full_number"], fapiao["amount"], fapiao["recorded_by"]) == (NUMBER, "4003.00", finance.client_id)
    assert await _rows(finance, month="2026-04") == []
    admin = await api.client("tenant_admin", world.tenant_id)
    assert (await admin.get(path)).json()["fapiao"] == [NUMBER]
    listed = (await admin.get("/v1/invoices", {"reason": "monthly"})).json()["items"]
    assert [each["fapiao"] for each in listed] == [[NUMBER]]
    balance = (await admin.get(f"/v1/tenants/{world.tenant_id}/balance")).json()
    assert [each["fapiao"] for each in balance["open_invoices"]] == [[NUMBER]]
    assert (await admin.get("/v1/fapiao", {"number": NUMBER})).json()["items"] == [fapiao]
    await put_particulars(finance, world.tenant_id, PARTICULARS)
    pdf = PdfReader(io.BytesIO((await admin.get(f"{path}/pdf")).content))
    first, second = ("".join(page.extract_text().split()) for page in pdf.pages)
    assert f"Fapiao{NUMBER}" in first
    assert "安心保险经纪有限公司" in first, "the buyer by its registered name"
    assert "Mobile:1call,300secondsbilled" in second
    async with api.database.transaction(Scope.platform()) as session:
        assert await records.has_fapiao(session, world.tenant_id, invoice_id)
        [opening] = await world.invoices("opening")
        assert not await records.has_fapiao(session, world.tenant_id, opening.invoice_id)


async def test_several_fapiao_never_come_to_more_than_the_taxed_lines(world: LeaseWorld, api: Api) -> None:
    invoice_id, finance = await _april(world, api)
    path = f"/v1/invoices/{invoice_id}/fapiao"
    over = await finance.post(path, _fapiao("4003.01"))
    assert refused(over) == (422, "fapiao_refused", "amount")
    assert "at most 4003.00" in over.json()["detail"]
    await does(finance, path, _fapiao("4000.00"))
    partly = await _rows(finance, month="2026-04")
    assert [row["note"].rpartition("; ")[2] for row in partly] == [
        "fapiao of 4000.00 in total are recorded already"
    ] * 2
    other = "26312000000012345679"
    assert refused(await finance.post(path, _fapiao("3.01", other)))[2] == "amount"
    await does(finance, path, _fapiao("3.00", "12345678", code="144031909110"))
    assert (await finance.get(f"/v1/invoices/{invoice_id}")).json()["fapiao"] == [NUMBER, "144031909110-12345678"]
    assert refused(await finance.post(path, _fapiao("0.01", other)))[2] == "amount"


WRONG: list[tuple[dict[str, str], str]] = [
    ({"number": "2631200000001234567"}, "number"),
    ({"number": "２６３１２０００００００１２３４５６７８"}, "number"),
    ({"number": "12345678"}, "number"),
    ({"number": NUMBER, "code": "1440319091"}, "number"),
    ({"number": "12345678", "code": "14403190911"}, "code"),
    ({"issued_on": "2026-03-31"}, "issued_on"),
    ({"issued_on": "2026-04-02"}, "issued_on"),
    ({"amount": "0.00"}, "amount"),
    ({"amount": "4000.001"}, "amount"),
    ({"amount": "4,000.00"}, "amount"),
    ({"amount": "-1.00"}, "amount"),
]


async def test_a_wrong_fapiao_is_refused_by_its_field(world: LeaseWorld, api: Api) -> None:
    await opened(world)
    await world.live_to("2026-04-01")
    [april] = await world.invoices("monthly")
    finance = await api.client("finance")
    for wrong, field in WRONG:
        answer = await finance.post(f"/v1/invoices/{april.invoice_id}/fapiao", _fapiao("4000.00") | wrong)
        assert refused(answer) == (422, "fapiao_refused", field), wrong
    assert (await finance.get("/v1/fapiao")).json()["items"] == []


async def test_a_number_is_used_once_by_anybody_until_it_is_taken_back(world: LeaseWorld, api: Api) -> None:
    invoice_id, finance = await _april(world, api)
    [opening] = await world.invoices("opening")
    path = f"/v1/invoices/{invoice_id}/fapiao"
    both = await asyncio.gather(
        finance.post(path, _fapiao("1.00")), finance.post(f"/v1/invoices/{opening.invoice_id}/fapiao", _fapiao("1.00"))
    )
    assert sorted(answer.status_code for answer in both) == [201, 409]
    assert {answer.json()["code"] for answer in both if answer.status_code == 409} == {"fapiao_number_used"}
    fapiao = next(answer.json() for answer in both if answer.status_code == 201)
    void = f"/v1/fapiao/{fapiao['fapiao_id']}/void"
    assert refused(await finance.post(void, {"reason": " "})) == (422, "invalid_input", "reason")
    voided = await does(finance, void, {"reason": "typed wrongly"}, 200)
    assert (voided["void_reason"], voided["voided_at"] is None) == ("typed wrongly", False)
    assert refused(await finance.post(void, {"reason": "again"})) == (409, "fapiao_voided", "fapiao_id")
    await does(finance, path, _fapiao("4003.00"))


async def test_a_fapiao_is_replaced_by_another(world: LeaseWorld, api: Api) -> None:
    invoice_id, finance = await _april(world, api)
    old = await does(finance, f"/v1/invoices/{invoice_id}/fapiao", _fapiao("4003.00"))
    path, number = f"/v1/fapiao/{old['fapiao_id']}/replacement", "26312000000099999999"
    too_much = await finance.post(path, _fapiao("4003.01", number, reason="wrong title"))
    assert refused(too_much)[2] == "amount"
    assert (await finance.get(f"/v1/invoices/{invoice_id}")).json()["fapiao"] == [NUMBER], "nothing was voided"
    new = await does(finance, path, _fapiao("4003.00", number, reason="wrong title"))
    first, second = (await finance.get("/v1/fapiao", {"invoice_id": invoice_id})).json()["items"]
    assert first == new
    assert (second["replaced_by"], second["void_reason"]) == (new["fapiao_id"], "wrong title")


async def test_what_is_void_or_anothers_gets_no_number(world: LeaseWorld, api: Api) -> None:
    await world.sign("onsite", "2026-03-02")
    order = await world.order(1, "2026-03-02")
    await world.live_to("2026-02-26")
    [opening] = await world.invoices("opening")
    finance = await api.client("finance")
    path = f"/v1/invoices/{opening.invoice_id}/fapiao"
    await world.cancel(order)
    assert refused(await finance.post(path, _fapiao("1.00"))) == (409, "invoice_is_void", "invoice_id")
    assert await _rows(finance) == []
    assert refused(await finance.post("/v1/invoices/inv_none/fapiao", _fapiao("1.00")))[:2] == (
        404,
        "invoice_not_found",
    )
    for role in ("tenant_admin", "platform_operator"):
        other = await api.client(role, world.tenant_id if role == "tenant_admin" else None)
        assert (await other.post(path, _fapiao("1.00"))).status_code == 403
    admin = await api.client("tenant_admin", world.tenant_id)
    assert (await admin.get("/v1/fapiao-export")).status_code == 403
    for wrong in ({"month": "2026-13"}, {"format": "pdf"}, {"language": "fr"}):
        assert refused(await finance.get("/v1/fapiao-export", wrong)) == (422, "invalid_input", next(iter(wrong)))


async def test_an_export_beyond_its_limit_asks_for_a_month(world: LeaseWorld, api: Api) -> None:
    await _april(world, api)
    async with api.database.transaction(Scope.platform()) as session:
        with pytest.raises(TooManyInvoices, match="name one `month`"):
            await export.waiting(session, None, limit_invoices=1)
        assert len(await export.waiting(session, Month(2026, 4), limit_invoices=1)) == 1


async def test_numbers_come_back_in_bulk_and_every_row_says_what_became_of_it(world: LeaseWorld, api: Api) -> None:
    invoice_id, finance = await _april(world, api)
    [opening] = await world.invoices("opening")
    rows = [
        f"{invoice_id},{NUMBER},,2026-04-01,4000.00",
        f"{invoice_id},{NUMBER},,2026年4月1日,3.00",
        f"{opening.invoice_id},12345678,144031909110,20260401,￥4000.00",
        f"{opening.invoice_id},26312000000012345679,,2026-04-01,0.01",
        "inv_none,26312000000012345680,,2026-04-01,1.00",
        f"{invoice_id},123,,2026-04-01,1.00",
        f"{invoice_id},26312000000012345681,,gestern,1.00",
        f"{invoice_id},,,,",
    ]
    outcomes = await _upload(finance, rows, "gbk")
    assert [(row["line"], row["outcome"], row["code"]) for row in outcomes] == [
        (2, "recorded", None),
        (3, "recorded", None),
        (4, "recorded", None),
        (5, "refused", "fapiao_refused"),
        (6, "refused", "fapiao_refused"),
        (7, "refused", "fapiao_refused"),
        (8, "refused", "fapiao_refused"),
        (9, "skipped", None),
    ]
    assert outcomes[0]["fapiao_id"] == outcomes[1]["fapiao_id"], "one fapiao with two rates"
    assert "at most 0.00" in outcomes[3]["detail"]
    assert await _rows(finance) == []
    again = await _upload(finance, rows[:3])
    assert [row["outcome"] for row in again] == ["already_recorded"] * 3
    assert len((await finance.get("/v1/fapiao")).json()["items"]) == 2


async def test_the_export_filled_in_can_be_sent_back(world: LeaseWorld, api: Api) -> None:
    invoice_id, finance = await _april(world, api)
    exported = await finance.get("/v1/fapiao-export", {"month": "2026-04"})
    table = [list(row) for row in load_workbook(io.BytesIO(exported.content)).worksheets[0].iter_rows(values_only=True)]
    for row in table[1:]:
        row[-2:] = [NUMBER, "2026-04-01"]
    answer = await finance.post_bytes("/v1/fapiao-imports", as_xlsx(table), XLSX_MEDIA_TYPE)
    assert (answer.json()["recorded"], answer.json()["refused"]) == (2, 0), answer.text
    assert (await finance.get(f"/v1/invoices/{invoice_id}")).json()["fapiao"] == [NUMBER]


async def test_a_number_that_a_spreadsheet_has_rounded_is_not_guessed_at(world: LeaseWorld, api: Api) -> None:
    invoice_id, finance = await _april(world, api)
    table = [HEADING.split(","), [invoice_id, float(NUMBER), None, "2026-04-01", 4003]]
    answer = await finance.post_bytes("/v1/fapiao-imports", as_xlsx(table), XLSX_MEDIA_TYPE)
    [row] = answer.json()["rows"]
    assert row["outcome"] == "refused"
    assert "formatted as text" in row["detail"]


WRONG_FILES: list[tuple[bytes, str, int, str]] = [
    (b"", CSV_MEDIA_TYPE, 422, "fapiao_file_refused"),
    ("账单标识,发票号码\ninv,1".encode(), CSV_MEDIA_TYPE, 422, "fapiao_file_refused"),
    (f"{HEADING},number\n".encode(), CSV_MEDIA_TYPE, 422, "fapiao_file_refused"),
    (b"\xff\xfe\xff\xff", CSV_MEDIA_TYPE, 422, "fapiao_file_refused"),
    (b"PK\x03\x04 no workbook", XLSX_MEDIA_TYPE, 422, "fapiao_file_refused"),
    (HEADING.encode(), XLSX_MEDIA_TYPE, 422, "fapiao_file_refused"),
    (HEADING.encode(), "application/pdf", 415, "unsupported_media_type"),
]


async def test_a_file_of_the_wrong_kind_is_refused_whole(api: Api) -> None:
    finance = await api.client("finance")
    for content, kind, status, code in WRONG_FILES:
        answer = await finance.post_bytes("/v1/fapiao-imports", content, kind)
        assert refused(answer)[:2] == (status, code), content


async def test_what_is_exported_is_what_the_invoices_tax(world: LeaseWorld, api: Api) -> None:
    """Over a lease with an addition, a return and charges: net + tax = gross = the taxed lines, the tax as billed."""
    await world.sign("hosted", "2026-03-02")
    await world.order(5, "2026-03-02")
    await world.live_to("2026-02-26")
    await world.pay()
    await world.live_to("2026-03-10")
    await world.order(3, "2026-03-17")
    await world.pay()
    await world.live_to("2026-03-17")
    await world.give_back([4], "2026-04-09")
    finance = await api.client("finance")
    for kind, amount in (("recruitment", "333.33"), ("equipment", "0.07"), ("penalty", "19.99")):
        await does(finance, "/v1/one-off-charges", charge_body(world, kind=kind, amount=amount, on="2026-03-16"))
    await world.called("2026-03", "12.3456")
    await world.called("2026-04", "0.0049")
    await world.live_to("2026-05-01")
    finance = await api.client("finance")
    exported = await _rows(finance)
    for row in exported:
        assert Decimal(row["net"]) + Decimal(row["tax"]) == Decimal(row["amount"])
    invoices = (await finance.get("/v1/invoices", {"tenant_id": world.tenant_id})).json()["items"]
    assert len(invoices) == 4
    for invoice in invoices:
        details = (await finance.get(f"/v1/invoices/{invoice['invoice_id']}")).json()
        taxed = [line for line in details["lines"] if line["kind"] not in ("deposit", "deposit_return")]
        rows = [row for row in exported if row["invoice_id"] == invoice["invoice_id"]]
        assert sum(Decimal(row["amount"]) for row in rows) == sum(Decimal(line["amount"]) for line in taxed)
        assert sum(Decimal(row["tax"]) for row in rows) == Decimal(invoice["tax"])
