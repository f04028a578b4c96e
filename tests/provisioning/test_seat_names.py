"""A name is one seat's alone, however it is given: by request, by table, by two at once."""

from __future__ import annotations

import asyncio
import importlib
from datetime import date
from typing import Any

from sqlalchemy import text

from infra.kit.database import Scope
from provisioning import seats
from provisioning.models import Seat
from tests.provisioning.test_bulk import as_csv, send, staffed
from tests.provisioning.test_seat_changes import nobody_listens
from tests.provisioning.world import World, travel


async def test_a_seat_is_not_given_the_name_of_another(world: World) -> None:
    tenant_id, _, seat_ids = await world.opened(seats=2)
    _, _, foreign = await world.opened(seats=1)
    admin = await world.api.client("tenant_admin", tenant_id)
    first, second = (f"/v1/seats/{seat_id}/name" for seat_id in seat_ids)
    assert (await admin.post(first, {"name": "前台"})).status_code == 200
    assert (await admin.post(first, {"name": "前台"})).status_code == 200, "its own"
    taken = await admin.post(second, {"name": " 前台 "})
    assert (taken.status_code, taken.json()["code"], taken.json()["field"]) == (409, "seat_name_taken", "name")
    assert "1001" in taken.json()["detail"]
    theirs = await world.operator.post(f"/v1/seats/{foreign[0]}/name", {"name": "前台"})
    assert theirs.status_code == 200, "another tenant's names are its own"
    assert (await admin.post(first, {"name": None})).status_code == 200
    assert (await admin.post(second, {"name": "前台"})).status_code == 200
    assert (await admin.post(first, {"name": None})).status_code == 200, "many have none"


async def test_the_name_of_a_returned_seat_is_free_again(world: World) -> None:
    tenant_id, contract_id, seat_ids = await world.opened(seats=2)
    admin = await world.api.client("tenant_admin", tenant_id)
    await admin.post(f"/v1/seats/{seat_ids[0]}/name", {"name": "前台"})
    back = {"kind": "return", "seat_ids": [seat_ids[0]], "effective_on": date(2026, 6, 20)}
    await world.placed(tenant_id, contract_id, **back)
    assert (await admin.post(f"/v1/seats/{seat_ids[1]}/name", {"name": "前台"})).status_code == 409, "still held"
    await nobody_listens(world)
    travel(date(2026, 6, 21))
    await world.periodic()
    admin = await world.api.client("tenant_admin", tenant_id)
    assert (await admin.post(f"/v1/seats/{seat_ids[1]}/name", {"name": "前台"})).status_code == 200
    assert (await admin.post(f"/v1/seats/{seat_ids[0]}/name", {"name": "前台"})).status_code == 200, "one that was"


async def test_of_two_that_give_one_name_at_once_one_is_refused(world: World) -> None:
    tenant_id, _, seat_ids = await world.opened(seats=3)
    admin = await world.api.client("tenant_admin", tenant_id)
    async with world.api.database.transaction(Scope.platform()) as session:
        seat = await seats.get_seat(session, seat_ids[0], tenant_id, for_update=True)
        await seats.rename(session, seat, "前台")
        slower = [
            asyncio.create_task(admin.post(f"/v1/seats/{seat_ids[1]}/name", {"name": "前台"})),
            asyncio.create_task(send(admin, as_csv({"extension": "1003", "name": "前台"}), dry_run="false")),
        ]
        done, _ = await asyncio.wait(slower, timeout=0.3)
        assert not done, "nobody has seen the name yet: both wait at the database"
    answers = await asyncio.gather(*slower)
    assert [(each.status_code, each.json()["code"]) for each in answers] == [(409, "seat_name_taken")] * 2
    assert [seat.name for seat in await world.seats(tenant_id)] == ["前台", None, None]


async def test_a_table_swaps_names_and_gives_a_freed_one_on(world: World) -> None:
    admin, tenant_id, _ = await staffed(world, seats=3)
    named = [{"extension": f"100{number}", "name": name} for number, name in ((1, "甲"), (2, "乙"), (3, "丙"))]
    assert (await send(admin, as_csv(*named), dry_run="false")).status_code == 200
    turned = as_csv(
        {"extension": "1001", "name": "乙"},
        {"extension": "1002", "name": "甲"},
        {"extension": "1003", "name": "-"},
        {"action": "add", "name": "丙", "effective_on": "2026-06-20"},
    )
    tried = await send(admin, turned)
    assert tried.json()["is_acceptable"], tried.text
    assert (await send(admin, turned, dry_run="false")).status_code == 200
    assert [seat.name for seat in await world.seats(tenant_id)] == ["乙", "甲", None, "丙"]


