"""What Stripe tells us: events twice, late, out of order, lost, badly signed, or about nothing of ours."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import Any

import pytest

from billing.cards import application
from billing.cards.stand_in import objects
from billing.stripe_gateway import connected
from infra.kit import clock
from tests.billing.card_world import CardWorld, signature
from tests.billing.finance import refused


async def test_events_that_come_three_times_pay_once(world: CardWorld) -> None:
    world.stand_in.deliveries.times = 3
    await world.pays(await world.owes_april())
    assert await world.account() == ("0.00", "0.00")
    assert [each["channel"] for each in await world.lists("/v1/payments")].count("stripe") == 1
    assert {each.status for each in world.stand_in.deliveries.sent} == {200}


async def test_workers_that_apply_the_same_events_at_once_pay_once(world: CardWorld) -> None:
    session = await world.session_of(await world.owes_april())
    world.stand_in.account.pays(session)
    await world.stand_in.deliveries.arrived()
    kept = [each.event_id for each in world.stand_in.deliveries.sent]

    async def apply(event_id: str) -> None:
        async with connected(world.api.settings) as gateway:
            await application.apply_event(world.lease.database, gateway, event_id)

    await asyncio.gather(*(apply(event_id) for event_id in [*kept, *kept]))
    await world.follows()
    assert await world.account() == ("0.00", "0.00")
    assert len(await world.lists("/v1/card-payments")) == 1


async def test_events_out_of_order_and_late_give_the_same(world: CardWorld) -> None:
    account, deliveries = world.stand_in.account, world.stand_in.deliveries
    session = await world.session_of(await world.owes_april())
    deliveries.hold()
    intent = account.pays(session)
    account.refunds(intent["id"], amount=100_000)
    account.fails_refund(account.refunds(intent["id"], amount=50_000)["id"])
    await world.works()
    assert await world.account() == ("4000.00", "0.00")
    clock.travel_to(clock.now() + timedelta(days=2))
    held = list(deliveries.held)
    deliveries.release(reversed(held))
    await world.follows()
    assert await world.account() == ("1000.00", "0.00")
    deliveries.release(held)  # and all of it again
    await world.follows()
    assert await world.account() == ("1000.00", "0.00")
    assert [each["state"] for each in await world.lists("/v1/card-returns")] == ["out"]
    assert await world.event_states() == {"applied"}


@pytest.mark.parametrize("wrong", ["secret", "late", "early", "missing", "garbled", "changed"])
async def test_a_bad_signature_is_refused_and_nothing_is_stored(world: CardWorld, wrong: str) -> None:
    deliveries = world.stand_in.deliveries
    event = objects.event("payment_intent.succeeded", {"id": "pi_1", "object": "payment_intent"})
    now = objects.now()
    match wrong:
        case "secret":
            answer = await deliveries.send(event, secret="whsec_other")
        case "late" | "early":
            answer = await deliveries.send(event, signed_at=now - 301 if wrong == "late" else now + 320)
        case _:
            header = {"garbled": "t=soon,v1=", "changed": f"t={now},v1={'0' * 64}"}.get(wrong)
            headers = {"stripe-signature": header} if header else {}
            answer = await world.api.http.post("/v1/stripe/webhooks", json=event, headers=headers)
    assert refused(answer) == (400, "stripe_signature_invalid", "Stripe-Signature")
    assert await world.event_states() == set()


def _event(**other: Any) -> bytes:
    about = {"object": "charge", "id": "ch_1"}
    return json.dumps({"id": "evt_1", "type": "x", "created": 1, "data": {"object": about}} | other).encode()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff",
        b"[]",
        b"{}",
        b"[" * 100_000,
        _event(data={"object": []}),
        _event(id="e" * 300),
        _event(id="evt_\0"),
        _event(id=1),
        _event(created=10**18),
    ],
    ids=range(10),
)
async def test_what_is_signed_but_no_event_is_refused(world: CardWorld, body: bytes) -> None:
    headers = {"stripe-signature": signature(body)}
    answer = await world.api.http.post("/v1/stripe/webhooks", content=body, headers=headers)
    assert refused(answer) == (400, "stripe_event_malformed", "body")
    assert await world.event_states() == set()


async def test_what_is_unknown_is_set_aside_and_can_be_tried_again(world: CardWorld) -> None:
    invoice_id = await world.owes_april()
    tell = world.stand_in.deliveries.tell
    tell(objects.event("customer.created", {"id": "cus_1", "object": "customer"}))
    tell(objects.event("payment_intent.succeeded", {"id": "pi_none", "object": "payment_intent"}))
    tell(objects.event("charge.succeeded", {"id": "ch_1", "object": "charge", "payment_intent": None}))
    foreign = objects.payment_intent(amount=400_000, currency="cny", metadata={"order": "somebody else's"})
    foreign |= {"status": "succeeded", "amount_received": 400_000}
    world.stand_in.account.known[foreign["id"]] = foreign
    tell(objects.event("payment_intent.succeeded", foreign))
    await world.follows()
    assert await world.set_aside() == [
        ("charge.succeeded", "not_ours"),
        ("customer.created", "unknown_type"),
        ("payment_intent.succeeded", "not_ours"),
        ("payment_intent.succeeded", "unknown_object"),
    ]
    assert await world.account() == ("4000.00", "0.00")
    finance = await world.caller("finance")
    [unknown] = [each for each in await world.lists("/v1/stripe/events") if each["reason"] == "unknown_object"]
    retried = await finance.post(f"/v1/stripe/events/{unknown['event_id']}/retry")
    assert retried.json()["state"] == "new"
    assert refused(await finance.post(f"/v1/stripe/events/{unknown['event_id']}/retry"))[1] == (
        "stripe_event_not_set_aside"
    )
    await world.follows()
    assert len(await world.set_aside()) == 4
    assert refused(await finance.get("/v1/stripe/events", {"state": "lost"}))[1] == "stripe_event_state_unknown"
    assert refused(await finance.post("/v1/stripe/events/evt_none/retry"))[1] == "stripe_event_not_found"
    assert (await finance.get(f"/v1/invoices/{invoice_id}")).json()["state"] == "open"


@pytest.mark.parametrize(
    ("changed", "reason"), [({"currency": "usd"}, "wrong_currency"), ({"amount": 399_999}, "wrong_amount")]
)
async def test_a_payment_of_the_wrong_kind_is_set_aside_without_effect(
    world: CardWorld, changed: dict[str, Any], reason: str
) -> None:
    await world.pays(await world.owes_april(), **changed)
    assert {why for _, why in await world.set_aside()} == {reason}
    assert await world.event_states() == {"set_aside"}
    assert await world.account() == ("4000.00", "0.00")


async def test_a_payment_whose_events_were_lost_is_found(world: CardWorld) -> None:
    session = await world.session_of(await world.owes_april())
    world.stand_in.deliveries.hold()
    world.stand_in.account.pays(session)
    await world.is_tended()
    assert await world.account() == ("4000.00", "0.00")
    clock.travel_to(clock.now() + timedelta(minutes=11))
    await world.is_tended()
    assert await world.account() == ("0.00", "0.00")
    world.stand_in.deliveries.release()
    await world.follows()
    assert await world.account() == ("0.00", "0.00")


async def test_events_that_could_not_be_applied_while_stripe_was_away_are_applied_later(world: CardWorld) -> None:
    session = await world.session_of(await world.owes_april())
    world.stand_in.deliveries.hold()
    world.stand_in.account.pays(session)
    world.stand_in.deliveries.release(world.stand_in.deliveries.held[:1])
    world.stand_in.desk.failures = [500, 500]
    await world.follows(failing=True)
    assert await world.event_states() == {"new"}
    await world.gives_up()
    clock.travel_to(clock.now() + timedelta(minutes=11))
    await world.is_tended(failing=True)
    assert await world.account() == ("0.00", "0.00")
    assert await world.event_states() == {"applied"}
