"""The part of a node's supervisor that sees when the node gets no answers: while the API is away it pauses the node.

Without answers FreeSWITCH knows nobody, and says 403 to every REGISTER and INVITE; many phones give up for good after
that. A paused node says 503 with Retry-After, and an edge tries the tenant's next node. What is asked is what a phone's
REGISTER depends on: by the node itself, with its own address and secret, answered the way registrations are.

Whether the node gets answers is told to its row with each report of the supervisor: a node that alone gets none is cut
off, and its tenants are served by others (switch/cut_off.py).

That a node was paused for this stands in the node (a global variable), not in our memory: another supervisor finds it,
nobody ends a pause that somebody else has made, and a node that starts again has neither pause nor mark.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from infra.kit import logs
from switch.cut_off import Answers
from switch.documents.answers import HEALTH_FILE
from switch.esl.client import EslConnection
from switch.esl.errors import EslCommandRefused, EslConnectionLost, EslError
from switch.esl.link import EslLink

MARK = "seatline_api_away"
"""Global variable of a node that is paused because it gets no answers."""

QUESTION = f"xml_locate configuration configuration name {HEALTH_FILE}"
QUESTION_TIMEOUT_SECONDS = 15.0
"""Longer than a node waits for the API (`xml_timeout_seconds`)."""

FAILURES_BEFORE_PAUSE = 2
LOOK_INTERVAL_SECONDS = 2.0

log = logs.get(__name__)


class ApiWatch:
    """Watches whether one node gets answers; `run` works while a lease lasts.

    `is_drained`: whether a drain holds the node, which then is the drain's to pause and resume.
    """

    def __init__(
        self,
        node: str,
        *,
        is_drained: Callable[[], bool],
        answer_timeout_seconds: float,
        look_interval_seconds: float = LOOK_INTERVAL_SECONDS,
    ) -> None:
        self._node = node
        self._is_drained = is_drained
        self._timeout_seconds = answer_timeout_seconds
        self._look_interval_seconds = look_interval_seconds
        self._failures = 0
        self._answered_seconds: float | None = None
        self._unanswered_from_seconds: float | None = None
        self.holds = False
        """Whether the node is paused because it gets no answers."""

    def answers(self, *, patience_seconds: float) -> Answers:
        """What is known of the node's answers now. Only an answer ends a time without, whoever holds the node."""
        now = time.monotonic()
        answered, unanswered_from = self._answered_seconds, self._unanswered_from_seconds
        return Answers(
            answered_seconds_ago=None if answered is None else now - answered,
            unanswered_seconds=None if unanswered_from is None else now - unanswered_from,
            patience_seconds=patience_seconds,
        )

    async def recall(self, connection: EslConnection) -> None:
        """Learn from the node whether it was paused for this. Raises `EslError`."""
        self.holds = await self._is_marked(connection)
        if self.holds and self._unanswered_from_seconds is None:
            self._unanswered_from_seconds = time.monotonic()

    async def run(self, link: EslLink) -> None:
        """Watch until cancelled; a node that is away is waited for."""
        while True:
            try:
                await self.look(link.connection)
            except EslConnectionLost:
                self._failures = 0
            except EslError as error:
                log.warning("api_watch.interrupted", node=self._node, reason=f"{type(error).__name__}: {error}"[:300])
            await asyncio.sleep(self._look_interval_seconds)

    async def look(self, connection: EslConnection) -> None:
        """Have the node ask once, and pause or resume it. Raises `EslError`."""
        asked_seconds = time.monotonic()
        is_answered = await self._is_answered(connection)
        self._note(asked_seconds, is_answered=is_answered)
        is_marked = await self._is_marked(connection)
        if self._is_drained():
            if is_marked:
                await self._mark(connection, is_away=False)
            self.holds = False
        elif is_answered:
            if is_marked:
                await self._api(connection, "fsctl resume inbound")
                await self._mark(connection, is_away=False)
                log.info("node.api_back", node=self._node)
            self.holds = False
        elif is_marked or self._failures >= FAILURES_BEFORE_PAUSE:
            if not is_marked and await self._is_paused(connection):
                return  # somebody else's pause, and theirs to end
            self.holds = True
            if not is_marked:
                # Marked first: a pause without its mark would stay.
                await self._mark(connection, is_away=True)
                log.error("node.api_away", node=self._node)
            await self._api(connection, "fsctl pause inbound")

    def _note(self, asked_seconds: float, *, is_answered: bool) -> None:
        self._failures = 0 if is_answered else self._failures + 1
        if is_answered:
            self._answered_seconds, self._unanswered_from_seconds = asked_seconds, None
        elif self._failures >= FAILURES_BEFORE_PAUSE and self._unanswered_from_seconds is None:
            self._unanswered_from_seconds = time.monotonic()

    async def _is_answered(self, connection: EslConnection) -> bool:
        # By `bgapi`: while the node waits for the API, no probe of its life waits.
        try:
            return HEALTH_FILE in await connection.bgapi(QUESTION, timeout_seconds=QUESTION_TIMEOUT_SECONDS)
        except EslCommandRefused:
            return False

    async def _is_marked(self, connection: EslConnection) -> bool:
        try:
            return (await self._api(connection, f"global_getvar {MARK}")).strip() == "true"
        except EslCommandRefused:
            return False

    async def _is_paused(self, connection: EslConnection) -> bool:
        return (await self._api(connection, "fsctl pause_check inbound")).strip() == "true"

    async def _mark(self, connection: EslConnection, *, is_away: bool) -> None:
        await self._api(connection, f"global_setvar {MARK}={'true' if is_away else 'false'}")

    async def _api(self, connection: EslConnection, command: str) -> str:
        return await connection.api(command, timeout_seconds=self._timeout_seconds)
