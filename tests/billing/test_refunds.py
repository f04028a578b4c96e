"""Refunds on the real database: credit paid out once, released by finance, reversed, never more than is free."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy import select

from billing import refunds
from billing.errors import CreditTooSmall
from infra.kit import clock
from infra.kit.database import Database, Scope
from infra.kit.models import AuditEntry
from infra.kit.settings import Settings
from tests.api import Api
from tests.billing.finance import does, opened, refused
from tests.billing.lease_world import LeaseWorld


@pytest.fixture
def world(database: Database, settings: Settings) -> LeaseWorld:
    return LeaseWorld(database, settings)


def _refund(world: LeaseWorld, amount: str, **other: Any) -> dict[str, Any]:
    body = {"tenant_id": world.tenant_id, "amount": amount, "value_on": clock.today().isoformat()}
    return body | {"reference": "OUT-1", "note": "deposit at the end of the lease"} | other


async def _in_credit(world: LeaseWorld) -> None:
    """A lease of one seat with a deposit of 5,000.00 that has ended on 31 March; the final invoice gives it back."""
    await world.sign("onsite", "2026-03-02", {"deposit": "5000.00"}, ends_on="2026-03-31")
    await world.order(1, "2026-03-02")
    await world.live_to("2026-02-26")
    await world.pay()
    await world.live_to("2026-04-01")
    assert str((await world.balance()).credit) == "5000.00"


async def test_what_the_final_invoice_leaves_is_refunded_and_who_released_it_is_kept(
    world: LeaseWorld, api: Api
) -> None:
    await _in_credit(world)
    finance = await api.client("finance")
    refund = await does(finance, "/v1/refunds", _refund(world, "4999.99"))
    assert (refund["amount"], refund["released_by"], refund["reversed_at"]) == ("4999.99", finance.client_id, None)
    assert (await finance.get(f"/v1/tenants/{world.tenant_id}/balance")).json()["credit"] == "0.01"
    await world.check_conservation()
    async with api.database.transaction(Scope.platform()) as session:
        query = select(AuditEntry).where(AuditEntry.action == "refund.released")
        [entry] = (await session.execute(query)).scalars().all()
    assert (entry.actor, entry.object_id, entry.facts["amount"]) == (
        finance.client_id, refund["refund_id"], "4999.99",
    )  # fmt: skip
    too_much = await finance.post("/v1/refunds", _refund(world, "0.02", reference="OUT-2"))
    assert refused(too_much) == (409, "credit_too_small", "amount")
    assert too_much.json()["free_credit"] == "0.01"
    again = await finance.post("/v1/refunds", _refund(world, "0.01"))
    assert refused(again) == (409, "refund_reference_used", "reference")
    assert len((await finance.get("/v1/refunds")).json()["items"]) == 1


async def test_a_refund_that_came_back_is_credit_again(world: LeaseWorld, api: Api) -> None:
    await _in_credit(world)
    finance = await api.client("finance")
    refund = await does(finance, "/v1/refunds", _refund(world, "5000.00"))
    path = f"/v1/refunds/{refund['refund_id']}/reversal"
    assert refused(await finance.post(path, {"reason": ""})) == (422, "invalid_input", "reason")
    reversed_ = await does(finance, path, {"reason": "the account was closed"}, 200)
    assert (reversed_["reversal_reason"], reversed_["reversed_at"] is None) == ("the account was closed", False)
    assert str((await world.balance()).credit) == "5000.00"
    assert refused(await finance.post(path, {"reason": "again"})) == (409, "refund_reversed", "refund_id")
    await does(finance, "/v1/refunds", _refund(world, "5000.00"))  # the reference is free again
    assert str((await world.balance()).credit) == "0.00"
    await world.check_conservation()


async def test_a_reversed_refund_pays_what_has_become_open_since(world: LeaseWorld, api: Api) -> None:
    await opened(world)
    await world.pay("5000.00")
    finance = await api.client("finance")
    refund = await does(finance, "/v1/refunds", _refund(world, "5000.00"))
    await world.live_to("2026-04-20")
    assert (await world.standing())[0] == "suspended"
    finance = await api.client("finance")
    await does(finance, f"/v1/refunds/{refund['refund_id']}/reversal", {"reason": "it came back"}, 200)
    assert (await world.standing())[0] == "active"
    account = await world.balance()
    assert (str(account.owed), str(account.credit)) == ("0.00", "1000.00")
    await world.check_conservation()


async def test_credit_pays_open_invoices_before_it_is_refunded(world: LeaseWorld, api: Api) -> None:
    await opened(world)
    await world.live_to("2026-04-01")
    finance = await api.client("finance")
    assert refused(await finance.post("/v1/refunds", _refund(world, "1.00")))[1] == "credit_too_small"
    await world.pay("4000.50")
    await does(finance, "/v1/refunds", _refund(world, "0.50"))
    await world.check_conservation()


async def test_a_payment_that_was_refunded_is_reversed_after_its_refund_only(world: LeaseWorld, api: Api) -> None:
    await opened(world)
    payment = await world.pay("500.00")
    finance = await api.client("finance")
    refund = await does(finance, "/v1/refunds", _refund(world, "200.00"))
    path = f"/v1/payments/{payment.payment_id}/reversal"
    answer = await finance.post(path, {"reason": "not theirs"})
    assert refused(answer) == (409, "payment_refunded", "payment_id")
    assert refund["refund_id"] in answer.json()["detail"]
    await does(finance, f"/v1/refunds/{refund['refund_id']}/reversal", {"reason": "not theirs"}, 200)
    await does(finance, path, {"reason": "not theirs"}, 200)
    assert str((await world.balance()).credit) == "0.00"
    await world.check_conservation()


async def test_two_refunds_at_once_never_share_a_fen(world: LeaseWorld) -> None:
    await _in_credit(world)

    async def refund(number: int) -> bool:
        try:
            async with world.database.transaction(Scope.platform()) as session:
                await refunds.record(
                    session,
                    tenant_id=world.tenant_id,
                    amount="2000.00",
                    value_on=clock.today(),
                    reference=f"OUT-{number}",
                    note="deposit",
                )
        except CreditTooSmall:
            return False
        return True

    assert sorted(await asyncio.gather(*(refund(number) for number in range(5)))) == [False, False, False, True, True]
    assert str((await world.balance()).credit) == "1000.00"
    await world.check_conservation()


@pytest.mark.parametrize(
    ("wrong", "status", "code", "field"),
    [
        ({"amount": "0"}, 422, "refund_refused", "amount"),
        ({"amount": "-1.00"}, 422, "refund_refused", "amount"),
        ({"amount": "0.001"}, 422, "refund_refused", "amount"),
        ({"amount": 1.5}, 400, "validation_failed", "amount"),
        ({"value_on": "2026-04-02"}, 422, "refund_refused", "value_on"),
        ({"value_on": "2024-12-31"}, 422, "refund_refused", "value_on"),
        ({"reference": " "}, 422, "refund_refused", "reference"),
        ({"reference": "x" * 201}, 422, "refund_refused", "reference"),
        ({"note": ""}, 422, "refund_refused", "note"),
        ({"tenant_id": "ten_none"}, 404, "not_found", "tenant_id"),
        ({"tenant_id": None}, 422, "invalid_input", "tenant_id"),
        ({"currency": "EUR"}, 400, "validation_failed", "currency"),
    ],
)
async def test_a_bad_refund_is_refused_by_the_field(
    world: LeaseWorld, api: Api, *, wrong: dict[str, Any], status: int, code: str, field: str
) -> None:
    await _in_credit(world)
    finance = await api.client("finance")
    assert refused(await finance.post("/v1/refunds", _refund(world, "1.00") | wrong)) == (status, code, field)
    assert str((await world.balance()).credit) == "5000.00"


async def test_only_finance_releases_money(world: LeaseWorld, api: Api) -> None:
    await _in_credit(world)
    refund = await does(await api.client("finance"), "/v1/refunds", _refund(world, "1.00"))
    own = await api.client("tenant_admin", world.tenant_id)
    assert [each["refund_id"] for each in (await own.get("/v1/refunds")).json()["items"]] == [refund["refund_id"]]
    for caller in (own, await api.client("platform_operator")):
        assert (await caller.post("/v1/refunds", _refund(world, "1.00"))).status_code == 403
        assert (await caller.post(f"/v1/refunds/{refund['refund_id']}/reversal", {"reason": "x"})).status_code == 403
    other = await api.client("tenant_admin", await api.tenant())
    assert (await other.get("/v1/refunds")).json()["items"] == []
    assert (await other.get(f"/v1/refunds/{refund['refund_id']}")).status_code == 404
