"""Supervision of nodes that answer slowly: their state is read back, and their events are read."""

from __future__ import annotations

import asyncio
import json
import uuid
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
import structlog
from sqlalchemy import select

from infra.kit.database import Database, Scope
from infra.kit.sealing import Seal
from infra.kit.settings import Settings
from switch.completeness.models import SeenLeg
from switch.completeness.watching import LEGS_ASKED_AT_ONCE, LegWatch
from switch.esl.client import EslConnection
from switch.esl.errors import EslTimeout
from tests.switch.cluster import add_node, eventually, opened_office, ports_of, simulated_node
from tests.switch.esl.scripted_node import PASSWORD, ScriptedNode, api_response, command_reply, event_plain
from tests.switch.leg_watching import FakeNode, watching_of
from tests.switch.supervision import QUICK, becomes, running

BOOT = str(uuid.uuid4())
STATUS = """UP 0 years
FreeSWITCH (Version 1.11.1 release) is ready
5 session(s) since startup
400 session(s) - peak 400, last 5min 400
"""
ANSWER_SECONDS = 0.005
PATIENT = replace(QUICK, answer_timeout_seconds=1.0, dead_after_seconds=4.0, lease_seconds=10.0)
CALLS = 100


class DistantNode(ScriptedNode):
    """A full node: each answer takes some time, one after another; every call that runs goes from outside to outside,
    and may.
    """

    def __init__(self) -> None:
        super().__init__()
        self.answer_seconds = ANSWER_SECONDS
        legs = [(str(uuid.uuid4()), str(uuid.uuid4())) for _ in range(CALLS)]
        calls = [
            {"uuid": one, "name": "sofia/external/1", "b_uuid": other, "b_name": "sofia/external/2"}
            for one, other in legs
        ]
        channels = [{"uuid": each, "created_epoch": "1"} for pair in legs for each in pair]
        self.lists = {
            "show calls as json": _rows(calls),
            "show channels as json": _rows(channels),
            "sofia status profile internal reg": "Total items returned: 0\n",
            "sofia xmlstatus gateway": "<gateways></gateways>",
        }
        self.answers |= {
            "api status": api_response(STATUS),
            "api global_getvar core_uuid": api_response(BOOT),
        }

    def _answer(self, lines: list[str]) -> bytes | None:
        command = lines[0].partition(" ")[2]
        if lines[0].startswith("bgapi ") and command in self.lists:
            job_id = lines[1].removeprefix("Job-UUID: ")
            told = event_plain("BACKGROUND_JOB", self.lists[command], Job_UUID=job_id)
            return command_reply(f"+OK Job-UUID: {job_id}") + told
        if command.startswith("uuid_getvar "):
            return api_response("7" if command.endswith("session_id") else "true")
        return super()._answer(lines)


def _rows(rows: list[dict[str, str]]) -> str:
    return json.dumps({"row_count": len(rows), "rows": rows})


async def test_a_full_and_distant_nodes_events_are_read(database: Database, settings: Settings) -> None:
    seal, leg = Seal(settings.secret_key), str(uuid.uuid4())
    async with DistantNode() as node:
        row = await add_node(database, seal, "fs-1", esl_port=node.port, state="joining")
        async with database.transaction(Scope.platform()) as session:
            (await session.merge(row)).sealed_esl_password = seal.close(PASSWORD)

        begins = event_plain("CHANNEL_CREATE", Core_UUID=BOOT, Unique_ID=leg, variable_session_id="9")
        begins = begins.replace(b"variable-session-id", b"variable_session_id")

        async def is_seen() -> bool:
            node.send(begins)
            async with database.transaction(Scope.platform()) as session:
                query = select(SeenLeg.session_number).where(SeenLeg.leg_id == leg)
                return (await session.execute(query)).scalar_one_or_none() == 9

        async with running(database, settings, pace=PATIENT):
            await becomes(database, "fs-1", lambda node: node.state == "active")
            await eventually(is_seen)
        questions = len([each for each in node.commands if each.startswith("api uuid_getvar")])
        assert questions * ANSWER_SECONDS > 2 * PATIENT.answer_timeout_seconds, "it takes longer than one answer may"
        assert node.connections == 1


class TiringNode(FakeNode):
    """Answers questions about legs as long as it can."""

    answers_left = 2 * LEGS_ASKED_AT_ONCE

    async def api(self, command: str, *, timeout_seconds: float) -> str:
        """One answer, or none."""
        if command.startswith("uuid_getvar"):
            self.answers_left -= 1
            if self.answers_left < 0:
                raise EslTimeout(command, timeout_seconds)
        return await super().api(command, timeout_seconds=timeout_seconds)


async def test_what_a_slow_node_does_not_say_of_its_legs_keeps_nobody_from_its_events() -> None:
    legs = [str(uuid.uuid4()) for _ in range(3 * LEGS_ASKED_AT_ONCE)]
    watch = await watching_of(TiringNode(listed={leg: str(number) for number, leg in enumerate(legs, 1)}))
    assert watch.dropped == 2 * LEGS_ASKED_AT_ONCE
    news = watch.take()
    assert news is not None
    assert (set(news.begun), news.listed) == (set(legs[:LEGS_ASKED_AT_ONCE]), frozenset(legs))


async def test_a_node_whose_state_cannot_be_read_although_it_answers_is_told_of_once(
    database: Database, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unanswered(watch: LegWatch, connection: EslConnection) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.Event().wait(), QUICK.answer_timeout_seconds)
        raise EslTimeout("show channels as json", QUICK.answer_timeout_seconds)

    monkeypatch.setattr(LegWatch, "begin", unanswered)
    with structlog.testing.capture_logs() as logged:

        async def is_told() -> bool:
            return any(each["event"] == "node.events_unread" for each in logged)

        async with opened_office() as office, simulated_node(tmp_path / "node", office) as simulated:
            await add_node(database, Seal(settings.secret_key), "fs-1", **ports_of(simulated))
            async with running(database, settings):
                await eventually(is_told)
    [told] = [each for each in logged if each["event"] == "node.events_unread"]
    assert (told["log_level"], told["node"]) == ("error", "fs-1")
    assert "show channels" in told["reason"]
