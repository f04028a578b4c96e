"""The pages to which links in mails lead: sign in, accept an invitation, forget a password, set a new one; and where
one arrives: signed in, or refused.

Each of the former is a form that sends its own address the JSON that the API describes. The token of a link stands
behind `#` and is read by the page alone: it is in no log and no `Referer`.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import FileSystemLoader, StrictUndefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
from litestar import MediaType, Request, Response, get
from litestar.status_codes import HTTP_200_OK

import infra
from infra.kit.http import PUBLIC
from infra.kit.languages import LANGUAGES, Language
from infra.kit.outbox.words import LOCALE, language_tag
from infra.kit.problems import Refusal
from infra.kit.sealing import new_secret
from tenancy.people.passwords import SHORTEST_CHARACTERS

PAGES = Path(next(iter(infra.__path__))) / "web" / "sign_in"
STEPS = {
    "/sign-in": "sign_in",
    "/sign-in/forgotten": "forgotten",
    "/sign-in/invitation": "invitation",
    "/sign-in/reset": "reset",
    "/sign-in/done": "signed_in",
}
"""The step of each page, by its path."""
DONE_PATH = "/sign-in/done"
"""Who one is here and what one may do; where a sign-in leads that was wanted for nothing else."""


@get(list(STEPS), permission=PUBLIC, include_in_schema=False, media_type=MediaType.HTML)
async def show_page(request: Request[Any, Any, Any]) -> Response[str]:
    """One of the pages, in the language that the browser prefers."""
    step = STEPS[request.url.path.rstrip("/")]
    return _page(request, "done.html" if step == "signed_in" else "page.html", step)


def refusal_page(request: Request[Any, Any, Any], refusal: Refusal) -> Response[str] | None:
    """A refusal as a page for whoever came by a link or an identity provider; None where no browser asks for one."""
    if "text/html" not in request.headers.get("accept", ""):
        return None
    return _page(request, "refused.html", "refused", refusal=refusal)


def _page(
    request: Request[Any, Any, Any], template: str, step: str, *, refusal: Refusal | None = None
) -> Response[str]:
    nonce, language = new_secret(), preferred(request.headers.get("accept-language", ""))
    words = _words(language)
    html = (
        _environment()
        .get_template(template)
        .render(
            nonce=nonce,
            step=step,
            words=words,
            texts=words["messages"],
            language_tag=language_tag(language),
            shortest=SHORTEST_CHARACTERS,
            done_path=DONE_PATH,
            code="" if refusal is None else refusal.code,
            detail="" if refusal is None else refusal.detail,
        )
    )
    policy = (
        f"default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
    headers = {
        "content-security-policy": policy,
        "cache-control": "no-store",
        "referrer-policy": "no-referrer",
        "x-content-type-options": "nosniff",
        "vary": "accept, accept-language",
    }
    status = HTTP_200_OK if refusal is None else int(refusal.status)
    own = {} if refusal is None else refusal.headers
    return Response(html, headers=headers | own, status_code=status, media_type=MediaType.HTML)


def preferred(accept_language: str) -> Language:
    """The first of our languages that an `Accept-Language` header names; Chinese where it names none."""
    named = [each.partition(";")[0].strip().lower().partition("-")[0] for each in accept_language.split(",")]
    for each in named:
        for language in LANGUAGES:
            if language == each:
                return language
    return "zh"


@cache
def _words(language: Language) -> dict[str, Any]:
    return json.loads((LOCALE / language / "sign_in.json").read_text(encoding="utf-8"))


@cache
def _environment() -> ImmutableSandboxedEnvironment:
    return ImmutableSandboxedEnvironment(loader=FileSystemLoader(PAGES), autoescape=True, undefined=StrictUndefined)


ROUTES = [show_page]
