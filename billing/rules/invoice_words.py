"""How the amount of an invoice line came about, in plain Chinese and English words (for the paper and the API).

Made from what the line keeps: its kind, price and parts, each part with its clause, formula, exact amount and inputs
(`billing.rules.lines.Basis`). The numbers in the words are those of the part, so that words, formula and amount
cannot differ. A part in a form that is not known here is shown by its formula.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

from billing.rules.months import Month
from billing.rules.terms import CHARGE_KINDS
from infra.kit import money

ROWS_LIMIT = 24
"""Sentences for one line; what is beyond is added up in one more, so that the paper stays readable."""

NUMBERS_LIMIT_CHARACTERS = 90
"""Seat numbers are listed up to here; how many they are is always said."""

MOST_ROUNDING = Fraction(1, 20)
"""CNY; a line that differs by more from its parts was not rounded, but its parts have changed since."""

_MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
           "November", "December")  # fmt: skip
_ITEMS = {"seat": ("坐席", "seat", "个"), "circuit": ("线路", "circuit", "条")}
_CHARGES = {
    "recruitment": ("招聘费", "recruitment"),
    "equipment": ("设备赔偿费", "equipment"),
    "utilities": ("水电费", "utilities"),
    "property": ("物业费", "the property fee"),
    "penalty": ("违约金", "a penalty"),
}
_RENT = {
    "C6": ("开通首月租金", "First month's rent, with the opening"),
    "C7": ("按当月 1 日零时在租数量预收", "Rent in advance for what was held at 00:00 on the 1st"),
    "C9": ("新增部分首月租金", "First month's rent of what was added"),
}
_CORRECTED = {"invoice", "line"}
"""Inputs of a line that corrects another invoice's (billing/rules/credit_notes.py)."""

RE_RATING = "re-rating"
"""Input of a part that settles what another month's calls cost more or less when priced anew."""

_RECORDS = re.compile(r"sum of (?P<count>\d+) rated amounts")
_RETURNED = re.compile(r"\d+ × (?P<charged>\S+) charged × (?P<part>[\d.]+)")
_CHARGED_ON = re.compile(r"\w+ of (?P<day>\d{4}-\d{2}-\d{2})")


class Words(NamedTuple):
    """One sentence in both languages; `exact` is what it comes to, CNY, None where others below say it."""

    zh: str
    en: str
    exact: Fraction | None = None


