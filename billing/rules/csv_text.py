"""Reads tables from CSV as people save them: UTF-8 or GBK, with a header; problems are named by line and column."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence

from billing.rules.errors import BillingRefused, shown


def decoded(content: str | bytes, refusal: type[BillingRefused]) -> str:
    """The text of a file in UTF-8 (with or without byte order mark) or else GBK (its superset GB 18030)."""
    if isinstance(content, str):
        return content.removeprefix("\ufeff")
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise refusal("the file", "it is neither UTF-8 nor GBK text", "CSV text saved as UTF-8 or GBK")


class CsvText:
    """A table with a header; cells come without surrounding blanks."""

    def __init__(self, text: str, refusal: type[BillingRefused]) -> None:
        self._refusal = refusal
        self._reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        self._header: Sequence[str] = ()

    def require_columns(self, required: Sequence[str], optional: Sequence[str] = ()) -> None:
        """Read the header; unknown, missing and repeated columns are refused."""
        header = [cell.strip() for cell in self._next() or ()]
        known = (*required, *optional)
        for column in header:
            if column not in known:
                place = f"line {self._reader.line_num}, column {shown(column)}"
                raise self._refusal(place, "the column is not known", f"only {', '.join(known)}")
            if header.count(column) > 1:
                place = f"line {self._reader.line_num}, column {column}"
                raise self._refusal(place, "the column stands there twice", "each column once")
        for column in required:
            if column not in header:
                raise self._refusal(f"line 1, column {column}", "the column is missing", ", ".join(required))
        self._header = header

    def rows(self, *, maximum_count: int) -> Iterator[tuple[int, Mapping[str, str]]]:
        """Each row as its line number and its cells by column; blank lines are passed over."""
        count, width = 0, len(self._header)
        while (cells := self._next()) is not None:
            if not cells or (len(cells) == 1 and not cells[0].strip()):
                continue
            line = self._reader.line_num
            if len(cells) != width:
                column = self._header[len(cells)] if len(cells) < width else f"number {width + 1}"
                raise self._refusal(f"line {line}, column {column}", f"{len(cells)} cells", f"{width} cells")
            count += 1
            if count > maximum_count:
                raise self._refusal(f"line {line}", "too many rows", f"at most {maximum_count}")
            yield line, dict(zip(self._header, map(str.strip, cells), strict=True))

    def _next(self) -> list[str] | None:
        try:
            return next(self._reader, None)
        except csv.Error as error:
            raise self._refusal(f"line {self._reader.line_num}", str(error), "well-formed CSV") from error
