"""The whole product as processes, as an operator would run it: API, worker, switchd, and two nodes of one switch.

Everything is started by the product's own commands; the nodes run from what `seatline node-config` wrote.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import httpx
from cryptography.fernet import Fernet

from infra.app.commands_switch import TLS_DIRECTORY
from infra.kit import clock
from switch.node_certificates import AUTHORITY_FILE
from switch.node_configuration import all_records_directory, failed_records_directory
from switch.record_shipping import MIN_AGE_SECONDS
from switch.sip.dialog import Address
from tests.live.processes import ProcessOfTest
from tests.live.waiting import until_now
from tests.ports import free_ports

Switch = Literal["simulator", "freeswitch"]
FREESWITCH_PREFIX_VARIABLE = "SEATLINE_FREESWITCH"
LOOPBACK = "127.0.0.1"
COMMAND_LIMIT_SECONDS = 60.0
READY_LIMIT_SECONDS = 60.0
HTTP_LIMIT_SECONDS = 10.0
NODE_SILENCE_SECONDS = 3.0
GATEWAY = "carrier"
RTP_PORTS_A_NODE = 400
FIRST_RTP_PORT = 17_000
NODES = ("node-a", "node-b")

RATE_DECK = (
    "prefix,name,connect_fee,rate_per_minute,first_increment,next_increment,valid_from,valid_to,days,from_time,to_time\n"
    "86,China,0.05,0.60,6,6,2020-01-01,,,,\n"
    "8610,Beijing,,0.30,1,1,2020-01-01,,,,\n"
)


@dataclass(slots=True)
class LiveNode:
    """One node of the cluster: its process, where it listens, and its directory."""

    name: str
    directory: Path
    process: ProcessOfTest
    sip: Address
    external_sip: Address
    sip_tls: Address

    @property
    def authority(self) -> Path:
        """Who vouches for the certificate that it shows to phones over TLS."""
        return self.directory / TLS_DIRECTORY / AUTHORITY_FILE

    @property
    def spool(self) -> Path:
        """Where its call records lie on disk."""
        return self.directory / "spool"

    def failed_records(self) -> list[Path]:
        """Call records that it could not deliver."""
        return sorted(failed_records_directory(self.spool).glob("*.json"))

    def all_records(self) -> list[Path]:
        """Every call record it wrote."""
        return sorted(all_records_directory(self.spool).glob("*.json"))


@dataclass(slots=True)
class LiveSystem:
    """Starts and ends the processes; what goes on inside is seen through the API alone."""

    directory: Path
    database_url: str
    switch: Switch
    silence_seconds: float = NODE_SILENCE_SECONDS
    """After which a node is called dead."""
    nodes: dict[str, LiveNode] = field(default_factory=dict[str, LiveNode], init=False)
    http_port: int = field(init=False)
    carrier_port: int = field(init=False)
    api: ProcessOfTest = field(init=False)
    worker: ProcessOfTest = field(init=False)
    switchd: ProcessOfTest = field(init=False)
    operator: tuple[str, str] = field(init=False)
    finance: tuple[str, str] = field(init=False)
    furthest: datetime = field(init=False)
    """The furthest moment that the system has travelled to: what its nodes counted then stays counted then."""
    _secret_key: str = field(init=False)

    def __post_init__(self) -> None:
        self.http_port, self.carrier_port = free_ports(2)
        self.furthest = clock.now()
        self._secret_key = Fernet.generate_key().decode()
        self.api = self._service("api", "serve")
        self.worker = self._service("worker", "worker")
        self.switchd = self._service("switchd", "switchd")

    @property
    def url(self) -> str:
        """Where the API answers."""
        return f"http://{LOOPBACK}:{self.http_port}"

    @property
    def is_real(self) -> bool:
        """Whether the nodes are FreeSWITCH itself."""
        return self.switch == "freeswitch"

    @property
    def environment(self) -> dict[str, str]:
        """The environment of every process."""
        inherited: Mapping[str, str] = {
            name: value
            for name, value in os.environ.items()
            # Many processes start from the same code: they may keep what they compile.
            if not name.startswith("SEATLINE_") and name != "PYTHONDONTWRITEBYTECODE"
        }
        return {
            **inherited,
            "SEATLINE_DATABASE_URL": self.database_url,
            "SEATLINE_DATA_DIRECTORY": str(self.directory / "data"),
            "SEATLINE_CLOCK_FILE": str(self.directory / "clock"),
            "SEATLINE_SECRET_KEY": self._secret_key,
            "SEATLINE_HTTP_HOST": LOOPBACK,
            "SEATLINE_HTTP_PORT": str(self.http_port),
            "SEATLINE_NODE_HEARTBEAT_TIMEOUT_SECONDS": str(self.silence_seconds),
            "PYTHONUNBUFFERED": "1",
        }

    def start(self) -> None:
        """Start everything and return when both nodes are active."""
        self.directory.mkdir(parents=True, exist_ok=True)
        with ThreadPoolExecutor() as pool:
            creating = pool.submit(self._create_client, "platform_operator")
            for service in (self.api, self.worker, self.switchd):
                service.start()
            self.operator = creating.result()
            self.wait_api()
            self.finance = self._create_client_by_api("finance")
            self._furnish()
            directories = list(pool.map(self._configure, NODES))
        for name, directory in zip(NODES, directories, strict=True):
            self.nodes[name].directory = directory
            self.nodes[name].process.start()
        for name in NODES:
            self.wait_node(name, "active")

    def stop(self) -> None:
        """End everything, the nodes first so that their last records find the API."""
        running = [*(node.process for node in self.nodes.values()), self.switchd, self.worker, self.api]
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda process: process.stop(), running[: len(self.nodes)]))
            list(pool.map(lambda process: process.stop(), running[len(self.nodes) :]))

    def seatline(self, *arguments: str) -> str:
        """Run a command of the product to its end and return what it printed."""
        done = subprocess.run(  # noqa: S603 - our own command
            [sys.executable, "-m", "infra.app.cli", *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=COMMAND_LIMIT_SECONDS,
            check=False,
        )
        assert done.returncode == 0, f"seatline {' '.join(arguments)}: {done.stderr}"
        return done.stdout

    def ship(self, node: LiveNode) -> None:
        """Run a node's shipper; files that it would leave to the next round count as written a while ago."""
        for path in (*node.failed_records(), *node.all_records()):
            written = path.stat().st_mtime - 2 * MIN_AGE_SECONDS
            os.utime(path, (written, written))
        assert " 0 left" in self.seatline("cdr", "ship", str(node.directory))

    def travel_to(self, moment: datetime | None) -> None:
        """Move every process of the system in time; None brings them back to the present."""
        if moment is not None:
            self.furthest = max(self.furthest, moment)
        clock.share(self.directory / "clock")
        try:
            if moment is None:
                clock.set_offset_seconds(0)
            else:
                clock.travel_to(moment)
        finally:
            clock.stop_sharing()

    def wait_api(self) -> None:
        """Wait until the API answers."""
        with httpx.Client(base_url=self.url, trust_env=False) as http:

            def answers() -> bool:
                self.api.check()
                try:
                    return http.get("/schema/openapi.json").is_success
                except httpx.TransportError:
                    return False

            until_now(answers, "the API answers", limit_seconds=READY_LIMIT_SECONDS)

    def wait_node(self, name: str, state: str) -> None:
        """Wait until the API says that a node is in this state."""
        with self._signed_in(self.operator) as http:

            def is_so() -> bool:
                for service in (self.api, self.worker, self.switchd):
                    service.check()
                if state == "active":
                    self.nodes[name].process.check()
                items: list[dict[str, Any]] = http.get("/v1/nodes").raise_for_status().json()["items"]
                return any(item["name"] == name and item["state"] == state for item in items)

            until_now(is_so, f"the node {name} is {state}", limit_seconds=READY_LIMIT_SECONDS)

    def _service(self, name: str, command: str) -> ProcessOfTest:
        log = self.directory / "logs" / f"{name}.log"
        return ProcessOfTest(name, [sys.executable, "-m", "infra.app.cli", command], self.environment, log)

    def _create_client(self, role: str) -> tuple[str, str]:
        printed = self.seatline("client-create", "--name", role, "--role", role).split()
        return printed[printed.index("client_id") + 1], printed[printed.index("client_secret") + 1]

    def _create_client_by_api(self, role: str) -> tuple[str, str]:
        with self._signed_in(self.operator) as http:
            made = http.post("/v1/clients", json={"name": role, "role": role}).raise_for_status().json()
            return made["client_id"], made["client_secret"]

    @contextmanager
    def _signed_in(self, client: tuple[str, str]) -> Generator[httpx.Client]:
        with httpx.Client(base_url=self.url, trust_env=False, timeout=HTTP_LIMIT_SECONDS) as http:
            answer = http.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=client)
            http.headers["authorization"] = f"Bearer {answer.raise_for_status().json()['access_token']}"
            yield http

    def _furnish(self) -> None:
        """Two nodes, one carrier and a default rate deck."""
        with self._signed_in(self.operator) as http:
            http.post(
                "/v1/rate-decks",
                params={"name": "standard", "default": "true"},
                content=RATE_DECK.encode(),
                headers={"content-type": "text/csv"},
            ).raise_for_status()
            # Its carrier is there during tests only and would be down in between: nodes do not ask.
            carrier = {"name": GATEWAY, "host": LOOPBACK, "port": self.carrier_port, "check_seconds": None}
            http.post("/v1/gateways", json=carrier).raise_for_status()
            for index, name in enumerate(NODES):
                sip_port, external_sip_port, esl_port, sip_tls_port = free_ports(4)
                first_rtp_port = FIRST_RTP_PORT + index * RTP_PORTS_A_NODE
                body = {
                    "name": name,
                    "sip_host": LOOPBACK,
                    "sip_port": sip_port,
                    "external_sip_port": external_sip_port,
                    "esl_host": LOOPBACK,
                    "esl_port": esl_port,
                    "rtp_start_port": first_rtp_port,
                    "rtp_end_port": first_rtp_port + RTP_PORTS_A_NODE - 2,
                }
                http.post("/v1/nodes", json=body).raise_for_status()
                directory = self.directory / "nodes" / name
                self.nodes[name] = LiveNode(
                    name,
                    directory,
                    self._node_process(name, directory),
                    sip=(LOOPBACK, sip_port),
                    external_sip=(LOOPBACK, external_sip_port),
                    sip_tls=(LOOPBACK, sip_tls_port),
                )

    def _configure(self, name: str) -> Path:
        directory = self.directory / "nodes" / name / "conf"
        return self.configure(name, directory)

    def configure(self, name: str, directory: Path, *more: str) -> Path:
        """Write a node's configuration directory, with a self-made certificate for phones, and return it."""
        port = str(self.nodes[name].sip_tls[1])
        self.seatline("node-config", name, "--out", str(directory), "--sip-tls-port", port, *more)
        return directory

    def start_from(self, name: str, configuration: Path) -> None:
        """Start a node that does not run from another configuration directory."""
        node = self.nodes[name]
        node.directory = configuration
        node.process = self._node_process(name, configuration.parent)
        node.process.start()

    def _node_process(self, name: str, directory: Path) -> ProcessOfTest:
        log = self.directory / "logs" / f"{name}.log"
        configuration = directory / "conf"
        if not self.is_real:
            command = [sys.executable, "-m", "infra.app.cli", "simulate", str(configuration)]
            return ProcessOfTest(name, command, self.environment, log)
        command = [str(freeswitch_program()), "-nonat", "-nf", "-nc", "-conf", str(configuration)]
        for option in ("log", "db", "run", "storage", "recordings"):
            (directory / option).mkdir(parents=True, exist_ok=True)
            command += [f"-{option}", str(directory / option)]
        return ProcessOfTest(name, command, self.environment, log)


def freeswitch_program() -> Path:
    """The installed FreeSWITCH that SEATLINE_FREESWITCH (its prefix) names."""
    prefix = os.environ.get(FREESWITCH_PREFIX_VARIABLE, "")
    program = Path(prefix) / "bin" / "freeswitch"
    assert prefix and program.is_file(), f"set {FREESWITCH_PREFIX_VARIABLE} to the prefix of an installed FreeSWITCH"
    return program
