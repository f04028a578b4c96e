"""Nodes, gateways and phone numbers through the API, and the configuration directory of a node."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest

from infra.app import commands_switch
from infra.app.installation import Installation
from infra.kit.database import Database, Scope
from infra.kit.problems import InvalidInput
from infra.kit.sealing import Seal, matches
from infra.kit.settings import Settings
from switch import placements
from switch.errors import AlreadyPlaced, NodeUnknown, NotPlaced, PlacementChanged
from switch.models import CanaryCheck
from tests.api import Api
from tests.switch.cluster import add_tenant, details, read_node

NODE = {"name": "fs-1", "sip_host": "127.0.0.1", "esl_host": "127.0.0.1"}


async def test_a_node_joins_and_its_secrets_are_never_shown(api: Api) -> None:
    operator = await api.client("platform_operator")
    made = await operator.post("/v1/nodes", NODE)
    assert (made.status_code, made.json()["state"], made.json()["sip_port"]) == (201, "joining", 5060)
    again = await operator.get(f"/v1/nodes/{made.json()['node_id']}")
    listed = await operator.get("/v1/nodes")
    assert again.json() == made.json() == listed.json()["items"][0]
    node = await read_node(api.database, "fs-1")
    seal = Seal(api.settings.secret_key)
    for secret in (seal.open(node.sealed_esl_password), seal.open(node.sealed_secret), node.secret_digest):
        assert secret not in made.text + listed.text
    assert matches(seal.open(node.sealed_secret), node.secret_digest)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"sip_host": "phones.example.com"}, "sip_host"),
        ({"sip_host": "0.0.0.0"}, "sip_host"),  # noqa: S104 - refused
        ({"esl_port": 70_000}, "esl_port"),
        ({"rtp_end_port": 100}, "rtp_end_port"),
        ({"external_sip_port": 5060}, "external_sip_port"),
        ({"name": "fs 1"}, "name"),
        ({"capacity_seats": 0}, "capacity_seats"),
    ],
)
async def test_what_no_node_could_start_with_is_refused_by_field(api: Api, change: dict[str, Any], field: str) -> None:
    operator = await api.client("platform_operator")
    answer = await operator.post("/v1/nodes", NODE | change)
    assert (answer.status_code, answer.json()["field"]) == (422, field), answer.text


async def test_two_nodes_have_neither_the_name_nor_the_address_in_common(api: Api) -> None:
    operator = await api.client("platform_operator")
    await operator.post("/v1/nodes", NODE)
    same_name = await operator.post("/v1/nodes", NODE)
    same_address = await operator.post("/v1/nodes", NODE | {"name": "fs-2", "esl_port": 8022})
    assert (same_name.status_code, same_name.json()["code"]) == (409, "node_name_taken")
    assert (same_address.status_code, same_address.json()["code"]) == (409, "node_address_taken")


async def test_nodes_are_the_operators_affair(api: Api) -> None:
    admin = await api.client("tenant_admin", await api.tenant())
    assert (await admin.get("/v1/nodes")).status_code == 403
    assert (await admin.post("/v1/nodes", NODE)).status_code == 403
    operator = await api.client("platform_operator")
    assert (await operator.get("/v1/nodes/node_unknown")).json()["code"] == "node_not_found"


async def test_a_gateway_is_added_and_running_nodes_are_told(api: Api) -> None:
    operator = await api.client("platform_operator")
    made = await operator.post(
        "/v1/gateways",
        {"name": "carrier", "host": "192.0.2.10", "username": "u", "password": "p4ss-word", "registers": True},
    )
    assert made.status_code == 201
    assert made.json()["has_password"]
    listed = await operator.get("/v1/gateways")
    assert "p4ss-word" not in made.text + listed.text
    twice = await operator.post("/v1/gateways", {"name": "carrier", "host": "192.0.2.11"})
    assert (twice.status_code, twice.json()["code"]) == (409, "gateway_name_taken")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"host": "sip.example.com"}, "sources"),
        ({"sources": ["everywhere"]}, "sources"),
        ({"host": "not a host"}, "host"),
        ({"port": 0}, "port"),
        ({"name": ""}, "name"),
        ({"registers": True}, "username"),
        ({"priority": -1}, "priority"),
    ],
)
async def test_a_gateway_no_node_could_use_is_refused_by_field(api: Api, change: dict[str, Any], field: str) -> None:
    operator = await api.client("platform_operator")
    answer = await operator.post("/v1/gateways", {"name": "carrier", "host": "192.0.2.10"} | change)
    assert (answer.status_code, answer.json()["field"]) == (422, field), answer.text


async def test_a_number_is_assigned_once_seen_by_its_tenant_and_released(api: Api) -> None:
    operator = await api.client("platform_operator")
    ours, theirs = await api.tenant("ours"), await api.tenant("theirs")
    body = {"tenant_id": ours, "number": "021-5000 1234", "extension": "1001", "is_caller_number": True}
    made = await operator.post("/v1/phone-numbers", body)
    assert (made.status_code, made.json()["number"]) == (201, "+862150001234")
    taken = await operator.post("/v1/phone-numbers", {"tenant_id": theirs, "number": "+862150001234"})
    assert (taken.status_code, taken.json()["code"]) == (409, "number_taken")
    for tenant_id, expected in ((ours, ["+862150001234"]), (theirs, [])):
        viewer = await api.client("tenant_viewer", tenant_id)
        items = (await viewer.get("/v1/phone-numbers")).json()["items"]
        assert [item["number"] for item in items] == expected
    released = await operator.http.delete("/v1/phone-numbers/+862150001234", headers=operator.headers)
    assert released.status_code == 204
    again = await operator.http.delete("/v1/phone-numbers/+862150001234", headers=operator.headers)
    assert (again.status_code, again.json()["code"]) == (404, "number_not_found")


async def test_a_tenant_shows_the_caller_number_assigned_last(api: Api) -> None:
    operator = await api.client("platform_operator")
    tenant = await api.tenant()
    for number in ("+862150001234", "+862150001235"):
        await operator.post("/v1/phone-numbers", {"tenant_id": tenant, "number": number, "is_caller_number": True})
    items = (await operator.get("/v1/phone-numbers", params={"tenant_id": tenant})).json()["items"]
    assert {item["number"]: item["is_caller_number"] for item in items} == {
        "+862150001234": False,
        "+862150001235": True,
    }


@pytest.mark.parametrize(
    ("change", "field"),
    [({"number": "110"}, "number"), ({"number": "12"}, "number"), ({"extension": "12"}, "extension")],
)
async def test_what_is_no_number_is_refused(api: Api, change: dict[str, Any], field: str) -> None:
    operator = await api.client("platform_operator")
    body = {"tenant_id": await api.tenant(), "number": "+862150001234"} | change
    answer = await operator.post("/v1/phone-numbers", body)
    assert (answer.status_code, answer.json()["field"]) == (422, field)


async def test_alarms_of_the_canary_are_listed(api: Api) -> None:
    tenant = await add_tenant(api.database)
    async with api.database.transaction(Scope.platform()) as session:
        for number, alarm in enumerate((False, True)):
            session.add(
                CanaryCheck(
                    tenant_id=tenant.tenant_id,
                    check_id=f"can_{number}",
                    node="fs-1",
                    generation=2,
                    expected="refused",
                    changed_at=tenant.created_at,
                    checked_at=tenant.created_at,
                    lookup="found" if alarm else "not_found",
                    registration="accepted" if alarm else "refused 403",
                    seconds_to_effect=None if alarm else 0.4,
                    is_alarm=alarm,
                )
            )
    operator = await api.client("platform_operator")
    alarms = (await operator.get("/v1/canary-checks", params={"alarm": "true"})).json()["items"]
    assert [item["check_id"] for item in alarms] == ["can_1"]
    assert len((await operator.get("/v1/canary-checks")).json()["items"]) == 2
    other = await api.client("tenant_viewer", await api.tenant("other"))
    assert (await other.get("/v1/canary-checks")).json()["items"] == []


@pytest.fixture
def installation(database: Database, settings: Settings) -> Installation:
    """The installation of the test as commands see it."""
    return Installation(settings, database.url)


async def test_node_config_writes_a_whole_directory_with_the_nodes_secrets(
    installation: Installation, database: Database, api: Api, tmp_path: Path
) -> None:
    await commands_switch.add_node(installation, details("fs-1"))
    operator = await api.client("platform_operator")
    await operator.post("/v1/gateways", {"name": "carrier", "host": "192.0.2.10"})
    out = tmp_path / "fs-1"
    files = await commands_switch.node_config(installation, "fs-1", out)
    assert out / "freeswitch.xml" in files
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    node = await read_node(database, "fs-1")
    seal = installation.seal
    texts = "".join(file.read_text() for file in files)
    for expected in (
        f"fs-1:{seal.open(node.sealed_secret)}",
        seal.open(node.sealed_esl_password),
        f"{installation.settings.public_url}/switch/directory",
        'name="carrier"',
        str(out / "spool"),
    ):
        assert expected in texts
    assert await commands_switch.node_config(installation, "fs-1", out) == files


async def test_node_config_refuses_a_foreign_directory_and_an_unknown_node(
    installation: Installation, tmp_path: Path
) -> None:
    await commands_switch.add_node(installation, details("fs-1"))
    (tmp_path / "precious").write_text("mine")
    with pytest.raises(InvalidInput, match="not empty"):
        await commands_switch.node_config(installation, "fs-1", tmp_path)
    with pytest.raises(NodeUnknown, match="fs-2"):
        await commands_switch.node_config(installation, "fs-2", tmp_path / "out")
    with pytest.raises(InvalidInput, match="control_networks"):
        await commands_switch.node_config(installation, "fs-1", tmp_path / "out", control_networks=["office"])


async def test_a_tenant_lives_on_its_home_moves_and_comes_back(database: Database) -> None:
    tenant_id = (await add_tenant(database)).tenant_id
    async with database.transaction(Scope.platform()) as session:
        with pytest.raises(NotPlaced):
            await placements.get(session, tenant_id)
        home = await placements.assign(session, tenant_id, home_node="fs-1", spare_node="fs-2")
        assert (home.serving_node, home.generation) == ("fs-1", 1)
    async with database.transaction(Scope.platform()) as session:
        moved = await placements.move(session, tenant_id, "fs-2", reason="node_dead", generation=1)
        assert (moved.home_node, moved.serving_node, moved.generation) == ("fs-1", "fs-2", 2)
        assert [row.tenant_id for row in await placements.tenants_on(session, "fs-2")] == [tenant_id]
        assert await placements.count_served(session, ["fs-1", "fs-2"]) == {"fs-1": 0, "fs-2": 1}
        assert (await placements.move(session, tenant_id, "fs-2", reason="again")).generation == 2
    with pytest.raises(PlacementChanged):
        async with database.transaction(Scope.platform()) as session:
            await placements.move(session, tenant_id, "fs-1", reason="stale", generation=1)
    with pytest.raises(AlreadyPlaced):
        async with database.transaction(Scope.platform()) as session:
            await placements.assign(session, tenant_id, home_node="fs-3", spare_node=None)
