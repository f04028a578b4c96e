"""`seatline quote` and `seatline rate`: the rules on files, without a database."""

from __future__ import annotations

import sys
from pathlib import Path

from billing.calculator import quote_text
from billing.rating_files import rate
from infra.kit.problems import MalformedRequest


def quote_file(path: Path) -> int:
    """Print the invoices of the contract in `path` (infra/docs/QUOTE.md); raises a refusal naming the event."""
    try:
        text = path.read_bytes()
    except OSError as error:
        raise MalformedRequest(f"{path}: {error.strerror}.") from error
    sys.stdout.write(quote_text(text).rstrip("\n") + "\n")
    return 0


def rate_files(deck: Path, calls: Path) -> int:
    """Print each call with its prefix, billed seconds and charge; 3 when some found no rate."""
    return rate(deck, calls, sys.stdout)
