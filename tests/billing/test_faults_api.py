"""Faults over the API: who reports and who decides, the arithmetic behind a credit, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from billing.outages.models import Fault
from infra.kit import clock
from infra.kit.database import Database, Scope
from infra.kit.models import AuditEntry
from infra.kit.settings import Settings
from tests.api import Api
from tests.billing.finance import does, opened, refused
from tests.billing.lease_world import LeaseWorld
from tests.billing.outage_world import at, credited

PATH = "/v1/faults"


@pytest.fixture
def world(database: Database, settings: Settings) -> LeaseWorld:
    return LeaseWorld(database, settings)


async def _lived(world: LeaseWorld, seats: int = 3) -> None:
    """Open since 2 March; it is noon of the 20th."""
    await opened(world, seats)
    await world.live_to("2026-03-20")
    clock.travel_to(at("2026-03-20 12:00"))


def _fault(world: LeaseWorld, began: str, ended: str | None = None, **other: Any) -> dict[str, Any]:
    body = {"tenant_id": world.tenant_id, "contract_id": world.contract_id, "began_at": at(began).isoformat()}
    body |= {"note": "no registration"} | ({"ended_at": at(ended).isoformat()} if ended else {})
    return body | other


async def test_a_tenant_reports_and_the_operator_decides(world: LeaseWorld, api: Api) -> None:
    await _lived(world)
    own = await api.client("tenant_admin", world.tenant_id)
    body = _fault(world, "2026-03-18 09:00", numbers=[3, 1])
    refusal = await own.post(PATH, body | {"cause": "operator"})
    assert refused(refusal) == (403, "forbidden", "cause")
    fault = await does(own, PATH, body)
    assert (fault["state"], fault["cause"], fault["numbers"], fault["reported_by"]) == (
        "reported", None, [1, 3], own.client_id,
    )  # fmt: skip
    path = f"{PATH}/{fault['fault_id']}"
    decision = {"cause": "operator", "reason": "our switch was down"}
    for action, more in (
        ("confirmation", decision),
        ("reclassification", decision),
        ("end", {"ended_at": at("2026-03-20 10:00").isoformat()}),
        ("withdrawal", {"reason": "x"}),
        ("correction", {"reason": "x"}),
    ):
        assert (await own.post(f"{path}/{action}", more)).status_code == 403
    shown = (await own.get(path)).json()
    assert (shown["counts"], shown["credits"], shown["lasted_seconds"]) == (False, [], 51 * 3600)
    operator = await api.client("platform_operator")
    confirmed = await does(operator, f"{path}/confirmation", decision, 200)
    assert (confirmed["state"], confirmed["cause"], confirmed["decided_by"], confirmed["decision_reason"]) == (
        "confirmed", "operator", operator.client_id, "our switch was down",
    )  # fmt: skip
    assert refused(await operator.post(f"{path}/confirmation", decision)) == (409, "fault_decided", "fault_id")
    await does(operator, f"{path}/end", {"ended_at": at("2026-03-19 09:00").isoformat()}, 200)
    shown = (await own.get(path)).json()
    assert [(each["month"], each["numbers"], each["days"], each["credit"]) for each in shown["credits"]] == [
        ("2026-03", [1, 3], 1, "66.67")
    ]
    listed = (await own.get(PATH, {"state": "confirmed"})).json()["items"]
    assert [each["fault_id"] for each in listed] == [fault["fault_id"]]
    assert (await own.get(PATH, {"state": "reported"})).json()["items"] == []
    assert refused(await own.get(PATH, {"state": "lost"})) == (422, "invalid_input", "state")
    viewer = await api.client("tenant_viewer", world.tenant_id)
    assert (await viewer.get(path)).status_code == 200
    assert (await viewer.post(PATH, body)).status_code == 403


async def test_the_credit_so_far_is_that_of_the_next_invoice(world: LeaseWorld, api: Api) -> None:
    await _lived(world)
    finance = await api.client("finance")
    first = await does(finance, PATH, _fault(world, "2026-03-09 10:00", "2026-03-10 11:00", cause="operator"))
    second = await does(
        finance, PATH, _fault(world, "2026-03-12 10:00", "2026-03-12 20:00", cause="tenant", numbers=[2])
    )
    path = f"{PATH}/{second['fault_id']}"
    again = await finance.post(f"{path}/reclassification", {"cause": "tenant", "reason": "x"})
    assert refused(again) == (422, "fault_refused", "cause")
    shown = await does(finance, f"{path}/reclassification", {"cause": "operator", "reason": "our cable"}, 200)
    [of_seat_two] = shown["credits"]
    assert of_seat_two == {
        "month": "2026-03",
        "item": "seat",
        "numbers": [2],
        "fault_ids": [first["fault_id"], second["fault_id"]],
        "fault_seconds": 35 * 3600,
        "days": 2,
        "month_free": False,
        "cut_to_charged": False,
        "unit_price": "2000.00",
        "credit": "133.33",
        "exact": "400/3",
        "credited": "0.00",
        "currency": "CNY",
    }
    whole = (await finance.get(f"{PATH}/{first['fault_id']}")).json()["credits"]
    assert sorted((each["numbers"], each["fault_seconds"]) for each in whole) == [([1, 3], 90_000), ([2], 126_000)]
    await world.live_to("2026-04-01")
    assert await credited(world) == {"2026-04": "-400.00"}
    finance = await api.client("finance")
    assert (await finance.get(path)).json()["credits"][0]["credited"] == "133.33"
    async with api.database.transaction(Scope.platform()) as session:
        query = select(AuditEntry).where(AuditEntry.action == "fault.reclassified")
        [entry] = (await session.execute(query)).scalars().all()
    assert (entry.facts["cause_before"], entry.facts["cause"], entry.facts["reason"]) == (
        "tenant", "operator", "our cable",
    )  # fmt: skip


async def test_a_credit_line_is_explained_by_its_faults(world: LeaseWorld, api: Api) -> None:
    await _lived(world)
    finance = await api.client("finance")
    made = [
        await does(finance, PATH, _fault(world, began, ended, cause="operator", numbers=numbers))
        for began, ended, numbers in (
            ("2026-03-09 10:00", "2026-03-10 11:00", [1]),
            ("2026-03-12 10:00", "2026-03-12 20:00", [1, 2]),
        )
    ]
    await world.live_to("2026-04-01")
    [april] = await world.invoices("monthly")
    viewer = await api.client("tenant_viewer", world.tenant_id)
    lines = (await viewer.get(f"/v1/invoices/{april.invoice_id}")).json()["lines"]
    number = [line["kind"] for line in lines].index("fault_credit") + 1
    line = (await viewer.get(f"/v1/invoices/{april.invoice_id}/lines/{number}/explain")).json()
    assert (line["clause"], line["amount"]) == ("C11, rule 9", "-200.00")
    both, second = f"{made[0]['fault_id']}, {made[1]['fault_id']}", made[1]["fault_id"]
    assert {part["inputs"]["seats"]: part["inputs"]["faults"] for part in line["parts"]} == {"1": both, "2": second}


async def test_some_seats_of_a_fault_were_repaired_earlier(world: LeaseWorld, api: Api) -> None:
    await _lived(world)
    operator = await api.client("platform_operator")
    fault = await does(operator, PATH, _fault(world, "2026-03-09 10:00", "2026-03-11 10:00", cause="operator"))
    path = f"{PATH}/{fault['fault_id']}"
    earlier = {"numbers": [2], "ended_at": at("2026-03-09 20:00").isoformat(), "reason": "seat 2 was back that evening"}
    part = await does(operator, f"{path}/correction", earlier, 200)
    assert (part["numbers"], part["split_from"], part["cause"]) == ([2], fault["fault_id"], "operator")
    assert [(each["numbers"], each["days"]) for each in part["credits"]] == [([2], 1)]
    rest = (await operator.get(path)).json()
    assert [(each["numbers"], each["days"]) for each in rest["credits"]] == [([1, 3], 2)]
    assert refused(await operator.post(f"{path}/correction", earlier)) == (422, "fault_refused", "numbers")
    nothing = {"reason": "x"}
    assert refused(await operator.post(f"{path}/correction", nothing)) == (422, "fault_refused", "began_at")
    later = {"began_at": at("2026-03-10 10:00").isoformat(), "reason": "first complaint"}
    whole = await does(operator, f"{path}/correction", later, 200)
    assert (whole["fault_id"], whole["lasted_seconds"]) == (fault["fault_id"], 86_400)
    await world.live_to("2026-04-01")
    assert await credited(world) == {"2026-04": "-200.00"}


async def test_a_withdrawn_fault_counts_no_more_and_can_be_reported_anew(world: LeaseWorld, api: Api) -> None:
    await _lived(world)
    operator = await api.client("platform_operator")
    body = _fault(world, "2026-03-09 10:00", "2026-03-11 10:00", cause="operator")
    fault = await does(operator, PATH, body)
    path = f"{PATH}/{fault['fault_id']}"
    known = await operator.post(PATH, body | {"numbers": [3]})
    assert refused(known) == (409, "fault_known", "began_at")
    assert known.json()["fault_id"] == fault["fault_id"]
    assert refused(await operator.post(f"{path}/withdrawal", {"reason": " "})) == (422, "fault_refused", "reason")
    withdrawn = await does(operator, f"{path}/withdrawal", {"reason": "a test"}, 200)
    assert (withdrawn["state"], withdrawn["counts"], withdrawn["credits"]) == ("withdrawn", False, [])
    end = {"ended_at": at("2026-03-11 10:00").isoformat()}
    for action, more in (("withdrawal", {"reason": "x"}), ("end", end), ("correction", end | {"reason": "x"})):
        assert refused(await operator.post(f"{path}/{action}", more)) == (409, "fault_decided", "fault_id")
    decision = {"cause": "tenant", "reason": "x"}
    assert refused(await operator.post(f"{path}/reclassification", decision))[:2] == (409, "fault_not_decided")
    await does(operator, PATH, body | {"cause": "tenant"})
    await world.live_to("2026-04-01")
    assert await credited(world) == {}


@pytest.mark.parametrize(
    ("wrong", "status", "code", "field"),
    [
        ({"ended_at": "2026-03-09T09:59:59+08:00"}, 422, "fault_refused", "ended_at"),
        ({"ended_at": "2026-03-09T10:00:00+08:00"}, 422, "fault_refused", "ended_at"),
        ({"ended_at": "2026-03-20T12:05:00+08:00"}, 422, "fault_refused", "ended_at"),
        ({"began_at": "2026-03-20T12:05:00+08:00", "ended_at": None}, 422, "fault_refused", "began_at"),
        ({"began_at": "9999-12-31T23:59:59-08:00", "ended_at": None}, 422, "fault_refused", "began_at"),
        ({"began_at": "2026-03-01T23:59:59+08:00"}, 422, "fault_refused", "began_at"),
        ({"began_at": "0001-01-01T00:00:00+08:00"}, 422, "fault_refused", "began_at"),
        ({"began_at": "2026-03-09T10:00:00"}, 400, "validation_failed", "began_at"),
        ({"numbers": [4]}, 422, "fault_refused", "numbers"),
        ({"numbers": [2**70]}, 422, "fault_refused", "numbers"),
        ({"numbers": [0]}, 422, "fault_refused", "numbers"),
        ({"numbers": []}, 422, "fault_refused", "numbers"),
        ({"numbers": [1, 1]}, 422, "fault_refused", "numbers"),
        ({"numbers": [1.5]}, 400, "validation_failed", "numbers[0]"),
        ({"item": "circuit"}, 422, "fault_refused", "item"),
        ({"item": "desk"}, 422, "fault_refused", "item"),
        ({"cause": "nobody"}, 422, "fault_refused", "cause"),
        ({"note": " "}, 422, "fault_refused", "note"),
        ({"note": "x" * 501}, 422, "fault_refused", "note"),
        ({"contract_id": "ctr_none"}, 404, "contract_not_found", "contract_id"),
        ({"tenant_id": None}, 422, "invalid_input", "tenant_id"),
    ],
)
async def test_a_bad_report_is_refused_by_the_field(
    world: LeaseWorld, api: Api, *, wrong: dict[str, Any], status: int, code: str, field: str
) -> None:
    await _lived(world)
    operator = await api.client("platform_operator")
    body = _fault(world, "2026-03-09 10:00", "2026-03-09 20:00", cause="operator") | wrong
    assert refused(await operator.post(PATH, body)) == (status, code, field)
    async with api.database.transaction(Scope.platform()) as session:
        assert (await session.execute(select(Fault))).first() is None


async def test_a_seat_is_at_fault_only_while_it_is_open(world: LeaseWorld, api: Api) -> None:
    await _lived(world)
    await world.give_back([3], "2026-03-25")
    await world.live_to("2026-03-28")
    operator = await api.client("platform_operator")
    late = _fault(world, "2026-03-26 00:00", "2026-03-26 20:00", cause="operator", numbers=[3])
    assert refused(await operator.post(PATH, late)) == (422, "fault_refused", "numbers")
    await does(operator, PATH, late | {"began_at": at("2026-03-25 23:00").isoformat()})
    now = await does(operator, PATH, _fault(world, "2026-03-28 00:00", numbers=[1], cause="operator"))
    ended = await operator.post(f"{PATH}/{now['fault_id']}/end", {"ended_at": at("2026-03-27 00:00").isoformat()})
    assert refused(ended) == (422, "fault_refused", "ended_at")


async def test_another_tenants_faults_are_not_there(world: LeaseWorld, api: Api) -> None:
    await _lived(world)
    operator = await api.client("platform_operator")
    fault = await does(operator, PATH, _fault(world, "2026-03-09 10:00", "2026-03-09 20:00"))
    other = await api.client("tenant_admin", await api.tenant())
    assert (await other.get(PATH)).json()["items"] == []
    assert (await other.get(f"{PATH}/{fault['fault_id']}")).status_code == 404
    assert (await other.post(PATH, _fault(world, "2026-03-09 10:00"))).status_code == 404
    assert (await other.post(PATH, _fault(world, "2026-03-09 10:00") | {"tenant_id": None})).status_code == 404
