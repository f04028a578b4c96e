"""The two companies of the story: their contract, their seats, and the phones on their people's desks."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import typst

from infra.app.demo.callers import Caller
from infra.app.demo.narrator import ExpectationFailed, until
from infra.app.demo.world import LOOPBACK, pause
from switch.sip.call import Call
from switch.sip.phone import Phone
from switch.sip.policy import answers

PAPERS = {
    "unified_certificate": "Business licence",
    "bank_account_permit": "Bank account permit",
    "representative_id": "Legal representative's ID",
}
OPEN_TIMEOUT_SECONDS = 20.0
ANSWER_TIMEOUT_SECONDS = 15.0


@dataclass(slots=True)
class Company:
    """A tenant with everything the story needs of it."""

    name: str
    domain: str
    preset: str
    seat_count: int
    caller_number: str
    operator: Caller
    finance: Caller
    tenant_id: str = ""
    contract_id: str = ""
    seats: list[dict[str, Any]] = field(default_factory=list)
    passwords: dict[str, str] = field(default_factory=dict)
    phones: list[Phone] = field(default_factory=list)

    async def sign(self, *, opens_on: str, title: str) -> None:
        """Create the tenant, its numbers and its contract."""
        tenant = await self.operator.post("/v1/tenants", name=self.name, sip_domain=self.domain)
        self.tenant_id = tenant["tenant_id"]
        contract = await self.operator.post(
            "/v1/contracts", tenant_id=self.tenant_id, preset=self.preset, opens_on=opens_on, title=title
        )
        self.contract_id = contract["contract_id"]

    async def hand_in_papers(self) -> int:
        """What `onsite` requires before anything opens (C19), reviewed by the operator; returns how many."""
        for kind, title in PAPERS.items():
            scan = await asyncio.to_thread(typst.compile, f"= {title}\n{self.name}".encode(), format="pdf")
            paper = await self.operator.upload(
                "/v1/papers", scan, media_type="application/pdf", kind=kind, tenant_id=self.tenant_id, file_name=title
            )
            review = f"/v1/papers/{paper['paper_id']}/review"
            await self.operator.post(review, decision="accepted", reason="agrees with the original")
        return len(PAPERS)

    async def order(self, *, effective_on: str) -> dict[str, Any]:
        """Order the opening seats."""
        order: dict[str, Any] = await self.operator.post(
            "/v1/seat-orders",
            tenant_id=self.tenant_id,
            contract_id=self.contract_id,
            kind="add",
            item="seat",
            quantity=self.seat_count,
            effective_on=effective_on,
        )
        return order

    async def invoices(self, reason: str | None = None) -> list[dict[str, Any]]:
        """Its invoices, newest first."""
        found = await self.finance.all("/v1/invoices", tenant_id=self.tenant_id)
        return [invoice for invoice in found if reason in (None, invoice["reason"])]

    async def balance(self) -> dict[str, Any]:
        """What it owes and what it has in credit."""
        found: dict[str, Any] = await self.finance.get(f"/v1/tenants/{self.tenant_id}/balance")
        return found

    async def pay(self, amount: str, *, on: str, reference: str) -> dict[str, Any]:
        """Finance records a bank transfer."""
        payment: dict[str, Any] = await self.finance.post(
            "/v1/payments",
            tenant_id=self.tenant_id,
            amount=amount,
            value_on=on,
            channel="bank_transfer",
            payer=self.name,
            reference=reference,
        )
        return payment

    async def standing(self) -> str:
        """`active` or `suspended`."""
        return str((await self.operator.get(f"/v1/tenants/{self.tenant_id}"))["standing"])

    async def wait_standing(self, standing: str, timeout_seconds: float) -> float:
        """Wait for a standing; returns the seconds it took."""

        async def reached() -> bool:
            return await self.standing() == standing

        return await until(reached, what=f"{self.name} {standing}", timeout_seconds=timeout_seconds, pause=pause)

    async def wait_open(self) -> float:
        """Wait until every seat is open; returns the seconds it took."""

        async def opened() -> bool:
            self.seats = await self.operator.all("/v1/seats", tenant_id=self.tenant_id)
            return len(self.seats) == self.seat_count and all(seat["state"] == "open" for seat in self.seats)

        seconds = await until(
            opened, what=f"the seats of {self.name} open", timeout_seconds=OPEN_TIMEOUT_SECONDS, pause=pause
        )
        self.seats.sort(key=lambda seat: seat["extension"])
        return seconds

    async def issue_credentials(self) -> None:
        """Every seat's password, shown this once."""
        for seat in self.seats:
            shown = await self.operator.post(f"/v1/seats/{seat['seat_id']}/credentials")
            self.passwords[seat["extension"]] = shown["password"]

    async def server(self) -> tuple[str, int]:
        """The node that serves it now, as the hand-out names it."""
        seat = await self.operator.get(f"/v1/seats/{self.seats[0]['seat_id']}")
        first = seat["sip"]["servers"][0]
        return first["host"], first["port"]

    async def plug_in_phones(self) -> None:
        """A softphone for every seat, towards the node that serves the company."""
        server = await self.server()
        self.phones = [
            Phone(
                extension,
                self.domain,
                server=server,
                password=password,
                local_host=LOOPBACK,
                policy=answers(after_seconds=0.05),
            )
            for extension, password in self.passwords.items()
        ]

    async def register(self) -> list[int]:
        """Every phone registers; the statuses."""
        return list(await asyncio.gather(*(phone.register() for phone in self.phones)))

    async def call(self, index: int, number: str) -> Call:
        """A phone of the company calls; returns when it is answered or refused."""
        return await self.phones[index].call(number, answer_timeout_seconds=ANSWER_TIMEOUT_SECONDS)

    async def close(self) -> None:
        """Switch the phones off."""
        await asyncio.gather(*(phone.close() for phone in self.phones))

    def expect_open(self) -> None:
        """Stop the story when a seat is missing."""
        if len(self.passwords) != self.seat_count:
            raise ExpectationFailed(f"{self.name} has {len(self.passwords)} of {self.seat_count} seats")
