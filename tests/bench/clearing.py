"""A tenant of a thousand seats is suspended: how soon its last registration and its last call are gone from the node.

The whole product runs as in the live suite, on nodes of FreeSWITCH where `SEATLINE_FREESWITCH` names one, else on
simulated ones.
"""

from __future__ import annotations

import asyncio
import os
import re
import time  # durations are measured on the monotonic clock
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import psycopg
from sqlalchemy import select
from sqlalchemy.engine import make_url

from infra.app import schema
from infra.kit.database import Database, Scope, blocking_engine
from infra.kit.ids import new_id
from infra.kit.jobs import Runtime
from infra.kit.settings import load
from switch import accounts, placements
from switch.commands import NodeControl, TenantService
from switch.documents.directory import INTERNAL_PROFILE
from switch.esl.client import EslConnection
from switch.models import Node
from switch.sip.phone import Phone
from switch.sip.policy import answers
from tenancy import tenants
from tests.bench.figures import Figure
from tests.bench.load import LoadBroken
from tests.live.customers import Office
from tests.live.system import FREESWITCH_PREFIX_VARIABLE, LOOPBACK, NODES, LiveSystem
from tests.live.waiting import until

SEATS = 1_000
CALLS = 50
DOMAIN = "clearing.example.com"
DATABASE = "clearing"
PHONES_AT_ONCE = 32
CALLS_AT_ONCE = 4
REGISTRATION_SECONDS = 900
FILLED_LIMIT_SECONDS = 30.0
GONE_LIMIT_SECONDS = 60.0
GOAL_SECONDS = 5.0
_Subject = TypeVar("_Subject")
_TOTAL = re.compile(r"(\d+) total|Total items returned: (\d+)")


async def measure(server_url: str, directory: Path, *, seats: int = SEATS, calls: int = CALLS) -> list[Figure]:
    """By hand first, as the limit, then by the operator's request."""
    switch = "freeswitch" if os.environ.get(FREESWITCH_PREFIX_VARIABLE) else "simulator"
    with _own_database(server_url) as url:
        system = LiveSystem(directory, url, switch)
        try:
            await asyncio.to_thread(system.start)
            async with _furnished(system, seats) as tenant:
                await tenant.fill(calls)
                limit = await tenant.gone_after(tenant.clear_by_hand)
                await tenant.fill(calls)
                ours = await tenant.gone_after(tenant.suspend)
        finally:
            await asyncio.to_thread(system.stop)
    return [
        Figure(
            name=f"{seats:,}-seat tenant suspended: request → last registration and last of {calls} calls gone",
            value=ours,
            unit="s",
            limit=limit,
            limit_is=f"the two commands given to the node ({switch}) by hand",
            goal=GOAL_SECONDS,
            better="lower",
        )
    ]


@contextmanager
def _own_database(server_url: str) -> Generator[str]:
    """A database of its own on the bench's server: the nodes of this house are nobody else's."""
    parts = make_url(server_url)
    url = parts.set(database=DATABASE).render_as_string(hide_password=False)
    server = parts.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{DATABASE}"'.encode())
        try:
            engine = blocking_engine(url)
            schema.upgrade(engine)
            engine.dispose()
            yield url
        finally:
            connection.execute(f'DROP DATABASE "{DATABASE}" WITH (FORCE)'.encode())


