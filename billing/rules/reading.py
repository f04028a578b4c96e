"""Reads single values that somebody else wrote; every refusal names the place and the expected form."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import cast

from billing.rules.errors import BillingRefused, shown

FIRST_YEAR = 1900
LAST_YEAR = 2999
"""Years outside are a slip of the pen; it also keeps every date computation inside the calendar."""

DOCUMENT = "document"
"""The place of a whole document, whose members are named by themselves."""

MAXIMUM_WHOLE_DIGITS = 12
"""Digits before the point of an amount; larger ones do not fit the ledger's columns."""

MAXIMUM_DECIMALS = 12

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_NUMBER = re.compile(r"-?\d+(\.\d+)?", re.ASCII)


class Reader:
    """Reads values and refuses bad ones with one refusal class, for example `QuoteRefused`."""

    def __init__(self, refusal: type[BillingRefused]) -> None:
        self._refusal = refusal

    def refuse(self, place: str, problem: str, expected: str) -> BillingRefused:
        """The refusal to raise for a problem at a place."""
        return self._refusal(place, problem, expected)

    def members(
        self, value: object, place: str, *, required: Iterable[str], optional: Iterable[str] = ()
    ) -> Mapping[str, object]:
        """A JSON object with exactly the known members."""
        if not isinstance(value, dict):
            raise self.refuse(place, f"{shown(value)} is not an object", "a JSON object")
        found = cast("dict[str, object]", value)
        needed, allowed = set(required), set(required) | set(optional)
        for name in found:
            if name not in allowed:
                known = ", ".join(sorted(allowed))
                raise self.refuse(_member(place, name), f"unknown key {shown(name)}", f"only {known}")
        for name in sorted(needed):
            if name not in found:
                expected = f"all of {', '.join(sorted(needed))}"
                raise self.refuse(_member(place, name), f"the key {name} is missing", expected)
        return found

    def items(self, value: object, place: str, *, maximum_count: int) -> list[object]:
        """A JSON list of bounded length."""
        if not isinstance(value, list):
            raise self.refuse(place, f"{shown(value)} is not a list", "a list")
        found = cast("list[object]", value)
        if len(found) > maximum_count:
            raise self.refuse(place, f"{len(found)} entries", f"at most {maximum_count}")
        return found

    def choice(self, value: object, place: str, choices: Iterable[str]) -> str:
        """One of a few words."""
        known = sorted(choices)
        if not isinstance(value, str) or value not in known:
            raise self.refuse(place, f"{shown(value)} is not known", f"one of {', '.join(known)}")
        return value

    def whole(self, value: object, place: str, *, minimum: int, maximum: int) -> int:
        """A whole number within bounds (both included)."""
        if isinstance(value, bool) or not isinstance(value, int) or not minimum <= value <= maximum:
            raise self.refuse(place, f"{shown(value)} is not acceptable", f"a whole number from {minimum} to {maximum}")
        return value

    def decimal(
        self,
        value: object,
        place: str,
        *,
        places: int,
        minimum: Decimal = Decimal(0),
        maximum: Decimal | None = None,
    ) -> Decimal:
        """An exact decimal, written as a string (or as a JSON number) with at most `places` decimals."""
        expected = f'a decimal with at most {places} decimals such as "123.45"'
        number = self._number(value, place, expected)
        if number != round(number, places):
            raise self.refuse(place, f"{shown(value)} has too many decimals", expected)
        if number < minimum or (maximum is not None and number > maximum):
            bounds = f"at least {minimum}" + (f" and at most {maximum}" if maximum is not None else "")
            raise self.refuse(place, f"{shown(value)} is out of range", bounds)
        return number

    def _number(self, value: object, place: str, expected: str) -> Decimal:
        text = ""
        if isinstance(value, str):
            text = value if _NUMBER.fullmatch(value) else ""
        elif isinstance(value, (int, float, Decimal)) and not isinstance(value, bool):
            # A decoder may turn a JSON number into a binary float; its shortest text is what was written.
            text = str(value)
        try:
            number = Decimal(text)
        except InvalidOperation:
            raise self.refuse(place, f"{shown(value)} is not a decimal", expected) from None
        exponent = number.as_tuple().exponent
        if not isinstance(exponent, int) or exponent < -MAXIMUM_DECIMALS:
            raise self.refuse(place, f"{shown(value)} is not acceptable", expected)
        if number and number.adjusted() >= MAXIMUM_WHOLE_DIGITS:
            raise self.refuse(place, f"{shown(value)} is too large", f"at most {MAXIMUM_WHOLE_DIGITS} digits")
        return number + Decimal(0)

    def day(self, value: object, place: str) -> date:
        """A calendar day, `YYYY-MM-DD`."""
        expected = f"a date that exists, as YYYY-MM-DD, in the years {FIRST_YEAR} to {LAST_YEAR}"
        if not isinstance(value, str) or not _DATE.fullmatch(value):
            raise self.refuse(place, f"{shown(value)} is not a date", expected)
        try:
            found = date.fromisoformat(value)
        except ValueError:
            raise self.refuse(place, f"{shown(value)} does not exist in the calendar", expected) from None
        if not FIRST_YEAR <= found.year <= LAST_YEAR:
            raise self.refuse(place, f"{shown(value)} is out of range", expected)
        return found

    def moment(self, value: object, place: str) -> datetime:
        """A moment with its offset, ISO 8601; returned in UTC."""
        expected = 'a moment with its offset such as "2026-04-03T09:00:00+08:00"'
        if not isinstance(value, str):
            raise self.refuse(place, f"{shown(value)} is not a moment", expected)
        try:
            found = datetime.fromisoformat(value)
        except ValueError:
            raise self.refuse(place, f"{shown(value)} is not a moment", expected) from None
        if found.tzinfo is None:
            raise self.refuse(place, f"{shown(value)} has no offset", expected)
        if not FIRST_YEAR <= found.year <= LAST_YEAR:
            raise self.refuse(place, f"{shown(value)} is out of range", expected)
        return found.astimezone(UTC)


def _member(place: str, name: str) -> str:
    """The place of a member of an object, so that a refusal's `field` names the member itself."""
    member = shown(name).strip('"')
    return member if place == DOCUMENT else f"{place}.{member}"
