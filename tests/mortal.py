"""Processes that die with one of their transactions, and databases that begin as another one is."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager

import psycopg
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit.database import Database, Scope

IMMORTAL = 0


class Killed(BaseException):
    """The process is gone; nothing catches it."""


class MortalDatabase(Database):
    """Dies with its n-th transaction: before the commit, or (with `after`) right behind it."""

    def __init__(self, url: str, dies_with: int = IMMORTAL, *, after: bool = False) -> None:
        super().__init__(url, pool_size=2)
        self.begun = 0
        """How many transactions there were."""
        self._dies_with, self._after = dies_with, after

    @asynccontextmanager
    async def transaction(self, scope: Scope) -> AsyncGenerator[AsyncSession]:
        self.begun += 1
        is_last = self.begun == self._dies_with
        async with super().transaction(scope) as session:
            yield session
            if is_last and not self._after:
                raise Killed
        if is_last:
            raise Killed


@contextmanager
def copy_of(url: str) -> Generator[str]:
    """A database that begins as another one is; nobody may be connected to that."""
    parts, name = make_url(url), f"copy_{uuid.uuid4().hex}"
    admin = parts.set(drivername="postgresql", database="postgres").render_as_string(hide_password=False)
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{parts.database}"'.encode())
        try:
            yield parts.set(database=name).render_as_string(hide_password=False)
        finally:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())
