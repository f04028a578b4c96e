"""From a password, or a one-time link, to a session.

Every step that a stranger may take is counted first (`throttle`), in a transaction that stays whatever follows. The
hashing happens between transactions: it takes a tenth of a second, and no connection waits for it.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit import jobs
from infra.kit.database import Database, Scope
from infra.kit.mail_address import is_address
from infra.kit.settings import Settings
from tenancy.people import invitations, passwords, persons, resets, sessions
from tenancy.people.errors import SignInRefused
from tenancy.people.models import Person
from tenancy.people.sessions import Began
from tenancy.people.throttle import Throttle

COMPANY_LIMIT_CHARACTERS = 253
"""Of a domain name."""


@dataclass(frozen=True, slots=True)
class Browser:
    """Where a request comes from."""

    source: str
    user_agent: str


class SignInDesk:
    """Signs people in, over one database."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._throttle = Throttle(database, settings.secret_key)

    async def with_password(
        self, *, company: str | None, address: str, password: str, browser: Browser
    ) -> tuple[Person, Began]:
        """A session for address and password. Raises `SignInRefused`, which does not say what was wrong (an account
        that is not there takes as long), and `TooManyAttempts`."""
        account = _account(company, address)
        await self._throttle.take(source=browser.source, account=account)
        async with self._database.transaction(Scope.platform()) as session:
            tenant_id = await persons.company_of(session, company)
            found = None
            if tenant_id is not None:
                found = await persons.by_address(session, tenant_id, address.strip().lower())
        stored = None if found is None else found.password_hash
        if not await passwords.matches(password, stored) or found is None or stored is None:
            raise SignInRefused
        renewed = await passwords.hashed(password) if passwords.is_outdated(stored) else None
        async with self._database.transaction(Scope.platform()) as session:
            person = await persons.find(session, found.person_id, found.tenant_id, for_update=True)
            if person.removed_at is not None or person.password_hash != stored:
                raise SignInRefused  # removed, or changed, while we were looking
            person.password_hash = renewed or stored
            await self._throttle.forgive(session, account)
            return person, await _begin(session, person, "password", browser)

    async def with_invitation(
        self, *, token: str, password: str, name: str | None, browser: Browser
    ) -> tuple[Person, Began]:
        """Accept an invitation and begin a session. Raises `LinkNotValid`, `PasswordRefused` (the link stays good)."""
        await self._throttle.take(source=browser.source)
        async with self._database.transaction(Scope.platform()) as session:
            address = (await invitations.by_token(session, token)).address
        password_hash = await passwords.hashed(passwords.check(password, address=address))
        async with self._database.transaction(Scope.platform()) as session:
            person = await invitations.accept(session, token, name=name, password_hash=password_hash)
            return person, await _begin(session, person, "invitation", browser)

    async def forgot(self, *, company: str | None, address: str, browser: Browser) -> None:
        """Take a request for a new password; a job looks whether there is anybody to send a link to."""
        await self._throttle.take(source=browser.source)
        company, address = (company or "").strip().lower() or None, address.strip().lower()
        if (
            not is_address(address)
            or not (company or "").isprintable()
            or len(company or "") > COMPANY_LIMIT_CHARACTERS
        ):
            return  # nobody has it
        async with self._database.transaction(Scope.platform()) as session:
            await jobs.defer(session, resets.BEGIN, company=company, address=address)

    async def with_reset(self, *, token: str, password: str, browser: Browser) -> tuple[Person, Began]:
        """Set a new password by its link and begin a session; all others are over."""
        await self._throttle.take(source=browser.source)
        async with self._database.transaction(Scope.platform()) as session:
            _, asking = await resets.by_token(session, token)
        password_hash = await passwords.hashed(passwords.check(password, address=asking.address))
        async with self._database.transaction(Scope.platform()) as session:
            person = await resets.finish(session, token, password_hash=password_hash)
            company = await persons.domain_of(session, person.tenant_id)
            await self._throttle.forgive(session, _account(company, person.address))
            return person, await _begin(session, person, "reset", browser)

    async def change_password(
        self, *, person_id: str, tenant_id: str | None, current: str, password: str, browser: Browser
    ) -> tuple[Person, Began]:
        """Change the password of somebody signed in: the present one is asked for, all sessions are over, one begins.

        Raises `SignInRefused` for a wrong present one, `PasswordRefused`, `TooManyAttempts`.
        """
        company_id = persons.company_id(tenant_id)
        async with self._database.transaction(Scope.platform()) as session:
            before = await persons.find(session, person_id, company_id)
            account = _account(await persons.domain_of(session, company_id), before.address)
        await self._throttle.take(source=browser.source, account=account)
        stored = before.password_hash
        if not await passwords.matches(current, stored):
            raise SignInRefused
        password_hash = await passwords.hashed(passwords.check(password, address=before.address))
        async with self._database.transaction(Scope.platform()) as session:
            person = await persons.find(session, person_id, company_id, for_update=True)
            if person.removed_at is not None or person.password_hash != stored:
                raise SignInRefused
            await resets.set_password(session, person, password_hash, action="password.changed")
            await self._throttle.forgive(session, account)
            return person, await _begin(session, person, "password", browser)

    async def take_source(self, browser: Browser) -> None:
        """Count a try that is about no account we know of yet."""
        await self._throttle.take(source=browser.source)


def _account(company: str | None, address: str) -> str:
    return f"{(company or '').strip().lower()}|{address.strip().lower()}"


async def _begin(session: AsyncSession, person: Person, way: str, browser: Browser) -> Began:
    return await sessions.begin(session, person, way=way, source=browser.source, user_agent=browser.user_agent)
