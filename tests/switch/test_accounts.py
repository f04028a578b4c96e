"""SIP accounts: made in bulk, never kept in clear, closed, reissued."""

from __future__ import annotations

import hashlib
import time

import pytest
from sqlalchemy import select
from sqlalchemy.exc import ProgrammingError

from infra.kit.database import Database, Scope
from infra.kit.problems import InvalidInput
from switch import accounts
from switch.errors import AccountUnknown, ExtensionTaken
from switch.models import SipAccount
from tenancy.models import Tenant
from tests.switch.cluster import add_tenant


def _hash(tenant: Tenant, username: str, password: str) -> str:
    return hashlib.md5(f"{username}:{tenant.sip_domain}:{password}".encode()).hexdigest()  # noqa: S324 - digest's own


async def _open(database: Database, tenant: Tenant, *seats: tuple[str, str]) -> dict[str, str]:
    async with database.transaction(Scope.platform()) as session:
        return await accounts.open_accounts(session, tenant, seats)


async def _rows(database: Database) -> dict[str, SipAccount]:
    async with database.transaction(Scope.platform()) as session:
        return {row.username: row for row in (await session.execute(select(SipAccount))).scalars()}


async def test_a_password_is_shown_once_and_only_its_hash_is_kept(database: Database) -> None:
    tenant = await add_tenant(database)
    passwords = await _open(database, tenant, ("seat_1", "1001"))
    account = (await _rows(database))["1001"]
    assert len(passwords["seat_1"]) >= 20
    assert account.a1_hash == _hash(tenant, "1001", passwords["seat_1"])
    assert (account.seat_id, account.kind, account.is_open) == ("seat_1", "seat", True)


def test_no_password_begins_like_a_number_or_a_formula() -> None:
    passwords = {accounts.new_password() for _ in range(2_000)}
    assert len(passwords) == 2_000
    assert all(password[0].isalpha() and len(password) == 24 for password in passwords)


async def test_a_thousand_seats_open_in_one_go(database: Database) -> None:
    tenant = await add_tenant(database)
    began = time.monotonic()
    passwords = await _open(database, tenant, *((f"seat_{number}", str(number)) for number in range(1000, 2000)))
    assert time.monotonic() - began < 3
    rows = await _rows(database)
    assert len(rows) == len(set(passwords.values())) == 1000
    assert rows["1500"].a1_hash == _hash(tenant, "1500", passwords["seat_1500"])


async def test_an_extension_is_a_tenants_only_once(database: Database) -> None:
    tenant = await add_tenant(database)
    await _open(database, tenant, ("seat_1", "1001"))
    with pytest.raises(ExtensionTaken, match="1001"):
        await _open(database, tenant, ("seat_2", "1002"), ("seat_3", "1001"))
    with pytest.raises(ExtensionTaken):
        await _open(database, tenant, ("seat_2", "1002"), ("seat_3", "1002"))
    assert set(await _rows(database)) == {"1001"}
    await _open(database, await add_tenant(database, domain="other.example"), ("seat_4", "1001"))


@pytest.mark.parametrize("extension", ["12", "0123", "110", "canary", "1001; DROP"])
async def test_what_nobody_could_dial_is_no_extension(database: Database, extension: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        await _open(database, await add_tenant(database), ("seat_1", extension))
    assert refused.value.field == "extension"


async def test_a_reissued_password_replaces_the_old_one(database: Database) -> None:
    tenant = await add_tenant(database)
    old = (await _open(database, tenant, ("seat_1", "1001")))["seat_1"]
    async with database.transaction(Scope.platform()) as session:
        new = (await accounts.reissue(session, tenant, ["seat_1"]))["seat_1"]
        with pytest.raises(AccountUnknown):
            await accounts.reissue(session, tenant, ["seat_1", "seat_unknown"])
    account = (await _rows(database))["1001"]
    assert new != old
    assert (account.a1_hash, account.generation) == (_hash(tenant, "1001", new), 2)


async def test_seats_close_and_open_and_other_tenants_do_not(database: Database) -> None:
    ours, theirs = await add_tenant(database), await add_tenant(database, domain="other.example")
    await _open(database, ours, ("seat_1", "1001"), ("seat_2", "1002"))
    await _open(database, theirs, ("seat_3", "1003"))
    async with database.transaction(Scope.platform()) as session:
        assert await accounts.set_open(session, ours.tenant_id, ["seat_1", "seat_3"], False) == 1
        assert await accounts.set_open(session, ours.tenant_id, ["seat_1"], False) == 0
    rows = await _rows(database)
    assert {name: row.is_open for name, row in rows.items()} == {"1001": False, "1002": True, "1003": True}


async def test_the_canary_is_made_once(database: Database) -> None:
    tenant = await add_tenant(database)
    async with database.transaction(Scope.platform()) as session:
        first = await accounts.ensure_canary(session, tenant)
    async with database.transaction(Scope.platform()) as session:
        assert await accounts.ensure_canary(session, tenant) == first
    canary = (await _rows(database))["canary"]
    assert (canary.kind, canary.seat_id, canary.a1_hash) == ("canary", None, first)


async def test_a_tenants_own_role_may_reissue_but_not_open(database: Database) -> None:
    """A seat opens when it is paid, which is not the tenant's to say; its password is the tenant's own."""
    tenant = await add_tenant(database)
    with pytest.raises(ProgrammingError, match="permission denied"):
        async with database.transaction(Scope.tenant(tenant.tenant_id)) as session:
            await accounts.open_accounts(session, tenant, [("seat_1", "1001")])
    async with database.transaction(Scope.platform()) as session:
        opened = await accounts.open_accounts(session, tenant, [("seat_1", "1001")])
    async with database.transaction(Scope.tenant(tenant.tenant_id)) as session:
        assert (await accounts.reissue(session, tenant, ["seat_1"]))["seat_1"] != opened["seat_1"]
