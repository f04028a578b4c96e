"""Deposits that are paid late, after their seat was returned or the contract has ended (C4, rules 6 and 11)."""

from __future__ import annotations

import pytest

from infra.kit.database import Database
from infra.kit.settings import Settings
from tests.api import Api
from tests.billing.finance import does
from tests.billing.lease_world import LeaseWorld


@pytest.fixture
def world(database: Database, settings: Settings) -> LeaseWorld:
    return LeaseWorld(database, settings)


async def _reversed_opening(world: LeaseWorld, preset: str, *, ends_on: str | None = None, **terms: str) -> None:
    """Two seats, open since 2 March; on the 3rd it shows that their payment was somebody else's."""
    await world.sign(preset, "2026-03-02", terms, ends_on=ends_on)
    await world.order(2, "2026-03-02")
    await world.live_to("2026-02-27")
    payment = await world.pay()
    await world.live_to("2026-03-03")
    await world.reverse(payment)


async def test_a_deposit_paid_after_its_seat_was_returned_comes_back_with_the_next_invoice(world: LeaseWorld) -> None:
    await _reversed_opening(world, "hosted")
    await world.give_back([2], "2026-03-25")
    await world.live_to("2026-04-02")
    [april] = await world.invoices("monthly")
    assert str(april.total) == "2000.00"  # nothing was held that could be given back
    await world.pay()
    await world.live_to("2026-05-01")
    [_, may] = await world.invoices("monthly")
    assert str(may.total) == "0.00"  # a month of one seat, and the deposit of the other
    await world.live_to("2026-07-01")
    assert [str(each.total) for each in (await world.invoices("monthly"))[2:]] == ["2000.00", "2000.00"]
    await world.check_conservation()


@pytest.mark.parametrize(
    ("preset", "terms", "deposit"), [("hosted", {}, "4000"), ("onsite", {"deposit": "900"}, "900")]
)
async def test_a_deposit_paid_after_the_final_invoice_comes_back_on_a_supplementary_one(
    world: LeaseWorld, api: Api, preset: str, terms: dict[str, str], deposit: str
) -> None:
    await _reversed_opening(world, preset, ends_on="2026-03-31", **terms)
    await world.live_to("2026-04-20")
    assert await world.invoices("final") == []
    await world.pay()
    assert str((await world.balance()).credit) == "0.00"
    await world.live_to("2026-05-01")
    [final] = await world.invoices("final")
    assert str(final.total) == f"-{deposit}.00"
    await does(await api.client("finance"), f"/v1/invoices/{final.invoice_id}/void", {"reason": "too early"}, 200)
    await world.live_to("2026-06-01")
    [final] = await world.invoices("final", void=False)
    assert (str(final.total), str((await world.balance()).credit)) == (f"-{deposit}.00", f"{deposit}.00")
    await world.live_to("2026-08-01")
    assert len(await world.invoices("final", void=False)) == 1
    await world.check_conservation()


async def test_a_payment_reversed_after_its_deposit_came_back_gives_it_back_once(world: LeaseWorld) -> None:
    await world.sign("hosted", "2026-03-02", ends_on="2026-03-31")
    await world.order(2, "2026-03-02")
    await world.live_to("2026-02-27")
    payment = await world.pay()
    await world.live_to("2026-04-01")
    assert str((await world.balance()).credit) == "4000.00"
    await world.reverse(payment)
    account = await world.balance()
    assert (str(account.owed), str(account.credit)) == ("3870.97", "0.00")
    await world.pay()
    await world.live_to("2026-06-01")
    assert len(await world.invoices("final")) == 1
    account = await world.balance()
    assert (str(account.owed), str(account.credit)) == ("0.00", "0.00")
    await world.check_conservation()
