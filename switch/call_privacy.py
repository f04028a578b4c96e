"""Whose calls a caller sees in views across tenants: a person of the platform those of tenants that it visits now.

Of other tenants' calls such a person sees the last digits of numbers, enough to tell two calls apart, and of a record
that was set aside what its place and time were. The platform's API clients see all, as elsewhere
(tenancy/roles.py, `NEEDS_A_VISIT`).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit.principal import Principal
from switch import cdr_parsing, set_aside_records
from tenancy.people import visits

SEES_CALLS = "calls:read"
SHOWN_DIGITS = 3
SHORTEST_SHOWN_DIGITS = 7
"""A number with fewer digits is hidden whole: three of them would be most of it."""

HIDDEN = "***"
_NUMBER = re.compile(r"\+?[0-9]+", re.ASCII)
_ABOUT_THE_RECORD = ("core-uuid", "switchname")
_ABOUT_THE_LEG = (
    "uuid", "direction", "session_id", "seatline_tenant", "seatline_seat", "seatline_leg", "seatline_direction",
    "seatline_gateway", "seatline_refusal", "start_uepoch", "answer_uepoch", "end_uepoch", "billmsec", "hangup_cause",
)  # fmt: skip
"""What a record may be judged and repaired by without knowing who called whom."""


@dataclass(frozen=True, slots=True)
class Sight:
    """The tenants whose calls a caller sees; None: everybody's."""

    tenant_ids: frozenset[str] | None

    def number(self, number: str | None, tenant_id: str | None) -> str | None:
        """A number of a tenant's call (None: of nobody's we know), or its last digits."""
        return number if number is None or self._sees(tenant_id) else masked(number)

    def price_prefix(self, prefix: str | None, tenant_id: str) -> str | None:
        """The beginning of a called number that a call's price was found by, which may be as long as the number."""
        return None if prefix is None else prefix if self._sees(tenant_id) else HIDDEN

    def body(self, body: bytes) -> str:
        """A record as it came, or only what it says of its place and time. Bytes that are no UTF-8 become U+FFFD."""
        text = body.decode(errors="replace")
        if self.tenant_ids is None or any(re.search(set_aside_records.naming(each), text) for each in self.tenant_ids):
            return text
        return _bare(body)

    def _sees(self, tenant_id: str | None) -> bool:
        return self.tenant_ids is None or tenant_id in self.tenant_ids


async def sight_of(session: AsyncSession, principal: Principal) -> Sight:
    """Whose calls this caller sees now."""
    if SEES_CALLS in principal.permissions:
        return Sight(None)
    return Sight(await visits.visited_now(session, principal.client_id))


def masked(number: str) -> str:
    """A number's last three digits behind stars for the others; stars alone for what is short or no number."""
    digits = number.removeprefix("+")
    if _NUMBER.fullmatch(number) is None or len(digits) < SHORTEST_SHOWN_DIGITS:
        return HIDDEN if number else ""
    return "*" * (len(digits) - SHOWN_DIGITS) + digits[-SHOWN_DIGITS:]


def _bare(body: bytes) -> str:
    try:
        found: Any = json.loads(cdr_parsing.plain_body(body))
    except (ValueError, RecursionError):
        return ""
    if not isinstance(found, dict):
        return ""
    record = cast("dict[str, Any]", found)
    variables = record.get("variables")
    told = cast("dict[str, Any]", variables) if isinstance(variables, dict) else {}
    kept: dict[str, Any] = _of(record, _ABOUT_THE_RECORD) | {"variables": _of(told, _ABOUT_THE_LEG)}
    return json.dumps(kept, ensure_ascii=False)


def _of(values: dict[str, Any], names: tuple[str, ...]) -> dict[str, str | int]:
    limit = cdr_parsing.VALUE_LIMIT_CHARACTERS
    return {
        name: values[name]
        for name in names
        if isinstance(values.get(name), str | int) and len(str(values[name])) <= limit
    }
