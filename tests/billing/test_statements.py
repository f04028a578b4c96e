"""Bank statements on the real database: sure lines are paid once, unclear ones wait for a person."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from billing import leases, payments
from billing.models import Payment
from billing.schemas import payment_reference
from billing.spreadsheets import CSV_MEDIA_TYPE
from billing.statements import matching
from billing.statements.models import BankStatement, BankStatementLine
from infra.kit import clock
from infra.kit.database import Database, Scope
from infra.kit.jobs import Runtime
from tests.api import Api
from tests.billing.bank_world import Bank, Row, as_csv, bank_of


@pytest.fixture
async def bank(api: Api) -> Bank:
    return await bank_of(api)


async def test_a_line_with_the_payment_reference_and_the_amount_pays_its_invoice(bank: Bank) -> None:
    anxin, haoyun = await bank.tenant("anxin"), await bank.tenant("haoyun")
    yesterday = clock.today() - timedelta(days=1)
    row = Row("B1", bank.open[anxin], f"租金{bank.references[anxin]}", "张三", day=str(yesterday))
    statement_id = await bank.imports([row, Row("B2", out="12.00", payer="电力公司")])
    [payment] = await bank.payments(anxin)
    assert (payment.value_on, payment.reference, payment.payer) == (yesterday, "B1", "张三")
    assert clock.local_date(payment.recorded_at) == clock.today()
    assert await bank.payments(haoyun) == []
    assert (await bank.finance.get(f"/v1/tenants/{anxin}/balance")).json()["owed"] == "0.00"
    [line] = await bank.lines()
    assert (line["state"], line["matched_by"], line["tenant_id"], line["payment_id"]) == (
        "matched", "payment_reference", anxin, payment.payment_id,
    )  # fmt: skip
    statement = (await bank.finance.get(f"/v1/bank-statements/{statement_id}")).json()
    assert (statement["lines"]["matched"], statement["outgoing"]) == (1, 1)
    await bank.check()


async def test_an_invoice_number_that_many_tenants_have_is_told_apart_by_payer_and_amount(bank: Bank) -> None:
    anxin, haoyun = await bank.tenant("anxin"), await bank.tenant("haoyun")
    number = bank.references[anxin].rpartition("-")[0]
    assert bank.references[haoyun].startswith(number)
    await bank.imports([Row("B1", bank.open[haoyun], number, "HAOYUN"), Row("B2", "5.00", number, "anxin")])
    assert len(await bank.payments(haoyun)) == 1
    assert await bank.payments(anxin) == []
    [line] = await bank.lines("unmatched")
    assert (line["reason"], line["suggested_tenant_id"]) == ("amount_differs", anxin)
    assert "assign" in line["advice"]


async def test_the_same_file_twice_pays_once(bank: Bank) -> None:
    anxin = await bank.tenant("anxin")
    rows = [Row("B1", bank.open[anxin], bank.references[anxin])]
    content = as_csv(rows)
    first, again = await bank.send(content), await bank.send(content)
    assert (first.status_code, again.status_code) == (201, 200)
    assert (again.json()["statement_id"], again.json()["imported_before"]) == (first.json()["statement_id"], True)
    await bank.work()
    await bank.send(content)
    await bank.work()
    assert len(await bank.payments(anxin)) == 1
    assert len((await bank.finance.get("/v1/bank-statements")).json()["items"]) == 1


async def test_a_line_that_came_before_is_set_aside(bank: Bank) -> None:
    anxin = await bank.tenant("anxin")
    row = Row("B1", "100.00", bank.references[anxin], "anxin")
    await bank.imports([row, row, Row("B1", "200.00", bank.references[anxin], "anxin")])
    await bank.imports([Row("B9", "1.00"), row])
    lines = await bank.lines()
    assert [line["state"] for line in lines] == ["matched", "duplicate", "unmatched", "unmatched", "duplicate"]
    assert {line["duplicate_of"] for line in lines} == {None, lines[0]["line_id"]}
    assert lines[2]["reason"] == "payment_reference_used"
    assert [payment.amount for payment in await bank.payments(anxin)] == [Decimal("100.00")]
    refused = await bank.finance.post(
        f"/v1/bank-statement-lines/{lines[1]['line_id']}/assignment", {"tenant_id": anxin}
    )
    assert (refused.status_code, refused.json()["code"]) == (409, "bank_statement_line_not_waiting")


async def test_files_that_come_at_once_pay_each_line_once(bank: Bank) -> None:
    tenant_ids = [await bank.tenant(f"tenant{number}") for number in range(3)]
    rows = [Row(f"B{each}", bank.open[each], bank.references[each]) for each in tenant_ids]
    answers = await asyncio.gather(
        bank.send(as_csv(rows)), bank.send(as_csv(rows)), bank.send(as_csv(rows[::-1])), bank.send(as_csv(rows[1:]))
    )
    assert sorted(answer.status_code for answer in answers) == [200, 201, 201, 201]
    runtime = Runtime(bank.api.database, bank.api.settings)
    statement_ids = {answer.json()["statement_id"] for answer in answers}
    await asyncio.gather(*(matching.match_statement(runtime, each) for each in [*statement_ids, *statement_ids]))
    assert [len(await bank.payments(each)) for each in tenant_ids] == [1, 1, 1]
    await bank.check()


class Killed(BaseException):
    """The process is gone in the middle of its work."""


async def test_killed_in_the_middle_and_imported_again_pays_each_line_once(
    bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant_ids = [await bank.tenant(f"tenant{number}") for number in range(3)]
    rows = [Row(f"B{each}", bank.open[each], bank.references[each]) for each in tenant_ids]
    content = as_csv([*rows, Row("B0", "3.00", "利息")])
    statement_id = (await bank.send(content)).json()["statement_id"]
    runtime = Runtime(bank.api.database, bank.api.settings)
    whole, recorded = payments.record, list[Payment]()

    async def record(*arguments: Any, **named: Any) -> Payment:
        recorded.append(await whole(*arguments, **named))
        if len(recorded) == 2:  # the second payment is written, but its transaction never ends
            raise Killed
        return recorded[-1]

    monkeypatch.setattr(payments, "record", record)
    with pytest.raises(Killed):
        await matching.match_statement(runtime, statement_id)
    monkeypatch.undo()
    assert sum([len(await bank.payments(each)) for each in tenant_ids]) == 1
    assert (await bank.send(content)).status_code == 200
    await bank.work()
    assert [len(await bank.payments(each)) for each in tenant_ids] == [1, 1, 1]
    assert [line["state"] for line in await bank.lines()] == ["matched", "matched", "matched", "unmatched"]
    await bank.check()


async def test_a_tenant_whose_lines_fail_does_not_stop_the_others(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    anxin, haoyun = await bank.tenant("anxin"), await bank.tenant("haoyun")
    rows = [Row(f"B{each}", bank.open[each], bank.references[each]) for each in (anxin, haoyun)]
    statement_id = (await bank.send(as_csv(rows))).json()["statement_id"]
    whole = payments.record

    async def record(*arguments: Any, tenant_id: str, **named: Any) -> Payment:
        if tenant_id == anxin:
            raise OSError("the disk is full")
        return await whole(*arguments, tenant_id=tenant_id, **named)

    monkeypatch.setattr(payments, "record", record)
    with pytest.raises(matching.LinesNotMatched, match=anxin):
        await matching.match_statement(Runtime(bank.api.database, bank.api.settings), statement_id)
    monkeypatch.undo()
    assert [line["state"] for line in await bank.lines()] == ["new", "matched"]
    await bank.work()
    assert [line["state"] for line in await bank.lines()] == ["matched", "matched"]


async def test_a_person_assigns_or_dismisses_what_is_unclear(bank: Bank) -> None:
    anxin = await bank.tenant("anxin")
    statement_id = await bank.imports([Row("B1", "70.00", "货款", "李四"), Row("B2", "0.31", "结息", "工商银行")])
    path = f"/v1/bank-statements/{statement_id}/lines"
    waiting = (await bank.finance.get(path, {"state": "unmatched"})).json()["items"]
    assert [line["reason"] for line in waiting] == ["no_reference", "no_reference"]
    interest, payment = (f"/v1/bank-statement-lines/{line['line_id']}" for line in waiting)
    assigned = await bank.finance.post(f"{payment}/assignment", {"tenant_id": anxin})
    assert (assigned.status_code, assigned.json()["state"], assigned.json()["matched_by"]) == (
        200, "matched", "assignment",
    )  # fmt: skip
    assert assigned.json()["decided_by"] == bank.finance.client_id
    assert [each.reference for each in await bank.payments(anxin)] == ["B1"]
    again = await bank.finance.post(f"{payment}/assignment", {"tenant_id": anxin})
    assert (again.status_code, again.json()["code"]) == (409, "bank_statement_line_not_waiting")
    for reason in ("", " ", "x" * 201):
        refused = await bank.finance.post(f"{interest}/dismissal", {"reason": reason})
        assert (refused.status_code, refused.json()["field"]) == (422, "reason")
    dismissed = await bank.finance.post(f"{interest}/dismissal", {"reason": "interest"})
    assert (dismissed.json()["state"], dismissed.json()["note"]) == ("dismissed", "interest")
    assert (await bank.finance.post(f"{interest}/dismissal", {"reason": "interest"})).status_code == 409
    assert (await bank.finance.get(path, {"state": "unmatched"})).json()["items"] == []
    assert (await bank.finance.get(path, {"state": "lost"})).json()["field"] == "state"
    stranger = await bank.finance.post(f"{interest}/assignment", {"tenant_id": "ten_x"})
    assert (stranger.status_code, stranger.json()["field"]) == (404, "tenant_id")
    unknown = await bank.finance.post("/v1/bank-statement-lines/bst_x/assignment", {"tenant_id": anxin})
    assert (unknown.status_code, unknown.json()["code"]) == (404, "bank_statement_line_not_found")
    await bank.check()


async def test_a_line_assigned_by_two_people_at_once_is_one_payment(bank: Bank) -> None:
    anxin, haoyun = await bank.tenant("anxin"), await bank.tenant("haoyun")
    await bank.imports([Row("B1", "70.00", "货款")])
    [line] = await bank.lines("unmatched")
    path = f"/v1/bank-statement-lines/{line['line_id']}/assignment"
    answers = await asyncio.gather(
        *(bank.finance.post(path, {"tenant_id": each}) for each in (anxin, haoyun, anxin, haoyun))
    )
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409]
    assert len(await bank.payments(anxin) + await bank.payments(haoyun)) == 1


async def test_a_wrong_match_is_reversed_and_waits_again(bank: Bank) -> None:
    anxin, haoyun = await bank.tenant("anxin"), await bank.tenant("haoyun")
    row = Row("B1", bank.open[anxin], bank.references[anxin])
    await bank.imports([row])
    [payment] = await bank.payments(anxin)
    answer = await bank.finance.post(f"/v1/payments/{payment.payment_id}/reversal", {"reason": "haoyun's money"})
    assert answer.status_code == 200
    [line] = await bank.lines("unmatched")
    assert (line["reason"], line["payment_id"], line["tenant_id"]) == ("payment_reversed", None, None)
    await bank.imports([row, Row("B2", "1.00")])  # it is not matched by itself a second time
    assert (await bank.lines("unmatched"))[0]["line_id"] == line["line_id"]
    path = f"/v1/bank-statement-lines/{line['line_id']}/assignment"
    assert (await bank.finance.post(path, {"tenant_id": haoyun})).status_code == 200
    assert len([each for each in await bank.payments(anxin) if each.reversed_at is None]) == 0
    assert len(await bank.payments(haoyun)) == 1
    await bank.check()


async def test_a_payment_of_long_ago_waits_with_the_reason(bank: Bank) -> None:
    anxin = await bank.tenant("anxin")
    long_ago = clock.today().replace(year=clock.today().year - 2, day=1)
    await bank.imports([Row("B1", bank.open[anxin], bank.references[anxin], day=str(long_ago))])
    [line] = await bank.lines("unmatched")
    assert (line["reason"], line["suggested_tenant_id"]) == ("payment_refused", anxin)
    assert "value_on" in line["note"]
    assert await bank.payments(anxin) == []


async def test_tenants_see_nothing_of_the_platforms_statements(bank: Bank, database: Database) -> None:
    anxin = await bank.tenant("anxin")
    await bank.imports([Row("B1", "5.00", "x")])
    [line] = await bank.lines()
    line_path, statement_path = (
        f"/v1/bank-statement-lines/{line['line_id']}",
        f"/v1/bank-statements/{line['statement_id']}",
    )
    reads = ("/v1/bank-mappings", "/v1/bank-statements", "/v1/bank-statement-lines", statement_path)
    for role in ("tenant_admin", "tenant_viewer"):
        caller = await bank.api.client(role, anxin)
        for path in (*reads, f"{statement_path}/lines"):
            assert (await caller.get(path)).status_code == 403, path
        assert (await caller.post(f"{line_path}/assignment", {"tenant_id": anxin})).status_code == 403
        assert (await caller.post_bytes("/v1/bank-statements?mapping=icbc", b"", CSV_MEDIA_TYPE)).status_code == 403
    operator = await bank.api.client("platform_operator")
    for path in reads:
        assert (await operator.get(path)).status_code == 200
    assert (await operator.post(f"{line_path}/dismissal", {"reason": "x"})).status_code == 403
    for table in (BankStatement, BankStatementLine):
        with pytest.raises(ProgrammingError, match="permission denied"):
            async with database.transaction(Scope.tenant(anxin)) as session:
                await session.execute(text(f"SELECT 1 FROM {table.__tablename__}"))  # noqa: S608 - a name of our own tables


async def test_the_reference_that_invoices_print_is_the_one_that_is_read(bank: Bank) -> None:
    anxin = await bank.tenant("anxin")
    [invoice] = (await bank.finance.get("/v1/invoices", {"tenant_id": anxin})).json()["items"]
    async with bank.api.database.transaction(Scope.platform()) as session:
        stored = await leases.order_invoice(session, anxin, f"ord_{anxin}")
    assert stored is not None
    assert invoice["payment_reference"] == payment_reference(stored) == bank.references[anxin]
    assert payment_reference(stored).startswith(f"{stored.number}-")
