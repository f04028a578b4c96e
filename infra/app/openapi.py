"""The API description at `/schema/openapi.json` and a documentation page that works without internet."""

from __future__ import annotations

import re
from importlib.metadata import version
from inspect import cleandoc
from pathlib import Path
from typing import Any

import swagger_ui
from litestar import Request, Router
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin, SwaggerRenderPlugin
from litestar.openapi.spec import Components, SecurityScheme
from litestar.static_files import create_static_files_router

from infra.kit.http import PUBLIC, Body, View

ASSETS = "/schema/assets"
_WORD_BEGINS = re.compile(r"(?<=[a-z])(?=[A-Z])")
DESCRIPTION = """Call-centre seats rented by the month: tenants, contracts, seat orders, calls, invoices, payments.

Money is a decimal string with a `currency` beside it; times are RFC 3339; refusals are `application/problem+json`
(RFC 9457) with a stable `code` and the offending `field`; lists are pages (`limit`, `after` → `items`, `next`);
every POST under /v1 honours `Idempotency-Key`. API clients get a token at `POST /oauth/token` with client credentials;
people sign in at `POST /sign-in`, and send the `csrf_token` of its answer with every change (`X-CSRF-Token`)."""


class _Page(SwaggerRenderPlugin):
    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        return super().render(request, told_in_words(refuse_unknown_fields(openapi_schema)))


class _Json(JsonRenderPlugin):
    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        return super().render(request, told_in_words(refuse_unknown_fields(openapi_schema)))


def openapi_config() -> OpenAPIConfig:
    """What `/schema` serves."""
    return OpenAPIConfig(
        title="Seatline",
        version=version("seatline"),
        description=DESCRIPTION,
        path="/schema",
        use_handler_docstrings=True,
        render_plugins=[
            _Page(
                path="/",
                js_url=f"{ASSETS}/swagger-ui-bundle.js",
                css_url=f"{ASSETS}/swagger-ui.css",
                standalone_preset_js_url=f"{ASSETS}/swagger-ui-standalone-preset.js",
                favicon=f'<link rel="icon" href="{ASSETS}/favicon-32x32.png">',
            ),
            _Json(path="/openapi.json"),
        ],
        openapi_router=Router("/schema", route_handlers=[], include_in_schema=False, opt={"permission": PUBLIC}),
        components=[
            Components(
                security_schemes={
                    "token": SecurityScheme(type="http", scheme="bearer", description="From /oauth/token"),
                    "session": SecurityScheme(
                        type="apiKey",
                        name="seatline_session",
                        security_scheme_in="cookie",
                        description="From /sign-in (`__Host-seatline_session` by https); changes need X-CSRF-Token too",
                    ),
                }
            )
        ],
        security=[{"token": []}, {"session": []}],
    )


def documentation_assets() -> Router:
    """The page's scripts and styles, from the installed package: no address outside is asked for anything."""
    directory = Path(swagger_ui.__file__).parent / "static"
    return create_static_files_router(
        path=ASSETS, directories=[directory], opt={"permission": PUBLIC}, include_in_schema=False
    )


def refuse_unknown_fields(document: dict[str, Any]) -> dict[str, Any]:
    """Say in the description what the code does: request bodies take no unknown fields."""
    schemas: dict[str, dict[str, Any]] = document.get("components", {}).get("schemas", {})
    wanted = {
        content["schema"]["$ref"].rsplit("/", 1)[-1]
        for path in document.get("paths", {}).values()
        for operation in path.values()
        if isinstance(operation, dict)
        for content in operation.get("requestBody", {}).get("content", {}).values()
        if "$ref" in content.get("schema", {})
    }
    for name in wanted & schemas.keys():
        schemas[name].setdefault("additionalProperties", False)
    return document


def told_in_words(document: dict[str, Any]) -> dict[str, Any]:
    """Give every body and answer the words that stand beside its fields in the code: units, choices, what is optional.

    Two of one name in different rooms have longer names in the description and stay without. Operations are called as
    their functions are, in words.
    """
    for path in document.get("paths", {}).values():
        for operation in path.values():
            if isinstance(operation, dict) and "summary" in operation:
                operation["summary"] = _WORD_BEGINS.sub(" ", operation["summary"]).capitalize()
    schemas: dict[str, dict[str, Any]] = document.get("components", {}).get("schemas", {})
    waiting: list[type] = [Body, View]
    while waiting:
        struct = waiting.pop()
        waiting += struct.__subclasses__()
        words = struct.__dict__.get("__doc__")
        if words and struct.__name__ in schemas:
            schemas[struct.__name__].setdefault("description", cleandoc(words))
    return document
