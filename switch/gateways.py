"""Gateways: the carriers that calls leave by and arrive from."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit import audit, clock
from infra.kit.database import PLATFORM
from infra.kit.ids import new_id
from infra.kit.problems import InvalidInput
from infra.kit.sealing import Seal
from switch.call_policy import is_prefix
from switch.documents.settings import MIN_CHECK_SECONDS, SettingRefused
from switch.documents.settings import Gateway as GatewaySettings
from switch.errors import GatewayNameTaken, GatewayUnknown, TooManyGateways
from switch.gateway_choice import ANY_NUMBER
from switch.models import Gateway, GatewayState, Node
from switch.nodes import LIVE_STATES

MAX_GATEWAYS = 100
MAX_PRIORITY = 1_000
MAX_WEIGHT = 1_000
MAX_SOURCES = 64
WIDEST_SOURCE = {4: 8, 6: 19}
"""The widest network that may call in, by IP version, as the length of its prefix: no carrier has more."""
MAX_PREFIXES = 200
MAX_CAPACITY_CALLS = 100_000
MAX_CHECK_SECONDS = 3_600
DEFAULT_CHECK_SECONDS = 30
"""For gateways that are added by the API. A carrier that answers no OPTIONS at all needs none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayDetails:
    """What an operator says about a gateway; the meaning of each stands at `switch.models.Gateway`."""

    name: str
    host: str
    port: int = 5060
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    registers: bool = False
    sources: tuple[str, ...] = ()
    priority: int = 100
    weight: int = 100
    prefixes: tuple[str, ...] = ()
    capacity_calls: int | None = None
    check_seconds: int | None = None
    is_enabled: bool = True

    def check(self) -> None:
        """Raise `InvalidInput` naming the field that cannot be used."""
        _between("priority", self.priority, 0, MAX_PRIORITY)
        _between("weight", self.weight, 1, MAX_WEIGHT)
        _between("capacity_calls", self.capacity_calls, 1, MAX_CAPACITY_CALLS)
        _between("check_seconds", self.check_seconds, MIN_CHECK_SECONDS, MAX_CHECK_SECONDS)
        if len(self.sources) > MAX_SOURCES:
            raise InvalidInput(f"A gateway has at most {MAX_SOURCES} sources; give networks.", field="sources")
        if len(self.prefixes) > MAX_PREFIXES:
            raise InvalidInput(f"A gateway has at most {MAX_PREFIXES} prefixes; give shorter ones.", field="prefixes")
        for where, address in (("host", self.host), *(("sources", source) for source in self.sources)):
            _check_width(address, where)
        for prefix in self.prefixes:
            if prefix != ANY_NUMBER and not is_prefix(prefix):
                words = "is no prefix; write +86 or +8610 for public numbers, 955 for short codes, * for all"
                raise InvalidInput(f"{prefix[:40]!r} {words}.", field="prefixes")
        try:
            self.settings()
        except SettingRefused as refused:
            raise _as_input(refused) from refused

    def settings(self) -> GatewaySettings:
        """As a node's configuration needs it. Raises `SettingRefused`."""
        return GatewaySettings(
            self.name,
            self.host,
            self.port,
            self.username,
            self.password,
            self.registers,
            self.sources,
            self.check_seconds,
        )


async def create_gateway(session: AsyncSession, seal: Seal, **details: Any) -> Gateway:
    """A new gateway of these `GatewayDetails`; the supervisors tell the running nodes of it, both ways.

    Raises `InvalidInput` naming the field, `GatewayNameTaken`, `TooManyGateways`.
    """
    given = GatewayDetails(**details)
    given.check()
    if (await session.scalar(select(func.count()).select_from(Gateway)) or 0) >= MAX_GATEWAYS:
        raise TooManyGateways(f"There are {MAX_GATEWAYS} gateways; delete one first.")
    gateway = Gateway(gateway_id=new_id("gw"), generation=1, created_at=clock.now(), **_columns(given, seal))
    try:
        async with session.begin_nested():
            session.add(gateway)
    except IntegrityError as error:
        words = f"There is a gateway {given.name} already; choose another name."
        raise GatewayNameTaken(words, field="name") from error
    await audit.record(session, PLATFORM, "gateway.created", gateway.gateway_id, name=given.name, host=given.host)
    return gateway


async def get(session: AsyncSession, gateway_id: str, *, for_update: bool = False) -> Gateway:
    """One gateway. Raises `GatewayUnknown`."""
    query = select(Gateway).where(Gateway.gateway_id == gateway_id)
    if for_update:
        query = query.with_for_update()
    found = (await session.execute(query)).scalar_one_or_none()
    if found is None:
        raise GatewayUnknown(f"There is no gateway {gateway_id}.", field="gateway_id")
    return found


