"""The canary: the system proves to itself that a suspension or restoration took effect.

On every live node it looks its own account up through the node and registers with it, as a phone would. It must be
accepted where an active tenant is served and refused everywhere else. Where it is to prove that calls can be made it
makes one of its own (switch/canary_call.py), which the node itself answers.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal, Protocol

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit import clock, logs
from infra.kit.database import Scope
from infra.kit.ids import new_id
from infra.kit.jobs import Runtime
from switch import accounts, nodes, placements
from switch.canary_call import CANARY, CANARY_DESTINATION
from switch.commands import CommandFailed, NodeControl
from switch.models import CanaryCheck, Node
from switch.sip.errors import SipError, WaitExceeded
from switch.sip.phone import Phone
from tenancy import tenants
from tenancy.models import Tenant

LIMIT_SECONDS = 20.0
"""When nothing has taken effect this long after we began to look, it is an alarm."""

FIRST_WAIT_SECONDS = 0.1
LONGEST_WAIT_SECONDS = 2.0
MAX_NODES_AT_ONCE = 50
REGISTRATION_SECONDS = 60
"""How long the canary asks to be registered; it goes at once, and this ends it where its goodbye is lost."""

Expected = Literal["accepted", "refused"]
FOUND, ACCEPTED, UNREACHABLE = "found", "accepted", "unreachable"
COMPLETED = "completed"
"""The call was answered, and hung up when we said so."""
UNANSWERED, WITHOUT_MEDIA, CUT_OFF, NOT_HUNG_UP = "unanswered", "without_media", "cut_off", "not_hung_up"

_WORDS = {
    UNREACHABLE: "got no answer",
    "not_found": "found no account",
    UNANSWERED: "was not answered in time",
    WITHOUT_MEDIA: "was answered without a place to send voice to",
    CUT_OFF: "was cut off by the node",
    NOT_HUNG_UP: "could not be hung up",
}

log = logs.get(__name__)


@dataclass(frozen=True, slots=True)
class Observation:
    """What one try showed. `lookup`: found, not_found or unreachable; `registration`: accepted, refused (status) or
    unreachable. `call`: completed, refused (status), unreachable, unanswered, without_media, cut_off or not_hung_up;
    None where none was made, as after a registration that failed.
    """

    lookup: str
    registration: str
    call: str | None = None

    def shows(self, expected: Expected) -> bool:
        """Whether the lookup, the registration and the call, where one was made, came out as expected."""
        if expected == "accepted":
            is_in = self.lookup == FOUND and self.registration == ACCEPTED
            return is_in and self.call in (None, COMPLETED)
        return self.lookup == "not_found" and self.registration.startswith("refused")

    @property
    def failures(self) -> str:
        """What did not work, in words and in the order in which it is tried; empty where all of it did."""
        stages = (
            ("the lookup of the account", self.lookup, FOUND),
            ("the sign-in", self.registration, ACCEPTED),
            ("the call", self.call or COMPLETED, COMPLETED),
        )
        return ", ".join(f"{what} {_in_words(seen)}" for what, seen, wanted in stages if seen != wanted)


@dataclass(frozen=True, slots=True)
class Subject:
    """Whose change is checked: the tenant as it stood when the check began."""

    tenant_id: str
    domain: str
    generation: int
    is_active: bool
    changed_at: datetime
    serving_node: str | None
    a1_hash: str

    def expected_on(self, node: str) -> Expected:
        """An active tenant is accepted where it is served; everything else is refused."""
        return "accepted" if self.is_active and node == self.serving_node else "refused"


class Probe(Protocol):
    """One try at one node."""

    async def __call__(self, node: Node, subject: Subject) -> Observation:
        """Look the canary up, register it and, where the probe does so, have it make a call."""
        ...


class NodeProbe:
    """The real one: `user_exists` over the event socket, REGISTER with digest over UDP and, if it `calls`, a call while
    it is registered.
    """

    def __init__(self, control: NodeControl, timeout_seconds: float, *, calls: bool = False) -> None:
        self._control = control
        self._timeout_seconds = timeout_seconds
        self._calls = calls

    async def __call__(self, node: Node, subject: Subject) -> Observation:
        """Lookup and signing in at once; each step answers within the time-out for commands."""
        lookup, (registration, call) = await asyncio.gather(self._lookup(node, subject), self._register(node, subject))
        return Observation(lookup, registration, call)

    async def _lookup(self, node: Node, subject: Subject) -> str:
        try:
            found = await self._control.user_exists(node, CANARY, subject.domain)
        except CommandFailed as failure:
            log.debug("canary.lookup_failed", node=node.name, reason=str(failure))
            return UNREACHABLE
        return FOUND if found else "not_found"

    async def _register(self, node: Node, subject: Subject) -> tuple[str, str | None]:
        call: str | None = None
        server = (node.sip_host, node.sip_port)
        phone = Phone(CANARY, subject.domain, server=server, a1_hash=subject.a1_hash)
        try:
            async with phone:
                status = await phone.register(
                    expires_seconds=REGISTRATION_SECONDS, timeout_seconds=self._timeout_seconds
                )
                if phone.registered:
                    if self._calls:
                        call = await make_call(phone, timeout_seconds=self._timeout_seconds)
                    await self._unregister(phone)
        except SipError as error:
            log.debug("canary.registration_failed", node=node.name, reason=str(error))
            return UNREACHABLE, None
        return (ACCEPTED if status == 200 else f"refused {status}"), call

    async def _unregister(self, phone: Phone) -> None:
        """Say goodbye. Where that fails, because the tenant was just suspended, the registration ends by itself."""
        try:
            await phone.unregister(timeout_seconds=self._timeout_seconds)
        except SipError as error:
            log.debug("canary.goodbye_lost", reason=str(error))


async def make_call(phone: Phone, *, timeout_seconds: float) -> str:
    """Have the node answer a call of the canary and hang up; what came of it, as `Observation.call` says it."""
    try:
        call = await phone.dial(CANARY_DESTINATION)
        try:
            status = await call.wait_settled(timeout_seconds)
        except WaitExceeded:
            call.cancel()
            return UNANSWERED
    except SipError as error:
        log.debug("canary.call_failed", server=phone.server, reason=str(error))
        return UNREACHABLE
    if not call.answered:
        return f"refused {status}"
    if call.is_ended:
        return CUT_OFF
    is_confirmed = await call.hangup()
    if call.remote_audio is None:
        return WITHOUT_MEDIA
    return COMPLETED if is_confirmed else NOT_HUNG_UP


async def check(
    runtime: Runtime,
    tenant_id: str,
    generation: int,
    *,
    probe: Probe | None = None,
    wait: Callable[[float], Awaitable[None]] = asyncio.sleep,
    seconds_now: Callable[[], float] = time.monotonic,
    limit_seconds: float = LIMIT_SECONDS,
) -> list[CanaryCheck]:
    """Try every live node until the tenant's standing shows there, or `limit_seconds` have passed; keep one row each.

    `seconds_to_effect` counts from the change of standing to the moment the expected outcome was first seen; a node
    where it was not seen is an alarm. A tenant that changed again meanwhile has a check of its own, so this one ends
    quietly; a node that was checked for this generation is not checked again. Raises 404 for an unknown tenant.
    """
    async with runtime.database.transaction(Scope.platform()) as session:
        tenant = await tenants.get(session, tenant_id)
        if tenant.generation != generation:
            return []
        subject = await _subject(session, tenant)
        checked = await _checked_nodes(session, tenant_id, generation)
        live = [node for node in await nodes.live_nodes(session) if node.name not in checked]
    # Our clock may jump while we look (the demo travels), so it is read once and real seconds are added to it.
    since_change_seconds = max(0.0, (clock.now() - subject.changed_at).total_seconds())
    watch = _Watch(
        runtime=runtime,
        subject=subject,
        probe=probe or NodeProbe(NodeControl.of(runtime), runtime.settings.switch_command_timeout_seconds),
        wait=wait,
        seconds_now=seconds_now,
        limit_seconds=limit_seconds,
        since_change_seconds=since_change_seconds,
        began_seconds=seconds_now(),
    )
    at_once = asyncio.Semaphore(MAX_NODES_AT_ONCE)

    async def look(node: Node) -> CanaryCheck | None:
        async with at_once:
            return await watch.look(node)

    found = await asyncio.gather(*(look(node) for node in live))
    return await _keep(runtime, subject, [row for row in found if row is not None])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Watch:
    """Tries nodes again and again until the expected outcome shows."""

    runtime: Runtime
    subject: Subject
    probe: Probe
    wait: Callable[[float], Awaitable[None]]
    seconds_now: Callable[[], float]
    limit_seconds: float
    since_change_seconds: float
    began_seconds: float

    async def look(self, node: Node) -> CanaryCheck | None:
        """The row of one node; None when the tenant has changed meanwhile."""
        subject = self.subject
        wait_seconds = FIRST_WAIT_SECONDS
        while True:
            expected = subject.expected_on(node.name)
            seen = await self.probe(node, subject)
            passed_seconds = self.seconds_now() - self.began_seconds
            if seen.shows(expected):
                return self._row(node, expected, seen, self.since_change_seconds + passed_seconds)
            if passed_seconds + wait_seconds > self.limit_seconds:
                return self._row(node, expected, seen, None)
            await self.wait(wait_seconds)
            wait_seconds = min(2 * wait_seconds, LONGEST_WAIT_SECONDS)
            async with self.runtime.database.transaction(Scope.platform()) as session:
                if not await _is_current(session, subject):
                    return None
                # A tenant that was moved meanwhile is expected on its new node from now on.
                subject = replace(subject, serving_node=await _serving_node(session, subject.tenant_id))

    def _row(self, node: Node, expected: Expected, seen: Observation, seconds: float | None) -> CanaryCheck:
        return CanaryCheck(
            tenant_id=self.subject.tenant_id,
            check_id=new_id("can"),
            node=node.name,
            generation=self.subject.generation,
            expected=expected,
            changed_at=self.subject.changed_at,
            checked_at=clock.now(),
            lookup=seen.lookup,
            registration=seen.registration,
            seconds_to_effect=None if seconds is None else round(seconds, 3),
            is_alarm=seconds is None,
        )


async def _subject(session: AsyncSession, tenant: Tenant) -> Subject:
    return Subject(
        tenant_id=tenant.tenant_id,
        domain=tenant.sip_domain,
        generation=tenant.generation,
        is_active=tenant.standing == "active",
        changed_at=tenant.standing_changed_at,
        serving_node=await _serving_node(session, tenant.tenant_id),
        a1_hash=await accounts.ensure_canary(session, tenant),
    )


async def _checked_nodes(session: AsyncSession, tenant_id: str, generation: int) -> set[str]:
    query = select(CanaryCheck.node).where(CanaryCheck.tenant_id == tenant_id, CanaryCheck.generation == generation)
    return set((await session.execute(query)).scalars())


async def _serving_node(session: AsyncSession, tenant_id: str) -> str | None:
    placement = await placements.find(session, tenant_id)
    return None if placement is None else placement.serving_node


async def _is_current(session: AsyncSession, subject: Subject) -> bool:
    """Whether the tenant still stands as when the check began."""
    query = select(Tenant.generation).where(Tenant.tenant_id == subject.tenant_id)
    return (await session.execute(query)).scalar() == subject.generation


def _in_words(seen: str) -> str:
    verb, _, status = seen.partition(" ")
    return f"was {verb} ({status})" if status else _WORDS.get(seen, seen)


def _is_excused(row: CanaryCheck, state: str | None) -> bool:
    """A node that died meanwhile serves nobody, one that is drained or cut off takes nobody in: that is no alarm."""
    return state is None or (state in ("draining", "cut_off") and row.expected == "accepted")


async def _keep(runtime: Runtime, subject: Subject, rows: list[CanaryCheck]) -> list[CanaryCheck]:
    """Store the rows and raise the alarms, unless the tenant has changed meanwhile."""
    async with runtime.database.transaction(Scope.platform()) as session:
        if not await _is_current(session, subject):
            return []
        states = {node.name: node.state for node in await nodes.live_nodes(session)}
        kept = [row for row in rows if not (row.is_alarm and _is_excused(row, states.get(row.node)))]
        session.add_all(kept)
    for row in kept:
        facts = {"tenant_id": row.tenant_id, "node": row.node, "generation": row.generation, "expected": row.expected}
        if row.is_alarm:
            log.error("canary.alarm", **facts, lookup=row.lookup, registration=row.registration)
        else:
            log.info("canary.passed", **facts, seconds_to_effect=row.seconds_to_effect)
    return kept
