"""What every API slice shares: strict bodies, the caller and session of a request, permissions, problems."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Annotated, Any, ClassVar

import msgspec
from litestar import Litestar, MediaType, Request, Response
from litestar.connection import ASGIConnection
from litestar.exceptions import ClientException, HTTPException, NotAuthorizedException, ValidationException
from litestar.handlers import BaseRouteHandler
from litestar.openapi.spec import OpenAPIMediaType, Operation, RequestBody, Schema
from litestar.openapi.spec.enums import OpenAPIFormat, OpenAPIType
from litestar.params import QueryParameter
from litestar.routes import HTTPRoute
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit import logs
from infra.kit.database import is_away, is_unstorable
from infra.kit.pages import DEFAULT_LIMIT, MAX_LIMIT
from infra.kit.principal import Principal
from infra.kit.problems import (
    PROBLEM_MEDIA_TYPE,
    Forbidden,
    MalformedRequest,
    NotFound,
    Refusal,
    Unavailable,
    Unexpected,
    Unstorable,
)
from infra.kit.unit_of_work import SCOPE_KEY, Unit

log = logs.get(__name__)
PUBLIC = "public"
"""The permission of a route that needs no caller."""

Limit = Annotated[int, QueryParameter(ge=1, le=MAX_LIMIT, description=f"Items a page, at most {MAX_LIMIT}")]
After = Annotated[str | None, QueryParameter(description="The `next` of the page before")]
DEFAULT_PAGE = DEFAULT_LIMIT

_QUERY_NAMES = "query_names"
_SHOWN_CHARACTERS = 60
_UNKNOWN_FIELD = re.compile(r"unknown field `(?P<name>[^`]*)`")
_MISSING_FIELD = re.compile(r"missing required field `(?P<name>[^`]*)`")


class Body(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Base of every request body: unknown fields are refused by name."""


class View(msgspec.Struct, kw_only=True):
    """Base of every response body."""


class FileUpload(Operation):
    """Base of the description of routes whose body is a file, of one of several media types."""

    media_types: ClassVar[Collection[str]]

    def __post_init__(self) -> None:
        file = OpenAPIMediaType(Schema(type=OpenAPIType.STRING, format=OpenAPIFormat.BINARY))
        self.request_body = RequestBody(content=dict.fromkeys(self.media_types, file), required=True)


class ValidationFailed(MalformedRequest):
    """A body, query or path value has the wrong type or form, or is unknown."""

    code = "validation_failed"
    title = "The request does not have the expected form"


def unit_of(connection: ASGIConnection[Any, Any, Any, Any]) -> Unit:
    """The unit of work of a request under /v1."""
    unit = connection.scope.get(SCOPE_KEY)
    if not isinstance(unit, Unit):
        raise RuntimeError(f"{connection.scope['path']} is served outside a unit of work.")
    return unit


async def provide_session(request: Request[Any, Any, Any]) -> AsyncSession:
    """The session of this request's transaction."""
    session = unit_of(request).session
    if session is None:
        raise RuntimeError(f"{request.url.path} is streamed and has no transaction around it.")
    return session


async def provide_principal(request: Request[Any, Any, Any]) -> Principal:
    """The caller."""
    return unit_of(request).principal


