"""REGISTER a second through a real FreeSWITCH that asks our directory, against one with the same users as files.

Both nodes run at the same time from what `node-config` writes, and are registered at in turns by sipp. Nothing is
measured where `SEATLINE_FREESWITCH` names no FreeSWITCH or sipp is missing.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from infra.kit.database import Scope
from infra.kit.ids import new_id
from infra.kit.sealing import Seal
from switch import accounts, nodes, placements
from switch.documents.directory import DirectoryUser, directory_user
from switch.esl.client import EslConnection
from switch.esl.errors import EslError
from switch.node_configuration import NodeConfiguration, write_node_configuration
from switch.nodes import NodeDetails
from switch.sip.digest import a1_hash
from tenancy import tenants
from tests.bench.figures import Figure
from tests.bench.load import LoadBroken
from tests.bench.system import System
from tests.live.processes import ProcessOfTest
from tests.live.system import FREESWITCH_PREFIX_VARIABLE, LOOPBACK, free_ports, freeswitch_program
from tests.live.waiting import until

NODE = "bench-switch"
DOMAIN = "registering.example.com"
USERS = 1_000
ROUNDS = 5
REGISTRATIONS_A_ROUND = 1_500
PHONES_AT_ONCE = 32
OFFERED_PER_SECOND = 2_000
"""More than a node takes, so that it is `PHONES_AT_ONCE` that holds sipp back."""

ROUND_LIMIT_SECONDS = 45
READY_LIMIT_SECONDS = 60.0
RTP_PORTS = (29_000, 29_100)
GOAL_RATIO = 0.75
LIMIT_IS = f"the same FreeSWITCH with the same {USERS:,} users in its files, in turns in the same run"
SCENARIO = Path(__file__).parent.parent / "live" / "scenarios" / "register_many.xml"


@dataclass(frozen=True, slots=True)
class User:
    """One phone."""

    extension: str
    password: str
    seat_id: str

    @property
    def line(self) -> str:
        """As sipp reads it."""
        return f"{self.extension};{DOMAIN};[authentication username={self.extension} password={self.password}]"


async def measure(system: System, directory: Path) -> list[Figure]:
    """Ours and the limit, the medians of rounds taken in turns."""
    if not os.environ.get(FREESWITCH_PREFIX_VARIABLE) or shutil.which("sipp") is None:
        return []
    ports = free_ports(7)
    configuration, users = await _furnish(system, ports[:3], directory / "asking" / "spool")
    static = replace(
        configuration,
        sip_port=ports[3],
        external_sip_port=ports[4],
        esl_port=ports[5],
        spool_directory=directory / "static" / "spool",
    )
    write_node_configuration(configuration, directory / "asking" / "conf")
    write_node_configuration(static, directory / "static" / "conf")
    _settle_in_files(directory / "static" / "conf", users)
    (directory / "users.csv").write_text("\n".join(["SEQUENTIAL", *(user.line for user in users)]) + "\n")
    async with _running(configuration, directory / "asking"), _running(static, directory / "static"):
        phones = _Phones(directory / "users.csv", ports[6])
        nodes_in_turn = (configuration.sip_port, static.sip_port)
        for port in nodes_in_turn:
            await phones.register(port, USERS)
        rounds = [[await phones.register(port, REGISTRATIONS_A_ROUND) for port in nodes_in_turn] for _ in range(ROUNDS)]
    ours, limit = (median(per_second) for per_second in zip(*rounds, strict=True))
    return [
        Figure(
            name=f"REGISTER through FreeSWITCH, {USERS:,} users",
            value=ours,
            unit="1/s",
            limit=limit,
            limit_is=LIMIT_IS,
            goal=GOAL_RATIO,
            better="higher",
        )
    ]


async def _furnish(system: System, ports: Sequence[int], spool: Path) -> tuple[NodeConfiguration, list[User]]:
    """A tenant with `USERS` seats on a node of its own."""
    sip_port, external_sip_port, esl_port = ports
    details = NodeDetails(
        name=NODE,
        sip_host=LOOPBACK,
        sip_port=sip_port,
        external_sip_port=external_sip_port,
        rtp_start_port=RTP_PORTS[0],
        rtp_end_port=RTP_PORTS[1],
        esl_host=LOOPBACK,
        esl_port=esl_port,
        capacity_seats=USERS,
    )
    seats = [(new_id("seat"), str(1001 + number)) for number in range(USERS)]
    seal = Seal(system.settings.secret_key)
    async with system.database.transaction(Scope.platform()) as session:
        node = await nodes.create_node(session, seal, details)
        node.state = "active"
        tenant = await tenants.create_tenant(session, name="registering", sip_domain=DOMAIN)
        passwords = await accounts.open_accounts(session, tenant, seats)
        await placements.assign(session, tenant.tenant_id, home_node=NODE, spare_node=None)
        api_url = f"http://{LOOPBACK}:{system.api_port}"
        configuration = nodes.configuration(node, (), seal, api_url=api_url, spool_directory=spool)
    return configuration, [User(extension, passwords[seat_id], seat_id) for seat_id, extension in seats]


def _settle_in_files(configuration: Path, users: Sequence[User]) -> None:
    """Put the users into the files and leave out the module that would ask for them."""
    modules = configuration / "autoload_configs" / "modules.conf.xml"
    kept = [line for line in modules.read_text().splitlines() if "mod_xml_curl" not in line]
    modules.write_text("\n".join(kept) + "\n")
    entries = "\n".join(_entry(user) for user in users)
    top = configuration / "freeswitch.xml"
    empty = '<section name="directory"/>'
    text = top.read_text()
    if empty not in text:
        raise LoadBroken(f"{top} has no empty directory to put users into")
    filled = f'<section name="directory"><domain name="{DOMAIN}"><users>\n{entries}\n</users></domain></section>'
    top.write_text(text.replace(empty, filled))


def _entry(user: User) -> str:
    """The `<user>` that our directory answers, word for word."""
    answered = directory_user(
        DirectoryUser(
            domain=DOMAIN,
            username=user.extension,
            a1_hash=a1_hash(user.extension, DOMAIN, user.password),
            tenant_id="ten_registering",
            seat_id=user.seat_id,
            context="ten_registering",
        )
    )
    return answered[answered.index("<user ") : answered.index("</users>")]


@asynccontextmanager
async def _running(configuration: NodeConfiguration, directory: Path) -> AsyncGenerator[None]:
    command = [str(freeswitch_program()), "-nonat", "-nf", "-nc", "-conf", str(directory / "conf")]
    for option in ("log", "db", "run", "storage", "recordings"):
        (directory / option).mkdir(parents=True, exist_ok=True)
        command += [f"-{option}", str(directory / option)]
    process = ProcessOfTest(directory.name, command, dict(os.environ), directory / "output.log")

    async def answers() -> bool:
        process.check()
        try:
            connection = await EslConnection.open(LOOPBACK, configuration.esl_port, configuration.esl_password)
            async with connection:
                return "internal" in await connection.api("sofia status")
        except EslError:
            return False

    try:
        process.start()
        await until(answers, f"FreeSWITCH {directory.name} answers", limit_seconds=READY_LIMIT_SECONDS)
        yield
    finally:
        await asyncio.to_thread(process.stop)


@dataclass(frozen=True, slots=True)
class _Phones:
    """sipp, as many phones that register one after another."""

    users: Path
    port: int

    async def register(self, server_port: int, count: int) -> float:
        """Register `count` times; how many a second. Raises `LoadBroken` unless every one was accepted."""
        began = time.monotonic()
        process = await asyncio.create_subprocess_exec(
            "sipp", "-sf", str(SCENARIO), "-inf", str(self.users), "-i", LOOPBACK, "-p", str(self.port),
            "-m", str(count), "-l", str(PHONES_AT_ONCE), "-r", str(OFFERED_PER_SECOND), "-nostdin", "-aa",
            "-timeout", f"{ROUND_LIMIT_SECONDS}s", "-timeout_error", f"{LOOPBACK}:{server_port}",
            cwd=self.users.parent,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        try:
            async with asyncio.timeout(ROUND_LIMIT_SECONDS + 5):
                status = await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if status != 0:
            raise LoadBroken(f"sipp ended with {status}: not every one of {count} registrations was accepted")
        return count / (time.monotonic() - began)
