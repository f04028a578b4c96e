"""What we tell a node, over its event socket. Every command ends as done, refused, not sent, or unknown.

An unknown command may have been carried out: read the state back, or repeat it where repeating does no harm, as with
everything in `clear_tenant`. A node's password is unsealed at the moment of connecting and not kept.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

import msgspec

from infra.kit import ids
from infra.kit.jobs import Runtime
from infra.kit.sealing import Seal
from switch.documents.directory import INTERNAL_PROFILE
from switch.esl.client import EslConnection
from switch.esl.errors import EslArgumentRefused, EslCommandRefused, EslError, EslTooManyCommands
from switch.models import Node

SUSPENSION_CAUSE = "MANAGER_REQUEST"
"""Hang-up cause in the call records of calls that a suspension ended."""

SHOWN_CHARACTERS = 300
Value = TypeVar("Value")
_WORD = re.compile(r"[A-Za-z0-9._:@-]{1,255}", re.ASCII)
_LABEL = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)*", re.ASCII)
_VERSION = re.compile(r"^FreeSWITCH \(Version (?P<version>.*)\) is (?P<readiness>ready|not ready)", re.MULTILINE)
_SESSIONS = re.compile(r"^(?P<count>\d+) session\(s\) - peak", re.MULTILINE)
_STARTED = re.compile(r"^(?P<count>\d{1,12}) session\(s\) since startup", re.MULTILINE)
_REGISTERED = re.compile(r"^User:\s+(?P<address>\S+)", re.MULTILINE)


class Verdict(StrEnum):
    """How a command ended (house, decision 4)."""

    DONE = "done"
    REFUSED = "refused"
    NOT_SENT = "not_sent"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Outcome:
    """A command, how it ended, and FreeSWITCH's words or the reason."""

    command: str
    verdict: Verdict
    text: str

    @property
    def is_done(self) -> bool:
        """Whether it was carried out for certain."""
        return self.verdict is Verdict.DONE


class CommandFailed(Exception):
    """A question to a node got no usable answer; `outcome` says how it ended."""

    def __init__(self, node: str, outcome: Outcome) -> None:
        super().__init__(
            f"{outcome.command!r} on node {node} ended as {outcome.verdict.value}: {outcome.text[:SHOWN_CHARACTERS]}"
        )
        self.node = node
        self.outcome = outcome


class CommandArgumentRefused(ValueError):
    """An argument that cannot stand in a command; an empty one would mean everybody, so none is ever sent."""

    def __init__(self, what: str, value: str) -> None:
        super().__init__(f"{what} {value[:40]!r} cannot stand in a command to a node; expected one plain word")


@dataclass(frozen=True, slots=True)
class TenantService:
    """What commands need to know of a tenant: its id, which its calls carry, and its SIP domain."""

    tenant_id: str
    domain: str


@dataclass(frozen=True, slots=True)
class Clearing:
    """What became of clearing a tenant from one node."""

    registrations: Outcome
    calls: Outcome

    @property
    def is_done(self) -> bool:
        """Whether nothing of the tenant is left there for certain."""
        return self.registrations.is_done and self.calls.is_done


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """What `status` tells: whether the node takes calls, its version, its legs now and since it was started."""

    is_ready: bool
    version: str
    sessions: int
    sessions_since_startup: int | None = None


_COLUMNS = {"leg_id": "uuid", "caller": "cid_num", "destination": "initial_dest", "context": "initial_context"}
"""Not `dest` and `context`: a leg that is sent on through the dialplan shows there where its party went."""


class LiveLeg(msgspec.Struct, frozen=True, rename=_COLUMNS):
    """One live leg, as `show channels` lists it (FreeSWITCH `switch_core_sqldb.c`).

    `destination` and `context` are those that it began with, wherever its party was sent afterwards.
    """

    leg_id: str
    direction: str = ""
    name: str = ""
    callstate: str = ""
    caller: str = ""
    destination: str = ""
    context: str = ""
    created_epoch: str = ""


