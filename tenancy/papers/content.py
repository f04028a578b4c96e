"""What a file is, by its content alone, and whether it is nothing else besides. Pure; may take a second for 10 MB.

Only formats with a clear beginning and end are taken, and each must fill the file from its first byte to its last, so
that nothing can stand before, behind or around it.
"""

from __future__ import annotations

from typing import Literal, cast, get_args

from tenancy.papers import jpeg_content, pdf_content, png_content
from tenancy.papers.errors import PaperAmbiguous, PaperTypeDiffers, PaperUnreadable

MediaType = Literal["application/pdf", "image/png", "image/jpeg"]
MEDIA_TYPES: tuple[MediaType, ...] = get_args(MediaType)
UNSAID = ("", "application/octet-stream")
"""Media types that say nothing."""

FIELD = "file"

_BEGINNINGS: dict[bytes, MediaType] = {
    pdf_content.BEGINNING: "application/pdf",
    png_content.BEGINNING: "image/png",
    jpeg_content.BEGINNING: "image/jpeg",
}
_KNOWN_OTHERS: dict[bytes, str] = {
    b"MZ": "a Windows program",
    b"\x7fELF": "a Linux program",
    b"\xcf\xfa\xed\xfe": "a macOS program",
    b"\xca\xfe\xba\xbe": "a Java class or macOS program",
    b"#!": "a script",
    b"PK\x03\x04": "a ZIP archive or an office document",
    b"Rar!": "a RAR archive",
    b"7z\xbc\xaf": "a 7z archive",
    b"\x1f\x8b": "a gzip archive",
    b"\xd0\xcf\x11\xe0": "an old office document",
    b"GIF8": "a GIF image",
    b"<": "a page of HTML or XML",
}
_ZIP_END = b"PK\x05\x06"
_ZIP_END_BYTES = 22
_ZIP_COMMENT_LIMIT_BYTES = 65_535
_TAR = (257, b"ustar")
_DISC_IMAGE = (32_769, b"CD001")


def check(content: bytes, said: str = "") -> MediaType:
    """The media type of a paper's file; `said` is what its sender calls it.

    Raises `PaperUnreadable` for any other kind of file, `PaperTypeDiffers`, `PaperDamaged`, `PaperAmbiguous`,
    `PaperSwells`, `PaperActs`, `PaperLocked`.
    """
    found = _begins_as(content)
    named = said.partition(";")[0].strip().lower()
    if named not in UNSAID and named != found:
        raise PaperTypeDiffers(f"The file was sent as {named[:100]} and is {found}.", field=FIELD)
    _check_no_archive(content)
    match found:
        case "application/pdf":
            pdf_content.check(content)
        case "image/png":
            png_content.check(content)
        case "image/jpeg":
            jpeg_content.check(content)
    return found


def _begins_as(content: bytes) -> MediaType:
    for beginning, media_type in _BEGINNINGS.items():
        if content.startswith(beginning):
            return media_type
    other = next((name for beginning, name in _KNOWN_OTHERS.items() if content.startswith(beginning)), None)
    what = "is empty" if not content else f"is {other}" if other else "is of an unknown kind"
    raise PaperUnreadable(
        f"The file {what}; send a PDF, a PNG or a JPEG that begins with its first byte.", field=FIELD, offset_bytes=0
    )


def _check_no_archive(content: bytes) -> None:
    """Refuse what an unpacker would take for an archive: those are read from their end, or from fixed places."""
    for place, mark in (_TAR, _DISC_IMAGE):
        if content[place : place + len(mark)] == mark:
            raise PaperAmbiguous("The file is an archive or a disc image as well.", field=FIELD, offset_bytes=place)
    place = content.rfind(_ZIP_END)
    first = len(content) - _ZIP_END_BYTES - _ZIP_COMMENT_LIMIT_BYTES
    while place >= max(first, 0):
        comment = int.from_bytes(content[place + 20 : place + _ZIP_END_BYTES], "little")
        directory = int.from_bytes(content[place + 12 : place + 16], "little")
        if place + _ZIP_END_BYTES + comment <= len(content) and directory <= place:
            raise PaperAmbiguous("The file is a ZIP archive as well.", field=FIELD, offset_bytes=place)
        place = content.rfind(_ZIP_END, 0, place)


def extension(media_type: str) -> str:
    """How the name of a file of this type ends."""
    return {"application/pdf": "pdf", "image/png": "png", "image/jpeg": "jpg"}[cast("MediaType", media_type)]
