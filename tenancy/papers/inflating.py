"""Unpacks with a limit: what a paper's file holds in compressed form is never unpacked further than it may be."""

from __future__ import annotations

import zlib
from collections.abc import Generator

from tenancy.papers.errors import PaperSwells

PIECE_BYTES = 1 << 20
FED_BYTES = 1 << 16


class Allowance:
    """How many bytes one file may still unpack to."""

    def __init__(self, limit_bytes: int) -> None:
        self.left_bytes = limit_bytes

    def spend(self, count: int, offset: int) -> None:
        """Count bytes that were unpacked. Raises `PaperSwells` once there are too many."""
        self.left_bytes -= count
        if self.left_bytes < 0:
            raise PaperSwells(
                "The file unpacks to far more than a paper needs; scan it anew with fewer pages or a lower resolution.",
                field="file",
                offset_bytes=offset,
            )


def inflated(content: bytes, allowance: Allowance, *, begins: int = 0, offset: int = 0) -> Generator[bytes]:
    """What zlib has packed from `begins` on, in pieces of at most `PIECE_BYTES`; ends early where it is damaged.

    It goes on to the end that the packed data has by itself. `offset` is where it stands in the file, for the refusal
    `PaperSwells`.
    """
    unpacker, view, place, left = zlib.decompressobj(), memoryview(content), begins, b""
    while not unpacker.eof:
        fed = left or view[place : place + FED_BYTES]
        if not fed:
            return
        place += 0 if left else len(fed)
        try:
            piece = unpacker.decompress(fed, PIECE_BYTES)
        except zlib.error:
            return
        left = unpacker.unconsumed_tail
        if piece:
            allowance.spend(len(piece), offset)
            yield piece
