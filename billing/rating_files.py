"""`seatline rate DECK CALLS`: prices a file of calls by a rate deck (`quote.md`)."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import TextIO

from billing.rules.csv_text import CsvText, decoded
from billing.rules.deck_csv import read_deck
from billing.rules.errors import BillingRefused, CallsRefused, DeckRefused, shown
from billing.rules.prefixes import Deck
from billing.rules.reading import Reader
from infra.kit.money import rated

CALL_COLUMNS = ("call_id", "destination", "answered_at", "billsec")
OUTPUT_COLUMNS = ("call_id", "prefix", "billed_seconds", "charge")
UNRATED = "unrated"
EXIT_OK = 0
EXIT_UNRATED = 3

MAXIMUM_CALLS = 5_000_000
MAXIMUM_CALLS_BYTES = 1024 * 1024 * 1024
MAXIMUM_CALL_SECONDS = 10_000_000

_SECONDS = re.compile(r"\d{1,8}", re.ASCII)
_READER = Reader(CallsRefused)


@dataclass(frozen=True, slots=True)
class Call:
    """One call of the input; `answered_at` None for an unanswered one; `seconds` of talk."""

    call_id: str
    destination: str
    answered_at: datetime | None
    seconds: int


@dataclass(frozen=True, slots=True)
class RatedCall:
    """One row of the output; seconds and charge are None where no row of the deck prices the call."""

    call_id: str
    prefix: str
    billed_seconds: int | None
    charge: Decimal | None


def rate(deck_path: Path, calls_path: Path, out: TextIO) -> int:
    """Write one row per call to `out`; returns the exit code: 0, or 3 when a call could not be rated.

    Nothing is written when the deck or the calls cannot be read: raises `DeckRefused` or `CallsRefused`, whose text
    is one line that names the place.
    """
    deck = read_deck(_bytes(deck_path, DeckRefused))
    results = [rate_call(deck, call) for call in read_calls(_bytes(calls_path, CallsRefused))]
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(OUTPUT_COLUMNS)
    for result in results:
        seconds = "" if result.billed_seconds is None else result.billed_seconds
        charge = "" if result.charge is None else f"{result.charge:f}"
        writer.writerow((result.call_id, result.prefix, seconds, charge))
    return EXIT_UNRATED if any(result.charge is None for result in results) else EXIT_OK


def rate_call(deck: Deck, call: Call) -> RatedCall:
    """Price one call; an unanswered one costs nothing and has no prefix."""
    if call.answered_at is None:
        return RatedCall(call.call_id, "", 0, rated(0))
    row = deck.match(call.destination, call.answered_at)
    if row is None:
        return RatedCall(call.call_id, UNRATED, None, None)
    billed = row.billed_seconds(call.seconds)
    return RatedCall(call.call_id, row.prefix, billed, row.tariff.charge(billed))


def read_calls(content: str | bytes) -> Iterator[Call]:
    """The calls of a CSV file in UTF-8 or GBK. Raises `CallsRefused` naming line and column."""
    if len(content) > MAXIMUM_CALLS_BYTES:
        raise CallsRefused("the file", f"{len(content)} bytes", f"at most {MAXIMUM_CALLS_BYTES}")
    table = CsvText(decoded(content, CallsRefused), CallsRefused)
    table.require_columns(CALL_COLUMNS)
    for line, cells in table.rows(maximum_count=MAXIMUM_CALLS):
        answered = cells["answered_at"]
        place = f"line {line}, column answered_at"
        answered_at = _READER.moment(answered, place) if answered else None
        text = cells["billsec"]
        seconds = int(text) if _SECONDS.fullmatch(text) else -1
        if answered_at is None and not text:
            seconds = 0
        if not 0 <= seconds <= MAXIMUM_CALL_SECONDS:
            raise CallsRefused(
                f"line {line}, column billsec",
                f"{shown(text)} is not acceptable",
                f"whole seconds from 0 to {MAXIMUM_CALL_SECONDS}",
            )
        yield Call(cells["call_id"], cells["destination"], answered_at, seconds)


def _bytes(path: Path, refusal: type[BillingRefused]) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise refusal(str(path), error.strerror or "cannot be read", "a file that can be read") from error
