"""A tenant with an open invoice, the application on a real socket, and the stand-in for Stripe beside it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import select, text

from billing import ledger_check
from billing.cards.models import StripeEvent
from billing.cards.stand_in.deliveries import Deliveries
from billing.cards.stand_in.server import StandIn
from billing.ledger_models import JournalPosting
from infra.app import asgi
from infra.kit import clock, jobs
from infra.kit.database import Database, Scope
from infra.kit.settings import Settings
from tests.api import Api, Caller
from tests.billing.finance import does, opened
from tests.billing.lease_world import LeaseWorld
from tests.jobs import failed_tasks, run_jobs
from tests.switch.serving import Served

KEY, SECRET = "sk_test_of_the_stand_in", "whsec_of_the_stand_in"


@asynccontextmanager
async def standing_in() -> AsyncGenerator[StandIn]:
    """A stand-in that listens and has nobody to tell yet."""
    found = StandIn(secret_key=KEY, webhook_secret=SECRET, webhook_url="")
    await found.start()
    try:
        yield found
    finally:
        await found.stop()


def paid_online(settings: Settings, stand_in: StandIn) -> Settings:
    """The settings of an installation whose Stripe is the stand-in."""
    return replace(
        settings,
        stripe_secret_key=KEY,
        stripe_webhook_secret=SECRET,
        stripe_api_url=stand_in.url,
        stripe_return_url="https://seatline.example.com/paid",
    )


def signature(body: bytes) -> str:
    """The `Stripe-Signature` of an event's body."""
    return Deliveries("", secret=SECRET).signature(body)


@asynccontextmanager
async def webhook_served(settings: Settings, database: Database, stand_in: StandIn) -> AsyncGenerator[None]:
    """The application on a socket, and the stand-in tells it what happens."""
    office = Served(asgi.build(settings, database))
    server = await asyncio.start_server(office.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    stand_in.deliveries.webhook_url = f"http://127.0.0.1:{port}/v1/stripe/webhooks"
    try:
        yield
    finally:
        server.close()
        await office.close()


@dataclass
class CardWorld:
    """One lease of two seats (4,000.00 a month) whose invoices can be paid online."""

    lease: LeaseWorld
    api: Api
    stand_in: StandIn
    callers: dict[str, Caller] = field(default_factory=dict[str, Caller])

    async def owes_april(self) -> str:
        """It is 1 April and the month's invoice is open; returns its id."""
        await opened(self.lease)
        await self.lease.live_to("2026-04-01")
        return await self.open_invoice()

    async def open_invoice(self) -> str:
        """The invoice that is open; there is one."""
        [invoice] = (await self.lease.balance()).open_invoices
        return invoice.invoice_id

    async def caller(self, role: str) -> Caller:
        """A client of the operator's, or of the tenant's for the tenant roles; its token is new."""
        tenant_id = self.lease.tenant_id if role.startswith("tenant") else None
        return await self.api.client(role, tenant_id)

    async def clicks_pay(self, invoice_id: str) -> dict[str, Any]:
        """The tenant asks for a page to pay on."""
        return await does(await self.caller("tenant_admin"), f"/v1/invoices/{invoice_id}/checkout", {}, 200)

    async def session_of(self, invoice_id: str) -> str:
        """Stripe's name of the page that is open for an invoice."""
        return (await self.clicks_pay(invoice_id))["url"].rsplit("/", 1)[-1]

    async def pays(self, invoice_id: str, **how: Any) -> dict[str, Any]:
        """The tenant pays an invoice online, and everything that follows is done; returns the PaymentIntent."""
        intent = self.stand_in.account.pays(await self.session_of(invoice_id), **how)
        await self.follows()
        return intent

    async def follows(self, *, failing: bool = False) -> None:
        """Events arrive and jobs run; none may fail unless `failing`."""
        await self.stand_in.deliveries.arrived()
        await self.works(failing=failing)

    async def works(self, *, failing: bool = False) -> None:
        """Jobs run."""
        assert self.api.settings.database_url is not None
        await run_jobs(self.api.settings.database_url)
        failed = await failed_tasks(self.api.settings.database_url)
        assert bool(failed) == failing, failed

    async def is_tended(self, *, failing: bool = False) -> None:
        """The schedule starts what looks again, and everything that follows is done."""
        async with self.lease.database.transaction(Scope.platform()) as session:
            await jobs.defer(session, "billing.tend_card_payments")
        await self.works(failing=failing)

    async def gives_up(self) -> None:
        """The tries of every job that has failed are over."""
        async with self.lease.database.engine.begin() as connection:
            await connection.execute(text("UPDATE procrastinate_jobs SET status = 'failed' WHERE status = 'todo'"))

    async def lists(self, path: str, **params: Any) -> list[dict[str, Any]]:
        """What finance sees in a list."""
        answer = await (await self.caller("finance")).get(path, params)
        assert answer.status_code == 200, answer.text
        return answer.json()["items"]

    async def set_aside(self) -> list[tuple[str, str]]:
        """Kind and reason of the events that wait for a person."""
        found = await self.lists("/v1/stripe/events", state="set_aside")
        return sorted((each["kind"], each["reason"]) for each in found)

    async def event_states(self) -> set[str]:
        """In which states the stored events are."""
        async with self.lease.database.transaction(Scope.platform()) as session:
            return set((await session.execute(select(StripeEvent.state))).scalars())

    async def account(self) -> tuple[str, str]:
        """What the tenant owes and has to its credit."""
        balance = await self.lease.balance()
        return str(balance.owed), str(balance.credit)

    async def posted(self, account: str) -> str:
        """What stands on an account of Stripe's channel."""
        query = select(JournalPosting.amount).where(
            JournalPosting.account == account, JournalPosting.detail == "stripe"
        )
        async with self.lease.database.transaction(Scope.platform()) as session:
            return str(sum((await session.execute(query)).scalars()))

    async def check(self) -> None:
        """The ledger and the documents tell the same, and every fen has its place."""
        async with self.lease.database.transaction(Scope.platform()) as session:
            assert await ledger_check.findings(session) == []
        await self.lease.check_conservation()


def local_today() -> str:
    """The local day."""
    return clock.today().isoformat()
