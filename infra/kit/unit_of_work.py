"""One request, one transaction: authentication, row security, idempotency and commit in one place.

This wraps the whole Litestar application. For `/v1` it opens the transaction, finds the caller, takes the caller's
role, lets the application answer into a buffer, and sends the answer only after COMMIT has succeeded: nobody is told
201 about something that did not happen. An answer of 400 or more rolls everything back.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit import audit, clock, logs, readable
from infra.kit.database import Database, Scope, enter_scope, is_unstorable
from infra.kit.models import IdempotencyRecord
from infra.kit.principal import Presented, Principal
from infra.kit.problems import (
    PROBLEM_MEDIA_TYPE,
    Conflict,
    InvalidInput,
    MalformedRequest,
    Refusal,
    TooLarge,
    Unavailable,
    Unexpected,
    Unstorable,
)
from infra.kit.sealing import Seal

log = logs.get(__name__)
SCOPE_KEY = "seatline"
TRANSACTIONAL_PREFIX = "/v1/"
OWN_TRANSACTION_PREFIXES = ("/oauth/", "/sign-in", "/sign-out", "/v1/stripe/webhooks", "/papers/", "/hand-outs/")
"""Requests that sign in by themselves, with transactions of their own; here they are only limited in time."""

STREAMED_PATHS = frozenset({"/v1/live/events"})
"""Answers without an end: the caller is found first, then the handler answers by itself, in transactions of its own."""

KEY_LIMIT_CHARACTERS = 255
BODY_TIMEOUT_SECONDS = 60.0
ANSWER_TIMEOUT_SECONDS = 90.0
"""Longer than the longest statement may take (`database_timeout_seconds`): only a database that is silent gets here."""

AsgiScope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
AsgiApp = Callable[[Any, Any, Any], Awaitable[None]]
Authenticate = Callable[[AsyncSession, Presented], Awaitable[Principal]]
"""Finds the caller by what a request shows, or raises `Unauthenticated`."""
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")


class IdempotencyKeyReused(Conflict):
    """The key came with another request before."""

    code = "idempotency_key_reused"
    status = 422
    title = "The Idempotency-Key belongs to another request"


class BodyTooSlow(Refusal):
    """The body did not arrive in time."""

    code = "body_too_slow"
    status = 408
    title = "The body took too long to arrive"


@dataclass(frozen=True, slots=True)
class Unit:
    """What a handler of this request works with."""

    session: AsyncSession | None
    """None where the handler has no transaction around it (`STREAMED_PATHS`)."""
    principal: Principal


@dataclass(slots=True)
class Answer:
    """A buffered response."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes

    async def send(self, send: Send) -> None:
        """Pass it on to the client."""
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        await send({"type": "http.response.body", "body": self.body})


class _RollBack(Exception):
    def __init__(self, answer: Answer) -> None:
        self.answer = answer


def problem_answer(refusal: Refusal, instance: str) -> Answer:
    """A refusal as a problem+json response."""
    body = msgspec.json.encode(refusal.document(instance))
    headers = [
        (b"content-type", PROBLEM_MEDIA_TYPE.encode()),
        (b"content-length", str(len(body)).encode()),
        *((name.encode(), value.encode()) for name, value in refusal.headers.items()),
    ]
    return Answer(int(refusal.status), headers, body)


def header(scope: AsgiScope, name: bytes) -> str | None:
    """A request header by its name in small letters."""
    for key, value in scope["headers"]:
        if key.lower() == name:
            return bytes(value).decode("latin-1")
    return None


def _cookies(scope: AsgiScope) -> str | None:
    """All of the `Cookie` header; over HTTP/2 browsers send it in pieces (RFC 9113, section 8.2.3)."""
    pieces = [bytes(value).decode("latin-1") for key, value in scope["headers"] if key.lower() == b"cookie"]
    return "; ".join(pieces) or None


def _as_routed(path: str) -> str:
    """The path as the framework reads it: `//v1//tenants/` is /v1/tenants."""
    return "/" + "/".join(part for part in path.split("/") if part)


def presented(scope: AsgiScope) -> Presented:
    """What a request shows of its caller."""
    return Presented(
        authorization=header(scope, b"authorization"),
        cookie=_cookies(scope),
        csrf_token=header(scope, b"x-csrf-token"),
        origin=header(scope, b"origin"),
        is_safe=scope["method"] in SAFE_METHODS,
        visit_id=header(scope, b"seatline-visit"),
    )


