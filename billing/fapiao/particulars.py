"""A tenant's tax particulars: checked, kept version by version, and read for fapiao and invoices (C19, rule 12)."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from billing.fapiao.errors import TaxParticularsNotFound, TaxParticularsRefused
from billing.fapiao.models import TaxParticulars
from billing.rules import credit_code as credit_codes
from billing.rules.errors import shown
from billing.rules.fapiao import KINDS
from billing.rules.reading import Reader
from infra.kit import audit, clock
from tenancy import tenants

TITLE_LIMIT_CHARACTERS = 100
ADDRESS_LIMIT_CHARACTERS = 200
BANK_LIMIT_CHARACTERS = 100

_PHONE = re.compile(r"\+?[\d() -]{5,30}", re.ASCII)
_ACCOUNT = re.compile(r"\d{8,32}", re.ASCII)
_READER = Reader(TaxParticularsRefused)


@dataclass(frozen=True, slots=True, kw_only=True)
class Particulars:
    """What fapiao are made out to. A `special` one needs every part, a `general` one only title and credit code."""

    title: str
    credit_code: str
    fapiao_kind: str
    address: str | None = None
    phone: str | None = None
    bank_name: str | None = None
    bank_account: str | None = None


def checked(given: Particulars) -> Particulars:
    """The particulars in the form in which they are kept. Pure; raises `TaxParticularsRefused` naming the field."""
    kind = _READER.choice(given.fapiao_kind, "fapiao_kind", KINDS)
    title = _text("title", given.title, TITLE_LIMIT_CHARACTERS)
    if title is None:
        raise TaxParticularsRefused("title", "it is empty", "the company's name as it is registered")
    code = "".join(given.credit_code.split()).upper()
    problem = credit_codes.problem_with(code)
    if problem is not None:
        raise TaxParticularsRefused("credit_code", f"{shown(code)} is no credit code: {problem}", "all 18 characters")
    phone = _text("phone", given.phone, BANK_LIMIT_CHARACTERS)
    if phone is not None and _PHONE.fullmatch(phone) is None:
        raise TaxParticularsRefused("phone", f"{shown(phone)} is no telephone number", "digits such as 021-61234567")
    account = _text("bank_account", given.bank_account, BANK_LIMIT_CHARACTERS)
    if account is not None:
        account = account.replace(" ", "").replace("-", "")
        if _ACCOUNT.fullmatch(account) is None:
            raise TaxParticularsRefused("bank_account", f"{shown(account)} is no account number", "8 to 32 digits")
    found = Particulars(
        title=title,
        credit_code=code,
        fapiao_kind=kind,
        address=_text("address", given.address, ADDRESS_LIMIT_CHARACTERS),
        phone=phone,
        bank_name=_text("bank_name", given.bank_name, BANK_LIMIT_CHARACTERS),
        bank_account=account,
    )
    for field in ("address", "phone", "bank_name", "bank_account"):
        if kind == "special" and getattr(found, field) is None:
            raise TaxParticularsRefused(field, "it is missing", "all particulars, since a special fapiao shows them")
    return found


def _text(field: str, given: str | None, limit_characters: int) -> str | None:
    """A text in one line without blanks around it; None where there is none."""
    text = (given or "").strip()
    if any(unicodedata.category(each) in ("Cc", "Cs", "Cf", "Zl", "Zp") for each in text):
        raise TaxParticularsRefused(field, f"{shown(text)} holds control characters", "text in one line")
    if len(text) > limit_characters:
        raise TaxParticularsRefused(field, f"it has {len(text)} characters", f"at most {limit_characters}")
    return text or None


async def put(session: AsyncSession, tenant_id: str, given: Particulars) -> TaxParticulars:
    """Keep a tenant's particulars from now on; what is the same as before makes no new version.

    Raises `TaxParticularsRefused` naming the field, `NotFound` for the tenant.
    """
    wanted = checked(given)
    await tenants.get(session, tenant_id, for_update=True)
    before = await latest(session, tenant_id)
    if before is not None and particulars_of(before) == wanted:
        return before
    kept = TaxParticulars(
        tenant_id=tenant_id,
        version=1 if before is None else before.version + 1,
        title=wanted.title,
        credit_code=wanted.credit_code,
        address=wanted.address,
        phone=wanted.phone,
        bank_name=wanted.bank_name,
        bank_account=wanted.bank_account,
        fapiao_kind=wanted.fapiao_kind,
        recorded_by=audit.actor.get(),
        recorded_at=clock.now(),
    )
    session.add(kept)
    await session.flush()
    await audit.record(
        session,
        tenant_id,
        "tax_particulars.recorded",
        tenant_id,
        version=kept.version,
        title=kept.title,
        credit_code=kept.credit_code,
        fapiao_kind=kept.fapiao_kind,
    )
    return kept


def particulars_of(kept: TaxParticulars) -> Particulars:
    """A version without when and by whom. Pure."""
    return Particulars(
        title=kept.title,
        credit_code=kept.credit_code,
        fapiao_kind=kept.fapiao_kind,
        address=kept.address,
        phone=kept.phone,
        bank_name=kept.bank_name,
        bank_account=kept.bank_account,
    )


async def get(session: AsyncSession, tenant_id: str) -> TaxParticulars:
    """The particulars that count now. Raises `NotFound` for the tenant, `TaxParticularsNotFound`."""
    await tenants.get(session, tenant_id)
    found = await latest(session, tenant_id)
    if found is None:
        raise TaxParticularsNotFound(
            f"The tenant {tenant_id} has no tax particulars; PUT them here first.", field="tenant_id"
        )
    return found


async def latest(session: AsyncSession, tenant_id: str) -> TaxParticulars | None:
    """The particulars that count now, or None."""
    return (await latest_of(session, {tenant_id})).get(tenant_id)


async def latest_of(session: AsyncSession, tenant_ids: Collection[str]) -> dict[str, TaxParticulars]:
    """The particulars that count now by tenant; tenants without any are missing in the answer."""
    newest = (
        select(TaxParticulars.tenant_id, func.max(TaxParticulars.version).label("version"))
        .where(TaxParticulars.tenant_id.in_(tenant_ids))
        .group_by(TaxParticulars.tenant_id)
        .subquery()
    )
    query = select(TaxParticulars).join(
        newest,
        (TaxParticulars.tenant_id == newest.c.tenant_id) & (TaxParticulars.version == newest.c.version),
    )
    return {row.tenant_id: row for row in (await session.execute(query)).scalars()}
