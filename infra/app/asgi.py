"""The API process: routes, dependencies, and the unit of work around them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from litestar import Litestar
from litestar.di import Provide

from infra.app.openapi import documentation_assets, openapi_config
from infra.app.routes import ROUTES
from infra.kit import jobs
from infra.kit.database import Database
from infra.kit.http import EXCEPTION_HANDLERS, provide_principal, provide_session, require_permission
from infra.kit.sealing import Seal
from infra.kit.settings import Settings
from infra.kit.unit_of_work import AsgiApp, UnitOfWork
from switch.node_api import NodeDesk, NodeRoutes
from tenancy import tokens


def build(settings: Settings, database: Database) -> AsgiApp:
    """The whole ASGI application over one database."""
    seal = Seal(settings.secret_key)

    async def provide_database() -> Database:
        return database

    async def provide_settings() -> Settings:
        return settings

    async def provide_seal() -> Seal:
        return seal

    @asynccontextmanager
    async def lifespan(_: Litestar) -> AsyncGenerator[None]:
        jobs.install(jobs.Runtime(database, settings))
        yield
        await database.close()

    application = Litestar(
        route_handlers=[*ROUTES, documentation_assets()],
        dependencies={
            "session": Provide(provide_session),
            "principal": Provide(provide_principal),
            "database": Provide(provide_database),
            "settings": Provide(provide_settings),
            "seal": Provide(provide_seal),
        },
        guards=[require_permission],
        exception_handlers=EXCEPTION_HANDLERS,
        openapi_config=openapi_config(),
        request_max_body_size=settings.body_limit_bytes,
        lifespan=[lifespan],
        logging_config=None,
        debug=False,
    )
    wrapped: Any = UnitOfWork(
        application,
        database=database,
        authenticate=tokens.authenticate,
        seal=seal,
        body_limit_bytes=settings.body_limit_bytes,
    )
    return NodeRoutes(wrapped, NodeDesk(settings, database, seal))
