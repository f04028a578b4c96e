"""Mails found again: what was sent to whom, and what became of it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession

from billing.reminders.errors import ReminderNotFound
from billing.reminders.topics import LISTED_KINDS, OPERATOR_KINDS
from infra.kit.outbox.models import OutboxMail
from infra.kit.problems import InvalidInput

STATES = ("waiting", "sending", "sent", "refused", "given_up", "unknown", "outdated", "no_contact")


def wanted(
    *, tenant_id: str | None, own: bool, invoice_id: str | None, kind: str | None, state: str | None
) -> Select[Any]:
    """The query for a list of mails; `own` leaves out those to the operator's finance.

    Raises `InvalidInput` for a kind or state that there is not.
    """
    query = select(OutboxMail).where(OutboxMail.kind.in_(LISTED_KINDS))
    if tenant_id is not None:
        query = query.where(OutboxMail.tenant_id == tenant_id)
    if own:
        query = query.where(OutboxMail.kind.not_in(OPERATOR_KINDS))
    if invoice_id is not None:
        query = query.where(OutboxMail.subject_id == invoice_id)
    if kind is not None:
        if kind not in LISTED_KINDS:
            raise InvalidInput(f"A kind is one of {', '.join(LISTED_KINDS)}.", field="kind")
        query = query.where(OutboxMail.kind == kind)
    if state is not None:
        if state not in STATES:
            raise InvalidInput(f"A state is one of {', '.join(STATES)}.", field="state")
        query = query.where(OutboxMail.state == state)
    return query


async def find(session: AsyncSession, reminder_id: str, tenant_id: str | None) -> OutboxMail:
    """A mail by its id, narrowed to a tenant where the caller belongs to one. Raises `ReminderNotFound`."""
    query = wanted(tenant_id=tenant_id, own=tenant_id is not None, invoice_id=None, kind=None, state=None)
    reminder = (await session.execute(query.where(OutboxMail.mail_id == reminder_id))).scalar_one_or_none()
    if reminder is None:
        raise ReminderNotFound(f"There is no reminder {reminder_id}.", field="reminder_id")
    return reminder
