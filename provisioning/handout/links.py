"""The addresses of hand-outs."""

from __future__ import annotations

from infra.kit.languages import Language

PATH = "/hand-outs"


def page_url(public_url: str, language: Language, secret: str) -> str:
    """The page. What follows the `#` stays in the browser: it is sent only when the reader asks for the content."""
    return f"{public_url.rstrip('/')}{PATH}/{language}#{secret}"


def softphone_url(public_url: str, secret: str) -> str:
    """What a softphone's QR code leads to."""
    return f"{public_url.rstrip('/')}{PATH}/softphone/{secret}"


def desk_phone_url(public_url: str, secret: str) -> str:
    """The directory in which a desk phone looks for its file."""
    return f"{public_url.rstrip('/')}{PATH}/desk-phone/{secret}/"
