"""The adapter to Typst: an invoice as data in, the bytes of an A4 PDF out.

Every text of an operator or tenant reaches `templates/invoice.typ` as JSON in one Typst input and is decoded
there into strings; the template itself is the only markup that is ever compiled. Only the fonts of the font
package and those inside Typst are used, so that a machine without any font gives the same bytes.
"""

from __future__ import annotations

import json
import unicodedata
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import Literal

import typst
from noto_cjk_sans_otc import FONT_PATH

from billing.rules.chinese_amount import chinese_amount
from infra.kit.clock import local_midnight
from infra.kit.money import RATED, fen, round_half_away
from infra.kit.problems import Refusal

Reason = Literal["opening", "addition", "monthly", "final", "credit_note"]
Language = Literal["zh", "en", "zh-en"]

LINES_LIMIT = 2_000
"""Lines of one invoice (then about a second and 300 MB to render); the caller groups lines beyond it."""

TEXT_LIMIT_CHARACTERS = 500
"""Characters of any one text: a line whose description and formula are that long still fits on a page."""

WORD_LIMIT_CHARACTERS = 40
"""Characters of a line's kind, item and clause and of the period: words of the contract, not of people."""

_TEMPLATES = Path(__file__).parent / "templates"
_LONGEST_IDENTIFIER_CHARACTERS = 40
_LONGEST_WORD_CHARACTERS = 16
_LONG_WORD_STEP_CHARACTERS = 8
_ZERO_WIDTH_SPACE = "\u200b"
_STAND_INS = {"Cc": " ", "Zl": " ", "Zp": " ", "Cs": "\ufffd"}
"""What is printed for control characters, separators of lines and paragraphs, surrogates (by category)."""
_DIRECTION_CONTROLS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


class InvoiceNotPrintable(Refusal):
    """Base of what keeps an invoice from being printed; the message says what to change."""

    code = "invoice_not_printable"
    status = HTTPStatus.CONFLICT
    title = "The invoice cannot be printed"


class InvoiceTextTooLong(InvoiceNotPrintable):
    """A text is longer than `TEXT_LIMIT_CHARACTERS`, or a contract word than `WORD_LIMIT_CHARACTERS`."""

    def __init__(self, field: str, characters: int, limit_characters: int) -> None:
        super().__init__(
            f"invoice field {field} has {characters} characters; at most {limit_characters} can be "
            "printed: shorten it where it was entered",
            field=field,
        )


class TooManyInvoiceLines(InvoiceNotPrintable):
    """An invoice has more than `LINES_LIMIT` lines."""

    def __init__(self, number: str, lines: int) -> None:
        super().__init__(
            f"invoice {number} has {lines} lines; at most {LINES_LIMIT} can be printed: group lines of one kind"
        )


class InvoiceDoesNotAddUp(InvoiceNotPrintable):
    """The lines of an invoice do not add up to its total, so no paper is made of it."""

    def __init__(self, number: str, total: Decimal, sum_of_lines: Decimal) -> None:
        super().__init__(
            f"invoice {number} says {total} in total but its lines add up to {sum_of_lines}: "
            "pass the stored lines and the stored total of the same invoice"
        )


@dataclass(frozen=True, slots=True)
class OperatorDetails:
    """Party A as its letterhead shows it; an empty text leaves its row out."""

    name: str
    address: str = ""
    tax_number: str = ""
    bank_name: str = ""
    bank_account: str = ""


@dataclass(frozen=True, slots=True)
class TenantDetails:
    """Party B: company name, address, 18-digit credit code (clause C19), and the rest of its tax particulars.

    An empty text leaves its row out.
    """

    name: str
    address: str = ""
    credit_code: str = ""
    phone: str = ""
    bank_name: str = ""
    bank_account: str = ""


@dataclass(frozen=True, slots=True)
class LineWords:
    """A sentence about how a line's amount came about, and what it comes to (a text, empty where others say it)."""

    zh: str
    en: str
    exact: str = ""


@dataclass(frozen=True, slots=True)
class InvoiceLine:
    """One line; amounts in CNY with VAT included (contract rule 12), `amount` in whole fen, credits negative.

    `kind` and `item` are the words of the contract (`rent`, `seat`, …), translated by the template; an
    unknown word is printed as it is. `quantity` and `unit_price` (up to four decimals) may be None.
    `clause` names the contract's clause ("C7"), `formula` how the amount came about, in short; `words` say it in
    sentences on a page of their own.
    """

    kind: str
    amount: Decimal
    item: str = ""
    description: str = ""
    quantity: Decimal | None = None
    unit_price: Decimal | None = None
    clause: str = ""
    formula: str = ""
    words: tuple[LineWords, ...] = ()


