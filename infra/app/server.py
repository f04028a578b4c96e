"""The HTTP server (granian) over the application."""

from __future__ import annotations

import os
import socket

from granian import Granian
from granian.constants import Interfaces
from granian.log import LogLevels

from infra.app import asgi
from infra.app.installation import Installation, migrate, open_installation
from infra.kit.settings import SettingRefused
from infra.kit.unit_of_work import AsgiApp

BACKLOG_CONNECTIONS = 2048
_NUMERIC = socket.AI_NUMERICHOST | socket.AI_PASSIVE


def create() -> AsgiApp:
    """The application of one server process, from the environment."""
    installation = open_installation()
    return asgi.build(installation.settings, installation.database())


def check_address(host: str, port: int) -> None:
    """Refuse an address nobody can listen at, or somebody does: the server itself would share the port with a second
    one, and each would get half of the requests. Raises `SettingRefused`.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=_NUMERIC)[0]
    except socket.gaierror:
        raise SettingRefused(f"SEATLINE_HTTP_HOST: {host!r} is not an IP address such as 127.0.0.1.") from None
    with socket.socket(family, kind) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            raise SettingRefused(f"SEATLINE_HTTP_PORT: {host} port {port}: {error.strerror}.") from None


def serve(*, workers: int) -> int:
    """Serve until SIGTERM or SIGINT; an installation on the embedded PostgreSQL is migrated first.

    Raises `SettingRefused` for an address that is not this machine's or is taken.
    """
    installation: Installation = open_installation()
    check_address(installation.settings.http_host, installation.settings.http_port)
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
