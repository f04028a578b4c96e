"""Request and response bodies of credit notes, re-ratings and write-offs. Money is CNY."""

from __future__ import annotations

from datetime import date, datetime

from billing.corrections.models import ReRatedCall, ReRating
from billing.ledger_models import WriteOff
from billing.usage_schemas import month_text, rated_text
from infra.kit import money
from infra.kit.http import Body, View
from switch.call_privacy import Sight


class CreditedLine(Body):
    """A part of a line that is to be credited: its number, from 1, and the amount with tax."""

    line_number: int
    amount: str


class NewCreditNote(Body):
    """What of an invoice is credited: parts of `lines`, or the `whole` of it but its deposits; and why."""

    reason: str
    whole: bool = False
    lines: list[CreditedLine] | None = None


class NewReRating(Body):
    """The usage month (2026-07) whose calls are to be priced again, the deck (null: the contract's own), and why."""

    month: str
    reason: str
    rate_deck_id: str | None = None


class ReRatingView(View):
    """A re-rating and what it comes to; sums are exact, with four decimals.

    `old_total` and `new_total` are of the calls that had a price, `difference` is what settling it credits or charges.
    A call for which the deck has no price keeps its old one. `first_total` is of `first_priced` calls, which had none.
    `settlement` is `replaced`, `credit_note`, `supplement` (on the invoice for `billing_month`) or `nothing`.
    """

    re_rating_id: str
    tenant_id: str
    contract_id: str
    month: str
    deck_id: str
    reason: str
    state: str
    calls: int
    changed: int
    without_price: int
    first_priced: int
    old_total: str
    new_total: str
    difference: str
    first_total: str
    currency: str
    requested_by: str
    requested_at: datetime
    computed_at: datetime | None
    settled_at: datetime | None
    settled_by: str | None
    settlement: str | None
    credit_note_id: str | None
    billing_month: str | None
    cancelled_at: datetime | None


class ReRatedCallView(View):
    """A call that a re-rating changes: `changed`, `without_price` (it keeps `old_amount`) or `first_priced`.

    Of `destination` an operator's person who is not on a visit to the tenant sees the last digits, of `prefix`, the
    beginning of it that the new price was found by, that there is one.
    """

    leg_id: str
    month: str
    outcome: str
    destination: str | None
    answered_at: datetime | None
    old_amount: str | None
    new_amount: str | None
    difference: str | None
    prefix: str | None
    billed_seconds: int | None


class WriteOffRequest(Body):
    """Why what is open of an invoice is given up."""

    reason: str


class WriteOffReversal(Body):
    """Why a write-off is taken back."""

    reason: str


class WriteOffView(View):
    """What was given up of an invoice, by whom and why; a reversed one stays to be seen."""

    write_off_id: str
    tenant_id: str
    invoice_id: str
    amount: str
    currency: str
    reason: str
    decided_by: str
    recorded_at: datetime
    reversed_at: datetime | None
    reversal_reason: str | None


def re_rating_view(row: ReRating) -> ReRatingView:
    """A re-rating as the API shows it."""
    return ReRatingView(
        re_rating_id=row.re_rating_id,
        tenant_id=row.tenant_id,
        contract_id=row.contract_id,
        month=month_text(row.month),
        deck_id=row.deck_id,
        reason=row.reason,
        state=row.state,
        calls=row.calls,
        changed=row.changed,
        without_price=row.without_price,
        first_priced=row.first_priced,
        old_total=rated_text(row.old_total),
        new_total=rated_text(row.new_total),
        difference=rated_text(row.new_total - row.old_total),
        first_total=rated_text(row.first_total),
        currency=money.CURRENCY,
        requested_by=row.requested_by,
        requested_at=row.requested_at,
        computed_at=row.computed_at,
        settled_at=row.settled_at,
        settled_by=row.settled_by,
        settlement=row.settlement,
        credit_note_id=row.credit_note_id,
        billing_month=_month_or_none(row.billing_month),
        cancelled_at=row.cancelled_at,
    )


def re_rated_call_view(
    row: ReRatedCall, destination: str | None, answered_at: datetime | None, sight: Sight
) -> ReRatedCallView:
    """A call of a re-rating as the API shows it; its leg's parts are null where the record is no longer kept."""
    old, new = row.old_amount, row.new_amount
    return ReRatedCallView(
        leg_id=row.leg_id,
        month=month_text(row.month),
        outcome=row.outcome,
        destination=sight.number(destination, row.tenant_id),
        answered_at=answered_at,
        old_amount=None if old is None else rated_text(old),
        new_amount=None if new is None else rated_text(new),
        difference=None if old is None or new is None else rated_text(new - old),
        prefix=sight.price_prefix(row.prefix, row.tenant_id),
        billed_seconds=row.billed_seconds,
    )


def write_off_view(row: WriteOff) -> WriteOffView:
    """A write-off as the API shows it."""
    return WriteOffView(
        write_off_id=row.write_off_id,
        tenant_id=row.tenant_id,
        invoice_id=row.invoice_id,
        amount=money.amount_text(row.amount),
        currency=money.CURRENCY,
        reason=row.reason,
        decided_by=row.decided_by,
        recorded_at=row.recorded_at,
        reversed_at=row.reversed_at,
        reversal_reason=row.reversal_reason,
    )


def _month_or_none(month: date | None) -> str | None:
    return None if month is None else month_text(month)
