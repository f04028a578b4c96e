"""Refusals around reminders, billing contacts and promises to pay."""

from __future__ import annotations

from billing.rules.errors import BillingRefused
from infra.kit.problems import Conflict, NotFound


class ContactRefused(BillingRefused):
    """A billing contact's address, language or topics are not acceptable; `field` names the one at fault."""

    code = "billing_contact_refused"
    title = "The billing contact is not acceptable"


class ReminderNotFound(NotFound):
    """There is no such reminder for this caller."""

    code = "reminder_not_found"


class PromiseRefused(BillingRefused):
    """A promise's day or reason is not acceptable; `field` names the one at fault."""

    code = "payment_promise_refused"
    title = "The promise to pay is not acceptable"


class PromiseInForce(Conflict):
    """The tenant has a promise in force already; there is one at a time."""

    code = "payment_promise_in_force"


class PromiseNotFound(NotFound):
    """The tenant has given no such promise."""

    code = "payment_promise_not_found"


class PromiseNotInForce(Conflict):
    """The promise is over, or has been withdrawn already."""

    code = "payment_promise_not_in_force"
