"""A tenant's papers as they are when everything is in order."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import httpx
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit import clock
from infra.kit.ids import new_id
from tenancy.papers.models import Paper
from tests.provisioning.paper_files import pdf

KINDS = ("unified_certificate", "bank_account_permit", "representative_id")
Send = Callable[..., Awaitable[httpx.Response]]
"""`send("POST", path, **)` as an operator."""


async def hand_in(send: Send, tenant_id: str, kind: str, **more: Any) -> dict[str, Any]:
    """The operator takes a paper from a tenant."""
    made = await send(
        "POST",
        "/v1/papers",
        content=pdf(),
        params={"kind": kind, "tenant_id": tenant_id} | more,
        headers={"content-type": "application/pdf"},
    )
    assert made.status_code == 201, made.text
    return made.json()


async def accept(send: Send, paper: dict[str, Any]) -> None:
    """The operator accepts it."""
    body = {"decision": "accepted", "reason": "seen"}
    decided = await send("POST", f"/v1/papers/{paper['paper_id']}/review", json=body)
    assert decided.status_code == 200, decided.text


async def hand_in_all(send: Send, tenant_id: str) -> None:
    """The operator takes all papers that are required, and accepts them."""
    for kind in KINDS:
        await accept(send, await hand_in(send, tenant_id, kind))


def hold_all(session: AsyncSession, tenant_id: str) -> None:
    """A tenant whose papers were accepted just now; where the files are does not matter."""
    now = clock.now()
    for kind in KINDS:
        session.add(
            Paper(
                tenant_id=tenant_id,
                paper_id=new_id("pap"),
                kind=kind,
                state="accepted",
                file_name=f"{kind}.pdf",
                media_type="application/pdf",
                size_bytes=1,
                digest="",
                valid_from=None,
                valid_until=None,
                uploaded_at=now,
                uploaded_by="test",
                decided_at=now,
                decided_by="test",
                decision_reason="seen",
                erased_at=now,
            )
        )
