"""Request and response bodies of seat orders and seats."""

from __future__ import annotations

from datetime import date, datetime
from typing import Literal

import msgspec

from billing.finance_schemas import PreviewInvoiceView, preview_invoice_view
from infra.kit import money
from infra.kit.http import Body, View
from provisioning import seat_people, seats
from provisioning.models import Seat, SeatOrder
from provisioning.orders import OrderRequest
from provisioning.price_preview import PricePreview
from provisioning.seat_people import Person
from provisioning.seats import Credentials, SipFacts


class NewSeatOrder(Body):
    """An order. `add` takes `quantity`; `return` takes `seat_ids`, or the `quantity` of those added last."""

    contract_id: str
    kind: Literal["add", "return"]
    effective_on: date
    item: Literal["seat", "circuit"] = "seat"
    quantity: int | None = None
    seat_ids: list[str] | None = None
    waive_notice: bool = False
    tenant_id: str | None = None

    def request(self, *, waived_by: str | None) -> OrderRequest:
        """As the service takes it."""
        return OrderRequest(
            contract_id=self.contract_id,
            kind=self.kind,
            item=self.item,
            effective_on=self.effective_on,
            quantity=self.quantity,
            seat_ids=self.seat_ids,
            notice_waived_by=waived_by,
        )


class Cancellation(Body):
    """Why an order is cancelled."""

    reason: str | None = None


class OrderMove(Body):
    """The day to which an unpaid order is moved; the notice runs from today unless the operator waives it."""

    effective_on: date
    waive_notice: bool = False


class SeatOrderView(View):
    """An order. `state`: awaiting_payment, scheduled, done, cancelled or lapsed. `ordered_on` is the day from which its
    notice runs and by which it is priced: that of its last move where it was moved.

    `held_back_by`: "papers" while it is paid and due but the tenant's papers are not complete (C19), "opening" while
    an addition is paid and due but its contract has not opened (rule 2).
    """

    order_id: str
    tenant_id: str
    contract_id: str
    kind: str
    item: str
    quantity: int
    ordered_on: date
    effective_on: date
    state: str
    held_back_by: str | None
    invoice_id: str | None
    notice_waived_by: str | None
    created_at: datetime
    changed_at: datetime


class SeatOrderDetail(SeatOrderView):
    """An order with the seats or circuits that it adds or returns, by number."""

    seat_ids: list[str]


class ReturnPreviewView(View):
    """What a return gives back on the invoice dated `credited_on`; an estimate where its month is not charged yet."""

    credited_on: date
    rent_credit: str
    deposit: str
    currency: str
    is_estimate: bool


class OrderPreviewView(View):
    """What an order would cost or give back.

    `invoice` is the whole invoice that would be made: unpaid orders of the same days are on it too, in place of the
    invoices in `replaces`. `to_pay` is what the tenant's credit would not cover.
    """

    kind: str
    item: str
    quantity: int
    effective_on: date
    invoice: PreviewInvoiceView | None
    replaces: list[str]
    paid_by_credit: str
    to_pay: str
    currency: str
    returned: ReturnPreviewView | None


class PersonView(View):
    """Who sits there, as the tenant wrote it; `number` is the tenant's own."""

    name: str
    mail: str | None
    number: str | None


class SeatView(View):
    """A seat or circuit. `state`: ordered, open, suspended, closed or cancelled; `closes_on` is its last day."""

    seat_id: str
    tenant_id: str
    contract_id: str
    order_id: str
    item: str
    number: int
    extension: str | None
    name: str | None
    group: str | None
    person: PersonView | None
    state: str
    opened_at: datetime | None
    suspended_at: datetime | None
    closes_on: date | None
    closed_at: datetime | None
    created_at: datetime


class SipServerView(View):
    """A server to register at; `role` is edge, serving, home or spare, `transport` udp, tcp or tls."""

    role: str
    host: str
    port: int
    transport: str


class SipView(View):
    """How a phone is set up; servers in the order in which to try them.

    `media_encryption` is the tenant's media policy: accepted, offered or demanded. Where it is demanded a phone must
    offer SRTP, or its calls are refused.
    """

    username: str
    domain: str
    servers: list[SipServerView]
    registration_seconds: int
    media_encryption: str


class SeatDetail(SeatView):
    """A seat with how its phone is set up; null for a circuit."""

    sip: SipView | None


class SeatName(Body):
    """Who sits there; null takes the name away."""

    name: str | None


class SeatGroup(Body):
    """The tenant's own group for a seat, such as a department; null takes it out."""

    group: str | None


