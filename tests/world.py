"""The customer's world in one process: tenants rent, call, pay and fall behind while the days go by.

Everything a journey does goes through the public API or, for calls, through the endpoints that nodes ask; background
work is what the schedule starts. The clock only moves when a journey says so.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any
from xml.etree import ElementTree

import httpx
from sqlalchemy import select

import infra.app.worker
from infra.app import schedule
from infra.kit import clock
from infra.kit.database import Scope
from infra.kit.sealing import Seal
from switch.completeness.hours import SETTLE
from switch.models import Node
from tenancy import tokens
from tests import papers
from tests.api import Api
from tests.jobs import failed_tasks, run_jobs
from tests.journeys.desk import Desk, InvoiceSeen
from tests.switch.counts import count_nodes
from tests.switch.exchange import INVITE, REGISTER, call_record, encoded, lookup_form, recorded_form

ALL_TASKS = infra.app.worker.TASK_MODULES
"""Imported with the worker, so that every task of the schedule is registered."""

BEGINS = "2026-05-11 09:00"
SECONDS_OF_WORK = timedelta(seconds=6)
"""Longer than the schedule's shortest time between two starts of a job."""

PRICES = (
    "prefix,name,connect_fee,rate_per_minute,first_increment,next_increment\n"
    "86,China,0.1000,0.3000,60,6\n861,Mobile,,0.1234,1,1\n"
)
"""Landlines with a connect fee by the minute, mobiles by the second."""

MOBILE, LANDLINE = "13800138000", "02161234567"
FIRST_EXTENSION = 1001
_numbers = itertools.count(1)


def moment(text: str) -> datetime:
    """A local moment such as `2026-07-16 00:00`."""
    return datetime.fromisoformat(text).replace(tzinfo=clock.LOCAL_ZONE)


@dataclass(frozen=True)
class Answered:
    """The switch puts it through; `dial_string` is what the node is told to dial (empty for a registration)."""

    dial_string: str = field(default="", compare=False)

    @property
    def variables(self) -> dict[str, str]:
        """The variables of the leg that the node makes."""
        inside, _, _ = self.dial_string.removeprefix("{").partition("}")
        return dict(pair.split("=", 1) for pair in inside.split(",") if pair)


@dataclass(frozen=True)
class Refused:
    """The switch says no: the reason of the dialplan, or `not_found` where the directory knows no such account."""

    reason: str


Outcome = Answered | Refused
NOT_FOUND = Refused("not_found")


