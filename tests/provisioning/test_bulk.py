"""Seats changed by a table: tried line by line, then carried out whole or not at all (C9, C10, C20)."""

from __future__ import annotations

import csv
import io
import re
from datetime import date
from typing import Any
from urllib.parse import urlsplit

import httpx
import openpyxl
import pytest
from sqlalchemy import text

from billing.spreadsheets import CSV_MEDIA_TYPE, XLSX_MEDIA_TYPE
from provisioning.bulk import applying
from switch.sip.digest import a1_hash
from tests.api import Caller
from tests.provisioning.world import World

HEADER = [
    "extension",
    "action",
    "name",
    "group",
    "person_name",
    "person_mail",
    "person_number",
    "effective_on",
    "reason",
]


def as_csv(*rows: dict[str, str], header: list[str] | None = None, encoding: str = "utf-8") -> bytes:
    """A table with these rows."""
    columns = header or HEADER
    written = io.StringIO()
    writer = csv.DictWriter(written, columns, restval="")
    writer.writeheader()
    writer.writerows(rows)
    return written.getvalue().encode(encoding)


async def send(caller: Caller, content: bytes, *, kind: str = CSV_MEDIA_TYPE, **query: Any) -> httpx.Response:
    parameters = "&".join(f"{name}={value}" for name, value in query.items())
    return await caller.post_bytes(f"/v1/seat-table?{parameters}", content, kind)


