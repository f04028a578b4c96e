"""What the tests of finance's month share: a lease that is open, a charge, and answers as the caller reads them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx

from tests.api import Caller
from tests.billing.lease_world import LeaseWorld


async def opened(world: LeaseWorld, seats: int = 2, *, ends_on: str | None = None, **terms: Any) -> None:
    """`onsite`, open on 2 March 2026 and paid; lived up to that day."""
    await world.sign("onsite", "2026-03-02", terms, ends_on=ends_on)
    await world.order(seats, "2026-03-02")
    await world.live_to("2026-02-26")
    await world.pay()
    await world.live_to("2026-03-02")


def charge_body(world: LeaseWorld, **other: Any) -> dict[str, Any]:
    """A one-off charge of the lease."""
    body = {"tenant_id": world.tenant_id, "contract_id": world.contract_id, "kind": "recruitment", "on": "2026-03-09"}
    return body | {"amount": "800.00", "note": "two agents of the second batch"} | other


async def does(caller: Caller, path: str, body: Mapping[str, Any], status: int = 201) -> dict[str, Any]:
    """POST what is expected to succeed."""
    answer = await caller.post(path, body)
    assert answer.status_code == status, answer.text
    return answer.json()


def refused(answer: httpx.Response) -> tuple[int, str, str | None]:
    """Status, code and field of a refusal."""
    return answer.status_code, answer.json()["code"], answer.json().get("field")