@dataclass(frozen=True, slots=True)
class TaxRow:
    """The tax of one rate in CNY (contract rule 12); the rate as a fraction, None where untaxed (deposit)."""

    rate: Decimal | None
    net: Decimal
    tax: Decimal
    gross: Decimal


@dataclass(frozen=True, slots=True)
class PaymentInstructions:
    """Where to pay by bank transfer (clause C25); `reference` is what ties the payment to the invoice."""

    account_name: str
    bank_name: str
    bank_account: str
    reference: str


@dataclass(frozen=True, slots=True)
class InvoiceDocument:
    """Everything on one printed invoice. Money in CNY, local dates, `period` as "2026-07".

    `fapiao` are the numbers of the official invoices issued for it.
    """

    number: str
    reason: Reason
    issued_on: date
    due_on: date
    period: str
    operator: OperatorDetails
    tenant: TenantDetails
    contract_id: str
    contract_title: str
    lines: tuple[InvoiceLine, ...]
    total: Decimal
    taxes: tuple[TaxRow, ...]
    amount_paid: Decimal
    amount_open: Decimal
    payment: PaymentInstructions
    suspends_on: date | None = None
    void: bool = False
    fapiao: tuple[str, ...] = ()
    language: Language = "zh-en"


def render_invoice(document: InvoiceDocument) -> bytes:
    """The invoice as PDF. The same document gives the same bytes, dated the beginning of `issued_on`.

    Takes tens of milliseconds of processor time (seconds for thousands of lines): call it from a worker
    thread (it lets the others run), not on an event loop.

    Raises `InvoiceTextTooLong`, `TooManyInvoiceLines`, `InvoiceDoesNotAddUp`, and `AmountNotSpellable` for a
    total that has no capital Chinese form.
    """
    if len(document.lines) > LINES_LIMIT:
        raise TooManyInvoiceLines(document.number, len(document.lines))
    sum_of_lines = sum((line.amount for line in document.lines), Decimal(0))
    if sum_of_lines != document.total:
        raise InvoiceDoesNotAddUp(document.number, document.total, sum_of_lines)
    return typst.compile(
        _TEMPLATES / "invoice.typ",
        root=_TEMPLATES,
        font_paths=_fonts(),
        ignore_system_fonts=True,
        format="pdf",
        sys_inputs={"invoice": json.dumps(_template_data(document), ensure_ascii=False)},
        timestamp=int(local_midnight(document.issued_on).timestamp()),
    )


@cache
def _fonts() -> typst.Fonts:
    """The font package's folder and what Typst carries itself; read once, since the font is 19 MB."""
    return typst.Fonts(include_system_fonts=False, font_paths=[Path(str(FONT_PATH)).parent])


def _template_data(document: InvoiceDocument) -> dict[str, object]:
    """What the template decodes: strings ready to print, ISO dates, and words that choose a wording."""
    operator, tenant, payment = document.operator, document.tenant, document.payment
    return {
        "language": document.language,
        "void": document.void,
        "settlement": _settlement(document),
        "number": _identifier("number", document.number),
        "reason": document.reason,
        "issued_on": document.issued_on.isoformat(),
        "due_on": document.due_on.isoformat(),
        "suspends_on": document.suspends_on.isoformat() if document.suspends_on else None,
        "period": _printable("period", document.period, WORD_LIMIT_CHARACTERS),
        "operator": {
            "name": _printable("operator.name", operator.name),
            "address": _printable("operator.address", operator.address),
            "tax_number": _identifier("operator.tax_number", operator.tax_number),
            "bank_name": _printable("operator.bank_name", operator.bank_name),
            "bank_account": _identifier("operator.bank_account", operator.bank_account),
        },
        "tenant": {
            "name": _printable("tenant.name", tenant.name),
            "address": _printable("tenant.address", tenant.address),
            "credit_code": _identifier("tenant.credit_code", tenant.credit_code),
            "phone": _identifier("tenant.phone", tenant.phone),
            "bank_name": _printable("tenant.bank_name", tenant.bank_name),
            "bank_account": _identifier("tenant.bank_account", tenant.bank_account),
        },
        "fapiao": [_identifier("fapiao", number) for number in document.fapiao],
        "contract": {
            "id": _identifier("contract_id", document.contract_id),
            "title": _printable("contract_title", document.contract_title),
        },
        "lines": [_line_data(position, line) for position, line in enumerate(document.lines)],
        "total": grouped_amount(document.total),
        "total_in_words": "人民币" + chinese_amount(document.total),
        "taxes": [_tax_data(row) for row in document.taxes],
        "amount_paid": grouped_amount(document.amount_paid),
        "amount_open": grouped_amount(document.amount_open),
        "payment": {
            "account_name": _printable("payment.account_name", payment.account_name),
            "bank_name": _printable("payment.bank_name", payment.bank_name),
            "bank_account": _identifier("payment.bank_account", payment.bank_account),
            "reference": _identifier("payment.reference", payment.reference),
        },
    }


