"""Windows are proposed where the past weeks were quietest (C12)."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from infra.kit import clock
from infra.kit.database import Scope
from infra.kit.ids import new_id
from switch.models import CallRecord
from tests.provisioning.window_world import PATH
from tests.provisioning.world import TODAY, World


async def _called(world: World, tenant_id: str, began: str) -> None:
    started = datetime.fromisoformat(f"{began}+08:00")
    async with world.api.database.transaction(Scope.platform()) as session:
        session.add(
            CallRecord(
                tenant_id=tenant_id,
                month=started.date().replace(day=1),
                leg_id=new_id("leg"),
                node="alpha",
                leg="gateway",
                direction="outbound",
                caller="1001",
                destination="13800138000",
                started_at=started,
                ended_at=started + timedelta(minutes=1),
                billable_milliseconds=60_000,
                hangup_cause="NORMAL_CLEARING",
                received_at=started,
                body=b"",
            )
        )


async def test_a_window_is_proposed_where_the_past_weeks_were_quietest(world: World) -> None:
    tenant_id = await world.api.tenant()
    for week in range(4):
        for day in range(7):
            on = TODAY - timedelta(days=7 * week + day + 1)
            for quarter in range(0, 24, 1):
                # Thursdays between one and four nobody calls.
                if not (on.weekday() == 3 and quarter in (1, 2, 3)):
                    await _called(world, tenant_id, f"{on}T{quarter:02}:15")
    shown = (await world.operator.get(f"{PATH}/proposal", params={"month": "2026-07", "hours": 3})).json()
    first = shown["proposals"][0]
    assert (first["begins_at"], first["ends_at"], first["legs"]) == (
        "2026-07-02T01:00:00+08:00", "2026-07-02T04:00:00+08:00", 0,
    )  # fmt: skip
    assert [each["begins_at"][8:10] for each in shown["proposals"]] == ["02", "09", "16", "23", "30"]
    assert (shown["legs_seen"], shown["places_left"], shown["busiest"]["legs"]) == (4 * (7 * 24 - 3), 2, 12)
    assert (shown["first_day"], shown["last_day"]) == ("2026-05-11", "2026-06-07")
    made = await world.operator.post(PATH, {key: first[key] for key in ("begins_at", "ends_at")} | {"note": "x"})
    assert made.status_code == 201
    left = (await world.operator.get(f"{PATH}/proposal", params={"month": "2026-07", "hours": 3})).json()
    assert (left["places_left"], left["proposals"][0]["begins_at"][8:10]) == (1, "09")


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"month": "2026-05"}, "month"),
        ({"month": "2028-01"}, "month"),
        ({"month": "2026-13"}, "month"),
        ({"hours": 0}, "hours"),
        ({"hours": 13}, "hours"),
    ],
)
async def test_what_cannot_be_proposed_is_refused(world: World, params: dict[str, Any], field: str) -> None:
    answer = await world.operator.get(f"{PATH}/proposal", params=params)
    assert (answer.status_code, answer.json()["field"]) == (422, field)


async def test_in_the_running_month_only_what_can_be_announced_in_time_is_proposed(world: World) -> None:
    shown = (await world.operator.get(f"{PATH}/proposal", params={"month": "2026-06"})).json()
    earliest = clock.now() + timedelta(hours=72)
    assert shown["proposals"]
    assert all(datetime.fromisoformat(each["begins_at"]) >= earliest for each in shown["proposals"])
    viewer = await world.api.client("tenant_viewer", await world.api.tenant())
    assert (await viewer.get(f"{PATH}/proposal")).status_code == 403
