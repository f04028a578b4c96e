"""The printed invoice's page of words, its buyer and its fapiao."""

from __future__ import annotations

from dataclasses import replace

from billing.invoice_pdf import LineWords
from tests.billing.test_invoice_pdf import DEPOSIT, INVOICE, RENT, pages, text, with_lines

EXPLAINED = replace(
    RENT,
    words=(
        LineWords(
            "2026 年 3 月，坐席 10 个：10 × 月租 2,000.00 元 × 30/31 天", "10 seats × 2,000.00 × 30 of 31 days", "≈ 1.5"
        ),
        LineWords("取整", "Rounded", "-0.01"),
    ),
)


def test_how_each_amount_came_about_stands_on_a_page_of_its_own_in_words() -> None:
    first, second = pages(with_lines(DEPOSIT, EXPLAINED))
    assert "10×2,000.00×30/31" not in first, "the formula gives way to the words"
    for expected in (
        "金额说明Howeachamountcameabout",
        "2坐席租金SeatrentC719,354.84",
        "2026年3月，坐席10个：10×月租2,000.00元×30/31天10seats×2,000.00×30of31days≈1.5",
        "取整Rounded-0.01",
        "第2页，共2页Page2of2",
    ):
        assert expected in second
    assert "押金" not in second, "what has no words is not explained"


def test_the_words_come_in_the_language_asked_for() -> None:
    chinese = pages(replace(with_lines(replace(EXPLAINED, clause="C7, rules 2 and 3")), language="zh"))[1]
    english = pages(replace(with_lines(EXPLAINED), language="en"))[1]
    assert "C7，规则2、3" in chinese
    assert "seats" not in chinese
    assert "Howeachamountcameabout" in english
    assert "月租" not in english


def test_words_with_the_name_of_a_destination_are_data_too() -> None:
    hostile = '#eval("1+1")$y$*z*'
    assert text(with_lines(replace(RENT, words=(LineWords(hostile, hostile),)))).count(hostile) == 2


def test_many_words_fill_pages_with_their_heading_on_each() -> None:
    lines = (replace(RENT, words=tuple(LineWords(f"第{number:03}句", f"No. {number}") for number in range(300))),)
    copied = pages(with_lines(*lines))[1:]
    assert len(copied) > 3
    assert all("由来Howitcameabout" in page for page in copied)
    assert all(f"第{number:03}句" in "".join(copied) for number in range(300))


def test_the_buyers_tax_particulars_and_the_fapiao_are_printed() -> None:
    buyer = replace(INVOICE.tenant, phone="0571-88886666", bank_name="招商银行杭州分行", bank_account="571905123410001")
    numbers = ("26312000000012345678", "144031909110-12345678")
    copied = text(replace(INVOICE, tenant=buyer, fapiao=numbers))
    assert "电话Phone0571-88886666" in copied
    assert "开户行及账号Bankandaccount招商银行杭州分行571905123410001" in copied
    assert "增值税发票Fapiao26312000000012345678144031909110-12345678" in copied
    assert "Fapiao" not in text(INVOICE)
