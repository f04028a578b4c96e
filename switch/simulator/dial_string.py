"""Takes dial strings apart: `{all=1}[one=2]user/1001@tenant.example,sofia/gateway/carrier/1380|user/...`.

`|` separates attempts that are made one after another, `,` those that ring at the same time; `{}` holds
variables of every leg, `[]` those of one leg.

Source: `switch_ivr_originate.c` (`switch_ivr_originate`), `switch_event.c`
(`switch_event_create_brackets`).
"""

from __future__ import annotations

from dataclasses import dataclass, field

MAX_DIAL_STRING_CHARACTERS = 16_384
MAX_TARGETS = 64

_CLOSING = {"{": "}", "[": "]", "<": ">"}


class DialStringRefused(ValueError):
    """A dial string that FreeSWITCH could not take apart either; the message says where it breaks."""


@dataclass(frozen=True)
class Target:
    """One leg to call: `address` is what stands behind the brackets, such as `user/1001@tenant.example`."""

    address: str
    variables: dict[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True)
class DialString:
    """`attempts` are tried in order; the targets of one attempt ring at once."""

    variables: dict[str, str]
    attempts: tuple[tuple[Target, ...], ...]


def parse_dial_string(text: str) -> DialString:
    """Take a dial string apart; raises `DialStringRefused`."""
    if len(text) > MAX_DIAL_STRING_CHARACTERS:
        raise DialStringRefused(f"the dial string is longer than {MAX_DIAL_STRING_CHARACTERS} characters")
    rest = text.strip()
    variables: dict[str, str] = {}
    while rest[:1] in {"{", "<"}:
        block, rest = _bracketed(rest)
        variables.update(_assignments(block))
        rest = rest.lstrip()
    attempts = tuple(
        tuple(_target(part) for part in _split(attempt, ",") if part.strip()) for attempt in _split(rest, "|")
    )
    if sum(len(attempt) for attempt in attempts) > MAX_TARGETS:
        raise DialStringRefused(f"the dial string names more than {MAX_TARGETS} targets")
    return DialString(variables, tuple(attempt for attempt in attempts if attempt))


def _target(text: str) -> Target:
    rest = text.strip()
    variables: dict[str, str] = {}
    while rest[:1] in {"[", "{"}:
        block, rest = _bracketed(rest)
        variables.update(_assignments(block))
        rest = rest.lstrip()
    return Target(rest, variables)


def _bracketed(text: str) -> tuple[str, str]:
    opening, closing = text[0], _CLOSING[text[0]]
    depth = 0
    for position, character in enumerate(text):
        if character == opening:
            depth += 1
        elif character == closing:
            depth -= 1
            if depth == 0:
                return text[1:position], text[position + 1 :]
    raise DialStringRefused(f"the bracket {opening!r} is never closed in {text[:80]!r}")


def _split(text: str, separator: str) -> list[str]:
    """Cut at a separator outside every bracket."""
    parts: list[str] = []
    depth = 0
    current: list[str] = []
    for character in text:
        if character in "{[<":
            depth += 1
        elif character in "}]>":
            depth = max(0, depth - 1)
        if character == separator and depth == 0:
            parts.append("".join(current))
            current = []
        else:
            current.append(character)
    parts.append("".join(current))
    return parts


def _assignments(block: str) -> dict[str, str]:
    """`a=b,c='d,e',f=g\\,h` and, with another separator named, `^^:a=b:c=d,e`."""
    separator, text = ",", block
    if block.startswith("^^") and len(block) > 2:
        separator, text = block[2], block[3:]
    result: dict[str, str] = {}
    for part in _split_quoted(text, separator):
        name, equals, value = part.partition("=")
        if equals and name.strip():
            result[name.strip()] = value.strip()
    return result


def _split_quoted(text: str, separator: str) -> list[str]:
    parts: list[str] = []
    current: list[str] = []
    quoted = escaped = False
    for character in text:
        if escaped:
            current.append(character if character in {separator, "'", "\\"} else f"\\{character}")
            escaped = False
        elif character == "\\":
            escaped = True
        elif character == "'":
            quoted = not quoted
        elif character == separator and not quoted:
            parts.append("".join(current))
            current = []
        else:
            current.append(character)
    if escaped:
        current.append("\\")
    parts.append("".join(current))
    return parts
