"""Requests of finance: invoices, runs, payments, statements, fapiao, cards."""

from __future__ import annotations

import itertools
import json
from collections.abc import Awaitable, Callable
from typing import Any

from sqlalchemy import text

from billing.cards.stand_in import objects
from infra.kit import clock
from infra.kit.database import Scope
from tests.journeys.examples.leases import new_order
from tests.journeys.examples.platform import new_tenant
from tests.journeys.house import Example, House
from tests.world import Customer, World

_numbers = itertools.count(1)


async def _create_credit_note(house: House) -> Example:
    path = f"/v1/invoices/{house.ids['invoice_id']}/credit-notes"
    return Example(house.world.finance, path, {"reason": "agreed", "lines": [{"line_number": 1, "amount": "1.00"}]})


async def _open_invoice_of_ours(house: House) -> str:
    """Its monthly invoice, asked for again and made again where another example has given it up or voided it."""
    for each in (await house.world.finance.ask("/v1/write-offs", tenant_id=house.ours.tenant_id))["items"]:
        if each["reversed_at"] is None:
            path = f"/v1/write-offs/{each['write_off_id']}/reversal"
            await house.world.finance.does(path, {"reason": "they pay"})
    if not any(each.state == "open" for each in await house.ours.invoices("monthly")):
        await house.world.finance.does("/v1/invoice-runs", {"month": "2026-07"})
        await house.world.work()
    return next(each.plain["invoice_id"] for each in await house.ours.invoices("monthly") if each.state == "open")


async def _write_off_invoice(house: House) -> Example:
    path = f"/v1/invoices/{await _open_invoice_of_ours(house)}/write-off"
    return Example(house.world.finance, path, {"reason": "insolvent"})


async def _reverse_write_off(house: House) -> Example:
    given_up = (await (await _write_off_invoice(house)).send()).json()
    path = f"/v1/write-offs/{given_up['write_off_id']}/reversal"
    return Example(house.world.finance, path, {"reason": "they pay"})


def re_rating_wanted(customer: Customer) -> tuple[str, dict[str, Any]]:
    body = {"month": "2026-06", "reason": "the deck was wrong"}
    return f"/v1/contracts/{customer.contract_id}/re-ratings", body


async def _request_re_rating(house: House) -> Example:
    """One of a month is open at a time."""
    for state in ("computing", "computed"):
        for each in (await house.world.finance.ask("/v1/re-ratings", state=state))["items"]:
            await house.world.finance.does(f"/v1/re-ratings/{each['re_rating_id']}/cancellation")
    return Example(house.world.finance, *re_rating_wanted(house.theirs))


async def _re_rating_path(house: House) -> str:
    return f"/v1/re-ratings/{(await (await _request_re_rating(house)).send()).json()['re_rating_id']}"


async def _cancel_re_rating(house: House) -> Example:
    return Example(house.world.finance, f"{await _re_rating_path(house)}/cancellation")


async def _settle_re_rating(house: House) -> Example:
    path = await _re_rating_path(house)
    await house.world.work()
    return Example(house.world.finance, f"{path}/settle")


async def _release_invoice_run(house: House) -> Example:
    """July as it waits in a house whose finance releases months."""
    async with house.world.api.database.transaction(Scope.platform()) as session:
        await session.execute(text("DELETE FROM invoice_run WHERE month = '2026-07'"))
    return Example(house.world.finance, "/v1/invoice-runs/2026-07/release", {"note": "all seen"})


async def _retry_invoice_run(house: House) -> Example:
    wrong = await _open_invoice_of_ours(house)
    await house.world.finance.does(f"/v1/invoices/{wrong}/void", {"reason": "wrong seats"})
    return Example(house.world.finance, "/v1/invoice-runs/2026-07/retry")


async def _void_invoice(house: House) -> Example:
    path = f"/v1/invoices/{(await new_order(house))['invoice_id']}/void"
    return Example(house.world.finance, path, {"reason": "ordered twice"})


async def _start_invoice_run(house: House) -> Example:
    return Example(house.world.finance, "/v1/invoice-runs", {"month": "2026-06"})


async def _record_payment(house: House) -> Example:
    day = clock.today().isoformat()
    body = {"tenant_id": house.theirs.tenant_id, "amount": "12.34", "value_on": day, "payer": "某公司"}
    return Example(house.world.finance, "/v1/payments", body)


