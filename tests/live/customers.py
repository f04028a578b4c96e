"""The people of the live suite at the public API: the operator, finance, and customers with their seats."""

from __future__ import annotations

import itertools
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Self

import httpx

from infra.kit import clock
from switch.sip.dialog import Address
from switch.sip.phone import Phone
from switch.sip.policy import Policy
from tests.live.system import LiveSystem
from tests.live.waiting import until

HTTP_LIMIT_SECONDS = 15.0
OPENING_LIMIT_SECONDS = 20.0
RECORD_LIMIT_SECONDS = 15.0
CHARGE_LIMIT_SECONDS = 30.0
REGISTRATION_SECONDS = 300
PATIENT_GRACE_DAYS = 300
UNAUTHORIZED = 401

_numbers = itertools.count(1)


class Desk:
    """One signed-in caller of the API; a token that has run out is fetched anew."""

    def __init__(self, http: httpx.AsyncClient, client: tuple[str, str]) -> None:
        self._http = http
        self._client = client
        self._token: str | None = None

    async def get(self, path: str, **params: Any) -> Any:
        """A JSON answer."""
        return (await self._send("GET", path, params=params)).json()

    async def post(self, path: str, **body: Any) -> Any:
        """A JSON answer to a JSON body."""
        return (await self._send("POST", path, json=body)).json()

    async def put(self, path: str, **body: Any) -> Any:
        """A JSON answer to a JSON body."""
        return (await self._send("PUT", path, json=body)).json()

    async def delete(self, path: str) -> None:
        """Nothing comes back."""
        await self._send("DELETE", path)

    async def upload(self, path: str, content: bytes, media_type: str, **params: Any) -> Any:
        """A JSON answer to a file."""
        headers = {"content-type": media_type}
        return (await self._send("POST", path, content=content, params=params, headers=headers)).json()

    @asynccontextmanager
    async def stream(self, path: str) -> AsyncGenerator[httpx.Response]:
        """An answer that goes on, from its beginning."""
        headers = {"authorization": f"Bearer {await self._signed_in()}"}
        async with self._http.stream("GET", path, headers=headers, timeout=None) as answer:
            assert answer.is_success, f"GET {path} answered {answer.status_code}"
            yield answer

    async def items(self, path: str, **params: Any) -> list[Any]:
        """Every item of a list, page after page."""
        found: list[Any] = []
        after: dict[str, str] = {}
        while True:
            page = await self.get(path, limit=200, **params, **after)
            found += page["items"]
            if page["next"] is None:
                return found
            after = {"after": page["next"]}

    async def _send(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        answer = await self._try(method, path, **arguments)
        if answer.status_code == UNAUTHORIZED:
            self._token = None
            answer = await self._try(method, path, **arguments)
        assert answer.is_success, f"{method} {path} answered {answer.status_code}: {answer.text[:800]}"
        return answer

    async def _try(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        headers = {"authorization": f"Bearer {await self._signed_in()}"} | arguments.pop("headers", {})
        return await self._http.request(method, path, headers=headers, **arguments)

    async def _signed_in(self) -> str:
        if self._token is None:
            form = {"grant_type": "client_credentials"}
            answer = await self._http.post("/oauth/token", data=form, auth=self._client)
            self._token = str(answer.raise_for_status().json()["access_token"])
        return self._token


@dataclass(slots=True)
class LiveSeat:
    """A seat that is open, with the password of its phone."""

    customer: Customer
    seat_id: str
    extension: str
    password: str

    async def server(self) -> Address:
        """Where its phone registers over UDP: the node that serves the tenant now."""
        sip = (await self.customer.office.operator.get(f"/v1/seats/{self.seat_id}"))["sip"]
        plain = (server for server in sip["servers"] if server["transport"] == "udp")
        serving = next(server for server in plain if server["role"] == "serving")
        return serving["host"], serving["port"]

    async def phone(self, *, password: str | None = None, policy: Policy | None = None) -> Phone:
        """A phone set up for this seat; closed with the test."""
        return self.customer.office.keep(
            Phone(
                self.extension,
                self.customer.domain,
                server=await self.server(),
                password=password or self.password,
                policy=policy,
            )
        )

    async def registered(self, *, policy: Policy | None = None) -> Phone:
        """A phone of this seat that is registered."""
        phone = await self.phone(policy=policy)
        status = await phone.register(expires_seconds=REGISTRATION_SECONDS)
        assert status == 200, f"{phone!r} was answered {status}"
        return phone

    async def reissue(self) -> str:
        """New credentials; returns the new password, which this seat's phones use from now on."""
        self.password = await self.customer.password_of(self.seat_id)
        return self.password


@dataclass(slots=True)
class Customer:
    """A tenant that has rented seats and paid for them."""

    office: Office
    tenant_id: str
    domain: str
    contract_id: str
    number: str
    seats: list[LiveSeat] = field(default_factory=list[LiveSeat])

    async def password_of(self, seat_id: str) -> str:
        """Have a seat's credentials made anew."""
        handed_out = await self.office.operator.post(f"/v1/seats/{seat_id}/credentials")
        return str(handed_out["password"])

    async def serving_node(self) -> str:
        """The name of the node that serves this tenant now."""
        address = await self.seats[0].server()
        return next(name for name, node in self.office.system.nodes.items() if node.sip == address)

    async def standing(self) -> str:
        """As the API shows it."""
        return str((await self.office.operator.get(f"/v1/tenants/{self.tenant_id}"))["standing"])

    async def may(self, **changes: Any) -> None:
        """Have the operator change what its calls may do."""
        await self.office.operator.put(f"/v1/tenants/{self.tenant_id}/call-policy", **changes)

    async def refusals(self, count: int) -> list[str]:
        """The reasons of its refused calls, the earliest first, as soon as there are `count` of them."""

        async def look() -> list[Mapping[str, Any]] | None:
            found = await self.office.operator.items("/v1/calls", tenant_id=self.tenant_id, refused="true")
            return found if len(found) >= count else None

        found = await until(look, f"{count} refused calls of {self.domain}", limit_seconds=RECORD_LIMIT_SECONDS)
        assert len(found) == count, f"{len(found)} refused calls instead of {count}: {found}"
        return [leg["refusal"] for leg in reversed(found)]

    async def legs(self, count: int) -> list[Mapping[str, Any]]:
        """The tenant's call legs, the earliest begun first, as soon as there are `count` of them."""

        async def look() -> list[Mapping[str, Any]] | None:
            found = await self.office.operator.items("/v1/calls", tenant_id=self.tenant_id)
            return found if len(found) >= count else None

        found = await until(look, f"{count} legs of {self.domain}", limit_seconds=RECORD_LIMIT_SECONDS)
        assert len(found) == count, f"{len(found)} legs instead of {count}: {found}"
        # Two attempts may begin within one tick of the node's clock; the one that failed ended first.
        return sorted(found, key=lambda leg: (leg["started_at"], leg["leg"] != "caller", leg["ended_at"]))

    async def legs_by_gateway(self, count: int) -> list[tuple[str, str, bool]]:
        """Gateway, hang-up cause and whether it was answered, of each leg of a carrier's among `count` legs."""
        legs = [leg for leg in await self.legs(count) if leg["leg"] == "gateway"]
        return [(leg["gateway"], leg["hangup_cause"], leg["answered_at"] is not None) for leg in legs]

    async def charges(self, count: int) -> list[Mapping[str, Any]]:
        """What the tenant's calls cost, as soon as there are `count` charges; more than that is a failure."""

        async def look() -> list[Mapping[str, Any]] | None:
            found = await self.charges_now()
            return found if len(found) >= count else None

        found = await until(look, f"{count} charges of {self.domain}", limit_seconds=CHARGE_LIMIT_SECONDS)
        assert len(found) == count, f"{len(found)} charges instead of {count}: {found}"
        return found

    async def charges_now(self) -> list[Mapping[str, Any]]:
        """The charges that stand now."""
        return await self.office.operator.items("/v1/charges", tenant_id=self.tenant_id)

    async def suspend(self) -> None:
        """Have the operator suspend it; it acts with the answer."""
        await self.office.operator.post(f"/v1/tenants/{self.tenant_id}/suspension", note="for a test")

    async def restore(self) -> None:
        """Have the operator lift its suspension."""
        await self.office.operator.post(f"/v1/tenants/{self.tenant_id}/restoration")

        async def is_active() -> bool:
            return await self.standing() == "active"

        await until(is_active, f"{self.domain} is active", limit_seconds=OPENING_LIMIT_SECONDS)

    async def canary(self, expected: Sequence[str]) -> list[Mapping[str, Any]]:
        """The latest canary checks of this tenant, one a node, as soon as they show these expectations (sorted)."""

        async def look() -> list[Mapping[str, Any]] | None:
            checks = await self.office.operator.items("/v1/canary-checks", tenant_id=self.tenant_id)
            newest = max((check["generation"] for check in checks), default=0)
            latest = [check for check in checks if check["generation"] == newest]
            return latest if sorted(check["expected"] for check in latest) == sorted(expected) else None

        return await until(look, f"canary checks {expected} of {self.domain}", limit_seconds=OPENING_LIMIT_SECONDS)

    async def pay_everything(self) -> None:
        """Pay what is open."""
        invoices = await self.office.finance.items("/v1/invoices", tenant_id=self.tenant_id)
        for invoice in invoices:
            if invoice["open"] != "0.00" and invoice["voided_at"] is None:
                await self.office.pay(self.tenant_id, invoice["open"])


@dataclass(slots=True)
class Office:
    """The operator's and finance's desks over one running system, and the phones of the test."""

    system: LiveSystem
    operator: Desk
    finance: Desk
    _phones: list[Phone] = field(default_factory=list[Phone])

    @classmethod
    @asynccontextmanager
    async def open(cls, system: LiveSystem) -> AsyncGenerator[Self]:
        """Sign in; at the end every phone is closed."""
        async with httpx.AsyncClient(base_url=system.url, trust_env=False, timeout=HTTP_LIMIT_SECONDS) as http:
            office = cls(system, Desk(http, system.operator), Desk(http, system.finance))
            try:
                yield office
            finally:
                for phone in office._phones:
                    await phone.close()

    def keep(self, phone: Phone) -> Phone:
        """Close this phone with the test."""
        self._phones.append(phone)
        return phone

    async def customer(self, *, seats: int = 2, grace_days: int = PATIENT_GRACE_DAYS) -> Customer:
        """A new tenant that has signed, ordered for today and paid: its seats are open.

        Its public number, which calls out show, rings at the first seat. `grace_days`: how long it may be overdue; by
        default longer than any test travels.
        """
        index = next(_numbers)
        domain = f"customer-{index}.example.com"
        tenant = await self.operator.post("/v1/tenants", name=f"Customer {index}", sip_domain=domain)
        tenant_id = tenant["tenant_id"]
        today = clock.today().isoformat()
        contract = await self.operator.post(
            "/v1/contracts",
            tenant_id=tenant_id,
            title="Seats",
            preset="hosted",
            terms={"grace_days": grace_days},
            opens_on=today,
        )
        order = await self.operator.post(
            "/v1/seat-orders",
            tenant_id=tenant_id,
            contract_id=contract["contract_id"],
            kind="add",
            quantity=seats,
            effective_on=today,
        )
        customer = Customer(self, tenant_id, domain, contract["contract_id"], f"+8621500{index:05d}")
        await customer.pay_everything()

        async def open_seats() -> list[Any] | None:
            found = await self.operator.items("/v1/seats", tenant_id=tenant_id, state="open")
            return found if len(found) == seats else None

        opened = await until(open_seats, f"the order {order['order_id']} opens", limit_seconds=OPENING_LIMIT_SECONDS)
        for seat in sorted(opened, key=lambda each: each["number"]):
            password = await customer.password_of(seat["seat_id"])
            customer.seats.append(LiveSeat(customer, seat["seat_id"], seat["extension"], password))
        await self.operator.post(
            "/v1/phone-numbers",
            tenant_id=tenant_id,
            number=customer.number,
            extension=customer.seats[0].extension,
            is_caller_number=True,
        )
        return customer

    async def has_reconciled(self, month: str) -> bool:
        """Whether a month's hours are all counted; finance signs for what nodes that were killed could not write."""
        hours = await self.finance.items("/v1/completeness", month=month)
        for each in hours:
            if each["state"] == "incomplete":
                path = f"/v1/completeness/{each['node']}/{each['hour']}/sign-off"
                await self.finance.post(path, reason="the node was killed")
        return all(each["state"] in ("complete", "signed_off") for each in hours)

    async def pay(self, tenant_id: str, amount: str) -> None:
        """Record a bank transfer of today."""
        await self.finance.post(
            "/v1/payments",
            tenant_id=tenant_id,
            amount=amount,
            value_on=clock.today().isoformat(),
            channel="bank_transfer",
            payer="Customer",
            reference=f"live-{next(_numbers)}",
        )
