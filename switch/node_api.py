"""What nodes ask and report over HTTP: mod_xml_curl's questions and mod_json_cdr's records.

These routes lie outside /v1 and its unit of work: each answer opens what it needs itself. They are a plain ASGI
application beside the framework's, because a node waits with a phone on the line: routing, guards and request objects
would cost as much as the answer.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from urllib.parse import parse_qs

from infra.kit import logs
from infra.kit.database import Database
from infra.kit.problems import NotFound, Refusal, Unexpected
from infra.kit.sealing import Seal
from infra.kit.settings import Settings
from infra.kit.unit_of_work import Answer, AsgiApp, AsgiScope, Receive, Send, header, problem_answer, read_body
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

PREFIX = "/switch/"

log = logs.get(__name__)


class MethodRefused(Refusal):
    """Nodes ask and report by POST only."""

    code = "method_not_allowed"
    status = 405
    title = "Only POST is served here"

    def __init__(self) -> None:
        super().__init__("Send a POST.")
        self.headers["allow"] = "POST"


Answerer = Callable[[NodeSignIn, bytes], Awaitable[str]]


class NodeDesk:
    """Everything that answers nodes, over its own few database connections; closed with the database."""

    def __init__(self, settings: Settings, database: Database, seal: Seal) -> None:
        self._record_limit_bytes = settings.record_limit_bytes
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
        self._directory = Directory(self._lookups)
        self._configuration = ConfigurationAnswers(database, seal, settings.public_url, self._directory.prove)
        self._dialling = Dialling(self._lookups, self._configuration)
        self._intake = RecordIntake(self._records, database)
        self._questions: dict[str, tuple[Answerer, int]] = {
            "/switch/directory": (self._directory.answer, FORM_LIMIT_BYTES),
            "/switch/dialplan": (self._dialling.answer, FORM_LIMIT_BYTES),
            "/switch/configuration": (self._configuration.answer, FORM_LIMIT_BYTES),
        }
        database.on_close(self.close)

    async def answer(self, scope: AsgiScope, receive: Receive) -> Answer:
        """The answer to one request. Raises `Refusal`: 401, 404, 405, 413, 503.

        `POST /switch/directory`, `/switch/dialplan`, `/switch/configuration`: a form of mod_xml_curl in, a document
        out; "not found" is a document too (200). When refused, the node uses its own files.
        `POST /switch/cdr?uuid=`: a record in, 200 when it is stored, or set aside, durably. When refused, the node
        posts it again and then keeps it on its disk.
        """
        path = scope["path"]
        question = self._questions.get(path)
        if question is None and path != "/switch/cdr":
            raise NotFound(f"There is nothing at {path}.")
        if scope["method"] != "POST":
            raise MethodRefused
        sign_in = read_authorization(header(scope, b"authorization"))
        if question is None:
            body = await read_body(scope, receive, self._record_limit_bytes)
            named = parse_qs(scope["query_string"].decode("latin-1")).get("uuid")
            await self._intake.receive(sign_in, body, named[-1] if named else None)
            return _ok(b"", b"text/plain")
        answer, limit_bytes = question
        document = await answer(sign_in, await read_body(scope, receive, limit_bytes))
        return _ok(document.encode(), b"text/xml; charset=utf-8")

    async def close(self) -> None:
        """Answer and store what waits, then close the connections."""
        await self._intake.close()
        await self._directory.close()
        await self._dialling.close()
        await self._records.close()
        await self._lookups.close()


class NodeRoutes:
    """The ASGI application that answers nodes below `/switch/` and passes everything else on to `app`."""

    def __init__(self, app: AsgiApp, desk: NodeDesk) -> None:
        self._app = app
        self._desk = desk

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(PREFIX):
            await self._app(scope, receive, send)
            return
        try:
            answer = await self._desk.answer(scope, receive)
        except Refusal as refusal:
            answer = problem_answer(refusal, scope["path"])
        except Exception as error:  # a defect of ours: the log has it, the node gets no internals
            log.error("request.failed", path=scope["path"], exc_info=error)
            answer = problem_answer(Unexpected(), scope["path"])
        await answer.send(send)


def _ok(body: bytes, media_type: bytes) -> Answer:
    return Answer(200, [(b"content-type", media_type), (b"content-length", str(len(body)).encode())], body)