async def read_body(scope: AsgiScope, receive: Receive, limit_bytes: int) -> bytes:
    """The whole body; raises `TooLarge` as soon as it is known to be, `MalformedRequest` when it ends early,
    `BodyTooSlow` when it has not arrived after `BODY_TIMEOUT_SECONDS`.
    """
    length = header(scope, b"content-length")
    if length is not None and length.isascii() and length.isdigit() and int(length[:20]) > limit_bytes:
        raise TooLarge(f"The body has {length} bytes; at most {limit_bytes} are taken here.")
    try:
        async with asyncio.timeout(BODY_TIMEOUT_SECONDS):
            return await _read_parts(receive, limit_bytes)
    except TimeoutError:
        raise BodyTooSlow(f"The whole body must arrive within {BODY_TIMEOUT_SECONDS:g} seconds.") from None


async def _read_parts(receive: Receive, limit_bytes: int) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise MalformedRequest("The connection closed before the whole body had arrived.")
        body += message.get("body", b"")
        if len(body) > limit_bytes:
            raise TooLarge(f"The body is longer than the {limit_bytes} bytes that are taken here.")
        if not message.get("more_body", False):
            return bytes(body)


def _replay(body: bytes, receive: Receive) -> Receive:
    sent = False

    async def receive_again() -> dict[str, Any]:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive_again


