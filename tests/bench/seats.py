"""A thousand seats: how soon they can register after they were ordered, and how soon no more when suspended."""

from __future__ import annotations

import asyncio
import time  # durations are measured on the monotonic clock, which all processes of a machine share
from dataclasses import dataclass
from statistics import median

from infra.kit import clock
from provisioning.rules.extensions import next_extensions
from tests.bench.bare import FORM_PATH
from tests.bench.figures import Figure
from tests.bench.load import Load, LoadBroken, LoadClient, Outcome
from tests.bench.system import LOOKUP_PATH, System
from tests.live.waiting import until

SEATS = 1_000
TENANTS = 3
CONNECTIONS = 32
OPENING_LIMIT_SECONDS = 60.0
SWEEP_LIMIT_SECONDS = 30.0
HAMMERING_SECONDS = 3.0
BEFORE_SUSPENSION_SECONDS = 0.7
SUSPENSION_GOAL_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Renter:
    """A tenant with a thousand open seats, and the requests of a node that looks each of them up."""

    tenant_id: str
    lookups: list[bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspended:
    """How one suspension took effect.

    `last_accepted_seconds`: from the API's answer, which is sent after COMMIT, to the last lookup that was accepted (0:
    there was none). `all_refused_seconds`: from the operator's request until each seat had been refused once.
    """

    last_accepted_seconds: float
    all_refused_seconds: float
    round_trip_seconds: float
    sweep_seconds: float


async def measure_opening(system: System, client: LoadClient) -> tuple[list[Figure], list[Renter]]:
    """Order through the API, pay, let the worker work, look every seat up."""
    system.worker.start()
    opened = [await _open(system, client, index) for index in range(TENANTS)]
    system.worker.stop()
    limits = [_opening_limit(system, client, renter, index) for index, (renter, _) in enumerate(opened)]
    figure = Figure(
        name=f"{SEATS:,} seats ordered and paid → all registrable",
        value=median(seconds for _, seconds in opened),
        unit="s",
        limit=median(limits),
        limit_is="COPY of as many accounts and one commit, and as many forms to the bare handler",
        goal=None,
        better="lower",
    )
    return [figure], [renter for renter, _ in opened]


async def _open(system: System, client: LoadClient, index: int) -> tuple[Renter, float]:
    """A new tenant, and the seconds from its order to the last seat's accepted lookup."""
    domain = _domain(index)
    tenant_id, contract_id = await signed(system, index)
    lookups = _lookups(system, index, LOOKUP_PATH)
    began = time.monotonic()
    await order_and_pay(system, tenant_id, contract_id, SEATS)

    async def is_open() -> bool:
        system.worker.check()
        return bool(_sweep(client, system.api_port, lookups[-1:]).accepted[0])

    await until(is_open, f"the seats of {domain} open", limit_seconds=OPENING_LIMIT_SECONDS)
    _sweep(client, system.api_port, lookups).check()
    return Renter(tenant_id, lookups), time.monotonic() - began


async def signed(system: System, index: int) -> tuple[str, str]:
    """The ids of a new tenant and of its contract."""
    tenant = await system.operator.post("/v1/tenants", name=f"Renter {index}", sip_domain=_domain(index))
    contract = await system.operator.post(
        "/v1/contracts",
        tenant_id=tenant["tenant_id"],
        title="Seats",
        preset="hosted",
        terms={},
        opens_on=clock.today().isoformat(),
    )
    return str(tenant["tenant_id"]), str(contract["contract_id"])


async def order_and_pay(system: System, tenant_id: str, contract_id: str, quantity: int) -> None:
    """An order for today, and its money; the worker opens the seats."""
    today = clock.today().isoformat()
    await system.operator.post(
        "/v1/seat-orders",
        tenant_id=tenant_id,
        contract_id=contract_id,
        kind="add",
        quantity=quantity,
        effective_on=today,
    )
    for invoice in await system.finance.items("/v1/invoices", tenant_id=tenant_id):
        await system.finance.post(
            "/v1/payments",
            tenant_id=tenant_id,
            amount=invoice["open"],
            value_on=today,
            channel="bank_transfer",
            payer="Renter",
            reference=f"bench-{tenant_id}",
        )


def _domain(index: int) -> str:
    return f"renter-{index}.example.com"


def _lookups(system: System, index: int, path: str) -> list[bytes]:
    """A lookup of each seat; a tenant's first seats get the first extensions."""
    extensions = next_extensions(None, SEATS)
    return [system.lookup(_domain(index), extension, path=path) for extension in extensions]


def _sweep(client: LoadClient, port: int, requests: list[bytes]) -> Outcome:
    load = Load(port=port, requests=requests, connections=CONNECTIONS, seconds=SWEEP_LIMIT_SECONDS, once=True)
    return client.run(load).check(all_accepted=False)


def _opening_limit(system: System, client: LoadClient, renter: Renter, index: int) -> float:
    forms = [
        system.lookup(f"renter-{index}.example.com", str(1001 + number), path=FORM_PATH) for number in range(SEATS)
    ]
    with system.driver_connection() as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS bench_sip_account (LIKE sip_account INCLUDING ALL)")
        connection.execute("TRUNCATE bench_sip_account")
        connection.commit()
        query = "COPY (SELECT * FROM sip_account WHERE tenant_id = %s) TO STDOUT"
        with connection.cursor() as cursor, cursor.copy(query, (renter.tenant_id,)) as copy:
            rows = b"".join(bytes(part) for part in copy)
        began = time.monotonic()
        with connection.cursor() as cursor, cursor.copy("COPY bench_sip_account FROM STDIN") as copy:
            copy.write(rows)
        connection.commit()
        _sweep(client, system.bare_port, forms)
        return time.monotonic() - began


async def measure_suspension(system: System, client: LoadClient, renters: list[Renter]) -> list[Figure]:
    """Hammer lookups of a tenant's seats while it is suspended; the worst of all tenants counts."""
    system.worker.start()
    suspended = [await _suspend(system, client, renter) for renter in renters]
    system.worker.stop()
    return [
        Figure(
            name=f"{SEATS:,}-seat tenant suspended: COMMIT → last lookup accepted",
            value=max(each.last_accepted_seconds for each in suspended),
            unit="s",
            limit=median(each.round_trip_seconds for each in suspended),
            limit_is="one lookup's round trip (p99) under this load",
            goal=SUSPENSION_GOAL_SECONDS,
            better="lower",
        ),
        Figure(
            name=f"{SEATS:,}-seat tenant suspended: request → each seat refused",
            value=max(each.all_refused_seconds for each in suspended),
            unit="s",
            limit=median(each.sweep_seconds for each in suspended),
            limit_is="asking once for each seat under this load",
            goal=SUSPENSION_GOAL_SECONDS,
            better="lower",
        ),
    ]


async def _suspend(system: System, client: LoadClient, renter: Renter) -> Suspended:
    load = Load(port=system.api_port, requests=renter.lookups, connections=CONNECTIONS, seconds=HAMMERING_SECONDS)
    hammering = client.start(load)
    await asyncio.sleep(BEFORE_SUSPENSION_SECONDS)
    asked_at = time.monotonic()
    await system.operator.post(f"/v1/tenants/{renter.tenant_id}/suspension", note="bench")
    answered_at = time.monotonic()
    outcome = hammering.result().check(all_accepted=False)
    return Suspended(
        last_accepted_seconds=max(0.0, _last_accepted_at(outcome) - answered_at),
        all_refused_seconds=_all_refused_at(outcome) - asked_at,
        round_trip_seconds=outcome.latency_milliseconds(0.99) / 1000,
        sweep_seconds=SEATS / outcome.per_second,
    )


def _last_accepted_at(outcome: Outcome) -> float:
    moments = [at for at, accepted in zip(outcome.answered_at, outcome.accepted, strict=True) if accepted]
    if not moments:
        raise LoadBroken("No lookup was accepted before the suspension.")
    return max(moments)


def _all_refused_at(outcome: Outcome) -> float:
    """When the last of the seats had its first refusal."""
    first: dict[int, float] = {}
    for index, at, accepted in zip(outcome.indexes, outcome.answered_at, outcome.accepted, strict=True):
        if not accepted:
            first.setdefault(index, at)
    if len(first) < SEATS:
        raise LoadBroken(f"Only {len(first)} of {SEATS} seats were refused within {HAMMERING_SECONDS:g} s.")
    return max(first.values())
