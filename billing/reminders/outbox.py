"""Sends what waits in the outbox: claimed in one transaction, sent in none, noted in another.

A mail whose outcome nobody knows (the connection or the process broke off after it was handed over) is sent once more
with the same Message-ID, so that the reader's mail program can recognise it; after a second time it is left for a
person. Late is better than never here, and twice is better than late, but three times is a nuisance.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from billing.reminders import writing
from billing.reminders.models import Reminder
from infra.kit import clock, logs
from infra.kit.database import Database, Scope
from infra.kit.jobs import Runtime
from infra.kit.mail import SEND_TIMEOUT_SECONDS, Delivery, Mailer, Message, message_id
from infra.kit.problems import Unavailable

log = logs.get(__name__)

ATTEMPTS_LIMIT = 8
FIRST_PAUSE_MINUTES = 5
LONGEST_PAUSE_MINUTES = 360
UNKNOWN_LIMIT = 2
RUN_LIMIT_MAILS = 2_000
"""The next run goes on; a run that lasts for ever could not be stopped."""
CLAIM = timedelta(seconds=2 * SEND_TIMEOUT_SECONDS)
"""How long a claimed mail is left to whoever claimed it; longer than printing and sending may take."""


@dataclass(slots=True)
class SendingRun:
    """What a run has done; `failed` are the ids of mails that a defect of ours kept from being sent."""

    sent: int = 0
    not_sent: int = 0
    failed: list[str] = field(default_factory=list[str])


async def send_waiting(runtime: Runtime) -> SendingRun:
    """Send every mail whose time has come, oldest first; ends early when the mail server is of no use now.

    Without a mail server in the settings everything waits. One mail's defect does not stop the others. Raises
    `Unavailable` when the database is away.
    """
    run = SendingRun()
    server = runtime.settings.mail_server
    if server is None:
        await _warn_of_what_waits(runtime.database)
        return run
    async with Mailer(server) as mailer:
        for _ in range(RUN_LIMIT_MAILS):
            claimed = await _claim(runtime.database)
            if claimed is None:
                break
            delivery = await _deliver(runtime, mailer, claimed, run)
            if delivery is None:
                continue
            await _note(runtime.database, claimed, delivery)
            run.sent += delivery.outcome == "done"
            run.not_sent += delivery.outcome != "done"
            if delivery.server_unusable:
                log.error("mail.server_unusable", host=server.host, port=server.port, problem=delivery.problem)
                break
    if run.sent or run.not_sent:
        log.info("reminders.sent", sent=run.sent, not_sent=run.not_sent)
    return run


@dataclass(frozen=True, slots=True)
class _Claimed:
    tenant_id: str
    reminder_id: str
    attempt: int


async def _claim(database: Database) -> _Claimed | None:
    """Take the next mail that nobody else has; one whose sender was lost counts as an unknown outcome."""
    while True:
        async with database.transaction(Scope.platform()) as session:
            query = (
                select(Reminder)
                .where(Reminder.state.in_(("waiting", "sending")), Reminder.next_attempt_at <= clock.now())
                .order_by(Reminder.next_attempt_at, Reminder.reminder_id)
                .limit(1)
                .with_for_update(skip_locked=True)
            )
            reminder = (await session.execute(query)).scalar_one_or_none()
            if reminder is None:
                return None
            if reminder.state == "sending":
                reminder.unknown_outcomes += 1
                reminder.last_problem = "whoever was sending it was lost before its end"
            if reminder.unknown_outcomes >= UNKNOWN_LIMIT:
                _leave(reminder, "unknown")
                continue
            reminder.state = "sending"
            reminder.attempts += 1
            reminder.next_attempt_at = clock.now() + CLAIM
            return _Claimed(reminder.tenant_id, reminder.reminder_id, reminder.attempts)


async def _deliver(runtime: Runtime, mailer: Mailer, claimed: _Claimed, run: SendingRun) -> Delivery | None:
    """Write the mail as things are now and send it; None where there is no point any more."""
    try:
        message = await _written(runtime, claimed, mailer.sender)
    except Unavailable:
        raise
    except Exception:  # nothing was handed over yet; the other mails are not to wait for this one
        log.exception("reminder.failed", tenant_id=claimed.tenant_id, reminder_id=claimed.reminder_id)
        run.failed.append(claimed.reminder_id)
        return Delivery("not_sent", "could not be written; see the log")
    return None if message is None else await mailer.send(message)


async def _written(runtime: Runtime, claimed: _Claimed, sender: str) -> Message | None:
    async with runtime.database.transaction(Scope.platform()) as session:
        reminder = await _held(session, claimed)
        if reminder is None:
            return None
        draft = await writing.draft(session, reminder, runtime.settings.operator)
        if draft is None:
            reminder.state = "outdated"
            return None
        reminder.message_id = message_id(claimed.reminder_id, sender)
        reminder.headline, reminder.content = draft.words.subject, draft.words.text
    return await draft.message()


async def _note(database: Database, claimed: _Claimed, delivery: Delivery) -> None:
    """Keep what became of it, and when to try again."""
    async with database.transaction(Scope.platform()) as session:
        reminder = await _held(session, claimed)
        if reminder is None:
            return
        reminder.last_problem = delivery.problem
        if delivery.outcome == "done":
            reminder.state, reminder.sent_at = "sent", clock.now()
            return
        if delivery.outcome == "refused":
            _leave(reminder, "refused")
            return
        reminder.unknown_outcomes += delivery.outcome == "unknown"
        if reminder.unknown_outcomes >= UNKNOWN_LIMIT:
            _leave(reminder, "unknown")
        elif reminder.attempts >= ATTEMPTS_LIMIT:
            _leave(reminder, "given_up")
        else:
            pause = min(FIRST_PAUSE_MINUTES * 2 ** (reminder.attempts - 1), LONGEST_PAUSE_MINUTES)
            reminder.state = "waiting"
            reminder.next_attempt_at = clock.now() + timedelta(minutes=pause)


def _leave(reminder: Reminder, state: str) -> None:
    """Try no more; a person may look."""
    reminder.state = state
    log.error(
        "reminder.not_delivered",
        tenant_id=reminder.tenant_id,
        reminder_id=reminder.reminder_id,
        state=state,
        problem=reminder.last_problem,
    )


async def _held(session: AsyncSession, claimed: _Claimed) -> Reminder | None:
    """The mail, locked, as long as this claim on it stands."""
    query = (
        select(Reminder)
        .where(
            Reminder.tenant_id == claimed.tenant_id,
            Reminder.reminder_id == claimed.reminder_id,
            Reminder.state == "sending",
            Reminder.attempts == claimed.attempt,
        )
        .with_for_update()
    )
    return (await session.execute(query)).scalar_one_or_none()


async def _warn_of_what_waits(database: Database) -> None:
    async with database.transaction(Scope.platform()) as session:
        waiting = await session.scalar(
            select(func.count()).select_from(Reminder).where(Reminder.state.in_(("waiting", "sending")))
        )
    if waiting:
        log.warning("mail.no_server", waiting=waiting)
