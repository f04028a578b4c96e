"""Money that goes back: refunds released here, refunds made at Stripe, disputes lost and won."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

from billing.cards.stand_in.account import Settlement
from billing.stripe_gateway import connected
from infra.kit import clock
from tests.billing.card_world import CardWorld
from tests.billing.finance import does, refused


async def _in_credit(world: CardWorld) -> tuple[str, dict[str, Any]]:
    """April was paid twice, by bank and by card: 4,000.00 of the card payment are free; its id, and the intent."""
    session = await world.session_of(await world.owes_april())
    await world.lease.pay()
    intent = world.stand_in.account.pays(session)
    await world.follows()
    assert await world.account() == ("0.00", "4000.00")
    [card] = await world.lists("/v1/card-payments")
    return card["payment_id"], intent


async def _released(world: CardWorld, payment_id: str, amount: str) -> dict[str, Any]:
    body = {"amount": amount, "note": "paid twice"}
    return await does(await world.caller("finance"), f"/v1/payments/{payment_id}/card-refund", body)


async def _returns(world: CardWorld) -> list[tuple[str, str]]:
    return [(each["kind"], each["state"]) for each in await world.lists("/v1/card-returns")]


async def test_finance_sends_free_credit_back_to_the_card(world: CardWorld) -> None:
    payment_id, intent = await _in_credit(world)
    refund = await _released(world, payment_id, "1500.00")
    assert (refund["state"], refund["amount"], refund["currency"]) == ("waiting", "1500.00", "CNY")
    assert await world.account() == ("0.00", "2500.00")
    assert world.stand_in.account.of_payment("refund", intent["id"]) == []
    await world.follows()
    [sent] = world.stand_in.account.of_payment("refund", intent["id"])
    assert (sent["amount"], sent["metadata"]) == (150_000, {"seatline_refund": refund["refund_id"]})
    [found] = await world.lists("/v1/card-returns")
    assert (found["state"], found["stripe_id"], found["refund_id"]) == ("out", sent["id"], refund["refund_id"])
    [listed] = await world.lists("/v1/refunds")
    assert (listed["amount"], listed["released_by"], listed["note"]) == ("1500.00", refund["released_by"], "paid twice")
    await world.follows()  # its own events tell nothing new
    assert await world.account() == ("0.00", "2500.00")
    assert await world.posted("cash") == "2364.00"  # 4,000.00 less a fee of 136.00 less the refund
    finance = await world.caller("finance")
    answer = await finance.post(f"/v1/refunds/{refund['refund_id']}/reversal", {"reason": "by hand"})
    assert refused(answer) == (409, "paid_through_stripe", "refund_id")
    answer = await finance.post(f"/v1/payments/{payment_id}/reversal", {"reason": "by hand"})
    assert refused(answer) == (409, "paid_through_stripe", "payment_id")


async def test_a_refund_whose_answer_was_lost_is_sent_once(world: CardWorld) -> None:
    payment_id, intent = await _in_credit(world)
    world.stand_in.desk.answers_lost = 1
    world.stand_in.desk.failures = []
    await _released(world, payment_id, "1500.00")
    await world.follows()
    assert len(world.stand_in.account.of_payment("refund", intent["id"])) == 1
    assert await _returns(world) == [("released", "out")]


async def test_a_refund_that_was_sent_by_a_worker_that_died_is_known_by_its_events(world: CardWorld) -> None:
    payment_id, intent = await _in_credit(world)
    refund = await _released(world, payment_id, "1500.00")
    async with connected(world.api.settings) as gateway:
        await gateway.refund(refund_id=refund["refund_id"], payment_intent_id=intent["id"], amount=Decimal("1500.00"))
    await world.stand_in.deliveries.arrived()
    await world.works()
    assert await _returns(world) == [("released", "out")]
    assert len(world.stand_in.account.of_payment("refund", intent["id"])) == 1
    assert await world.account() == ("0.00", "2500.00")


async def test_a_refund_that_could_not_be_sent_is_sent_later(world: CardWorld) -> None:
    payment_id, intent = await _in_credit(world)
    world.stand_in.desk.failures = [500, 0]
    await _released(world, payment_id, "1500.00")
    await world.follows(failing=True)
    assert await _returns(world) == [("released", "waiting")]
    await world.gives_up()
    clock.travel_to(clock.now() + timedelta(minutes=11))
    await world.is_tended(failing=True)
    await world.follows(failing=True)
    assert await _returns(world) == [("released", "out")]
    assert len(world.stand_in.account.of_payment("refund", intent["id"])) == 1


async def test_a_refund_that_stripe_refuses_is_credit_again(world: CardWorld) -> None:
    payment_id, _ = await _in_credit(world)
    world.stand_in.account.refuses_refunds = "insufficient_funds"
    await _released(world, payment_id, "1500.00")
    await world.follows()
    assert await world.account() == ("0.00", "4000.00")
    [found] = await world.lists("/v1/card-returns")
    assert found["state"] == "back"
    assert "insufficient_funds" in found["problem"]
    world.stand_in.account.refuses_refunds = None
    await _released(world, payment_id, "4000.00")
    await world.follows()
    assert await world.account() == ("0.00", "0.00")


async def test_a_refund_that_the_payers_bank_does_not_take_is_credit_again(world: CardWorld) -> None:
    payment_id, intent = await _in_credit(world)
    await _released(world, payment_id, "4000.00")
    await world.follows()
    [sent] = world.stand_in.account.of_payment("refund", intent["id"])
    world.stand_in.account.fails_refund(sent["id"])
    await world.follows()
    assert await world.account() == ("0.00", "4000.00")
    assert await _returns(world) == [("released", "back")]
    assert await world.posted("cash") == "3864.00"


async def test_a_bad_refund_is_refused_by_the_field(world: CardWorld) -> None:
    payment_id, _ = await _in_credit(world)
    path = f"/v1/payments/{payment_id}/card-refund"
    finance = await world.caller("finance")
    for wrong, expected in [
        ({"amount": "4000.01"}, (409, "credit_too_small", "amount")),
        ({"amount": "0.00"}, (422, "refund_refused", "amount")),
        ({"amount": "1.001"}, (422, "refund_refused", "amount")),
        ({"note": " "}, (422, "refund_refused", "note")),
        ({"currency": "USD"}, (400, "validation_failed", "currency")),
        ({"amount": 1.5}, (400, "validation_failed", "amount")),
    ]:
        assert refused(await finance.post(path, {"amount": "1.00", "note": "x"} | wrong)) == expected
    own = await world.caller("tenant_admin")
    assert (await own.post(path, {"amount": "1.00", "note": "x"})).status_code == 403
    assert await world.account() == ("0.00", "4000.00")


async def test_only_what_came_by_card_goes_back_to_it(world: CardWorld) -> None:
    await world.owes_april()
    payment = await world.lease.pay("5000.00")
    finance = await world.caller("finance")
    body = {"amount": "1.00", "note": "x"}
    answer = await finance.post(f"/v1/payments/{payment.payment_id}/card-refund", body)
    assert refused(answer)[:2] == (409, "not_a_card_payment")
    assert refused(await finance.post("/v1/payments/pay_none/card-refund", body))[:2] == (404, "payment_not_found")


async def test_a_refund_made_at_stripe_opens_the_invoice_again(world: CardWorld) -> None:
    invoice_id = await world.owes_april()
    intent = await world.pays(invoice_id)
    account = world.stand_in.account
    refund = account.refunds(intent["id"], amount=123_456)
    await world.follows()
    assert await world.account() == ("1234.56", "0.00")
    assert await world.open_invoice() == invoice_id
    [listed] = await world.lists("/v1/refunds")
    assert (listed["amount"], listed["released_by"], listed["reference"]) == ("1234.56", "stripe", refund["id"])
    assert listed["channel"] == "stripe"
    await world.lease.live_to("2026-04-16")
    assert (await world.lease.standing())[0] == "suspended"
    account.fails_refund(refund["id"])
    await world.follows()
    assert await world.account() == ("0.00", "0.00")
    assert (await world.lease.standing())[0] == "active"
    assert await _returns(world) == [("at_stripe", "back")]


async def test_a_lost_dispute_takes_the_money_and_a_fee(world: CardWorld) -> None:
    intent = await world.pays(await world.owes_april())
    dispute = world.stand_in.account.disputes(intent["id"])
    await world.follows()
    assert await world.account() == ("4000.00", "0.00")
    assert [await world.posted(name) for name in ("cash", "fees")] == ["-151.00", "151.00"]
    world.stand_in.account.closes_dispute(dispute["id"], won=False)
    await world.follows()
    assert await world.account() == ("4000.00", "0.00")
    [found] = await world.lists("/v1/card-returns")
    assert (found["kind"], found["state"], found["stripe_status"], found["settled_fee"]) == (
        "dispute", "out", "lost", "15.00",
    )  # fmt: skip


async def test_a_dispute_that_is_won_brings_the_money_back(world: CardWorld) -> None:
    intent = await world.pays(await world.owes_april())
    dispute = world.stand_in.account.disputes(intent["id"])
    await world.follows()
    await world.lease.live_to("2026-04-16")
    assert (await world.lease.standing())[0] == "suspended"
    world.stand_in.account.closes_dispute(dispute["id"], won=True)
    await world.follows()
    assert await world.account() == ("0.00", "0.00")
    assert (await world.lease.standing())[0] == "active"
    assert await _returns(world) == [("dispute", "back")]
    assert [await world.posted(name) for name in ("cash", "fees")] == ["3849.00", "151.00"]


async def test_going_back_at_another_rate_costs_what_the_exchange_takes(world: CardWorld) -> None:
    world.stand_in.account.settlement = Settlement("usd", Fraction("0.125"), Fraction(0))
    intent = await world.pays(await world.owes_april())
    world.stand_in.account.settlement = Settlement("usd", Fraction("0.130"), Fraction(0))
    refund = world.stand_in.account.refunds(intent["id"], amount=100_000)
    await world.follows()
    [found] = await world.lists("/v1/card-returns")
    assert (found["settled_amount"], found["settled_currency"], found["exchange"]) == ("-130.00", "USD", "40.00")
    assert [await world.posted(name) for name in ("cash", "exchange")] == ["2960.00", "40.00"]
    world.stand_in.account.fails_refund(refund["id"])
    await world.follows()
    assert [await world.posted(name) for name in ("cash", "exchange")] == ["4000.00", "0.00"]


async def test_what_is_won_is_put_back_at_the_rate_of_that_day(world: CardWorld) -> None:
    world.stand_in.account.settlement = Settlement("usd", Fraction("0.125"), Fraction(0))
    intent = await world.pays(await world.owes_april())
    dispute = world.stand_in.account.disputes(intent["id"])  # nothing is applied before it is won
    world.stand_in.account.settlement = Settlement("usd", Fraction("0.120"), Fraction(0))
    world.stand_in.account.closes_dispute(dispute["id"], won=True)
    await world.follows()
    assert await world.account() == ("0.00", "0.00")
    assert [await world.posted(name) for name in ("cash", "fees", "exchange")] == ["3720.00", "120.00", "160.00"]


async def test_an_inquiry_takes_nothing(world: CardWorld) -> None:
    intent = await world.pays(await world.owes_april())
    world.stand_in.account.disputes(intent["id"], inquiry=True)
    await world.follows()
    assert await world.account() == ("0.00", "0.00")
    assert await _returns(world) == []


async def test_what_went_back_at_stripe_after_it_was_paid_out_here_waits_for_a_person(world: CardWorld) -> None:
    payment_id, intent = await _in_credit(world)
    body = {"tenant_id": world.lease.tenant_id, "amount": "3000.00", "value_on": clock.today().isoformat()}
    await does(await world.caller("finance"), "/v1/refunds", body | {"reference": "OUT-1", "note": "paid twice"})
    world.stand_in.account.refunds(intent["id"])
    await world.follows()
    assert {why for _, why in await world.set_aside()} == {"more_than_is_left"}
    assert await world.account() == ("0.00", "1000.00")
    assert payment_id


async def test_two_tenants_do_not_touch_each_other(world: CardWorld) -> None:
    theirs = await world.owes_april()
    their_tenant = world.lease.tenant_id
    intent = await world.pays(theirs)
    await world.lease.sign("onsite", "2026-05-06", on="2026-04-20")
    assert world.lease.tenant_id != their_tenant
    await world.lease.order(1, "2026-05-06")
    await world.lease.live_to("2026-04-28")
    await world.pays(await world.open_invoice())
    world.stand_in.account.disputes(intent["id"])
    await world.follows()
    assert await world.account() == ("0.00", "0.00")
    finance = await world.caller("finance")
    assert (await finance.get(f"/v1/tenants/{their_tenant}/balance")).json()["owed"] == "4000.00"
