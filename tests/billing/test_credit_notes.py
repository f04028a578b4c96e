"""Credit notes, voids of a month's invoice and write-offs on the real database (rules 3, 5, 7 and 12)."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from billing import invoice_runs
from billing import jobs as billing_jobs
from billing.corrections import voids
from billing.errors import InvoiceNotVoidable
from billing.models import Invoice
from billing.rules.months import Month
from infra.kit import clock
from infra.kit.database import Database, Scope
from infra.kit.settings import Settings
from tests.api import Api, Caller
from tests.billing.finance import charge_body, does, opened, refused
from tests.billing.lease_world import LeaseWorld, morning


@pytest.fixture
def world(database: Database, settings: Settings) -> LeaseWorld:
    return LeaseWorld(database, settings)


async def _april(world: LeaseWorld, *, calls: str = "12.3456", **terms: Any) -> Invoice:
    """Two seats since 2 March, some calls, and the invoice of 1 April, unpaid."""
    await opened(world, **terms)
    await world.called("2026-03", calls)
    await world.live_to("2026-04-01")
    [april] = await world.invoices("monthly")
    return april


async def _credited(finance: Caller, invoice: Invoice, body: dict[str, Any]) -> dict[str, Any]:
    return await does(finance, f"/v1/invoices/{invoice.invoice_id}/credit-notes", {"reason": "agreed"} | body)


async def _seen(caller: Caller, invoice: Invoice) -> dict[str, Any]:
    return (await caller.get(f"/v1/invoices/{invoice.invoice_id}")).json()


async def test_a_note_credits_part_of_a_line_at_its_tax_rate_and_pays_its_invoice(world: LeaseWorld, api: Api) -> None:
    april = await _april(world)
    finance, viewer = await api.client("finance"), await api.client("tenant_viewer", world.tenant_id)
    note = await _credited(finance, april, {"lines": [{"line_number": 1, "amount": "106.00"}]})
    assert (note["reason"], note["corrects_invoice_id"], note["total"], note["tax"], note["period"]) == (
        "credit_note", april.invoice_id, "-106.00", "-6.00", "2026-04",
    )  # fmt: skip
    [line] = note["lines"]
    assert (line["kind"], line["amount"], line["clause"]) == ("rent", "-106.00", "C7, rule 3")
    assert (note["number"], note["suspends_on"], note["state"]) == ("2026-0003", None, "paid")
    invoice = await _seen(viewer, april)
    assert (invoice["total"], invoice["paid"], invoice["open"]) == ("4012.35", "106.00", "3906.35")
    assert (await _credited(finance, april, {"lines": [{"line_number": 2, "amount": "12.35"}]}))["tax"] == "-1.02"
    listed = (await viewer.get("/v1/invoices", {"reason": "credit_note"})).json()["items"]
    assert len(listed) == 2
    explained = await viewer.get(f"/v1/invoices/{note['invoice_id']}/lines/1/explain")
    assert explained.status_code == 200, explained.text
    assert explained.json()["parts"][0]["inputs"] == {"invoice": april.number, "line": "1", "reason": "agreed"}
    pdf = await viewer.get(f"/v1/invoices/{note['invoice_id']}/pdf")
    assert (pdf.status_code, pdf.content[:5]) == (200, b"%PDF-")
    await world.check_conservation()


async def test_a_note_on_a_paid_invoice_is_credit_for_the_next_one(world: LeaseWorld, api: Api) -> None:
    april = await _april(world)
    await world.pay()
    finance = await api.client("finance")
    note = await _credited(finance, april, {"whole": True})
    assert note["total"] == "-4012.35"
    assert str((await world.balance()).credit) == "4012.35"
    await world.live_to("2026-05-01")
    may = (await world.invoices("monthly"))[1]
    assert (str(may.paid), str((await world.balance()).credit)) == ("4000.00", "12.35")
    await world.check_conservation()


async def test_whole_credits_what_earlier_notes_have_left_and_no_deposit(world: LeaseWorld, api: Api) -> None:
    await opened(world, deposit="500.00")
    [opening] = await world.invoices("opening")
    finance = await api.client("finance")
    lines = (await _seen(finance, opening))["lines"]
    assert [line["kind"] for line in lines] == ["deposit", "rent"]
    await _credited(finance, opening, {"lines": [{"line_number": 2, "amount": "1000.00"}]})
    rest = await _credited(finance, opening, {"whole": True})
    assert [(line["kind"], line["amount"]) for line in rest["lines"]] == [("rent", "-3000.00")]
    nothing = await finance.post(f"/v1/invoices/{opening.invoice_id}/credit-notes", {"whole": True, "reason": "x"})
    assert refused(nothing) == (422, "credit_refused", "lines")


@pytest.mark.parametrize(
    ("body", "status", "code", "field"),
    [
        ({"whole": True, "reason": " "}, 422, "invalid_input", "reason"),
        ({"whole": True, "reason": "x" * 201}, 422, "invalid_input", "reason"),
        ({}, 422, "invalid_input", "lines"),
        ({"whole": True, "lines": []}, 422, "invalid_input", "lines"),
        ({"lines": []}, 422, "credit_refused", "lines"),
        ({"lines": [{"line_number": 9, "amount": "1.00"}]}, 422, "credit_refused", "lines.9"),
        ({"lines": [{"line_number": 1, "amount": "0.00"}]}, 422, "credit_refused", "lines.1"),
        ({"lines": [{"line_number": 1, "amount": "-5.00"}]}, 422, "credit_refused", "lines.1"),
        ({"lines": [{"line_number": 1, "amount": "4000.01"}]}, 422, "credit_refused", "lines.1"),
        ({"lines": [{"line_number": 1, "amount": "1.005"}]}, 422, "credit_refused", "lines.1"),
        ({"lines": [{"line_number": 1, "amount": "1.00"}] * 2}, 422, "credit_refused", "lines.1"),
        ({"lines": [{"line_number": 1, "amount": 1}]}, 400, "validation_failed", "lines[...].amount"),
    ],
)
async def test_what_cannot_be_credited_is_refused_by_the_line(
    world: LeaseWorld, api: Api, *, body: dict[str, Any], status: int, code: str, field: str
) -> None:
    april = await _april(world)
    finance = await api.client("finance")
    answer = await finance.post(f"/v1/invoices/{april.invoice_id}/credit-notes", {"reason": "agreed"} | body)
    assert refused(answer)[:2] == (status, code), answer.text
    assert answer.json().get("field") == field or status == 400
    assert await world.invoices("credit_note") == []
    assert (await _seen(finance, april))["paid"] == "0.00"


async def test_no_more_is_credited_than_the_invoice_comes_to(world: LeaseWorld, api: Api) -> None:
    await opened(world, 2)
    await world.give_back([2], "2026-03-12")
    await world.live_to("2026-04-01")
    [april] = await world.invoices("monthly")
    finance = await api.client("finance")
    lines = (await _seen(finance, april))["lines"]
    assert [(line["kind"], line["amount"]) for line in lines] == [("rent", "2000.00"), ("return_credit", "-600.00")]
    path = f"/v1/invoices/{april.invoice_id}/credit-notes"
    too_much = await finance.post(path, {"reason": "x", "lines": [{"line_number": 1, "amount": "1400.01"}]})
    assert refused(too_much) == (422, "credit_refused", "lines")
    of_credit = await finance.post(path, {"reason": "x", "lines": [{"line_number": 2, "amount": "1.00"}]})
    assert refused(of_credit) == (422, "credit_refused", "lines.2")
    note = await _credited(finance, april, {"whole": True})
    assert note["total"] == "-1400.00"


async def test_neither_void_nor_credit_notes_are_credited(world: LeaseWorld, api: Api) -> None:
    april = await _april(world)
    finance = await api.client("finance")
    note = await _credited(finance, april, {"lines": [{"line_number": 1, "amount": "1.00"}]})
    again = await finance.post(f"/v1/invoices/{note['invoice_id']}/credit-notes", {"whole": True, "reason": "x"})
    assert refused(again) == (409, "invoice_not_creditable", "invoice_id")
    await does(finance, f"/v1/invoices/{note['invoice_id']}/void", {"reason": "a mistake"}, 200)
    assert str((await world.balance()).owed) == "4012.35"
    await does(finance, f"/v1/invoices/{april.invoice_id}/void", {"reason": "a mistake"}, 200)
    gone = await finance.post(f"/v1/invoices/{april.invoice_id}/credit-notes", {"whole": True, "reason": "x"})
    assert refused(gone) == (409, "invoice_not_creditable", "invoice_id")


async def test_a_note_that_settles_restores_the_tenant(world: LeaseWorld, api: Api) -> None:
    april = await _april(world)
    await world.live_to("2026-04-20")
    assert await world.standing() == ("suspended", "payment_overdue")
    await _credited(await api.client("finance"), april, {"whole": True})
    assert await world.standing() == ("active", None)


async def test_a_lapsed_order_takes_its_note_with_it(world: LeaseWorld, api: Api) -> None:
    await opened(world)
    await world.order(1, "2026-03-20")
    [addition] = await world.invoices("addition")
    await _credited(await api.client("finance"), addition, {"lines": [{"line_number": 1, "amount": "100.00"}]})
    await world.live_to("2026-04-01")
    [addition], [note] = await world.invoices("addition"), await world.invoices("credit_note")
    assert addition.voided_at is not None
    assert note.voided_at is not None
    assert str((await world.balance()).credit) == "0.00"
    await world.check_conservation()


async def test_a_void_month_is_made_again_with_everything_that_was_on_it(world: LeaseWorld, api: Api) -> None:
    await opened(world, 3, deposit="900.00")
    await world.pay("1000.00")
    await world.give_back([3], "2026-03-15")
    finance = await api.client("finance")
    await does(finance, "/v1/one-off-charges", charge_body(world))
    wrong = await does(finance, "/v1/one-off-charges", charge_body(world, amount="77.00"))
    await world.called("2026-03", "5.5555")
    await world.live_to("2026-04-01")
    [april] = await world.invoices("monthly")
    finance = await api.client("finance")
    before = {line["kind"]: line["amount"] for line in (await _seen(finance, april))["lines"]}
    assert str(april.paid) == "1000.00"
    await does(finance, f"/v1/invoices/{april.invoice_id}/void", {"reason": "a charge too many"}, 200)
    assert (await world.contract()).billed_through is None
    assert str((await world.balance()).credit) == "1000.00"
    await does(finance, f"/v1/one-off-charges/{wrong['charge_id']}/cancellation", {"reason": "not theirs"}, 200)
    aside = (await finance.get("/v1/invoice-runs/2026-04/set-aside")).json()["items"]
    assert [(each["contract_id"], each["reason"]) for each in aside] == [(world.contract_id, "voided")]
    clock.travel_to(morning(date(2026, 4, 1), minutes=3))
    await billing_jobs.advance_month(world.runtime)
    void, made = await world.invoices("monthly")
    assert (void.number, void.void_reason, made.number) == ("2026-0002", "a charge too many", "2026-0003")
    after = {line["kind"]: line["amount"] for line in (await _seen(finance, made))["lines"]}
    assert after == before | {"recruitment": "800.00"}
    assert (str(made.paid), made.due_on, made.suspends_on) == ("1000.00", april.due_on, april.suspends_on)
    assert (await finance.get("/v1/invoice-runs/2026-04/set-aside")).json()["items"] == []
    await world.live_to("2026-05-01")
    assert {each.period for each in await world.invoices("monthly", void=False)} == {"2026-04", "2026-05"}
    await world.check_conservation()


async def test_a_void_final_invoice_gives_the_deposits_back_once(world: LeaseWorld, api: Api) -> None:
    await opened(world, ends_on="2026-04-20", deposit="900.00")
    await world.live_to("2026-04-02")
    await world.pay()
    await world.live_to("2026-05-01")
    [final] = await world.invoices("final")
    assert str(final.total) == "-900.00"
    finance = await api.client("finance")
    await does(finance, f"/v1/invoices/{final.invoice_id}/void", {"reason": "too early"}, 200)
    assert str((await world.balance()).credit) == "0.00"
    await does(finance, "/v1/one-off-charges", charge_body(world, on="2026-04-09", amount="100.00"))
    await invoice_runs.run_month(world.runtime, Month(2026, 5))
    [made] = await world.invoices("final", void=False)
    assert (str(made.total), str((await world.balance()).credit)) == ("-800.00", "800.00")
    await world.check_conservation()


async def test_what_somebody_has_decided_on_is_not_void(world: LeaseWorld, api: Api) -> None:
    april = await _april(world)
    finance = await api.client("finance")
    path = f"/v1/invoices/{april.invoice_id}/void"
    assert refused(await finance.post(path, {"reason": ""})) == (422, "invalid_input", "reason")
    payment = await world.pay("1.00")
    paid = await finance.post(path, {"reason": "wrong"})
    assert refused(paid) == (409, "invoice_not_voidable", "invoice_id")
    assert payment.payment_id in paid.json()["detail"]
    await world.reverse(payment)
    note = await _credited(finance, april, {"lines": [{"line_number": 1, "amount": "1.00"}]})
    credited = await finance.post(path, {"reason": "wrong"})
    assert note["number"] in credited.json()["detail"]
    await does(finance, f"/v1/invoices/{note['invoice_id']}/void", {"reason": "wrong"}, 200)
    given_up = await does(finance, f"/v1/invoices/{april.invoice_id}/write-off", {"reason": "insolvent"})
    lost = await finance.post(f"/v1/invoices/{april.invoice_id}/credit-notes", {"whole": True, "reason": "x"})
    assert refused(lost) == (409, "invoice_not_creditable", "invoice_id")
    assert given_up["write_off_id"] in (await finance.post(path, {"reason": "wrong"})).json()["detail"]
    await does(finance, f"/v1/write-offs/{given_up['write_off_id']}/reversal", {"reason": "they paid"}, 200)
    await world.live_to("2026-05-01")
    finance = await api.client("finance")
    followed = await finance.post(path, {"reason": "wrong"})
    assert "is followed by" in followed.json()["detail"]
    async with world.database.transaction(Scope.platform()) as session:
        with pytest.raises(InvoiceNotVoidable):
            await voids.void_invoice(session, world.tenant_id, april.invoice_id, reason="wrong")
    assert all(each.voided_at is None for each in await world.invoices("monthly"))


async def test_an_invoice_with_a_fapiao_is_corrected_by_a_note_and_not_void(world: LeaseWorld, api: Api) -> None:
    april = await _april(world)
    finance = await api.client("finance")
    fapiao = {"number": "25312000000012345678", "issued_on": "2026-04-01", "amount": "4012.35"}
    await does(finance, f"/v1/invoices/{april.invoice_id}/fapiao", fapiao)
    answer = await finance.post(f"/v1/invoices/{april.invoice_id}/void", {"reason": "wrong"})
    assert refused(answer) == (409, "invoice_not_voidable", "invoice_id")
    assert "fapiao" in answer.json()["detail"]
    await _credited(finance, april, {"whole": True})
    assert str((await world.balance()).owed) == "0.00"


async def test_a_write_off_settles_and_its_reversal_asks_again(world: LeaseWorld, api: Api) -> None:
    april = await _april(world)
    await world.pay("12.35")
    await world.live_to("2026-04-20")
    finance = await api.client("finance")
    path = f"/v1/invoices/{april.invoice_id}/write-off"
    assert refused(await finance.post(path, {"reason": ""})) == (422, "invalid_input", "reason")
    given_up = await does(finance, path, {"reason": "insolvent"})
    assert (given_up["amount"], given_up["decided_by"]) == ("4000.00", finance.client_id)
    assert await world.standing() == ("active", None)
    assert (await _seen(finance, april))["state"] == "paid"
    assert refused(await finance.post(path, {"reason": "x"})) == (409, "invoice_not_written_off", "invoice_id")
    reversal = f"/v1/write-offs/{given_up['write_off_id']}/reversal"
    await does(finance, reversal, {"reason": "a customer again"}, 200)
    assert (await _seen(finance, april))["open"] == "4000.00"
    await world.close_day()
    assert await world.standing() == ("suspended", "payment_overdue")
    assert refused(await finance.post(reversal, {"reason": "x"})) == (409, "write_off_reversed", "write_off_id")
    again = await does(finance, path, {"reason": "insolvent after all"})
    assert again["amount"] == "4000.00"
    assert len((await finance.get("/v1/write-offs")).json()["items"]) == 2


async def test_an_order_whose_credit_was_paid_out_is_not_cancelled_before_that_came_back(
    world: LeaseWorld, api: Api
) -> None:
    await opened(world)
    order_id = await world.order(1, "2026-03-20")
    await world.pay()
    [addition] = await world.invoices("addition")
    finance = await api.client("finance")
    await _credited(finance, addition, {"lines": [{"line_number": 1, "amount": "500.00"}]})
    paid_out = {"tenant_id": world.tenant_id, "amount": "500.00", "value_on": "2026-03-02"}
    refund = await does(finance, "/v1/refunds", paid_out | {"reference": "out-1", "note": "goodwill"})
    with pytest.raises(InvoiceNotVoidable, match=refund["refund_id"]):
        await world.cancel(order_id)
    await does(finance, f"/v1/refunds/{refund['refund_id']}/reversal", {"reason": "it came back"}, 200)
    await world.cancel(order_id)
    assert str((await world.balance()).credit) == "2000.00"  # what was paid, and no more
    await world.check_conservation()


async def test_an_orders_invoice_is_not_written_off(world: LeaseWorld, api: Api) -> None:
    await world.sign("onsite", "2026-03-02")
    await world.order(1, "2026-03-02")
    await world.live_to("2026-02-26")
    [opening] = await world.invoices("opening")
    finance = await api.client("finance")
    answer = await finance.post(f"/v1/invoices/{opening.invoice_id}/write-off", {"reason": "x"})
    assert refused(answer) == (409, "invoice_not_written_off", "invoice_id")
    assert str((await world.balance()).owed) == "2000.00"
