"""Request and response bodies of rate decks, charges, calls without a price, and quotes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from litestar.openapi.spec import OpenAPIMediaType, Operation, RequestBody, Schema
from litestar.openapi.spec.enums import OpenAPIFormat, OpenAPIType

from billing.charge_reports import CallWithoutPrice, ChargedCall, ChargeSum, UnratedSum
from billing.models import Contract, RateDeck
from infra.kit import money
from infra.kit.http import Body, View


class RateDeckView(View):
    """A rate deck without its rows."""

    deck_id: str
    name: str
    is_default: bool
    row_count: int
    created_at: datetime


class DeckChoice(Body):
    """The deck a contract is to have of its own; null: the default one."""

    rate_deck_id: str | None


class ContractDeckView(View):
    """Which deck a contract has of its own."""

    tenant_id: str
    contract_id: str
    rate_deck_id: str | None


class ChargeView(View):
    """What one call costs; `month` is the month on whose invoice it goes, `amount` has four decimals.

    `revised_amount` is its price since a re-rating after that invoice; the difference is settled by itself.
    """

    tenant_id: str
    leg_id: str
    contract_id: str
    month: str
    caller: str | None
    destination: str | None
    answered_at: datetime | None
    deck_id: str
    prefix: str
    billed_seconds: int
    amount: str
    revised_amount: str | None
    currency: str
    rated_at: datetime


class ChargeSumView(View):
    """The calls of one contract on the invoice of one month; `amount` is exact, the invoice rounds it once.

    `re_rated` is what that invoice takes besides of re-ratings of earlier months.
    """

    tenant_id: str
    contract_id: str
    month: str
    calls: int
    billed_seconds: int
    amount: str
    re_rated: str
    currency: str


class UnratedCallView(View):
    """A call that bills and has no price yet, with the reason."""

    tenant_id: str
    leg_id: str
    reason: str
    destination: str | None
    answered_at: datetime | None
    billable_milliseconds: int | None
    seen_at: datetime


class UnratedSumView(View):
    """How many calls of a tenant have no price for one reason."""

    tenant_id: str
    reason: str
    calls: int
    oldest_seen_at: datetime


def month_text(month: date) -> str:
    """A month as the API writes it: `2026-07`."""
    return f"{month:%Y-%m}"


def rated_text(amount: Decimal) -> str:
    """The charge of calls as the API writes it: plain digits with four decimals."""
    return f"{money.rated(amount):f}"


def rate_deck_view(deck: RateDeck) -> RateDeckView:
    """A deck as the API shows it."""
    return RateDeckView(
        deck_id=deck.deck_id,
        name=deck.name,
        is_default=deck.is_default,
        row_count=deck.row_count,
        created_at=deck.created_at,
    )


def contract_deck_view(contract: Contract) -> ContractDeckView:
    """A contract's deck as the API shows it."""
    return ContractDeckView(
        tenant_id=contract.tenant_id, contract_id=contract.contract_id, rate_deck_id=contract.rate_deck_id
    )


def charge_view(call: ChargedCall) -> ChargeView:
    """A charge as the API shows it."""
    charge = call.charge
    return ChargeView(
        tenant_id=charge.tenant_id,
        leg_id=charge.leg_id,
        contract_id=charge.contract_id,
        month=month_text(charge.billing_month),
        caller=call.caller,
        destination=call.destination,
        answered_at=call.answered_at,
        deck_id=charge.deck_id,
        prefix=charge.prefix,
        billed_seconds=charge.billed_seconds,
        amount=rated_text(charge.amount),
        revised_amount=None if charge.revised_amount is None else rated_text(charge.revised_amount),
        currency=money.CURRENCY,
        rated_at=charge.rated_at,
    )


def charge_sum_view(total: ChargeSum) -> ChargeSumView:
    """A sum as the API shows it."""
    return ChargeSumView(
        tenant_id=total.tenant_id,
        contract_id=total.contract_id,
        month=month_text(total.month),
        calls=total.calls,
        billed_seconds=total.billed_seconds,
        amount=rated_text(total.amount),
        re_rated=rated_text(total.re_rated),
        currency=money.CURRENCY,
    )


def unrated_call_view(call: CallWithoutPrice) -> UnratedCallView:
    """A call without a price as the API shows it."""
    return UnratedCallView(
        tenant_id=call.unrated.tenant_id,
        leg_id=call.unrated.leg_id,
        reason=call.unrated.reason,
        destination=call.destination,
        answered_at=call.answered_at,
        billable_milliseconds=call.billable_milliseconds,
        seen_at=call.unrated.seen_at,
    )


def unrated_sum_view(total: UnratedSum) -> UnratedSumView:
    """A count as the API shows it."""
    return UnratedSumView(
        tenant_id=total.tenant_id,
        reason=total.reason,
        calls=total.calls,
        oldest_seen_at=total.oldest_seen_at,
    )


_TEXT = Schema(type=OpenAPIType.STRING)
_FILE = Schema(type=OpenAPIType.STRING, format=OpenAPIFormat.BINARY, description="CSV in UTF-8 or GBK with a header")


@dataclass
class DeckUpload(Operation):
    """The two bodies that an upload of a deck takes, for the API description."""

    def __post_init__(self) -> None:
        form = Schema(
            type=OpenAPIType.OBJECT,
            properties={"file": _FILE, "name": _TEXT, "is_default": Schema(type=OpenAPIType.BOOLEAN)},
            required=["file", "name"],
        )
        self.request_body = RequestBody(
            content={"multipart/form-data": OpenAPIMediaType(form), "text/csv": OpenAPIMediaType(_FILE)},
            required=True,
        )


@dataclass
class QuoteQuestion(Operation):
    """The body of a quote, for the API description."""

    def __post_init__(self) -> None:
        day = Schema(type=OpenAPIType.STRING, format=OpenAPIFormat.DATE)
        question = Schema(
            type=OpenAPIType.OBJECT,
            properties={
                "contract": Schema(type=OpenAPIType.OBJECT),
                "until": day,
                "events": Schema(type=OpenAPIType.ARRAY, items=Schema(type=OpenAPIType.OBJECT)),
            },
            required=["contract", "until", "events"],
            additional_properties=False,
        )
        self.request_body = RequestBody(content={"application/json": OpenAPIMediaType(question)}, required=True)
