"""What we take for an e-mail address: the plain form that every mail server understands (RFC 5321, ASCII)."""

from __future__ import annotations

import re

ADDRESS_LIMIT_CHARACTERS = 254
LOCAL_PART_LIMIT_CHARACTERS = 64

_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_ADDRESS = re.compile(rf"(?P<local>{_ATOM}(?:\.{_ATOM})*)@(?:{_LABEL}\.)+(?![0-9]+\Z){_LABEL}\Z")


def is_address(text: str) -> bool:
    """Whether this is one address such as `finance@example.com`: no display name, no quotes, no line break.

    Addresses with letters beyond ASCII (RFC 6531) are refused: not every server on the way takes them.
    """
    found = _ADDRESS.match(text) if len(text) <= ADDRESS_LIMIT_CHARACTERS else None
    return found is not None and len(found["local"]) <= LOCAL_PART_LIMIT_CHARACTERS


def domain_of(address: str) -> str:
    """What follows the `@`."""
    return address.rpartition("@")[2]
