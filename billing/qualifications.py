"""Whether a contract's seats may open as far as the tenant's papers go (C19)."""

from __future__ import annotations

from datetime import date

from sqlalchemy.ext.asyncio import AsyncSession

from billing.contracts import terms_of
from billing.models import Contract
from infra.kit import clock
from tenancy.papers import held, rules


async def ready_since(session: AsyncSession, contract: Contract) -> date | None:
    """The day since when nothing under this contract has to wait for papers; None while something is missing.

    The first day there is where the terms require none (`Terms.papers_required`).
    """
    if not terms_of(contract).papers_required:
        return date.min
    return rules.complete_since(await held.held_by(session, contract.tenant_id), clock.today())
