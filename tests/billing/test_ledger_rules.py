"""The pure half of the ledger: what each event posts, and how old what is owed is."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.rules import accounts
from billing.rules.accounts import BilledLine, OutOfBalance, Posting
from billing.rules.ageing import Owed, aged, band_of
from billing.rules.lines import LINE_KINDS, Line
from billing.rules.tax import total_tax
from infra.kit import money

DUE = date(2026, 7, 10)
RATES = {kind: Decimal("0") if kind.startswith("deposit") else Decimal("0.06") for kind in LINE_KINDS} | {
    "calls": Decimal("0.09")
}


def _by_account(postings: tuple[Posting, ...]) -> dict[str, Decimal]:
    return {f"{each.account}/{each.detail}".rstrip("/"): each.amount for each in postings}


def test_an_invoice_is_owed_against_revenue_tax_and_the_deposit_that_it_asks_for() -> None:
    lines = [
        BilledLine("deposit", Decimal("2000.00"), Decimal("0")),
        BilledLine("rent", Decimal("2000.00"), Decimal("0.06")),
        BilledLine("calls", Decimal("109.00"), Decimal("0.09")),
    ]
    assert _by_account(accounts.invoice_issued("inv_1", lines, due_on=DUE)) == {
        "deposit_due": Decimal("-2000.00"),
        "revenue/rent": Decimal("-1886.79"),
        "tax/0.06": Decimal("-113.21"),
        "revenue/calls": Decimal("-100.00"),
        "tax/0.09": Decimal("-9.00"),
        "receivable": Decimal("4109.00"),
    }


def test_a_credit_invoice_gives_credit_and_takes_the_deposit_from_what_is_held() -> None:
    lines = [
        BilledLine("deposit_return", Decimal("-2000.00"), Decimal("0")),
        BilledLine("return_credit", Decimal("-600.00"), Decimal("0.06")),
    ]
    postings = accounts.invoice_issued("inv_1", lines, due_on=DUE)
    assert _by_account(postings) == {
        "deposit_held": Decimal("2000.00"),
        "revenue/return_credit": Decimal("566.04"),
        "tax/0.06": Decimal("33.96"),
        "credit": Decimal("-2600.00"),
    }
    assert all(each.due_on is None for each in postings)


def test_what_does_not_sum_to_zero_is_refused() -> None:
    with pytest.raises(OutOfBalance, match=r"differ by 0\.01 CNY"):
        accounts.balanced([Posting("cash", Decimal("1.01"), "pay_1"), Posting("credit", Decimal("-1.00"), "pay_1")])


@given(
    st.lists(
        st.tuples(st.sampled_from(LINE_KINDS), st.integers(-10_000_000, 10_000_000).filter(bool)),
        min_size=1,
        max_size=12,
    )
)
def test_every_invoice_posts_to_zero_with_the_tax_that_stands_on_it(drawn: list[tuple[str, int]]) -> None:
    amounts = [(kind, Decimal(fen) / 100) for kind, fen in drawn]
    postings = accounts.invoice_issued(
        "inv_1", [BilledLine(kind, amount, RATES[kind]) for kind, amount in amounts], due_on=DUE
    )
    assert sum((each.amount for each in postings), money.ZERO) == 0
    tax = -sum((each.amount for each in postings if each.account == "tax"), money.ZERO)
    assert tax == total_tax([Line(kind, None, 1, amount, amount, (), RATES[kind]) for kind, amount in amounts])
    total = sum((amount for _, amount in amounts), money.ZERO)
    owed = sum((each.amount for each in postings if each.account in {"receivable", "credit"}), money.ZERO)
    assert owed == total
    assert accounts.balanced(accounts.reversed_postings(postings))


@pytest.mark.parametrize(
    ("days", "band"),
    [
        (-40, "not_due"), (0, "not_due"), (1, "days_1_to_15"), (15, "days_1_to_15"), (16, "days_16_to_30"),
        (30, "days_16_to_30"), (31, "days_31_to_60"), (60, "days_31_to_60"), (61, "days_over_60"),
    ],
)  # fmt: skip
def test_the_bands_of_an_ageing_report(days: int, band: str) -> None:
    assert band_of(DUE, DUE + timedelta(days=days)) == band


def test_a_tenant_is_aged_with_its_credit_beside() -> None:
    owed = [
        Owed("tnt_b", DUE, Decimal("5.00")),
        Owed("tnt_a", DUE, Decimal("1.00")),
        Owed("tnt_a", DUE - timedelta(days=31), Decimal("2.00")),
    ]
    ages = aged(owed, [("tnt_c", Decimal("9.00"))], DUE)
    assert list(ages) == ["tnt_a", "tnt_b", "tnt_c"]
    assert (ages["tnt_a"].bands["not_due"], ages["tnt_a"].bands["days_31_to_60"]) == (Decimal("1.00"), Decimal("2.00"))
    assert (ages["tnt_a"].owed, ages["tnt_c"].owed, ages["tnt_c"].credit) == (Decimal("3.00"), 0, Decimal("9.00"))
