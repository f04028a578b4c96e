"""Hand-outs, tables and changes of seats against hostile contents, stale secrets and two who act at once (C10, C20)."""

from __future__ import annotations

import asyncio
import io
import re
import zipfile
from datetime import date, timedelta
from typing import Any
from urllib.parse import urlsplit

import openpyxl
import pytest

from infra.kit import logs
from provisioning.bulk import applying, reading
from provisioning.bulk.errors import SeatTableUnreadable
from provisioning.handout import pages
from provisioning.tunnels import edge
from switch.sip.digest import a1_hash
from tests.jobs import JobCount, job_counts
from tests.provisioning.test_bulk import as_csv, contents, send, staffed
from tests.provisioning.test_handout import LINPHONE, handed, links, opened, shown
from tests.provisioning.test_price_preview import invoice_of, preview
from tests.provisioning.tunnel_world import make_gateway
from tests.provisioning.world import World, travel

BANDS = {"volume": [{"from": 3, "rent": "1777.77"}, {"from": 6, "rent": "1555.55"}], "rent_per_circuit": "133.33"}


async def test_a_hand_out_of_a_suspended_seat_ends_its_tunnels_key_too(world: World) -> None:
    gateway = await make_gateway(world)
    admin, seat_id, _ = await handed(world)
    lost = set(await gateway.peers())
    await admin.post(f"/v1/seats/{seat_id}/suspension", {"reason": "the laptop is lost"})
    await admin.post(f"/v1/seats/{seat_id}/hand-outs", {})
    await admin.post(f"/v1/seats/{seat_id}/resumption")
    assert (len(lost), set(await gateway.peers())) == (1, set())
    await admin.post(f"/v1/seats/{seat_id}/hand-outs", {})
    assert len(set(await gateway.peers()) - lost) == 1


class Names:
    """A resolver that knows every server but the lost ones, and counts."""

    def __init__(self, *lost: str) -> None:
        self.lost, self.asked = lost, list[str]()

    async def resolved(self, host: str) -> list[str]:
        self.asked.append(host)
        return [] if host in self.lost else ["192.0.2.7"]


