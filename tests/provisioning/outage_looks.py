"""What the tests of observed faults and of maintenance share: looks at the cluster, phones, drains."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import httpx
from sqlalchemy import delete, select, update

from infra.kit import clock
from infra.kit.database import Scope
from infra.kit.jobs import Runtime
from provisioning.outages import conducting, observing
from switch import nodes, placements
from switch.canary import Observation as Tried
from switch.canary import Subject
from switch.draining.models import NodeDrain
from switch.live.models import LiveRegistration
from switch.models import GatewayState, Node, Placement
from tests.api import Api, Caller
from tests.provisioning.world import World

MINUTE = timedelta(minutes=1)
UNAUTHORIZED = 401


def later(**span: float) -> datetime:
    """Let time go by; returns the moment."""
    clock.travel_to(clock.now() + timedelta(**span))
    return clock.now()


class Patient(Caller):
    """A caller who signs in anew when time has travelled beyond its token."""

    def __init__(self, api: Api, role: str, tenant_id: str | None = None) -> None:
        super().__init__(api.http, role, "none yet")
        self._api, self._role, self._tenant_id = api, role, tenant_id

    async def get(self, path: str, params: dict[str, Any] | None = None) -> httpx.Response:
        answer = await super().get(path, params)
        return await super().get(path, params) if await self._signs_in(answer) else answer

    async def post(self, path: str, body: Any = None, *, key: str | None = None) -> httpx.Response:
        answer = await super().post(path, body, key=key)
        return await super().post(path, body, key=key) if await self._signs_in(answer) else answer

    async def _signs_in(self, answer: httpx.Response) -> bool:
        if answer.status_code == UNAUTHORIZED:
            self.headers = (await self._api.client(self._role, self._tenant_id)).headers
        return answer.status_code == UNAUTHORIZED


@dataclass
class Canary:
    """Signs in and calls at every node but those where it is refused; keeps who was tried where."""

    refused_at: set[str] = field(default_factory=set[str])
    refused_for: set[str] = field(default_factory=set[str])
    calls_refused_at: set[str] = field(default_factory=set[str])
    """Where it signs in and then cannot call."""
    tried: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])

    async def __call__(self, node: Node, subject: Subject) -> Tried:
        self.tried.append((node.name, subject.tenant_id))
        if node.name in self.refused_at or subject.tenant_id in self.refused_for:
            return Tried("not_found", "refused 403")
        return Tried("found", "accepted", "refused 503" if node.name in self.calls_refused_at else "completed")


@dataclass
class Cluster:
    """The cluster of a world as the observer and the conductor find it."""

    world: World
    canary: Canary = field(default_factory=Canary)

    def __post_init__(self) -> None:
        self.world.operator = Patient(self.world.api, "platform_operator")

    @property
    def runtime(self) -> Runtime:
        return Runtime(self.world.api.database, self.world.api.settings)

    async def looks(self, times: int = 1, *, every: timedelta = MINUTE) -> None:
        """The observer looks again and again, each time after a while."""
        for _ in range(times):
            clock.travel_to(clock.now() + every)
            await observing.look(self.runtime, probe=self.canary)

    async def conducts(self) -> None:
        """The conductor looks once."""
        await conducting.conduct(self.runtime)

    async def place_of(self, tenant_id: str) -> Placement:
        async with self.world.api.database.transaction(Scope.platform()) as session:
            return await placements.get(session, tenant_id)

    async def node_dies(self, name: str) -> datetime:
        """A node falls silent; returns when it was last heard of. Nobody moves its tenants."""
        died_at = clock.now()
        await self.world.change_node(name, heartbeat_at=died_at)
        noticed_at = later(seconds=20)
        await self.world.change_node(name, state="dead", state_changed_at=noticed_at)
        return died_at

    async def node_is_back(self, name: str) -> datetime:
        now = clock.now()
        await self.world.change_node(name, state="active", state_changed_at=now, heartbeat_at=now)
        return now

    async def registers(self, tenant_id: str, node: str, extensions: list[str], *, minutes: float = 2) -> None:
        """Phones are registered at a node, for as long as this from now."""
        async with self.world.api.database.transaction(Scope.platform()) as session:
            now = clock.now()
            for extension in extensions:
                await session.merge(
                    LiveRegistration(
                        tenant_id=tenant_id,
                        node=node,
                        username=extension,
                        call_id=f"{extension}@phone",
                        contact="sip:phone",
                        transport="udp",
                        network_ip="127.0.0.1",
                        network_port=5060,
                        user_agent="test",
                        registered_at=now,
                        expires_at=now + timedelta(minutes=minutes),
                        changed_at=now,
                    )
                )

    async def vanish(self, tenant_id: str, extensions: list[str] | None = None) -> None:
        """Phones are not registered any more."""
        gone = delete(LiveRegistration).where(LiveRegistration.tenant_id == tenant_id)
        if extensions is not None:
            gone = gone.where(LiveRegistration.username.in_(extensions))
        async with self.world.api.database.transaction(Scope.platform()) as session:
            await session.execute(gone)

    async def gateway(self, name: str, *prefixes: str) -> str:
        """A gateway for every number, or for these; its id."""
        body = {"name": name, "host": "192.0.2.10", "prefixes": prefixes}
        answer = await self.world.operator.post("/v1/gateways", body)
        assert answer.status_code == 201, answer.text
        return answer.json()["gateway_id"]

    async def gateway_is(self, node: str, gateway_id: str, *, up: bool) -> None:
        """The node's supervisor sees a gateway so."""
        now = clock.now()
        async with self.world.api.database.transaction(Scope.platform()) as session:
            await session.merge(
                GatewayState(
                    node=node,
                    gateway_id=gateway_id,
                    generation=1,
                    is_up=up,
                    registration="NOREG",
                    problem=None,
                    changed_at=now,
                    checked_at=now,
                )
            )

    async def drain_is(self, name: str, phase: str, *, state: str) -> None:
        """The node's supervisor has come so far with its drain."""
        async with self.world.api.database.transaction(Scope.platform()) as session:
            node = await nodes.get_by_name(session, name)
            node.state, node.state_changed_at = state, clock.now()
            await session.execute(update(NodeDrain).where(NodeDrain.node_id == node.node_id).values(phase=phase))

    async def drain_phase(self, name: str) -> str | None:
        async with self.world.api.database.transaction(Scope.platform()) as session:
            query = select(NodeDrain.phase).join(Node, Node.node_id == NodeDrain.node_id).where(Node.name == name)
            return (await session.execute(query)).scalar_one_or_none()

    async def faults(self, **params: Any) -> list[dict[str, Any]]:
        """As the API shows them, the earliest recorded first."""
        return list(reversed((await self.world.operator.get("/v1/faults", params=params)).json()["items"]))

    async def observations(self) -> list[tuple[str, str]]:
        """Kind and state of each, the earliest first."""
        items = (await self.world.operator.get("/v1/observations")).json()["items"]
        return [(each["kind"], each["state"]) for each in reversed(items)]