def _settlement(document: InvoiceDocument) -> Literal["void", "open", "credit", "settled"]:
    """Which wording the payment section takes."""
    if document.void:
        return "void"
    if document.amount_open > 0:
        return "open"
    return "credit" if document.total < 0 else "settled"


def _line_data(position: int, line: InvoiceLine) -> dict[str, object]:
    field = f"lines[{position}]"
    return {
        "kind": _printable(f"{field}.kind", line.kind, WORD_LIMIT_CHARACTERS),
        "item": _printable(f"{field}.item", line.item, WORD_LIMIT_CHARACTERS),
        "description": _printable(f"{field}.description", line.description),
        "quantity": "" if line.quantity is None else grouped_quantity(line.quantity),
        "unit_price": "" if line.unit_price is None else grouped_price(line.unit_price),
        "amount": grouped_amount(line.amount),
        "clause": _printable(f"{field}.clause", line.clause, WORD_LIMIT_CHARACTERS),
        "formula": _printable(f"{field}.formula", line.formula),
        "words": [
            {
                "zh": _printable(f"{field}.words", words.zh),
                "en": _printable(f"{field}.words", words.en),
                "exact": words.exact,
            }
            for words in line.words
        ],
    }


def _tax_data(row: TaxRow) -> dict[str, object]:
    return {
        "rate": None if row.rate is None else f"{_plain(row.rate * 100)}%",
        "net": grouped_amount(row.net),
        "tax": grouped_amount(row.tax),
        "gross": grouped_amount(row.gross),
    }


def grouped_amount(amount: Decimal) -> str:
    """An amount in whole fen with thousands separators: 39354.84 → 39,354.84."""
    return f"{fen(amount):,f}"


def grouped_price(price: Decimal) -> str:
    """A unit price: two decimals, up to four where it has them (a rate): 0.145 → 0.145, 2000 → 2,000.00."""
    digits = f"{round_half_away(price, RATED):,f}"
    return digits.removesuffix("0").removesuffix("0")


def grouped_quantity(quantity: Decimal) -> str:
    """A quantity with thousands separators and without trailing zeros: 1250.50 → 1,250.5."""
    return f"{_plain(quantity):,f}"


def _plain(number: Decimal) -> Decimal:
    """The number without trailing zeros; zero without a sign."""
    return number.normalize() if number else Decimal(0)


def _printable(field: str, text: str, limit_characters: int = TEXT_LIMIT_CHARACTERS) -> str:
    """`_one_line`, with zero-width spaces in words so long that they would run over their column."""
    printable: list[str] = []
    word_characters = 0
    for character in _one_line(field, text, limit_characters):
        if word_characters >= _LONGEST_WORD_CHARACTERS and not unicodedata.combining(character):
            printable.append(_ZERO_WIDTH_SPACE)
            word_characters -= _LONG_WORD_STEP_CHARACTERS
        printable.append(character)
        breaks = character.isspace() or unicodedata.east_asian_width(character) in {"W", "F"}
        word_characters = 0 if breaks else word_characters + 1
    return "".join(printable)


def _identifier(field: str, text: str) -> str:
    """A number, id or account: where it fits, with nothing hidden in it, since people copy it."""
    if len(text) > _LONGEST_IDENTIFIER_CHARACTERS:
        return _printable(field, text)
    return _one_line(field, text, TEXT_LIMIT_CHARACTERS)


def _one_line(field: str, text: str, limit_characters: int) -> str:
    """A text as one line of characters that can be shown.

    Line breaks, tabs and other control characters become spaces; lone surrogates, which are no characters,
    U+FFFD. Direction controls are dropped, since one of them could show an amount or a name backwards.
    """
    if len(text) > limit_characters:
        raise InvoiceTextTooLong(field, len(text), limit_characters)
    return "".join(
        _STAND_INS.get(unicodedata.category(character), character)
        for character in text
        if character not in _DIRECTION_CONTROLS
    )