class PersonBody(Body):
    """Somebody who sits on a seat; `number` is the tenant's own number for that person."""

    name: str
    mail: str | None = None
    number: str | None = None

    def person(self) -> Person:
        """As the service takes it."""
        return Person(name=self.name, mail=self.mail, number=self.number)


class SeatPerson(Body):
    """Who sits there from now on; null for nobody. `correction`: the same person, written better."""

    person: PersonBody | None
    correction: bool = False


class Reissue(Body):
    """What is issued anew with a seat's password; `including_tunnel` ends a VPN key that the tenant supplied too."""

    including_tunnel: bool = False


class SeatSuspension(Body):
    """Why a seat is suspended."""

    reason: str


class Guidance(View):
    """What the user must know, in Chinese and English."""

    zh: str
    en: str


class CredentialsView(SipView):
    """What is handed out with a seat: the only time its password is shown."""

    seat_id: str
    password: str
    after_restoration: Guidance


class SeatPersonView(View):
    """A seat with its new person, and its new credentials, shown this once, where they had to change."""

    seat: SeatView
    credentials: CredentialsView | None


def order_preview_view(found: PricePreview) -> OrderPreviewView:
    """An order that would be placed."""
    returned = found.returned
    return OrderPreviewView(
        kind=found.kind,
        item=found.item,
        quantity=found.quantity,
        effective_on=found.effective_on,
        invoice=None if found.invoice is None else preview_invoice_view(found.invoice),
        replaces=list(found.replaces),
        paid_by_credit=money.amount_text(found.paid_by_credit),
        to_pay=money.amount_text(found.to_pay),
        currency=money.CURRENCY,
        returned=None
        if returned is None
        else ReturnPreviewView(
            credited_on=returned.credited_on,
            rent_credit=money.amount_text(returned.rent_credit),
            deposit=money.amount_text(returned.deposit),
            currency=money.CURRENCY,
            is_estimate=returned.is_estimate,
        ),
    )


def _order_fields(order: SeatOrder, invoice_id: str | None) -> dict[str, object]:
    own = (name for name in SeatOrderView.__struct_fields__ if name != "invoice_id")
    return {"invoice_id": invoice_id, **{name: getattr(order, name) for name in own}}


def seat_order_view(order: SeatOrder, invoice_id: str | None) -> SeatOrderView:
    """An order in a list, with the invoice that charges it."""
    return msgspec.convert(_order_fields(order, invoice_id), SeatOrderView)


def seat_order_detail(order: SeatOrder, invoice_id: str | None) -> SeatOrderDetail:
    """An order by itself, with the invoice that charges it."""
    fields = _order_fields(order, invoice_id)
    return msgspec.convert(fields | {"seat_ids": list(order.seat_ids)}, SeatOrderDetail)


def _seat_fields(seat: Seat) -> dict[str, object]:
    person = seat_people.person_of(seat)
    own = (name for name in SeatView.__struct_fields__ if name not in ("group", "person"))
    return {
        "group": seat.group_name,
        "person": None if person is None else PersonView(name=person.name, mail=person.mail, number=person.number),
        **{name: getattr(seat, name) for name in own},
    }


def seat_view(seat: Seat) -> SeatView:
    """A seat in a list."""
    return msgspec.convert(_seat_fields(seat), SeatView)


def _servers(facts: SipFacts) -> list[SipServerView]:
    return [
        SipServerView(role=each.role, host=each.host, port=each.port, transport=each.transport)
        for each in facts.servers
    ]


def seat_detail(seat: Seat, facts: SipFacts | None) -> SeatDetail:
    """A seat by itself."""
    sip = (
        None
        if facts is None
        else SipView(
            username=facts.username,
            domain=facts.domain,
            servers=_servers(facts),
            registration_seconds=seats.REGISTRATION_SECONDS,
            media_encryption=facts.encryption.value,
        )
    )
    return msgspec.convert(_seat_fields(seat) | {"sip": sip}, SeatDetail)


def credentials_view(seat: Seat, credentials: Credentials) -> CredentialsView:
    """The hand-out."""
    facts = credentials.facts
    return CredentialsView(
        seat_id=seat.seat_id,
        username=facts.username,
        domain=facts.domain,
        password=credentials.password,
        servers=_servers(facts),
        registration_seconds=seats.REGISTRATION_SECONDS,
        media_encryption=facts.encryption.value,
        after_restoration=Guidance(zh=seats.AFTER_RESTORATION_CHINESE, en=seats.AFTER_RESTORATION_ENGLISH),
    )
