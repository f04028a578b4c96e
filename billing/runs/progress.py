"""What a run writes down while it goes on: contracts set aside, and taken up again."""

from __future__ import annotations

from sqlalchemy import update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from billing.models import Contract
from billing.rules.months import Month
from billing.runs.models import SetAsideContract
from infra.kit import clock
from infra.kit.problems import Refusal

FAILED, VOIDED = "failed", "voided"


async def note_billed(session: AsyncSession, contract: Contract, month: Month) -> None:
    """The contract has its invoice of this month, or needs none: it is not set aside any more."""
    await session.execute(
        update(SetAsideContract)
        .where(
            SetAsideContract.tenant_id == contract.tenant_id,
            SetAsideContract.contract_id == contract.contract_id,
            SetAsideContract.month <= str(month),
            SetAsideContract.resolved_at.is_(None),
        )
        .values(resolved_at=clock.now())
    )


async def set_aside(
    session: AsyncSession, *, tenant_id: str, contract_id: str, month: Month, reason: str, problem: str
) -> None:
    """Keep that a contract waits for a person; a second time it is counted, with the newest problem."""
    statement = insert(SetAsideContract).values(
        tenant_id=tenant_id,
        contract_id=contract_id,
        month=str(month),
        reason=reason,
        problem=problem,
        times=1,
        set_aside_at=clock.now(),
        resolved_at=None,
    )
    again = {"reason": reason, "problem": problem, "times": SetAsideContract.times + 1, "resolved_at": None}
    keys = [SetAsideContract.tenant_id, SetAsideContract.contract_id, SetAsideContract.month]
    await session.execute(
        statement.on_conflict_do_update(index_elements=keys, set_={**again, "set_aside_at": clock.now()})
    )


def problem_of(error: Exception) -> str:
    """What is shown of an error: a refusal's sentence, of anything else nothing that only the log may know."""
    return error.detail if isinstance(error, Refusal) else "The invoice cannot be made; the log says why."
