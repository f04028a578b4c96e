"""Gateways by the API: added, changed, switched off, taken away, and how the nodes see them."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from infra.kit import clock
from infra.kit.database import Scope
from infra.kit.models import AuditEntry
from infra.kit.sealing import Seal
from switch import gateways
from switch.models import Gateway, GatewayState
from tests.api import Api, Caller
from tests.switch.cluster import add_node
from tests.switch.exchange import Exchange

CARRIER = {"name": "carrier", "host": "192.0.2.10", "username": "u", "password": "p4ss-word", "registers": True}


@pytest.fixture
async def operator(api: Api) -> Caller:
    return await api.client("platform_operator")


async def added(operator: Caller, **details: Any) -> str:
    answer = await operator.post("/v1/gateways", {"name": "carrier", "host": "192.0.2.10", **details})
    assert answer.status_code == 201, answer.text
    return answer.json()["gateway_id"]


async def change(operator: Caller, gateway_id: str, **changes: Any) -> tuple[int, dict[str, Any]]:
    answer = await operator.http.put(f"/v1/gateways/{gateway_id}", json=changes, headers=operator.headers)
    return answer.status_code, answer.json()


async def row(api: Api, gateway_id: str) -> Gateway:
    async with api.database.transaction(Scope.platform()) as session:
        return await gateways.get(session, gateway_id)


async def test_what_is_left_out_of_a_change_stays_as_it_was(api: Api, operator: Caller) -> None:
    gateway_id = await added(operator, **CARRIER, prefixes=["+8621", "955"], capacity_calls=30, sources=["10.0.0.0/8"])
    before = (await operator.get(f"/v1/gateways/{gateway_id}")).json()
    assert (before["check_seconds"], before["is_enabled"], before["nodes"]) == (30, True, [])
    status, after = await change(operator, gateway_id, priority=7, weight=3, capacity_calls=None)
    assert status == 200
    assert after == before | {"priority": 7, "weight": 3, "capacity_calls": None}
    assert (await row(api, gateway_id)).generation == 1, "nodes need not know of what the API decides alone"
    assert Seal(api.settings.secret_key).open((await row(api, gateway_id)).sealed_password or b"") == "p4ss-word"

    await change(operator, gateway_id, port=5070)
    await change(operator, gateway_id, port=5070)
    assert (await row(api, gateway_id)).generation == 2, "the same again is no change"
    status, without = await change(operator, gateway_id, username=None, registers=False)
    assert (without["username"], without["has_password"]) == (None, False)


async def test_the_audit_trail_has_every_change_and_no_password(api: Api, operator: Caller) -> None:
    gateway_id = await added(operator)
    await change(operator, gateway_id, username="u", password="s3cret-word")
    await operator.http.delete(f"/v1/gateways/{gateway_id}", headers=operator.headers)
    async with api.database.transaction(Scope.platform()) as session:
        query = select(AuditEntry).where(AuditEntry.object_id == gateway_id).order_by(AuditEntry.entry_id)
        entries = list((await session.execute(query)).scalars())
    assert [entry.action for entry in entries] == ["gateway.created", "gateway.changed", "gateway.deleted"]
    assert entries[1].facts == {"username": "u", "password_changed": True}


IMPOSSIBLE: list[tuple[dict[str, Any], str]] = [
    ({"priority": -1}, "priority"),
    ({"weight": 0}, "weight"),
    ({"weight": 1_001}, "weight"),
    ({"capacity_calls": 0}, "capacity_calls"),
    ({"check_seconds": 4}, "check_seconds"),
    ({"check_seconds": 3_601}, "check_seconds"),
    ({"prefixes": ["8621x"]}, "prefixes"),
    ({"prefixes": ["+0"]}, "prefixes"),
    ({"prefixes": ["1"] * 201}, "prefixes"),
    ({"host": "not a host"}, "host"),
    ({"host": "carrier.example"}, "sources"),
    ({"sources": ["everybody"]}, "sources"),
    ({"sources": ["10.0.0.1", "0.0.0.0/0"]}, "sources"),
    ({"sources": ["128.0.0.0/1"]}, "sources"),
    ({"sources": ["::/0"]}, "sources"),
    ({"host": "fe80::1%eth0"}, "host"),
    ({"port": 0}, "port"),
    ({"registers": True}, "username"),
    ({"username": "a\nb", "password": "x"}, "username"),
]


async def test_what_cannot_be_is_refused_by_its_field_when_added_and_when_changed(operator: Caller) -> None:
    gateway_id = await added(operator)
    before = (await operator.get(f"/v1/gateways/{gateway_id}")).json()
    for details, field in IMPOSSIBLE:
        refused = await operator.post("/v1/gateways", {"name": "other", "host": "192.0.2.11", **details})
        assert (refused.status_code, refused.json()["field"]) == (422, field), details
        status, answer = await change(operator, gateway_id, **details)
        assert (status, answer["field"]) == (422, field), details
    assert (await operator.get("/v1/gateways")).json()["items"] == [before]


async def test_there_are_no_more_gateways_than_a_node_is_given(
    operator: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateways, "MAX_GATEWAYS", 1)
    await added(operator)
    refused = await operator.post("/v1/gateways", {"name": "second", "host": "192.0.2.11"})
    assert (refused.status_code, refused.json()["code"]) == (409, "too_many_gateways")


async def test_gateways_are_the_operators_affair(api: Api, operator: Caller) -> None:
    gateway_id = await added(operator)
    admin = await api.client("tenant_admin", await api.tenant())
    assert (await admin.get(f"/v1/gateways/{gateway_id}")).status_code == 403
    assert (await change(admin, gateway_id, is_enabled=False))[0] == 403
    deleted = await admin.http.delete(f"/v1/gateways/{gateway_id}", headers=admin.headers)
    assert deleted.status_code == 403
    assert (await change(operator, "gw_unknown", port=1))[0] == 404
    status, answer = await change(operator, gateway_id, name="other")
    assert (status, answer["field"]) == (400, "name")


async def test_each_live_nodes_view_of_a_gateway_is_shown(api: Api, operator: Caller) -> None:
    gateway_id = await added(operator)
    seal = Seal(api.settings.secret_key)
    for name, state in (("fs-1", "active"), ("fs-2", "active"), ("fs-3", "dead")):
        await add_node(api.database, seal, name, state=state)
    now = clock.now()
    async with api.database.transaction(Scope.platform()) as session:
        for name, is_up in (("fs-1", True), ("fs-2", False), ("fs-3", True)):
            problem = None if is_up else "503 Service Unavailable"
            state = {"registration": "NOREG", "problem": problem, "changed_at": now, "checked_at": now}
            session.add(GatewayState(node=name, gateway_id=gateway_id, generation=1, is_up=is_up, **state))
    await change(operator, gateway_id, port=5070)
    (listed,) = (await operator.get("/v1/gateways")).json()["items"]
    assert [(each["node"], each["state"], each["problem"], each["is_current"]) for each in listed["nodes"]] == [
        ("fs-1", "up", None, False),
        ("fs-2", "down", "503 Service Unavailable", False),
    ]
    deleted = await operator.http.delete(f"/v1/gateways/{gateway_id}", headers=operator.headers)
    assert deleted.status_code == 204
    async with api.database.transaction(Scope.platform()) as session:
        assert (await session.execute(select(GatewayState))).scalars().all() == []


async def test_a_call_leaves_by_what_its_node_sees_up_and_never_by_what_is_switched_off(api: Api) -> None:
    exchange = await Exchange(api).open()
    renter = await exchange.add_tenant()
    operator = await api.client("platform_operator")
    (carrier,) = (await operator.get("/v1/gateways")).json()["items"]
    preferred = await added(operator, name="preferred", host="192.0.2.20", priority=1)

    async def offered() -> list[str]:
        document = await exchange.dial(renter, "13800138000")
        return [name for name in ("preferred", "carrier") if f"sofia/gateway/{name}/8613800138000" in document]

    assert await offered() == ["preferred", "carrier"]
    now = clock.now()
    async with api.database.transaction(Scope.platform()) as session:
        for node in ("node-1", "node-2"):
            state = {"registration": "NOREG", "problem": None, "changed_at": now, "checked_at": now}
            up = node == "node-2"
            session.add(GatewayState(node=node, gateway_id=preferred, generation=1, is_up=up, **state))
    assert await offered() == ["carrier"]
    await change(operator, carrier["gateway_id"], is_enabled=False)
    assert await offered() == ["preferred"], "when everything is down the node is left to find out"
    await change(operator, preferred, prefixes=["+1"])
    assert "seatline_refusal=no_gateway" in await exchange.dial(renter, "13800138000")
    assert "sofia/gateway/preferred/110" in await exchange.dial(renter, "110")
    assert "sofia/gateway/carrier/110" not in await exchange.dial(renter, "110")
