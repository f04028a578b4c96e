"""`seatline quote` and `seatline rate`: the rules on files, without a database."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from billing.calculator import quote
from billing.rating_files import rate
from infra.kit.problems import MalformedRequest


def quote_file(path: Path) -> int:
    """Print the invoices of the contract in `path` (infra/docs/QUOTE.md); raises a refusal naming the event."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise MalformedRequest(f"{path}: {error.strerror}.") from error
    except ValueError as error:
        raise MalformedRequest(f"{path}: not a JSON document: {error}.") from error
    json.dump(quote(document), sys.stdout, ensure_ascii=False, indent=1)
    sys.stdout.write("\n")
    return 0


def rate_files(deck: Path, calls: Path) -> int:
    """Print each call with its prefix, billed seconds and charge; 3 when some found no rate."""
    return rate(deck, calls, sys.stdout)