async def _reverse_payment(house: House) -> Example:
    payment = (await (await _record_payment(house)).send()).json()
    return Example(house.world.finance, f"/v1/payments/{payment['payment_id']}/reversal", {"reason": "not theirs"})


def refund_body(tenant_id: str) -> dict[str, Any]:
    body = {"tenant_id": tenant_id, "amount": "10.00", "value_on": clock.today().isoformat(), "note": "paid twice"}
    return body | {"reference": f"OUT-{next(_numbers)}"}


async def _record_refund(house: House) -> Example:
    tenant_id = await new_tenant(house)
    body = {"tenant_id": tenant_id, "amount": "12.34", "value_on": clock.today().isoformat()}
    await house.world.finance.does("/v1/payments", body)
    return Example(house.world.finance, "/v1/refunds", refund_body(tenant_id))


async def _reverse_refund(house: House) -> Example:
    refund = (await (await _record_refund(house)).send()).json()
    return Example(house.world.finance, f"/v1/refunds/{refund['refund_id']}/reversal", {"reason": "came back"})


def one_off_charge_body(customer: Customer) -> dict[str, Any]:
    whom = {"tenant_id": customer.tenant_id, "contract_id": customer.contract_id}
    return whom | {"kind": "equipment", "on": clock.today().isoformat(), "amount": "199.00", "note": "a lost headset"}


async def _create_one_off_charge(house: House) -> Example:
    return Example(house.world.finance, "/v1/one-off-charges", one_off_charge_body(house.theirs))


async def _cancel_one_off_charge(house: House) -> Example:
    charge = (await (await _create_one_off_charge(house)).send()).json()
    path = f"/v1/one-off-charges/{charge['charge_id']}/cancellation"
    return Example(house.world.finance, path, {"reason": "it was found"})


def _bank_mapping(name: str) -> dict[str, Any]:
    columns = {"value_on": "date", "amount": "amount", "bank_reference": "reference", "remittance": ["text"]}
    return {"name": name, "bank_account": "6222000011112222", "columns": columns}


async def statement_upload(world: World) -> Example:
    """A file with one line that only a person can place."""
    name = f"bank-{next(_numbers)}"
    await world.finance.does("/v1/bank-mappings", _bank_mapping(name))
    content = f"date,amount,reference,text\n{clock.today()},{next(_numbers)}.00,{name},rent\n".encode()
    path, kind = f"/v1/bank-statements?mapping={name}", {"content-type": "text/csv"}
    return Example(world.finance, path, content=content, headers=kind)


async def _create_bank_mapping(house: House) -> Example:
    return Example(house.world.finance, "/v1/bank-mappings", _bank_mapping(f"bank-{next(_numbers)}"))


async def _import_bank_statement(house: House) -> Example:
    return await statement_upload(house.world)


async def _line_path(house: House) -> str:
    statement_id = (await (await statement_upload(house.world)).send()).json()["statement_id"]
    [line] = (await house.world.finance.ask(f"/v1/bank-statements/{statement_id}/lines"))["items"]
    return f"/v1/bank-statement-lines/{line['line_id']}"


async def _assign_bank_statement_line(house: House) -> Example:
    body = {"tenant_id": await new_tenant(house)}
    return Example(house.world.finance, f"{await _line_path(house)}/assignment", body)


async def _dismiss_bank_statement_line(house: House) -> Example:
    return Example(house.world.finance, f"{await _line_path(house)}/dismissal", {"reason": "interest"})


async def _take_payment_promise(house: House) -> Example:
    path = f"/v1/tenants/{await new_tenant(house)}/payment-promises"
    return Example(house.world.finance, path, {"until": clock.today().isoformat(), "reason": "they called"})


async def _withdraw_payment_promise(house: House) -> Example:
    taken = await _take_payment_promise(house)
    promise = (await taken.send()).json()
    return Example(house.world.finance, f"{taken.path}/{promise['promise_id']}/withdrawal", {"reason": "a mistake"})


def _checkout_path(house: House) -> str:
    return f"/v1/invoices/{house.ids['invoice_id']}/checkout"


async def _open_checkout(house: House) -> Example:
    return Example(house.theirs.admin, _checkout_path(house))