async def test_while_a_server_has_no_address_nothing_is_handed_out_and_nothing_half_done(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make_gateway(world)
    admin, seat_id, made = await handed(world)
    table = as_csv({"extension": "1001", "action": "reissue"})
    await world.change_node("beta", sip_host="beta.sip.example")
    monkeypatch.setattr(edge, "resolved", Names("beta.sip.example").resolved)
    before = await contents(world)
    for answer in (
        await admin.post(f"/v1/seats/{seat_id}/hand-outs", {"mail": False}),
        await send(admin, table, dry_run="false"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (503, "sip_edge_not_resolved")
        assert answer.json()["hosts"] == ["beta.sip.example"]
        assert "beta.sip.example" in answer.json()["detail"]
        assert int(answer.headers["retry-after"]) > 0
    assert await contents(world) == before
    monkeypatch.setattr(edge, "resolved", Names().resolved)
    assert (await opened(world, made["url"])).status_code == 200, "what was handed out before is still good"
    assert (await admin.post(f"/v1/seats/{seat_id}/hand-outs", {})).status_code == 201


async def test_a_table_of_hand_outs_asks_for_each_name_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await make_gateway(world)
    admin, _, _ = await staffed(world, seats=4)
    for name in ("alpha", "beta"):
        await world.change_node(name, sip_host=f"{name}.sip.example")
    names = Names()
    monkeypatch.setattr(edge, "resolved", names.resolved)
    table = as_csv(*({"extension": f"100{number}", "action": "reissue"} for number in range(1, 5)))
    answer = await send(admin, table, dry_run="false")
    assert answer.status_code == 200, answer.text
    assert sorted(names.asked) == ["alpha.sip.example", "beta.sip.example"]


async def test_links_end_with_the_password_that_they_show(world: World) -> None:
    admin, seat_id, made = await handed(world)
    await admin.post(f"/v1/seats/{seat_id}/credentials")
    assert {row.ending for row in (await links(world, made["hand_out_id"])).values()} == {"replaced"}
    await admin.post(f"/v1/seats/{seat_id}/person", {"person": {"name": "王芳"}})
    second = (await admin.post(f"/v1/seats/{seat_id}/hand-outs", {})).json()
    kept = await admin.post(f"/v1/seats/{seat_id}/person", {"person": {"name": "王芳", "mail": "w@example.com"}})
    assert kept.json()["credentials"] is None
    assert {row.ending for row in (await links(world, second["hand_out_id"])).values()} == {None}
    await admin.post(f"/v1/seats/{seat_id}/person", {"person": {"name": "李雷"}})
    answer = await opened(world, second["url"])
    assert (answer.status_code, "王芳" in answer.text) == (410, False)
    assert {row.sealed_content for row in (await links(world, second["hand_out_id"])).values()} == {None}


async def test_a_page_that_cannot_be_drawn_uses_its_link_not_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    _, _, made = await handed(world)
    whole = pages.shown

    def broken(_: object) -> pages.Page:
        raise RuntimeError("no paper")

    monkeypatch.setattr(pages, "shown", broken)
    assert (await opened(world, made["url"])).status_code == 500
    monkeypatch.setattr(pages, "shown", whole)
    assert (await opened(world, made["url"])).status_code == 200


async def test_a_configuration_too_long_for_a_code_is_handed_out_as_a_file(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make_gateway(world)

    async def many(_: str) -> list[str]:
        return [f"10.1.{third}.{fourth}" for third in (1, 2) for fourth in range(100, 200)]

    monkeypatch.setattr(edge, "resolved", many)
    _, _, made = await handed(world)
    page = await opened(world, made["url"])
    assert (page.status_code, page.text.count("<svg")) == (200, 2)
    assert re.search(r'download="seat-1001.conf" href="data:[^"]{2000}', page.text) is not None
    assert ">None" not in page.text


@pytest.mark.parametrize(
    "address",
    [
        "/hand-outs/softphone/{secret}",
        "https://seats.example.com/hand-outs/desk-phone/{secret}/y000000000028.cfg",
        "//hand-outs/softphone/{secret}",
        "/papers/{secret}",
        "/exports/{secret}",
    ],
)
def test_no_log_holds_the_secret_of_a_link(address: str) -> None:
    secret = "s3cr3t-_" * 5
    event = logs.redact(None, "", {"event": "request.failed", "path": address.format(secret=secret)})
    assert secret not in str(event)
    kept = {"event": "request.failed", "path": "/v1/papers/paper_01"}
    assert logs.redact(None, "", dict(kept)) == kept


async def test_prefetch_looks_and_guesses_use_nothing_up(world: World) -> None:
    _, _, made = await handed(world)
    page = urlsplit(made["url"])
    rows = await links(world, made["hand_out_id"])
    for method in ("HEAD", "GET", "OPTIONS", "PUT"):
        await world.api.http.request(method, page.path)
        await world.api.http.request(method, f"{page.path}?secret={page.fragment}")
    for kind in ("softphone", "desk-phone"):  # the page's secret opens the page only
        for path in (f"/hand-outs/{kind}/{page.fragment}", f"/hand-outs/{kind}/{page.fragment}/y000000000028.cfg"):
            assert (await world.api.http.get(path, headers=LINPHONE)).status_code in (404, 410)
    for digest in (row.secret_digest for row in rows.values()):  # what a thief of the table would have
        assert (await world.api.http.post(page.path, data={"secret": digest})).status_code == 410
    for kind, body in (
        ("application/x-www-form-urlencoded", b"secret=%ED%A0%80&secret=%00"),
        ("multipart/form-data; boundary=x", b"--x\r\nrubbish"),
        ("application/json", b'{"secret": [1]}'),
        ("application/x-www-form-urlencoded; charset=nonsense", b"\xff\xfe"),
    ):
        answer = await world.api.http.post(page.path, content=body, headers={"content-type": kind})
        assert answer.status_code in (400, 410)
    got = await opened(world, made["url"])
    assert got.status_code == 200
    url = re.search(r'id="softphone-url">([^<]*)', got.text)
    assert url is not None
    for method in ("HEAD", "OPTIONS", "POST"):
        await world.api.http.request(method, urlsplit(url.group(1)).path, headers=LINPHONE)
    readers = [world.api.http.get(urlsplit(url.group(1)).path, headers=LINPHONE) for _ in range(4)]
    assert sorted(each.status_code for each in await asyncio.gather(*readers)) == [200, 410, 410, 410]


async def test_a_link_that_is_opened_renewed_and_withdrawn_at_once_ends_once(world: World) -> None:
    admin, seat_id, made = await handed(world)
    answers = await asyncio.gather(
        *(opened(world, made["url"]) for _ in range(4)),
        admin.post(f"/v1/hand-outs/{made['hand_out_id']}/withdrawal"),
        *(admin.post(f"/v1/seats/{seat_id}/hand-outs", {}) for _ in range(2)),
    )
    statuses = [answer.status_code for answer in answers]
    assert statuses[:4].count(200) <= 1
    assert set(statuses[:4]) <= {200, 410}
    assert statuses[4:] == [200, 201, 201]
    last = (await admin.get("/v1/hand-outs", params={"seat_id": seat_id})).json()["items"]
    assert [{link["state"] for link in each["links"]} == {"waiting"} for each in last] == [True, False, False]
    url = next(answer.json()["url"] for answer in answers[5:] if answer.json()["hand_out_id"] == last[0]["hand_out_id"])
    page = (await opened(world, url)).text
    kept = (await world.accounts(made["tenant_id"]))["1001"].a1_hash
    assert kept == a1_hash("1001", shown(page, "SIP 域"), shown(page, "密码"))


async def test_requests_and_tables_about_the_same_seats_at_once_never_fail_halfway(world: World) -> None:
    admin, tenant_id, contract_id = await staffed(world, seats=6)
    seat = f"/v1/seats/{(await world.seats(tenant_id))[0].seat_id}"
    table = as_csv(
        {"extension": "1001", "action": "reissue"},
        {"extension": "1002", "action": "suspend", "reason": "leave"},
        {"extension": "1003", "action": "return", "effective_on": "2026-06-20"},
        {"action": "add", "effective_on": "2026-06-20"},
    )
    day = date(2026, 6, 20)
    answers = await asyncio.gather(
        *(send(admin, table, dry_run="false") for _ in range(3)),
        *(admin.post(f"{seat}/suspension", {"reason": "leave"}) for _ in range(3)),
        *(admin.post(f"{seat}/hand-outs", {}) for _ in range(2)),
        *(admin.post(f"{seat}/person", {"person": {"name": f"person {number}"}}) for number in range(2)),
        preview(admin, contract_id, quantity=1, effective_on=day),
        world.order(tenant_id, contract_id, quantity=1, effective_on=day),
        world.order(tenant_id, contract_id, kind="return", quantity=2, effective_on=day),
    )
    statuses = [answer.status_code for answer in answers]
    assert max(statuses) < 500, [answer.text for answer in answers]
    assert sorted(statuses[:3]) == [200, 422, 422]
    assert sorted(statuses[3:6]) == [200, 409, 409]
    assert set(statuses[6:]) == {200, 201}
    seats = await world.seats(tenant_id)
    assert [row.state for row in seats] == ["suspended", "suspended", *["open"] * 4, *["ordered"] * 2]
    assert sum(row.closes_on == day for row in seats) == 3
    open_to = {name: account.is_open for name, account in (await world.accounts(tenant_id)).items()}
    assert (open_to["1001"], open_to["1002"], open_to["1003"]) == (False, False, True)


async def test_the_same_table_sent_twice_with_a_key_is_carried_out_once(world: World) -> None:
    admin, tenant_id, _ = await staffed(world, seats=1)
    table = as_csv({"action": "add", "effective_on": "2026-06-20"}, {"extension": "1001", "action": "reissue"})
    headers = admin.headers | {"content-type": "text/csv", "idempotency-key": "once"}
    path = "/v1/seat-table?dry_run=false"
    both = await asyncio.gather(*(world.api.http.post(path, content=table, headers=headers) for _ in range(2)))
    assert both[0].content == both[1].content
    assert len(await world.seats(tenant_id)) == 2


async def test_what_is_written_on_seats_always_comes_back_by_a_table(world: World) -> None:
    admin, tenant_id, _ = await staffed(world, seats=2)
    seat = f"/v1/seats/{(await world.seats(tenant_id))[0].seat_id}"
    for text in ("two\nlines", "-", "tab\tbed", "line\u2028two", " - "):
        for path, body, field in (
            ("name", {"name": text}, "name"),
            ("group", {"group": text}, "group"),
            ("person", {"person": {"name": text}}, "person_name"),
            ("person", {"person": {"name": "x", "number": text}}, "person_number"),
        ):
            answer = await admin.post(f"{seat}/{path}", body)
            assert (answer.status_code, answer.json().get("field")) == (422, field), (text, path)
    for path, body in (
        ("name", {"name": "\uff0b前\u3000台"}),
        ("group", {"group": "-1 组"}),
        ("person", {"person": {"name": "王\u3000芳", "number": "A\u00a017"}}),
    ):
        assert (await admin.post(f"{seat}/{path}", body)).status_code == 200, body
    for kind in ("csv", "xlsx"):
        taken = await admin.get("/v1/seat-table", params={"as": kind})
        back = await send(admin, taken.content, kind=taken.headers["content-type"].partition(";")[0], dry_run="false")
        assert (back.status_code, back.json().get("unchanged")) == (200, 2), back.text


async def test_a_day_is_read_as_chinese_spreadsheets_save_it(world: World) -> None:
    admin, _, _ = await staffed(world, seats=4)
    days = ("2026/6/20", "2026-6-20", "2026年6月20日", "20260620")
    rows = [
        {"extension": f"100{number}", "action": "return", "effective_on": day} for number, day in enumerate(days, 1)
    ]
    report = (await send(admin, as_csv(*rows, encoding="gbk"))).json()
    assert [line["problem"] for line in report["lines"]] == [None] * 4
    assert [order["effective_on"] for order in report["orders"]] == ["2026-06-20"]
    for day in ("2026/6", "2026/13/1", "2026/6/31", "6/20/2026", "0000/1/1", "2026-06-20 or so"):
        line = (await send(admin, as_csv(rows[0] | {"effective_on": day}))).json()["lines"][0]
        assert line["problem"]["field"] == "effective_on", day


def workbook_with(part: str, before: bytes, more: bytes, *, encoding: str = "utf-8") -> bytes:
    """A small workbook, one part of which has more in it."""
    plain, changed = io.BytesIO(), io.BytesIO()
    openpyxl.Workbook().save(plain)
    with zipfile.ZipFile(plain) as old, zipfile.ZipFile(changed, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            body = old.read(name)
            if name.endswith(part):
                assert before in body
                body = body.replace(before, more + before).decode().encode(encoding)
            new.writestr(name, body)
    return changed.getvalue()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (workbook_with("sheet1.xml", b"</worksheet>", b"<row>" + b"<c/>" * 16_385 + b"</row>"), "a row has too many"),
        (workbook_with("sheet1.xml", b"</worksheet>", b"<a:row>" + b"<a:c />" * 16_385 + b"</a:row>"), "a row has too"),
        (workbook_with("sheet1.xml", b"</worksheet>", b"<x/>" * 4_000_000), "too many cells"),
        (workbook_with("styles.xml", b"</cellXfs>", b"<xf/>" * 200_000), "too many cells or styles"),
        (workbook_with("workbook.xml", b"</workbook>", b"<n/>" * 200_000), "too many cells or styles"),
        (workbook_with("styles.xml", b"</cellXfs>", b"", encoding="utf-16"), "not UTF-8"),
    ],
    ids=range(6),
)
def test_a_small_workbook_that_would_take_much_memory_is_refused(content: bytes, problem: str) -> None:
    assert len(content) < 100_000
    with pytest.raises(SeatTableUnreadable, match=problem):
        reading.read_table(content, "xlsx")


async def test_one_table_places_so_many_orders_and_no_more(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    admin, tenant_id, _ = await staffed(world, seats=2)
    monkeypatch.setattr(applying, "ORDERS_LIMIT", 2)
    first = date(2026, 6, 20)
    rows = [{"extension": "1001", "action": "return", "effective_on": first.isoformat()}]
    rows += [{"action": "add", "effective_on": (first + timedelta(days=day)).isoformat()} for day in (0, 0, 1, 2)]
    report = (await send(admin, as_csv(*rows))).json()
    assert [line["state"] for line in report["lines"]] == ["done", "done", "done", "refused", "refused"]
    assert report["lines"][3]["problem"]["field"] == "effective_on"
    assert (await send(admin, as_csv(*rows), dry_run="false")).status_code == 422
    assert len(await world.seats(tenant_id)) == 2


async def test_a_table_suspends_each_seat_for_its_own_reason_in_one_go(world: World) -> None:
    admin, tenant_id, _ = await staffed(world, seats=3)
    rows = [{"extension": f"100{number}", "action": "suspend", "reason": f"leave {number}"} for number in (1, 2, 3)]
    assert (await send(admin, as_csv(*rows), dry_run="false")).status_code == 200
    assert JobCount("provisioning.flush_registrations", "todo", 1) in await job_counts(world.database_url)
    trail = (await world.operator.get("/v1/audit", params={"tenant_id": tenant_id})).json()["items"]
    told = {entry["facts"]["reason"] for entry in trail if entry["action"] == "seat.suspended"}
    assert told == {"leave 1", "leave 2", "leave 3"}


async def test_an_order_is_cancelled_once_and_with_a_reason_that_can_be_read(world: World) -> None:
    tenant_id, contract_id, _ = await world.opened(seats=1)
    admin = await world.api.client("tenant_admin", tenant_id)
    order = await world.placed(tenant_id, contract_id, quantity=2, effective_on=date(2026, 6, 20))
    path = f"/v1/seat-orders/{order['order_id']}/cancellation"
    long = await admin.post(path, {"reason": "x" * 201})
    assert (long.status_code, long.json()["field"]) == (422, "reason")
    answers = await asyncio.gather(*(admin.post(path, {"reason": " too many "}) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409]
    assert [row.state for row in await world.seats(tenant_id)] == ["open", "cancelled", "cancelled"]


async def test_a_contract_that_was_never_opened_says_what_is_to_be_done(world: World) -> None:
    tenant_id = await world.api.tenant("late")
    contract_id = await world.contract(tenant_id, opens_on=date(2026, 6, 12))
    travel(date(2026, 6, 13))
    world.operator = await world.api.client("platform_operator")
    answer = await world.order(tenant_id, contract_id, quantity=1, effective_on=date(2026, 6, 20))
    assert (answer.status_code, answer.json()["code"]) == (409, "opening_missing")
    assert "new contract" in answer.json()["detail"]


async def test_previews_are_the_invoices_through_the_bands_of_the_price(world: World) -> None:
    tenant_id, contract_id, seat_ids = await world.opened(seats=2, terms=BANDS)
    admin = await world.api.client("tenant_admin", tenant_id)
    await admin.post(f"/v1/seats/{seat_ids[0]}/suspension", {"reason": "counts all the same"})
    cases: list[dict[str, Any]] = [
        {"quantity": 1, "effective_on": date(2026, 6, 13)},
        {"quantity": 3, "item": "circuit", "effective_on": date(2026, 6, 13)},
        {"quantity": 3, "effective_on": date(2026, 7, 31)},
        {"quantity": 7, "item": "circuit", "effective_on": date(2026, 7, 31)},
    ]
    for case in cases:
        expected = (await preview(admin, contract_id, **case)).json()
        made = await invoice_of(world, await world.placed(tenant_id, contract_id, **case))
        assert (made["total"], made["paid"]) == (expected["invoice"]["total"], expected["paid_by_credit"])
        for line, before in zip(made["lines"], expected["invoice"]["lines"], strict=True):
            assert {name: line[name] for name in before} == before


async def test_the_preview_of_a_return_is_the_credit_of_the_monthly_invoice(world: World) -> None:
    tenant_id, contract_id, seat_ids = await world.opened(seats=7, terms=BANDS)
    admin = await world.api.client("tenant_admin", tenant_id)
    await admin.post(f"/v1/seats/{seat_ids[0]}/suspension", {"reason": "returned all the same"})
    given_back = {"kind": "return", "seat_ids": seat_ids[:3], "effective_on": date(2026, 6, 20)}
    expected = (await preview(admin, contract_id, **given_back)).json()["returned"]
    await world.placed(tenant_id, contract_id, **given_back)
    for name in ("alpha", "beta"):  # nobody listens there
        await world.change_node(name, state="dead")
    travel(date(2026, 7, 1))
    await world.periodic()
    await world.defer("billing.advance_month")
    admin = await world.api.client("tenant_admin", tenant_id)
    monthly = next(each for each in (await admin.get("/v1/invoices")).json()["items"] if each["reason"] == "monthly")
    lines = (await admin.get(f"/v1/invoices/{monthly['invoice_id']}")).json()["lines"]
    assert {line["kind"]: line["amount"] for line in lines} == {
        "rent": "7111.08",
        "return_credit": f"-{expected['rent_credit']}",
        "deposit_return": f"-{expected['deposit']}",
    }
