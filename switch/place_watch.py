"""The part of a node's supervisor that asks a node which is out of service where it takes SIP, before it serves."""

from __future__ import annotations

from infra.kit import logs
from switch import listening
from switch.esl.client import EslConnection
from switch.nodes import UNHEARD_STATES

log = logs.get(__name__)


class PlaceWatch:
    """Watches one node while it is joining or dead; `profiles` is what it said last."""

    def __init__(self, node: str, answer_timeout_seconds: float) -> None:
        self._node = node
        self._timeout_seconds = answer_timeout_seconds
        self._is_in_service = self._is_told = False
        self.profiles: str | None = None
        """None: it was not asked."""

    async def look(self, connection: EslConnection) -> None:
        """Ask a node that is out of service. Raises `EslError`."""
        self.profiles = None if self._is_in_service else await listening.ask(connection, self._timeout_seconds)

    def note(self, *, is_heard: bool, state: str) -> None:
        """Take in what the report has made of it: one that is heard and stays out of service listens elsewhere."""
        self._is_in_service = state not in UNHEARD_STATES
        is_elsewhere = is_heard and not self._is_in_service
        if is_elsewhere and not self._is_told:
            log.error("node.listens_elsewhere", node=self._node, state=state, profiles=self.profiles)
        self._is_told = is_elsewhere
