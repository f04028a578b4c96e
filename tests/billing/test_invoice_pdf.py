"""The printed invoice: what a tenant can read and copy from it, and that no tenant can write its markup."""

from __future__ import annotations

import hashlib
import io
import re
import subprocess
import sys
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pypdf import PdfReader
from pypdf.generic import DictionaryObject

from billing.invoice_pdf import (
    LINES_LIMIT,
    TEXT_LIMIT_CHARACTERS,
    WORD_LIMIT_CHARACTERS,
    InvoiceDocument,
    InvoiceDoesNotAddUp,
    InvoiceLine,
    InvoiceTextTooLong,
    OperatorDetails,
    PaymentInstructions,
    TaxRow,
    TenantDetails,
    TooManyInvoiceLines,
    grouped_amount,
    grouped_price,
    grouped_quantity,
    render_invoice,
)
from billing.rules.chinese_amount import LIMIT_YUAN, AmountNotSpellable

RENT = InvoiceLine(
    kind="rent",
    item="seat",
    description="坐席 1–10",
    quantity=Decimal(10),
    unit_price=Decimal(2000),
    amount=Decimal("19354.84"),
    clause="C7",
    formula="10 × 2,000.00 × 30 / 31",
)
DEPOSIT = InvoiceLine(
    kind="deposit", item="seat", quantity=Decimal(10), unit_price=Decimal(2000), amount=Decimal(20000)
)
OPERATOR = OperatorDetails(
    name="云席通信科技（上海）有限公司",
    address="上海市浦东新区张江路 88 号",
    tax_number="91310115MA1K4XXX2P",
    bank_name="中国工商银行上海张江支行",
    bank_account="1001234567890123456",
)
INVOICE = InvoiceDocument(
    number="INV-2026-03-000007",
    reason="monthly",
    issued_on=date(2026, 3, 1),
    due_on=date(2026, 3, 10),
    period="2026-03",
    operator=OPERATOR,
    tenant=TenantDetails("杭州晨星客户服务有限公司", "杭州市西湖区文三路 478 号", "91330106MA2B1C3D4E"),
    contract_id="ctr_01k9zq6m2v8d3c4b5a6f7g8h9j",
    contract_title="呼叫中心坐席租赁合同",
    lines=(DEPOSIT, RENT),
    total=Decimal("39354.84"),
    taxes=(
        TaxRow(Decimal("0.06"), Decimal("18259.28"), Decimal("1095.56"), Decimal("19354.84")),
        TaxRow(None, Decimal(20000), Decimal(0), Decimal(20000)),
    ),
    amount_paid=Decimal(0),
    amount_open=Decimal("39354.84"),
    payment=PaymentInstructions(OPERATOR.name, OPERATOR.bank_name, OPERATOR.bank_account, "INV-2026-03-000007"),
    suspends_on=date(2026, 3, 26),
)


def with_lines(*lines: InvoiceLine) -> InvoiceDocument:
    total = sum((line.amount for line in lines), Decimal(0))
    return replace(INVOICE, lines=lines, total=total, amount_open=max(total, Decimal(0)))


def called(name: str) -> InvoiceDocument:
    return replace(INVOICE, tenant=replace(INVOICE.tenant, name=name))


def read(document: InvoiceDocument) -> PdfReader:
    return PdfReader(io.BytesIO(render_invoice(document)))


def pages(document: InvoiceDocument) -> list[str]:
    """The text of each page as a reader would copy it, without any white space."""
    return ["".join(page.extract_text().replace("\u200b", "").split()) for page in read(document).pages]


def text(document: InvoiceDocument) -> str:
    return "".join(pages(document))


def test_everything_on_a_bilingual_invoice_is_text() -> None:
    copied = text(INVOICE)
    for expected in (
        "云席通信科技（上海）有限公司",
        "91310115MA1K4XXX2P",
        "杭州晨星客户服务有限公司",
        "统一社会信用代码Creditcode91330106MA2B1C3D4E",
        "账单编号Invoiceno.INV-2026-03-000007",
        "月度账单Monthly",
        "付款到期日Due2026-03-10",
        "呼叫中心坐席租赁合同ctr_01k9zq6m2v8d3c4b5a6f7g8h9j",
        "坐席押金Seatdeposit",
        "坐席租金Seatrent坐席1–1010×2,000.00×30/31C7102,000.0019,354.84",
        "6%18,259.281,095.5619,354.84",
        "不征税Untaxed20,000.000.0020,000.00",
        "合计（含税）Total,VATincluded¥39,354.84",
        "未付Open¥39,354.84",
        "人民币叁万玖仟叁佰伍拾肆元捌角肆分",
        "账号Accountno.1001234567890123456",
        "付款附言ReferenceINV-2026-03-000007",
        "服务自2026-03-26起暂停",
        "serviceissuspendedfrom2026-03-26",
        "第1页，共1页Page1of1",
    ):
        assert expected in copied