class World:
    """Two nodes, a carrier, an operator and finance; tenants come as the journey has them."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.node_at: dict[tuple[str, int], str] = {}
        """Node names by SIP address and port."""
        self._secrets: dict[str, str] = {}
        self._operator: Desk | None = None
        self._finance: Desk | None = None

    @classmethod
    async def open(cls, api: Api, *, begins: str = BEGINS) -> World:
        """An installation as it is on its first morning."""
        clock.travel_to(moment(begins))
        world = cls(api)
        world._operator = await world._first_operator()
        world._finance = await world.desk("finance")
        for name in ("node-1", "node-2"):
            await world._add_node(name)
        await world.operator.does("/v1/gateways", {"name": "carrier", "host": "192.0.2.10"})
        await world.work()
        return world

    @property
    def operator(self) -> Desk:
        """The platform's operator."""
        assert self._operator is not None
        return self._operator

    @property
    def finance(self) -> Desk:
        """The operator's finance."""
        assert self._finance is not None
        return self._finance

    async def desk(self, role: str, tenant_id: str | None = None) -> Desk:
        """A new client with this role, made by the operator."""
        made = await self.operator.does("/v1/clients", {"name": role, "role": role, "tenant_id": tenant_id})
        return Desk(self.api.http, made["client_id"], made["client_secret"])

    async def travel_to(self, when: str, *, day_by_day: bool = False) -> None:
        """Live until a local moment, with all that its schedule brings.

        Of the days between, the first of every month is lived, and that of arrival from its midnight on; `day_by_day`
        lives every one. On the first the month's invoices go out a little after midnight.
        """
        target = moment(when)
        assert target > clock.now(), f"{when} is past; nobody lives backwards"
        midnight = clock.local_midnight(clock.today() + timedelta(days=1))
        if midnight > target:
            clock.travel_to(target)
            await self._do_what_is_due()
        while midnight <= target:
            following = clock.local_midnight(clock.local_date(midnight) + timedelta(days=1))
            if day_by_day or midnight.day == 1 or following > target:
                clock.travel_to(midnight)
                await self._do_what_is_due()
            if midnight.day == 1 and midnight + SETTLE <= target:
                clock.travel_to(midnight + SETTLE)
                await self._do_what_is_due()
            midnight = following
        clock.travel_to(target)

    async def work(self) -> None:
        """Some seconds go by: the schedule starts what it owes, and every job that is due is done; none may fail."""
        clock.travel_to(clock.now() + SECONDS_OF_WORK)
        await self._do_what_is_due()

    async def _do_what_is_due(self) -> None:
        await count_nodes(self.api.database)
        async with self.api.database.transaction(Scope.platform()) as session:
            await schedule.start_due(session, clock.now())
        assert self.api.settings.database_url is not None
        await run_jobs(self.api.settings.database_url)
        failed = await failed_tasks(self.api.settings.database_url)
        assert not failed, f"at {clock.now().astimezone(clock.LOCAL_ZONE)} these jobs failed: {failed}"

    async def signs(
        self,
        *,
        opens: str,
        seats: int,
        preset: str = "hosted",
        terms: dict[str, Any] | None = None,
        ends: str | None = None,
    ) -> Customer:
        """A new tenant signs a contract and orders the seats that open with it; nothing is paid."""
        number = next(_numbers)
        domain = f"tenant-{number}.example.com"
        tenant = await self.operator.does("/v1/tenants", {"name": f"安心保险 {number}", "sip_domain": domain})
        tenant_id = str(tenant["tenant_id"])
        lease = {"tenant_id": tenant_id, "title": "坐席租赁合同", "preset": preset, "opens_on": opens}
        if ends is not None:
            lease["ends_on"] = ends
        contract = await self.operator.does("/v1/contracts", lease | {"terms": terms or {}})
        if preset == "onsite":
            await papers.hand_in_all(self.operator.send, tenant_id)
        shown = {"tenant_id": tenant_id, "number": f"+8621{60000000 + number}", "is_caller_number": True}
        await self.operator.does("/v1/phone-numbers", shown)
        admin = await self.desk("tenant_admin", tenant_id)
        customer = Customer(self, tenant_id, domain, str(contract["contract_id"]), admin)
        await customer.orders(seats, opens)
        await self.work()
        return customer

    async def tenant(
        self, *, opened: str, seats: int, preset: str = "hosted", terms: dict[str, Any] | None = None
    ) -> Customer:
        """A tenant that has signed, paid its opening invoice the day before, and is open: it is 00:00 of that day."""
        customer = await self.signs(opens=opened, seats=seats, preset=preset, terms=terms)
        if clock.today() < date.fromisoformat(opened):
            await self.travel_to(f"{date.fromisoformat(opened) - timedelta(days=1)} 09:00")
        await customer.pays_everything()
        if clock.today() < date.fromisoformat(opened):
            await self.travel_to(f"{opened} 00:00")
        else:
            await self.work()
        return customer

    async def has_prices(self, csv: str = PRICES) -> None:
        """The operator uploads its rate deck."""
        answer = await self.operator.send(
            "POST",
            "/v1/rate-decks?name=2026&default=true",
            content=csv.encode(),
            headers={"content-type": "text/csv"},
        )
        assert answer.status_code == 201, answer.text

    async def node_asks(self, node: str, section: str, form: dict[str, str]) -> ElementTree.Element:
        """The document that a node gets to its question."""
        answer = await self.node_posts(node, f"/switch/{section}", encoded(form))
        assert answer.status_code == 200, answer.text
        return ElementTree.fromstring(answer.text)  # noqa: S314 - our own document

    async def node_posts(
        self, node: str, path: str, body: bytes, content_type: str = "application/x-www-form-urlencoded"
    ) -> httpx.Response:
        """A POST of a node with its name and secret, whatever its answer."""
        headers = {"content-type": content_type}
        return await self.api.http.post(path, content=body, auth=(node, self._secrets[node]), headers=headers)

    async def node_reports(self, record: dict[str, Any] | bytes, node: str = "node-1") -> None:
        """A node posts a call record, and it is taken."""
        body = record if isinstance(record, bytes) else json.dumps(record).encode()
        answer = await self.node_posts(node, "/switch/cdr", body, "application/json")
        assert answer.status_code == 200, answer.text

    async def _first_operator(self) -> Desk:
        """The set-up of an installation makes the first client; all others come through the API."""
        async with self.api.database.transaction(Scope.platform()) as session:
            client, secret = await tokens.create_client(
                session, name="operator", role="platform_operator", tenant_id=None
            )
        return Desk(self.api.http, client.client_id, secret)

    async def _add_node(self, name: str) -> None:
        """A node that waits to be started: the switch's endpoints serve it, and there is nobody yet to command."""
        port = 22_000 + 10 * next(_numbers)
        addresses = {"sip_host": "127.0.0.1", "sip_port": port, "external_sip_port": port + 1}
        await self.operator.does(
            "/v1/nodes",
            {"name": name, "esl_host": "127.0.0.1", "esl_port": port + 2, "capacity_seats": 500} | addresses,
        )
        async with self.api.database.transaction(Scope.platform()) as session:
            node = (await session.execute(select(Node).where(Node.name == name))).scalar_one()
        self._secrets[name] = Seal(self.api.settings.secret_key).open(node.sealed_secret)
        self.node_at[("127.0.0.1", port)] = name


