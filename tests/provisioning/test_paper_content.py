"""What is taken for a paper by its content, and what is not (C19)."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable

import pytest

from infra.kit.problems import Refusal
from tenancy.papers.content import check
from tests.provisioning.paper_files import archive, chunk, jpeg, pdf, png, segment, stream

SCRIPT = b"<< /S /JavaScript /JS (app.alert\\(1\\)) >>"
EXECUTABLE = b"MZ\x90\x00" + b"\0" * 60 + b"PE\0\0"


def refused(content: bytes, said: str = "") -> str:
    """The code of the refusal; each names the field."""
    with pytest.raises(Refusal) as caught:
        check(content, said)
    assert caught.value.field == "file"
    return caught.value.code


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (pdf(), "application/pdf"),
        (pdf(stream(zlib.compress(b"BT (hello) Tj ET"))), "application/pdf"),
        (pdf(stream(b"\xff\xd8\xff not really", b"/Filter /DCTDecode")), "application/pdf"),
        (pdf(head=b"%PDF-2.0\n"), "application/pdf"),
        (png(), "image/png"),
        (png(more=chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"scanned"))), "image/png"),
        (png(more=chunk(b"iTXt", b"Title\0\1\0zh\0\xe6\xa0\x87\0" + zlib.compress(b"scanned"))), "image/png"),
        (jpeg(), "image/jpeg"),
        (jpeg(more=segment(0xFE, b"a comment")), "image/jpeg"),
    ],
)
def test_scans_are_taken_whatever_they_are_called(content: bytes, expected: str) -> None:
    assert check(content) == expected
    assert check(content, "application/octet-stream") == expected
    assert check(content, f"{expected}; name=x") == expected


def test_what_a_file_is_called_must_be_what_it_is() -> None:
    assert refused(png(), "application/pdf") == "paper_type_differs"
    assert refused(pdf(), "image/jpeg") == "paper_type_differs"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        EXECUTABLE,
        EXECUTABLE + pdf(),
        b"\x7fELF\x02\x01\x01" + pdf(),
        b"#!/bin/sh\n" + pdf(),
        archive(),
        b"<html><body>%PDF-1.4",
        b"GIF89a" + pdf(),
        b"\n" + pdf(),
        b"just words",
    ],
)
def test_programs_and_other_files_are_refused_whatever_follows(content: bytes) -> None:
    assert refused(content, "application/pdf") in {"paper_type_refused", "paper_type_differs"}
    assert refused(content) == "paper_type_refused"


def commented_archive(before: bytes, behind: bytes) -> bytes:
    """A ZIP inside of another file, whose comment is the rest of that file."""
    whole = archive(before)
    return whole[:-2] + len(behind).to_bytes(2, "little")


def hidden_in_pdf() -> bytes:
    behind = b"\nendstream\nendobj\n" + pdf()[9:]
    before = b"%PDF-1.4\n9 0 obj\n<< /Length 200 >>\nstream\n"
    return before + commented_archive(before, behind) + behind


def hidden_in_png() -> bytes:
    place = len(png()) - 12
    head, end = png()[:place], png()[place:]
    inner = commented_archive(head + b"\0" * 8, b"\0" * 4 + end)
    return head + chunk(b"teXt", inner) + end


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (pdf(tail=archive(pdf())), "paper_polyglot"),
        (pdf(tail=EXECUTABLE), "paper_polyglot"),
        (hidden_in_pdf(), "paper_polyglot"),
        (hidden_in_png(), "paper_polyglot"),
        (png(tail=archive(png())), "paper_polyglot"),
        (jpeg(tail=archive(jpeg())), "paper_polyglot"),
        (png(tail=b"<?php"), "paper_damaged"),
        (jpeg(tail=b"<?php"), "paper_damaged"),
        (pdf(head=b"%PDF-1.4\n%<script>alert(1)</script>\n"), "paper_polyglot"),
        (pdf(head=b"%PDF-1.4\necho caught\n"), "paper_polyglot"),
        (b"%PDF-1.4".ljust(257, b"\0") + b"ustar" + pdf()[8:], "paper_polyglot"),
    ],
)
def test_what_is_something_else_as_well_is_refused(content: bytes, code: str) -> None:
    assert refused(content) == code


@pytest.mark.parametrize(
    "content",
    [
        pdf(b"4 0 obj\n" + SCRIPT + b"\nendobj"),
        pdf(b"4 0 obj\n<< /S /J#61vaScript /JS (x) >>\nendobj"),
        pdf(b"4 0 obj\n<< /S /Launch /F (cmd.exe) >>\nendobj"),
        pdf(b"4 0 obj\n<< /Names << /EmbeddedFiles 5 0 R >> >>\nendobj"),
        pdf(stream(zlib.compress(b"5 0 " + SCRIPT), b"/Type /ObjStm /N 1 /First 4 /Filter /FlateDecode")),
        pdf(stream(zlib.compress(b" " * (1 << 20) + SCRIPT), b"/Type /ObjStm /N 1 /First 4 /Filter /FlateDecode")),
        pdf(stream(b"5 0 " + SCRIPT, b"/Type /ObjStm /N 1 /First 4")),
        pdf(stream(zlib.compress(b"endstream\n" + SCRIPT, 0), b"/Type /ObjStm /N 1 /First 4 /Filter /FlateDecode")),
        pdf(b"4 0 obj\n<< /X (>>\nstream\n) /A " + SCRIPT + b" >>\nendobj"),
    ],
)
def test_a_pdf_that_acts_is_refused_however_it_hides_it(content: bytes) -> None:
    assert refused(content) == "paper_active_content"


def test_a_pdf_with_a_password_or_an_unreadable_packing_is_refused() -> None:
    assert refused(pdf(b"4 0 obj\n<< /Encrypt 5 0 R >>\nendobj")) == "paper_encrypted"
    odd = stream(b"GhVa8", b"/Type /ObjStm /N 1 /First 4 /Filter [ /ASCII85Decode /FlateDecode ]")
    assert refused(pdf(odd)) == "paper_damaged"


def bomb_of_text() -> bytes:
    return png(more=chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"\0" * 5_000_000)))


def packed_twice() -> bytes:
    return pdf(stream(zlib.compress(zlib.compress(b"\0" * 5_000_000)), b"/Filter [/FlateDecode /FlateDecode]"))


def many_small_bombs() -> bytes:
    return pdf(*[stream(zlib.compress(b"\0" * 100_000_000))] * 4)


@pytest.mark.parametrize(
    "make",
    [
        lambda: png(4, 4, pixels=b"\0" * 50_000_000),
        lambda: png(30_000, 30_000, pixels=b"\0" * 10),
        lambda: png(2**32 - 1, 2**32 - 1, pixels=b""),
        lambda: jpeg(65_500, 65_500),
        bomb_of_text,
        packed_twice,
        many_small_bombs,
    ],
)
def test_what_swells_is_refused_in_time(make: Callable[[], bytes]) -> None:
    content, began = make(), time.monotonic()
    assert refused(content) == "paper_decompression_bomb"
    assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    "content",
    [
        pdf()[:-8],
        b"%PDF-1.4\n%%EOF\n",
        b"%PDF-9.9\n" + pdf()[9:],
        b"%PDF-1.4\n1 0 obj\n<< >>\nendobj\n%%EOF\n",
        png()[:-1],
        png()[:40],
        png().replace(b"IDAT", b"IDAX"),
        png(pixels=b"\0" * 3),
        jpeg()[:-2],
        jpeg()[:25],
        b"\xff\xd8\xff\xd9",
        b"\xff\xd8\xff\xe0\x00\x01",
    ],
)
def test_damaged_files_are_refused(content: bytes) -> None:
    assert refused(content) == "paper_damaged"


def test_no_byte_that_is_changed_or_missing_ends_in_anything_but_an_answer() -> None:
    for whole in (pdf(stream(zlib.compress(b"BT ET"))), png(), jpeg()):
        for place in range(0, len(whole), 7):
            for changed in (whole[:place], whole[:place] + b"\xff\x00/<" + whole[place + 4 :]):
                try:
                    check(changed)
                except Refusal as refusal:
                    assert refusal.field == "file"
