"""VPN gateways: made with a credential of their own, given a new one, revoked; and how one signs in."""

from __future__ import annotations

import re
from datetime import timedelta
from ipaddress import ip_address

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit import audit, clock, logs, sealing
from infra.kit.database import PLATFORM
from infra.kit.ids import new_id
from infra.kit.problems import InvalidInput
from provisioning.rules import tunnel_keys
from provisioning.tunnels.errors import (
    GatewayInstanceRefused,
    GatewayNameTaken,
    GatewayNotSignedIn,
    GatewayUnknown,
)
from provisioning.tunnels.models import TunnelGateway
from switch.node_sign_in import NodeSignIn

SECRET_PREFIX = "sgw_"  # noqa: S105 - a prefix that lets scanners recognise a leaked secret
SILENT_AFTER_SECONDS = 60
"""A gateway asks at least every ten seconds."""

INSTANCE_LIMIT_CHARACTERS = 100
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\Z")
_HOST = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?\Z")
log = logs.get(__name__)


async def create(
    session: AsyncSession, *, name: str, endpoint_host: str, endpoint_port: int
) -> tuple[TunnelGateway, str]:
    """A new gateway and its secret, which is shown this once; its key is known once it has signed in.

    `endpoint_host` and `endpoint_port` (UDP) are where seats reach it. Raises `InvalidInput`, `GatewayNameTaken`.
    """
    if not _NAME.match(name):
        raise InvalidInput("A gateway's name has 1 to 63 small letters, digits and hyphens.", field="name")
    if not _is_host(endpoint_host):
        raise InvalidInput(f"{endpoint_host!r} is neither a host name nor an address.", field="endpoint_host")
    if not 1 <= endpoint_port <= 65_535:
        raise InvalidInput("A UDP port is a number from 1 to 65535.", field="endpoint_port")
    secret = SECRET_PREFIX + sealing.new_secret()
    gateway = TunnelGateway(
        tunnel_gateway_id=new_id("tgw"),
        name=name,
        endpoint_host=endpoint_host,
        endpoint_port=endpoint_port,
        secret_digest=sealing.digest(secret),
        instance_digest=None,
        public_key=None,
        created_at=clock.now(),
        revoked_at=None,
        last_seen_at=None,
        applied_state=None,
        applied_at=None,
    )
    try:
        async with session.begin_nested():
            session.add(gateway)
    except IntegrityError as error:
        raise GatewayNameTaken(f"There is a gateway {name} already; choose another name.", field="name") from error
    await audit.record(session, PLATFORM, "tunnel_gateway.created", gateway.tunnel_gateway_id, name=name)
    return gateway, secret


def _is_host(text: str) -> bool:
    """A host name, an IPv4 or an IPv6 address."""
    try:
        ip_address(text)
    except ValueError:
        return _HOST.match(text) is not None
    return "%" not in text


async def get(session: AsyncSession, tunnel_gateway_id: str, *, for_update: bool = False) -> TunnelGateway:
    """A gateway. Raises `GatewayUnknown`."""
    query = select(TunnelGateway).where(TunnelGateway.tunnel_gateway_id == tunnel_gateway_id)
    if for_update:
        query = query.with_for_update().execution_options(populate_existing=True)
    gateway = (await session.execute(query)).scalar_one_or_none()
    if gateway is None:
        raise GatewayUnknown(f"There is no VPN gateway {tunnel_gateway_id}.", field="tunnel_gateway_id")
    return gateway


async def revoke(session: AsyncSession, tunnel_gateway_id: str) -> TunnelGateway:
    """Refuse a gateway's credential from this commit on; the gateway then closes its tunnels by itself."""
    gateway = await get(session, tunnel_gateway_id, for_update=True)
    gateway.revoked_at = gateway.revoked_at or clock.now()
    await audit.record(session, PLATFORM, "tunnel_gateway.revoked", tunnel_gateway_id, name=gateway.name)
    return gateway


async def renew_credential(session: AsyncSession, tunnel_gateway_id: str) -> tuple[TunnelGateway, str]:
    """A new secret, shown this once, for whichever installation uses it first; the old one is refused from now on."""
    gateway = await get(session, tunnel_gateway_id, for_update=True)
    secret = SECRET_PREFIX + sealing.new_secret()
    gateway.secret_digest = sealing.digest(secret)
    gateway.instance_digest = None
    gateway.revoked_at = None
    await audit.record(session, PLATFORM, "tunnel_gateway.credential_renewed", tunnel_gateway_id, name=gateway.name)
    return gateway, secret


async def find_silent(session: AsyncSession) -> list[TunnelGateway]:
    """The gateways that have been asking for their peers and do not ask any more."""
    query = (
        select(TunnelGateway)
        .where(
            TunnelGateway.revoked_at.is_(None),
            TunnelGateway.last_seen_at < clock.now() - timedelta(seconds=SILENT_AFTER_SECONDS),
        )
        .order_by(TunnelGateway.name)
    )
    return list((await session.execute(query)).scalars())


async def sign_in(session: AsyncSession, claim: NodeSignIn, instance: str) -> TunnelGateway:
    """The gateway that this is. Raises `GatewayNotSignedIn`, `GatewayInstanceRefused`.

    `instance` is a secret that the installation on the host made for itself. The first one that comes with a
    credential is the only one that may use it afterwards: a copy of the credential alone is worth nothing.
    """
    if not 16 <= len(instance) <= INSTANCE_LIMIT_CHARACTERS:
        raise InvalidInput("`instance` is a random text of 16 to 100 characters.", field="instance")
    query = select(TunnelGateway).where(TunnelGateway.name == claim.node, TunnelGateway.revoked_at.is_(None))
    gateway = (await session.execute(query)).scalar_one_or_none()
    if gateway is None or not claim.is_proven_by(gateway.secret_digest):
        raise GatewayNotSignedIn
    if gateway.instance_digest is None:
        gateway = await get(session, gateway.tunnel_gateway_id, for_update=True)
        if gateway.revoked_at is not None or not claim.is_proven_by(gateway.secret_digest):
            raise GatewayNotSignedIn
        if gateway.instance_digest is None:
            gateway.instance_digest = sealing.digest(instance)
            await session.flush()
            await audit.record(session, PLATFORM, "tunnel_gateway.bound", gateway.tunnel_gateway_id, name=gateway.name)
    if not sealing.matches(instance, gateway.instance_digest or ""):
        log.error("tunnel_gateway.instance_refused", gateway=gateway.name)
        raise GatewayInstanceRefused
    return gateway


async def note_key(session: AsyncSession, gateway: TunnelGateway, public_key: str) -> None:
    """Keep the public key of the gateway's interface; seats that are set up from now on are told it."""
    key = tunnel_keys.read_public(public_key)
    if gateway.public_key != key:
        gateway.public_key = key
        await session.flush()
        await audit.record(session, PLATFORM, "tunnel_gateway.key_reported", gateway.tunnel_gateway_id, public_key=key)
