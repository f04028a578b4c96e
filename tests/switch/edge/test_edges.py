"""Edges through the API, their files, and the map that follows the placement."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from infra.app import commands_edge
from infra.app.commands_edge import EdgeOptions
from infra.app.installation import Installation
from infra.kit.database import Scope
from infra.kit.problems import InvalidInput
from switch import placements
from switch.edge.documents import set_numbers
from switch.edge.errors import EdgeUnknown
from tests.api import Api
from tests.switch.cluster import add_node, add_tenant

EDGE = {"name": "east", "host": "127.0.0.1", "sip_port": 15060}


async def furnished(api: Api) -> tuple[Installation, str]:
    """Two nodes, a tenant at home on the first, an edge."""
    installation = Installation(api.settings, str(api.settings.database_url))
    for name in ("fs-1", "fs-2"):
        await add_node(api.database, installation.seal, name, state="active")
    tenant = await add_tenant(api.database, domain="acme.example.com")
    async with api.database.transaction(Scope.platform()) as session:
        if await placements.find(session, tenant.tenant_id) is None:
            await placements.assign(session, tenant.tenant_id, home_node="fs-1", spare_node="fs-2")
        else:
            await placements.settle(session, tenant.tenant_id, home_node="fs-1", spare_node="fs-2")
    made = await (await api.client("platform_operator")).post("/v1/sip-edges", EDGE)
    assert made.status_code == 201, made.text
    return installation, tenant.tenant_id


async def test_an_edge_is_added_listed_and_removed(api: Api) -> None:
    operator = await api.client("platform_operator")
    made = await operator.post("/v1/sip-edges", EDGE)
    assert made.status_code == 201
    assert (await operator.get("/v1/sip-edges")).json()["items"] == [made.json()]
    again = await operator.post("/v1/sip-edges", EDGE)
    assert (again.status_code, again.json()["code"], again.json()["field"]) == (409, "sip_edge_name_taken", "name")
    path = f"/v1/sip-edges/{made.json()['edge_id']}"
    assert (await operator.http.delete(path, headers=operator.headers)).status_code == 204
    assert (await operator.http.delete(path, headers=operator.headers)).json()["code"] == "sip_edge_not_found"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"host": "edge example"}, "host"),
        ({"name": "a:b"}, "name"),
        ({"sip_port": 0}, "sip_port"),
        ({"sip_tls_port": 15060}, "sip_tls_port"),
        ({"sip_tls_port": 70_000}, "sip_tls_port"),
    ],
)
async def test_what_no_phone_could_reach_is_refused_by_field(api: Api, change: dict[str, Any], field: str) -> None:
    answer = await (await api.client("platform_operator")).post("/v1/sip-edges", EDGE | change)
    assert (answer.status_code, answer.json()["field"]) == (422, field)


async def test_the_map_follows_a_move_and_nothing_is_written_without_one(api: Api, tmp_path: Path) -> None:
    installation, tenant_id = await furnished(api)
    await commands_edge.edge_config(installation, "east", tmp_path, EdgeOptions())
    numbers = set_numbers(["fs-1", "fs-2"])
    assert f"acme.example.com:0:0:{numbers['fs-1']},{numbers['fs-2']}:0" in (tmp_path / "map/sip_domain").read_text()
    untold: set[str] = set()
    assert await commands_edge.follow_once(api.database, tmp_path, untold) == []
    async with api.database.transaction(Scope.platform()) as session:
        await placements.move(session, tenant_id, "fs-2", reason="node_lost")
    assert await commands_edge.follow_once(api.database, tmp_path, untold) == ["map/sip_domain"]
    assert f"acme.example.com:0:0:{numbers['fs-2']},{numbers['fs-1']}:0" in (tmp_path / "map/sip_domain").read_text()
    assert untold == {"map/sip_domain"}  # no Kamailio runs here: it is told when it does


async def test_an_edge_that_nobody_knows_or_that_lacks_its_certificate_is_not_written(api: Api, tmp_path: Path) -> None:
    installation, _ = await furnished(api)
    written = tmp_path / "edge"
    with pytest.raises(EdgeUnknown):
        await commands_edge.edge_config(installation, "west", written, EdgeOptions())
    operator = await api.client("platform_operator")
    await operator.post("/v1/sip-edges", EDGE | {"name": "west", "sip_tls_port": 15061})
    with pytest.raises(InvalidInput, match="tls-certificate"):
        await commands_edge.edge_config(installation, "west", written, EdgeOptions())
    assert not written.exists()


@pytest.mark.skipif(shutil.which("kamailio") is None, reason="Kamailio is not installed")
async def test_kamailio_takes_what_is_written(api: Api, tmp_path: Path) -> None:
    installation, _ = await furnished(api)
    await commands_edge.edge_config(installation, "east", tmp_path, EdgeOptions())
    checked = subprocess.run(  # noqa: ASYNC221, S603 - it only reads a file
        ["kamailio", "-c", "-f", str(tmp_path / "kamailio.cfg")],  # noqa: S607
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert checked.returncode == 0, checked.stderr


async def test_phones_are_told_of_the_edge_first_and_the_dns_records_name_it(api: Api) -> None:
    installation, tenant_id = await furnished(api)
    viewer = await api.client("tenant_viewer", tenant_id)
    told = (await viewer.get(f"/v1/tenants/{tenant_id}/srv-records")).json()
    assert told["domain"] == "acme.example.com"
    assert "_sip._udp.acme.example.com. 60 IN SRV 5 0 15060 east.acme.example.com." in told["zone"]
    assert "fs-2.acme.example.com. 60 IN A" in told["zone"]
    assert await commands_edge.srv_records(installation, tenant_id) == told["zone"]
    assert await commands_edge.srv_records(installation, None) == told["zone"]
    stranger = await api.client("tenant_viewer", await api.tenant("other"))
    assert (await stranger.get(f"/v1/tenants/{tenant_id}/srv-records")).status_code == 404
