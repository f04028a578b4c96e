"""What cannot be is refused or set aside: with a code, a sentence that says what to do, and no fen moved anywhere."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from infra.kit import clock
from tests.billing.agreements import amendment
from tests.billing.bank_world import MAPPING, Row, as_csv
from tests.billing.card_world import signature
from tests.world import Customer, World

CSV, XLSX = "text/csv", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
JULY_OPEN = "4000.00"
Asks = Callable[[World, Customer, str], Awaitable[httpx.Response]]


async def _leased(world: World) -> Customer:
    """Two seats since June, July's invoice not paid yet; terms agreed for September; a bank's mapping is known."""
    customer = await world.tenant(opened="2026-06-01", seats=2)
    await world.travel_to("2026-07-05 09:00")
    agreed = amendment("2026-09-01", {"rent_per_seat": "2100.00"})
    await world.operator.does(f"/v1/contracts/{customer.contract_id}/amendments", agreed)
    await world.finance.does("/v1/bank-mappings", MAPPING)
    return customer


async def _money(world: World, customer: Customer) -> dict[str, Any]:
    """Everything that an effect on a balance would change."""
    tenant = {"tenant_id": customer.tenant_id, "limit": 200}
    return {
        "balance": await customer.balance(),
        "postings": await world.finance.ask("/v1/postings", **tenant),
        "payments": await world.finance.ask("/v1/payments", **tenant),
        "invoices": [each.plain for each in await customer.invoices()],
        "standing": await customer.standing(),
        "contract": await customer.admin.ask(f"/v1/contracts/{customer.contract_id}"),
    }


async def _statement(world: World, content: bytes, kind: str = CSV) -> httpx.Response:
    path, headers = "/v1/bank-statements?mapping=icbc", {"content-type": kind}
    return await world.finance.send("POST", path, content=content, headers=headers)


async def _told_by_stripe(world: World, event: dict[str, Any], signed: str | None = None) -> httpx.Response:
    body = json.dumps(event).encode()
    headers = {"stripe-signature": signed or signature(body), "content-type": "application/json"}
    return await world.api.http.post("/v1/stripe/webhooks", content=body, headers=headers)


async def _at_the_contract(world: World, customer: Customer, what: str) -> httpx.Response:
    amendments = f"/v1/contracts/{customer.contract_id}/amendments"
    signing = {"tenant_id": customer.tenant_id, "title": "租赁", "preset": "hosted", "opens_on": "2026-08-03"}
    bodies: dict[str, tuple[str, dict[str, Any]]] = {
        "overlapping terms": (amendments, amendment("2026-09-01", {"grace_days": 9})),
        "terms inside the notice": (amendments, amendment("2026-08-01", {"grace_days": 9})),
        "impossible terms": ("/v1/contracts", signing | {"terms": {"due_day": 31}}),
        "an end before the beginning": ("/v1/contracts", signing | {"ends_on": "2026-08-02"}),
    }
    return await world.operator.post(*bodies[what])


async def _at_the_seats(_: World, customer: Customer, what: str) -> httpx.Response:
    orders = {
        "a return of a seat not held": ("return", 3, "2026-07-20"),
        "an addition inside the notice": ("add", 1, "2026-07-09"),
        "a return inside the notice": ("return", 1, "2026-07-09"),
    }
    kind, quantity, on = orders[what]
    body = {"contract_id": customer.contract_id, "kind": kind, "quantity": quantity, "effective_on": on}
    return await customer.admin.post("/v1/seat-orders", body)


async def _at_the_bank(world: World, customer: Customer, what: str) -> httpx.Response:
    if what == "a payment in another currency":
        received = {"tenant_id": customer.tenant_id, "amount": JULY_OPEN, "value_on": "2026-07-05", "currency": "USD"}
        return await world.finance.post("/v1/payments", received)
    if what == "a statement in another currency":
        return await _statement(world, as_csv([Row("B1", JULY_OPEN, currency="USD")]))
    return await _statement(world, b"%PDF-1.7", XLSX)


async def _at_stripe(world: World, _: Customer, what: str) -> httpx.Response:
    assert what == "a bad signature"
    return await _told_by_stripe(world, {"id": "evt_1"}, signed=f"t={int(clock.now().timestamp())},v1=00")


@pytest.mark.parametrize(
    ("asks", "what", "status", "code", "advice"),
    [
        (_at_the_contract, "overlapping terms", 409, "terms_overlap", "choose a later day"),
        (_at_the_contract, "impossible terms", 422, "term_refused", "expected"),
        (_at_the_contract, "an end before the beginning", 422, "contract_refused", "expected"),
        (_at_the_contract, "terms inside the notice", 422, "inside_notice_period", "2026-08-05"),
        (_at_the_seats, "a return of a seat not held", 409, "seat_not_open", "2"),
        (_at_the_seats, "an addition inside the notice", 422, "notice_too_short", "2026-07-10"),
        (_at_the_seats, "a return inside the notice", 422, "notice_too_short", "2026-07-10"),
        (_at_the_bank, "a payment in another currency", 422, "currency_not_accepted", "expected CNY"),
        (_at_the_bank, "a statement in another currency", 422, "currency_not_accepted", "expected"),
        (_at_the_bank, "a statement of the wrong kind", 422, "bank_statement_refused", "expected"),
        (_at_stripe, "a bad signature", 400, "stripe_signature_invalid", "secret"),
    ],
)
async def test_it_is_refused_with_what_to_do_and_moves_no_money(
    world: World, *, asks: Asks, what: str, status: int, code: str, advice: str
) -> None:
    customer = await _leased(world)
    before = await _money(world, customer)
    answer = await asks(world, customer, what)
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (status, code)
    assert advice in problem["detail"]
    await world.work()
    assert await _money(world, customer) == before


async def test_a_line_that_a_bank_repeats_and_an_object_unknown_at_stripe_are_set_aside(world: World) -> None:
    customer = await _leased(world)
    july = await customer.invoice("monthly")
    row = Row("B1", JULY_OPEN, july.plain["payment_reference"])
    assert (await _statement(world, as_csv([row]))).status_code == 201
    await world.work()
    paid = await _money(world, customer)
    assert paid["balance"]["owed"] == "0.00"

    other_file = as_csv([row, Row("B2", "7.00")])
    assert (await _statement(world, other_file)).status_code == 201
    about = {"object": "payment_intent", "id": "pi_of_nobody"}
    event = {"id": "evt_1", "type": "payment_intent.succeeded", "created": 1, "data": {"object": about}}
    assert (await _told_by_stripe(world, event)).status_code == 200
    await world.work()
    lines = (await world.finance.ask("/v1/bank-statement-lines"))["items"]
    assert sorted((each["bank_reference"], each["state"]) for each in lines) == [
        ("B1", "duplicate"), ("B1", "matched"), ("B2", "unmatched"),
    ]  # fmt: skip
    [waiting] = [each for each in lines if each["state"] == "unmatched"]
    assert waiting["reason"] and waiting["advice"]
    [unknown] = (await world.finance.ask("/v1/stripe/events"))["items"]
    assert (unknown["state"], unknown["reason"]) == ("set_aside", "unknown_object")
    assert unknown["note"]
    assert await _money(world, customer) == paid
