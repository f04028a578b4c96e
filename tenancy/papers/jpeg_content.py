"""Whether a file is one whole JPEG image and nothing else (ISO/IEC 10918-1). Pure."""

from __future__ import annotations

from tenancy.papers.errors import PaperDamaged, PaperSwells

BEGINNING = b"\xff\xd8\xff"
PIXELS_LIMIT = 100_000_000
"""A page of A4 at 600 dots an inch has 35 million."""

SEGMENTS_LIMIT = 20_000
_START, _END, _SCAN = 0xD8, 0xD9, 0xDA
_FRAMES = frozenset({0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF})
_RESTARTS = range(0xD0, 0xD8)
_TEMPORARY = 0x01


def check(content: bytes) -> None:
    """Raises `PaperDamaged` for what is no whole image or has something behind it, `PaperSwells` for a bomb."""
    place, has_frame, has_scan = 2, False, False
    for _ in range(SEGMENTS_LIMIT):
        if place + 2 > len(content):
            raise _damaged("it is cut off", place)
        if content[place] != 0xFF:
            raise _damaged("there is no marker where one belongs", place)
        marker = content[place + 1]
        if marker == 0xFF:  # filling
            place += 1
            continue
        if marker == _END:
            if not has_frame or not has_scan:
                raise _damaged("it has no picture", place)
            if place + 2 != len(content):
                raise _damaged(f"{len(content) - place - 2} bytes stand behind its end", place + 2)
            return
        if marker in (_START, 0x00, _TEMPORARY) or marker in _RESTARTS:
            raise _damaged("a marker is out of place", place)
        length = int.from_bytes(content[place + 2 : place + 4], "big")
        if length < 2 or place + 2 + length > len(content):
            raise _damaged("it is cut off", place)
        if marker in _FRAMES:
            has_frame = True
            _check_size(content[place + 4 : place + 2 + length], place)
        place += 2 + length
        if marker == _SCAN:
            has_scan = True
            place = _behind_scan(content, place)
    raise _damaged(f"it has more than {SEGMENTS_LIMIT} parts", place)


def _behind_scan(content: bytes, place: int) -> int:
    """Where the next marker stands that is neither a stuffed byte nor a restart."""
    while True:
        place = content.find(b"\xff", place)
        if place < 0 or place + 1 >= len(content):
            raise _damaged("its picture is cut off", len(content))
        following = content[place + 1]
        if following != 0 and following not in _RESTARTS:
            return place
        place += 2


def _check_size(frame: bytes, place: int) -> None:
    if len(frame) < 6:
        raise _damaged("its header is cut off", place)
    height, width = int.from_bytes(frame[1:3], "big"), int.from_bytes(frame[3:5], "big")
    if not width or not height:
        raise _damaged("its header makes no sense", place)
    if width * height > PIXELS_LIMIT:
        raise PaperSwells(
            f"The image is {width} × {height} pixels; at most {PIXELS_LIMIT:,} are taken.",
            field="file",
            offset_bytes=place,
        )


def _damaged(what: str, place: int) -> PaperDamaged:
    return PaperDamaged(f"The JPEG is damaged: {what}; scan or export it anew.", field="file", offset_bytes=place)