async def change_gateway(session: AsyncSession, seal: Seal, gateway_id: str, changes: Mapping[str, Any]) -> Gateway:
    """Change some of a gateway's details, not its name: call records know it by that.

    Calls that run go on; new ones follow from this commit on, and nodes are told within seconds. Without its user name
    a gateway has no password either. Raises `InvalidInput` naming the field, `GatewayUnknown`.
    """
    gateway = await get(session, gateway_id, for_update=True)
    before = _details(gateway, seal)
    after = replace(before, **changes)
    if after.username is None and "password" not in changes:
        after = replace(after, password=None)
    if after == before:
        return gateway
    after.check()
    is_retold = after.is_enabled != before.is_enabled or after.settings() != before.settings()
    for column, value in _columns(after, seal).items():
        setattr(gateway, column, value)
    gateway.generation += is_retold
    facts = {name: value for name, value in changes.items() if name != "password"}
    await audit.record(
        session, PLATFORM, "gateway.changed", gateway_id, **facts, password_changed=after.password != before.password
    )
    return gateway


async def delete_gateway(session: AsyncSession, gateway_id: str) -> None:
    """Take a gateway away: no call goes there any more, nodes forget it within seconds. Raises `GatewayUnknown`.

    Calls that run over it go on, and call records keep its name.
    """
    gateway = await get(session, gateway_id, for_update=True)
    await session.execute(delete(GatewayState).where(GatewayState.gateway_id == gateway_id))
    await session.delete(gateway)
    await audit.record(session, PLATFORM, "gateway.deleted", gateway_id, name=gateway.name, host=gateway.host)


async def states_of(session: AsyncSession, gateway_ids: Sequence[str]) -> dict[str, list[GatewayState]]:
    """How the live nodes see these gateways, by gateway, the nodes by name."""
    query = (
        select(GatewayState)
        .join(Node, Node.name == GatewayState.node)
        .where(GatewayState.gateway_id.in_(gateway_ids), Node.state.in_(LIVE_STATES))
        .order_by(GatewayState.node)
    )
    found: dict[str, list[GatewayState]] = {gateway_id: [] for gateway_id in gateway_ids}
    for state in (await session.execute(query)).scalars():
        found[state.gateway_id].append(state)
    return found


async def settings_for_nodes(session: AsyncSession, seal: Seal) -> tuple[GatewaySettings, ...]:
    """Every enabled gateway as a node's configuration needs it, passwords unsealed, the preferred one first."""
    query = (
        select(Gateway).where(Gateway.is_enabled.is_(True)).order_by(Gateway.priority, Gateway.name).limit(MAX_GATEWAYS)
    )
    return tuple(as_settings(gateway, seal) for gateway in (await session.execute(query)).scalars())


def as_settings(gateway: Gateway, seal: Seal) -> GatewaySettings:
    """One gateway as a node's configuration needs it, its password unsealed."""
    return _details(gateway, seal).settings()


def _details(gateway: Gateway, seal: Seal) -> GatewayDetails:
    return GatewayDetails(
        name=gateway.name,
        host=gateway.host,
        port=gateway.port,
        username=gateway.username,
        password=None if gateway.sealed_password is None else seal.open(gateway.sealed_password),
        registers=gateway.registers,
        sources=tuple(gateway.sources),
        priority=gateway.priority,
        weight=gateway.weight,
        prefixes=tuple(gateway.prefixes),
        capacity_calls=gateway.capacity_calls,
        check_seconds=gateway.check_seconds,
        is_enabled=gateway.is_enabled,
    )


def _columns(details: GatewayDetails, seal: Seal) -> dict[str, Any]:
    columns = asdict(details)
    password = columns.pop("password")
    return columns | {
        "sealed_password": None if password is None else seal.close(password),
        "sources": list(details.sources),
        "prefixes": list(details.prefixes),
    }


def _check_width(address: str, where: str) -> None:
    """Refuse a network of half the internet: whoever is in it may call in. What is no network is judged elsewhere."""
    if "%" in address:
        raise InvalidInput(f"{address[:60]!r} names a link of one machine; give an address.", field=where)
    try:
        network = ipaddress.ip_network(address, strict=False)
    except ValueError:
        return
    widest = WIDEST_SOURCE[network.version]
    if network.prefixlen < widest:
        words = f"{address[:60]} lets {network.num_addresses:,} addresses call in"
        raise InvalidInput(f"{words}; give networks of /{widest} or smaller.", field=where)


def _between(name: str, value: int | None, low: int, high: int) -> None:
    if value is not None and not low <= value <= high:
        raise InvalidInput(f"{name}: expected {low} to {high}, not {value}.", field=name)


def _as_input(refused: SettingRefused) -> InvalidInput:
    """A refused setting (`gateway 'x' port`) under the name of its field in the API."""
    _, _, expected = str(refused).partition(": ")
    last_word = refused.setting.rpartition(" ")[2]
    field_name = last_word if last_word in ("host", "port", "sources") else None
    if field_name is None:
        field_name = "username" if "user name" in expected else "name"
    return InvalidInput(f"{field_name}: {expected.partition(';')[0]}.", field=field_name)
