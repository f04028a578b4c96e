"""Requests about papers and equipment."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable
from typing import Any

from tests.journeys.house import Example, House
from tests.provisioning.paper_files import pdf
from tests.world import Customer

_numbers = itertools.count(1)


def paper_upload(customer: Customer) -> Example:
    path = f"/v1/papers?kind=representative_id&tenant_id={customer.tenant_id}"
    return Example(customer.admin, path, content=pdf(), headers={"content-type": "application/pdf"})


async def _submit_paper(house: House) -> Example:
    return paper_upload(house.theirs)


async def _new_paper(house: House) -> str:
    return f"/v1/papers/{(await paper_upload(house.theirs).send()).json()['paper_id']}"


async def _review_paper(house: House) -> Example:
    path = f"{await _new_paper(house)}/review"
    return Example(house.world.operator, path, {"decision": "accepted", "reason": "agrees with the original"})


async def _withdraw_paper(house: House) -> Example:
    return Example(house.theirs.admin, f"{await _new_paper(house)}/withdrawal", {"reason": "the wrong page"})


async def _link_paper(house: House) -> Example:
    return Example(house.theirs.admin, f"/v1/papers/{house.ids['paper_id']}/link")


def equipment_body(customer: Customer) -> dict[str, Any]:
    body = {"tenant_id": customer.tenant_id, "contract_id": customer.contract_id, "kind": "headset", "seat_number": 1}
    return body | {"label": f"SN-{next(_numbers)}", "makers_price": "399.99", "on": "2026-07-01"}


async def _hand_out_equipment(house: House) -> Example:
    return Example(house.world.operator, "/v1/equipment", equipment_body(house.theirs))


async def _end_equipment(house: House) -> Example:
    made = (await (await _hand_out_equipment(house)).send()).json()
    body = {"outcome": "lost", "on": "2026-07-02", "note": "left on a train"}
    return Example(house.world.operator, f"/v1/equipment/{made['equipment_id']}/end", body)


async def _revive_equipment(house: House) -> Example:
    ended = await _end_equipment(house)
    await ended.send()
    return Example(house.world.operator, ended.path.replace("/end", "/revival"), {"reason": "it has turned up"})


EXAMPLES: dict[str, Callable[[House], Awaitable[Example]]] = {
    "SubmitPaper": _submit_paper,
    "ReviewPaper": _review_paper,
    "WithdrawPaper": _withdraw_paper,
    "LinkPaper": _link_paper,
    "HandOutEquipment": _hand_out_equipment,
    "EndEquipment": _end_equipment,
    "ReviveEquipment": _revive_equipment,
}
