"""A small XML writer: elements with attributes, nothing else, everything escaped.

FreeSWITCH's own parser (switch_xml.c) reads the answers. Before it, for files, a preprocessor looks at every raw line
for `$${name}`, `<?`, `<include>` and comments; escaping `$`, `<` and `>` in values keeps values out of its reach.
"""

from __future__ import annotations

from dataclasses import dataclass

DECLARATION = '<?xml version="1.0" encoding="UTF-8" standalone="no"?>\n'

_ESCAPES = {
    "&": "&amp;",
    "<": "&lt;",
    ">": "&gt;",
    '"': "&quot;",
    "'": "&#39;",
    "$": "&#36;",
}
_TRANSLATION = str.maketrans(_ESCAPES)


class NotWritable(ValueError):
    """A value holds a control character, which XML cannot carry; remove it where the value comes from."""

    def __init__(self, name: str) -> None:
        super().__init__(f"the value of {name!r} holds a control character, which XML cannot carry; remove it")


class FromNode(str):
    """The name of a global variable that a node's own files set; the node puts its value in its place.

    For what only the node's files know, such as a path, in documents that are also answered while it runs.
    """

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Element:
    """One element: its name, its attributes in order, its children."""

    name: str
    attributes: tuple[tuple[str, str], ...] = ()
    children: tuple[Element, ...] = ()

    def lines(self, depth: int = 0) -> list[str]:
        """The element as indented lines; a preprocessor command stands alone on its line, as FreeSWITCH needs
        it.
        """
        indent = "  " * depth
        head = f"{indent}<{self.name}{self._attributes_text()}"
        if not self.children:
            return [f"{head}/>"]
        inner = [line for child in self.children for line in child.lines(depth + 1)]
        return [f"{head}>", *inner, f"{indent}</{self.name}>"]

    def _attributes_text(self) -> str:
        return "".join(f' {name}="{escape(name, value)}"' for name, value in self.attributes)


def escape(name: str, value: str) -> str:
    """`value` as it may stand between double quotes; raises `NotWritable` for what XML cannot carry."""
    if isinstance(value, FromNode):
        return f"$${{{value}}}"
    if not value.isprintable() and any(not _is_carried(character) for character in value):
        raise NotWritable(name)
    return value.translate(_TRANSLATION)


def _is_carried(character: str) -> bool:
    """Line breaks and tabs are refused too: a parser may turn them into spaces, and no value of ours needs
    them.
    """
    code = ord(character)
    return code >= 0x20 and not 0x7F <= code <= 0x9F and not 0xD800 <= code <= 0xDFFF and code not in {0xFFFE, 0xFFFF}


def element(name: str, /, *children: Element, **attributes: str) -> Element:
    """An element; attribute names that Python reserves take a trailing underscore, which is dropped."""
    return Element(name, tuple((key.rstrip("_"), value) for key, value in attributes.items()), children)


def param(name: str, value: str | int) -> Element:
    """`<param name= value=/>`, the form of nearly all of FreeSWITCH's settings."""
    return element("param", name=name, value=value if isinstance(value, str) else str(value))


def flag(name: str, value: bool) -> Element:
    """A setting that is on or off."""
    return param(name, "true" if value else "false")


def document(*sections: Element) -> str:
    """A whole `freeswitch/xml` document as text."""
    root = element("document", *sections, type="freeswitch/xml")
    return DECLARATION + "\n".join(root.lines()) + "\n"
