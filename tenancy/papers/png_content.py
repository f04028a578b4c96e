"""Whether a file is one whole PNG image and nothing else (ISO/IEC 15948). Pure."""

from __future__ import annotations

import zlib

from tenancy.papers.errors import PaperDamaged, PaperSwells
from tenancy.papers.inflating import Allowance, inflated

BEGINNING = b"\x89PNG\r\n\x1a\n"
PIXELS_LIMIT = 100_000_000
"""A page of A4 at 600 dots an inch has 35 million."""

UNPACKED_LIMIT_BYTES = 300_000_000
CHUNKS_LIMIT = 20_000
TEXT_LIMIT_BYTES = 4_000_000
"""Unpacked texts and colour profiles together."""

_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""By colour type."""

_INTERLACING_SPARE = 2


def check(content: bytes) -> None:
    """Raises `PaperDamaged` for what is no whole image or has something behind it, `PaperSwells` for a bomb."""
    place = len(BEGINNING)
    header, packed, data_at = b"", bytearray(), 0
    texts = Allowance(TEXT_LIMIT_BYTES)
    for number in range(CHUNKS_LIMIT):
        kind, body, following = _chunk(content, place)
        if (kind == b"IHDR") != (number == 0):
            raise _damaged("its header is not where it belongs", place)
        match kind:
            case b"IHDR":
                header = body
                _check_size(header, place)
            case b"IDAT":
                data_at = data_at or place
                packed += body
            case b"IEND":
                if following != len(content):
                    raise _damaged(f"{len(content) - following} bytes stand behind its end", following)
                _check_pixels(header, bytes(packed), data_at)
                return
            case b"zTXt" | b"iCCP" | b"iTXt":
                for _ in inflated(body, texts, begins=_text_begins(kind, body), offset=place):
                    pass
            case _:
                pass
        place = following
    raise _damaged(f"it has more than {CHUNKS_LIMIT} parts", place)


def _chunk(content: bytes, place: int) -> tuple[bytes, bytes, int]:
    """Kind and body of the chunk at a place, and where the next one begins."""
    length = int.from_bytes(content[place : place + 4], "big")
    end = place + 12 + length
    if len(content) < place + 12 or end > len(content):
        raise _damaged("it is cut off", place)
    kind, body = content[place + 4 : place + 8], content[place + 8 : place + 8 + length]
    if zlib.crc32(body, zlib.crc32(kind)) != int.from_bytes(content[end - 4 : end], "big"):
        raise _damaged("a checksum is wrong", place)
    return kind, body, end


def _text_begins(kind: bytes, body: bytes) -> int:
    """Where the packed part of a text or colour profile begins: behind its keyword and what describes it."""
    place = body.find(b"\0") + 1
    if kind != b"iTXt":
        return place + 1
    place += 2  # whether it is packed, and how
    for _ in ("language", "translated keyword"):
        place = body.find(b"\0", place) + 1
    return place


def _check_size(header: bytes, place: int) -> None:
    width, height = int.from_bytes(header[0:4], "big"), int.from_bytes(header[4:8], "big")
    if len(header) != 13 or not width or not height or header[9] not in _CHANNELS:
        raise _damaged("its header makes no sense", place)
    if width * height > PIXELS_LIMIT or _unpacked_bytes(header) > UNPACKED_LIMIT_BYTES:
        raise PaperSwells(
            f"The image is {width} × {height} pixels; at most {PIXELS_LIMIT:,} (300 MB unpacked) are taken.",
            field="file",
            offset_bytes=place,
        )


def _check_pixels(header: bytes, packed: bytes, place: int) -> None:
    """As many bytes unpack as the header announces."""
    width, height = int.from_bytes(header[0:4], "big"), int.from_bytes(header[4:8], "big")
    expected = _unpacked_bytes(header)
    spare = 0 if header[12] == 0 else _INTERLACING_SPARE * (width + height) * 8 + expected // 2
    unpacked = sum(len(piece) for piece in inflated(packed, Allowance(expected + spare), offset=place))
    if unpacked < expected - (0 if header[12] == 0 else spare):
        raise _damaged("its pixels are cut off", place)


def _unpacked_bytes(header: bytes) -> int:
    """The bytes of an image without interlacing: each line has one that says how it is filtered."""
    width, height = int.from_bytes(header[0:4], "big"), int.from_bytes(header[4:8], "big")
    return (1 + (width * header[8] * _CHANNELS[header[9]] + 7) // 8) * height


def _damaged(what: str, place: int) -> PaperDamaged:
    return PaperDamaged(f"The PNG is damaged: {what}; scan or export it anew.", field="file", offset_bytes=place)
