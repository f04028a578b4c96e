"""Mail to the outside: one SMTP connection, bounded in time, and an honest outcome for every message (RFC 5321).

`done`: the server has taken it. `refused`: it never will. `not_sent`: it was surely not taken, try again later.
`unknown`: it was handed over and the answer did not come; it may be on its way.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from dataclasses import dataclass
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from email.utils import format_datetime
from types import TracebackType
from typing import Literal, Self

import aiosmtplib

from infra.kit import clock
from infra.kit.mail_address import domain_of, is_address
from infra.kit.settings import MailServer

Outcome = Literal["done", "refused", "not_sent", "unknown"]

CONNECT_TIMEOUT_SECONDS = 10.0
"""For each of: connecting, the greeting, TLS, signing in."""
ANSWER_TIMEOUT_SECONDS = 60.0
"""For one answer of the server; a mail filter may think for a while about a whole message."""
SEND_TIMEOUT_SECONDS = 240.0
"""For one message from connecting to the server's last word, whatever the parts took."""
PROBLEM_LIMIT_CHARACTERS = 300
SUBJECT_LIMIT_CHARACTERS = 250

_POLICY = SMTP_POLICY.clone(cte_type="7bit")
"""Lines end in CRLF, everything beyond ASCII is encoded, and a header with a line break raises."""
_CONTROLS = re.compile(r"[\x00-\x1f\x7f\u0080-\u009f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]+")
_TOO_LARGE = 552
_PERMANENT = 500
_NOT_AVAILABLE = 421


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file that goes with a message."""

    name: str
    media_type: str
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What is to be sent, to one recipient.

    `key` is ours and stays the same when a message is sent again: the Message-ID is made of it.
    """

    key: str
    sender_name: str
    recipient: str
    subject: str
    text: str
    html: str
    language: str
    attachments: tuple[Attachment, ...] = ()


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of a message; `problem` is one line, `server_unusable` says that the next would fare no better."""

    outcome: Outcome
    problem: str | None = None
    server_unusable: bool = False


def one_line(text: str) -> str:
    """Text without line breaks, control characters and direction marks: fit for a header and for one line of prose."""
    return " ".join(_CONTROLS.sub(" ", text).split())


def message_id(key: str, sender: str) -> str:
    """The Message-ID of a message (RFC 5322, section 3.6.4), by which a repeat can be recognised."""
    return f"<{key}@{domain_of(sender)}>"


def composed(message: Message, sender: str) -> EmailMessage:
    """The message as it goes over the wire: text and HTML side by side, then the attachments.

    Raises `ValueError` for an address that is none; no value can add a header.
    """
    for address in (sender, message.recipient):
        if not is_address(address):
            raise ValueError(f"{one_line(address)!r} is not a mail address.")
    mail = EmailMessage(policy=_POLICY)
    mail["From"] = Address(one_line(message.sender_name), addr_spec=sender)
    mail["To"] = Address(addr_spec=message.recipient)
    mail["Subject"] = one_line(message.subject)[:SUBJECT_LIMIT_CHARACTERS]
    mail["Date"] = format_datetime(clock.now())
    mail["Message-ID"] = message_id(message.key, sender)
    mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office answers
    mail["Content-Language"] = message.language
    mail.set_content(message.text, cte="base64")
    mail.add_alternative(message.html, subtype="html", cte="base64")
    for attachment in message.attachments:
        kind, _, subtype = attachment.media_type.partition("/")
        mail.add_attachment(attachment.content, maintype=kind, subtype=subtype, filename=one_line(attachment.name))
    return mail


class Mailer:
    """Sends one message after another over one connection, made when the first is sent and anew after a failure."""

    def __init__(
        self,
        server: MailServer,
        *,
        connect_timeout_seconds: float = CONNECT_TIMEOUT_SECONDS,
        answer_timeout_seconds: float = ANSWER_TIMEOUT_SECONDS,
    ) -> None:
        self._server = server
        self._connect_timeout_seconds = connect_timeout_seconds
        self._answer_timeout_seconds = answer_timeout_seconds
        self._client: aiosmtplib.SMTP | None = None

    @property
    def sender(self) -> str:
        """The address that the mails come from."""
        return self._server.sender

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def send(self, message: Message) -> Delivery:
        """Send one message and tell what became of it; an address that is none is `refused` unsent."""
        try:
            content = composed(message, self._server.sender).as_bytes()
        except ValueError as error:
            return Delivery("refused", one_line(str(error))[:PROBLEM_LIMIT_CHARACTERS])
        handed_over = asyncio.Event()
        try:
            async with asyncio.timeout(SEND_TIMEOUT_SECONDS):
                delivery = await self._converse(message.recipient, content, handed_over)
        except (TimeoutError, OSError, aiosmtplib.SMTPException) as error:
            outcome: Outcome = "unknown" if handed_over.is_set() else "not_sent"
            delivery = Delivery(outcome, _said(error), server_unusable=True)
        if delivery.outcome != "done":
            self._drop()
        return delivery

    async def close(self) -> None:
        """Say goodbye where there is a connection."""
        client, self._client = self._client, None
        if client is not None and client.is_connected:
            try:
                await client.quit(timeout=self._connect_timeout_seconds)
            except (OSError, TimeoutError, aiosmtplib.SMTPException):
                client.close()  # everything that was sent has been answered before

    async def _converse(self, recipient: str, content: bytes, handed_over: asyncio.Event) -> Delivery:
        client = await self._connected()
        try:
            await client.mail(self._server.sender, timeout=self._answer_timeout_seconds)
        except aiosmtplib.SMTPResponseException as error:
            if error.code == _TOO_LARGE:
                return Delivery("refused", _said(error))
            return Delivery("not_sent", _said(error), server_unusable=True)  # the sender is the same in every message
        try:
            await client.rcpt(recipient, timeout=self._answer_timeout_seconds)
        except aiosmtplib.SMTPResponseException as error:
            return _turned_down(error)
        handed_over.set()
        try:
            await client.data(content, timeout=self._answer_timeout_seconds)
        except aiosmtplib.SMTPResponseException as error:
            return _turned_down(error)
        return Delivery("done")

    async def _connected(self) -> aiosmtplib.SMTP:
        if self._client is not None and self._client.is_connected:
            return self._client
        server = self._server
        client = aiosmtplib.SMTP(
            hostname=server.host,
            port=server.port,
            username=server.username,
            password=server.password,
            timeout=self._connect_timeout_seconds,
            local_hostname=domain_of(server.sender),
            use_tls=server.security == "tls",
            start_tls=server.security == "starttls",
            tls_context=None if server.security == "none" else ssl.create_default_context(),
        )
        await client.connect()
        self._client = client
        return client

    def _drop(self) -> None:
        """Begin anew with the next message: this conversation may be anywhere."""
        client, self._client = self._client, None
        if client is not None:
            client.close()


def _turned_down(error: aiosmtplib.SMTPResponseException) -> Delivery:
    """What a server's answer means that is not yes: 5xx for ever, 4xx for now, 421 for the whole connection."""
    if error.code >= _PERMANENT:
        return Delivery("refused", _said(error))
    return Delivery("not_sent", _said(error), server_unusable=error.code == _NOT_AVAILABLE)


def _said(error: Exception) -> str:
    if isinstance(error, aiosmtplib.SMTPResponseException):
        said = f"{error.code} {error.message}"
    else:
        said = f"{type(error).__name__}: {error}"
    return one_line(said)[:PROBLEM_LIMIT_CHARACTERS]