async def contents(world: World) -> dict[str, str]:
    """Every row of every table but those that signing in changes."""
    async with world.api.database.engine.connect() as connection:
        tables = await connection.execute(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'"))
        return {
            name: str((await connection.execute(text(f'SELECT t::text FROM "{name}" t ORDER BY 1'))).all())  # noqa: S608
            for name in tables.scalars().all()
            if name != "access_token"
        }


async def staffed(world: World, seats: int = 4) -> tuple[Caller, str, str]:
    """A tenant's admin, the tenant and its contract."""
    tenant_id, contract_id, _ = await world.opened(seats=seats)
    return await world.api.client("tenant_admin", tenant_id), tenant_id, contract_id


EVERYTHING = (
    {"extension": "1001", "name": "前台", "group": "行政", "person_name": "王芳", "person_mail": "w@example.com"},
    {"extension": "1002", "action": "suspend", "reason": "on leave"},
    {"extension": "1003", "action": "return", "effective_on": "2026-06-20"},
    {"extension": "1004", "action": "reissue"},
    {"action": "add", "name": "新坐席", "person_name": "李雷", "effective_on": "2026-06-20"},
    {"action": "add", "effective_on": "2026-06-20"},
)


async def test_a_dry_run_tells_what_every_line_would_do_and_cost_and_writes_nothing(world: World) -> None:
    admin, _, _ = await staffed(world)
    before = await contents(world)
    answer = await send(admin, as_csv(*EVERYTHING))
    assert answer.status_code == 200, answer.text
    assert await contents(world) == before
    report = answer.json()
    assert (report["is_dry_run"], report["is_acceptable"], report["done"], report["refused"]) == (True, True, 6, 0)
    lines = report["lines"]
    assert [line["line"] for line in lines] == [2, 3, 4, 5, 6, 7]
    assert lines[0]["changes"] == ["name", "group", "person_name", "person_mail"]
    assert [line["renews_credentials"] for line in lines] == [True, False, False, True, False, False]
    assert all(line["hand_out_url"] is None for line in lines)
    assert [line["extension"] for line in lines[4:]] == ["1005", "1006"]
    returned, added = report["orders"]
    assert (returned["kind"], returned["returned"]["rent_credit"]) == ("return", "460.00")
    assert (added["kind"], added["quantity"], added["invoice"]["total"]) == ("add", 2, "5466.67")


async def test_a_table_is_carried_out_whole(world: World) -> None:
    admin, tenant_id, _ = await staffed(world)
    trial = (await send(admin, as_csv(*EVERYTHING))).json()
    done = await send(admin, as_csv(*EVERYTHING), dry_run="false")
    assert (done.status_code, done.headers["cache-control"]) == (200, "no-store")
    report = done.json()
    assert [order["invoice"] and order["invoice"]["total"] for order in report["orders"]] == [None, "5466.67"]
    assert [each["state"] for each in report["lines"]] == [each["state"] for each in trial["lines"]]
    seats = {seat.extension: seat for seat in await world.seats(tenant_id)}
    assert (seats["1001"].name, seats["1001"].group_name, seats["1001"].person_name) == ("前台", "行政", "王芳")
    assert seats["1002"].state == "suspended"
    assert seats["1003"].closes_on == date(2026, 6, 20)
    assert (seats["1005"].name, seats["1005"].person_name, seats["1005"].state) == ("新坐席", "李雷", "ordered")
    assert seats["1006"].name is None
    urls = [line["hand_out_url"] for line in report["lines"]]
    assert [url is not None for url in urls] == [True, False, False, True, False, False]
    parts = urlsplit(urls[3])
    page = (await world.api.http.post(parts.path, data={"secret": parts.fragment})).text
    password = re.search(r"密码</th><td[^>]*><strong>([^<]*)", page)
    domain = re.search(r"SIP 域</th><td[^>]*>([^<]*)", page)
    assert password is not None
    assert domain is not None
    assert (await world.accounts(tenant_id))["1004"].a1_hash == a1_hash("1004", domain.group(1), password.group(1))


async def test_one_line_that_is_refused_refuses_them_all_by_place(world: World) -> None:
    admin, _, _ = await staffed(world)
    rows = (
        {"extension": "1001", "name": "前台"},
        {"extension": "9999", "name": "nobody"},
        {"extension": "1001", "group": "x"},
        {"extension": "1002", "action": "resume"},
        {"extension": "1003", "action": "explode"},
        {"extension": "1004", "action": "return", "effective_on": "2026-06-09"},
        {"extension": "1002x", "person_mail": "x"},
        {"action": "add", "effective_on": "soon"},
        {"action": "add"},
        {"action": "add", "extension": "1009", "effective_on": "2026-06-20"},
        {"action": "suspend", "reason": "which?"},
        {"action": "add", "person_mail": "x@example.com", "effective_on": "2026-06-20"},
    )
    before = await contents(world)
    report = (await send(admin, as_csv(*rows))).json()
    problems = {
        line["line"]: line["problem"] and (line["problem"]["code"], line["problem"]["field"])
        for line in report["lines"]
    }
    assert problems == {
        2: None,
        3: ("seat_not_found", "extension"),
        4: ("seat_table_line_refused", "extension"),
        5: ("seat_state_refused", "seat_id"),
        6: ("seat_table_line_refused", "action"),
        7: ("notice_too_short", "effective_on"),
        8: ("seat_not_found", "extension"),
        9: ("seat_table_line_refused", "effective_on"),
        10: ("seat_table_line_refused", "effective_on"),
        11: ("seat_table_line_refused", "extension"),
        12: ("seat_table_line_refused", "extension"),
        13: ("seat_table_line_refused", "person_name"),
    }
    assert (report["is_acceptable"], report["refused"]) == (False, 11)
    refused = await send(admin, as_csv(*rows), dry_run="false")
    assert (refused.status_code, refused.json()["code"], refused.json()["field"]) == (
        422,
        "seat_table_refused",
        "line 3",
    )
    assert (refused.json()["refused"], len(refused.json()["lines"])) == (11, 11)
    assert await contents(world) == before


async def test_an_unpaid_order_is_cancelled_by_a_table_that_names_all_of_its_seats(world: World) -> None:
    admin, tenant_id, contract_id = await staffed(world)
    await world.placed(tenant_id, contract_id, quantity=2, effective_on=date(2026, 6, 20))
    part = as_csv({"extension": "1005", "action": "cancel"}, {"extension": "1001", "action": "取消"})
    report = (await send(admin, part)).json()
    assert [(each["problem"]["code"], each["problem"]["field"]) for each in report["lines"]] == [
        ("seat_table_line_refused", "action"), ("seat_table_line_refused", "action"),
    ]  # fmt: skip
    opened = as_csv(*({"extension": f"100{each}", "action": "cancel"} for each in range(1, 5)))
    report = (await send(admin, opened)).json()
    assert {each["problem"]["code"] for each in report["lines"]} == {"seat_order_not_cancellable"}
    whole = as_csv(
        {"extension": "1005", "action": "cancel", "reason": "no need"},
        {"extension": "1006", "action": "取消"},
        {"action": "add", "effective_on": "2026-06-21"},
    )
    done = await send(admin, whole, dry_run="false")
    assert (done.status_code, [each["state"] for each in done.json()["lines"]]) == (200, ["done"] * 3)
    assert [seat.state for seat in await world.seats(tenant_id)] == ["open"] * 4 + ["cancelled"] * 2 + ["ordered"]


async def test_a_table_cancels_an_opening_together_with_what_waits_for_it(world: World) -> None:
    tenant_id = await world.api.tenant("renter")
    contract_id = await world.contract(tenant_id, opens_on=date(2026, 6, 22))
    await world.placed(tenant_id, contract_id, item="seat", quantity=1, effective_on=date(2026, 6, 22))
    await world.placed(tenant_id, contract_id, item="seat", quantity=1, effective_on=date(2026, 6, 25))
    admin = await world.api.client("tenant_admin", tenant_id)
    beside = ({"extension": "1002", "name": "前台"}, {"action": "add", "effective_on": "2026-06-26"})
    alone = (await send(admin, as_csv({"extension": "1001", "action": "cancel"}, *beside))).json()
    assert [each["state"] for each in alone["lines"]] == ["refused", "done", "done"]
    assert alone["lines"][0]["problem"]["code"] == "opening_needed"
    both = as_csv(*({"extension": each, "action": "cancel"} for each in ("1001", "1002")))
    assert (await send(admin, both)).json()["is_acceptable"]
    assert (await send(admin, both, dry_run="false")).status_code == 200
    assert [seat.state for seat in await world.seats(tenant_id)] == ["cancelled"] * 2


async def test_the_operator_alone_waives_the_notice_of_a_table(world: World) -> None:
    admin, tenant_id, _ = await staffed(world)
    soon = as_csv(
        {"action": "add", "effective_on": "2026-06-09"},
        {"extension": "1001", "action": "return", "effective_on": "2026-06-09"},
    )
    report = (await send(admin, soon)).json()
    assert [each["problem"]["code"] for each in report["lines"]] == ["notice_too_short"] * 2
    own = await send(admin, soon, waive_notice="true")
    assert (own.status_code, own.json()["field"]) == (403, "waive_notice")
    done = await send(world.operator, soon, tenant_id=tenant_id, waive_notice="true", dry_run="false")
    assert done.status_code == 200
    listed = (await world.operator.get("/v1/seat-orders", params={"tenant_id": tenant_id})).json()["items"]
    assert [each["notice_waived_by"] for each in listed] == [world.operator.client_id] * 2 + [None]


async def test_a_name_is_given_to_one_seat_only(world: World) -> None:
    admin, tenant_id, _ = await staffed(world, seats=3)
    await send(admin, as_csv({"extension": "1003", "name": "前台"}), dry_run="false")
    twice = as_csv({"extension": "1001", "name": "客服"}, {"extension": "1002", "name": "客服"})
    assert [line["problem"]["field"] for line in (await send(admin, twice)).json()["lines"]] == ["name", "name"]
    taken = (await send(admin, as_csv({"extension": "1001", "name": "前台"}))).json()["lines"][0]
    assert (taken["problem"]["field"], "1003" in taken["problem"]["detail"]) == ("name", True)
    swapped = as_csv({"extension": "1001", "name": "前台"}, {"extension": "1003", "name": "后台"})
    assert (await send(admin, swapped, dry_run="false")).status_code == 200
    assert [seat.name for seat in await world.seats(tenant_id)] == ["前台", None, "后台"]


@pytest.mark.parametrize("encoding", ["gbk", "utf-8-sig"])
async def test_a_table_as_spreadsheets_save_it_in_chinese_is_read(world: World, encoding: str) -> None:
    admin, tenant_id, _ = await staffed(world, seats=2)
    header = ["分机号", "操作", "分组", "姓名", "工号", "原因"]
    rows = (
        {"分机号": "1001", "分组": "电销一部", "姓名": "王芳", "工号": "A17"},
        {"分机号": "1002", "操作": "停用", "原因": "休假"},
    )
    done = await send(admin, as_csv(*rows, header=header, encoding=encoding), dry_run="false")
    assert done.status_code == 200, done.text
    seats = await world.seats(tenant_id)
    assert (seats[0].group_name, seats[0].person_name, seats[0].person_number) == ("电销一部", "王芳", "A17")
    assert seats[1].state == "suspended"


async def test_a_workbook_is_read_with_its_numbers_and_days(world: World) -> None:
    admin, tenant_id, _ = await staffed(world, seats=2)
    workbook = openpyxl.Workbook()
    sheet = workbook.active
    assert sheet is not None
    sheet.append(["extension", "action", "effective_on", "group"])
    for row in ([1001, "return", date(2026, 6, 20), None], [1002.0, None, None, "销售"]):
        sheet.append(row)
    saved = io.BytesIO()
    workbook.save(saved)
    done = await send(admin, saved.getvalue(), kind=XLSX_MEDIA_TYPE, dry_run="false")
    assert done.status_code == 200, done.text
    seats = await world.seats(tenant_id)
    assert (seats[0].closes_on, seats[1].group_name) == (date(2026, 6, 20), "销售")


@pytest.mark.parametrize("kind", ["csv", "xlsx"])
async def test_the_table_that_is_taken_comes_back_unchanged(world: World, kind: str) -> None:
    admin, tenant_id, _ = await staffed(world, seats=2)
    await send(admin, as_csv({"extension": "1001", "name": "=1+1", "person_name": "王芳"}), dry_run="false")
    taken = await admin.get("/v1/seat-table", params={"as": kind})
    assert taken.status_code == 200
    back = await send(admin, taken.content, kind=taken.headers["content-type"].partition(";")[0], dry_run="false")
    assert back.status_code == 200, back.text
    assert (back.json()["unchanged"], back.json()["done"]) == (2, 0)
    assert [seat.name for seat in await world.seats(tenant_id)] == ["=1+1", None]
    cleared = as_csv({"extension": "1001", "name": "-", "person_name": "-"})
    assert (await send(admin, cleared, dry_run="false")).json()["lines"][0]["renews_credentials"]
    first = (await world.seats(tenant_id))[0]
    assert (first.name, first.person_name) == (None, None)


@pytest.mark.parametrize(
    ("content", "field"),
    [
        (b"", "the file"),
        (b"extension\r\n", "the file"),
        (b"extension,colour\r\n1001,red\r\n", "colour"),
        (b"extension,extension\r\n1001,1002\r\n", "extension"),
        (b"name\r\nx\r\n", "extension"),
        (b"extension\r\n\xff\xfe\xff\r\n", "the file"),
        (b'extension\r\n"1001\r\n', "line 2"),
        (b"PK\x03\x04rubbish", "the file"),
        (b"extension\r\n" + b"1001\r\n" * 10_001, "the file"),
    ],
)
async def test_a_file_that_is_no_table_is_refused_by_place(world: World, content: bytes, field: str) -> None:
    admin = await world.api.client("tenant_admin", await world.api.tenant())
    answer = await send(admin, content)
    assert (answer.status_code, answer.json()["field"]) == (422, field)


async def test_a_table_is_the_business_of_its_own_tenant(world: World) -> None:
    admin, tenant_id, _ = await staffed(world, seats=1)
    other, _, foreign = await world.opened(seats=1)
    rows = ({"seat_id": foreign[0], "name": "mine"}, {"seat_id": foreign[0], "action": "reissue"})
    header = ["seat_id", "action", "name"]
    report = (await send(admin, as_csv(*rows, header=header))).json()
    assert {line["problem"]["code"] for line in report["lines"]} == {"seat_not_found"}
    own = as_csv({"extension": "1001", "name": "x"})
    assert (await send(admin, own, tenant_id=other)).status_code == 404
    viewer = await world.api.client("tenant_viewer", tenant_id)
    assert (await send(viewer, own)).status_code == 403
    assert (await send(world.operator, own)).json()["field"] == "tenant_id"
    assert (await send(world.operator, own, tenant_id=other, dry_run="false")).status_code == 200
    assert (await send(admin, b"{}", kind="application/json")).json()["code"] == "seat_table_of_the_wrong_kind"
    assert foreign[0] not in (await viewer.get("/v1/seat-table")).text
    assert (await viewer.get("/v1/seat-table", params={"tenant_id": other})).status_code == 404


async def test_one_table_renews_so_many_credentials_and_no_more(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    admin, _, _ = await staffed(world, seats=3)
    monkeypatch.setattr(applying, "CREDENTIALS_LIMIT", 2)
    rows = [{"extension": extension, "action": "reissue"} for extension in ("1001", "1002", "1003")]
    report = (await send(admin, as_csv(*rows))).json()
    assert [line["state"] for line in report["lines"]] == ["done", "done", "refused"]
    assert report["lines"][2]["problem"]["field"] == "action"


async def test_a_tenant_with_two_contracts_says_which_one_a_new_seat_is_for(world: World) -> None:
    admin, tenant_id, contract_id = await staffed(world, seats=1)
    await world.contract(tenant_id)
    row = {"action": "add", "effective_on": "2026-06-20"}
    unsaid = (await send(admin, as_csv(row))).json()["lines"][0]
    assert unsaid["problem"]["field"] == "contract_id"
    said = as_csv(row | {"contract_id": contract_id}, header=["action", "effective_on", "contract_id"])
    assert (await send(admin, said, dry_run="false")).status_code == 200
