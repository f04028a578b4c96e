"""The API process: routes, dependencies, and the unit of work around them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from litestar import Litestar
from litestar.di import Provide

from billing.stripe_gateway import StripeGateway
from infra.app.openapi import documentation_assets, openapi_config
from infra.app.routes import ROUTES
from infra.kit import jobs
from infra.kit.database import Database
from infra.kit.http import (
    EXCEPTION_HANDLERS,
    note_query_names,
    provide_principal,
    provide_session,
    refuse_unknown_queries,
    require_permission,
)
from infra.kit.objects import Objects
from infra.kit.sealing import Seal
from infra.kit.settings import Settings
from infra.kit.unit_of_work import AsgiApp, UnitOfWork
from switch.live.feed import LiveFeed
from switch.node_api import NodeDesk, NodeRoutes
from tenancy.callers import Callers


@dataclass
class Parts:
    """What requests work with; looked up at each request."""

    settings: Settings
    database: Database
    seal: Seal
    stripe_gateway: StripeGateway
    live_feed: LiveFeed
    objects: Objects

    @classmethod
    def over(cls, settings: Settings, database: Database) -> Parts:
        """The parts over one database; they close with it."""
        parts = cls(
            settings,
            database,
            Seal(settings.secret_key),
            StripeGateway(settings),
            LiveFeed(database),
            Objects(settings),
        )
        database.on_close(parts.stripe_gateway.close)
        database.on_close(parts.live_feed.close)
        return parts


def build(settings: Settings, database: Database) -> AsgiApp:
    """The whole ASGI application over one database."""
    parts = Parts.over(settings, database)
    return around(routed(parts), parts)


def routed(parts: Parts) -> Litestar:
    """Every route with what it depends on; making it takes a few tenths of a second."""

    async def provide_stripe_gateway() -> StripeGateway:
        return parts.stripe_gateway

    async def provide_live_feed() -> LiveFeed:
        return parts.live_feed

    async def provide_objects() -> Objects:
        return parts.objects

    async def provide_database() -> Database:
        return parts.database

    async def provide_settings() -> Settings:
        return parts.settings

    async def provide_seal() -> Seal:
        return parts.seal

    @asynccontextmanager
    async def lifespan(_: Litestar) -> AsyncGenerator[None]:
        jobs.install(jobs.Runtime(parts.database, parts.settings))
        yield
        await parts.database.close()

    application = Litestar(
        route_handlers=[*ROUTES, documentation_assets()],
        dependencies={
            "session": Provide(provide_session),
            "principal": Provide(provide_principal),
            "database": Provide(provide_database),
            "settings": Provide(provide_settings),
            "seal": Provide(provide_seal),
            "live_feed": Provide(provide_live_feed),
            "objects": Provide(provide_objects),
            "stripe_gateway": Provide(provide_stripe_gateway),
        },
        guards=[require_permission, refuse_unknown_queries],
        exception_handlers=EXCEPTION_HANDLERS,
        openapi_config=openapi_config(),
        request_max_body_size=parts.settings.body_limit_bytes,
        lifespan=[lifespan],
        logging_config=None,
        debug=False,
    )
    note_query_names(application)
    return application


def around(application: Litestar, parts: Parts) -> AsgiApp:
    """The routes inside the unit of work, and beside them what nodes ask."""
    wrapped: Any = UnitOfWork(
        application,
        database=parts.database,
        authenticate=Callers(parts.settings).authenticate,
        seal=parts.seal,
        body_limit_bytes=parts.settings.body_limit_bytes,
    )
    return NodeRoutes(wrapped, NodeDesk(parts.settings, parts.database, parts.seal))