class _Channels(msgspec.Struct):
    row_count: int
    rows: list[LiveLeg] = []


class _Registration(msgspec.Struct):
    """A row of `show registrations`; without multiple registrations each account has one a node."""

    reg_user: str = ""
    realm: str = ""
    metadata: str | None = None


class _Registrations(msgspec.Struct):
    row_count: int
    rows: list[_Registration] = []


def read_status(text: str) -> NodeStatus | None:
    """The answer of `status`; None when it is none."""
    found, sessions, started = _VERSION.search(text), _SESSIONS.search(text), _STARTED.search(text)
    if found is None:
        return None
    return NodeStatus(
        is_ready=found["readiness"] == "ready",
        version=found["version"].strip(),
        sessions=int(sessions["count"]) if sessions is not None else 0,
        sessions_since_startup=int(started["count"]) if started is not None else None,
    )


def read_channels(text: str) -> tuple[LiveLeg, ...] | None:
    """The answer of `show channels as json`; None when it is none."""
    try:
        return tuple(msgspec.json.decode(text, type=_Channels).rows)
    except msgspec.MsgspecError:
        return None


def read_registrations(text: str, domain: str) -> tuple[str, ...] | None:
    """The `user@domain` of a domain's registrations in `sofia status profile X reg`; None when it is no answer."""
    if "Total items returned:" not in text:
        return None
    addresses = (found["address"] for found in _REGISTERED.finditer(text))
    return tuple(address for address in addresses if address.rpartition("@")[2].lower() == domain)


def read_generations(text: str) -> dict[str, str] | None:
    """`user@domain` to metadata in `show registrations as json`; None when it is no answer."""
    try:
        rows = msgspec.json.decode(text, type=_Registrations).rows
    except msgspec.MsgspecError:
        return None
    return {f"{row.reg_user}@{row.realm.lower()}": row.metadata or "" for row in rows}


def _says_ok(reply: str) -> bool:
    return any(line.startswith("+OK") for line in reply.splitlines())