@dataclass
class Customer:
    """A tenant with one contract; it orders and looks through its own admin, the operator's finance takes its money."""

    world: World
    tenant_id: str
    domain: str
    contract_id: str
    admin: Desk

    def seat(self, number: int) -> SeatOf:
        """Its seat 1, 2, 3 …"""
        return SeatOf(self, number)

    async def orders(self, quantity: int, on: str, *, item: str = "seat") -> dict[str, Any]:
        """Order seats or circuits for a day; must be accepted."""
        answer = await self.tries_to_order(quantity, on, item=item)
        assert answer.status_code == 201, answer.text
        return answer.json()

    async def tries_to_order(
        self, quantity: int, on: str, *, item: str = "seat", waived_by: Desk | None = None
    ) -> httpx.Response:
        """The answer to an order; `waived_by` the operator, where it waives the notice."""
        order = {"tenant_id": self.tenant_id, "contract_id": self.contract_id, "kind": "add", "item": item}
        order |= {"quantity": quantity, "effective_on": on, "waive_notice": waived_by is not None}  # pyright: ignore[reportAssignmentType]
        return await (waived_by or self.admin).post("/v1/seat-orders", order)

    async def returns(self, quantity: int, on: str, *, item: str = "seat") -> dict[str, Any]:
        """Order the return of the seats or circuits added last, at the end of a day; must be accepted."""
        order = {"contract_id": self.contract_id, "kind": "return", "item": item}
        return await self.admin.does("/v1/seat-orders", order | {"quantity": quantity, "effective_on": on})

    async def order(self, order_id: str) -> dict[str, Any]:
        """An order as it is now."""
        return await self.admin.ask(f"/v1/seat-orders/{order_id}")

    async def pays(self, amount: str, *, value_on: str | None = None) -> dict[str, Any]:
        """Money arrives and finance records it."""
        received = {"tenant_id": self.tenant_id, "amount": amount, "value_on": value_on or clock.today().isoformat()}
        return await self.world.finance.does("/v1/payments", received)

    async def pays_everything(self) -> dict[str, Any]:
        """Money arrives for all that is owed."""
        return await self.pays((await self.balance())["owed"])

    async def balance(self) -> dict[str, Any]:
        """The tenant's account as it sees it."""
        return await self.admin.ask(f"/v1/tenants/{self.tenant_id}/balance")

    async def standing(self) -> tuple[str, str | None]:
        """Standing and its reason."""
        shown = await self.admin.ask(f"/v1/tenants/{self.tenant_id}")
        return shown["standing"], shown["standing_reason"]

    async def invoices(self, reason: str | None = None) -> list[InvoiceSeen]:
        """Its invoices with their lines, in the order in which they were made."""
        listed = await self.admin.ask("/v1/invoices", limit=200, **({"reason": reason} if reason else {}))
        shown = [await self.admin.ask(f"/v1/invoices/{each['invoice_id']}") for each in reversed(listed["items"])]
        return [InvoiceSeen(each) for each in shown]

    async def invoice(self, reason: str, period: str | None = None) -> InvoiceSeen:
        """The only invoice of a reason (and period)."""
        found = [each for each in await self.invoices(reason) if period in (None, each.plain["period"])]
        assert len(found) == 1, [(each.plain["number"], each.plain["period"]) for each in found]
        return found[0]


