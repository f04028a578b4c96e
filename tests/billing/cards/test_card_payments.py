"""Invoices paid online: the page, the payment, what was settled, and everything that may go wrong on the way."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from fractions import Fraction
from typing import Any

import httpx
import pytest

from billing.cards.errors import StripeUnavailable
from billing.cards.stand_in.account import Settlement
from billing.stripe_gateway import CALLS_AT_ONCE, connected
from infra.app import asgi
from infra.kit.database import Database
from infra.kit.settings import SettingRefused, Settings, load
from tests.billing.card_world import KEY, CardWorld
from tests.billing.finance import refused


async def test_a_suspended_tenant_pays_by_card_and_is_restored(world: CardWorld) -> None:
    invoice_id = await world.owes_april()
    await world.lease.live_to("2026-04-16")
    assert (await world.lease.standing())[0] == "suspended"
    page = await world.clicks_pay(invoice_id)
    assert (page["amount"], page["currency"], page["state"]) == ("4000.00", "CNY", "open")
    session = world.stand_in.account.get(page["url"].rsplit("/", 1)[-1], "checkout.session")
    assert (session["amount_total"], session["currency"]) == (400_000, "cny")
    assert session["success_url"] == "https://seatline.example.com/paid"
    intent = world.stand_in.account.pays(session["id"])
    await world.follows()
    assert await world.account() == ("0.00", "0.00")
    assert (await world.lease.standing())[0] == "active"
    [payment, *_] = await world.lists("/v1/payments")
    assert (payment["channel"], payment["amount"], payment["reference"], payment["value_on"]) == (
        "stripe", "4000.00", intent["id"], "2026-04-16",
    )  # fmt: skip
    [checkout] = await world.lists("/v1/checkouts")
    assert checkout["state"] == "paid"
    [card] = await world.lists("/v1/card-payments")
    assert (card["settled_amount"], card["settled_currency"], card["settled_fee"], card["exchange_rate"]) == (
        "4000.00", "CNY", "136.00", None,
    )  # fmt: skip
    assert (card["fee"], card["exchange"], card["method"], card["invoice_id"]) == ("136.00", "0.00", "card", invoice_id)
    assert [await world.posted(name) for name in ("cash", "fees")] == ["3864.00", "136.00"]
    assert await world.event_states() == {"applied"}


async def test_what_is_settled_in_another_currency_is_recorded_with_its_rate(world: CardWorld) -> None:
    world.stand_in.account.settlement = Settlement("usd", Fraction("0.1384"), Fraction("0.044"))
    await world.pays(await world.owes_april(), method="alipay")
    [card] = await world.lists("/v1/card-payments")
    assert (card["settled_amount"], card["settled_currency"], card["settled_fee"]) == ("553.60", "USD", "24.36")
    assert (card["exchange_rate"], card["method"]) == ("0.1384", "alipay")
    assert (card["fee"], card["exchange"]) == ("176.01", "0.00")
    assert await world.posted("cash") == "3823.99"


async def test_what_is_settled_later_is_recorded_then(world: CardWorld) -> None:
    world.stand_in.account.settles_late = True
    intent = await world.pays(await world.owes_april())
    assert await world.account() == ("0.00", "0.00")
    assert (await world.lists("/v1/card-payments"))[0]["fee"] is None
    world.stand_in.account.settles(intent["latest_charge"])
    await world.follows()
    assert (await world.lists("/v1/card-payments"))[0]["fee"] == "136.00"


async def test_clicking_twice_shows_the_same_page(world: CardWorld) -> None:
    invoice_id = await world.owes_april()
    first = await world.clicks_pay(invoice_id)
    assert await world.clicks_pay(invoice_id) == first
    caller = await world.caller("tenant_admin")
    path = f"/v1/invoices/{invoice_id}/checkout"
    answers = await asyncio.gather(*(caller.post(path) for _ in range(4)))
    assert {answer.json()["url"] for answer in answers} == {first["url"]}
    assert len([each for each in world.stand_in.desk.requests if each.method == "POST"]) == 1


async def test_two_first_clicks_at_once_make_one_page(world: CardWorld) -> None:
    invoice_id = await world.owes_april()
    caller = await world.caller("tenant_admin")
    answers = await asyncio.gather(*(caller.post(f"/v1/invoices/{invoice_id}/checkout") for _ in range(3)))
    assert len({answer.json()["url"] for answer in answers}) == 1
    assert len(await world.lists("/v1/checkouts")) == 1


async def test_a_page_whose_answer_was_lost_is_the_one_that_the_next_click_gets(world: CardWorld) -> None:
    invoice_id = await world.owes_april()
    caller = await world.caller("tenant_admin")
    world.stand_in.desk.answers_lost = 2  # the library asks a second time by itself
    lost = await caller.post(f"/v1/invoices/{invoice_id}/checkout")
    assert refused(lost) == (503, "stripe_unavailable", None)
    assert await world.lists("/v1/checkouts") == []
    made = [name for name in world.stand_in.account.known if name.startswith("cs_")]
    assert [await world.session_of(invoice_id)] == made


async def test_a_click_while_stripe_is_away_changes_nothing_and_says_so(world: CardWorld) -> None:
    invoice_id = await world.owes_april()
    world.stand_in.desk.failures = [0, 500]
    caller = await world.caller("tenant_admin")
    answer = await caller.post(f"/v1/invoices/{invoice_id}/checkout")
    assert refused(answer) == (503, "stripe_unavailable", None)
    assert KEY not in answer.text
    assert await world.lists("/v1/checkouts") == []
    assert (await caller.post(f"/v1/invoices/{invoice_id}/checkout")).status_code == 200


async def test_a_key_that_stripe_does_not_accept_is_our_matter(world: CardWorld) -> None:
    invoice_id = await world.owes_april()
    world.stand_in.desk.failures = [401]
    answer = await (await world.caller("tenant_admin")).post(f"/v1/invoices/{invoice_id}/checkout")
    assert refused(answer) == (503, "stripe_credentials_refused", None)


async def test_only_what_is_open_can_be_paid(world: CardWorld) -> None:
    invoice_id = await world.owes_april()
    await world.lease.pay("3998.00")
    path = f"/v1/invoices/{invoice_id}/checkout"
    caller = await world.caller("tenant_admin")
    assert refused(await caller.post(path)) == (409, "amount_not_payable_online", "invoice_id")
    await world.lease.pay("2.00")
    assert refused(await caller.post(path)) == (409, "invoice_not_payable", "invoice_id")
    assert refused(await caller.post("/v1/invoices/inv_none/checkout"))[:2] == (404, "invoice_not_found")
    assert world.stand_in.desk.requests == []


async def test_who_may_pay(world: CardWorld) -> None:
    invoice_id = await world.owes_april()
    path = f"/v1/invoices/{invoice_id}/checkout"
    assert (await (await world.caller("tenant_viewer")).post(path)).status_code == 403
    stranger = await world.api.client("tenant_admin", await world.api.tenant())
    assert (await stranger.post(path)).status_code == 404
    assert (await (await world.caller("finance")).post(path)).status_code == 200
    await world.pays(invoice_id)
    for listed in ("checkouts", "card-payments", "card-returns"):
        assert (await stranger.get(f"/v1/{listed}")).json()["items"] == []
    own = await world.caller("tenant_viewer")
    assert len((await own.get("/v1/card-payments")).json()["items"]) == 1
    assert (await own.get("/v1/stripe/events")).status_code == 403


async def test_a_stripe_that_hangs_is_not_waited_for_by_everybody(world: CardWorld) -> None:
    """What is waited for holds a connection to the database."""

    asked = asyncio.Semaphore(0)

    async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.release()
        try:
            await reader.read()
        finally:  # also when the test ends first
            writer.close()

    silent = await asyncio.start_server(never, "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    async with connected(replace(world.api.settings, stripe_api_url=f"http://127.0.0.1:{port}")) as gateway:
        waiting = [asyncio.create_task(gateway.checkout("cs_1")) for _ in range(CALLS_AT_ONCE)]
        for _ in waiting:
            await asked.acquire()
        with pytest.raises(StripeUnavailable):
            await gateway.checkout("cs_1")
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
    silent.close()


async def test_a_payment_that_takes_days(world: CardWorld) -> None:
    invoice_id = await world.owes_april()
    intent = await world.pays(invoice_id, later=True)
    assert (await world.clicks_pay(invoice_id))["state"] == "processing"
    assert await world.account() == ("4000.00", "0.00")
    world.stand_in.account.clears(intent["id"])
    await world.follows()
    assert await world.account() == ("0.00", "0.00")


async def test_a_payment_that_bounces_can_be_tried_again(world: CardWorld) -> None:
    invoice_id = await world.owes_april()
    intent = await world.pays(invoice_id, later=True)
    first = (await world.lists("/v1/checkouts"))[0]["url"]
    world.stand_in.account.bounces(intent["id"])
    await world.follows()
    assert [each["state"] for each in await world.lists("/v1/checkouts")] == ["failed"]
    assert (await world.clicks_pay(invoice_id))["url"] != first
    await world.pays(invoice_id)
    assert await world.account() == ("0.00", "0.00")


async def test_a_page_of_an_invoice_that_was_paid_otherwise_is_ended(world: CardWorld) -> None:
    invoice_id = await world.owes_april()
    session = await world.session_of(invoice_id)
    await world.lease.pay("1000.00")
    again = await world.session_of(invoice_id)
    assert again != session  # another amount is open
    await world.is_tended()
    assert world.stand_in.account.get(session, "checkout.session")["status"] == "expired"
    assert sorted(each["state"] for each in await world.lists("/v1/checkouts")) == ["expired", "open"]
    await world.lease.pay()
    await world.is_tended()
    assert {each["state"] for each in await world.lists("/v1/checkouts")} == {"expired"}


async def test_money_for_an_invoice_that_was_paid_otherwise_is_credit(world: CardWorld) -> None:
    session = await world.session_of(await world.owes_april())
    await world.lease.pay()
    world.stand_in.account.pays(session)
    await world.is_tended()  # tries to end a page that is paid
    await world.follows()
    assert await world.account() == ("0.00", "4000.00")


async def test_without_a_key_online_payment_says_that_it_is_not_set_up(
    database: Database, settings: Settings, world: CardWorld
) -> None:
    invoice_id = await world.owes_april()
    bare = asgi.build(replace(settings, stripe_secret_key=None, stripe_webhook_secret=None), database)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=bare), base_url="http://seatline.test") as http:
        headers = (await world.caller("finance")).headers
        for path in (f"/v1/invoices/{invoice_id}/checkout", "/v1/stripe/webhooks"):
            answer = await http.post(path, json={}, headers=headers)
            assert refused(answer) == (409, "online_payment_not_set_up", None)
        body = {"amount": "1.00", "note": "x"}
        answer = await http.post("/v1/payments/pay_none/card-refund", json=body, headers=headers)
        assert refused(answer) == (409, "online_payment_not_set_up", None)


@pytest.mark.parametrize(
    ("environ", "named"),
    [
        ({"SEATLINE_STRIPE_SECRET_KEY": "sk_live_1"}, "SEATLINE_STRIPE_WEBHOOK_SECRET"),
        ({"SEATLINE_STRIPE_WEBHOOK_SECRET": "whsec_1"}, "SEATLINE_STRIPE_SECRET_KEY"),
        ({"SEATLINE_STRIPE_API_URL": "ftp://x"}, "SEATLINE_STRIPE_API_URL"),
    ],
)
def test_a_half_set_up_stripe_is_refused_by_name(tmp_path: Any, environ: dict[str, str], named: str) -> None:
    with pytest.raises(SettingRefused, match=named) as refusal:
        load({"SEATLINE_DATA_DIRECTORY": str(tmp_path), **environ})
    assert "sk_live_1" not in str(refusal.value)


def test_secrets_do_not_show_in_settings(settings: Settings) -> None:
    assert KEY not in repr(settings)
    assert json.dumps(KEY) not in repr(settings)