class NodeControl:
    """Sends commands to nodes. Each call opens one connection, within `timeout_seconds` for each step."""

    def __init__(self, seal: Seal, timeout_seconds: float) -> None:
        self._seal = seal
        self._timeout_seconds = timeout_seconds

    @classmethod
    def of(cls, runtime: Runtime) -> NodeControl:
        """With this process's seal and `Settings.switch_command_timeout_seconds`."""
        return cls(runtime.seal, runtime.settings.switch_command_timeout_seconds)

    async def clear_tenant(self, node: Node, tenant: TenantService) -> Clearing:
        """End what a tenant has on a node: its registrations and its live calls, except emergency calls.

        Emergency calls carry no `seatline_service` and therefore go on (contract rule 7). Harmless when repeated.
        """
        if not ids.is_id("ten", tenant.tenant_id):
            raise CommandArgumentRefused("the tenant id", tenant.tenant_id)
        if _LABEL.fullmatch(tenant.domain) is None:
            raise CommandArgumentRefused("the SIP domain", tenant.domain)
        registrations, calls = await self.run(
            node,
            f"sofia profile {INTERNAL_PROFILE} flush_inbound_reg {tenant.domain}",
            f"hupall {SUSPENSION_CAUSE} seatline_service {tenant.tenant_id}",
        )
        return Clearing(registrations, calls)

    async def hang_up(self, node: Node, leg_id: str, cause: str = "NORMAL_CLEARING") -> Outcome:
        """End one leg; a leg that is gone already is `refused`."""
        return (await self.run(node, f"uuid_kill {_word('the leg', leg_id)} {_word('the cause', cause)}"))[0]

    async def status(self, node: Node) -> NodeStatus:
        """How a node is; raises `CommandFailed`."""
        return await self._ask(node, "status", read_status)

    async def live_calls(self, node: Node) -> tuple[LiveLeg, ...]:
        """Every leg on a node, also those whose call record is on its way; raises `CommandFailed`."""
        return await self._ask(node, "show channels as json", read_channels)

    async def registrations(self, node: Node, domain: str) -> tuple[str, ...]:
        """The `user@domain` registered at a node, as mod_sofia itself has them; raises `CommandFailed`.

        `show registrations` lags behind after a flush and is not asked.
        """
        # `reg` takes no domain: what follows it is looked for in the contacts (mod_sofia.c, `contact like`).
        command = f"sofia status profile {INTERNAL_PROFILE} reg"
        return await self._ask(node, command, lambda text: read_registrations(text, domain))

    async def registered_as(self, node: Node) -> dict[str, str]:
        """`user@domain` to the generation of the account that it last registered with; raises `CommandFailed`.

        '' where the node was told none. What is registered just now may be missing still, and what was flushed stays
        in the list until its time is over or its phone registers anew (`switch_core_sqldb.c`).
        """
        return await self._ask(node, "show registrations as json", read_generations)

    async def user_exists(self, node: Node, user: str, domain: str) -> bool:
        """Whether a node finds an account when it asks the directory now; raises `CommandFailed`."""
        command = f"user_exists id {_word('the user', user)} {_word('the SIP domain', domain)}"
        answers = {"true": True, "false": False}
        return await self._ask(node, command, lambda text: answers.get(text.strip()))

    async def run(self, node: Node, *commands: str) -> tuple[Outcome, ...]:
        """Send commands that FreeSWITCH acknowledges with +OK, one after another on one connection.

        One that is refused does not stop the next; after one whose end is unknown nothing more is sent.
        """
        outcomes: list[Outcome] = []
        try:
            connection = await self._connect(node)
        except EslError as error:
            return tuple(Outcome(command, Verdict.NOT_SENT, str(error)) for command in commands)
        async with connection:
            for command in commands:
                if outcomes and outcomes[-1].verdict is Verdict.UNKNOWN:
                    outcomes.append(Outcome(command, Verdict.NOT_SENT, "the command before it did not end"))
                    continue
                outcome = await self._send(connection, command)
                if outcome.is_done and not _says_ok(outcome.text):
                    outcome = Outcome(command, Verdict.REFUSED, outcome.text)
                outcomes.append(outcome)
        return tuple(outcomes)

    async def _ask(self, node: Node, command: str, read: Callable[[str], Value | None]) -> Value:
        try:
            connection = await self._connect(node)
        except EslError as error:
            raise CommandFailed(node.name, Outcome(command, Verdict.NOT_SENT, str(error))) from error
        async with connection:
            outcome = await self._send(connection, command)
        value = read(outcome.text) if outcome.is_done else None
        if value is None:
            verdict = Verdict.REFUSED if outcome.is_done else outcome.verdict
            raise CommandFailed(node.name, Outcome(command, verdict, outcome.text))
        return value

    async def _connect(self, node: Node) -> EslConnection:
        return await EslConnection.open(
            node.esl_host,
            node.esl_port,
            self._seal.open(node.sealed_esl_password),
            timeout_seconds=self._timeout_seconds,
        )

    async def _send(self, connection: EslConnection, command: str) -> Outcome:
        if not connection.is_open:
            return Outcome(command, Verdict.NOT_SENT, "the connection broke before the command was sent")
        try:
            text = await connection.api(command, timeout_seconds=self._timeout_seconds)
        except EslCommandRefused as error:
            return Outcome(command, Verdict.REFUSED, error.reply.strip())
        except (EslArgumentRefused, EslTooManyCommands) as error:
            return Outcome(command, Verdict.NOT_SENT, str(error))
        except EslError as error:
            return Outcome(command, Verdict.UNKNOWN, str(error))
        return Outcome(command, Verdict.DONE, text.strip())


def _word(what: str, value: str) -> str:
    if _WORD.fullmatch(value) is None:
        raise CommandArgumentRefused(what, value)
    return value