def test_the_headings_come_in_the_language_asked_for() -> None:
    chinese = text(replace(INVOICE, language="zh"))
    english = text(replace(INVOICE, language="en"))
    assert "坐席租金" in chinese
    assert "Seatrent" not in chinese
    assert "Seatrent" in english
    assert "坐席租金" not in english
    assert INVOICE.tenant.name in english, "names are not translated"
    assert "人民币叁万" in english, "the capitals stand on every invoice"


@pytest.mark.parametrize(
    "name",
    [
        '#eval("panic()")',
        '#panic("x") #import "/etc/passwd" #read("invoice.typ")',
        "$x^2$ *bold* _slanted_ `raw` = heading",
        "</> <script>alert(1)</script> <label> @reference",
        "\\ \\u{41} \\n C:\\公司\\ // remark /* remark */ [x] {y}",
        '"},"total":"0.00","x":{"',
        "- 一 + 二 / 三: 四 ~ -- --- ... 'a' \"b\"",
    ],
)
def test_a_name_that_looks_like_markup_is_printed_as_it_is(name: str) -> None:
    copied = text(called(name))
    assert "".join(name.split()) in copied
    assert "合计（含税）Total,VATincluded¥39,354.84" in copied


def test_every_text_of_a_line_is_data() -> None:
    hostile = '#eval("1+1")$y$*z*'
    copied = text(
        with_lines(replace(RENT, kind=hostile, item="$i$", description=hostile, clause="*C*", formula=hostile))
    )
    assert copied.count(hostile) == 3
    assert "$i$" in copied
    assert "*C*" in copied


def test_right_to_left_names_keep_their_letters() -> None:
    copied = text(called("שלום קפה Ltd"))
    assert sorted("שלוםקפה") == sorted(letter for letter in copied if "\u0590" <= letter <= "\u05ff")


def test_an_emoji_without_a_glyph_does_not_stop_an_invoice() -> None:
    assert re.search("晨星.{1,4}有限公司", text(called("晨星😀👩‍💻有限公司")))


def test_a_direction_override_cannot_turn_what_follows() -> None:
    assert "公司ABC" in text(called("公司\u202eABC"))


def test_line_breaks_and_control_characters_become_spaces() -> None:
    page = read(called("甲公司\n\x00\t乙公司")).pages[0].extract_text()
    assert "甲公司 " in page
    assert "乙公司" in page


def test_a_very_long_name_is_printed_in_full_and_stays_in_its_column() -> None:
    document = called("W" * TEXT_LIMIT_CHARACTERS)
    printed_lines = read(document).pages[0].extract_text().splitlines()
    assert "W" * TEXT_LIMIT_CHARACTERS in text(document)
    assert max(line.count("W") for line in printed_lines) <= 24, "no more fit between the margins of the column"


def test_identifiers_can_be_copied_without_hidden_characters() -> None:
    assert INVOICE.contract_id in read(INVOICE).pages[0].extract_text()


@settings(max_examples=30, deadline=None)
@given(st.text(max_size=60))
def test_any_name_at_all_can_be_printed(name: str) -> None:
    assert render_invoice(called(name)).startswith(b"%PDF-")


def test_a_lone_surrogate_can_be_printed() -> None:
    assert render_invoice(called("公司\ud800")).startswith(b"%PDF-")


def test_five_hundred_lines_fill_numbered_pages_with_the_heading_on_each() -> None:
    document = with_lines(
        *(
            InvoiceLine(kind="calls", description=f"号码{number:04}", amount=Decimal(number), quantity=Decimal(7))
            for number in range(1, 501)
        )
    )
    copied = pages(document)
    assert len(copied) > 10
    for position, page in enumerate(copied, start=1):
        assert f"第{position}页，共{len(copied)}页Page{position}of{len(copied)}" in page
        if "号码" in page:
            assert "项目Item条款Clause数量Quantity" in page
        if position > 1:
            assert "INV-2026-03-000007" in page
    assert all(f"号码{number:04}" in "".join(copied) for number in range(1, 501))
    assert "¥125,250.00" in copied[-1] + copied[-2]


def test_a_negative_invoice_is_a_credit_and_asks_for_nothing() -> None:
    credit = with_lines(replace(RENT, kind="return_credit", amount=Decimal("-1200.50"), clause="C10"))
    copied = text(credit)
    assert "贷记账单CREDITINVOICE" in copied
    assert "坐席退租减免Seatreturncredit" in copied
    assert "-¥1,200.50" in copied
    assert "人民币负壹仟贰佰元伍角" in copied
    assert "其余留作预存款" in copied
    assert "其余退还" in text(replace(credit, reason="final"))
    assert "付款附言" not in copied
    assert "付款到期日" not in copied


def test_a_paid_invoice_says_so() -> None:
    copied = text(replace(INVOICE, amount_paid=INVOICE.total, amount_open=Decimal(0)))
    assert "已付Paid¥39,354.84" in copied
    assert "本账单已结清" in copied
    assert "付款附言" not in copied
    assert "暂停" not in copied


def test_an_invoice_that_never_suspends_does_not_threaten() -> None:
    assert "暂停" not in text(replace(INVOICE, reason="opening", suspends_on=None))


