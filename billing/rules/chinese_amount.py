"""A sum of money in the capital Chinese numerals that bills and bank forms carry beside the digits.

Source: People's Bank of China, Payment and Settlement Measures (1997), annex 1, "Basic rules for filling in
bills and settlement vouchers". Where that text allows two spellings this file always takes the same one.
"""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

_DIGITS = "零壹贰叁肆伍陆柒捌玖"
_PLACES = ("", "拾", "佰", "仟")
_GROUPS = ("", "万", "亿")
_GROUP_DIGITS = 4

LIMIT_YUAN = 10 ** (_GROUP_DIGITS * len(_GROUPS))
"""The first amount that is too large to be spelled: a million million yuan."""


class AmountNotSpellable(ValueError):
    """An amount has no capital spelling: not finite, parts of a fen, or a million million yuan and more."""

    def __init__(self, amount: Decimal) -> None:
        super().__init__(
            f"{amount} cannot be written in capital Chinese numerals: expected a finite amount in whole fen "
            f"(at most two decimals) below {LIMIT_YUAN} yuan; round it with infra.kit.money.fen first"
        )
        self.amount = amount


def chinese_amount(amount: Decimal) -> str:
    """The capital form of an amount in yuan, for example 39354.84 → 叁万玖仟叁佰伍拾肆元捌角肆分.

    Every gap of zeros inside the yuan is one 零; between yuan and jiao none is written (both are allowed),
    between yuan and fen it is. 整 closes an amount of whole yuan and nothing else. A credit begins with 负,
    nothing is 零元整.

    Raises `AmountNotSpellable` for parts of a fen, for NaN and infinity, and from `LIMIT_YUAN` on.
    """
    if not amount.is_finite() or abs(amount) >= LIMIT_YUAN:
        raise AmountNotSpellable(amount)
    whole_fen = Fraction(amount) * 100
    if whole_fen.denominator != 1:
        raise AmountNotSpellable(amount)
    yuan, fen_part = divmod(abs(whole_fen.numerator), 100)
    jiao, fen = divmod(fen_part, 10)
    if not yuan and not fen_part:
        return "零元整"
    words = "负" if amount < 0 else ""
    if yuan:
        words += _whole_number(yuan) + "元"
    if not fen_part:
        return words + "整"
    if jiao:
        words += _DIGITS[jiao] + "角"
    elif yuan:
        words += "零"
    return words + (_DIGITS[fen] + "分" if fen else "")


def _whole_number(number: int) -> str:
    """A positive whole number: the digits with their places, each group of four followed by 万 or 亿."""
    digits = str(number)
    words = ""
    gap = False
    group_written = False
    for index, digit in enumerate(digits):
        group, place = divmod(len(digits) - 1 - index, _GROUP_DIGITS)
        if digit == "0":
            gap = True
        else:
            words += ("零" if gap else "") + _DIGITS[int(digit)] + _PLACES[place]
            gap = False
            group_written = True
        if place == 0:
            words += _GROUPS[group] if group_written else ""
            group_written = False
    return words
