"""Numbers of a tenant whose last contract has ended go back to the pool by themselves, into quarantine."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import select

from billing.models import Contract
from infra.kit import clock, logs
from infra.kit.database import Scope
from infra.kit.jobs import Runtime
from switch import phone_numbers
from tenancy import tenants

OVER = ("ended", "lapsed")

log = logs.get(__name__)


async def give_back(runtime: Runtime, tenant_id: str) -> int:
    """Take from a tenant the numbers that it had when its last contract ended (rule 11); returns how many.

    A tenant that still has a contract keeps them, as does one whose only contracts never opened. A number that was
    given after that end stays too: somebody prepares the next contract.
    """
    today = clock.today()
    async with runtime.database.transaction(Scope.platform()) as session:
        await tenants.get(session, tenant_id, for_update=True)
        query = select(Contract.state, Contract.ends_on).where(Contract.tenant_id == tenant_id)
        contracts = (await session.execute(query)).all()
        if any(state not in OVER and (ends_on is None or ends_on >= today) for state, ends_on in contracts):
            return 0
        ends = [ends_on for state, ends_on in contracts if state != "lapsed" and ends_on is not None]
        if not ends or max(ends) >= today:
            return 0
        count = await phone_numbers.release_all(
            session,
            tenant_id,
            quarantine_days=runtime.settings.number_quarantine_days,
            given_before=clock.local_midnight(max(ends) + timedelta(days=1)),
        )
    if count:
        log.info("numbers.given_back", tenant_id=tenant_id, count=count)
    return count
