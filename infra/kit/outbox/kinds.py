"""Kinds of mail: a room registers a name and the function that writes such a mail at the moment of sending."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit.mail import Attachment
from infra.kit.outbox.models import OutboxMail
from infra.kit.outbox.words import Words
from infra.kit.settings import Settings


@dataclass(frozen=True, slots=True)
class Desk:
    """What a writer works with: a session of the platform, the stored mail, the settings, and the secret if any."""

    session: AsyncSession
    mail: OutboxMail
    settings: Settings
    secret: str | None


Attachments = Callable[[], Awaitable[tuple[Attachment, ...]]]


@dataclass(frozen=True, slots=True)
class Draft:
    """A mail as it is now. `attachments` is called after the transaction has ended, for what takes long to make."""

    words: Words
    sender_name: str
    attachments: Attachments | None = None


Writer = Callable[[Desk], Awaitable[Draft | None]]
"""Writes a mail as the facts are now; None where it has become pointless (paid, withdrawn, past its day)."""


_WRITERS: dict[str, Writer] = {}


def kind(name: str) -> Callable[[Writer], Writer]:
    """Register the writer of a kind: `@kind("people_invitation")`. Raises `ValueError` for a name given twice."""

    def register(writer: Writer) -> Writer:
        if name in _WRITERS:
            raise ValueError(f"The kind of mail {name!r} is registered already.")
        _WRITERS[name] = writer
        return writer

    return register


def is_known(name: str) -> bool:
    """Whether this process can write such a mail."""
    return name in _WRITERS


def known() -> list[str]:
    """Every kind that this process can write."""
    return sorted(_WRITERS)


def writer_of(name: str) -> Writer:
    """Who writes a kind; raises `KeyError` where nobody does."""
    return _WRITERS[name]
