"""The words of a mail: from a template and values to subject, plain text and HTML, in its reader's language.

Templates lie in `infra/locale/<language>/mail/<template>.txt`: the first line is the subject, the rest paragraphs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import FileSystemLoader, StrictUndefined
from jinja2.sandbox import ImmutableSandboxedEnvironment

from infra.kit import clock, money
from infra.kit.mail import one_line
from infra.kit.settings import OperatorDetails

LOCALE = Path(__file__).parent.parent.parent / "locale"
CALM, ALARM = "#12506b", "#b3261e"


@dataclass(frozen=True, slots=True)
class Words:
    """A mail's words."""

    subject: str
    text: str
    html: str


@dataclass(frozen=True, slots=True)
class Row:
    """A line of a table."""

    label: str
    value: str
    strong: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """Labels and values under a title, which may be empty."""

    title: str
    rows: Sequence[Row]


@dataclass(frozen=True, slots=True)
class Link:
    """Where the reader is to click; in the plain text the address stands by itself on a line."""

    label: str
    url: str


def compose(
    template: str,
    language: str,
    values: Mapping[str, Any],
    operator: OperatorDetails,
    *,
    tables: Sequence[Table] = (),
    link: Link | None = None,
    alarming: bool = False,
    closing: str | None = None,
) -> Words:
    """The mail of a template. Values stay words: they are never read as a template or as HTML.

    `values`: texts are put on one line. `closing` stands at the end; None takes the usual one ("sent automatically"),
    an empty one leaves it out. Raises `jinja2.TemplateNotFound` for a language that has no such template.
    """
    spoken = {name: one_line(value) if isinstance(value, str) else value for name, value in values.items()}
    said = _environment().get_template(f"{language}/mail/{template}.txt").render(spoken)
    subject, _, body = said.partition("\n")
    paragraphs = [one_line(paragraph) for paragraph in body.split("\n\n") if paragraph.strip()]
    shown = [table for table in tables if table.rows]
    ending = common_words(language)["closing"] if closing is None else closing
    html = (
        _environment()
        .get_template("mail.html")
        .render(
            language=language_tag(language),
            headline=one_line(subject),
            accent=ALARM if alarming else CALM,
            paragraphs=paragraphs,
            tables=shown,
            link=link,
            closing=ending,
            operator_name=operator.name,
            operator_address=operator.address,
        )
    )
    parts = ["\n\n".join(paragraphs)]
    if link is not None:
        parts.append(f"{link.label}\n{link.url}")
    colon = "：" if language == "zh" else ": "
    for table in shown:
        rows = "\n".join(f"{row.label}{colon}{row.value}" for row in table.rows)
        parts.append(f"{table.title}\n{rows}" if table.title else rows)
    if ending:
        parts.append(ending)
    parts.append(operator.name)
    return Words(one_line(subject), "\n\n".join(parts) + "\n", html)


def language_tag(language: str) -> str:
    """The language as headers and pages name it (BCP 47)."""
    return {"zh": "zh-CN"}.get(language, language)


def day_text(day: date, language: str) -> str:
    """`2026年4月10日`, `10 April 2026`."""
    if language == "zh":
        return f"{day.year}年{day.month}月{day.day}日"
    return f"{day.day} {_MONTHS[day.month - 1]} {day.year}"


def moment_text(moment: datetime, language: str) -> str:
    """`2026年4月10日 08:00`, `10 April 2026, 08:00`: local time, Asia/Shanghai."""
    local = moment.astimezone(clock.LOCAL_ZONE)
    return f"{day_text(local.date(), language)}{' ' if language == 'zh' else ', '}{local:%H:%M}"


def sum_text(amount: Decimal, language: str) -> str:
    """`4,000.00 元`, `CNY 4,000.00`."""
    plain = f"{Decimal(money.amount_text(amount)):,.2f}"
    return f"{plain} 元" if language == "zh" else f"{money.CURRENCY} {plain}"


@cache
def common_words(language: str) -> dict[str, str]:
    """The words that stand in every room's mails (`common.json`)."""
    return json.loads((LOCALE / language / "mail" / "common.json").read_text(encoding="utf-8"))


_MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
           "November", "December")  # fmt: skip


@cache
def _environment() -> ImmutableSandboxedEnvironment:
    return ImmutableSandboxedEnvironment(
        loader=FileSystemLoader(LOCALE),
        autoescape=lambda name: name is not None and name.endswith(".html"),
        undefined=StrictUndefined,
    )
