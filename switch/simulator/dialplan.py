"""Works through an XML dialplan context and says which applications a call is to run.

Source: `mod_dialplan_xml.c`: extensions in order, all conditions of an extension must match (unless
`break` says otherwise), `$1` takes what the expression caught, and the first extension that matched ends
it unless it says `continue`. `${name}` in an action is expanded only when the application runs
(`expand`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from xml.etree import ElementTree

MAX_EXPANSION_DEPTH = 5
MAX_EXPANDED_CHARACTERS = 65_536

Lookup = Callable[[str], str | None]
"""Gives the value of a channel variable or caller field, or None."""

_SUBSTRING = re.compile(r"^(?P<name>[^:]+):(?P<offset>-?\d+)(?::(?P<length>-?\d+))?$")
_CAPTURE = re.compile(r"\$(\d{1,2})")


@dataclass(frozen=True)
class Action:
    """One application and its argument, not yet expanded."""

    application: str
    data: str


@dataclass(frozen=True)
class Extension:
    """The extension that took the call, with what it runs."""

    name: str
    actions: tuple[Action, ...]


def expand(text: str, lookup: Lookup) -> str:
    """Replace `${name}` and `${name:offset:length}`; names may nest, values are never expanded again.

    A name without a value becomes nothing (`switch_channel_expand_variables`).
    """
    return _expand(text, lookup, depth=0)[:MAX_EXPANDED_CHARACTERS]


def _expand(text: str, lookup: Lookup, *, depth: int) -> str:
    parts: list[str] = []
    position = 0
    while (start := text.find("${", position)) >= 0:
        end = _closing_brace(text, start + 2)
        if end < 0 or depth >= MAX_EXPANSION_DEPTH:
            break
        parts.append(text[position:start])
        parts.append(_value(_expand(text[start + 2 : end], lookup, depth=depth + 1), lookup))
        position = end + 1
    parts.append(text[position:])
    return "".join(parts)


def _closing_brace(text: str, start: int) -> int:
    depth = 1
    for position in range(start, len(text)):
        if text[position] == "{":
            depth += 1
        elif text[position] == "}":
            depth -= 1
            if depth == 0:
                return position
    return -1


def _value(name: str, lookup: Lookup) -> str:
    part = _SUBSTRING.match(name)
    if part is None:
        return lookup(name) or ""
    value = lookup(part["name"]) or ""
    offset = int(part["offset"])
    start = max(0, len(value) + offset) if offset < 0 else offset
    if part["length"] is None or int(part["length"]) <= 0:
        return value[start:]
    return value[start : start + int(part["length"])]


def find_context(section: ElementTree.Element | None, name: str) -> ElementTree.Element | None:
    """The `<context>` of this name, or the one called `global`."""
    if section is None:
        return None
    contexts = {context.get("name", ""): context for context in section.iter("context")}
    found = contexts.get(name)
    return found if found is not None else contexts.get("global")


def hunt(context: ElementTree.Element, lookup: Lookup) -> tuple[Extension, ...]:
    """The extensions that take the call, in order; empty when none does (NO_ROUTE_DESTINATION)."""
    taken: list[Extension] = []
    for element in context.iterfind("extension"):
        actions = _extension_actions(element, lookup)
        if actions is None:
            continue
        taken.append(Extension(element.get("name", ""), actions))
        if element.get("continue") != "true":
            break
    return tuple(taken)


def _extension_actions(element: ElementTree.Element, lookup: Lookup) -> tuple[Action, ...] | None:
    """What the extension runs, or None when its conditions turned the call away."""
    actions: list[Action] = []
    matched_all = True
    for condition in element.iterfind("condition"):
        captures = _match(condition, lookup)
        for child in condition.iterfind("action" if captures is not None else "anti-action"):
            actions.append(Action(child.get("application", ""), _substitute(child.get("data", ""), captures or ())))
        matched_all = captures is not None
        break_on = condition.get("break", "on-false")
        if break_on == "always" or (break_on == "on-true" and matched_all):
            break
        if break_on == "on-false" and not matched_all:
            break
    return tuple(actions) if matched_all or actions else None


def _match(condition: ElementTree.Element, lookup: Lookup) -> tuple[str, ...] | None:
    """What the expression caught (index 0 is the whole match), or None when it did not match."""
    expression = condition.get("expression")
    if expression is None:
        nested = condition.find("expression")
        expression = (nested.text or "") if nested is not None else None
    name = condition.get("field")
    if name is None:
        # A condition without a field always matches; conditions on the time of day are not imitated.
        return () if expression is None and set(condition.keys()) <= {"break"} else None
    subject = expand(name, lookup) if "${" in name else (lookup(name) or "")
    try:
        found = re.search(_pattern(expand(expression or "", lookup)), subject)
    except re.error:
        return None
    return None if found is None else (found.group(0), *(group or "" for group in found.groups()))


def _pattern(expression: str) -> str:
    """`/.../i` as FreeSWITCH writes a pattern with flags, anything else as it stands."""
    if len(expression) > 1 and expression.startswith("/"):
        body, _, flags = expression[1:].rpartition("/")
        return f"(?i){body}" if "i" in flags else body
    return expression


def _substitute(data: str, captures: tuple[str, ...]) -> str:
    if not captures:
        return data
    return _CAPTURE.sub(
        lambda match: captures[int(match.group(1))] if int(match.group(1)) < len(captures) else "", data
    )
