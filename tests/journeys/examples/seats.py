"""Requests about seats: previews, groups, people, suspensions, hand-outs, tables."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable
from datetime import timedelta

from infra.kit import clock
from tests.journeys.house import Example, House

_numbers = itertools.count(1)


async def _preview_order(house: House) -> Example:
    day = clock.today() + timedelta(days=5 + next(_numbers))
    body = {"contract_id": house.theirs.contract_id, "kind": "add", "quantity": 1, "effective_on": day.isoformat()}
    return Example(house.theirs.admin, "/v1/seat-orders/preview", body | {"tenant_id": house.theirs.tenant_id})


async def _group_seat(house: House) -> Example:
    path = f"/v1/seats/{house.ids['seat_id']}/group"
    return Example(house.theirs.admin, path, {"group": f"电销 {next(_numbers)} 部"})


async def _move_seat(house: House) -> Example:
    path = f"/v1/seats/{house.ids['seat_id']}/person"
    return Example(house.theirs.admin, path, {"person": {"name": f"王 {next(_numbers)}", "mail": "wang@example.com"}})


async def _first_seat(house: House) -> dict[str, str]:
    """Another one than most examples act on, because it may be left suspended."""
    return (await house.theirs.admin.ask("/v1/seats", item="seat"))["items"][-1]


async def _suspend_seat(house: House) -> Example:
    seat = await _first_seat(house)
    path = f"/v1/seats/{seat['seat_id']}"
    if seat["state"] == "suspended":
        await house.theirs.admin.does(f"{path}/resumption")
    return Example(house.theirs.admin, f"{path}/suspension", {"reason": "on leave"})


async def _resume_seat(house: House) -> Example:
    seat = await _first_seat(house)
    path = f"/v1/seats/{seat['seat_id']}"
    if seat["state"] == "open":
        await house.theirs.admin.does(f"{path}/suspension", {"reason": "on leave"})
    return Example(house.theirs.admin, f"{path}/resumption")


async def _make_hand_out(house: House) -> Example:
    return Example(house.theirs.admin, f"/v1/seats/{house.ids['seat_id']}/hand-outs", {"language": "zh"})


async def _withdraw_hand_out(house: House) -> Example:
    made = (await (await _make_hand_out(house)).send()).json()
    return Example(house.theirs.admin, f"/v1/hand-outs/{made['hand_out_id']}/withdrawal")


async def _apply_seat_table(house: House) -> Example:
    table = f"seat_id,group\r\n{house.ids['seat_id']},客服 {next(_numbers)} 组\r\n".encode("gbk")
    path = f"/v1/seat-table?tenant_id={house.theirs.tenant_id}&dry_run=false"
    return Example(house.theirs.admin, path, content=table, headers={"content-type": "text/csv"})


EXAMPLES: dict[str, Callable[[House], Awaitable[Example]]] = {
    "ApplySeatTable": _apply_seat_table,
    "GroupSeat": _group_seat,
    "MakeHandOut": _make_hand_out,
    "MoveSeatToPerson": _move_seat,
    "PreviewSeatOrder": _preview_order,
    "ResumeSeat": _resume_seat,
    "SuspendSeat": _suspend_seat,
    "WithdrawHandOut": _withdraw_hand_out,
}
"""By operation id."""
