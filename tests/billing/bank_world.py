"""A builder for statement tests: a bank's files, finance with a mapping, tenants that owe an opening invoice."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httpx
from openpyxl import Workbook
from sqlalchemy import select

from billing import leases
from billing.models import Payment
from billing.spreadsheets import CSV_MEDIA_TYPE
from infra.kit import clock
from infra.kit.database import Scope
from tests.api import Api, Caller
from tests.billing.lease_world import conserved
from tests.jobs import failed_tasks, run_jobs

HEADER = ("交易日期", "交易流水号", "贷方金额", "借方金额", "对方户名", "摘要", "附言", "币种", "余额")
MAPPING: dict[str, Any] = {
    "name": "icbc",
    "bank_account": "6222 0000 1111 2222",
    "columns": {
        "value_on": "交易日期", "bank_reference": "交易流水号", "amount": "贷方金额", "debit": "借方金额",
        "payer": "对方户名", "remittance": ["摘要", "附言"], "currency": "币种",
    },
}  # fmt: skip


@dataclass
class Row:
    """A row of the bank's file: money received, unless `out` says otherwise."""

    reference: str
    amount: str = ""
    text: str = ""
    payer: str = ""
    out: str = ""
    day: str = ""
    currency: str = "人民币"

    def cells(self) -> list[str]:
        day = self.day or str(clock.today())
        return [day, self.reference, self.amount, self.out, self.payer, "转账", self.text, self.currency, "99.00"]


def as_csv(rows: Sequence[Row], encoding: str = "utf-8") -> bytes:
    table = [list(HEADER), *(row.cells() for row in rows)]
    lines = [",".join(f'"{cell}"' for cell in cells) for cells in table]
    return "\r\n".join(lines).encode(encoding)


def as_xlsx(table: Sequence[Sequence[Any]], sheets: Sequence[str] = ("明细",)) -> bytes:
    book = Workbook()
    book.remove(book.worksheets[0])
    for name in sheets:
        sheet = book.create_sheet(name)
        for cells in table:
            sheet.append(list(cells))
    content = io.BytesIO()
    book.save(content)
    return content.getvalue()


class Bank:
    """Finance with a mapping, and tenants that owe one opening invoice each."""

    def __init__(self, api: Api, finance: Caller) -> None:
        self.api = api
        self.finance = finance
        self.open: dict[str, str] = {}
        self.references: dict[str, str] = {}

    async def tenant(self, name: str) -> str:
        tenant_id = await self.api.tenant(name)
        operator = await self.api.client("platform_operator")
        body = {"tenant_id": tenant_id, "preset": "hosted", "title": "租赁", "opens_on": str(clock.today())}
        contract = await operator.post("/v1/contracts", body)
        async with self.api.database.transaction(Scope.platform()) as session:
            await leases.order_holdings(
                session, tenant_id=tenant_id, contract_id=contract.json()["contract_id"], item="seat", quantity=3,
                ordered_on=clock.today(), effective_on=clock.today(), order_id=f"ord_{tenant_id}", opening=True,
            )  # fmt: skip
        [invoice] = (await self.finance.get("/v1/invoices", {"tenant_id": tenant_id})).json()["items"]
        self.open[tenant_id] = invoice["open"]
        self.references[tenant_id] = invoice["payment_reference"]
        return tenant_id

    async def send(self, content: bytes, kind: str = CSV_MEDIA_TYPE, mapping: str = "icbc") -> httpx.Response:
        return await self.finance.post_bytes(f"/v1/bank-statements?mapping={mapping}", content, kind)

    async def imports(self, rows: Sequence[Row]) -> str:
        """Import and let the jobs run; returns the statement's id."""
        answer = await self.send(as_csv(rows))
        assert answer.status_code in (200, 201), answer.text
        await self.work()
        return answer.json()["statement_id"]

    async def work(self) -> None:
        url = self.api.settings.database_url
        assert url is not None
        await run_jobs(url)
        assert "billing.match_bank_statement" not in await failed_tasks(url)

    async def lines(self, state: str | None = None) -> list[dict[str, Any]]:
        """Lines of all statements, in the order of the file."""
        found = await self.finance.get("/v1/bank-statement-lines", {"state": state} if state else None)
        return found.json()["items"][::-1]

    async def payments(self, tenant_id: str) -> list[Payment]:
        query = select(Payment).where(Payment.tenant_id == tenant_id).order_by(Payment.payment_id)
        async with self.api.database.transaction(Scope.platform()) as session:
            return list((await session.execute(query)).scalars())

    async def check(self) -> None:
        async with self.api.database.transaction(Scope.platform()) as session:
            for tenant_id in self.open:
                await conserved(session, tenant_id)


async def bank_of(api: Api) -> Bank:
    """Finance has described its bank's files."""
    bank = Bank(api, await api.client("finance"))
    made = await bank.finance.post("/v1/bank-mappings", MAPPING)
    assert made.status_code == 201, made.text
    return bank
