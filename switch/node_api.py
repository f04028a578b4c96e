"""What nodes ask and report over HTTP: mod_xml_curl's questions and mod_json_cdr's records.

These routes lie outside /v1 and outside its unit of work: each answer opens what it needs itself. They are plain ASGI
handlers, because a node waits with a phone on the line: the framework's request objects would cost as much as the
answer.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs

from litestar import asgi
from litestar.exceptions import MethodNotAllowedException
from litestar.handlers import ASGIRouteHandler
from litestar.types import Receive, Scope, Send

from infra.kit.database import Database
from infra.kit.http import PUBLIC
from infra.kit.sealing import Seal
from infra.kit.settings import Settings
from infra.kit.unit_of_work import header, read_body
from switch.configuration_answers import ConfigurationAnswers
from switch.dialling import Dialling
from switch.direct_connections import DirectConnections
from switch.directory import PLANNER, Directory
from switch.node_sign_in import NodeSignIn, read_authorization
from switch.record_intake import RecordIntake

FORM_LIMIT_BYTES = 256_000
"""A dialplan question carries every variable of the channel: some 6 KB, with long SDP some tens."""

LOOKUP_CONNECTIONS = 4
RECORD_CONNECTIONS = 2
STATEMENT_TIMEOUT_SECONDS = 2.0

DESK = "node_desk"
"""Under this name the application's state holds the `NodeDesk`."""


class NodeDesk:
    """Everything that answers nodes, over its own few database connections; closed with the database."""

    def __init__(self, settings: Settings, database: Database, seal: Seal) -> None:
        self.record_limit_bytes = settings.record_limit_bytes
        self._lookups = DirectConnections(
            database.url,
            name="lookups",
            limit=LOOKUP_CONNECTIONS,
            statement_timeout_seconds=STATEMENT_TIMEOUT_SECONDS,
            planner=PLANNER,
        )
        self._records = DirectConnections(
            database.url,
            name="records",
            limit=RECORD_CONNECTIONS,
            statement_timeout_seconds=STATEMENT_TIMEOUT_SECONDS,
        )
        self.directory = Directory(self._lookups)
        self.configuration = ConfigurationAnswers(database, seal, settings.public_url)
        self.dialling = Dialling(self._lookups, self.configuration)
        self.intake = RecordIntake(self._records, database)
        database.on_close(self.close)

    async def close(self) -> None:
        """Answer and store what waits, then close the connections."""
        await self.intake.close()
        await self.directory.close()
        await self.dialling.close()
        await self._records.close()
        await self._lookups.close()


Answerer = Callable[[NodeDesk, NodeSignIn, bytes], Awaitable[str]]


def _question_route(section: str, answer: Answerer) -> ASGIRouteHandler:
    """`POST /switch/<section>`: a form of mod_xml_curl in, a document out; HTTP Basic by node.

    "Not found" is a document too (200). Errors: 401, 413, 503 with Retry-After; the node then uses its own files.
    """

    @asgi(f"/switch/{section}", name=f"switch_{section}", copy_scope=False, permission=PUBLIC)
    async def handler(scope: Scope, receive: Receive, send: Send) -> None:
        sign_in, plain = _begin(scope)
        body = await read_body(plain, _plain(receive), FORM_LIMIT_BYTES)
        document = await answer(_desk(plain), sign_in, body)
        await _send(send, document.encode(), b"text/xml; charset=utf-8")

    return handler


@asgi("/switch/cdr", name="switch_cdr", copy_scope=False, permission=PUBLIC)
async def receive_record(scope: Scope, receive: Receive, send: Send) -> None:
    """`POST /switch/cdr?uuid=`: one call record in, 200 when it is stored (or set aside) durably; HTTP Basic by node.

    Errors: 401, 413, 503 with Retry-After; the node posts again and then keeps the record on its disk.
    """
    sign_in, plain = _begin(scope)
    desk = _desk(plain)
    body = await read_body(plain, _plain(receive), desk.record_limit_bytes)
    named = parse_qs(plain["query_string"].decode("latin-1")).get("uuid")
    await desk.intake.receive(sign_in, body, named[-1] if named else None)
    await _send(send, b"", b"text/plain")


def _begin(scope: Any) -> tuple[NodeSignIn, dict[str, Any]]:
    if scope["method"] != "POST":
        raise MethodNotAllowedException("Nodes POST here.", headers={"allow": "POST"})
    authorization = header(scope, b"authorization")
    return read_authorization(authorization), scope


def _plain(receive: Any) -> Callable[[], Awaitable[dict[str, Any]]]:
    """The framework types messages one by one; here they are looked at by their keys."""
    return receive


def _desk(scope: dict[str, Any]) -> NodeDesk:
    return scope["litestar_app"].state[DESK]


async def _send(send: Any, body: bytes, media_type: bytes) -> None:
    headers = [(b"content-type", media_type), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _directory(desk: NodeDesk, sign_in: NodeSignIn, body: bytes) -> str:
    return await desk.directory.answer(sign_in, body)


async def _dialplan(desk: NodeDesk, sign_in: NodeSignIn, body: bytes) -> str:
    return await desk.dialling.answer(sign_in, body)


async def _configuration(desk: NodeDesk, sign_in: NodeSignIn, body: bytes) -> str:
    return await desk.configuration.answer(sign_in, body)


ROUTES = [
    _question_route("directory", _directory),
    _question_route("dialplan", _dialplan),
    _question_route("configuration", _configuration),
    receive_record,
]
