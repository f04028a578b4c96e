"""What VPN gateways ask and report over HTTP.

These routes lie outside /v1 and its unit of work, like the nodes' (switch/node_api.py): a gateway signs in with its own
credential, and while it waits for news no transaction is open.
"""

from __future__ import annotations

import asyncio
import time
from typing import Annotated, Any

from litestar import Request, post
from litestar.di import NamedDependency
from litestar.params import JSONBody
from litestar.status_codes import HTTP_200_OK
from msgspec import Meta

from infra.kit import clock
from infra.kit.database import Database, Scope
from infra.kit.http import PUBLIC, Body, View
from provisioning.tunnels import desired, gateways, readings
from provisioning.tunnels.desired import PeerView
from provisioning.tunnels.edge import EdgeView
from provisioning.tunnels.errors import GatewayNotSignedIn
from provisioning.tunnels.readings import READINGS_LIMIT, Reading
from switch.node_sign_in import NodeNotSignedIn, NodeSignIn, read_authorization

LOOK_EVERY_SECONDS = 0.5
"""How soon a waiting gateway hears of a change."""

LONGEST_WAIT_SECONDS = 10.0
"""Short, so that an API process that is told to end need not wait long for its gateways."""


class WhatToApply(Body):
    """A gateway asks for its peers. `state` names what it has applied; with that one the answer waits for news."""

    instance: str
    public_key: str
    state: str | None = None
    wait_seconds: Annotated[float, Meta(ge=0, le=LONGEST_WAIT_SECONDS)] = 0.0


class Applicable(View):
    """What to apply; without `peers` and `edge` when nothing has changed."""

    state: str
    changed: bool
    peers: list[PeerView]
    edge: list[EdgeView]


class Report(Body):
    """Counters of peers, those that were taken off the interface included."""

    instance: str
    readings: Annotated[list[Reading], Meta(max_length=READINGS_LIMIT)]


class Received(View):
    """A report is stored; `unknown` of its readings were of nobody whom this gateway serves."""

    unknown: int


@post("/gateway/peers", permission=PUBLIC, include_in_schema=False, status_code=HTTP_200_OK)
async def peers(
    request: Request[Any, Any, Any], data: JSONBody[WhatToApply], database: NamedDependency[Database]
) -> Applicable:
    """What the gateway that asks should let through, as soon as it differs from what it has applied."""
    claim = _claim(request)
    until = time.monotonic() + data.wait_seconds
    while True:
        async with database.transaction(Scope.platform()) as session:
            gateway = await gateways.sign_in(session, claim, data.instance)
            await gateways.note_key(session, gateway, data.public_key)
            gateway.last_seen_at = clock.now()
            if data.state != gateway.applied_state:
                gateway.applied_state, gateway.applied_at = data.state, clock.now()
            state = await desired.fingerprint(session, gateway.tunnel_gateway_id)
            if state != data.state:
                found = await desired.load(session, gateway.tunnel_gateway_id)
                return Applicable(state=found.state, changed=True, peers=found.peers, edge=found.edge)
        if time.monotonic() >= until:
            return Applicable(state=state, changed=False, peers=[], edge=[])
        await asyncio.sleep(min(LOOK_EVERY_SECONDS, max(0.0, until - time.monotonic())))


@post("/gateway/readings", permission=PUBLIC, include_in_schema=False, status_code=HTTP_200_OK)
async def receive_readings(
    request: Request[Any, Any, Any], data: JSONBody[Report], database: NamedDependency[Database]
) -> Received:
    """Counters that the gateway has read; the same ones may come again."""
    claim = _claim(request)
    async with database.transaction(Scope.platform()) as session:
        gateway = await gateways.sign_in(session, claim, data.instance)
        gateway.last_seen_at = clock.now()
    return Received(unknown=await readings.receive(database, gateway.tunnel_gateway_id, data.readings))


def _claim(request: Request[Any, Any, Any]) -> NodeSignIn:
    try:
        return read_authorization(request.headers.get("authorization"))
    except NodeNotSignedIn:
        raise GatewayNotSignedIn from None


ROUTES = [peers, receive_readings]
