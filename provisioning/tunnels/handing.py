"""What a seat's user gets to set up WireGuard with: the whole configuration, with a private key that nobody keeps."""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlalchemy.ext.asyncio import AsyncSession

from provisioning.models import Seat
from provisioning.rules import tunnel_documents, tunnel_keys
from provisioning.rules.tunnel_documents import SeatSide
from provisioning.tunnels import accounts, pools
from provisioning.tunnels.edge import Reachable
from provisioning.tunnels.models import TunnelAccount


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """A seat's WireGuard configuration; a secret where it holds a private key."""

    configuration: str = field(repr=False)
    address: str


async def make_keys(session: AsyncSession, seat: Seat, reachable: Reachable | None = None) -> Setup | None:
    """Make new keys for an open seat; its earlier key ends with this commit.

    The private key is in the answer and nowhere else: the caller keeps it under a secret of its own or not at all.
    None, and nothing changed, while the installation has no VPN gateway or no node to reach. `reachable` is shared by
    the seats of one request. Runs under the platform's role. Raises `TunnelSeatRefused`, `AddressesExhausted`,
    `EdgeNotResolved`.
    """
    account = await accounts.hold(session, seat)
    side = await _side(session, account, reachable)
    if side is None:
        return None
    pair = tunnel_keys.new_pair()
    await accounts.set_key(session, account, pair.public, accounts.MADE)
    return Setup(
        configuration=tunnel_documents.seat_configuration(side, private_key=pair.private), address=side.address
    )


async def has_own_key(session: AsyncSession, seat: Seat) -> bool:
    """Whether the tenant supplied the seat's key: then there is no private key to hand out."""
    account = await accounts.find(session, seat)
    return account is not None and account.key_origin == accounts.SUPPLIED


async def without_key(session: AsyncSession, seat: Seat, reachable: Reachable | None = None) -> Setup | None:
    """The configuration for a seat whose user has the private key already; None and errors as in `make_keys`."""
    side = await _side(session, await accounts.hold(session, seat), reachable)
    if side is None:
        return None
    return Setup(configuration=tunnel_documents.seat_configuration(side, private_key=None), address=side.address)


async def _side(session: AsyncSession, account: TunnelAccount, reachable: Reachable | None) -> SeatSide | None:
    gateway = await pools.gateway_of(session, await pools.hold(session, account.tenant_id))
    if gateway is None or gateway.public_key is None or account.address is None:
        return None
    addresses = await (reachable or Reachable()).addresses(session)
    if not addresses:
        return None
    return SeatSide(
        address=account.address,
        gateway_key=gateway.public_key,
        gateway_host=gateway.endpoint_host,
        gateway_port=gateway.endpoint_port,
        reachable=addresses,
    )
