"""A node's room, addresses and limits change without a new node."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from infra.app import commands_switch
from infra.app.installation import Installation
from infra.kit.database import Scope
from infra.kit.problems import InvalidInput
from switch.nodes import NodeLimits
from tests.api import Api
from tests.switch.cluster import read_node

NODE = {"name": "fs-1", "sip_host": "127.0.0.1", "esl_host": "127.0.0.1"}


async def _in_state(api: Api, state: str) -> None:
    async with api.database.transaction(Scope.platform()) as session:
        node = await session.merge(await read_node(api.database, "fs-1"))
        node.state = state


async def test_a_nodes_room_changes_at_any_time_and_its_addresses_only_while_nobody_is_there(api: Api) -> None:
    operator = await api.client("platform_operator")
    await operator.post("/v1/nodes", NODE)
    await _in_state(api, "active")
    wider = await operator.put("/v1/nodes/fs-1", {"capacity_seats": 2_500})
    assert (wider.status_code, wider.json()["capacity_seats"]) == (200, 2_500), wider.text
    for change in ({"sip_port": 6060}, {"esl_host": "127.0.0.2"}, {"max_sessions": 100}):
        refused = await operator.put("/v1/nodes/fs-1", change)
        expected = (409, "node_in_service", next(iter(change)))
        assert (refused.status_code, refused.json()["code"], refused.json()["field"]) == expected, refused.text
    await _in_state(api, "dead")  # it comes back by itself with the addresses that it was started with
    assert (await operator.put("/v1/nodes/fs-1", {"sip_port": 6060})).status_code == 409
    await _in_state(api, "drained")
    moved = await operator.put(f"/v1/nodes/{wider.json()['node_id']}", {"sip_port": 6060, "sip_host": "127.0.0.9"})
    assert (moved.status_code, moved.json()["sip_port"], moved.json()["sip_host"]) == (200, 6060, "127.0.0.9")
    assert moved.json()["capacity_seats"] == 2_500, "what is not named stays"
    trail = (await operator.get("/v1/audit")).json()["items"]
    facts = next(each["facts"] for each in trail if each["action"] == "node.changed")
    assert facts["changed"]["sip_port"] == {"from": 5060, "to": 6060}


async def test_the_addresses_of_a_node_that_is_given_back_before_it_was_drained_do_not_change(api: Api) -> None:
    operator = await api.client("platform_operator")
    await operator.post("/v1/nodes", NODE)
    await _in_state(api, "active")
    assert (await operator.post("/v1/nodes/fs-1/drain")).status_code == 200
    cancelled = await operator.post("/v1/nodes/fs-1/cancel-drain")
    assert cancelled.json()["drain"]["phase"] == "cancelling"
    refused = await operator.put("/v1/nodes/fs-1", {"sip_port": 6060})
    assert (refused.status_code, refused.json()["code"]) == (409, "node_in_service"), "calls may still run there"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"capacity_seats": 0}, "capacity_seats"),
        ({"sip_host": "phones.example.com"}, "sip_host"),
        ({"external_sip_port": 5060}, "external_sip_port"),
        ({"listen_host": "0.0.0.0"}, "listen_host"),  # noqa: S104 - refused
        ({"listen_host": "::1"}, "listen_host"),
        ({"max_sessions": 0}, "max_sessions"),
        ({"sessions_per_second": 10_001}, "sessions_per_second"),
        ({"rtp_timeout_seconds": -1}, "rtp_timeout_seconds"),
        ({"name": "fs-2"}, "name"),
    ],
)
async def test_what_no_node_could_start_with_is_refused_by_field(api: Api, change: dict[str, Any], field: str) -> None:
    operator = await api.client("platform_operator")
    await operator.post("/v1/nodes", NODE)
    answer = await operator.put("/v1/nodes/fs-1", change)
    assert answer.status_code in (400, 422), answer.text
    assert answer.json()["field"] == field, answer.text


async def test_a_change_to_the_address_of_another_node_is_refused(api: Api) -> None:
    operator = await api.client("platform_operator")
    await operator.post("/v1/nodes", NODE)
    other = NODE | {"name": "fs-2", "sip_port": 7060, "external_sip_port": 7080, "esl_port": 8022}
    await operator.post("/v1/nodes", other)
    answer = await operator.put("/v1/nodes/fs-2", {"sip_port": 5060})
    assert (answer.status_code, answer.json()["code"]) == (409, "node_address_taken")


async def test_node_config_keeps_what_it_was_told_of_a_node(api: Api, tmp_path: Path) -> None:
    operator = await api.client("platform_operator")
    await operator.post("/v1/nodes", NODE | {"sip_host": "127.0.0.9"})
    await _in_state(api, "active")
    installation = Installation(api.settings, api.database.url)
    told = NodeLimits(listen_host="127.0.0.1", max_sessions=300, sessions_per_second=30, rtp_timeout_seconds=120)
    await commands_switch.node_config(installation, "fs-1", tmp_path / "conf", limits=told)
    node = (await operator.get("/v1/nodes")).json()["items"][0]
    kept = {name: node[name] for name in ("listen_host", "max_sessions", "sessions_per_second", "rtp_timeout_seconds")}
    assert kept == {
        "listen_host": "127.0.0.1",
        "max_sessions": 300,
        "sessions_per_second": 30,
        "rtp_timeout_seconds": 120,
    }
    assert node["sip_host"] == "127.0.0.9", "which phones, name servers and edges are told"
    await commands_switch.node_config(installation, "fs-1", tmp_path / "conf", limits=NodeLimits())
    switch = (tmp_path / "conf/autoload_configs/switch.conf.xml").read_text()
    sofia = (tmp_path / "conf/autoload_configs/sofia.conf.xml").read_text()
    assert 'name="max-sessions" value="300"' in switch
    assert 'name="sessions-per-second" value="30"' in switch
    for line in (
        'name="sip-ip" value="127.0.0.1"',
        'name="rtp-ip" value="127.0.0.1"',
        'name="ext-sip-ip" value="127.0.0.9"',
        'name="ext-rtp-ip" value="127.0.0.9"',
        'name="rtp-timeout-sec" value="120"',
    ):
        assert sofia.count(line) == 2, line
    with pytest.raises(InvalidInput, match="max_sessions"):
        await commands_switch.node_config(installation, "fs-1", tmp_path / "conf", limits=NodeLimits(max_sessions=0))
