"""Putting a mail into the outbox, in the transaction of what it tells."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit import clock, jobs
from infra.kit.database import PLATFORM
from infra.kit.ids import new_id
from infra.kit.outbox import kinds
from infra.kit.outbox.models import OutboxMail
from infra.kit.sealing import Seal

SEND_MAIL = "infra.send_mail"
"""The task that sends what waits."""

DEFAULT_LANGUAGE = "zh"


async def put(
    session: AsyncSession,
    *,
    kind: str,
    subject_id: str,
    recipient: str,
    tenant_id: str | None = None,
    language: str = DEFAULT_LANGUAGE,
    day: date | None = None,
    facts: Mapping[str, Any] | None = None,
    secret: tuple[Seal, str] | None = None,
    at_once: bool = True,
) -> str | None:
    """Store a mail to be sent; returns its id, or None where the same one is there already.

    There is one mail for each tenant, subject, kind, day and recipient; `day` is today unless said. `tenant_id` None:
    the mail is the platform's own (needs the platform's role). An empty `recipient` notes that there was nobody to
    write to. `facts` are JSON values for the writer, never secrets; a `secret`, such as the token of a one-time link,
    goes in beside the installation's seal, is kept sealed and erased when the mail has gone. `at_once` wakes the sender
    with this transaction's commit; without it the mail goes with the next run. Raises `KeyError` for a kind that nobody
    has registered in this process.
    """
    kinds.writer_of(kind)
    now = clock.now()
    statement = (
        insert(OutboxMail)
        .values(
            tenant_id=tenant_id or PLATFORM,
            mail_id=new_id("mail"),
            kind=kind,
            day=day or clock.local_date(now),
            subject_id=subject_id,
            recipient=recipient,
            language=language,
            facts=dict(facts or {}),
            sealed_secret=None if secret is None else secret[0].close(secret[1]),
            state="waiting" if recipient else "no_contact",
            attempts=0,
            next_attempt_at=now,
            unknown_outcomes=0,
            created_at=now,
        )
        .on_conflict_do_nothing()
        .returning(OutboxMail.mail_id)
    )
    mail_id = (await session.execute(statement)).scalar()
    if mail_id is not None and recipient and at_once:
        await jobs.defer(session, SEND_MAIL, lock=SEND_MAIL)
    return mail_id
