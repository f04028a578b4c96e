"""Guesses are counted before they are looked at: for each account and for each network address.

The counters live in a table of fixed size: what is counted is hashed, under a key of the installation, into one of
`BUCKETS` rows. Two accounts in one row are a rare nuisance for minutes; a table that an attacker fills is a lasting
one.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from datetime import timedelta
from typing import Literal

from sqlalchemy import case, or_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit import clock, logs
from infra.kit.addresses import parse_address
from infra.kit.database import Database, Scope
from infra.kit.sealing import derived_key
from tenancy.people.errors import TooManyAttempts
from tenancy.people.models import SignInAttempts

log = logs.get(__name__)
WINDOW = timedelta(minutes=15)
ACCOUNT_LIMIT = 10
"""Tries for one account in a window; a successful sign-in begins anew."""
SOURCE_LIMIT = 100
"""Tries from one network address in a window; an office shares one."""
BUCKETS = 1 << 18
"""Rows of each sort at most: some 30 MB in all."""
_IPV6_NETWORK_BITS = 64

Sort = Literal["account", "source"]


class Throttle:
    """The counters of one installation."""

    def __init__(self, database: Database, secret_key: str) -> None:
        self._database = database
        self._key = derived_key(secret_key, "sign-in attempts")

    async def take(self, *, source: str, account: str | None = None) -> None:
        """Count a try, in a transaction of its own, so that it stays counted whatever becomes of it.

        Raises `TooManyAttempts` where there were too many; whether there is such an account makes no difference. A
        network address that has no tries left takes none of an account's.
        """
        wanted: list[tuple[int, Sort, int]] = [(self._bucket("source", network_of(source)), "source", SOURCE_LIMIT)]
        if account is not None:
            wanted.append((self._bucket("account", account), "account", ACCOUNT_LIMIT))
        refused: int | None = None
        async with self._database.transaction(Scope.platform()) as session:
            for bucket, sort, limit in wanted:  # always in this order: nobody waits for one who waits for him
                refused = await _count(session, bucket, limit)
                if refused is not None:
                    log.warning("sign_in.throttled", sort=sort, source=source)
                    break
        if refused is not None:
            raise TooManyAttempts(refused)

    async def forgive(self, session: AsyncSession, account: str) -> None:
        """Begin anew for an account whose owner has come."""
        bucket = self._bucket("account", account)
        await session.execute(update(SignInAttempts).where(SignInAttempts.bucket == bucket).values(attempts=0))

    def _bucket(self, sort: Sort, value: str) -> int:
        seal = hmac.digest(self._key, f"{sort}|{value}".encode("utf-8", "surrogatepass"), hashlib.sha256)
        return int.from_bytes(seal[:8]) % BUCKETS + (BUCKETS if sort == "account" else 0)


def network_of(source: str) -> str:
    """What counts as one network address: an IPv4 address, or the 64 bits that one IPv6 line has."""
    address = parse_address(source) or parse_address(_without_port(source))
    if address is None:
        return "unknown"
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, _IPV6_NETWORK_BITS), strict=False))


def _without_port(source: str) -> str:
    """Some proxies forward `192.0.2.7:50000` and `[2001:db8::1]:50000`."""
    host, _, _ = source.removeprefix("[").partition("]") if source.startswith("[") else source.partition(":")
    return host


async def _count(session: AsyncSession, bucket: int, limit: int) -> int | None:
    """Count one; the seconds to wait where that was one too many."""
    now = clock.now()
    row = SignInAttempts
    is_over = or_(row.window_began_at <= now - WINDOW, row.window_began_at > now)
    statement = (
        insert(SignInAttempts)
        .values(bucket=bucket, attempts=1, window_began_at=now)
        .on_conflict_do_update(
            index_elements=[row.bucket],
            set_={
                "attempts": case((is_over, 1), (row.attempts > limit, row.attempts), else_=row.attempts + 1),
                "window_began_at": case((is_over, now), else_=row.window_began_at),
            },
        )
        .returning(row.attempts, row.window_began_at)
    )
    attempts, began_at = (await session.execute(statement)).one()
    if attempts <= limit:
        return None
    return max(1, int((began_at + WINDOW - now).total_seconds()) + 1)