@dataclass(frozen=True, slots=True)
class Explained:
    """A line of an invoice as far as it explains itself; `parts` as they are stored, all texts."""

    kind: str
    item: str | None
    unit_price: Decimal
    amount: Decimal
    parts: Sequence[Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class Destination:
    """The calls of a line to one destination, as its rate deck names it; `amount` has four decimals."""

    name: str
    calls: int
    billed_seconds: int
    amount: Decimal


@dataclass(frozen=True, slots=True)
class _Part:
    """Stored parts that differ in nothing but the numbers of their seats, read."""

    kind: str
    item: str | None
    price: Fraction
    clause: str
    formula: str
    exact: Fraction
    inputs: Mapping[str, str]
    numbers: tuple[str, ...]
    count: int

    @property
    def month(self) -> Month | None:
        written = self.inputs.get("month")
        return None if written is None else Month.of(date.fromisoformat(f"{written}-01"))


def words_for(line: Explained, destinations: Iterable[Destination] = ()) -> tuple[Words, ...]:
    """The sentences that explain a line, in its own order; their exact amounts add up to the line's.

    `destinations` break a line of calls down; they come after its sentence. Where the sum is not the line, the last
    sentence says by how much and why (rounding to the fen).
    """
    if any(part.keys() >= _CORRECTED for part in line.parts):
        sentences = [_of_correction(part) for part in line.parts]
    elif line.kind in CHARGE_KINDS:
        sentences = _of_charges(line)
    else:
        parts = _alike([_read(line, part) for part in line.parts])
        sentences = [_sentence(part) for part in parts]
    sentences = _limited(sentences)
    groups = list(destinations)
    if groups:
        # The destinations say what the calls of the month come to; a re-rating of another month says it for itself.
        told = zip(sentences, line.parts, strict=False)
        sentences = [each if RE_RATING in part else each._replace(exact=None) for each, part in told]
        sentences += _limited([_of_destination(each) for each in groups])
    exact = sum((each.exact for each in sentences if each.exact is not None), Fraction(0))
    difference = Fraction(line.amount) - exact
    if sentences and money.rated(difference):
        zh, en = "同类各行合并后取整到分", "Rounded to the fen, once for all lines of this kind"
        if abs(difference) > MOST_ROUNDING:
            zh, en = "开票后有变动的差额", "Changed since the invoice was made"
        sentences.append(Words(zh, en, difference))
    return tuple(sentences)


def exact_text(exact: Fraction) -> str:
    """An exact amount for people: two decimals, up to four where it has more (`≈` where it has more still)."""
    shown = money.rated(exact)
    digits = f"{abs(shown) if shown == 0 else shown:,f}".removesuffix("0").removesuffix("0")
    return digits if Fraction(shown) == exact else f"≈ {digits}"


def _read(line: Explained, part: Mapping[str, str]) -> _Part:
    numbers = part.get(f"{line.item}s", "")
    count = _count(numbers)
    if not numbers and line.unit_price:
        count = round(abs(Fraction(part["exact"])) / Fraction(line.unit_price))
    inputs = {name: value for name, value in part.items() if name not in ("clause", "formula", "exact")}
    return _Part(
        kind=line.kind,
        item=line.item,
        price=Fraction(line.unit_price),
        clause=part["clause"],
        formula=part["formula"],
        exact=Fraction(part["exact"]),
        inputs=inputs,
        numbers=(numbers,) if numbers else (),
        count=count,
    )


def _alike(parts: Iterable[_Part]) -> list[_Part]:
    """Parts of equal words and equal amounts for each seat as one: three hundred seats may be ten sentences."""
    groups: dict[object, _Part] = {}
    for part in parts:
        each = part.exact / part.count if part.count else part.exact
        told = tuple((name, value) for name, value in part.inputs.items() if name in ("month", "fault days"))
        formula = part.formula.partition(" × ")[2]
        key = (part.clause, formula, each, told) if part.numbers else len(groups)
        known = groups.get(key)
        groups[key] = (
            part
            if known is None
            else replace(
                known,
                numbers=known.numbers + part.numbers,
                count=known.count + part.count,
                exact=known.exact + part.exact,
            )
        )
    return list(groups.values())


def _sentence(part: _Part) -> Words:
    made = _SENTENCES[part.kind](part) if part.kind in _SENTENCES else None
    return made or Words(f"计算式：{part.formula}", f"Formula: {part.formula}", part.exact)


def _of_rent(part: _Part) -> Words | None:
    month = part.month
    if month is None or not part.count:
        return None
    zh_why, en_why = _RENT.get(part.clause.partition(",")[0], ("租金", "Rent"))
    zh, en = f"{part.count} × 月租 {_yuan(part.price)} 元", f"{part.count} × {_yuan(part.price)} a month"
    days = month.days if not part.price else part.exact / (part.count * part.price) * month.days
    if days != int(days):
        return None
    if days != month.days:
        zh += f" × {int(days)}/{month.days} 天"
        en += f" × {int(days)} of {month.days} days"
    what = _what(part)
    return Words(
        f"{zh_why}：{_zh_month(month)}，{what.zh}：{zh}", f"{en_why}: {_en_month(month)}, {what.en}: {en}", part.exact
    )


def _of_deposit(part: _Part) -> Words | None:
    if part.item is None:
        return Words("合同约定的固定押金", "The deposit that the contract fixes", part.exact)
    zh_item, en_item, zh_unit = _ITEMS[part.item]
    counted = part.inputs.get("seats counted")
    zh = f"每{zh_unit}{zh_item}一个月租金作押金：{part.count} × {_yuan(part.price)} 元"
    en = f"One month of rent for each {en_item}: {part.count} × {_yuan(part.price)}"
    if counted is not None:
        zh, en = f"{zh}（按 {counted} 席定价）", f"{en} (priced at {counted} seats)"
    return Words(zh, en, part.exact)


def _of_return(part: _Part) -> Words | None:
    month, found = part.month, _RETURNED.search(part.formula)
    if month is None or found is None:
        return None
    credited = f"{(Decimal(found['part']) * 100).normalize():f}"
    cut_off = part.inputs.get("cut-off day", "")
    shown = exact_text(Fraction(found["charged"]))
    what = _what(part)
    return Words(
        f"{what.zh}于 {_zh_month(month)} {cut_off} 日（含）前退租，减免当月已收租金的 {credited}%："
        f"{part.count} × {shown} 元 × {credited}%",
        f"{what.en}, returned in {_en_month(month)} by the {_ordinal(cut_off)}: {credited} % of that month's rent is "
        f"credited: {part.count} × {shown} × {credited} %",
        part.exact,
    )


def _of_returned_deposit(part: _Part) -> Words | None:
    at_the_end = part.clause.endswith("rule 11")
    if part.item is None:
        return Words("合同终止，退还合同固定押金", "End of the contract: its own deposit is given back", part.exact)
    what = _what(part)
    zh_why, en_why = ("合同终止退还押金", "End of the contract, deposit given back") if at_the_end else (
        "退租退还押金", "Returned, deposit given back",
    )  # fmt: skip
    sum_zh, sum_en = f"{part.count} × {_yuan(part.price)} 元", f"{part.count} × {_yuan(part.price)}"
    return Words(f"{zh_why}：{what.zh}：{sum_zh}", f"{en_why}: {what.en}: {sum_en}", part.exact)


def _of_fault(part: _Part) -> Words | None:
    month, days = part.month, part.inputs.get("fault days")
    if month is None or days is None:
        return None
    what = _what(part)
    zh = f"{what.zh}在 {_zh_month(month)}因运营方故障共 {days} 天（不足一天按一天计）"
    fault_days = f"{days} fault day{'' if days == '1' else 's'}"
    en = f"{what.en}, {_en_month(month)}: {fault_days} of the operator's, a started day counting whole"
    each = exact_text(abs(part.exact) / part.count)
    basis = re.search(r"× \S+ × \d+ / (?P<month_days>\d+)", part.formula)
    if "all that was charged" in part.formula:
        zh += f"，超过约定天数，当月租金全免：{part.count} × {each} 元"
        en += f"; more than the agreed days, so the month is free: {part.count} × {each}"
    elif basis is not None and "," not in part.formula:
        zh += f"：{part.count} × 月租 {_yuan(part.price)} 元 × {days}/{basis['month_days']} 天"
        en += f": {part.count} × {_yuan(part.price)} a month × {days}/{basis['month_days']} days"
    elif "cut to" in part.formula:
        zh += f"，减免以当月已收租金为限：{part.count} × {each} 元"
        en += f"; no more is credited than was charged: {part.count} × {each}"
    else:
        zh += f"，扣除以前已减免部分后：{part.count} × {each} 元"
        en += f"; less what earlier invoices have credited: {part.count} × {each}"
    return Words(zh, en, part.exact)


def _of_usage(part: _Part) -> Words | None:
    month, found = part.month, _RECORDS.search(part.formula)
    if month is not None and RE_RATING in part.inputs:
        zh = f"{_zh_month(month)}通话重新计价的差额（{part.inputs[RE_RATING]}）"
        return Words(
            zh, f"Calls of {_en_month(month)} priced anew: the difference ({part.inputs[RE_RATING]})", part.exact
        )
    if month is None or found is None:
        return None
    count = int(found["count"])
    zh_what, zh_unit, en_what = ("通话", "通", "call") if part.kind == "calls" else ("流量", "条", "data record")
    plural = "" if count == 1 else "s"
    return Words(
        f"{_zh_month(month)}接通的{zh_what} {count:,} {zh_unit}，每{zh_unit}计费到 0.0001 元，合计后一次取整"
        if part.kind == "calls"
        else f"{_zh_month(month)}的{zh_what}记录 {count:,} {zh_unit}，每{zh_unit}计费到 0.0001 元，合计后一次取整",
        f"{count:,} {en_what}{plural} of {_en_month(month)}, each priced to 0.0001, added up and rounded once",
        part.exact,
    )


def _of_destination(group: Destination) -> Words:
    plural = "" if group.calls == 1 else "s"
    seconds = "" if group.billed_seconds == 1 else "s"
    return Words(
        f"{group.name}：{group.calls:,} 通，计费 {group.billed_seconds:,} 秒",
        f"{group.name}: {group.calls:,} call{plural}, {group.billed_seconds:,} second{seconds} billed",
        Fraction(group.amount),
    )


def _of_charges(line: Explained) -> list[Words]:
    """One sentence for each charge; where they are many, one for each month in which they lie."""
    zh_what, en_what = _CHARGES[line.kind]
    by_day: list[tuple[date | None, Fraction]] = []
    for part in line.parts:
        found = _CHARGED_ON.fullmatch(part["formula"])
        by_day.append((None if found is None else date.fromisoformat(found["day"]), Fraction(part["exact"])))
    if len(by_day) <= ROWS_LIMIT or any(day is None for day, _ in by_day):
        return [
            Words(f"计算式：{line.parts[index]['formula']}", f"Formula: {line.parts[index]['formula']}", exact)
            if day is None
            else Words(f"{day.isoformat()} {zh_what}", f"{en_what} of {day.isoformat()}".capitalize(), exact)
            for index, (day, exact) in enumerate(by_day)
        ]
    months: dict[Month, list[Fraction]] = {}
    for day, exact in by_day:
        if day is not None:
            months.setdefault(Month.of(day), []).append(exact)
    return [
        Words(
            f"{_zh_month(month)}{zh_what} {len(amounts)} 笔",
            f"{len(amounts)} charges for {en_what} in {_en_month(month)}",
            sum(amounts, Fraction(0)),
        )
        for month, amounts in sorted(months.items())
    ]


_SENTENCES: Mapping[str, Callable[[_Part], Words | None]] = {
    "rent": _of_rent,
    "deposit": _of_deposit,
    "return_credit": _of_return,
    "deposit_return": _of_returned_deposit,
    "fault_credit": _of_fault,
    "calls": _of_usage,
    "data": _of_usage,
}


def _of_correction(part: Mapping[str, str]) -> Words:
    """A line of a credit note, which takes back a part of another invoice's line."""
    number, line, reason = part["invoice"], part["line"], part.get("reason", "")
    return Words(
        f"冲减账单 {number} 第 {line} 行" + (f"：{reason}" if reason else ""),
        f"Takes back a part of line {line} of invoice {number}" + (f": {reason}" if reason else ""),
        Fraction(part["exact"]),
    )


def _limited(sentences: Sequence[Words]) -> list[Words]:
    if len(sentences) <= ROWS_LIMIT:
        return list(sentences)
    rest = sentences[ROWS_LIMIT - 1 :]
    total = sum((each.exact for each in rest if each.exact is not None), Fraction(0))
    more = Words(f"其余 {len(rest)} 项合计", f"{len(rest)} more of the kind, added up", total)
    return [*sentences[: ROWS_LIMIT - 1], more]


def _what(part: _Part) -> Words:
    """`10 seats (No. 1–10)`."""
    zh_item, en_item, zh_unit = _ITEMS.get(part.item or "", (part.item or "", part.item or "", "个"))
    numbers = ", ".join(part.numbers)
    if len(numbers) > NUMBERS_LIMIT_CHARACTERS:
        numbers = f"{numbers[:NUMBERS_LIMIT_CHARACTERS].rpartition(', ')[0]} …"
    zh, en = f"{zh_item} {part.count} {zh_unit}", f"{part.count} {en_item}{'' if part.count == 1 else 's'}"
    return Words(f"{zh}（编号 {numbers}）", f"{en} (No. {numbers})") if numbers else Words(zh, en)


def _count(ranges: str) -> int:
    """How many numbers `1–3, 7` names."""
    count = 0
    for run in filter(None, ranges.split(", ")):
        first, _, last = run.partition("–")
        count += int(last or first) - int(first) + 1
    return count


def _yuan(amount: Fraction) -> str:
    return exact_text(amount).removeprefix("≈ ")


def _zh_month(month: Month) -> str:
    return f"{month.year} 年 {month.number} 月"


def _en_month(month: Month) -> str:
    return f"{_MONTHS[month.number - 1]} {month.year}"


def _ordinal(day: str) -> str:
    if day[-2:-1] == "1":
        return f"{day}th"
    return day + {"1": "st", "2": "nd", "3": "rd"}.get(day[-1:], "th")