class UnitOfWork:
    """The ASGI middleware around the application."""

    def __init__(
        self,
        app: AsgiApp,
        *,
        database: Database,
        authenticate: Authenticate,
        seal: Seal,
        body_limit_bytes: int,
        answer_timeout_seconds: float = ANSWER_TIMEOUT_SECONDS,
    ) -> None:
        self._app = app
        self._database = database
        self._authenticate = authenticate
        self._seal = seal
        self._body_limit_bytes = body_limit_bytes
        self._answer_timeout_seconds = answer_timeout_seconds
        self._left_behind: set[asyncio.Task[Answer]] = set()

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        path = _as_routed(scope["path"]) if scope["type"] == "http" else ""
        if not path.startswith((TRANSACTIONAL_PREFIX, *OWN_TRANSACTION_PREFIXES)):
            await self._app(scope, receive, send)
            return
        if path in STREAMED_PATHS:
            await self._stream(scope, receive, send)
            return
        carry_out = self._by_itself if path.startswith(OWN_TRANSACTION_PREFIXES) else self._within_transaction
        try:
            answer = await self._in_time(carry_out(scope, receive))
        except _RollBack as rolled_back:
            answer = rolled_back.answer
        except Refusal as refusal:
            answer = problem_answer(refusal, scope["path"])
        except OSError:
            log.exception("request.database_away", path=scope["path"])
            answer = problem_answer(Unavailable("The database does not answer; nothing was changed."), scope["path"])
        except Exception as error:  # COMMIT writes what a handler left to it, and may be refused like any statement
            answer = problem_answer(self._defect(error, scope), scope["path"])
        await answer.send(send)

    async def _stream(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """Find the caller, then let the handler answer for as long as it likes."""
        try:
            readable.check_address(scope["path"], scope["query_string"].decode("latin-1"))
            async with (
                asyncio.timeout(self._answer_timeout_seconds),
                self._database.transaction(Scope.platform()) as session,
            ):
                principal = await self._authenticate(session, presented(scope))
        except Refusal as refusal:
            await problem_answer(refusal, scope["path"]).send(send)
            return
        except OSError:
            log.warning("request.database_away", path=scope["path"])
            refusal = Unavailable("The database does not answer; nothing was changed.")
            await problem_answer(refusal, scope["path"]).send(send)
            return
        scope[SCOPE_KEY] = Unit(None, principal)
        await self._app(scope, receive, send)

    def _defect(self, error: Exception, scope: AsgiScope) -> Refusal:
        if isinstance(error, DBAPIError) and is_unstorable(error):
            return Unstorable()
        log.error("request.failed", path=scope["path"], method=scope["method"], exc_info=error)
        return Unexpected()

    async def _in_time(self, work: Coroutine[Any, Any, Answer]) -> Answer:
        """The answer, or 503 when there is none in time.

        A database that has fallen silent does not even end a statement that is cancelled, so the work is left behind;
        the pool's size limits how much of it there can be.
        """
        task = asyncio.create_task(work)
        try:
            done, _ = await asyncio.wait({task}, timeout=self._answer_timeout_seconds)
        except asyncio.CancelledError:
            task.cancel()
            raise
        if done:
            return task.result()
        self._left_behind.add(task)
        task.add_done_callback(self._forget)
        task.cancel()
        log.warning("request.no_answer_in_time", timeout_seconds=self._answer_timeout_seconds)
        raise Unavailable("The database does not answer. Repeat the request with the same Idempotency-Key.")

    def _forget(self, task: asyncio.Task[Answer]) -> None:
        self._left_behind.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.info("request.left_behind_ended", error=type(error).__name__)

    async def _by_itself(self, scope: AsgiScope, receive: Receive) -> Answer:
        body = await read_body(scope, receive, self._body_limit_bytes)
        return await self._answer(scope, _replay(body, receive))

    async def _within_transaction(self, scope: AsgiScope, receive: Receive) -> Answer:
        body = await read_body(scope, receive, self._body_limit_bytes)
        async with self._database.transaction(Scope.platform()) as session:
            principal = await self._authenticate(session, presented(scope))
            readable.check_address(scope["path"], scope["query_string"].decode("latin-1"))
            readable.check_json(body, header(scope, b"content-type"))
            record = await self._claim_key(session, scope, principal, body)
            if record is not None and record.sealed_response is not None:
                return self._stored(record)
            await enter_scope(session, principal.scope)
            scope[SCOPE_KEY] = Unit(session, principal)
            actor = audit.actor.set(principal.actor)
            try:
                answer = await self._answer(scope, _replay(body, receive))
            finally:
                audit.actor.reset(actor)
            if answer.status >= 400:
                raise _RollBack(answer)
            if record is not None:
                await session.flush()
                await enter_scope(session, Scope.platform())
                record.status = answer.status
                record.sealed_response = self._seal.close(msgspec.msgpack.encode((answer.headers, answer.body)))
        return answer

    async def _answer(self, scope: AsgiScope, receive: Receive) -> Answer:
        answer = Answer(500, [], b"")
        parts: list[bytes] = []

        async def keep(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                answer.status = message["status"]
                answer.headers = [(bytes(name), bytes(value)) for name, value in message["headers"]]
            elif message["type"] == "http.response.body":
                parts.append(message.get("body", b""))

        await self._app(scope, receive, keep)
        answer.body = b"".join(parts)
        return answer

    def _stored(self, record: IdempotencyRecord) -> Answer:
        if record.status is None or record.sealed_response is None:
            raise Unavailable("The first request with this Idempotency-Key has not ended; try again.")
        headers, body = msgspec.msgpack.decode(
            self._seal.open_bytes(record.sealed_response), type=tuple[list[tuple[bytes, bytes]], bytes]
        )
        return Answer(record.status, [*headers, (b"idempotency-replayed", b"true")], body)

    async def _claim_key(
        self, session: AsyncSession, scope: AsgiScope, principal: Principal, body: bytes
    ) -> IdempotencyRecord | None:
        """Claim the request's Idempotency-Key; a second request with it waits here until the first has ended."""
        key = header(scope, b"idempotency-key") if scope["method"] == "POST" else None
        if key is None:
            return None
        if not 1 <= len(key) <= KEY_LIMIT_CHARACTERS:
            raise InvalidInput(f"Idempotency-Key has 1 to {KEY_LIMIT_CHARACTERS} characters.", field="Idempotency-Key")
        visit = f" {principal.visit_id}" if principal.visit_id is not None else ""
        target = f"{scope['method']} {scope['path']}?{scope['query_string'].decode('latin-1')}{visit}\n".encode()
        request_digest = hashlib.sha256(target + body).hexdigest()
        await session.execute(text("SET LOCAL lock_timeout = '30s'"))
        await session.execute(
            insert(IdempotencyRecord)
            .values(
                client_id=principal.client_id,
                key=key,
                request_digest=request_digest,
                created_at=clock.now(),
                status=None,
                sealed_response=None,
            )
            .on_conflict_do_nothing()
        )
        record = (
            await session.execute(
                select(IdempotencyRecord).where(
                    IdempotencyRecord.client_id == principal.client_id, IdempotencyRecord.key == key
                )
            )
        ).scalar_one()
        if record.request_digest != request_digest:
            raise IdempotencyKeyReused(
                "This Idempotency-Key came with another request before; use a new key for a new request.",
                field="Idempotency-Key",
            )
        return record
