"""Forms of mod_xml_curl (`application/x-www-form-urlencoded`), read from the body as it came.

FreeSWITCH writes its own fields last, so of a name that comes twice the last one counts.
"""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import parse_qsl, unquote_to_bytes

from infra.kit.problems import MalformedRequest

FORM_LIMIT_FIELDS = 2_000


def read_form(body: bytes) -> dict[str, str]:
    """All fields of a form. Raises `MalformedRequest` when there are more than `FORM_LIMIT_FIELDS`."""
    try:
        pairs = parse_qsl(body.decode(errors="replace"), keep_blank_values=True, max_num_fields=FORM_LIMIT_FIELDS)
    except ValueError:
        raise MalformedRequest(f"The form has more than {FORM_LIMIT_FIELDS} fields.") from None
    return dict(pairs)


def read_fields(body: bytes, wanted: Collection[bytes]) -> dict[str, str]:
    """The `wanted` fields of a form and no others.

    A form has some fifty fields; reading only the few that decide takes an eighth of the time, and the directory is
    asked at every registration and call.
    """
    form: dict[str, str] = {}
    for pair in body.split(b"&"):
        name, _, value = pair.partition(b"=")
        if b"%" in name or b"+" in name:
            name = _decoded(name)
        if name in wanted:
            form[name.decode()] = _decoded(value).decode(errors="replace")
    return form


def _decoded(text: bytes) -> bytes:
    return unquote_to_bytes(text.replace(b"+", b" ")) if b"%" in text or b"+" in text else text
