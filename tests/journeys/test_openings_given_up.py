"""Paid additions whose opening is gone: their money is given back once, whatever was done with it (C4, rule 5)."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import func, select

from billing import books, contracts, invoices
from billing.ledger_models import JournalPosting
from infra.kit import clock
from infra.kit.database import Scope
from tests.journeys.test_moved_orders import moves
from tests.journeys.test_openings_first import DEPOSIT, shown, signed
from tests.world import NOT_FOUND, Customer, World


async def has_fapiao(world: World, invoice: dict[str, Any], amount: str) -> dict[str, Any]:
    body = {"number": "25312000000000000001", "issued_on": clock.today().isoformat(), "amount": amount}
    return await world.finance.does(f"/v1/invoices/{invoice['invoice_id']}/fapiao", body)


async def credited_and_paid_out(world: World, tenant: Customer, amount: str) -> None:
    """Finance credits a part of the addition, and pays that credit out."""
    addition = await tenant.invoice("addition")
    note = {"lines": [{"line_number": 1, "amount": amount}], "reason": "two seats less"}
    await world.finance.does(f"/v1/invoices/{addition.plain['invoice_id']}/credit-notes", note)
    await world.finance.does("/v1/refunds", out(tenant, amount))


def out(tenant: Customer, amount: str) -> dict[str, str]:
    paid_out = {"tenant_id": tenant.tenant_id, "amount": amount, "value_on": clock.today().isoformat()}
    return paid_out | {"reference": f"OUT-{amount}", "note": "given back"}


async def held(world: World, tenant: Customer) -> dict[str, str]:
    """What stands on the accounts of deposits, CNY."""
    query = (
        select(JournalPosting.account, -func.sum(JournalPosting.amount))
        .where(
            JournalPosting.tenant_id == tenant.tenant_id, JournalPosting.account.in_(("deposit_due", "deposit_held"))
        )
        .group_by(JournalPosting.account)
        .order_by(JournalPosting.account)
    )
    async with world.api.database.transaction(Scope.platform()) as session:
        return {account: str(amount) for account, amount in await session.execute(query) if amount}


async def reversed_opening(world: World) -> tuple[Customer, dict[str, Any], list[dict[str, Any]]]:
    """The opening was paid, free circuits joined it and seats follow it, and then its payment is taken back."""
    tenant = await world.signs(preset="onsite", seats=1, opens="2026-06-08", terms=DEPOSIT)
    opening = (await tenant.admin.ask("/v1/seat-orders"))["items"][0]
    await world.travel_to("2026-06-03 09:00")
    payment = await tenant.pays_everything()
    joined = await tenant.orders(2, "2026-06-08")
    addition = await tenant.orders(5, "2026-06-09")
    await tenant.pays_everything()
    circuits = await tenant.orders(1, "2026-06-08", item="circuit")
    path = f"/v1/payments/{payment['payment_id']}/reversal"
    await world.finance.does(path, {"reason": "another tenant's money"})
    await world.work()
    return tenant, opening, [circuits, joined, addition]


async def contract_state(tenant: Customer) -> str:
    return (await tenant.admin.ask(f"/v1/contracts/{tenant.contract_id}"))["state"]


async def test_free_circuits_do_not_open_a_contract_whose_opening_is_not_paid(world: World) -> None:
    tenant, opening, others = await reversed_opening(world)
    await world.travel_to("2026-06-09 09:00")
    assert [(await shown(tenant, each)) for each in others] == [("scheduled", "opening")] * 3
    assert await contract_state(tenant) == "signed"
    assert [await tenant.seat(number).registers() for number in (1, 2)] == [NOT_FOUND] * 2
    await world.travel_to("2026-07-01 09:00")
    assert [(await shown(tenant, each))[0] for each in (opening, *others)] == ["lapsed"] * 4
    assert await contract_state(tenant) == "lapsed"
    assert {each.state for each in await tenant.invoices()} == {"void"}
    assert (await tenant.balance())["credit"] == "14000.00"


async def test_an_opening_that_is_paid_after_all_opens_with_all_that_joined_it(world: World) -> None:
    tenant, opening, others = await reversed_opening(world)
    await world.travel_to("2026-06-09 09:00")
    await tenant.pays_everything()
    await world.work()
    assert [(await shown(tenant, each))[0] for each in (opening, *others)] == ["done"] * 4


async def test_with_an_opening_that_finance_voids_free_circuits_go_too(world: World) -> None:
    tenant, opening, others = await reversed_opening(world)
    [unpaid] = [each for each in await tenant.invoices("opening") if each.state == "open"]
    await world.finance.does(f"/v1/invoices/{unpaid.plain['invoice_id']}/void", {"reason": "they went elsewhere"})
    await world.work()
    assert [(await shown(tenant, each))[0] for each in (opening, *others)] == ["lapsed"] * 4
    assert (await tenant.balance())["credit"] == "14000.00"


async def test_free_circuits_that_were_left_without_their_opening_lapse_by_themselves(world: World) -> None:
    tenant, _, others = await reversed_opening(world)
    async with world.api.database.transaction(Scope.platform()) as session:  # as a void by finance was before
        contract = await contracts.get_contract(session, tenant.tenant_id, tenant.contract_id, for_update=True)
        for row in await books.holding_rows(session, contract):
            if row.item == "seat" and row.number == 1:
                unpaid = await invoices.get(session, tenant.tenant_id, str(row.order_invoice_id))
                await invoices.void(session, unpaid, reason="they went elsewhere")
                row.lapsed = True
    await world.travel_to("2026-06-09 09:00")
    assert [(await shown(tenant, each))[0] for each in others] == ["lapsed"] * 3
    assert (await tenant.balance())["credit"] == "14000.00"


async def test_what_joins_an_opening_that_is_open_again_shares_its_invoice_and_the_deposit_is_asked_for(
    world: World,
) -> None:
    tenant, opening, _ = await reversed_opening(world)
    await tenant.orders(1, "2026-06-08")
    standing = [each for each in await tenant.invoices() if each.state == "open"]
    assert [(each.plain["reason"], each.kinds()) for each in standing] == [
        ("opening", {"deposit": "10000.00", "rent": "4000.00"})
    ]
    # Nor does it leave the others behind without a deposit.
    refused = await moves(tenant, opening, "2026-06-20")
    assert (refused.status_code, refused.json()["code"]) == (409, "order_not_movable")


async def test_credit_that_was_paid_out_is_not_given_again_when_the_opening_lapses(world: World) -> None:
    tenant, _, addition = await signed(world)
    await credited_and_paid_out(world, tenant, "4000.00")
    await world.travel_to("2026-07-01 09:00")
    assert (await shown(tenant, addition))[0] == "lapsed"
    assert (await tenant.balance())["credit"] == "6000.00"
    assert (await tenant.invoice("addition")).state == "paid"
    notes = await tenant.invoices("credit_note")
    assert [each.total for each in notes] == ["-4000.00", "-6000.00"]
    # What was credited as an order lapsed is not asked for again.
    refused = await world.finance.post(f"/v1/invoices/{notes[1].plain['invoice_id']}/void", {"reason": "a slip"})
    assert (refused.status_code, refused.json()["code"]) == (409, "invoice_not_voidable")
    await world.finance.does("/v1/refunds", out(tenant, "6000.00"))
    await world.travel_to("2026-08-02 09:00")
    assert [(await tenant.balance())[name] for name in ("credit", "owed")] == ["0.00"] * 2


@pytest.mark.parametrize("preset", ["onsite", "hosted"])
async def test_an_addition_with_a_fapiao_that_lapses_is_credited_whole_with_its_deposit(
    world: World, preset: str
) -> None:
    tenant = await world.signs(preset=preset, seats=1, opens="2026-06-08", terms={})
    addition = await tenant.orders(3, "2026-06-16")
    paid = await tenant.invoice("addition")
    await tenant.pays_everything()
    await has_fapiao(world, paid.plain, paid.kinds()["rent"])
    await world.travel_to("2026-07-01 09:00")
    assert (await shown(tenant, addition))[0] == "lapsed"
    [note] = await tenant.invoices("credit_note")
    assert (note.total, note.plain["corrects_invoice_id"]) == (f"-{paid.total}", paid.plain["invoice_id"])
    assert (await tenant.invoice("addition")).state == "paid", "its fapiao needs a red one first"
    assert (await tenant.balance())["credit"] == paid.total
    assert await held(world, tenant) == {}


async def test_an_unpaid_order_with_a_fapiao_that_lapses_is_owed_no_more(world: World) -> None:
    tenant = await world.signs(preset="onsite", seats=1, opens="2026-06-08", terms=DEPOSIT)
    await world.travel_to("2026-06-04 09:00")
    await tenant.pays("500.00")
    opening = await tenant.invoice("opening")
    await has_fapiao(world, opening.plain, "2000.00")
    await world.travel_to("2026-07-01 09:00")
    assert await contract_state(tenant) == "lapsed"
    assert [(await tenant.balance())[name] for name in ("owed", "credit")] == ["0.00", "500.00"]
    assert (await tenant.invoice("opening")).state == "paid", "by a note, as its fapiao keeps it from being void"
    assert await held(world, tenant) == {}


async def test_a_contract_that_ends_before_its_papers_come_gives_a_deposit_with_a_fapiao_back_once(
    world: World,
) -> None:
    tenant = await world.signs(
        preset="hosted", seats=1, opens="2026-06-08", ends="2026-06-20", terms=DEPOSIT | {"papers_required": True}
    )
    await world.travel_to("2026-06-04 09:00")
    await tenant.pays_everything()
    opening = await tenant.invoice("opening")
    await has_fapiao(world, opening.plain, opening.kinds()["rent"])
    for day in ("2026-06-21 09:00", "2026-07-02 09:00", "2026-08-02 09:00"):
        await world.travel_to(day)
        assert (await tenant.balance())["credit"] == opening.total, day
    assert await held(world, tenant) == {}
    assert len(await tenant.invoices("credit_note")) == 1


@pytest.mark.parametrize("why", ["fapiao", "refund"])
async def test_finance_does_not_void_an_opening_whose_additions_cannot_be_voided(world: World, why: str) -> None:
    tenant, _, addition = await signed(world)
    if why == "fapiao":
        await has_fapiao(world, (await tenant.invoice("addition")).plain, "10000.00")
    else:
        await credited_and_paid_out(world, tenant, "4000.00")
    await world.travel_to("2026-06-10 09:00")
    opening, before = await tenant.invoice("opening"), await tenant.balance()
    path = f"/v1/invoices/{opening.plain['invoice_id']}/void"
    refused = await world.finance.post(path, {"reason": "they went elsewhere"})
    assert (refused.status_code, refused.json()["code"]) == (409, "invoice_not_voidable")
    assert (await tenant.invoice("addition")).plain["number"] in refused.json()["detail"]
    assert await tenant.balance() == before
    assert await shown(tenant, addition) == ("scheduled", "opening")
