"""The process that supervises nodes: it follows their table and runs a supervisor for each.

A new node is supervised within seconds, without a restart. Several such processes may run, on several machines: each
node is held by one of them at a time (switch/node_lease.py).
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from contextlib import suppress

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from infra.kit import logs
from infra.kit.database import Database, Scope
from infra.kit.problems import Refusal
from infra.kit.sealing import Seal
from infra.kit.settings import Settings
from switch.models import Node
from switch.nodes import MAX_NODES
from switch.supervisor import STOP_SECONDS, Address, NodeSupervisor, Pace

log = logs.get(__name__)


class Switchd:
    """Runs a supervisor for every node of the table."""

    def __init__(self, database: Database, settings: Settings, *, pace: Pace | None = None) -> None:
        self._database = database
        self._seal = Seal(settings.secret_key)
        self._pace = pace or Pace.of(settings)
        self.holder = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._running: dict[str, tuple[NodeSupervisor, asyncio.Task[None]]] = {}

    async def run(self, stop: asyncio.Event) -> None:
        """Supervise until `stop` is set, then end every supervisor and give its lease back."""
        log.info("switchd.started", holder=self.holder)
        try:
            while not stop.is_set():
                await self._refresh()
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._pace.refresh_interval_seconds):
                        await stop.wait()
        finally:
            await self._end([*self._running])
            log.info("switchd.ended", holder=self.holder)

    async def _refresh(self) -> None:
        try:
            wanted = await self._nodes()
        except (Refusal, SQLAlchemyError, OSError) as error:
            log.warning("switchd.database_away", reason=type(error).__name__)
            return
        ended: list[str] = []
        for node_id, (supervisor, task) in self._running.items():
            if task.done():
                failure = None if task.cancelled() else task.exception()
                log.error("supervisor.failed", node=supervisor.name, exc_info=failure)
                ended.append(node_id)
            elif node_id not in wanted or wanted[node_id][1] != supervisor.address:
                ended.append(node_id)
        await self._end(ended)
        for node_id, (name, address) in wanted.items():
            if node_id not in self._running:
                self._begin(node_id, name, address)

    async def _nodes(self) -> dict[str, tuple[str, Address]]:
        async with self._database.transaction(Scope.platform()) as session:
            query = select(Node).where(Node.state != "left").order_by(Node.node_id).limit(MAX_NODES)
            return {
                node.node_id: (node.name, Address(node.esl_host, node.esl_port, node.sealed_esl_password))
                for node in (await session.execute(query)).scalars()
            }

    def _begin(self, node_id: str, name: str, address: Address) -> None:
        supervisor = NodeSupervisor(
            self._database,
            self._seal,
            self._pace,
            node_id=node_id,
            name=name,
            address=address,
            holder=self.holder,
        )
        self._running[node_id] = (supervisor, asyncio.create_task(supervisor.run(), name=f"supervisor {name}"))

    async def _end(self, node_ids: list[str]) -> None:
        tasks = [self._running.pop(node_id)[1] for node_id in node_ids]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=STOP_SECONDS)
