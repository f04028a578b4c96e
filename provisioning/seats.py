"""Seats: found, named, and handed out with what a phone needs (clause C20)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit import audit, jobs
from provisioning import placing, seat_names
from provisioning.errors import SeatNotOpen, SeatUnknown
from provisioning.handout import ending
from provisioning.models import Seat
from provisioning.order_progress import FLUSH_REGISTRATIONS
from provisioning.rules import seat_states, seat_table
from provisioning.tunnels import accounts as tunnel_accounts
from switch import accounts, media_policies, placements
from switch.admission import Encryption
from switch.edge import edges
from switch.models import Node
from tenancy import tenants

NAME_LIMIT_CHARACTERS = 100
PLAIN_TRANSPORTS = ("udp", "tcp")

REGISTRATION_SECONDS = 120
"""How long a phone should ask to be registered: so soon it finds the spare when its node dies, and a node with 1,000
phones hears nine registrations a second, of the 340 it can take."""

AFTER_RESTORATION_CHINESE = (
    "停机期间，话机的注册会被拒绝（403 或 404）。多数软电话收到拒绝后会停止自动注册，恢复服务后需在软电话中"
    "手动重新启用账号或重新注册；无需更换密码。停机期间仍可拨打紧急电话 110、119、120、122。"
)
AFTER_RESTORATION_ENGLISH = (
    "While the service is suspended, registrations are refused (403 or 404). Many softphones stop trying after a "
    "refusal: once the service is restored, enable the account again or register by hand. The password stays valid. "
    "The emergency numbers 110, 119, 120 and 122 can be called during a suspension."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SipServer:
    """Where a phone may register: an `edge`, the node `serving` now, else the tenant's `home` or `spare`.

    `transport`: udp, tcp or tls.
    """

    role: str
    host: str
    port: int
    transport: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SipFacts:
    """What a phone is set up with, but for the password; servers in the order in which to try them.

    `encryption` is what the tenant wants of the media: a phone that does not know it may be refused its calls.
    """

    username: str
    domain: str
    servers: list[SipServer]
    encryption: Encryption = Encryption.ACCEPTED


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """A seat's facts with a password that is shown this once."""

    facts: SipFacts
    password: str


async def get_seat(session: AsyncSession, seat_id: str, tenant_id: str | None, *, for_update: bool = False) -> Seat:
    """A seat, narrowed to a tenant where the caller belongs to one. Raises `SeatUnknown`."""
    query = select(Seat).where(Seat.seat_id == seat_id)
    if tenant_id is not None:
        query = query.where(Seat.tenant_id == tenant_id)
    if for_update:
        query = query.with_for_update().execution_options(populate_existing=True)
    seat = (await session.execute(query)).scalar_one_or_none()
    if seat is None:
        raise SeatUnknown(f"There is no seat {seat_id}.", field="seat_id")
    return seat


async def sip_facts(session: AsyncSession, seat: Seat) -> SipFacts | None:
    """Where a seat's phone registers; None for a circuit."""
    if seat.extension is None:
        return None
    tenant = await tenants.get(session, seat.tenant_id)
    encryption = await media_policies.of_tenant(session, tenant.tenant_id)
    servers = await _servers(session, tenant.tenant_id, encryption)
    return SipFacts(username=seat.extension, domain=tenant.sip_domain, servers=servers, encryption=encryption)


async def rename(session: AsyncSession, seat: Seat, name: str | None) -> None:
    """Name a seat after whoever sits there; None takes the name away. Raises `InvalidInput`, and `SeatNameTaken` for
    the name of another seat that the tenant holds."""
    text = seat_table.checked_text(name, limit_characters=NAME_LIMIT_CHARACTERS, field="name")
    if text is not None:
        await seat_names.check_free(session, seat, text)
    async with seat_names.kept_apart(session):
        seat.name = text
        await session.flush()
    await audit.record(session, seat.tenant_id, "seat.named", seat.seat_id, name=text)


