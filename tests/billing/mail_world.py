"""A mail server on loopback that really speaks SMTP, and a lease whose reminders go to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from typing import Any, cast

from aiosmtpd.smtp import SMTP, Envelope, Session
from sqlalchemy import select

from billing import jobs as billing_jobs
from billing.reminders import contacts
from billing.reminders import jobs as reminder_jobs
from billing.reminders.contacts import ContactWanted
from billing.reminders.topics import TOPICS
from infra.kit import clock
from infra.kit.database import Scope
from infra.kit.outbox.models import OutboxMail
from infra.kit.settings import MailServer
from tests.billing.lease_world import LeaseWorld

SENDER = "billing@seatline.example"
CHINESE, ENGLISH = "caiwu@anxin.example", "accounts@anxin.example"


@dataclass
class Postbox:
    """The mail server: keeps what it takes, and answers as it is told to."""

    mails: list[EmailMessage] = field(default_factory=list[EmailMessage])
    turned_down: dict[str, str] = field(default_factory=dict[str, str])
    """By recipient, what it answers to RCPT TO."""
    answer: str = "250 taken"
    breaks_off: int = 0
    """After how many more messages taken it closes the connection without an answer."""
    server: asyncio.Server | None = None
    port: int = 0

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Take a recipient, or not."""
        if address in self.turned_down:
            return self.turned_down[address]
        envelope.rcpt_tos.append(address)
        return "250 ok"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """Take a message, or not."""
        if self.answer.startswith("250"):
            assert isinstance(envelope.content, bytes)
            parsed = message_from_bytes(envelope.content, policy=SMTP_POLICY)
            assert envelope.mail_from == SENDER
            assert envelope.rcpt_tos == [cast("Any", parsed)["To"].addresses[0].addr_spec]
            self.mails.append(parsed)
        if self.breaks_off:
            self.breaks_off -= 1
            cast("asyncio.WriteTransport", server.transport).abort()
        return self.answer

    async def open(self) -> None:
        """Listen, on the port of before if there was one."""
        loop = asyncio.get_running_loop()
        self.server = await loop.create_server(
            lambda: SMTP(self, hostname="mail.test", loop=loop), "127.0.0.1", self.port
        )
        self.port = self.server.sockets[0].getsockname()[1]

    async def shut(self) -> None:
        """Stop listening; connections are refused."""
        assert self.server is not None
        self.server.close()
        await self.server.wait_closed()

    def taken(self) -> list[tuple[str, str]]:
        """Recipient and subject of what has come since the last time, and forget it."""
        found = [(address_of(mail), str(mail["Subject"])) for mail in self.mails]
        self.mails.clear()
        return found


@asynccontextmanager
async def postbox() -> AsyncGenerator[Postbox]:
    """A mail server for one test."""
    box = Postbox()
    await box.open()
    yield box
    await box.shut()


def address_of(mail: EmailMessage) -> str:
    """The recipient in the header."""
    return str(cast("Any", mail)["To"].addresses[0].addr_spec)


def words_of(mail: EmailMessage, kind: str = "plain") -> str:
    """The text, or the HTML, of a mail."""
    part = mail.get_body((kind,))
    assert part is not None
    return str(part.get_content())


def posted(world: LeaseWorld, box: Postbox, **other: Any) -> LeaseWorld:
    """The same lease with the mail server in its settings."""
    server = MailServer(host="127.0.0.1", port=box.port, security="none", username=None, password=None, sender=SENDER)
    world.settings = replace(world.settings, mail_server=server, **other)
    return world


async def has_contacts(world: LeaseWorld, *wanted: ContactWanted) -> None:
    """The tenant's billing contacts: by default one Chinese and one English, for everything."""
    listed = wanted or (ContactWanted(CHINESE, "zh", TOPICS), ContactWanted(ENGLISH, "en", TOPICS))
    async with world.database.transaction(Scope.platform()) as session:
        await contacts.replace(session, world.tenant_id, listed)


async def live_day(world: LeaseWorld, day: str | date) -> None:
    """A local day begins: what the calendar brings is done, then dunning, then the reminders."""
    await world.begin(date.fromisoformat(day) if isinstance(day, str) else day)
    await billing_jobs.advance_dunning(world.runtime)
    await reminder_jobs.send_reminders(world.runtime)


async def passes(world: LeaseWorld, minutes: int) -> None:
    """Time goes by, then the reminders' job runs."""
    clock.travel_to(clock.now() + timedelta(minutes=minutes))
    await reminder_jobs.send_reminders(world.runtime)


async def reminders_of(world: LeaseWorld) -> list[OutboxMail]:
    """The tenant's outbox in the order in which it was filled."""
    query = select(OutboxMail).where(OutboxMail.tenant_id == world.tenant_id).order_by(OutboxMail.created_at)
    async with world.database.transaction(Scope.platform()) as session:
        return list((await session.execute(query)).scalars())


async def states_of(world: LeaseWorld) -> list[tuple[str, str]]:
    """Kind and state of every mail in the outbox."""
    return [(each.kind, each.state) for each in await reminders_of(world)]
