"""The capital Chinese amount: the examples of the bank's rules, the edges, the way back."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.rules.chinese_amount import LIMIT_YUAN, AmountNotSpellable, chinese_amount


@pytest.mark.parametrize(
    ("amount", "words"),
    [
        ("39354.84", "叁万玖仟叁佰伍拾肆元捌角肆分"),
        # the examples of the bank's rules
        ("1409.50", "壹仟肆佰零玖元伍角"),
        ("6007.14", "陆仟零柒元壹角肆分"),
        ("1680.32", "壹仟陆佰捌拾元叁角贰分"),
        ("107000.53", "壹拾万零柒仟元伍角叁分"),
        ("16409.02", "壹万陆仟肆佰零玖元零贰分"),
        ("325.04", "叁佰贰拾伍元零肆分"),
        # edges
        ("0", "零元整"),
        ("-0.00", "零元整"),
        ("0.05", "伍分"),
        ("0.50", "伍角"),
        ("0.84", "捌角肆分"),
        ("1", "壹元整"),
        ("10", "壹拾元整"),
        ("10.01", "壹拾元零壹分"),
        ("1000.10", "壹仟元壹角"),
        ("10000", "壹万元整"),
        ("10001", "壹万零壹元整"),
        ("1000000", "壹佰万元整"),
        ("100000000", "壹亿元整"),
        ("100000001", "壹亿零壹元整"),
        ("100010000", "壹亿零壹万元整"),
        ("999999999999.99", "玖仟玖佰玖拾玖亿玖仟玖佰玖拾玖万玖仟玖佰玖拾玖元玖角玖分"),
        ("-600.00", "负陆佰元整"),
        ("-0.01", "负壹分"),
    ],
)
def test_an_amount_is_spelled(amount: str, words: str) -> None:
    assert chinese_amount(Decimal(amount)) == words


@pytest.mark.parametrize(
    "amount",
    [
        "0.001",
        "123456789012.00000000000000000000000001",
        "NaN",
        "Infinity",
        str(LIMIT_YUAN),
        f"-{LIMIT_YUAN}",
    ],
)
def test_an_amount_without_a_spelling_is_refused(amount: str) -> None:
    with pytest.raises(AmountNotSpellable, match="whole fen"):
        chinese_amount(Decimal(amount))


def _read(words: str) -> Decimal:
    """What a reader understands: the other direction, written independently of the rule."""
    values = {digit: value for value, digit in enumerate("零壹贰叁肆伍陆柒捌玖")}
    units = {"拾": 10, "佰": 100, "仟": 1000}
    yuan = group = digit = fen = 0
    for word in words.removeprefix("负").removesuffix("整"):
        if word in values:
            digit = values[word]
        elif word in units:
            group, digit = group + digit * units[word], 0
        elif word in "万亿":
            yuan, group, digit = yuan + (group + digit) * {"万": 10**4, "亿": 10**8}[word], 0, 0
        elif word == "元":
            yuan, group, digit = yuan + group + digit, 0, 0
        else:
            fen, digit = fen + digit * {"角": 10, "分": 1}[word], 0
    amount = Decimal(yuan * 100 + fen).scaleb(-2)
    return -amount if words.startswith("负") else amount


@given(st.decimals(min_value=-(LIMIT_YUAN - 1), max_value=LIMIT_YUAN - 1, places=2))
def test_every_amount_can_be_read_back(amount: Decimal) -> None:
    words = chinese_amount(amount)
    assert _read(words) == amount
    assert "零零" not in words
    assert "零元" not in words or amount == 0