async def reissue_credentials(session: AsyncSession, seat: Seat) -> Credentials:
    """A new SIP password, shown this once; the old one is refused from this commit on, the links of hand-outs that show
    it end, and a job ends a registration made with it.

    Raises `SeatNotOpen` for what is neither open nor suspended, or has no phone.
    """
    return (await reissue_many(session, [seat]))[seat.seat_id]


async def reissue_many(session: AsyncSession, seats: Sequence[Seat]) -> dict[str, Credentials]:
    """New SIP passwords for seats of one tenant, by seat_id, each shown this once; as `reissue_credentials`.

    Raises `SeatNotOpen` for one that has no account.
    """
    if not seats:
        return {}
    for seat in seats:
        check_has_account(seat)
    tenant = await tenants.get(session, seats[0].tenant_id)
    encryption = await media_policies.of_tenant(session, tenant.tenant_id)
    servers = await _servers(session, tenant.tenant_id, encryption)
    passwords = await accounts.reissue(session, tenant, [seat.seat_id for seat in seats])
    await ending.end_links(session, tenant.tenant_id, list(passwords), "replaced")
    await jobs.defer(session, FLUSH_REGISTRATIONS, tenant_id=tenant.tenant_id, seat_ids=list(passwords))
    return {
        seat.seat_id: Credentials(
            facts=SipFacts(
                username=seat.extension or "", domain=tenant.sip_domain, servers=servers, encryption=encryption
            ),
            password=passwords[seat.seat_id],
        )
        for seat in seats
    }


async def renew_accounts(session: AsyncSession, seat: Seat, *, including_tunnel: bool = False) -> Credentials:
    """A seat's SIP password and VPN account anew (C20): the key that was made for its tunnel ends with the old
    password, and the next hand-out makes another.

    A key that the tenant supplied stays, because its private half never was in our hands, unless it is to end too
    (`including_tunnel`). Runs under the platform's role. Raises `SeatNotOpen`.
    """
    issued = await reissue_credentials(session, seat)
    origins = (tunnel_accounts.MADE, tunnel_accounts.SUPPLIED) if including_tunnel else (tunnel_accounts.MADE,)
    await tunnel_accounts.drop_keys(session, seat.tenant_id, [seat.seat_id], origins=origins)
    return issued


def has_account(seat: Seat) -> bool:
    """Whether a seat has a SIP account now."""
    return seat.extension is not None and seat.state in seat_states.IN_USE


def check_has_account(seat: Seat) -> None:
    """Refuse what has no SIP account (any more, or yet); raises `SeatNotOpen`."""
    if seat.extension is None:
        raise SeatNotOpen("A circuit has no SIP account; only seats have.", field="seat_id")
    if seat.state not in seat_states.IN_USE:
        raise SeatNotOpen(
            f"The seat is {seat.state}; it has credentials while it is open, which needs its order to be paid.",
            field="seat_id",
        )


async def _servers(session: AsyncSession, tenant_id: str, encryption: Encryption) -> list[SipServer]:
    """Over each transport in turn: the edges, which always know who serves, then the tenant's nodes themselves.

    Over TLS first where the tenant demands encryption: the media's keys travel in the signalling.
    """
    placement = await placements.find(session, tenant_id)
    if placement is None:
        return []
    roles = list(placing.served_first(placement))
    query = select(Node).where(Node.name.in_([name for _, name in roles]), Node.state != "left")
    nodes = {node.name: node for node in (await session.execute(query)).scalars()}
    places = [("edge", edge.host, edge.sip_port, edge.sip_tls_port) for edge in await edges.addresses(session)]
    for role, name in roles:
        node = nodes.get(name)
        if node is not None:
            places.append((role, node.sip_host, node.sip_port, node.sip_tls_port))
    plain = [
        SipServer(role=role, host=host, port=port, transport=transport)
        for transport in PLAIN_TRANSPORTS
        for role, host, port, _ in places
    ]
    over_tls = [
        SipServer(role=role, host=host, port=tls_port, transport="tls")
        for role, host, _, tls_port in places
        if tls_port is not None
    ]
    return over_tls + plain if encryption is Encryption.DEMANDED else plain + over_tls
