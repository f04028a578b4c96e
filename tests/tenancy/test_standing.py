"""A tenant's standing: what a payment may undo and what only an operator may."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from infra.kit.database import Database, Scope
from infra.kit.problems import Conflict
from tenancy import standing, tenants
from tests.api import Api


def test_a_closed_tenant_is_neither_suspended_nor_restored() -> None:
    with pytest.raises(standing.StandingRefused):
        standing.suspended("closed")
    with pytest.raises(standing.StandingRefused):
        standing.restored("closed")


async def _waiting_tasks(database: Database) -> list[str]:
    async with database.transaction(Scope.platform()) as session:
        names = await session.execute(text("SELECT task_name FROM procrastinate_jobs ORDER BY id"))
        return [str(name) for name in names.scalars()]


async def test_suspending_twice_changes_the_generation_once(api: Api) -> None:
    tenant_id = await api.tenant()
    async with api.database.transaction(Scope.platform()) as session:
        assert await tenants.suspend(session, tenant_id, reason="payment_overdue")
        assert not await tenants.suspend(session, tenant_id, reason="payment_overdue")
        assert (await tenants.get(session, tenant_id)).generation == 2
    assert await _waiting_tasks(api.database) == [tenants.TENANT_CHANGED]


async def test_an_operators_decision_outranks_overdue_payment(api: Api) -> None:
    tenant_id = await api.tenant()
    operator = await api.client("platform_operator")
    async with api.database.transaction(Scope.platform()) as session:
        await tenants.suspend(session, tenant_id, reason="payment_overdue")
    answer = await operator.post(f"/v1/tenants/{tenant_id}/suspension", {"note": "unlawful use reported"})
    assert (answer.status_code, answer.json()["standing_reason"]) == (200, "operator_decision")


async def test_lifting_a_decision_leaves_the_tenant_shut_until_its_invoices_were_looked_at(api: Api) -> None:
    tenant_id = await api.tenant()
    operator = await api.client("platform_operator")
    await operator.post(f"/v1/tenants/{tenant_id}/suspension", {"note": "unlawful use reported"})
    answer = await operator.post(f"/v1/tenants/{tenant_id}/restoration")
    assert (answer.status_code, answer.json()["standing"]) == (200, "suspended")
    assert await _waiting_tasks(api.database) == [tenants.TENANT_CHANGED, tenants.RECONSIDER_STANDING]


async def test_there_must_be_a_decision_to_lift(api: Api) -> None:
    tenant_id = await api.tenant()
    async with api.database.transaction(Scope.platform()) as session:
        await tenants.suspend(session, tenant_id, reason="payment_overdue")
        with pytest.raises(Conflict):
            await tenants.lift_decision(session, tenant_id)


async def test_a_suspension_by_hand_needs_a_reason_in_words(api: Api) -> None:
    tenant_id = await api.tenant()
    operator = await api.client("platform_operator")
    answer = await operator.post(f"/v1/tenants/{tenant_id}/suspension", {"note": "  "})
    assert (answer.status_code, answer.json()["field"]) == (422, "note")
