"""The tunnel's part of a hand-out: a WireGuard configuration whose private key is nowhere else."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncSession

from provisioning.models import Seat
from provisioning.tunnels import accounts, handing
from provisioning.tunnels.edge import Reachable


async def configuration_of(session: AsyncSession, seat: Seat, reachable: Reachable) -> str | None:
    """The whole configuration with a key made now, so that the one before ends with this commit.

    A seat whose tenant supplied the key keeps it, and gets the configuration without one. None for a seat that has no
    tunnel now: a suspended one, and every seat while the installation has no VPN gateway or no SIP server. Also then an
    earlier key ends, which may be why the hand-out is made. Runs under the platform's role. Raises `EdgeNotResolved`:
    the whole hand-out waits for names that are found.
    """
    own = await handing.has_own_key(session, seat)
    setup = None
    if seat.state == "open":
        setup = await (handing.without_key if own else handing.make_keys)(session, seat, reachable)
    if setup is None and not own:
        await accounts.drop_keys(session, seat.tenant_id, [seat.seat_id])
    return None if setup is None else setup.configuration
