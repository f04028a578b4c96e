"""Phones register at nodes that run from `seatline node-config`, and only those that may."""

from __future__ import annotations

from switch.sip.phone import Phone
from tests.live.customers import Office
from tests.live.system import NODES
from tests.live.waiting import until

FORBIDDEN = 403
NOT_REGISTERED = 480
FORGOTTEN_LIMIT_SECONDS = 20.0


async def test_nodes_started_from_node_config_are_active(office: Office) -> None:
    nodes = {node["name"]: node for node in await office.operator.items("/v1/nodes")}
    assert {name: nodes[name]["state"] for name in NODES} == dict.fromkeys(NODES, "active")
    assert all(nodes[name]["version"] and nodes[name]["heartbeat_at"] for name in NODES)


async def test_a_seat_registers(office: Office) -> None:
    customer = await office.customer()
    phone = await customer.seats[0].phone()
    assert await phone.register() == 200
    assert phone.registered_for_seconds > 0
    assert await phone.unregister() == 200


async def test_a_wrong_password_an_unknown_user_and_another_tenants_domain_are_refused(office: Office) -> None:
    customer, other = await office.customer(), await office.customer()
    seat = customer.seats[0]
    server = await seat.server()
    assert await (await seat.phone(password="a guess")).register() == FORBIDDEN
    unknown = office.keep(Phone("2999", customer.domain, server=server, password=seat.password))
    assert await unknown.register() == FORBIDDEN
    stranger = office.keep(Phone(seat.extension, other.domain, server=server, password=seat.password))
    assert await stranger.register() == FORBIDDEN
    nobody = office.keep(Phone(seat.extension, "nobody.example.com", server=server, password=seat.password))
    assert await nobody.register() == FORBIDDEN


async def test_new_credentials_replace_the_old_ones(office: Office) -> None:
    customer = await office.customer()
    seat = customer.seats[0]
    phone = await seat.registered()
    old = seat.password
    new = await seat.reissue()
    assert new != old
    assert await phone.register() == FORBIDDEN
    assert await (await seat.phone()).register() == 200


async def test_only_what_was_registered_with_an_old_password_is_forgotten_however_late(office: Office) -> None:
    customer = await office.customer(seats=3)
    renewed, old, colleague = customer.seats
    caller = await colleague.registered()
    await old.registered()
    office.system.worker.stop()
    try:
        await renewed.reissue()
        await renewed.registered()
        await old.reissue()
        assert (await caller.call(old.extension)).status == 200
    finally:
        office.system.worker.start()

    async def is_forgotten() -> bool:
        call = await caller.call(old.extension)
        await call.hangup()
        return call.status == NOT_REGISTERED

    await until(is_forgotten, "the old registration is forgotten", limit_seconds=FORGOTTEN_LIMIT_SECONDS)
    assert (await caller.call(renewed.extension)).status == 200


async def test_a_seat_that_is_not_served_here_is_refused_at_the_other_node(office: Office) -> None:
    customer = await office.customer()
    seat = customer.seats[0]
    serving = await customer.serving_node()
    elsewhere = next(node for name, node in office.system.nodes.items() if name != serving)
    phone = office.keep(Phone(seat.extension, customer.domain, server=elsewhere.sip, password=seat.password))
    assert await phone.register() == FORBIDDEN
