"""Whether a file is one whole PDF that only shows pages (ISO 32000). Pure; unpacks what is packed, within a limit.

This reads no structure, which a hostile file would use to hide something from it: it looks at every byte, packed or
not. The names that make a PDF act are long enough not to come up in a picture's bytes by chance.
"""

from __future__ import annotations

import re

from tenancy.papers.errors import PaperActs, PaperAmbiguous, PaperDamaged, PaperLocked, PaperSwells
from tenancy.papers.inflating import PIECE_BYTES, Allowance, inflated

BEGINNING = b"%PDF-"
UNPACKED_LIMIT_BYTES = 300_000_000
"""Ten pages of A4 in colour at 300 dots an inch, as raw pixels."""

STREAMS_LIMIT = 50_000
HEAD_LIMIT_BYTES = 2_048
OVERLAP_BYTES = 64
"""Longer than the longest name that is looked for, however it is spelt."""

PACKED_TWICE_BYTES = 1_024
"""So much does not unpack from pixels by chance."""

_AFTER_NAME = rb"(?=[\s/<>\[\]()%{}\x00]|$)"
_VERSION = re.compile(rb"%PDF-(1\.[0-7]|2\.0)[\r\n %]")
_STREAM = re.compile(rb"(?<!end)stream[ \t]{0,8}(?:\r\n|\n|\r)?")
_HEXED = re.compile(rb"#([0-9A-Fa-f]{2})")
_ACTING = re.compile(
    rb"/(JavaScript|Launch|EmbeddedFiles?|FileAttachment|RichMedia|XFA|ImportData|SubmitForm|GoToE|GoToR)" + _AFTER_NAME
)
_LOCKED = re.compile(rb"/Encrypt" + _AFTER_NAME)
_PAGE = re.compile(rb"/Pages?" + _AFTER_NAME)
_PACKED_OBJECTS = re.compile(rb"/(?:ObjStm|First)" + _AFTER_NAME)
_OTHER_PACKING = re.compile(
    rb"/(?:ASCII85Decode|ASCIIHexDecode|LZWDecode|RunLengthDecode)|/Filter\s*\[?[^\]>]{0,80}?/(?:A85|AHx|LZW|RL)"
    + _AFTER_NAME
)
_FIRST_OBJECT = re.compile(rb"\d+\s+\d+\s+obj\b")
_BEFORE_OBJECTS = re.compile(rb"[^\r\n]+")
_MARKUP = re.compile(rb"<[a-zA-Z?!]|#!")


def check(content: bytes) -> None:
    """Raises `PaperDamaged`, `PaperAmbiguous`, `PaperLocked`, `PaperActs` or `PaperSwells`, each with its place."""
    if _VERSION.match(content) is None:
        raise _damaged("its version is unknown", 0)
    end = content.rfind(b"%%EOF")
    if end < 0:
        raise _damaged("it has no end", len(content))
    if content[end + 5 :].strip(b"\r\n\t \0"):
        behind = len(content) - end - 5
        raise PaperAmbiguous(f"{behind} bytes stand behind the PDF's end.", field="file", offset_bytes=end + 5)
    _check_head(content)
    plain = _HEXED.sub(_unhexed, content)
    _check_names(plain, 0)
    if _PACKED_OBJECTS.search(plain) and _OTHER_PACKING.search(plain):
        raise _damaged("its objects may be packed in a way that nobody can look into", 0)
    if not _check_streams(content) and _PAGE.search(plain) is None:
        raise _damaged("it has no pages", 0)


def _check_head(content: bytes) -> None:
    """Between the version and the first object stand comments only."""
    first = _FIRST_OBJECT.search(content, 0, HEAD_LIMIT_BYTES)
    if first is None:
        raise _damaged(f"no object begins in its first {HEAD_LIMIT_BYTES} bytes", 0)
    for line in _BEFORE_OBJECTS.finditer(content, 0, first.start()):
        text = line.group().strip()
        if text and (not text.startswith(b"%") or _MARKUP.search(text)):
            raise PaperAmbiguous(
                "Something else stands before the PDF's first object.", field="file", offset_bytes=line.start()
            )


def _check_streams(content: bytes) -> bool:
    """Look into all that is packed; returns whether a page was found there."""
    allowance, has_page = Allowance(UNPACKED_LIMIT_BYTES), False
    for number, found in enumerate(_STREAM.finditer(content)):
        if number >= STREAMS_LIMIT:
            raise _damaged(f"it has more than {STREAMS_LIMIT} streams", found.start())
        place = found.end()
        if not _looks_packed(content[place : place + 2]):
            continue
        before = b""
        for piece in inflated(content, allowance, begins=place, offset=place):
            if not before and _is_packed_again(piece):
                raise PaperSwells("The PDF packs something twice; print it to a new one.", field="file",
                                  offset_bytes=place)  # fmt: skip
            plain = _HEXED.sub(_unhexed, before + piece)
            _check_names(plain, place)
            has_page = has_page or _PAGE.search(plain) is not None
            before = piece[-OVERLAP_BYTES:]
    return has_page


def _is_packed_again(piece: bytes) -> bool:
    if not _looks_packed(piece[:2]):
        return False
    once_more = next(inflated(piece, Allowance(2 * PIECE_BYTES)), b"")
    return len(once_more) > PACKED_TWICE_BYTES


def _looks_packed(head: bytes) -> bool:
    """Whether zlib data begins with these two bytes."""
    return len(head) == 2 and head[0] & 0x0F == 8 and head[0] >> 4 <= 7 and int.from_bytes(head, "big") % 31 == 0


def _check_names(plain: bytes, place: int) -> None:
    locked = _LOCKED.search(plain)
    if locked is not None:
        raise PaperLocked(
            "The PDF has a password or restrictions; send it without.",
            field="file",
            offset_bytes=place or locked.start(),
        )
    acting = _ACTING.search(plain)
    if acting is not None:
        what = acting.group(1).decode()
        raise PaperActs(
            f"The PDF runs something or carries files ({what}); print it to a new PDF, or send a scan.",
            field="file",
            offset_bytes=place or acting.start(),
        )


def _unhexed(found: re.Match[bytes]) -> bytes:
    return bytes([int(found.group(1), 16)])


def _damaged(what: str, place: int) -> PaperDamaged:
    return PaperDamaged(f"The PDF is damaged: {what}; scan or export it anew.", field="file", offset_bytes=place)
