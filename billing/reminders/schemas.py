"""Request and response bodies of billing contacts, reminders and promises to pay."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

import msgspec

from billing import promises
from billing.reminders.models import BillingContact, PaymentPromise
from billing.reminders.topics import DEFAULT_LANGUAGE, DUNNING_KINDS, TOPICS
from infra.kit import clock
from infra.kit.http import Body, View
from infra.kit.outbox.models import OutboxMail


class NewContact(Body):
    """An address for billing mail: its language (`zh`, `en`) and topics (`invoices`, `reminders`, `standing`,
    `contracts`, `maintenance`)."""

    address: str
    language: str = DEFAULT_LANGUAGE
    topics: list[str] = msgspec.field(default_factory=lambda: list(TOPICS))


class ContactList(Body):
    """All billing contacts of a tenant, in place of the former ones."""

    contacts: list[NewContact]


class ContactView(View):
    """An address that gets billing mail."""

    address: str
    language: str
    topics: list[str]
    created_at: datetime


class ContactListView(View):
    """The billing contacts of a tenant."""

    tenant_id: str
    contacts: list[ContactView]


class ReminderView(View):
    """A mail without its text.

    `state`: `waiting`, `sending`, `sent`, `refused` (by the mail server, for good), `given_up` (after too many
    attempts), `unknown` (twice nobody could tell whether it was taken), `outdated` (paid, or its day was over, before
    it could go), `no_contact` (nobody to write to). `invoice_id` is null for mails about the tenant's standing.
    """

    reminder_id: str
    tenant_id: str
    kind: str
    day: date
    invoice_id: str | None
    recipient: str | None
    language: str
    state: str
    attempts: int
    next_attempt_at: datetime | None
    headline: str | None
    message_id: str | None
    last_problem: str | None
    created_at: datetime
    sent_at: datetime | None


class ReminderDetails(ReminderView):
    """A mail with its plain text as last sent, or tried."""

    text: str | None


class NewPromise(Body):
    """A promise to pay by the end of a day (local), and what finance knows of it."""

    until: date
    reason: str


class Withdrawal(Body):
    """Why a promise does not hold any more."""

    reason: str


class PromiseView(View):
    """A promise to pay; `state` is `in_force`, `over` or `withdrawn`."""

    promise_id: str
    tenant_id: str
    until: date
    state: str
    reason: str
    promised_by: str
    created_at: datetime
    withdrawn_at: datetime | None
    withdrawal_reason: str | None


def contact_list_view(tenant_id: str, contacts: Sequence[BillingContact]) -> ContactListView:
    """A tenant's billing contacts as the API shows them."""
    return ContactListView(
        tenant_id=tenant_id,
        contacts=[
            ContactView(
                address=each.address, language=each.language, topics=list(each.topics), created_at=each.created_at
            )
            for each in contacts
        ],
    )


def reminder_view(reminder: OutboxMail) -> ReminderView:
    """A mail as lists show it."""
    return ReminderView(**_members(reminder))


def reminder_details(reminder: OutboxMail) -> ReminderDetails:
    """A mail with its text."""
    return ReminderDetails(**_members(reminder), text=reminder.content)


def promise_view(promise: PaymentPromise) -> PromiseView:
    """A promise as the API shows it."""
    return PromiseView(
        promise_id=promise.promise_id,
        tenant_id=promise.tenant_id,
        until=promise.until,
        state=promises.state_of(promise, clock.today()),
        reason=promise.reason,
        promised_by=promise.promised_by,
        created_at=promise.created_at,
        withdrawn_at=promise.withdrawn_at,
        withdrawal_reason=promise.withdrawal_reason,
    )


def _members(reminder: OutboxMail) -> dict[str, Any]:
    return {
        "reminder_id": reminder.mail_id,
        "tenant_id": reminder.tenant_id,
        "kind": reminder.kind,
        "day": reminder.day,
        "invoice_id": reminder.subject_id if reminder.kind in DUNNING_KINDS else None,
        "recipient": reminder.recipient or None,
        "language": reminder.language,
        "state": reminder.state,
        "attempts": reminder.attempts,
        "next_attempt_at": reminder.next_attempt_at if reminder.state in ("waiting", "sending") else None,
        "headline": reminder.headline,
        "message_id": reminder.message_id,
        "last_problem": reminder.last_problem,
        "created_at": reminder.created_at,
        "sent_at": reminder.sent_at,
    }
