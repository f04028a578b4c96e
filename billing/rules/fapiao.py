"""Official VAT invoices (fapiao), which are issued outside: what of an invoice goes on them, and which numbers they
may have (rule 12).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal, NamedTuple

from billing.rules.errors import BillingRefused, shown
from billing.rules.tax import TaxPart, parts_by_rate
from infra.kit import money

Kind = Literal["general", "special"]
KINDS: tuple[Kind, ...] = ("general", "special")
"""普通发票, and 专用发票, from which the buyer deducts the tax."""

DIGITAL_NUMBER = re.compile(r"\d{20}", re.ASCII)
"""A fully digital fapiao has a number of 20 digits and no code."""

OLD_NUMBER = re.compile(r"\d{8}", re.ASCII)
OLD_CODE = re.compile(r"\d{10}(\d{2})?", re.ASCII)
"""An older one has a code of 10 or 12 digits and a number of 8."""

_GOODS: tuple[tuple[frozenset[str], str, str], ...] = (
    (frozenset({"rent", "return_credit", "fault_credit"}), "*经营租赁*坐席租赁费", "Seat rental"),
    (frozenset({"calls"}), "*电信服务*通话费", "Telephone calls"),
    (frozenset({"data"}), "*电信服务*数据流量费", "Data traffic"),
    (frozenset({"recruitment"}), "*人力资源服务*招聘服务费", "Recruitment"),
    (frozenset({"equipment"}), "*现代服务*设备赔偿费", "Equipment"),
    (frozenset({"utilities"}), "*现代服务*水电费", "Utilities"),
    (frozenset({"property"}), "*物业管理服务*物业费", "Property fee"),
    (frozenset({"penalty"}), "*现代服务*违约金", "Penalty"),
)
_OTHER_GOODS = ("*现代服务*其他服务费", "Other services")


class FapiaoRefused(BillingRefused):
    """A fapiao's number, day or amount is not acceptable; `field` names the one at fault."""

    code = "fapiao_refused"
    title = "The fapiao is not acceptable"


class Amount(NamedTuple):
    """The lines of one kind of an invoice, added up: gross CNY, and the rate of the tax in it."""

    kind: str
    rate: Decimal
    gross: Decimal


@dataclass(frozen=True, slots=True)
class FapiaoRow:
    """What one invoice puts on a fapiao at one rate: `gross` = `net` + `tax`; negative: a red-letter fapiao."""

    rate: Decimal
    net: Decimal
    tax: Decimal
    gross: Decimal
    goods_zh: str
    goods_en: str

    @property
    def is_red(self) -> bool:
        """Whether it takes back what an earlier fapiao has charged."""
        return self.gross < 0


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much of an invoice goes on fapiao: `charged` on ordinary ones, `credited` (not above zero) on red ones."""

    charged: Decimal
    credited: Decimal


def rows_of(amounts: Iterable[Amount]) -> tuple[FapiaoRow, ...]:
    """An invoice's rows, lowest rate first, with the tax exactly as on the invoice.

    What carries no tax is on no fapiao (a deposit is not a sale), nor is a rate whose lines cancel each other out.
    """
    taxed = [each for each in amounts if each.rate > 0]
    parts = parts_by_rate((each.rate, each.gross) for each in taxed)
    return tuple(_row(part, [each for each in taxed if each.rate == part.rate]) for part in parts if part.gross)


def _row(part: TaxPart, amounts: Iterable[Amount]) -> FapiaoRow:
    kinds = {each.kind for each in amounts if each.gross}
    named = [(zh, en) for known, zh, en in _GOODS if kinds & known]
    if kinds - frozenset[str]().union(*(known for known, _, _ in _GOODS)):
        named.append(_OTHER_GOODS)
    return FapiaoRow(
        rate=part.rate,
        net=part.net,
        tax=part.tax,
        gross=part.gross,
        goods_zh="、".join(zh for zh, _ in named),
        goods_en=", ".join(en for _, en in named),
    )


def bounds_of(rows: Iterable[FapiaoRow]) -> Bounds:
    """The sums that the fapiao of an invoice come to when all are issued."""
    amounts = [row.gross for row in rows]
    return Bounds(
        charged=sum((amount for amount in amounts if amount > 0), money.ZERO),
        credited=sum((amount for amount in amounts if amount < 0), money.ZERO),
    )


def is_complete(bounds: Bounds, recorded: Iterable[Decimal]) -> bool:
    """Whether the fapiao recorded for an invoice come to all of it."""
    return _left(bounds, recorded) == Bounds(money.ZERO, money.ZERO)


def _left(bounds: Bounds, recorded: Iterable[Decimal]) -> Bounds:
    amounts = list(recorded)
    return Bounds(
        charged=bounds.charged - sum((amount for amount in amounts if amount > 0), money.ZERO),
        credited=bounds.credited - sum((amount for amount in amounts if amount < 0), money.ZERO),
    )


def check_amount(bounds: Bounds, recorded: Iterable[Decimal], amount: Decimal) -> None:
    """Refuse an amount beyond what is still without a fapiao, ordinary and red ones each for themselves.

    Raises `FapiaoRefused` naming `amount`.
    """
    left = _left(bounds, recorded)
    if amount > 0 and amount > left.charged:
        expected = f"at most {left.charged}, the taxed part of the invoice that has no fapiao yet"
        raise FapiaoRefused("amount", f"{amount} is too much", expected)
    if amount < 0 and amount < left.credited:
        expected = f"at least {left.credited}, the credits of the invoice that have no red-letter fapiao yet"
        raise FapiaoRefused("amount", f"{amount} is too much", expected)
    if amount == 0:
        raise FapiaoRefused("amount", "it is zero", "the amount with tax that stands on the fapiao")


def check_number(number: str, code: str | None) -> None:
    """Refuse what is neither a digital fapiao's number nor an older one's code and number (raises `FapiaoRefused`)."""
    if code is None:
        if DIGITAL_NUMBER.fullmatch(number) is None:
            expected = "20 digits, or the 8 digits of an older fapiao with its `code`"
            raise FapiaoRefused("number", f"{shown(number)} is no number of a digital fapiao", expected)
        return
    if OLD_CODE.fullmatch(code) is None:
        raise FapiaoRefused("code", f"{shown(code)} is no fapiao code", "10 or 12 digits, none for a digital fapiao")
    if OLD_NUMBER.fullmatch(number) is None:
        raise FapiaoRefused("number", f"{shown(number)} does not go with a code", "8 digits")
