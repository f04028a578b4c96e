"""From the death of a node to its tenant's next registration that is accepted, over and over.

The whole product as processes with its own settings, on two nodes: real ones where `SEATLINE_FREESWITCH` names a
FreeSWITCH, simulated ones otherwise. The phone tries the servers of its hand-out one after another without a rest.
"""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from statistics import median

from sqlalchemy.engine import make_url

from infra.app import schema
from infra.kit.database import blocking_engine
from infra.kit.settings import load
from switch.sip.errors import SipError
from switch.sip.phone import Phone
from tests.bench.figures import Figure
from tests.bench.load import LoadBroken
from tests.bench.system import System
from tests.live.customers import LiveSeat, Office
from tests.live.system import FREESWITCH_PREFIX_VARIABLE, LiveSystem
from tests.live.waiting import until

DATABASE = "failover"
DEATHS = 3
GOAL_SECONDS = 15.0
GIVE_UP_SECONDS = 90.0
ATTEMPT_LIMIT_SECONDS = 1.0
ACCEPTED = 200


async def measure(system: System, directory: Path) -> list[Figure]:
    """The median of `DEATHS` deaths, beside the silence after which a node is called dead."""
    silence_seconds = load({}).node_heartbeat_timeout_seconds
    with system.driver_connection() as connection:
        connection.autocommit = True
        connection.execute(f"CREATE DATABASE {DATABASE}".encode())
    url = make_url(system.database_url).set(database=DATABASE).render_as_string(hide_password=False)
    engine = blocking_engine(url)
    schema.upgrade(engine)
    engine.dispose()
    switch = "freeswitch" if os.environ.get(FREESWITCH_PREFIX_VARIABLE) else "simulator"
    cluster = LiveSystem(directory, url, switch, silence_seconds)
    try:
        await asyncio.to_thread(cluster.start)
        async with Office.open(cluster) as office:
            seat = (await office.customer(seats=1)).seats[0]
            seconds = [await _survive(office, seat) for _ in range(DEATHS)]
    finally:
        await asyncio.to_thread(cluster.stop)
    return [
        Figure(
            name=f"node dead to next registration, {switch}",
            value=median(seconds),
            unit="s",
            limit=silence_seconds,
            limit_is="the silence after which a node is called dead",
            goal=GOAL_SECONDS,
            better="lower",
        )
    ]


async def _survive(office: Office, seat: LiveSeat) -> float:
    """Kill the node that serves the seat; how long until its phone is accepted again. The node is back afterwards."""
    servers = (await office.operator.get(f"/v1/seats/{seat.seat_id}"))["sip"]["servers"]
    places = [(each["host"], each["port"]) for each in servers if each["transport"] == "udp"]
    phones = [
        office.keep(Phone(seat.extension, seat.customer.domain, server=place, password=seat.password))
        for place in places
    ]
    await until(lambda: _is_accepted(phones[0]), "the phone is registered", limit_seconds=GIVE_UP_SECONDS)
    node = office.system.nodes[await seat.customer.serving_node()]
    await asyncio.to_thread(node.process.kill)
    died = time.monotonic()
    while not any([await _is_accepted(phone) for phone in phones]):
        if time.monotonic() - died > GIVE_UP_SECONDS:
            raise LoadBroken(f"no node accepts the phone {GIVE_UP_SECONDS:g} s after the death of {node.name}")
    seconds = time.monotonic() - died
    node.process.start()
    await asyncio.to_thread(office.system.wait_node, node.name, "active")
    return seconds


async def _is_accepted(phone: Phone) -> bool:
    try:
        return await phone.register(timeout_seconds=ATTEMPT_LIMIT_SECONDS) == ACCEPTED
    except SipError:
        return False