@dataclass(slots=True)
class _Tenant:
    """A tenant with its phones, and the node where it is at home."""

    office: Office
    runtime: Runtime
    tenant_id: str
    node: Node
    phones: list[Phone]

    async def fill(self, calls: int) -> None:
        """Register every phone, and let the first of them call the next. Raises `LoadBroken` where one may not."""

        async def register(phone: Phone) -> int:
            return await phone.register(expires_seconds=REGISTRATION_SECONDS)

        async def dial(pair: tuple[Phone, Phone]) -> int | None:
            return (await pair[0].call(pair[1].user)).status

        pairs = list(zip(self.phones[:calls], self.phones[calls : 2 * calls], strict=True))
        for what, statuses in (
            ("registrations", await _some_at_once(register, self.phones, PHONES_AT_ONCE)),
            ("calls", await _some_at_once(dial, pairs, CALLS_AT_ONCE)),
        ):
            if set(statuses) != {200}:
                raise LoadBroken(f"{what} were answered {sorted(map(str, set(statuses)))}")
        await self._comes_to(len(self.phones), 2 * calls, FILLED_LIMIT_SECONDS)

    async def gone_after(self, act: Callable[[], Awaitable[None]]) -> float:
        """Seconds from the beginning of an act until the node has nothing of the tenant any more."""
        began = time.monotonic()
        await act()
        await self._comes_to(0, 0, GONE_LIMIT_SECONDS)
        return time.monotonic() - began

    async def suspend(self) -> None:
        """The operator's request."""
        await self.office.operator.post(f"/v1/tenants/{self.tenant_id}/suspension", note="bench")

    async def clear_by_hand(self) -> None:
        """What the worker tells the node, without all that leads to it."""
        cleared = await NodeControl.of(self.runtime).clear_tenant(self.node, TenantService(self.tenant_id, DOMAIN))
        if not cleared.is_done:
            raise LoadBroken(f"the node was not cleared: {cleared}")

    async def _comes_to(self, registrations: int, legs: int, limit_seconds: float) -> None:
        """Wait until the node has as many of both; nobody but this tenant has any."""
        password = self.runtime.seal.open(self.node.sealed_esl_password)
        async with await EslConnection.open(LOOPBACK, self.node.esl_port, password) as connection:

            async def look() -> bool:
                listed = await connection.api(f"sofia status profile {INTERNAL_PROFILE} reg")
                counted = await connection.api("show channels count")
                return (_total(listed), _total(counted)) == (registrations, legs)

            what = f"{registrations} registrations and {legs} legs at the node"
            await until(look, what, limit_seconds=limit_seconds)


def _total(listed: str) -> int:
    found = _TOTAL.search(listed)
    if found is None:
        raise LoadBroken(f"no total in {listed[-200:]!r}")
    return int(found.group(1) or found.group(2))


@asynccontextmanager
async def _furnished(system: LiveSystem, seats: int) -> AsyncGenerator[_Tenant]:
    """A tenant with open seats, made without contract and invoice, and a phone for each."""
    settings = load(system.environment)
    database = Database(system.database_url, pool_size=2)
    runtime = Runtime(database, settings)
    pairs = [(new_id("seat"), str(1001 + number)) for number in range(seats)]
    async with Office.open(system) as office:
        try:
            async with database.transaction(Scope.platform()) as session:
                tenant = await tenants.create_tenant(session, name="clearing", sip_domain=DOMAIN)
                passwords = await accounts.open_accounts(session, tenant, pairs)
                await placements.assign(session, tenant.tenant_id, home_node=NODES[0], spare_node=None)
                node = (await session.execute(select(Node).where(Node.name == NODES[0]))).scalar_one()
            unlimited = {"calls_per_tenant": seats, "calls_per_second": 100}
            await office.operator.put(f"/v1/tenants/{tenant.tenant_id}/call-policy", **unlimited)
            server = system.nodes[NODES[0]].sip
            phones = [
                office.keep(Phone(extension, DOMAIN, server=server, password=passwords[seat_id], policy=answers()))
                for seat_id, extension in pairs
            ]
            yield _Tenant(office, runtime, tenant.tenant_id, node, phones)
        finally:
            await database.close()


async def _some_at_once(
    act: Callable[[_Subject], Awaitable[int | None]], subjects: Sequence[_Subject], limit: int
) -> list[int | None]:
    at_once = asyncio.Semaphore(limit)

    async def one(subject: _Subject) -> int | None:
        async with at_once:
            return await act(subject)

    return list(await asyncio.gather(*(one(subject) for subject in subjects)))
