"""Gateways: the carriers that calls leave by and arrive from."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit import audit, clock
from infra.kit.database import PLATFORM
from infra.kit.ids import new_id
from infra.kit.problems import InvalidInput
from infra.kit.sealing import Seal
from switch.documents.settings import Gateway as GatewaySettings
from switch.documents.settings import SettingRefused
from switch.errors import GatewayNameTaken
from switch.models import Gateway

MAX_GATEWAYS = 100
MAX_PRIORITY = 1_000
MAX_SOURCES = 64


async def create_gateway(
    session: AsyncSession,
    seal: Seal,
    *,
    name: str,
    host: str,
    port: int,
    username: str | None = None,
    password: str | None = None,
    registers: bool = False,
    sources: tuple[str, ...] = (),
    priority: int = 100,
) -> Gateway:
    """A new gateway. The gateway with the lowest priority number is tried first.

    A node learns of it when it loads its profiles; who may call in stands in its files (`seatline node-config`).
    Raises `InvalidInput` naming the field, `GatewayNameTaken`.
    """
    if not 0 <= priority <= MAX_PRIORITY:
        raise InvalidInput(f"A priority is from 0 to {MAX_PRIORITY}.", field="priority")
    if len(sources) > MAX_SOURCES:
        raise InvalidInput(f"A gateway has at most {MAX_SOURCES} sources; give networks.", field="sources")
    try:
        GatewaySettings(name, host, port, username, password, registers, sources)
    except SettingRefused as refused:
        raise _as_input(refused) from refused
    gateway = Gateway(
        gateway_id=new_id("gw"),
        name=name,
        host=host,
        port=port,
        username=username,
        sealed_password=None if password is None else seal.close(password),
        registers=registers,
        sources=list(sources),
        priority=priority,
        created_at=clock.now(),
    )
    try:
        async with session.begin_nested():
            session.add(gateway)
    except IntegrityError as error:
        raise GatewayNameTaken(f"There is a gateway {name} already; choose another name.", field="name") from error
    await audit.record(session, PLATFORM, "gateway.created", gateway.gateway_id, name=name, host=host)
    return gateway


async def settings_for_nodes(session: AsyncSession, seal: Seal) -> tuple[GatewaySettings, ...]:
    """Every gateway as a node's configuration needs it, passwords unsealed, the preferred one first."""
    query = select(Gateway).order_by(Gateway.priority, Gateway.name).limit(MAX_GATEWAYS)
    return tuple(as_settings(gateway, seal) for gateway in (await session.execute(query)).scalars())


def as_settings(gateway: Gateway, seal: Seal) -> GatewaySettings:
    """One gateway as a node's configuration needs it, its password unsealed."""
    return GatewaySettings(
        name=gateway.name,
        host=gateway.host,
        port=gateway.port,
        username=gateway.username,
        password=None if gateway.sealed_password is None else seal.open(gateway.sealed_password),
        register=gateway.registers,
        sources=tuple(gateway.sources),
    )


def _as_input(refused: SettingRefused) -> InvalidInput:
    """A refused setting (`gateway 'x' port`) under the name of its field in the API."""
    _, _, expected = str(refused).partition(": ")
    last_word = refused.setting.rpartition(" ")[2]
    field = last_word if last_word in ("host", "port", "sources") else None
    if field is None:
        field = "username" if "user name" in expected else "name"
    return InvalidInput(f"{field}: {expected.partition(';')[0]}.", field=field)
