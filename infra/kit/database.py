"""PostgreSQL: one engine, two roles, and the only place where a transaction is opened.

Every transaction runs under one of two roles that own nothing and cannot bypass row security:
`seatline_tenant` sees the rows of one tenant, `seatline_platform` those of all. Services take an `AsyncSession`
and never commit; `Database.transaction` commits when its block ends and rolls back when it raises.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import psycopg
from procrastinate.exceptions import ConnectorException
from sqlalchemy import DATE, Engine, MetaData, Numeric, Text, create_engine, text
from sqlalchemy.dialects.postgresql import BYTEA, JSONB, TIMESTAMP
from sqlalchemy.exc import DataError, DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase

from infra.kit.problems import Unavailable

PLATFORM_ROLE = "seatline_platform"
TENANT_ROLE = "seatline_tenant"
ERASURE_ROLE = "seatline_erasure"
"""Of the job that erases one tenant's personal data at its end (clause C26)."""
PLATFORM = "platform"
"""Stands for the tenant in records that belong to no tenant (an operator's audit entries)."""

_ENTER = text("SELECT set_config('role', :role, true), set_config('seatline.tenant_id', :tenant_id, true)")


class Base(DeclarativeBase):
    """Every table of ours. `tenant_id` comes first in each tenant table's primary key (house, decision 13)."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_N_label)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy reads it from the class
        str: Text(),
        datetime: TIMESTAMP(timezone=True),
        date: DATE(),
        Decimal: Numeric(16, 2),
        bytes: BYTEA(),
        dict[str, Any]: JSONB(),
        list[Any]: JSONB(),
    }


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose rows a transaction may see: one tenant's, or (None) every tenant's."""

    tenant_id: str | None

    @classmethod
    def platform(cls) -> Scope:
        """Operators, finance, jobs and the switch."""
        return cls(None)

    @classmethod
    def tenant(cls, tenant_id: str) -> Scope:
        """One tenant and nobody else."""
        return cls(tenant_id)


def is_away(error: BaseException) -> bool:
    """Whether the database could not be reached or used, as opposed to having refused a statement."""
    if isinstance(error, ConnectorException):  # deferring a job uses the driver's connection through Procrastinate
        return error.__cause__ is not None and is_away(error.__cause__)
    if isinstance(error, PoolTimeout | InterfaceError | psycopg.OperationalError | psycopg.InterfaceError):
        return True
    return isinstance(error, OperationalError) or (isinstance(error, DBAPIError) and error.connection_invalidated)


def is_unstorable(error: DBAPIError) -> bool:
    """Whether the database refused a value as such (a NUL character, a number or date out of range)."""
    return isinstance(error, DataError)


@asynccontextmanager
async def unavailable_when_away() -> AsyncGenerator[None]:
    """Turn a database that is away into a 503 refusal with Retry-After."""
    try:
        yield
    except (PoolTimeout, DBAPIError, psycopg.Error, ConnectorException) as error:
        if is_away(error):
            raise Unavailable("The database does not answer; nothing was changed. Try again shortly.") from error
        raise


async def enter_scope(session: AsyncSession, scope: Scope) -> None:
    """Take the role of `scope` until the transaction ends."""
    role = PLATFORM_ROLE if scope.tenant_id is None else TENANT_ROLE
    await session.execute(_ENTER, {"role": role, "tenant_id": scope.tenant_id or ""})


async def enter_erasure(session: AsyncSession, tenant_id: str) -> None:
    """Take the role that may erase this one tenant's rows, until the transaction ends."""
    await session.execute(_ENTER, {"role": ERASURE_ROLE, "tenant_id": tenant_id})


class Database:
    """The connection pool of one process."""

    def __init__(self, url: str, *, pool_size: int = 10, timeout_seconds: float = 10) -> None:
        self.url = url
        self._on_close: list[Callable[[], Awaitable[None]]] = []
        self.engine: AsyncEngine = create_async_engine(
            url,
            pool_size=pool_size,
            max_overflow=pool_size,
            pool_timeout=timeout_seconds,
            pool_pre_ping=True,
            hide_parameters=True,  # they may hold secrets, and errors are logged
            connect_args={
                "connect_timeout": max(2, int(timeout_seconds)),
                "options": f"-c timezone=UTC -c statement_timeout={int(timeout_seconds * 6000)}",
            },
        )

    @asynccontextmanager
    async def transaction(self, scope: Scope) -> AsyncGenerator[AsyncSession]:
        """One transaction under the role of `scope`; raises `Unavailable` when the database is away."""
        async with (
            unavailable_when_away(),
            AsyncSession(self.engine, expire_on_commit=False) as session,
            session.begin(),
        ):
            await enter_scope(session, scope)
            yield session

    def on_close(self, close: Callable[[], Awaitable[None]]) -> None:
        """Let whoever keeps connections of its own beside this pool close them with it, the last one first."""
        self._on_close.append(close)

    async def close(self) -> None:
        """Close every connection."""
        while self._on_close:
            await self._on_close.pop()()
        await self.engine.dispose()


def blocking_engine(url: str) -> Engine:
    """A synchronous engine for migrations and commands."""
    return create_engine(url)
