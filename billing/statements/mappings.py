"""Column mappings: one for each bank whose files are read; added, never changed."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import Any

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from billing.statements.errors import MappingNameTaken, MappingNotFound, MappingRefused
from billing.statements.models import BankMapping
from billing.statements.reading import Layout, check_layout
from infra.kit import audit, clock
from infra.kit.database import PLATFORM

ACCOUNT_LIMIT_CHARACTERS = 40
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}", re.ASCII)


async def create(session: AsyncSession, *, name: str, bank_account: str, layout: Layout) -> BankMapping:
    """Keep a new mapping. Raises `MappingRefused` naming the part, `MappingNameTaken`."""
    if not _NAME.fullmatch(name):
        raise MappingRefused("name", f"{name!r} is not acceptable", "1 to 63 small letters, digits and hyphens")
    account = "".join(bank_account.split())
    if not 1 <= len(account) <= ACCOUNT_LIMIT_CHARACTERS:
        expected = f"the operator's account number, 1 to {ACCOUNT_LIMIT_CHARACTERS} characters"
        raise MappingRefused("bank_account", f"{bank_account!r} is not acceptable", expected)
    check_layout(layout)
    values = {"name": name, "bank_account": account, "layout": asdict(layout), "created_at": clock.now()}
    added = insert(BankMapping).values(values).on_conflict_do_nothing().returning(BankMapping)
    mapping = (await session.execute(added)).scalar_one_or_none()
    if mapping is None:
        raise MappingNameTaken(f"There is a mapping {name} already; choose another name.", field="name")
    await audit.record(session, PLATFORM, "bank_mapping.created", name, bank_account=account)
    return mapping


async def get(session: AsyncSession, name: str) -> BankMapping:
    """A mapping by its name. Raises `MappingNotFound`."""
    mapping = await session.get(BankMapping, name)
    if mapping is None:
        raise MappingNotFound(f"There is no column mapping {name}; create it at /v1/bank-mappings.", field="mapping")
    return mapping


def layout_of(mapping: BankMapping) -> Layout:
    """The layout as it is read with (JSON has no tuples)."""
    stored: dict[str, Any] = {**mapping.layout, "remittance": tuple(mapping.layout["remittance"])}
    return Layout(**stored)
