"""A house where everything exists once for one tenant, and an example of every request that changes something."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import httpx
from sqlalchemy import text

from infra.kit import clock
from tests.billing.histories import add, document
from tests.world import MOBILE, PRICES, Customer, Desk, World

_numbers = itertools.count(1)
NOT_DATA = ("access_token",)
"""Tables that signing in changes, whatever the request."""


@dataclass(frozen=True)
class Example:
    """A POST that succeeds: who sends it, where to, and its JSON body (None: it has none) or its bytes."""

    desk: Desk
    path: str
    body: dict[str, Any] | None = None
    content: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict[str, str])

    async def send(self, *, by: Desk | None = None, key: str | None = None, **more: Any) -> httpx.Response:
        """Send it, with an Idempotency-Key or with `more` fields in its body."""
        headers = self.headers | ({"idempotency-key": key} if key else {})
        arguments: dict[str, Any] = {}
        if self.content is not None:
            arguments["content"] = self.content
        elif self.body is not None:
            arguments["json"] = self.body | more
        return await (by or self.desk).send("POST", self.path, headers=headers, **arguments)


@dataclass
class House:
    """`theirs` has one of everything; `ours` is its neighbour and looks over the fence."""

    world: World
    ours: Customer
    theirs: Customer
    ids: dict[str, str]
    """By the names that path parameters have."""

    async def description(self) -> dict[str, Any]:
        """What the API says of itself."""
        return (await self.world.api.http.get("/schema/openapi.json")).json()

    async def routes(self, method: str) -> list[tuple[str, dict[str, Any]]]:
        """Every path under /v1 with this method, and its operation."""
        paths: dict[str, dict[str, Any]] = (await self.description())["paths"]
        return [
            (path, operations[method])
            for path, operations in sorted(paths.items())
            if path.startswith("/v1/") and method in operations
        ]

    def filled(self, path: str) -> str:
        """A path with the ids of `theirs` in it."""
        return path.format_map(self.ids)

    async def contents(self) -> dict[str, str]:
        """A digest of every row of every table: two that are equal mean that nothing has changed."""
        async with self.world.api.database.engine.connect() as connection:
            listed = await connection.execute(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'"))
            digests: dict[str, str] = {}
            for table in sorted(set(listed.scalars()) - {*NOT_DATA}):
                rows = await connection.execute(text(f'SELECT t::text FROM "{table}" AS t ORDER BY 1'))  # noqa: S608
                digests[table] = hashlib.sha256("\n".join(rows.scalars()).encode()).hexdigest()
            return digests


async def furnished(world: World) -> House:
    """Two tenants side by side since 1 June; it is 2 July and `theirs` has called, been invoiced and paid."""
    await world.has_prices()
    ours = await world.signs(seats=1, opens="2026-06-01")
    theirs = await world.signs(seats=2, opens="2026-06-01")
    await world.travel_to("2026-05-31 09:00")
    await ours.pays_everything()
    payment = await theirs.pays_everything()
    await theirs.pays("10.00")
    refund = await world.finance.does("/v1/refunds", _refund(theirs.tenant_id))
    await world.travel_to("2026-06-17 12:00")
    record = await theirs.seat(1).record(MOBILE, milliseconds=60_000)
    await world.node_reports(record, await theirs.seat(1).node())
    await world.travel_to("2026-07-02 09:00")
    deck = (await _upload(world, "theirs", default=False).send()).json()
    await world.operator.does(f"/v1/contracts/{theirs.contract_id}/rate-deck", {"rate_deck_id": deck["deck_id"]})
    charge = await world.finance.does("/v1/one-off-charges", _one_off_charge(theirs))
    statement = (await (await _statement(world)).send()).json()
    return House(
        world,
        ours,
        theirs,
        {
            "tenant_id": theirs.tenant_id,
            "contract_id": theirs.contract_id,
            "client_id": theirs.admin.client_id,
            "leg_id": record["variables"]["uuid"],
            "invoice_id": (await theirs.invoice("monthly")).plain["invoice_id"],
            "payment_id": payment["payment_id"],
            "refund_id": refund["refund_id"],
            "charge_id": charge["charge_id"],
            "statement_id": statement["statement_id"],
            "month": "2026-07",
            "line_number": "1",
            "order_id": (await theirs.admin.ask("/v1/seat-orders"))["items"][0]["order_id"],
            "seat_id": (await theirs.admin.ask("/v1/seats"))["items"][0]["seat_id"],
            "deck_id": deck["deck_id"],
            "node_id": (await world.operator.ask("/v1/nodes"))["items"][0]["node_id"],
            "number": (await theirs.admin.ask("/v1/phone-numbers"))["items"][0]["number"],
        },
    )


def _upload(world: World, name: str, *, default: bool) -> Example:
    path = f"/v1/rate-decks?name={name}&default={str(default).lower()}"
    return Example(world.operator, path, content=PRICES.encode(), headers={"content-type": "text/csv"})


async def _create_tenant(house: House) -> Example:
    domain = f"new-{next(_numbers)}.example.com"
    return Example(house.world.operator, "/v1/tenants", {"name": "新客户", "sip_domain": domain})


async def _new_tenant(house: House) -> str:
    return (await (await _create_tenant(house)).send()).json()["tenant_id"]


async def _suspend_tenant(house: House) -> Example:
    path = f"/v1/tenants/{await _new_tenant(house)}/suspension"
    return Example(house.world.operator, path, {"note": "sub-letting"})


async def _lift_suspension(house: House) -> Example:
    suspension = await _suspend_tenant(house)
    await suspension.send()
    return Example(house.world.operator, suspension.path.replace("suspension", "restoration"))


async def _create_client(house: House) -> Example:
    body = {"name": "crm", "role": "tenant_viewer", "tenant_id": house.theirs.tenant_id}
    return Example(house.theirs.admin, "/v1/clients", body)


async def _revoke_client(house: House) -> Example:
    made = (await (await _create_client(house)).send()).json()
    return Example(house.theirs.admin, f"/v1/clients/{made['client_id']}/revocation")


async def _create_contract(house: House) -> Example:
    lease = {"tenant_id": house.theirs.tenant_id, "title": "二期", "preset": "onsite", "opens_on": "2026-10-01"}
    return Example(house.world.operator, "/v1/contracts", lease)


async def _choose_rate_deck(house: House) -> Example:
    path = f"/v1/contracts/{house.theirs.contract_id}/rate-deck"
    return Example(house.world.finance, path, {"rate_deck_id": house.ids["deck_id"]})


async def _create_rate_deck(house: House) -> Example:
    return _upload(house.world, f"deck-{next(_numbers)}", default=True)


async def _create_node(house: House) -> Example:
    number = next(_numbers)
    port = 25_000 + 10 * number
    addresses = {"sip_host": "127.0.0.1", "esl_host": "127.0.0.1", "sip_port": port, "external_sip_port": port + 1}
    body = {"name": f"more-{number}", "esl_port": port + 2} | addresses
    return Example(house.world.operator, "/v1/nodes", body)


async def _create_gateway(house: House) -> Example:
    return Example(house.world.operator, "/v1/gateways", {"name": f"carrier-{next(_numbers)}", "host": "192.0.2.11"})


async def _assign_phone_number(house: House) -> Example:
    body = {"tenant_id": house.theirs.tenant_id, "number": f"+8621{61000000 + next(_numbers)}", "extension": "1001"}
    return Example(house.world.operator, "/v1/phone-numbers", body)


async def _place_seat_order(house: House) -> Example:
    day = clock.today() + timedelta(days=5 + next(_numbers))
    body = {"contract_id": house.theirs.contract_id, "kind": "add", "quantity": 1, "effective_on": day.isoformat()}
    return Example(house.theirs.admin, "/v1/seat-orders", body | {"tenant_id": house.theirs.tenant_id})


async def _new_order(house: House) -> dict[str, Any]:
    return (await (await _place_seat_order(house)).send()).json()


async def _cancel_seat_order(house: House) -> Example:
    path = f"/v1/seat-orders/{(await _new_order(house))['order_id']}/cancellation"
    return Example(house.theirs.admin, path, {"reason": "no need"})


async def _void_invoice(house: House) -> Example:
    path = f"/v1/invoices/{(await _new_order(house))['invoice_id']}/void"
    return Example(house.world.finance, path, {"reason": "ordered twice"})


async def _reissue_credentials(house: House) -> Example:
    return Example(house.theirs.admin, f"/v1/seats/{house.ids['seat_id']}/credentials")


async def _name_seat(house: House) -> Example:
    return Example(house.theirs.admin, f"/v1/seats/{house.ids['seat_id']}/name", {"name": f"王 {next(_numbers)}"})


async def _start_invoice_run(house: House) -> Example:
    return Example(house.world.finance, "/v1/invoice-runs", {"month": "2026-06"})


async def _record_payment(house: House) -> Example:
    day = clock.today().isoformat()
    body = {"tenant_id": house.theirs.tenant_id, "amount": "12.34", "value_on": day, "payer": "某公司"}
    return Example(house.world.finance, "/v1/payments", body)


async def _reverse_payment(house: House) -> Example:
    payment = (await (await _record_payment(house)).send()).json()
    return Example(house.world.finance, f"/v1/payments/{payment['payment_id']}/reversal", {"reason": "not theirs"})


def _refund(tenant_id: str) -> dict[str, Any]:
    body = {"tenant_id": tenant_id, "amount": "10.00", "value_on": clock.today().isoformat(), "note": "paid twice"}
    return body | {"reference": f"OUT-{next(_numbers)}"}


async def _record_refund(house: House) -> Example:
    tenant_id = await _new_tenant(house)
    body = {"tenant_id": tenant_id, "amount": "12.34", "value_on": clock.today().isoformat()}
    await house.world.finance.does("/v1/payments", body)
    return Example(house.world.finance, "/v1/refunds", _refund(tenant_id))


async def _reverse_refund(house: House) -> Example:
    refund = (await (await _record_refund(house)).send()).json()
    return Example(house.world.finance, f"/v1/refunds/{refund['refund_id']}/reversal", {"reason": "came back"})


def _one_off_charge(customer: Customer) -> dict[str, Any]:
    whom = {"tenant_id": customer.tenant_id, "contract_id": customer.contract_id}
    return whom | {"kind": "equipment", "on": clock.today().isoformat(), "amount": "199.00", "note": "a lost headset"}


async def _create_one_off_charge(house: House) -> Example:
    return Example(house.world.finance, "/v1/one-off-charges", _one_off_charge(house.theirs))


async def _cancel_one_off_charge(house: House) -> Example:
    charge = (await (await _create_one_off_charge(house)).send()).json()
    path = f"/v1/one-off-charges/{charge['charge_id']}/cancellation"
    return Example(house.world.finance, path, {"reason": "it was found"})


def _bank_mapping(name: str) -> dict[str, Any]:
    columns = {"value_on": "date", "amount": "amount", "bank_reference": "reference", "remittance": ["text"]}
    return {"name": name, "bank_account": "6222000011112222", "columns": columns}


async def _statement(world: World) -> Example:
    """A file with one line that only a person can place."""
    name = f"bank-{next(_numbers)}"
    await world.finance.does("/v1/bank-mappings", _bank_mapping(name))
    content = f"date,amount,reference,text\n{clock.today()},{next(_numbers)}.00,{name},rent\n".encode()
    path, kind = f"/v1/bank-statements?mapping={name}", {"content-type": "text/csv"}
    return Example(world.finance, path, content=content, headers=kind)


async def _create_bank_mapping(house: House) -> Example:
    return Example(house.world.finance, "/v1/bank-mappings", _bank_mapping(f"bank-{next(_numbers)}"))


async def _import_bank_statement(house: House) -> Example:
    return await _statement(house.world)


async def _line_path(house: House) -> str:
    statement_id = (await (await _statement(house.world)).send()).json()["statement_id"]
    [line] = (await house.world.finance.ask(f"/v1/bank-statements/{statement_id}/lines"))["items"]
    return f"/v1/bank-statement-lines/{line['line_id']}"


async def _assign_bank_statement_line(house: House) -> Example:
    body = {"tenant_id": await _new_tenant(house)}
    return Example(house.world.finance, f"{await _line_path(house)}/assignment", body)


async def _dismiss_bank_statement_line(house: House) -> Example:
    return Example(house.world.finance, f"{await _line_path(house)}/dismissal", {"reason": "interest"})


async def _make_quote(house: House) -> Example:
    question = document("hosted", "2026-06-01", "2026-07-31", [add("2026-06-01", 2)])
    return Example(house.theirs.admin, "/v1/quotes", question)


async def _retry_set_aside_record(house: House) -> Example:
    record = await house.theirs.seat(1).record(MOBILE, milliseconds=1_000)
    elsewhere = "/switch/cdr?uuid=00000000-0000-4000-8000-000000000000"  # another leg than the record's: set aside
    answer = await house.world.node_posts("node-1", elsewhere, json.dumps(record).encode(), "application/json")
    assert answer.status_code == 200
    waiting = (await house.world.operator.ask("/v1/set-aside-records"))["items"][0]["record_id"]
    return Example(house.world.operator, f"/v1/set-aside-records/{waiting}/retry")


EXAMPLES: dict[str, Callable[[House], Awaitable[Example]]] = {
    "AssignBankStatementLine": _assign_bank_statement_line,
    "AssignPhoneNumber": _assign_phone_number,
    "CancelOneOffCharge": _cancel_one_off_charge,
    "CancelSeatOrder": _cancel_seat_order,
    "ChooseRateDeck": _choose_rate_deck,
    "CreateBankMapping": _create_bank_mapping,
    "CreateClient": _create_client,
    "CreateContract": _create_contract,
    "CreateGateway": _create_gateway,
    "CreateNode": _create_node,
    "CreateOneOffCharge": _create_one_off_charge,
    "CreateRateDeck": _create_rate_deck,
    "CreateTenant": _create_tenant,
    "DismissBankStatementLine": _dismiss_bank_statement_line,
    "ImportBankStatement": _import_bank_statement,
    "LiftSuspension": _lift_suspension,
    "MakeQuote": _make_quote,
    "NameSeat": _name_seat,
    "PlaceSeatOrder": _place_seat_order,
    "RecordPayment": _record_payment,
    "RecordRefund": _record_refund,
    "ReissueSeatCredentials": _reissue_credentials,
    "RetrySetAsideRecord": _retry_set_aside_record,
    "ReversePayment": _reverse_payment,
    "ReverseRefund": _reverse_refund,
    "RevokeClient": _revoke_client,
    "StartInvoiceRun": _start_invoice_run,
    "SuspendTenant": _suspend_tenant,
    "VoidInvoice": _void_invoice,
}
"""By operation id; a route that is missing here fails the tests of every route."""
