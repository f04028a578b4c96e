"""The story: two companies rent seats, call, are billed; one does not pay, is cut off, pays and is back; a node dies.

Nothing is staged: every step goes through the public API, real SIP and the jobs of the worker; `expect` stops the
story where the system does something else than it says.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from infra.app import administration
from infra.app.demo.callers import Caller
from infra.app.demo.companies import Company
from infra.app.demo.narrator import Narrator, until
from infra.app.demo.processes import Started
from infra.app.demo.world import LOOPBACK, World, free_ports, pause
from infra.app.installation import Installation
from infra.kit import clock
from switch.sip.call import Call
from switch.sip.carrier import Carrier
from switch.sip.policy import answers

NODES = ("north", "south")
RTP_PORTS_A_NODE = 200
FIRST_RTP_PORT = 20_000
OUTSIDE_CALLS = 80
INSIDE_CALLS = 24
INCOMING_CALLS = 6
CALLS_AT_ONCE = 12
TALK_SECONDS = 0.6
DECK_COLUMNS = (
    "prefix,name,connect_fee,rate_per_minute,first_increment,next_increment,valid_from,valid_to,days,from_time,to_time"
)
DECK_ROWS = (
    "86,China fixed,,0.0900,60,60,,,,,",
    "861,China mobile,,0.1200,60,6,,,,,",
    "8610,Beijing,,0.0800,60,60,,,,,",
    "852,Hong Kong,0.0500,0.3500,30,6,,,,,",
    "1,North America,,0.2800,30,6,,,,,",
    "44,United Kingdom,,0.3100,30,6,,,,,",
)
DESTINATIONS = ("13800138000", "13912345678", "01088886666", "0085223456789", "02161234567")


@dataclass(frozen=True, slots=True)
class SignIn:
    """A client of the demo that a spectator may use afterwards."""

    role: str
    client_id: str
    client_secret: str


class Story:
    """Tells it once."""

    def __init__(self, world: World, narrator: Narrator) -> None:
        self.world = world
        self.say = narrator
        self.sign_ins: list[SignIn] = []
        self.callers: list[Caller] = []
        self.companies: list[Company] = []
        self.nodes: dict[str, Started] = {}
        self.carrier = Carrier(LOOPBACK, policy=answers(after_seconds=0.05))
        self.carrier_port = 0
        self.installation: Installation | None = None

    async def tell(self) -> None:
        """Chapter by chapter."""
        opened_on = clock.today()
        installation = await self._ground(opened_on)
        operator = await self._caller(installation, "platform_operator")
        finance = await self._caller(installation, "finance")
        await self._cluster(installation, operator)
        await self._sign(operator, finance, opened_on)
        await self._open(opened_on)
        await self._call(operator, finance)
        first, second = self.companies
        await self._month_end(finance, opened_on)
        await self._overdue(second, operator, opened_on)
        await self._pay(second, operator)
        await self._node_dies(first, operator)

    def sign_in(self) -> list[str]:
        """How to look around afterwards."""
        lines = [
            f"The system is running at {self.world.url} (documentation: {self.world.url}/schema).",
            "Get a token: POST /oauth/token, grant_type=client_credentials, HTTP Basic with",
        ]
        lines += [f"  {each.client_id}  {each.client_secret}  {each.role}" for each in self.sign_ins]
        return [*lines, "End it with: make down"]

    async def close(self) -> None:
        """Switch off what the story itself holds."""
        for company in self.companies:
            await company.close()
        await self.carrier.close()
        for caller in self.callers:
            await caller.close()

    # --- chapters ---

    async def _ground(self, opened_on: date) -> Installation:
        self.say.step("A database, the API, a worker and the switch supervisor start")
        installation = self.world.open()
        self.installation = installation
        self._travel(opened_on - timedelta(days=6), hour=10)
        await self.world.start_services()
        self.say.tell(f"the API answers at {self.world.url}")
        return installation

    async def _caller(self, installation: Installation, role: str) -> Caller:
        client_id, secret = await administration.create_client(installation, f"demo {role}", role, None)
        self.sign_ins.append(SignIn(role, client_id, secret))
        caller = Caller(self.world.url, client_id, secret)
        self.callers.append(caller)
        await caller.sign_in()
        return caller

    async def _tenant_sign_in(self, company: Company) -> None:
        made = await company.operator.post(
            "/v1/clients", name=f"demo {company.domain}", role="tenant_admin", tenant_id=company.tenant_id
        )
        self.sign_ins.append(SignIn(f"tenant_admin of {company.name}", made["client_id"], made["client_secret"]))

    async def _cluster(self, installation: Installation, operator: Caller) -> None:
        kind = "simulated nodes" if self.world.switch == "simulator" else "FreeSWITCH nodes"
        self.say.step(f"A carrier and two {kind} join the cluster")
        await self.carrier.start()
        host, self.carrier_port = self.carrier.address
        await operator.post("/v1/gateways", name="carrier", host=host, port=self.carrier_port)
        for number, name in enumerate(NODES):
            ports = free_ports(3)
            rtp = FIRST_RTP_PORT + number * RTP_PORTS_A_NODE
            await operator.post(
                "/v1/nodes",
                name=name,
                sip_host=LOOPBACK,
                sip_port=ports[0],
                external_sip_port=ports[1],
                esl_host=LOOPBACK,
                esl_port=ports[2],
                rtp_start_port=rtp,
                rtp_end_port=rtp + RTP_PORTS_A_NODE - 1,
                capacity_seats=500,
            )
            self.nodes[name] = await self.world.start_node(name, installation)

        async def active() -> bool:
            for node in self.nodes.values():
                self.world.register.check(node)
            return all(node["state"] == "active" for node in await operator.all("/v1/nodes"))

        seconds = await until(active, what="both nodes active", timeout_seconds=60, pause=pause)
        self.say.tell(f"✓ {', '.join(NODES)} are active after {seconds:.1f} s")

    async def _sign(self, operator: Caller, finance: Caller, opened_on: date) -> None:
        self.say.step("Two companies sign their leases and order twenty seats")
        plans = (
            ("安心保险经纪有限公司", "anxin.example.com", "hosted", 12, "+862160000001"),
            ("远航物流服务有限公司", "yuanhang.example.com", "onsite", 8, "+862160000002"),
        )
        deck = await finance.upload(
            "/v1/rate-decks", "\n".join((DECK_COLUMNS, *DECK_ROWS)).encode(), name="standard", default="true"
        )
        policy = await operator.put("/v1/call-policy", countries=["CN", "HK"], calls_per_second=100, calls_per_seat=10)
        countries = " and ".join(policy["countries"])
        self.say.tell(f"rate deck {deck['name']}: {deck['row_count']} prefixes; calls may go to {countries}")
        for name, domain, preset, seats, number in plans:
            company = Company(name, domain, preset, seats, number, operator, finance)
            self.companies.append(company)
            await company.sign(opens_on=opened_on.isoformat(), title=f"{seats} seats")
            await operator.post(
                "/v1/phone-numbers",
                tenant_id=company.tenant_id,
                number=number,
                extension="1001",
                is_caller_number=True,
            )
            await self._tenant_sign_in(company)
            if preset == "onsite":
                papers = await company.hand_in_papers()
                self.say.tell(f"{name}: {papers} papers are handed in and accepted; without them nothing opens on site")
            order = await company.order(effective_on=opened_on.isoformat())
            self.say.tell(f"{name} ({preset}): {seats} seats for {opened_on}, order {order['state']}")

    async def _open(self, opened_on: date) -> None:
        self._travel(opened_on - timedelta(days=1), hour=11)
        self.say.step("The opening invoices are there; both are paid by bank transfer")
        for company in self.companies:

            async def invoiced(company: Company = company) -> bool:
                return bool(await company.invoices("opening"))

            await until(invoiced, what="the opening invoice", timeout_seconds=20, pause=pause)
            invoice = (await company.invoices("opening"))[0]
            await company.pay(invoice["total"], on=clock.today().isoformat(), reference=f"open {company.domain}")
            self.say.tell(f"{company.name}: {invoice['number']} over {invoice['total']} CNY is paid")
        clock.set_offset_seconds(0)
        self.say.step("The opening day: seats open, softphones register")
        for company in self.companies:
            await company.wait_open()
            await company.issue_credentials()
            company.expect_open()
            await company.plug_in_phones()
            statuses = await company.register()
            self.say.expect(set(statuses) == {200}, f"{len(statuses)} phones of {company.name} are registered")
        self.say.fact("seats rented and registered", str(sum(company.seat_count for company in self.companies)))

    async def _call(self, operator: Caller, finance: Caller) -> None:
        self.say.step(f"{OUTSIDE_CALLS} calls out, {INSIDE_CALLS} between seats, {INCOMING_CALLS} in from outside")
        limit = asyncio.Semaphore(CALLS_AT_ONCE)
        answered: list[bool] = []

        async def talk(begin: Any) -> None:
            async with limit:
                call: Call = await begin()
                answered.append(call.answered)
                if call.answered:
                    await asyncio.sleep(TALK_SECONDS)
                    await call.hangup()

        async with asyncio.TaskGroup() as group:
            for number in range(OUTSIDE_CALLS):
                company = self.companies[number % 2]
                phone = company.phones[number // 2 % company.seat_count]
                group.create_task(talk(lambda phone=phone, number=number: phone.call(DESTINATIONS[number % 5])))
            for number in range(INSIDE_CALLS):
                company = self.companies[number % 2]
                callee = company.phones[(number // 2 + 1) % company.seat_count].user
                phone = company.phones[number // 2 % company.seat_count]
                group.create_task(talk(lambda phone=phone, callee=callee: phone.call(callee)))
            for number in range(INCOMING_CALLS):
                company = self.companies[number % 2]
                node = await self._external_address(company, operator)
                group.create_task(
                    talk(
                        lambda company=company, node=node: self.carrier.call(
                            company.caller_number.removeprefix("+"), switch=node, caller_number="8613700000000"
                        )
                    )
                )
        total = OUTSIDE_CALLS + INSIDE_CALLS + INCOMING_CALLS
        self.say.expect(sum(answered) == total, f"all {total} calls were answered")

        async def charged() -> bool:
            charges = [await finance.all("/v1/charges", tenant_id=each.tenant_id) for each in self.companies]
            return sum(len(each) for each in charges) >= OUTSIDE_CALLS

        seconds = await until(charged, what="every call out is charged", timeout_seconds=40, pause=pause)
        records = await operator.all("/v1/calls")
        charges = [
            charge for each in self.companies for charge in await finance.all("/v1/charges", tenant_id=each.tenant_id)
        ]
        self.say.expect(
            len(charges) == OUTSIDE_CALLS, f"{len(records)} call records, {len(charges)} charges, each exactly once"
        )
        self.say.tell(f"the last charge was there {seconds:.1f} s after the last call")
        self.say.fact("call records / charges", f"{len(records)} / {len(charges)}")
        amount = sum((Decimal(charge["amount"]) for charge in charges), Decimal(0))
        self.say.fact("calls charged", f"{amount} CNY")

    async def _external_address(self, company: Company, operator: Caller) -> tuple[str, int]:
        host, port = await company.server()
        for node in await operator.all("/v1/nodes"):
            if (node["sip_host"], node["sip_port"]) == (host, port):
                return node["sip_host"], node["external_sip_port"]
        return host, port

    async def _month_end(self, finance: Caller, opened_on: date) -> None:
        following = (opened_on.replace(day=1) + timedelta(days=32)).replace(day=1)
        self._travel(following, hour=0, minute=3)
        self.say.step("The month ends: rent of the new month in advance, calls of the old one in arrears")
        await self._all_counted(finance, opened_on)
        self._travel(following, hour=0, minute=5)  # a month that waited is looked at every minute
        for company in self.companies:

            async def invoiced(company: Company = company) -> bool:
                return bool(await company.invoices("monthly"))

            await until(invoiced, what="the monthly invoice", timeout_seconds=40, pause=pause)
            invoice = await finance.get(f"/v1/invoices/{(await company.invoices('monthly'))[0]['invoice_id']}")
            path = self.world.directory / f"invoice-{company.domain.partition('.')[0]}-{invoice['number']}.pdf"
            path.write_bytes(await finance.get_bytes(f"/v1/invoices/{invoice['invoice_id']}/pdf"))
            lines = ", ".join(f"{line['kind']} {line['amount']}" for line in invoice["lines"])
            self.say.tell(f"{company.name}: {invoice['number']} over {invoice['total']} CNY ({lines})")
            self.say.file(f"invoice of {company.name}", path)
        first = self.companies[0]
        await first.pay((await first.balance())["owed"], on=clock.today().isoformat(), reference="month anxin")
        self.say.tell(f"{first.name} pays at once; {self.companies[1].name} does not")

    async def _all_counted(self, finance: Caller, month: date) -> None:
        """No invoice goes out before every node has been counted to the month's end and every record is there."""

        async def counted() -> bool:
            hours = await finance.all("/v1/completeness", month=f"{month:%Y-%m}")
            return all(hour["state"] == "complete" for hour in hours)

        await until(counted, what="every call of the month has its record", timeout_seconds=40, pause=pause)
        hours = await finance.all("/v1/completeness", month=f"{month:%Y-%m}")
        legs = sum(hour["started"] for hour in hours)
        self.say.tell(f"✓ the nodes were counted to the month's end: each of their {legs} call legs is accounted for")

    async def _overdue(self, company: Company, operator: Caller, opened_on: date) -> None:
        invoice = (await company.invoices("monthly"))[0]
        suspends_on = date.fromisoformat(invoice["suspends_on"])
        self._travel(suspends_on - timedelta(days=1), hour=23, minute=59)
        self.say.step(f"{company.name} is overdue; its tolerance ends at midnight. One of its people is on the phone")
        self.say.expect(set(await company.register()) == {200}, "its phones still register")
        live = await company.call(0, DESTINATIONS[0])
        emergency = await company.call(1, "110")
        self.say.expect(live.is_live and emergency.is_live, "a call out and an emergency call are running")
        self._travel(suspends_on, hour=0, minute=0)
        self.say.step("Midnight")
        await company.wait_standing("suspended", 30)
        await live.wait_ended(20)
        self.say.expect(live.ended_by == "them", "the running call was ended")
        self.say.expect(emergency.is_live, "the emergency call goes on")
        await emergency.hangup()
        self.say.expect(set(await company.register()) == {403}, "every registration is refused (403)")
        refused = await company.call(2, DESTINATIONS[0])
        self.say.expect(not refused.answered, f"a call is refused before your eyes (SIP {refused.status})")
        helped = await company.call(2, "120")
        self.say.expect(helped.answered, "the emergency number 120 is reached all the same")
        await helped.hangup()
        other = await self.companies[0].call(0, DESTINATIONS[1])
        self.say.expect(other.answered, f"{self.companies[0].name} calls as before")
        await other.hangup()
        await self._canary(company, operator, "refused", "seconds until a suspension held")

    async def _pay(self, company: Company, operator: Caller) -> None:
        self.say.step(f"{company.name} pays")
        owed = (await company.balance())["owed"]
        await company.pay(owed, on=clock.today().isoformat(), reference="month yuanhang")
        await company.wait_standing("active", 10)
        self.say.expect(set(await company.register()) == {200}, f"{owed} CNY later its phones register again")
        call = await company.call(0, DESTINATIONS[2])
        self.say.expect(call.answered, "and it calls again")
        await call.hangup()
        await self._canary(company, operator, "accepted", "seconds until a restoration held")

    async def _canary(self, company: Company, operator: Caller, expected: str, name: str) -> None:
        async def proven() -> bool:
            checks = await operator.all("/v1/canary-checks", tenant_id=company.tenant_id)
            return any(check["expected"] == expected for check in checks)

        await until(proven, what=f"the canary's proof ({expected})", timeout_seconds=30, pause=pause)
        checks = await operator.all("/v1/canary-checks", tenant_id=company.tenant_id)
        latest = max(check["generation"] for check in checks)
        mine = [check for check in checks if check["generation"] == latest]
        self.say.expect(not any(check["is_alarm"] for check in mine), "the canary's own registrations agree, no alarm")
        slowest = max(check["seconds_to_effect"] for check in mine)
        self.say.fact(name, f"{slowest:.2f} s")

    async def _node_dies(self, company: Company, operator: Caller) -> None:
        host, port = await company.server()
        nodes = {(node["sip_host"], node["sip_port"]): node["name"] for node in await operator.all("/v1/nodes")}
        name = nodes[host, port]
        self.say.step(f"The node {name} dies (kill -9); {company.name} lives there")
        self.world.register.kill(self.nodes.pop(name))

        async def moved() -> bool:
            return await company.server() != (host, port)

        seconds = await until(moved, what="the tenant moves to the spare", timeout_seconds=60, pause=pause)
        self.say.tell(f"✓ {seconds:.1f} s later {company.name} lives on {nodes[await company.server()]}")
        for phone in company.phones:
            phone.vanish()
        await company.plug_in_phones()
        self.say.expect(set(await company.register()) == {200}, "its phones register there")
        call = await company.call(0, DESTINATIONS[0])
        self.say.expect(call.answered, "and call")
        await call.hangup()
        self.say.fact("seconds from node death to the spare", f"{seconds:.1f}")
        self.say.file("logs", self.world.directory / "logs")

    def _travel(self, day: date, *, hour: int, minute: int = 0) -> None:
        self.world.travel_to(datetime(day.year, day.month, day.day, hour, minute, tzinfo=clock.LOCAL_ZONE))
