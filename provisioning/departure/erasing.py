"""Carries out an erasure: piece by piece, each piece counted in its own transaction, so that it can break off anywhere.

The rows go under a role that reaches this one tenant and nothing else (infra/kit/row_security.py). When the last piece
is done the counts become an audit entry: the proof. A job that runs again goes on where the former one ended. An hour
later everything is gone through once more, for what was being written while the erasure passed by.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Executable, Table, delete, exists, func, literal, or_, select, text, true, tuple_, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql.elements import ColumnElement

from infra.kit import audit, clock, jobs, logs
from infra.kit.database import Base, Scope, enter_erasure, enter_scope
from infra.kit.models import IdempotencyRecord
from infra.kit.objects import Objects
from provisioning.departure import departures, readiness
from provisioning.departure.data_map import BY_TABLE, COLLECTIONS, FACTS_OF_MONEY, TRAIL_OF_MONEY
from provisioning.departure.errors import DepartureRefused
from provisioning.departure.models import Departure
from switch import phone_numbers, set_aside_records
from switch.completeness.models import SeenLeg
from switch.number_pool.models import PooledNumber
from tenancy import tenants
from tenancy.models import AccessToken, Client, SipDomain, Tenant
from tenancy.people import resets
from tenancy.people.models import Person

log = logs.get(__name__)
CHUNK_ROWS = 5_000
SWEEP = "provisioning.erase_late_arrivals"
SWEEP_AFTER_SECONDS = 3_600
"""Longer than anything that writes for a tenant may take; from the beginning of the erasure on nobody begins to."""

_WITHOUT_ADDRESS = text(
    "UPDATE procrastinate_jobs SET args = jsonb_set(args, '{address}', '\"\"') "
    "WHERE task_name = :task AND args ->> 'company' = :company AND args ->> 'address' <> '' RETURNING 1"
)
"""Jobs that failed stay in the queue's table with what they were given: for a new password, an address."""


async def carry_out(runtime: jobs.Runtime, departure_id: str) -> bool:
    """Erase what a departure asks for; False when something stands in the way again, or it was cancelled.

    May be begun any number of times. Raises `Unavailable` when the database or the object storage is away.
    """
    async with runtime.database.transaction(Scope.platform()) as session:
        tenant_id = await _begin(session, departure_id)
    if tenant_id is None:
        return False
    await _erase_everything(runtime, departure_id, tenant_id)
    async with runtime.database.transaction(Scope.platform()) as session:
        departure = await departures.find(session, departure_id, tenant_id, for_update=True)
        if departure.state == "erasing":
            departure.state, departure.erased_at = "erased", clock.now()
            proof = {"rows": departure.counts, "erase_on": departure.erase_on.isoformat()}
            await audit.record(session, tenant_id, "departure.erased", departure_id, **proof)
            lock = f"departure:{departure_id}"
            await jobs.defer(session, SWEEP, lock=lock, after_seconds=SWEEP_AFTER_SECONDS, departure_id=departure_id)
            log.info("departure.erased", tenant_id=tenant_id, departure_id=departure_id)
    return True


async def sweep(runtime: jobs.Runtime, departure_id: str) -> None:
    """Erase what came in while the erasure went by, as from a transaction that had begun before it; what is found goes
    into the proof. May be begun any number of times. Raises as `carry_out`."""
    async with runtime.database.transaction(Scope.platform()) as session:
        departure = await departures.find(session, departure_id, None)
        tenant_id, before = departure.tenant_id, departure.counts
        if departure.state != "erased":
            return
    await _erase_everything(runtime, departure_id, tenant_id)
    async with runtime.database.transaction(Scope.platform()) as session:
        departure = await departures.find(session, departure_id, tenant_id, for_update=True)
        late = {name: rows - before.get(name, 0) for name, rows in departure.counts.items() if rows != before.get(name)}
        if late:
            await audit.record(session, tenant_id, "departure.swept", departure_id, rows=late)
            log.info("departure.swept", tenant_id=tenant_id, departure_id=departure_id)


async def _erase_everything(runtime: jobs.Runtime, departure_id: str, tenant_id: str) -> None:
    await _erase_elsewhere(runtime, departure_id, tenant_id)
    for name in BY_TABLE:
        for step in _steps_of(name):
            await _carry_out(runtime, departure_id, tenant_id, step)
    await _erase_objects(runtime, departure_id, tenant_id)


async def _begin(session: AsyncSession, departure_id: str) -> str | None:
    """Pass the point of no return, unless something has changed since the announcement: then the departure waits."""
    found = await departures.find(session, departure_id, None)
    tenant = await tenants.get(session, found.tenant_id, for_update=True)
    departure = await departures.find(session, departure_id, None, for_update=True)
    if departure.state == "erasing":
        return departure.tenant_id
    if departure.state != "announced" or clock.today() < departure.erase_on:
        return None
    try:
        departures.check_may_leave(await readiness.account_of(session, departure.tenant_id))
    except DepartureRefused as refusal:
        departure.held_because = refusal.detail
        log.error("departure.held", tenant_id=departure.tenant_id, departure_id=departure_id, reason=refusal.detail)
        return None
    departure.state, departure.held_because = "erasing", None
    if tenant.standing != "closed":  # nothing to clear at the switch: every seat is closed already
        tenant.standing, tenant.standing_reason = "closed", "contract_ended"
        tenant.generation += 1
        tenant.standing_changed_at = clock.now()
    await session.flush()
    await audit.record(session, departure.tenant_id, "departure.begun", departure_id)
    return departure.tenant_id


@dataclass(frozen=True, slots=True)
class _Step:
    """Rows of one table that are deleted, or (with `values`) made blank."""

    table: Table
    which: ColumnElement[bool]
    values: Mapping[str, Any] | None = None


