"""The words of a mail: from facts to subject, plain text and HTML, in the recipient's language (infra/locale)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import cache
from typing import Any

from infra.kit import money
from infra.kit.mail import one_line
from infra.kit.outbox.words import LOCALE, Row, Table, Words, compose, day_text, sum_text
from infra.kit.settings import OperatorDetails

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


def render(kind: str, language: str, facts: Facts, operator: OperatorDetails) -> Words:
    """The mail of a kind. What a tenant calls itself stays words: it is never read as a template or as HTML."""
    words = _words(language)
    return compose(
        kind,
        language,
        _spoken(facts, language, words),
        operator,
        tables=_tables(kind, language, facts, operator, words),
        alarming=kind in _ALARMING,
        closing="" if kind.startswith("operator_") else words["closing"],
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


def _tables(kind: str, language: str, facts: Facts, operator: OperatorDetails, words: Mapping[str, Any]) -> list[Table]:
    invoice, to_pay = facts.invoice, list(facts.overdue)
    tables: list[Table] = []
    if invoice is not None:
        rows = [
            Row(words["number"], invoice.number),
            Row(words["reason"], words["reasons"].get(invoice.reason, words["other_invoice"])),
            Row(words["period"], invoice.period),
            Row(words["issued_on"], day_text(invoice.issued_on, language)),
            Row(words["due_on"], day_text(invoice.due_on, language)),
            Row(words["total"], sum_text(invoice.total, language)),
            Row(words["open_amount"], sum_text(invoice.open_amount, language), strong=True),
        ]
        tables.append(Table("", rows))
        to_pay = [invoice] if invoice.open_amount > 0 else []
    elif to_pay:
        rows = [
            Row(f"{each.number} · {day_text(each.due_on, language)}", sum_text(each.open_amount, language))
            for each in to_pay
        ]
        owed = sum((each.open_amount for each in to_pay), money.ZERO)
        tables.append(Table(words["invoices"], [*rows, Row(words["owed"], sum_text(owed, language), strong=True)]))
    if to_pay and not kind.startswith("operator_"):
        rows = [
            Row(words["payee"], operator.name),
            Row(words["bank"], operator.bank_name),
            Row(words["account"], operator.bank_account),
            Row(
                words["reference"],
                ("、" if language == "zh" else ", ").join(each.payment_reference for each in to_pay),
                strong=True,
            ),
        ]
        tables.append(Table(words["pay_here"], rows))
    return tables