async def test_a_table_cancels_seats_and_gives_their_names_to_others(world: World) -> None:
    admin, tenant_id, contract_id = await staffed(world, seats=2)
    await world.placed(tenant_id, contract_id, kind="add", quantity=2, effective_on=date(2026, 6, 20))
    named = [{"extension": f"100{number}", "name": name} for number, name in ((1, "甲"), (3, "丙"), (4, "丁"))]
    assert (await send(admin, as_csv(*named), dry_run="false")).status_code == 200
    given_on = [
        {"extension": "1001", "name": "丙"},
        {"extension": "1003", "action": "cancel"},
        {"extension": "1004", "action": "cancel"},
        {"action": "add", "name": "丁", "effective_on": "2026-06-21"},
        {"extension": "1002", "name": "甲"},
    ]
    for dry_run in ("true", "false"):
        report = await send(admin, as_csv(*given_on), dry_run=dry_run)
        assert report.status_code == 200, report.text
        assert (report.json()["is_acceptable"], report.json()["done"]) == (True, 5), report.text
    held = [(seat.name, seat.state) for seat in await world.seats(tenant_id)]
    assert held == [("丙", "open"), ("甲", "open"), ("丙", "cancelled"), ("丁", "cancelled"), ("丁", "ordered")]


async def test_a_seat_that_a_table_cannot_cancel_keeps_its_name(world: World) -> None:
    admin, tenant_id, contract_id = await staffed(world, seats=1)
    await world.placed(tenant_id, contract_id, kind="add", quantity=2, effective_on=date(2026, 6, 20))
    assert (await send(admin, as_csv({"extension": "1002", "name": "乙"}), dry_run="false")).status_code == 200
    half = as_csv({"extension": "1002", "action": "cancel"}, {"extension": "1001", "name": "乙"})
    lines = (await send(admin, half)).json()["lines"]
    assert [(each["state"], each["problem"]["field"]) for each in lines] == [("refused", "action"), ("refused", "name")]
    assert "the seat 1002" in lines[1]["problem"]["detail"]


async def test_a_seat_that_a_table_returns_keeps_its_name_to_its_last_day_unless_a_dash_takes_it_away(
    world: World,
) -> None:
    admin, tenant_id, _ = await staffed(world, seats=3)
    assert (await send(admin, as_csv({"extension": "1001", "name": "甲"}), dry_run="false")).status_code == 200
    back = {"extension": "1001", "action": "return", "effective_on": "2026-06-20"}
    refused = (await send(admin, as_csv(back, {"extension": "1002", "name": "甲"}))).json()["lines"][1]["problem"]
    assert "also that of line 2, which keeps it until the end of 2026-06-20 unless a dash" in refused["detail"]
    freed = as_csv(back | {"name": "-"}, {"extension": "1002", "name": "甲"})
    assert (await send(admin, freed, dry_run="false")).status_code == 200
    assert [seat.name for seat in await world.seats(tenant_id)] == [None, "甲", None]
    assert (await send(admin, as_csv({"extension": "1001", "name": "乙"}), dry_run="false")).status_code == 200
    later = (await send(admin, as_csv({"extension": "1003", "name": "乙"}))).json()["lines"][0]["problem"]
    assert "the seat 1001, which keeps it until the end of 2026-06-20" in later["detail"]


async def test_a_seat_whose_line_is_refused_keeps_its_name_and_every_line_is_told(world: World) -> None:
    admin, tenant_id, _ = await staffed(world, seats=4)
    named = [{"extension": f"100{number}", "name": name} for number, name in enumerate("甲乙丙丁", 1)]
    assert (await send(admin, as_csv(*named), dry_run="false")).status_code == 200
    turned = [(1, "丁"), (2, "甲"), (3, "乙")]
    report = await send(admin, as_csv(*({"extension": f"100{number}", "name": name} for number, name in turned)))
    problems = [line["problem"]["detail"] for line in report.json()["lines"]]
    assert ["the seat 1004" in problems[0], "line 2" in problems[1], "line 3" in problems[2]] == [True] * 3
    assert [seat.name for seat in await world.seats(tenant_id)] == list("甲乙丙丁")


async def test_an_installation_with_doubled_names_is_upgraded_and_every_seat_keeps_one(world: World) -> None:
    tenant_id, _, _ = await world.opened(seats=5)
    other_id, _, _ = await world.opened(seats=1)
    names = {"1001": "前台", "1002": "前台", "1003": "前台 (1002)", "1004": "长" * 100, "1005": "长" * 100}
    migration: Any = importlib.import_module("infra.migrations.versions.0023_names_makers_and_domains")
    async with world.api.database.engine.begin() as connection:
        await connection.execute(text("DROP INDEX uq_seat_name_of_held"))
        for extension, name in names.items():
            given = {"name": name, "extension": extension, "tenant_id": tenant_id}
            command = "UPDATE seat SET name = :name WHERE extension = :extension AND tenant_id = :tenant_id"
            await connection.execute(text(command), given)
        await connection.execute(text("UPDATE seat SET name = '前台' WHERE tenant_id = :other"), {"other": other_id})
        await connection.run_sync(migration.name_apart)
    upgraded: dict[str, Seat] = {str(seat.extension): seat for seat in await world.seats(tenant_id)}
    shown = [str(upgraded[extension].name) for extension in names]
    assert shown[:2] == ["前台", "前台 (1002)"]
    assert shown[2:] == [f"前台 (1002) ({upgraded['1003'].seat_id})", "长" * 100, "长" * 60 + " (1005)"]
    assert [seat.name for seat in await world.seats(other_id)] == ["前台"]