def _steps_of(name: str) -> list[_Step]:
    """What has to be done to a table."""
    table, treatment = Base.metadata.tables[name], BY_TABLE[name]
    match treatment.fate:
        case "keep":
            return []
        case "erase":
            return [_Step(table, true())]
        case "blank":
            not_yet = or_(*(table.c[column].is_distinct_from(value) for column, value in treatment.blanks.items()))
            return [_Step(table, not_yet, treatment.blanks)]
        case "trail":
            return _steps_of_trail(table)


def _steps_of_trail(table: Table) -> list[_Step]:
    """Entries that no money hangs on go; the others lose what is not a figure, a day or an id of ours."""
    stays = or_(*(table.c.action.startswith(each, autoescape=True) for each in TRAIL_OF_MONEY))
    key = func.jsonb_object_keys(table.c.facts).column_valued("name")
    kept = func.jsonb_each(table.c.facts).table_valued("key", "value")
    shortened = (
        select(func.coalesce(func.jsonb_object_agg(kept.c.key, kept.c.value), text("'{}'::jsonb")))
        .where(kept.c.key.in_(FACTS_OF_MONEY))
        .scalar_subquery()
    )
    has_more = exists(select(key).where(key.not_in(FACTS_OF_MONEY)))
    return [_Step(table, ~stays), _Step(table, has_more, {"facts": shortened})]


async def _carry_out(runtime: jobs.Runtime, departure_id: str, tenant_id: str, step: _Step) -> None:
    """Go through a table in the order of its key, a piece in each transaction."""
    after: tuple[Any, ...] | None = None
    while True:
        async with runtime.database.transaction(Scope.platform()) as session:
            departure = await departures.find(session, departure_id, tenant_id, for_update=True)
            await enter_erasure(session, tenant_id)
            row = (await session.execute(_piece(step, tenant_id, after))).one_or_none()
            await enter_scope(session, Scope.platform())
            rows = 0 if row is None else int(row[0])
            count(departure, step.table.name, rows)
        if row is None or rows < CHUNK_ROWS:
            return
        after = tuple(row)[1:]


def _piece(step: _Step, tenant_id: str, after: tuple[Any, ...] | None) -> Executable:
    """The next rows; gives how many they were, and the key of the last one."""
    key = list(step.table.primary_key.columns)
    chosen = select(*key).where(step.table.c.tenant_id == tenant_id, step.which).order_by(*key).limit(CHUNK_ROWS)
    if after is not None:
        chosen = chosen.where(tuple_(*key) > tuple_(*(literal(value) for value in after)))
    these = tuple_(*key).in_(chosen)
    statement = delete(step.table) if step.values is None else update(step.table).values(dict(step.values))
    done = statement.where(these).returning(*key).cte("done")
    return select(func.count().over(), *done.c).order_by(*(column.desc() for column in done.c)).limit(1)


async def _erase_elsewhere(runtime: jobs.Runtime, departure_id: str, tenant_id: str) -> None:
    """What tables of the platform hold of it: its numbers, tokens and kept answers of its clients, records, legs."""
    async with runtime.database.transaction(Scope.platform()) as session:
        departure = await departures.find(session, departure_id, tenant_id, for_update=True)
        days = runtime.settings.number_quarantine_days
        released = await phone_numbers.release_all(session, tenant_id, quarantine_days=days)
        count(departure, "phone_number", released)
        clients = select(Client.client_id).where(Client.tenant_id == tenant_id)
        callers = clients.union_all(select(Person.person_id).where(Person.tenant_id == tenant_id))
        # It is given up below, and when a job goes on later it may be another's already.
        of_another = exists().where(SipDomain.domain == Tenant.sip_domain, SipDomain.tenant_id != tenant_id)
        domain = await session.scalar(select(Tenant.sip_domain).where(Tenant.tenant_id == tenant_id, ~of_another))
        names = [tenant_id] if domain is None else [tenant_id, domain]
        count(departure, "set_aside_record", await set_aside_records.empty_set_aside(session, names))
        for name, statement in (
            (
                "pooled_number",
                update(PooledNumber).where(PooledNumber.tenant_id == tenant_id).values(tenant_id=None),
            ),
            ("access_token", delete(AccessToken).where(AccessToken.client_id.in_(clients))),
            ("idempotency_record", delete(IdempotencyRecord).where(IdempotencyRecord.client_id.in_(callers))),
            (
                "seen_leg",
                update(SeenLeg)
                .where(SeenLeg.owner_id == tenant_id, or_(SeenLeg.caller != "", SeenLeg.destination != ""))
                .values(caller="", destination=""),
            ),
        ):
            returned = statement.returning(literal(1)).execution_options(synchronize_session=False)
            count(departure, name, len((await session.execute(returned)).all()))
        blanked = await session.execute(_WITHOUT_ADDRESS, {"task": resets.BEGIN, "company": domain})
        count(departure, "procrastinate_jobs", len(blanked.all()))


async def _erase_objects(runtime: jobs.Runtime, departure_id: str, tenant_id: str) -> None:
    objects, removed = Objects(runtime.settings), 0
    for collection in COLLECTIONS:
        async for page in objects.places(f"{collection}/{tenant_id}"):
            for place in page:
                await objects.delete(place)
                removed += 1
    async with runtime.database.transaction(Scope.platform()) as session:
        departure = await departures.find(session, departure_id, tenant_id, for_update=True)
        count(departure, "objects", removed)


def count(departure: Departure, name: str, rows: int) -> None:
    """Add to the proof."""
    if rows:
        departure.counts = departure.counts | {name: departure.counts.get(name, 0) + rows}
