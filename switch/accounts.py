"""SIP accounts: what phones register with.

A password is shown once, at the moment it is made; kept is only MD5(username:domain:password), which is what digest
authentication needs (RFC 2617, section 3.2.2.2; FreeSWITCH's `a1-hash`).
"""

from __future__ import annotations

import secrets
import string
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ARRAY, Text, func, literal, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit import audit, clock
from infra.kit.ids import new_id
from infra.kit.problems import InvalidInput
from switch.canary_call import CANARY
from switch.errors import AccountUnknown, ExtensionTaken
from switch.models import SipAccount
from switch.numbers import is_extension
from switch.sip.digest import a1_hash
from tenancy.models import Tenant

PASSWORD_BYTES = 18
"""Some 143 random bits: 24 URL-safe characters, which also every phone's web form takes."""

MAX_ACCOUNTS_A_STATEMENT = 5_000
"""Nine values each, and PostgreSQL takes 65,535 a statement."""


def new_password() -> str:
    """A SIP password: 24 random URL-safe characters, a letter first.

    What begins like a number or a formula is not everywhere taken as it stands: sipp reads `0x…` as hexadecimal digits
    and is refused, a spreadsheet program calculates with `-…`.
    """
    return secrets.choice(string.ascii_letters) + secrets.token_urlsafe(PASSWORD_BYTES)[1:]


async def open_accounts(
    session: AsyncSession, tenant: Tenant, seats: Sequence[tuple[str, str]], *, is_open: bool = True
) -> dict[str, str]:
    """Make the accounts of seats, given as (seat_id, extension), and return seat_id → password, shown this once.

    `is_open=False` makes accounts that nothing can register with before `set_open`. One statement for thousands.
    Raises `InvalidInput` for what cannot be an extension, `ExtensionTaken` when the tenant has one of them already.
    """
    for _, extension in seats:
        if not is_extension(extension):
            raise InvalidInput(
                f"{extension[:20]!r} cannot be an extension: 3 to 6 digits, not beginning with 0, no emergency number.",
                field="extension",
            )
    passwords = {seat_id: new_password() for seat_id, _ in seats}
    rows = [
        _row(tenant, username=extension, password=passwords[seat_id], seat_id=seat_id, is_open=is_open)
        for seat_id, extension in seats
    ]
    for first in range(0, len(rows), MAX_ACCOUNTS_A_STATEMENT):
        batch = rows[first : first + MAX_ACCOUNTS_A_STATEMENT]
        made = await session.execute(
            insert(SipAccount).values(batch).on_conflict_do_nothing().returning(SipAccount.username)
        )
        taken = {str(row["username"]) for row in batch} - set(made.scalars())
        if taken or len({row["username"] for row in batch}) < len(batch):
            names = ", ".join(sorted(taken)[:5]) or "one of them twice"
            raise ExtensionTaken(f"The tenant has these extensions already: {names}.", field="extension")
    if rows:
        await audit.record(session, tenant.tenant_id, "sip_accounts.opened", None, count=len(rows), is_open=is_open)
    return passwords


async def reissue(session: AsyncSession, tenant: Tenant, seat_ids: Sequence[str]) -> dict[str, str]:
    """New passwords for seats, seat_id → password, shown this once; the old ones are refused from this commit on.

    A phone that is registered with an old one stays so until it registers again. Two statements for thousands. Raises
    `AccountUnknown` naming a seat without an account; then none is changed.
    """
    query = (
        select(SipAccount.seat_id, SipAccount.username)
        .where(SipAccount.tenant_id == tenant.tenant_id, SipAccount.seat_id.in_(list(seat_ids)))
        .with_for_update()
    )
    usernames = {str(seat_id): username for seat_id, username in await session.execute(query)}
    missing = sorted(set(seat_ids) - usernames.keys())
    if missing:
        raise AccountUnknown(f"The seat {missing[0]} has no SIP account.", field="seat_id")
    passwords = {seat_id: new_password() for seat_id in usernames}
    hashes = [a1_hash(usernames[seat_id], tenant.sip_domain, password) for seat_id, password in passwords.items()]
    renewed = select(
        func.unnest(literal(list(passwords), ARRAY(Text))).label("seat_id"),
        func.unnest(literal(hashes, ARRAY(Text))).label("a1_hash"),
    ).subquery()
    await session.execute(
        update(SipAccount)
        .where(SipAccount.tenant_id == tenant.tenant_id, SipAccount.seat_id == renewed.c.seat_id)
        .values(a1_hash=renewed.c.a1_hash, generation=SipAccount.generation + 1, changed_at=clock.now())
        .execution_options(synchronize_session=False)
    )
    for seat_id in passwords:
        await audit.record(session, tenant.tenant_id, "sip_account.reissued", seat_id)
    return passwords


async def set_open(session: AsyncSession, tenant_id: str, seat_ids: Sequence[str], is_open: bool) -> int:
    """Open or close the accounts of seats from this commit on; returns how many that changed."""
    changed = await session.execute(
        update(SipAccount)
        .where(
            SipAccount.tenant_id == tenant_id,
            SipAccount.seat_id.in_(list(seat_ids)),
            SipAccount.is_open.is_(not is_open),
        )
        .values(is_open=is_open, generation=SipAccount.generation + 1, changed_at=clock.now())
        .returning(SipAccount.account_id)
    )
    return len(changed.scalars().all())


async def ensure_canary(session: AsyncSession, tenant: Tenant) -> str:
    """The a1-hash of the tenant's canary account, which is made when missing; its password is known to nobody."""
    row = _row(tenant, username=CANARY, password=new_password(), seat_id=None, is_open=True)
    await session.execute(insert(SipAccount).values(row).on_conflict_do_nothing())
    query = select(SipAccount.a1_hash).where(SipAccount.tenant_id == tenant.tenant_id, SipAccount.username == CANARY)
    return (await session.execute(query)).scalar_one()


def _row(tenant: Tenant, *, username: str, password: str, seat_id: str | None, is_open: bool) -> dict[str, Any]:
    return {
        "tenant_id": tenant.tenant_id,
        "account_id": new_id("sip"),
        "username": username,
        "a1_hash": a1_hash(username, tenant.sip_domain, password),
        "kind": "canary" if seat_id is None else "seat",
        "seat_id": seat_id,
        "is_open": is_open,
        "generation": 1,
        "changed_at": clock.now(),
    }
