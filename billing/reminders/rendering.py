"""The words of a mail: from facts to subject, plain text and HTML, in the recipient's language (infra/locale)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import FileSystemLoader, StrictUndefined
from jinja2.sandbox import ImmutableSandboxedEnvironment

from infra.kit import money
from infra.kit.mail import one_line
from infra.kit.settings import OperatorDetails

LOCALE = Path(__file__).parent.parent.parent / "infra" / "locale"
CALM, ALARM = "#12506b", "#b3261e"
_ALARMING = ("overdue", "suspension_tomorrow", "suspended", "operator_suspended")


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceFacts:
    """An invoice as a mail speaks of it; amounts in CNY, dates local."""

    number: str
    reason: str
    period: str
    issued_on: date
    due_on: date
    total: Decimal
    open_amount: Decimal
    payment_reference: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ContractFacts:
    """A contract whose term runs out; `renewable_until` is the last day on which its renewal can be agreed (C14)."""

    title: str
    ends_on: date
    renewable_until: date


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Everything that a mail may say.

    `invoice` is what it is about; a mail about the tenant's standing has none, but `overdue`, the invoices that keep
    it suspended. `suspends_on` is the first day without service if nothing is paid, `suspended_since` a suspension's
    first day.
    """

    tenant_id: str
    tenant_name: str
    today: date
    invoice: InvoiceFacts | None = None
    contract: ContractFacts | None = None
    overdue: tuple[InvoiceFacts, ...] = ()
    suspends_on: date | None = None
    suspended_since: date | None = None
    is_suspended: bool = False
    promised_until: date | None = None


@dataclass(frozen=True, slots=True)
class Rendered:
    """A mail's words."""

    subject: str
    text: str
    html: str


@dataclass(frozen=True, slots=True)
class _Row:
    label: str
    value: str
    strong: bool = False


@dataclass(frozen=True, slots=True)
class _Table:
    title: str
    rows: Sequence[_Row]


def render(kind: str, language: str, facts: Facts, operator: OperatorDetails) -> Rendered:
    """The mail of a kind. What a tenant calls itself stays words: it is never read as a template or as HTML."""
    words = _words(language)
    said = _environment().get_template(f"{language}/mail/{kind}.txt").render(_spoken(facts, language, words))
    subject, _, body = said.partition("\n")
    paragraphs = [one_line(paragraph) for paragraph in body.split("\n\n") if paragraph.strip()]
    tables = [table for table in _tables(kind, language, facts, operator, words) if table.rows]
    html = (
        _environment()
        .get_template("mail.html")
        .render(
            language={"zh": "zh-CN"}.get(language, language),
            headline=one_line(subject),
            accent=ALARM if kind in _ALARMING else CALM,
            paragraphs=paragraphs,
            tables=tables,
            closing="" if kind.startswith("operator_") else words["closing"],
            operator_name=operator.name,
            operator_address=operator.address,
        )
    )
    parts = ["\n\n".join(paragraphs)]
    colon = "：" if language == "zh" else ": "
    for table in tables:
        rows = "\n".join(f"{row.label}{colon}{row.value}" for row in table.rows)
        parts.append(f"{table.title}\n{rows}" if table.title else rows)
    if not kind.startswith("operator_"):
        parts.append(words["closing"])
    parts.append(operator.name)
    return Rendered(one_line(subject), "\n\n".join(parts) + "\n", html)


def day_text(day: date, language: str) -> str:
    """`2026年4月10日`, `10 April 2026`."""
    if language == "zh":
        return f"{day.year}年{day.month}月{day.day}日"
    return f"{day.day} {_MONTHS[day.month - 1]} {day.year}"


def sum_text(amount: Decimal, language: str) -> str:
    """`4,000.00 元`, `CNY 4,000.00`."""
    plain = f"{Decimal(money.amount_text(amount)):,.2f}"
    return f"{plain} 元" if language == "zh" else f"{money.CURRENCY} {plain}"


_MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
           "November", "December")  # fmt: skip


@cache
def _environment() -> ImmutableSandboxedEnvironment:
    return ImmutableSandboxedEnvironment(
        loader=FileSystemLoader(LOCALE),
        autoescape=lambda name: name is not None and name.endswith(".html"),
        undefined=StrictUndefined,
    )


@cache
def _words(language: str) -> dict[str, Any]:
    return json.loads((LOCALE / language / "mail" / "words.json").read_text(encoding="utf-8"))


def _spoken(facts: Facts, language: str, words: Mapping[str, Any]) -> dict[str, Any]:
    """The facts as the templates take them, every text on one line."""

    def spoken_day(day: date | None) -> str | None:
        return None if day is None else day_text(day, language)

    values: dict[str, Any] = {
        "tenant_id": facts.tenant_id,
        "tenant_name": one_line(facts.tenant_name),
        "suspends_on": spoken_day(facts.suspends_on),
        "suspended_from": spoken_day(facts.suspended_since or facts.suspends_on),
        "is_suspended": facts.is_suspended,
        "promised_until": spoken_day(facts.promised_until),
        "owed": sum_text(sum((each.open_amount for each in facts.overdue), money.ZERO), language),
    }
    invoice, contract = facts.invoice, facts.contract
    if contract is not None:
        values |= {
            "title": one_line(contract.title),
            "ends_on": day_text(contract.ends_on, language),
            "days_left": (contract.ends_on - facts.today).days,
            "renewable_until": day_text(contract.renewable_until, language),
            "renewable": facts.today <= contract.renewable_until,
        }
    if invoice is not None:
        values |= {
            "number": invoice.number,
            "reason": words["reasons"].get(invoice.reason, words["other_invoice"]),
            "total": sum_text(invoice.total, language),
            "open_amount": sum_text(invoice.open_amount, language),
            "settled": invoice.open_amount <= 0,
            "due_on": day_text(invoice.due_on, language),
            "days_overdue": (facts.today - invoice.due_on).days,
        }
    return values


def _tables(
    kind: str, language: str, facts: Facts, operator: OperatorDetails, words: Mapping[str, Any]
) -> list[_Table]:
    invoice, to_pay = facts.invoice, list(facts.overdue)
    tables: list[_Table] = []
    if invoice is not None:
        rows = [
            _Row(words["number"], invoice.number),
            _Row(words["reason"], words["reasons"].get(invoice.reason, words["other_invoice"])),
            _Row(words["period"], invoice.period),
            _Row(words["issued_on"], day_text(invoice.issued_on, language)),
            _Row(words["due_on"], day_text(invoice.due_on, language)),
            _Row(words["total"], sum_text(invoice.total, language)),
            _Row(words["open_amount"], sum_text(invoice.open_amount, language), strong=True),
        ]
        tables.append(_Table("", rows))
        to_pay = [invoice] if invoice.open_amount > 0 else []
    elif to_pay:
        rows = [
            _Row(f"{each.number} · {day_text(each.due_on, language)}", sum_text(each.open_amount, language))
            for each in to_pay
        ]
        owed = sum((each.open_amount for each in to_pay), money.ZERO)
        tables.append(_Table(words["invoices"], [*rows, _Row(words["owed"], sum_text(owed, language), strong=True)]))
    if to_pay and not kind.startswith("operator_"):
        rows = [
            _Row(words["payee"], operator.name),
            _Row(words["bank"], operator.bank_name),
            _Row(words["account"], operator.bank_account),
            _Row(
                words["reference"],
                ("、" if language == "zh" else ", ").join(each.payment_reference for each in to_pay),
                strong=True,
            ),
        ]
        tables.append(_Table(words["pay_here"], rows))
    return tables