async def require_permission(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Guard of every route: the caller's role must carry the `permission` that the route names.

    It awaits nothing, but a plain function would be run in a thread for every request, which costs more than the check.
    """
    if connection.scope.get("method") == "OPTIONS":
        return  # the framework's own answer to it: which methods there are
    permission = handler.opt.get("permission")
    if permission == PUBLIC or handler.opt.get("exclude_from_auth"):
        return
    if not isinstance(permission, str):
        raise RuntimeError(f"The route {handler} names no permission.")
    principal = unit_of(connection).principal
    if permission not in principal.permissions:
        raise Forbidden(f"The role {principal.role} lacks the permission {permission}.", permission=permission)


def note_query_names(application: Litestar) -> None:
    """Write at every handler under /v1 which query parameters it takes, those of its dependencies included."""
    for route in application.routes:
        if isinstance(route, HTTPRoute) and route.path.startswith("/v1/"):
            for handler, arguments in route.route_handler_map.values():
                handler.opt[_QUERY_NAMES] = frozenset(each.field_alias for each in arguments.expected_query_params)


async def refuse_unknown_queries(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Guard of every route: a misspelt filter must not list everything, nor a misspelt `dry_run` change anything.

    Only under /v1: to other addresses others add parameters of their own, as identity providers do on the way back.
    """
    known: frozenset[str] | None = handler.opt.get(_QUERY_NAMES)
    if known is None or not connection.scope["query_string"]:
        return
    for name in connection.query_params:
        if name not in known:
            field = name[:_SHOWN_CHARACTERS]
            taken = f"it takes {', '.join(sorted(known))}" if known else "it takes none"
            message = f"There is no query parameter {field!r} here; {taken}."
            raise ValidationFailed(message, field=field, errors=[{"field": field, "message": message}])


def problem_response(refusal: Refusal, path: str) -> Response[bytes]:
    """A refusal as a Litestar response."""
    return Response(
        content=msgspec.json.encode(refusal.document(path)),
        status_code=int(refusal.status),
        media_type=PROBLEM_MEDIA_TYPE,
        headers=refusal.headers,
    )


def on_refusal(request: Request[Any, Any, Any], error: Refusal) -> Response[bytes]:
    """Deliberate refusals."""
    return problem_response(error, request.url.path)


def _field_of(item: dict[str, Any]) -> str:
    message, key = str(item.get("message", "")), str(item.get("key", ""))
    found = _UNKNOWN_FIELD.search(message) or _MISSING_FIELD.search(message)
    if found is not None:
        name = found["name"]
        return name if key in ("", "data", name) else f"{key.removeprefix('data.')}.{name}"
    return key.removeprefix("data.") or str(item.get("source", "body"))


def on_validation_error(request: Request[Any, Any, Any], error: ValidationException) -> Response[bytes]:
    """Wrong types, missing and unknown fields: every place is named."""
    extra: list[Any] = error.extra if isinstance(error.extra, list) else []
    items = [item for item in extra if isinstance(item, dict)]
    errors = [{"field": _field_of(item), "message": str(item.get("message", ""))} for item in items]
    detail = "; ".join(f"{item['field']}: {item['message']}" for item in errors) or str(error.detail)
    refusal = ValidationFailed(detail, field=errors[0]["field"] if errors else None, errors=errors)
    return problem_response(refusal, request.url.path)


def on_http_exception(request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    """What the framework itself refuses: unknown paths, methods, media types, unreadable JSON."""

    class FrameworkRefusal(Refusal):
        code = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(error).__name__.removesuffix("Exception")).lower()
        status = error.status_code
        title = "The request was refused"

    refusal: Refusal = FrameworkRefusal(error.detail or "See the API description at /schema.")
    if type(error) is ClientException:
        refusal = MalformedRequest(f"The body cannot be read: {error.detail}.", field="body")
    if error.status_code == NotFound.status:
        refusal = NotFound(f"There is nothing at {request.url.path}.")
    if isinstance(error, NotAuthorizedException):
        refusal.headers["www-authenticate"] = 'Bearer realm="seatline"'
    return problem_response(refusal, request.url.path)


def on_database_error(request: Request[Any, Any, Any], error: DBAPIError) -> Response[bytes]:
    """A database that went away in the middle of a request: 503; a value it cannot keep: 422; else our fault: 500."""
    if is_unstorable(error):
        return problem_response(Unstorable(), request.url.path)
    return on_unexpected(request, error)


def on_unexpected(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """A defect: logged with its trace, answered without internals. The driver's own "database away" is none: 503."""
    if is_away(error):
        refusal = Unavailable("The database does not answer; nothing was changed. Try again shortly.")
        return problem_response(refusal, request.url.path)
    log.error("request.failed", path=request.url.path, method=request.method, exc_info=error)
    return problem_response(Unexpected(), request.url.path)


EXCEPTION_HANDLERS: dict[Any, Any] = {
    Refusal: on_refusal,
    ValidationException: on_validation_error,
    HTTPException: on_http_exception,
    DBAPIError: on_database_error,
    Exception: on_unexpected,
}

JSON = MediaType.JSON
