"""The seats' WireGuard accounts: opened with the seat, given a key by hand-out or tenant, ended with the seat."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit import audit, clock
from provisioning.models import Seat
from provisioning.rules import tunnel_addresses, tunnel_keys
from provisioning.tunnels import pools
from provisioning.tunnels.errors import KeyUsedBefore, TunnelSeatRefused
from provisioning.tunnels.models import TunnelAccount, TunnelKey

MADE = "made"
SUPPLIED = "supplied"


async def open_accounts(session: AsyncSession, tenant_id: str, seat_ids: Sequence[str]) -> None:
    """Give each of these seats an account and an address; one that has them keeps them.

    Without a key yet nobody can use it. Raises `AddressesExhausted`; then no seat has got anything.
    """
    await pools.hold(session, tenant_id)
    having = select(TunnelAccount.seat_id).where(
        TunnelAccount.tenant_id == tenant_id,
        TunnelAccount.seat_id.in_(list(seat_ids)),
        TunnelAccount.address.is_not(None),
    )
    served = frozenset((await session.execute(having)).scalars())
    missing = [seat_id for seat_id in seat_ids if seat_id not in served]
    if not missing:
        return
    in_use = select(TunnelAccount.address).where(
        TunnelAccount.tenant_id == tenant_id, TunnelAccount.address.is_not(None)
    )
    used = frozenset(address for address in (await session.execute(in_use)).scalars() if address is not None)
    networks = await pools.networks_of(session, tenant_id)
    addresses = tunnel_addresses.free_addresses(networks, used, len(missing))
    rows = [
        {
            "tenant_id": tenant_id,
            "seat_id": seat_id,
            "address": address,
            "public_key": None,
            "key_origin": None,
            "key_changed_at": None,
            "last_handshake_at": None,
            "created_at": clock.now(),
        }
        for seat_id, address in zip(missing, addresses, strict=True)
    ]
    adding = insert(TunnelAccount).on_conflict_do_update(
        index_elements=[TunnelAccount.tenant_id, TunnelAccount.seat_id],
        set_={"address": insert(TunnelAccount).excluded.address},
    )
    await session.execute(adding, rows)


async def end_accounts(session: AsyncSession, tenant_id: str, seat_ids: Sequence[str]) -> None:
    """End the accounts of closed seats from this commit on: their addresses are free, their keys never come back."""
    await session.execute(
        update(TunnelAccount)
        .where(TunnelAccount.tenant_id == tenant_id, TunnelAccount.seat_id.in_(list(seat_ids)))
        .values(address=None, public_key=None, key_origin=None, key_changed_at=clock.now())
        .execution_options(synchronize_session=False)
    )


async def drop_keys(
    session: AsyncSession, tenant_id: str, seat_ids: Sequence[str], *, origins: Sequence[str] = (MADE, SUPPLIED)
) -> None:
    """End the keys of seats, all of them or those of some origin: nobody reaches their tunnels before new ones are
    handed out or supplied.

    Runs under the platform's role; the accounts and their addresses stay.
    """
    dropped = await session.execute(
        update(TunnelAccount)
        .where(
            TunnelAccount.tenant_id == tenant_id,
            TunnelAccount.seat_id.in_(list(seat_ids)),
            TunnelAccount.public_key.is_not(None),
            TunnelAccount.key_origin.in_(origins),
        )
        .values(public_key=None, key_origin=None, key_changed_at=clock.now(), last_handshake_at=None)
        .returning(TunnelAccount.seat_id)
        .execution_options(synchronize_session=False)
    )
    for seat_id in dropped.scalars().all():
        await audit.record(session, tenant_id, "tunnel_key.dropped", seat_id)


async def find(session: AsyncSession, seat: Seat) -> TunnelAccount | None:
    """A seat's account; None where it has none: it is not open yet, or a circuit."""
    query = (
        select(TunnelAccount)
        .where(TunnelAccount.tenant_id == seat.tenant_id, TunnelAccount.seat_id == seat.seat_id)
        .execution_options(populate_existing=True)
    )
    return (await session.execute(query)).scalar_one_or_none()


async def hold(session: AsyncSession, seat: Seat) -> TunnelAccount:
    """The account of an open seat, with the tenant's pool locked. Raises `TunnelSeatRefused`."""
    if seat.item != "seat":
        raise TunnelSeatRefused("A circuit has no tunnel; only seats have.", field="seat_id")
    if seat.state != "open":
        raise TunnelSeatRefused(
            f"The seat is {seat.state}; it has a tunnel while it is open, which needs its order to be paid.",
            field="seat_id",
        )
    await open_accounts(session, seat.tenant_id, [seat.seat_id])
    account = await find(session, seat)
    if account is None:
        raise RuntimeError(f"The account of {seat.seat_id} was made and is not there.")
    return account


async def supply_key(session: AsyncSession, seat: Seat, public_key: str) -> TunnelAccount:
    """Take a public key that the tenant has made itself; the seat's earlier one ends with this commit.

    Runs under the platform's role. Raises `KeyRefused`, `KeyUsedBefore` for one that any seat has or had,
    `TunnelSeatRefused`.
    """
    account = await hold(session, seat)
    await set_key(session, account, tunnel_keys.read_public(public_key), SUPPLIED)
    await pools.gateway_of(session, await pools.hold(session, seat.tenant_id))
    return account


async def set_key(session: AsyncSession, account: TunnelAccount, public_key: str, origin: str) -> None:
    """Let a seat's tunnel answer to this key and to no other. Raises `KeyUsedBefore`."""
    claimed = await session.execute(
        insert(TunnelKey)
        .values(
            public_key=public_key,
            tenant_id=account.tenant_id,
            seat_id=account.seat_id,
            registered_at=clock.now(),
        )
        .on_conflict_do_nothing()
        .returning(TunnelKey.public_key)
    )
    if claimed.scalar() is None:
        raise KeyUsedBefore(
            "This public key is or was used for a seat; make a new pair with `wg genkey`.", field="public_key"
        )
    account.public_key = public_key
    account.key_origin = origin
    account.key_changed_at = clock.now()
    account.last_handshake_at = None
    await session.flush()
    await audit.record(session, account.tenant_id, f"tunnel_key.{origin}", account.seat_id, public_key=public_key)
