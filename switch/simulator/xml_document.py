"""Reads `freeswitch.xml` the way FreeSWITCH does: pre-processor lines first, then one XML document.

Source: `src/switch_xml.c` (`preprocess`): `X-PRE-PROCESS` commands stand alone on their line, `$${name}`
is replaced by a global variable, and the `<include>` wrapper of an included file is dropped.
"""

from __future__ import annotations

import os
import re
import socket
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

MAX_DOCUMENT_BYTES = 8 * 1024 * 1024
MAX_INCLUDE_DEPTH = 10

_DIRECTIVE = re.compile(
    r"""<X-PRE-PROCESS\s+cmd\s*=\s*["'](?P<command>[\w-]+)["']\s+data\s*=\s*(?P<quote>["'])(?P<data>.*?)(?P=quote)""",
    re.IGNORECASE,
)
_SHORT_SET = re.compile(r'<!--#set\s+"(?P<data>[^"]*)"\s*-->', re.IGNORECASE)
_GLOBAL_VARIABLE = re.compile(r"\$\$\{([^}]*)\}")
_DECLARATION = re.compile(r"<\?xml[^>]*\?>", re.IGNORECASE)
_INCLUDE_TAGS = ("<include>", "</include>", "<include/>")


class ConfigurationUnreadable(Exception):
    """The configuration directory cannot be used; the message names the file and what is wrong with it."""


class XmlRefused(ValueError):
    """A text that should be an XML document is too large or not well formed."""


@dataclass(frozen=True)
class SwitchDocument:
    """The whole static tree and the global variables that were set while it was read."""

    root: ElementTree.Element
    global_variables: dict[str, str] = field(default_factory=dict[str, str])

    def section(self, name: str) -> ElementTree.Element | None:
        """The `<section>` of this name, or None."""
        return section_of(self.root, name)


def section_of(root: ElementTree.Element, name: str) -> ElementTree.Element | None:
    """The `<section name=...>` of a `freeswitch/xml` document, or None."""
    return next((section for section in root.iter("section") if section.get("name") == name), None)


def parse_xml(text: str | bytes) -> ElementTree.Element:
    """Parse one document of at most `MAX_DOCUMENT_BYTES`; raises `XmlRefused`.

    The parser is expat, which refuses runaway entity expansion and never fetches external entities.
    """
    if len(text) > MAX_DOCUMENT_BYTES:
        raise XmlRefused(f"the XML document is larger than {MAX_DOCUMENT_BYTES} bytes")
    try:
        return ElementTree.fromstring(text)  # noqa: S314  (bounded above, expat limits entity expansion)
    except (ElementTree.ParseError, ValueError) as error:
        raise XmlRefused(f"the XML document is not well formed: {error}") from error


def load_document(directory: Path, *, log_directory: Path) -> SwitchDocument:
    """Read `freeswitch.xml` of a configuration directory; raises `ConfigurationUnreadable`."""
    top = directory / "freeswitch.xml"
    variables = {
        "conf_dir": str(directory),
        "log_dir": str(log_directory),
        "base_dir": str(directory.parent),
        "hostname": socket.gethostname(),
        "local_ip_v4": "127.0.0.1",
        "domain": "127.0.0.1",
    }
    text = _DECLARATION.sub("", "\n".join(_preprocess(top, variables, depth=0)))
    try:
        return SwitchDocument(parse_xml(text), variables)
    except XmlRefused as error:
        raise ConfigurationUnreadable(f"{top}: {error}") from error


def _preprocess(path: Path, variables: dict[str, str], *, depth: int) -> list[str]:
    if depth > MAX_INCLUDE_DEPTH:
        raise ConfigurationUnreadable(f"{path}: files include each other more than {MAX_INCLUDE_DEPTH} deep")
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise ConfigurationUnreadable(f"{path}: cannot be read ({error.strerror})") from error
    lines: list[str] = []
    for raw in text.splitlines():
        line = expanded(raw, variables)
        if line.strip().lower() in _INCLUDE_TAGS:
            continue
        directive = _DIRECTIVE.search(line)
        short = _SHORT_SET.search(line)
        if directive is not None:
            command, data = directive["command"].lower(), directive["data"]
            lines.extend(_carry_out(command, data, path, variables, depth=depth))
        elif short is not None:
            _set(short["data"], variables)
        else:
            lines.append(line)
    return lines


def expanded(text: str, variables: dict[str, str]) -> str:
    """The text with every `$${name}` replaced by the global variable, '' where there is none."""
    return _GLOBAL_VARIABLE.sub(lambda match: variables.get(match.group(1), ""), text)


def _carry_out(command: str, data: str, path: Path, variables: dict[str, str], *, depth: int) -> list[str]:
    if command == "set":
        _set(data, variables)
    elif command == "env-set":
        name, _, variable = data.partition("=")
        _set(f"{name}={os.environ.get(variable.lstrip('$'), '')}", variables)
    elif command == "include":
        pattern = Path(data)
        base = Path(pattern.anchor) if pattern.is_absolute() else path.parent
        relative = pattern.relative_to(pattern.anchor) if pattern.is_absolute() else pattern
        return [
            line
            for included in sorted(base.glob(str(relative)))
            for line in _preprocess(included, variables, depth=depth + 1)
        ]
    return []


def _set(data: str, variables: dict[str, str]) -> None:
    name, _, value = data.partition("=")
    variables[name.strip()] = value
