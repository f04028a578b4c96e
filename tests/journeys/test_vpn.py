"""A seat works from anywhere: handed out, connected, cut off while its tenant does not pay, and billed."""

from __future__ import annotations

import base64
import re
from urllib.parse import urlsplit

from provisioning.rules import tunnel_keys
from tests.provisioning.tunnel_world import GatewayHost, reading
from tests.world import Customer, World

GB = 1_000_000_000


async def _handed_out(world: World, tenant: Customer) -> tuple[str, str]:
    """The public key and the address of the tenant's first seat, from the page that its user opens."""
    seat = (await tenant.admin.ask("/v1/seats"))["items"][-1]
    made = await tenant.admin.does(f"/v1/seats/{seat['seat_id']}/hand-outs", {"language": "en"})
    link = urlsplit(made["url"])
    page = await world.api.http.post(link.path, data={"secret": link.fragment})
    file = re.search(r'download="seat-[^"]*\.conf" href="data:[^,"]*;base64,([^"]*)"', page.text)
    assert file is not None, page.text
    configuration = base64.b64decode(file.group(1)).decode()
    values = dict(line.split(" = ", 1) for line in configuration.splitlines() if " = " in line)
    return tunnel_keys.public_of(values["PrivateKey"]), values["Address"].removesuffix("/32")


async def test_a_tunnel_lives_with_its_seat_and_its_bytes_are_billed(world: World) -> None:
    made = await world.operator.does("/v1/tunnel-gateways", {"name": "vpn-1", "endpoint_host": "vpn.example.com"})
    gateway = GatewayHost(world.api, made["tunnel_gateway_id"], "vpn-1", made["secret"])
    assert await gateway.peers() == {}
    tenant = await world.tenant(opened="2026-06-01", seats=1, terms={"data_rate_per_gb": "2.5"})
    key, address = await _handed_out(world, tenant)
    assert await gateway.peers() == {key: address}

    await world.travel_to("2026-06-17 12:00")
    await gateway.reports(reading(key, GB, 3 * GB))
    await world.travel_to("2026-07-01 09:00")
    assert (await tenant.invoice("monthly", "2026-07")).kinds()["data"] == "10.00"

    await world.travel_to("2026-07-26 00:00")
    assert (await tenant.standing())[0] == "suspended"
    assert await gateway.peers() == {}
    await gateway.reports(reading(key, GB + 500, 3 * GB))
    await tenant.pays_everything()
    assert await gateway.peers() == {key: address}, "back with the payment's commit, with the same key"

    order = await tenant.returns(1, "2026-08-05")
    assert order["kind"] == "return"
    await world.travel_to("2026-08-06 00:00")
    assert await gateway.peers() == {}
