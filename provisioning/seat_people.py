"""Who sits where: the groups and people that a tenant writes on its seats, in its own words and numbers."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit import audit
from infra.kit.mail_address import is_address
from infra.kit.problems import InvalidInput
from provisioning import seats
from provisioning.models import Seat
from provisioning.rules.seat_table import checked_text
from provisioning.seats import Credentials
from provisioning.tunnels import accounts as tunnel_accounts

GROUP_LIMIT_CHARACTERS = 100
PERSON_NAME_LIMIT_CHARACTERS = 100
PERSON_NUMBER_LIMIT_CHARACTERS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody who sits on a seat; not a person who signs in here."""

    name: str
    mail: str | None = None
    number: str | None = None
    """The tenant's own number for that person."""


def checked_group(group: str | None) -> str | None:
    """A group's name as it is kept. Raises `InvalidInput`."""
    return checked_text(group, limit_characters=GROUP_LIMIT_CHARACTERS, field="group")


def checked_person(person: Person) -> Person:
    """A person as kept. Raises `InvalidInput` naming the part that is not acceptable."""
    name = checked_text(person.name, limit_characters=PERSON_NAME_LIMIT_CHARACTERS, field="person_name")
    if name is None:
        raise InvalidInput("A person has a name.", field="person_name")
    number = checked_text(person.number, limit_characters=PERSON_NUMBER_LIMIT_CHARACTERS, field="person_number")
    mail = None if person.mail is None else person.mail.strip()
    if mail is not None and not is_address(mail):
        raise InvalidInput(f"{mail[:60]!r} is not a mail address such as wang@example.com.", field="person_mail")
    return Person(name=name, mail=mail, number=number)


def person_of(seat: Seat) -> Person | None:
    """Who sits on a seat, as its tenant wrote it."""
    if seat.person_name is None:
        return None
    return Person(name=seat.person_name, mail=seat.person_mail, number=seat.person_number)


async def group(session: AsyncSession, seat: Seat, name: str | None) -> None:
    """Put a seat into a group of the tenant's own; None takes it out. Raises `InvalidInput`."""
    seat.group_name = checked_group(name)
    await session.flush()
    await audit.record(session, seat.tenant_id, "seat.grouped", seat.seat_id, group=seat.group_name)


async def write_person(session: AsyncSession, seat: Seat, person: Person | None) -> bool:
    """Write who sits there, None for nobody; returns whether that is another person than before.

    Two people are the same when name and number are. The audit trail keeps that it changed, not who they are: it
    outlives the people's data (C26). Raises `InvalidInput`.
    """
    before, after = person_of(seat), None if person is None else checked_person(person)
    seat.person_name = None if after is None else after.name
    seat.person_mail = None if after is None else after.mail
    seat.person_number = None if after is None else after.number
    await session.flush()
    is_another_person = is_another(before, after)
    await audit.record(
        session,
        seat.tenant_id,
        "seat.person_changed",
        seat.seat_id,
        is_vacant=after is None,
        is_another=is_another_person,
    )
    return is_another_person


async def move(
    session: AsyncSession, seat: Seat, person: Person | None, *, is_correction: bool = False
) -> Credentials | None:
    """Give a seat to another person, or to nobody: neither the password nor the tunnel's key of the one before is
    good from this commit on. The key of the new one comes with a hand-out.

    Returns the new credentials, shown this once; None where nothing had to change: the same person as before, a
    correction of how the person is written, or a seat that has no account (yet). Runs under the platform's role, which
    ends keys of tunnels. Raises `InvalidInput`.
    """
    is_another_person = await write_person(session, seat, person)
    if is_correction or not is_another_person or not seats.has_account(seat):
        return None
    await tunnel_accounts.drop_keys(session, seat.tenant_id, [seat.seat_id])
    return await seats.reissue_credentials(session, seat)


def is_another(before: Person | None, after: Person | None) -> bool:
    """Whether these are two people; name and number tell, a new mail address makes nobody another."""
    return _identity(before) != _identity(after)


def _identity(person: Person | None) -> tuple[str, str | None] | None:
    return None if person is None else (person.name, person.number)
