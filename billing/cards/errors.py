"""Refusals of payments through Stripe."""

from __future__ import annotations

from infra.kit.problems import Conflict, InvalidInput, MalformedRequest, NotFound, Unavailable


class OnlinePaymentNotSetUp(Conflict):
    """This installation takes no payments through Stripe."""

    code = "online_payment_not_set_up"
    title = "Online payment is not set up"

    def __init__(self) -> None:
        super().__init__("Online payment is not set up here; pay by bank transfer.")


class StripeUnavailable(Unavailable):
    """Stripe did not answer in time, or had a failure of its own; nothing is known to have happened."""

    code = "stripe_unavailable"
    title = "The payment provider does not answer"


class StripeCredentialsRefused(Unavailable):
    """Stripe does not accept our key; an operator has to look."""

    code = "stripe_credentials_refused"
    title = "The payment provider does not accept our key"


class StripeRefused(Conflict):
    """Stripe says no to what was asked; `stripe_code` is its own word for why."""

    code = "stripe_refused"
    title = "The payment provider refused"


class StripeObjectUnknown(NotFound):
    """Stripe knows no such object in this account."""

    code = "stripe_object_unknown"


class InvoiceNotPayable(Conflict):
    """The invoice is void, or nothing of it is open."""

    code = "invoice_not_payable"


class AmountNotPayableOnline(Conflict):
    """What is open lies outside what one online payment can be."""

    code = "amount_not_payable_online"


class SignatureInvalid(MalformedRequest):
    """The body was not signed with our webhook secret, or too long ago."""

    code = "stripe_signature_invalid"
    title = "The signature is not valid"


class EventMalformed(MalformedRequest):
    """The body is signed but is no event."""

    code = "stripe_event_malformed"
    title = "The body is not an event"


class EventNotFound(NotFound):
    """There is no such event."""

    code = "stripe_event_not_found"


class EventNotSetAside(Conflict):
    """Only what was set aside is tried again."""

    code = "stripe_event_not_set_aside"


class NotACardPayment(Conflict):
    """The payment did not come through Stripe."""

    code = "not_a_card_payment"


class EventStateUnknown(InvalidInput):
    """There is no such state of an event."""

    code = "stripe_event_state_unknown"
