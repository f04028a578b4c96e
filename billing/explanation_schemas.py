"""The answer that explains an invoice line: words, parts, calls and charges. Money is CNY."""

from __future__ import annotations

from billing import explain
from billing.data_traffic.sums import DataSum
from billing.explain import Explanation
from billing.finance_schemas import OneOffChargeView, one_off_charge_view
from billing.rules.invoice_words import exact_text
from billing.usage_schemas import ChargeView, charge_view, month_text, rated_text
from infra.kit import money
from infra.kit.http import View


class PartView(View):
    """One part of a line: the clause, the formula, the exact amount it gave, and what went in."""

    clause: str
    formula: str
    exact: str
    inputs: dict[str, str]


class WordsView(View):
    """One sentence about how a line came about; `exact` is what it comes to, null where the next ones say it."""

    zh: str
    en: str
    exact: str | None


class DestinationView(View):
    """The calls of a line to one destination, as the rate deck names it; `amount` has four decimals."""

    name: str
    calls: int
    billed_seconds: int
    amount: str


class DataSumView(View):
    """What the tunnels of a contract's seats carried, by records of a seat and day (`GET /v1/data-usage`); bytes."""

    records: int
    received: int
    sent: int
    amount: str


class LineExplanationView(View):
    """Where a line comes from. `words` say it in Chinese and English, as on the PDF.

    `calls` is a page of a line of calls, which `destinations` sum up; `charges` are those of a one-off kind, `data` is
    what the tunnels carried.
    `exact` is their exact sum, and `rounding` what the line has more or less than it.
    """

    invoice_id: str
    invoice_number: str
    line_number: int
    kind: str
    item: str | None
    quantity: int
    unit_price: str
    amount: str
    currency: str
    clause: str
    formula: str
    words: list[WordsView]
    parts: list[PartView]
    exact: str | None
    rounding: str | None
    usage_month: str | None
    call_count: int | None
    destinations: list[DestinationView]
    calls: list[ChargeView]
    next: str | None
    charges: list[OneOffChargeView]
    data: DataSumView | None


_OF_A_PART = ("clause", "formula", "exact")


def line_explanation_view(explanation: Explanation) -> LineExplanationView:
    """An explained line as the API shows it."""
    invoice, line, calls = explanation.invoice, explanation.line, explanation.call_sum
    difference = explain.rounding(explanation)
    return LineExplanationView(
        invoice_id=invoice.invoice_id,
        invoice_number=invoice.number,
        line_number=line.line_number,
        kind=line.kind,
        item=line.item,
        quantity=line.quantity,
        unit_price=money.amount_text(line.unit_price),
        amount=money.amount_text(line.amount),
        currency=money.CURRENCY,
        clause=line.clause,
        formula=line.formula,
        words=[
            WordsView(zh=each.zh, en=each.en, exact=None if each.exact is None else exact_text(each.exact))
            for each in explain.words_of(line, explanation.destinations)
        ],
        parts=[
            PartView(
                **{name: part[name] for name in _OF_A_PART},
                inputs={name: value for name, value in part.items() if name not in _OF_A_PART},
            )
            for part in explanation.parts
        ],
        exact=None if difference is None else rated_text(line.amount - difference),
        rounding=None if difference is None else rated_text(difference),
        usage_month=None if calls is None else month_text(calls.month),
        call_count=None if calls is None else calls.calls,
        destinations=[
            DestinationView(
                name=group.name,
                calls=group.calls,
                billed_seconds=group.billed_seconds,
                amount=rated_text(group.amount),
            )
            for group in explanation.destinations
        ],
        calls=[charge_view(call) for call in explanation.calls],
        next=explanation.next_calls,
        charges=[one_off_charge_view(charge) for charge in explanation.charges],
        data=None if explanation.data_sum is None else _data_view(explanation.data_sum),
    )


def _data_view(carried: DataSum) -> DataSumView:
    return DataSumView(
        records=carried.records, received=carried.received, sent=carried.sent, amount=rated_text(carried.amount)
    )