def test_a_void_invoice_is_marked_on_every_page_and_asks_for_nothing() -> None:
    lines = tuple(InvoiceLine(kind="calls", amount=Decimal(1)) for _ in range(120))
    copied = pages(replace(with_lines(*lines), void=True))
    assert len(copied) > 2
    assert all("作废VOID" in page for page in copied)
    assert "本账单已作废" in "".join(copied)
    assert "付款附言" not in "".join(copied)


def test_the_file_names_the_invoice_and_is_dated_the_day_of_issue() -> None:
    facts = read(INVOICE).metadata
    assert facts is not None
    assert facts.title == "账单 Invoice INV-2026-03-000007"
    assert facts.author == OPERATOR.name
    assert facts.creation_date is not None
    assert facts.creation_date.date() == date(2026, 3, 1)


def test_only_the_font_of_the_package_is_used() -> None:
    fonts: set[str] = set()
    for page in read(INVOICE).pages:
        resources = cast("DictionaryObject", page["/Resources"])
        for font in cast("DictionaryObject", resources["/Font"]).values():
            fonts.add(str(cast("DictionaryObject", font.get_object())["/BaseFont"]))
    assert fonts
    assert all("NotoSansCJK" in name for name in fonts)


def test_another_process_without_fonts_makes_the_same_bytes(tmp_path: Path) -> None:
    program = (
        "import hashlib, importlib.util, pathlib, sys\n"
        "spec = importlib.util.spec_from_file_location('invoice_case', sys.argv[1])\n"
        "case = importlib.util.module_from_spec(spec); sys.modules['invoice_case'] = case\n"
        "spec.loader.exec_module(case)\n"
        "sys.stdout.write(hashlib.sha256(case.render_invoice(case.INVOICE)).hexdigest())\n"
    )
    root = Path(__file__).parents[2]
    other = subprocess.run(  # noqa: S603 - our own interpreter and program
        [sys.executable, "-c", program, str(Path(__file__))],
        cwd=tmp_path,
        env={"PYTHONPATH": str(root), "HOME": str(tmp_path), "TZ": "America/Lima"},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert other.stdout == hashlib.sha256(render_invoice(INVOICE)).hexdigest()


def test_an_invoice_whose_lines_do_not_add_up_is_refused() -> None:
    with pytest.raises(InvoiceDoesNotAddUp, match=r"39354\.85 in total but its lines add up to 39354\.84"):
        render_invoice(replace(INVOICE, total=Decimal("39354.85")))


def test_too_many_lines_are_refused() -> None:
    document = with_lines(*(InvoiceLine(kind="calls", amount=Decimal(1)) for _ in range(LINES_LIMIT + 1)))
    with pytest.raises(TooManyInvoiceLines, match="group lines"):
        render_invoice(document)


@pytest.mark.parametrize(
    ("line", "field"),
    [
        (replace(RENT, description="长" * (TEXT_LIMIT_CHARACTERS + 1)), "lines[1].description"),
        (replace(RENT, item="x" * (WORD_LIMIT_CHARACTERS + 1)), "lines[1].item"),
    ],
)
def test_a_text_beyond_its_limit_is_refused_by_its_field(line: InvoiceLine, field: str) -> None:
    with pytest.raises(InvoiceTextTooLong) as refusal:
        render_invoice(with_lines(RENT, line))
    assert refusal.value.field == field
    assert "shorten it" in refusal.value.detail


def test_the_longest_line_fits_on_a_page() -> None:
    longest = replace(RENT, description="长" * TEXT_LIMIT_CHARACTERS, formula="式" * TEXT_LIMIT_CHARACTERS)
    copied = pages(with_lines(RENT, longest))
    page = next(page for page in copied if "长" in page)
    assert page.count("长") == TEXT_LIMIT_CHARACTERS
    assert page.count("式") == TEXT_LIMIT_CHARACTERS


def test_a_total_without_capitals_is_refused() -> None:
    with pytest.raises(AmountNotSpellable):
        render_invoice(with_lines(replace(RENT, amount=Decimal(LIMIT_YUAN))))


@pytest.mark.parametrize(
    ("amount", "printed"),
    [("39354.84", "39,354.84"), ("0", "0.00"), ("-0.001", "0.00"), ("-1234567.5", "-1,234,567.50")],
)
def test_amounts_are_grouped(amount: str, printed: str) -> None:
    assert grouped_amount(Decimal(amount)) == printed


@pytest.mark.parametrize(
    ("price", "printed"),
    [
        ("2000", "2,000.00"),
        ("0.145", "0.145"),
        ("0.1234", "0.1234"),
        ("100", "100.00"),
        ("-66.66667", "-66.6667"),
    ],
)
def test_prices_have_two_to_four_decimals(price: str, printed: str) -> None:
    assert grouped_price(Decimal(price)) == printed


@pytest.mark.parametrize(
    ("quantity", "printed"), [("10", "10"), ("1250.50", "1,250.5"), ("1E+3", "1,000"), ("-0.0", "0")]
)
def test_quantities_have_no_trailing_zeros(quantity: str, printed: str) -> None:
    assert grouped_quantity(Decimal(quantity)) == printed
