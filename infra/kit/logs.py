"""Structured logs: one JSON object a line on standard error, without secrets."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

_SECRET_KEY = re.compile(r"password|secret|token|authorization|a1_hash|private_key|cookie", re.IGNORECASE)
_URL_PASSWORD = re.compile(r"(?P<head>[a-z+]+://[^:/@\s]*):[^@\s]*@")
_LINK_SECRET = re.compile(r"(?P<head>/hand-outs/(?:softphone|desk-phone)/|^/+(?:papers|exports)/)[^/?#\s\"']+")
"""Addresses whose path is a secret: whoever has one may open what it leads to."""
REDACTED = "[redacted]"


def redact(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Replace values under telling names, and passwords and secret paths inside addresses, at any depth."""
    for key, value in event.items():
        event[key] = REDACTED if _SECRET_KEY.search(key) else _clean(value)
    return event


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return _LINK_SECRET.sub(rf"\g<head>{REDACTED}", _URL_PASSWORD.sub(rf"\g<head>:{REDACTED}@", value))
    if isinstance(value, dict):
        return {key: REDACTED if _SECRET_KEY.search(str(key)) else _clean(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(item) for item in value]
    return value


def configure(level: str) -> None:
    """Send our events and the standard library's warnings through one redacting JSON renderer."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        redact,
    ]
    structlog.configure(
        processors=[*shared, structlog.processors.JSONRenderer(ensure_ascii=False)],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(ensure_ascii=False),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)


def get(name: str) -> Any:
    """A logger; events are named like `tenant.suspended`, facts are keyword arguments."""
    return structlog.get_logger(name)
