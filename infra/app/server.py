"""The HTTP server (granian) over the application."""

from __future__ import annotations

import os

from granian import Granian
from granian.constants import Interfaces
from granian.log import LogLevels

from infra.app import asgi
from infra.app.installation import Installation, migrate, open_installation
from infra.kit.unit_of_work import AsgiApp

BACKLOG_CONNECTIONS = 2048


def create() -> AsgiApp:
    """The application of one server process, from the environment."""
    installation = open_installation()
    return asgi.build(installation.settings, installation.database())


def serve(*, workers: int) -> int:
    """Serve until SIGTERM or SIGINT; an installation on the embedded PostgreSQL is migrated first."""
    installation: Installation = open_installation()
    if "SEATLINE_DATABASE_URL" not in os.environ:
        migrate(installation)
    server = Granian(
        "infra.app.server:create",
        factory=True,
        address=installation.settings.http_host,
        port=installation.settings.http_port,
        interface=Interfaces.ASGI,
        workers=workers,
        backlog=BACKLOG_CONNECTIONS,
        log_level=LogLevels.warning,
        log_access=False,
    )
    server.serve()
    return 0
