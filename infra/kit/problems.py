"""Refusals: what is wrong, what was expected, what to do. One class tree for the API, the pages and the command line.

A refusal is raised by rules and services and becomes an RFC 9457 `application/problem+json` document at the edge,
or one line on standard error in a command.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, ClassVar

PROBLEM_MEDIA_TYPE = "application/problem+json"


class Refusal(Exception):
    """Base of every deliberate refusal.

    `code` is stable and part of the API; `status` is the HTTP status; `field` names the offending input, if one does;
    `detail` is a sentence that says what to do.
    """

    code: ClassVar[str] = "refused"
    status: ClassVar[int] = HTTPStatus.UNPROCESSABLE_ENTITY
    title: ClassVar[str] = "The request was refused"

    def __init__(self, detail: str, *, field: str | None = None, **extra: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.field = field
        self.extra = extra
        self.headers: dict[str, str] = {}

    def document(self, instance: str | None = None) -> dict[str, Any]:
        """The RFC 9457 members of this refusal."""
        document: dict[str, Any] = {
            "type": f"urn:seatline:problem:{self.code}",
            "title": self.title,
            "status": int(self.status),
            "detail": self.detail,
            "code": self.code,
        }
        if self.field is not None:
            document["field"] = self.field
        if instance is not None:
            document["instance"] = instance
        return document | self.extra


class NotFound(Refusal):
    """There is no such object for this caller (another tenant's object looks the same)."""

    code = "not_found"
    status = HTTPStatus.NOT_FOUND
    title = "Not found"


class Conflict(Refusal):
    """The object is not in a state that allows this."""

    code = "conflict"
    status = HTTPStatus.CONFLICT
    title = "The present state does not allow this"


class InvalidInput(Refusal):
    """A value has the wrong form; `field` names it."""

    code = "invalid_input"
    status = HTTPStatus.UNPROCESSABLE_ENTITY
    title = "A value is not acceptable"


class MalformedRequest(Refusal):
    """The request cannot be read as what it should be."""

    code = "malformed_request"
    status = HTTPStatus.BAD_REQUEST
    title = "The request cannot be read"


class Unauthenticated(Refusal):
    """No valid credentials came with the request."""

    code = "unauthenticated"
    status = HTTPStatus.UNAUTHORIZED
    title = "Credentials are missing or not valid"

    def __init__(self, detail: str, *, scheme: str = "Bearer", **extra: Any) -> None:
        super().__init__(detail, **extra)
        self.headers["www-authenticate"] = f'{scheme} realm="seatline"'


class Forbidden(Refusal):
    """The caller's role does not allow this."""

    code = "forbidden"
    status = HTTPStatus.FORBIDDEN
    title = "This role may not do that"


class TooLarge(Refusal):
    """The body is longer than the endpoint takes."""

    code = "body_too_large"
    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    title = "The body is too large"


class Unstorable(InvalidInput):
    """The database cannot keep a value that came with the request; nothing was changed."""

    code = "value_not_storable"

    def __init__(self) -> None:
        super().__init__("A text, number or date of the request is beyond what can be kept here.")


class Unexpected(Refusal):
    """A defect of ours; the log has it, the caller gets no internals."""

    code = "internal_error"
    status = HTTPStatus.INTERNAL_SERVER_ERROR
    title = "Something went wrong on our side"

    def __init__(self) -> None:
        super().__init__("The request was not carried out; nothing was changed.")


class Unavailable(Refusal):
    """Something we depend on is away; nothing was changed, try again."""

    code = "unavailable"
    status = HTTPStatus.SERVICE_UNAVAILABLE
    title = "Temporarily unavailable"

    def __init__(self, detail: str, *, retry_after_seconds: int = 5, **extra: Any) -> None:
        super().__init__(detail, **extra)
        self.headers["retry-after"] = str(retry_after_seconds)
