"""Background work around people."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import delete

from infra.kit import clock, jobs
from infra.kit.database import Scope
from tenancy.people import resets
from tenancy.people.models import PasswordReset, PersonSession, SignInAttempts
from tenancy.people.throttle import WINDOW

SESSIONS_KEPT = timedelta(days=90)
"""After their end; who was signed in from where stays in the audit trail besides."""
RESETS_KEPT = timedelta(days=7)


@jobs.task(resets.BEGIN)
async def begin_password_reset(runtime: jobs.Runtime, *, company: str | None, address: str) -> None:
    """Send a link for a new password to whoever has this address, if anybody."""
    async with runtime.database.transaction(Scope.platform()) as session:
        await resets.begin(session, runtime.seal, company=company, address=address)


@jobs.task("tenancy.tidy_people")
async def tidy_people(runtime: jobs.Runtime) -> None:
    """Forget sessions, links and counters that are long over."""
    now = clock.now()
    async with runtime.database.transaction(Scope.platform()) as session:
        await session.execute(delete(PersonSession).where(PersonSession.expires_at < now - SESSIONS_KEPT))
        await session.execute(delete(PasswordReset).where(PasswordReset.expires_at < now - RESETS_KEPT))
        await session.execute(delete(SignInAttempts).where(SignInAttempts.window_began_at < now - 2 * WINDOW))
