"""What a node says of itself over its event socket, every question within a time limit."""

from __future__ import annotations

import asyncio
import ipaddress
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from infra.kit import clock
from infra.kit.sealing import Seal
from switch.commands import NodeStatus, read_status
from switch.documents.answers import HEALTH_FILE
from switch.documents.directory import INTERNAL_PROFILE
from switch.documents.files import API_URL, MODULES
from switch.documents.settings import Gateway
from switch.esl.client import EslConnection
from switch.esl.errors import EslCommandRefused, EslError, EslTimeout
from switch.gateway_keeper import read_gateways
from switch.listening import Socket, read_sockets
from switch.models import Node

WHOLE_LIMIT_SECONDS = 15.0
SHOWN_CHARACTERS = 300

_MAX_SESSIONS = re.compile(r"^(?P<limit>\d{1,9}) session\(s\) max$", re.MULTILINE)
_SESSIONS_PER_SECOND = re.compile(r"per Sec out of max (?P<limit>\d{1,9})\b")
_PROFILE = re.compile(r"^\s*(?P<name>\S+)\s+profile\s+\S+\s+(?P<state>\S+)", re.MULTILINE)
_GATEWAY = re.compile(r"^\s*\S+?::(?P<name>\S+)\s+gateway\s+\S+\s+(?P<state>\S+)", re.MULTILINE)
_TLS_PORT = re.compile(r"^TLS-BIND-URL\s+sips?:\S*?:(?P<port>\d{1,5})(?:;|\s|$)", re.MULTILINE)


@dataclass(slots=True)
class NodeReading:
    """The answers of one node; what was not answered is None or missing.

    `unreachable`: why there is no connection. `unanswered`: the question that was not answered in time, after which
    none was asked. `slowest_answer_seconds`: of the plain questions. `skew_seconds`: its clock minus the real one of
    this machine; `travelled_seconds`: how far ahead of that our own clock was then (0 but in a demo). `sockets`: where
    each profile takes SIP. `api_url`: where it asks the API, '' where its files do not say so. `api_seconds`: how long
    it took to ask the API; `asks_api`: whether an answer came from there. `gateways_up`: by gateway, whether it is up
    by OPTIONS or was never asked. `admits_gateways`: by gateway, whether each network that it calls from may call in.
    """

    unreachable: str | None = None
    unanswered: str | None = None
    slowest_answer_seconds: float = 0.0
    name: str | None = None
    status: NodeStatus | None = None
    max_sessions: int | None = None
    sessions_per_second: int | None = None
    skew_seconds: float | None = None
    travelled_seconds: float = 0.0
    modules: Mapping[str, bool] = field(default_factory=dict[str, bool])
    profiles: Mapping[str, str] = field(default_factory=dict[str, str])
    sockets: Mapping[str, Socket] = field(default_factory=dict[str, Socket])
    gateways: Mapping[str, str] = field(default_factory=dict[str, str])
    gateways_up: Mapping[str, bool] = field(default_factory=dict[str, bool])
    admits_gateways: Mapping[str, bool] = field(default_factory=dict[str, bool])
    sip_tls_port: int | None = None
    api_url: str = ""
    asks_api: bool | None = None
    api_seconds: float | None = None


class _Unanswered(Exception):
    """A question was not answered in time; its words are the argument."""


async def read_node(node: Node, gateways: Sequence[Gateway], seal: Seal, *, timeout_seconds: float) -> NodeReading:
    """Ask a node everything; never raises for what the node does, and never takes longer than `WHOLE_LIMIT_SECONDS`.

    `timeout_seconds`: for each question.
    """
    reading = NodeReading()
    try:
        async with asyncio.timeout(WHOLE_LIMIT_SECONDS):
            connection = await EslConnection.open(
                node.esl_host,
                node.esl_port,
                seal.open(node.sealed_esl_password),
                timeout_seconds=timeout_seconds,
            )
            async with connection:
                await _Questions(connection, reading, timeout_seconds).ask(gateways)
    except _Unanswered as silence:
        reading.unanswered = str(silence)
    except EslError as error:
        reading.unreachable = str(error)[:SHOWN_CHARACTERS]
    except TimeoutError:
        reading.unanswered = f"everything within {WHOLE_LIMIT_SECONDS:g} s"
    return reading


