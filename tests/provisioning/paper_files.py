"""Files that are handed in as papers: good ones, and ones that somebody has thought about."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib


def pdf(*objects: bytes, head: bytes = b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n", tail: bytes = b"") -> bytes:
    """A PDF of one empty page and more objects."""
    whole = [
        b"1 0 obj\n<< /Type /Catalog /Pages 2 0 R >>\nendobj",
        b"2 0 obj\n<< /Type /Pages /Kids [3 0 R] /Count 1 >>\nendobj",
        b"3 0 obj\n<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] >>\nendobj",
        *objects,
    ]
    body, places = head, []
    for each in whole:
        places.append(len(body))
        body += each + b"\n"
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    count = len(whole) + 1
    body += b"xref\n0 %d\n0000000000 65535 f \n%s" % (count, table)
    start = body.rfind(b"xref\n0 ")
    return body + b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (count, start) + tail


def stream(data: bytes, entries: bytes = b"/Filter /FlateDecode", number: int = 4) -> bytes:
    """An object with a stream of these bytes, as they are."""
    return b"%d 0 obj\n<< %s /Length %d >>\nstream\n%s\nendstream\nendobj" % (number, entries, len(data), data)


def chunk(kind: bytes, body: bytes) -> bytes:
    """A part of a PNG."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int = 4, height: int = 4, *, pixels: bytes | None = None, more: bytes = b"", tail: bytes = b"") -> bytes:
    """A grey PNG."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    data = chunk(b"IDAT", zlib.compress((b"\0" + b"\x80" * width) * height if pixels is None else pixels))
    return b"\x89PNG\r\n\x1a\n" + header + more + data + chunk(b"IEND", b"") + tail


def segment(marker: int, body: bytes) -> bytes:
    """A part of a JPEG."""
    return bytes((0xFF, marker)) + struct.pack(">H", len(body) + 2) + body


def jpeg(width: int = 8, height: int = 8, *, more: bytes = b"", tail: bytes = b"") -> bytes:
    """The form of a grey JPEG; nobody looks at its picture."""
    frame = segment(0xC0, struct.pack(">BHHB", 8, height, width, 1) + b"\x01\x11\x00")
    scan = segment(0xDA, b"\x01\x01\x00\x00\x3f\x00") + b"\x12\xff\x00\x34\xff\xd0\x56"
    return b"\xff\xd8" + segment(0xE0, b"JFIF\0\x01\x01\0\0\x01\0\x01\0\0") + more + frame + scan + b"\xff\xd9" + tail


def archive(before: bytes = b"") -> bytes:
    """A ZIP with something in it, as it stands behind other bytes."""
    kept = io.BytesIO()
    kept.write(before)
    with zipfile.ZipFile(kept, "a") as file:
        file.writestr("run.sh", "#!/bin/sh\necho caught\n")
    return kept.getvalue()[len(before) :]
