"""The pages of a hand-out: before it is opened, its content with QR codes, and afterwards. Words from infra/locale."""

from __future__ import annotations

import base64
import io
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import segno
from jinja2 import FileSystemLoader, StrictUndefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
from markupsafe import Markup

import infra
from infra.kit.languages import Language
from infra.kit.sealing import new_secret
from provisioning import seats
from provisioning.handout import contents
from provisioning.handout.contents import HandOutContent

_INFRA = Path(next(iter(infra.__path__)))
_PAGES = _INFRA / "web" / "hand_out"
_LOCALE = _INFRA / "locale"
_TAGS: dict[Language, str] = {"zh": "zh-CN", "en": "en"}
_GUIDANCE: dict[Language, str] = {"zh": seats.AFTER_RESTORATION_CHINESE, "en": seats.AFTER_RESTORATION_ENGLISH}

CODE_LIMIT_BYTES = 2_331
"""What a QR code of error correction M holds (ISO/IEC 18004, version 40). The configuration of a tunnel to a hundred
servers is longer; it is then a file only."""


@dataclass(frozen=True, slots=True)
class Page:
    """A page and the headers that keep it out of caches, indexes, frames and referrers."""

    html: str
    headers: dict[str, str]


def opening(language: Language, path: str) -> Page:
    """What a link shows first: nothing secret. A preview of the link by a mail program uses nothing up."""
    return _rendered("open.html", language, path=path)


def gone(language: Language) -> Page:
    """What a link shows that has ended."""
    return _rendered("gone.html", language)


def shown(content: HandOutContent) -> Page:
    """The whole hand-out, ready to be printed."""
    tunnel = content.tunnel
    scans = tunnel is not None and content.has_tunnel_key and len(tunnel.encode()) <= CODE_LIMIT_BYTES
    return _rendered(
        "page.html",
        content.language,
        content=content,
        codes={
            "softphone": code(content.softphone_url),
            "account": code(contents.grandstream_document(content)),
            "tunnel": code(tunnel) if tunnel is not None and scans else None,
        },
        files={
            "desk_phone": _file(contents.yealink_file(content)),
            "tunnel": None if tunnel is None else _file(tunnel),
        },
        encryption=content.media_encryption.value,
        after_restoration=_GUIDANCE[content.language],
        colon="：" if content.language == "zh" else ": ",
    )


def code(text: str) -> Markup:
    """A QR code as SVG, in UTF-8 with error correction M: readable from a printed page with a fold in it."""
    drawn = io.BytesIO()
    made = segno.make_qr(text, error="m", boost_error=False, encoding="utf-8")
    made.save(drawn, kind="svg", xmldecl=False, svgns=True, svgclass=None, lineclass=None, omitsize=True, border=4)
    return Markup(drawn.getvalue().decode())  # noqa: S704 - segno draws it; the text is only in its dots


def _file(text: str) -> str:
    return f"data:text/plain;charset=utf-8;base64,{base64.b64encode(text.encode()).decode()}"


def _rendered(template: str, language: Language, **values: Any) -> Page:
    nonce = new_secret()
    html = (
        _environment()
        .get_template(template)
        .render(nonce=nonce, words=_words(language), language_tag=_TAGS[language], **values)
    )
    policy = (
        f"default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'"
    )
    return Page(html, {"content-security-policy": policy, **PRIVATE})


PRIVATE = {
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-robots-tag": "noindex",
}
"""Headers of everything that a link shows."""


@cache
def _environment() -> ImmutableSandboxedEnvironment:
    return ImmutableSandboxedEnvironment(
        loader=FileSystemLoader(_PAGES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@cache
def _words(language: Language) -> dict[str, str]:
    return json.loads((_LOCALE / language / "hand_out.json").read_text(encoding="utf-8"))