@dataclass(slots=True)
class _Questions:
    connection: EslConnection
    reading: NodeReading
    timeout_seconds: float

    async def ask(self, gateways: Sequence[Gateway]) -> None:
        reading = self.reading
        reading.name = (await self._answer("switchname")).strip()
        status = await self._answer("status")
        reading.status = read_status(status)
        reading.max_sessions = _number(_MAX_SESSIONS, status)
        reading.sessions_per_second = _number(_SESSIONS_PER_SECOND, status)
        await self._compare_clocks()
        reading.modules = {module: await self._answer(f"module_exists {module}") == "true" for module in MODULES}
        overview = await self._answer("sofia status")
        reading.profiles = {found["name"]: found["state"] for found in _PROFILE.finditer(overview)}
        reading.sockets = read_sockets(overview)
        reading.gateways = {found["name"]: found["state"] for found in _GATEWAY.finditer(overview)}
        listed = read_gateways(await self._answer("sofia xmlstatus gateway")) or {}
        reading.gateways_up = {name: each.is_up for name, each in listed.items()}
        reading.sip_tls_port = _number(
            _TLS_PORT, await self._answer(f"sofia status profile {INTERNAL_PROFILE}"), "port"
        )
        reading.api_url = (await self._answer(f"global_getvar {API_URL}")).strip()[:SHOWN_CHARACTERS]
        reading.admits_gateways = {gateway.name: await self._admits(gateway) for gateway in gateways}
        await self._have_it_ask_the_api()

    async def _answer(self, command: str) -> str:
        """The node's words; a refusal counts as none. Raises `_Unanswered`, `EslError`."""
        began = time.monotonic()
        try:
            answer = await self.connection.api(command, timeout_seconds=self.timeout_seconds)
        except EslCommandRefused:
            answer = ""
        except EslTimeout as error:
            raise _Unanswered(f"{command!r} within {self.timeout_seconds:g} s") from error
        self.reading.slowest_answer_seconds = max(self.reading.slowest_answer_seconds, time.monotonic() - began)
        return answer

    async def _compare_clocks(self) -> None:
        """The node's clock against the real one of this machine, at the middle of the question."""
        self.reading.travelled_seconds = clock.offset_seconds()
        asked_at = clock.real_now()
        text = (await self._answer("strmicroepoch")).strip()
        answered_at = clock.real_now()
        if text.isascii() and text.isdigit() and len(text) <= 17:
            told = datetime.fromtimestamp(int(text) / 1_000_000, UTC)
            self.reading.skew_seconds = (told - (asked_at + (answered_at - asked_at) / 2)).total_seconds()

    async def _admits(self, gateway: Gateway) -> bool:
        for network in gateway.networks:
            address = ipaddress.ip_network(network)[0]
            if (await self._answer(f"acl {address} gateways")).strip() != "true":
                return False
        return True

    async def _have_it_ask_the_api(self) -> None:
        """A configuration file that only the API answers, asked for by the node with its own address and secret."""
        began = time.monotonic()
        slowest = self.reading.slowest_answer_seconds
        answer = await self._answer(f"xml_locate configuration configuration name {HEALTH_FILE}")
        # This answer is as slow as the API, which is told apart from the node itself.
        self.reading.slowest_answer_seconds = slowest
        self.reading.api_seconds = time.monotonic() - began
        self.reading.asks_api = HEALTH_FILE in answer


def _number(pattern: re.Pattern[str], text: str, group: str = "limit") -> int | None:
    found = pattern.search(text)
    return int(found[group]) if found is not None else None
