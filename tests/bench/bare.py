"""The bare handlers beside which the product is measured: the same server and framework, the same input, no work.

`python -m tests.bench.bare PORT` serves them with one worker, set up like the product's own server.
"""

from __future__ import annotations

import sys
from typing import Any
from urllib.parse import parse_qsl

from granian import Granian
from granian.constants import Interfaces
from granian.log import LogLevels
from litestar import Litestar, Request, Response, post

from infra.app.server import BACKLOG_CONNECTIONS
from infra.kit.unit_of_work import AsgiApp
from switch.documents import DirectoryUser, directory_user

FORM_PATH = "/bare/form"
BODY_PATH = "/bare/body"

DOCUMENT = directory_user(
    DirectoryUser(
        domain="bare.example.com",
        username="1001",
        a1_hash="0" * 32,
        tenant_id="ten_bare",
        seat_id="seat_bare",
        context="ten_bare",
    )
)
"""As long as what the product answers."""


@post(FORM_PATH, status_code=200, media_type="text/xml")
async def read_form(request: Request[Any, Any, Any]) -> str:
    """Parse the whole form, answer a fixed document.

    By the standard library, because the framework's own `request.form()` is slower: a limit should be hard to reach.
    """
    form = dict(parse_qsl((await request.body()).decode(), keep_blank_values=True))
    return DOCUMENT if form["user"] else ""


@post(BODY_PATH, status_code=200)
async def read_body(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Read the whole body, answer nothing."""
    body = await request.body()
    return Response(b"", media_type="text/plain", status_code=200 if body else 400)


def create() -> AsgiApp:
    """The application of the server process."""
    application: Any = Litestar(
        route_handlers=[read_form, read_body], openapi_config=None, logging_config=None, debug=False
    )
    return application


def serve(port: int) -> None:
    """Serve until SIGTERM."""
    Granian(
        "tests.bench.bare:create",
        factory=True,
        address="127.0.0.1",
        port=port,
        interface=Interfaces.ASGI,
        workers=1,
        backlog=BACKLOG_CONNECTIONS,
        log_level=LogLevels.warning,
        log_access=False,
    ).serve()


if __name__ == "__main__":
    serve(int(sys.argv[1]))
