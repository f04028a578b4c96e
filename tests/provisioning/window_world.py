"""A maintenance window of the cluster: announced, conducted, looked at."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from tests.provisioning.outage_looks import Cluster
from tests.provisioning.world import TODAY, World

DAY = TODAY + timedelta(days=6)
PATH = "/v1/maintenance-windows"


def hour(text: str) -> str:
    """A time of that day, such as 02:00."""
    return f"{DAY}T{text}:00+08:00"


async def announced(world: World, *nodes: str, **other: Any) -> str:
    """A window from two to four; its id."""
    body = {"begins_at": hour("02:00"), "ends_at": hour("04:00"), "note": "new release", "nodes": nodes} | other
    answer = await world.operator.post(PATH, body)
    assert answer.status_code == 201, answer.text
    assert answer.json()["nodes"] == list(nodes)
    return answer.json()["window_id"]


async def places(world: World, window_id: str) -> dict[str, str]:
    """Where each node of a window stands, and whose turn it is."""
    nodes = (await world.operator.get(f"{PATH}/{window_id}/nodes")).json()["nodes"]
    return {each["node"]: each["state"] for each in nodes}


async def state_of(world: World, window_id: str) -> tuple[str, str | None]:
    """A window's state, and when it ended."""
    listed = (await world.operator.get(PATH)).json()["items"]
    window = next(each for each in listed if each["window_id"] == window_id)
    return window["state"], window["ended_at"]


async def turn_of(world: World, window_id: str, node: str) -> tuple[datetime, datetime]:
    """When a node's turn began and ends."""
    nodes = (await world.operator.get(f"{PATH}/{window_id}/nodes")).json()["nodes"]
    found = next(each for each in nodes if each["node"] == node)
    return datetime.fromisoformat(found["turn_began_at"]), datetime.fromisoformat(found["turn_ends_at"])


async def goes_out(cluster: Cluster, node: str) -> None:
    """The supervisor has drained the node, and the conductor has seen it."""
    await cluster.drain_is(node, "drained", state="drained")
    await cluster.conducts()


async def comes_back(cluster: Cluster, node: str) -> None:
    """The supervisor has given the node back, and the conductor has seen it."""
    assert await cluster.drain_phase(node) == "cancelling"
    await cluster.drain_is(node, "cancelled", state="active")
    await cluster.conducts()