async def _stripe_tells(house: House) -> None:
    """The events that are held arrive, and what follows is done."""
    for event in house.stand_in.deliveries.held:
        body = json.dumps(event).encode()
        headers = {"stripe-signature": house.stand_in.deliveries.signature(body)}
        answer = await house.world.api.http.post("/v1/stripe/webhooks", content=body, headers=headers)
        assert answer.status_code == 200, answer.text
    house.stand_in.deliveries.held.clear()
    await house.world.work()


async def _release_card_refund(house: House) -> Example:
    """The July invoice is paid twice, so that the card payment is free."""
    house.stand_in.deliveries.hold()
    page = await house.theirs.admin.does(_checkout_path(house))
    await house.theirs.pays_everything()
    intent = house.stand_in.account.pays(page["url"].rsplit("/", 1)[-1])
    await _stripe_tells(house)
    [paid] = [
        each
        for each in (await house.world.finance.ask("/v1/card-payments"))["items"]
        if each["payment_intent_id"] == intent["id"]
    ]
    body = {"amount": page["amount"], "note": "paid twice"}
    return Example(house.world.finance, f"/v1/payments/{paid['payment_id']}/card-refund", body)


async def _retry_stripe_event(house: House) -> Example:
    house.stand_in.deliveries.hold()
    event = objects.event("customer.created", {"id": "cus_1", "object": "customer"})
    house.stand_in.deliveries.tell(event)
    await _stripe_tells(house)
    return Example(house.world.finance, f"/v1/stripe/events/{event['id']}/retry")


def _new_fapiao() -> dict[str, str]:
    return {"number": f"{next(_numbers):020}", "issued_on": clock.today().isoformat(), "amount": "0.01"}


async def _record_fapiao(house: House) -> Example:
    return Example(house.world.finance, f"/v1/invoices/{house.ids['invoice_id']}/fapiao", _new_fapiao())


async def _fapiao_path(house: House) -> str:
    return f"/v1/fapiao/{(await (await _record_fapiao(house)).send()).json()['fapiao_id']}"


async def _void_fapiao(house: House) -> Example:
    return Example(house.world.finance, f"{await _fapiao_path(house)}/void", {"reason": "typed wrongly"})


async def _replace_fapiao(house: House) -> Example:
    body = _new_fapiao() | {"reason": "wrong title"}
    return Example(house.world.finance, f"{await _fapiao_path(house)}/replacement", body)


async def _import_fapiao(house: House) -> Example:
    fapiao = _new_fapiao()
    row = f"{house.ids['invoice_id']},{fapiao['number']},{fapiao['issued_on']},{fapiao['amount']}"
    content = f"invoice_id,fapiao_number,fapiao_date,amount\n{row}\n".encode()
    headers = {"content-type": "text/csv"}
    return Example(house.world.finance, "/v1/fapiao-imports", content=content, headers=headers)


EXAMPLES: dict[str, Callable[[House], Awaitable[Example]]] = {
    "AssignBankStatementLine": _assign_bank_statement_line,
    "CancelOneOffCharge": _cancel_one_off_charge,
    "CancelReRating": _cancel_re_rating,
    "CreateBankMapping": _create_bank_mapping,
    "CreateCreditNote": _create_credit_note,
    "CreateOneOffCharge": _create_one_off_charge,
    "DismissBankStatementLine": _dismiss_bank_statement_line,
    "ImportBankStatement": _import_bank_statement,
    "ImportFapiao": _import_fapiao,
    "OpenCheckout": _open_checkout,
    "RecordFapiao": _record_fapiao,
    "RecordPayment": _record_payment,
    "RecordRefund": _record_refund,
    "ReleaseCardRefund": _release_card_refund,
    "ReleaseInvoiceRun": _release_invoice_run,
    "ReplaceFapiao": _replace_fapiao,
    "RequestReRating": _request_re_rating,
    "RetryInvoiceRun": _retry_invoice_run,
    "RetryStripeEvent": _retry_stripe_event,
    "ReversePayment": _reverse_payment,
    "ReverseRefund": _reverse_refund,
    "ReverseWriteOff": _reverse_write_off,
    "SettleReRating": _settle_re_rating,
    "StartInvoiceRun": _start_invoice_run,
    "TakePaymentPromise": _take_payment_promise,
    "VoidFapiao": _void_fapiao,
    "VoidInvoice": _void_invoice,
    "WithdrawPaymentPromise": _withdraw_payment_promise,
    "WriteOffInvoice": _write_off_invoice,
}
"""By operation id."""