@dataclass(frozen=True)
class SeatOf:
    """A seat, asked after at the node that serves its tenant."""

    customer: Customer
    number: int

    @property
    def extension(self) -> str:
        """What its phone signs in as."""
        return str(FIRST_EXTENSION + self.number - 1)

    async def registers(self) -> Outcome:
        """Whether its phone may register."""
        return NOT_FOUND if await self._looked_up(REGISTER) is None else Answered()

    async def accepts(self, password: str) -> bool:
        """Whether a node lets its phone in with this password (RFC 2617: MD5 of user, realm and password)."""
        account = await self._looked_up(REGISTER)
        secret = f"{self.extension}:{self.customer.domain}:{password}".encode()
        return account is not None and account["a1-hash"] == hashlib.md5(secret).hexdigest()  # noqa: S324

    async def calls(self, dialled: str) -> Outcome:
        """What becomes of a call: the directory's answer to the INVITE, then the dialplan's."""
        account = await self._looked_up(INVITE)
        if account is None:
            return NOT_FOUND
        form = recorded_form("dialplan") | {
            "Caller-Context": account["user_context"],
            "Caller-Destination-Number": dialled,
            "variable_seatline_tenant": account["seatline_tenant"],
            "variable_seatline_extension": account["seatline_extension"],
        }
        document = await self.customer.world.node_asks(await self.node(), "dialplan", form)
        actions = [(each.get("application"), each.get("data") or "") for each in document.iter("action")]
        bridged = next((data for application, data in actions if application == "bridge"), None)
        if bridged is not None:
            return Answered(bridged)
        return Refused(next(data.partition("=")[2] for _, data in actions if data.startswith("seatline_refusal=")))

    async def record(self, dialled: str, *, milliseconds: int, began: str | None = None) -> dict[str, Any]:
        """The record of the carrier's leg of a call that the switch puts through now; it just ended, or `began`
        earlier."""
        outcome = await self.calls(dialled)
        assert isinstance(outcome, Answered), outcome
        lasted = timedelta(seconds=1, milliseconds=milliseconds)
        began_at = moment(began) if began else clock.now() - lasted
        return call_record(self.customer.tenant_id, began_at=began_at, milliseconds=milliseconds, **outcome.variables)

    async def talks(self, dialled: str, *, milliseconds: int, began: str | None = None) -> None:
        """Call, talk, hang up; the node posts the record."""
        record = await self.record(dialled, milliseconds=milliseconds, began=began)
        await self.customer.world.node_reports(record, await self.node())

    async def node(self) -> str:
        """The node that serves the tenant now, as the seat's hand-out says."""
        seats = await self.customer.admin.ask("/v1/seats", item="seat", limit=200)
        seat_id = next(each["seat_id"] for each in seats["items"] if each["extension"] == self.extension)
        sip = (await self.customer.admin.ask(f"/v1/seats/{seat_id}"))["sip"]
        serving = next(each for each in sip["servers"] if each["role"] == "serving")
        return self.customer.world.node_at[(serving["host"], serving["port"])]

    async def _looked_up(self, purpose: dict[str, str]) -> dict[str, str] | None:
        form = lookup_form(self.extension, self.customer.domain) | purpose
        document = await self.customer.world.node_asks(await self.node(), "directory", form)
        if document.find(".//user") is None:
            return None
        return {str(each.get("name")): str(each.get("value")) for each in document.iter() if each.get("name")}
