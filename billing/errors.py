"""Refusals of the billing services: contracts, holdings, invoices and payments.

What a rule refuses (a term, a date, an amount of the wrong form) is a `billing.rules.errors.BillingRefused`.
"""

from __future__ import annotations

from billing.rules.errors import BillingRefused
from infra.kit.problems import Conflict, InvalidInput, NotFound


class ContractRefused(BillingRefused):
    """A contract's dates or title are not acceptable; `field` names the one at fault."""

    code = "contract_refused"
    title = "The contract is not acceptable"


class PaymentRefused(BillingRefused):
    """A payment's amount, day or channel is not acceptable; `field` names the one at fault."""

    code = "payment_refused"
    title = "The payment is not acceptable"


class PaymentCurrencyRefused(PaymentRefused):
    """A payment is in another currency than CNY (clause C25)."""

    code = "currency_not_accepted"
    title = "Only CNY is taken"


class ContractNotFound(NotFound):
    """There is no such contract for this caller."""

    code = "contract_not_found"


class InvoiceNotFound(NotFound):
    """There is no such invoice for this caller."""

    code = "invoice_not_found"


class PaymentNotFound(NotFound):
    """There is no such payment for this caller."""

    code = "payment_not_found"


class OrderNotHeld(NotFound):
    """No holdings belong to this order."""

    code = "order_not_held"


class ContractNotOpen(Conflict):
    """The contract has ended or lapsed, so nothing can be ordered under it."""

    code = "contract_not_open"


class AfterTheEnd(InvalidInput):
    """The day lies after the contract's last day."""

    code = "after_the_end"


class OrderNotPaid(Conflict):
    """Nothing opens unpaid (C6, C9)."""

    code = "order_not_paid"


class OrderInForce(Conflict):
    """The order is open or in force already, so it can be returned but not cancelled."""

    code = "order_in_force"


class OpeningNeeded(Conflict):
    """The contract opens with this order, and others wait for it (rule 2): they are cancelled first."""

    code = "opening_needed"


class OrderNotMovable(Conflict):
    """The order is paid, open, gone, or a return: only an unpaid addition or opening is moved to another day."""

    code = "order_not_movable"


class NotReturnable(Conflict):
    """A seat or circuit is not open, or is being returned already."""

    code = "not_returnable"


class InvoiceNotVoidable(Conflict):
    """Only the unpaid invoice of an order can be voided; others stay and are set off by credits."""

    code = "invoice_not_voidable"


class ReferenceUsed(Conflict):
    """A payment of this tenant with this reference has been recorded already."""

    code = "payment_reference_used"


class PaymentReversed(Conflict):
    """The payment has been reversed already."""

    code = "payment_reversed"


class MonthNotBegun(InvalidInput):
    """Invoices of a month are made when it has begun."""

    code = "month_not_begun"


class ChargeRefused(BillingRefused):
    """A one-off charge's kind, day, amount or note is not acceptable; `field` names the one at fault."""

    code = "charge_refused"
    title = "The charge is not acceptable"


class ChargeNotFound(NotFound):
    """There is no such one-off charge for this caller."""

    code = "charge_not_found"


class ChargeNotCancellable(Conflict):
    """The charge is on an invoice, or has been cancelled already."""

    code = "charge_not_cancellable"


class LineNotFound(NotFound):
    """The invoice has no line of this number."""

    code = "invoice_line_not_found"


class RefundRefused(BillingRefused):
    """A refund's amount, day, reference or note is not acceptable; `field` names the one at fault."""

    code = "refund_refused"
    title = "The refund is not acceptable"


class CreditTooSmall(Conflict):
    """The tenant's free credit is smaller than what is to be refunded."""

    code = "credit_too_small"


class RefundNotFound(NotFound):
    """There is no such refund for this caller."""

    code = "refund_not_found"


class RefundReferenceUsed(Conflict):
    """A refund of this tenant with this reference has been recorded already."""

    code = "refund_reference_used"


class RefundReversed(Conflict):
    """The refund has been reversed already."""

    code = "refund_reversed"


class PaymentRefunded(Conflict):
    """Money of the payment has been paid out as a refund, so it cannot be taken back before the refund is."""

    code = "payment_refunded"


class NoUsageOnInvoice(Conflict):
    """The invoice charges no calls, so it has no usage statement."""

    code = "no_usage_on_invoice"


class StatementTooLong(Conflict):
    """A month has more calls than one usage statement holds."""

    code = "usage_statement_too_long"


class PaidThroughStripe(Conflict):
    """Money that went through Stripe is taken back there, and follows here by itself."""

    code = "paid_through_stripe"
