"""Sends what waits in the outbox: claimed in one transaction, sent in none, noted in another.

A mail whose outcome nobody knows (the connection or the process broke off after it was handed over) is sent once more
with the same Message-ID, so that the reader's mail program can recognise it; after a second time it is left for a
person. Late is better than never here, and twice is better than late, but three times is a nuisance. A secret in a mail
is erased as soon as nothing is tried any more.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit import clock, logs
from infra.kit.database import Database, Scope
from infra.kit.jobs import Runtime
from infra.kit.mail import SEND_TIMEOUT_SECONDS, Delivery, Mailer, Message, message_id
from infra.kit.outbox import kinds
from infra.kit.outbox.models import OutboxMail
from infra.kit.outbox.words import language_tag
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
STRUCK_OUT = "[…]"
"""Stands in the kept text for a secret that the mail itself showed."""


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
        log.info("mail.sent", sent=run.sent, not_sent=run.not_sent)
    return run


@dataclass(frozen=True, slots=True)
class _Claimed:
    tenant_id: str
    mail_id: str
    attempt: int


async def _claim(database: Database) -> _Claimed | None:
    """Take the next mail that nobody else has, of a kind that this process can write.

    One whose sender was lost counts as an unknown outcome.
    """
    while True:
        async with database.transaction(Scope.platform()) as session:
            query = (
                select(OutboxMail)
                .where(
                    OutboxMail.state.in_(("waiting", "sending")),
                    OutboxMail.next_attempt_at <= clock.now(),
                    OutboxMail.kind.in_(kinds.known()),
                )
                .order_by(OutboxMail.next_attempt_at, OutboxMail.mail_id)
                .limit(1)
                .with_for_update(skip_locked=True)
            )
            mail = (await session.execute(query)).scalar_one_or_none()
            if mail is None:
                return None
            if mail.state == "sending":
                mail.unknown_outcomes += 1
                mail.last_problem = "whoever was sending it was lost before its end"
            if mail.unknown_outcomes >= UNKNOWN_LIMIT:
                _leave(mail, "unknown")
                continue
            mail.state = "sending"
            mail.attempts += 1
            mail.next_attempt_at = clock.now() + CLAIM
            return _Claimed(mail.tenant_id, mail.mail_id, mail.attempts)


async def _deliver(runtime: Runtime, mailer: Mailer, claimed: _Claimed, run: SendingRun) -> Delivery | None:
    """Write the mail as things are now and send it; None where there is no point any more."""
    try:
        message = await _written(runtime, claimed, mailer.sender)
    except Unavailable:
        raise
    except Exception:  # nothing was handed over yet; the other mails are not to wait for this one
        log.exception("mail.failed", tenant_id=claimed.tenant_id, mail_id=claimed.mail_id)
        run.failed.append(claimed.mail_id)
        return Delivery("not_sent", "could not be written; see the log")
    return None if message is None else await mailer.send(message)


async def _written(runtime: Runtime, claimed: _Claimed, sender: str) -> Message | None:
    async with runtime.database.transaction(Scope.platform()) as session:
        mail = await _held(session, claimed)
        if mail is None:
            return None
        secret = None if mail.sealed_secret is None else runtime.seal.open(mail.sealed_secret)
        draft = await kinds.writer_of(mail.kind)(kinds.Desk(session, mail, runtime.settings, secret))
        if draft is None:
            mail.state, mail.sealed_secret = "outdated", None
            return None
        mail.message_id = message_id(claimed.mail_id, sender)
        mail.headline, mail.content = _without(secret, draft.words.subject), _without(secret, draft.words.text)
    return Message(
        key=mail.mail_id,
        sender_name=draft.sender_name,
        recipient=mail.recipient,
        subject=draft.words.subject,
        text=draft.words.text,
        html=draft.words.html,
        language=language_tag(mail.language),
        attachments=() if draft.attachments is None else await draft.attachments(),
    )


def _without(secret: str | None, text: str) -> str:
    return text if secret is None else text.replace(secret, STRUCK_OUT)


async def _note(database: Database, claimed: _Claimed, delivery: Delivery) -> None:
    """Keep what became of it, and when to try again."""
    async with database.transaction(Scope.platform()) as session:
        mail = await _held(session, claimed)
        if mail is None:
            return
        mail.last_problem = delivery.problem
        if delivery.outcome == "done":
            mail.state, mail.sent_at, mail.sealed_secret = "sent", clock.now(), None
            return
        if delivery.outcome == "refused":
            _leave(mail, "refused")
            return
        mail.unknown_outcomes += delivery.outcome == "unknown"
        if mail.unknown_outcomes >= UNKNOWN_LIMIT:
            _leave(mail, "unknown")
        elif mail.attempts >= ATTEMPTS_LIMIT:
            _leave(mail, "given_up")
        else:
            pause = min(FIRST_PAUSE_MINUTES * 2 ** (mail.attempts - 1), LONGEST_PAUSE_MINUTES)
            mail.state = "waiting"
            mail.next_attempt_at = clock.now() + timedelta(minutes=pause)


def _leave(mail: OutboxMail, state: str) -> None:
    """Try no more; a person may look."""
    mail.state, mail.sealed_secret = state, None
    log.error(
        "mail.not_delivered",
        tenant_id=mail.tenant_id,
        mail_id=mail.mail_id,
        state=state,
        problem=mail.last_problem,
    )


async def _held(session: AsyncSession, claimed: _Claimed) -> OutboxMail | None:
    """The mail, locked, as long as this claim on it stands."""
    query = (
        select(OutboxMail)
        .where(
            OutboxMail.tenant_id == claimed.tenant_id,
            OutboxMail.mail_id == claimed.mail_id,
            OutboxMail.state == "sending",
            OutboxMail.attempts == claimed.attempt,
        )
        .with_for_update()
    )
    return (await session.execute(query)).scalar_one_or_none()


async def _warn_of_what_waits(database: Database) -> None:
    async with database.transaction(Scope.platform()) as session:
        waiting = await session.scalar(
            select(func.count()).select_from(OutboxMail).where(OutboxMail.state.in_(("waiting", "sending")))
        )
    if waiting:
        log.warning("mail.no_server", waiting=waiting)
