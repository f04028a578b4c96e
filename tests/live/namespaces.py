"""Network namespaces of a test: hosts of their own with cables between them, gone with the test."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

TOOLS = ("ip", "wg", "wireguard-go", "nft")
COMMAND_TIMEOUT_SECONDS = 20.0

FORWARD = """
import asyncio, sys
async def copy(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()
async def serve(reader, writer):
    there = await asyncio.open_unix_connection(sys.argv[2])
    await asyncio.gather(copy(reader, there[1]), copy(there[0], writer), return_exceptions=True)
async def main():
    async with await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1])) as server:
        await server.serve_forever()
asyncio.run(main())
"""


class NamespaceFailed(AssertionError):
    """A command in a namespace failed; what it said is in the text."""


def why_not() -> str | None:
    """Why this machine cannot run such tests; None: it can."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        return f"needs {', '.join(missing)}"
    if os.geteuid() != 0 or not Path("/dev/net/tun").exists():
        return "needs root and /dev/net/tun"
    probe = f"seatline-{uuid.uuid4().hex[:8]}"
    if _run("ip", "netns", "add", probe).returncode != 0:
        return "this machine makes no network namespaces"
    _run("ip", "netns", "del", probe)
    return None


class Host:
    """A namespace that plays a host."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._processes: list[subprocess.Popen[bytes]] = []

    @property
    def inside(self) -> list[str]:
        """What stands before a command that is to run on this host."""
        return ["ip", "netns", "exec", self.name]

    def does(self, *command: str, text: str = "") -> str:
        """Run a command here; what it prints. Raises `NamespaceFailed`."""
        done = _run(*self.inside, *command, text=text)
        if done.returncode != 0:
            raise NamespaceFailed(f"{self.name}: {' '.join(command)}: {done.stderr.decode(errors='replace')}")
        return done.stdout.decode()

    def keeps_running(self, *command: str, log: Path | None = None) -> subprocess.Popen[bytes]:
        """Start a program here that ends with the test."""
        with (log or Path(os.devnull)).open("ab") as output:
            process = subprocess.Popen(  # noqa: S603 - the commands are the suite's own
                [*self.inside, *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        self._processes.append(process)
        return process

    def python(self, script: str, *arguments: str) -> str:
        """Run a few lines of Python here; what they print."""
        return self.does(sys.executable, "-c", script, *arguments).strip()

    def listens_for(self, socket: Path, port: int) -> None:
        """Have a port of this host's loopback lead to a Unix socket, which all hosts see."""
        self.keeps_running(sys.executable, "-c", FORWARD, str(port), str(socket))

    def end(self) -> None:
        """End what runs here, and the host itself."""
        for line in _run("ip", "-n", self.name, "-o", "link", "show").stdout.decode().splitlines():
            device = line.split(": ")[1].partition("@")[0]
            if device.startswith("wg"):
                _run("ip", "-n", self.name, "link", "del", device)  # its wireguard-go ends with it, and tidies up
        for process in self._processes:
            process.terminate()
            try:
                process.wait(COMMAND_TIMEOUT_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(COMMAND_TIMEOUT_SECONDS)
        _run("ip", "netns", "del", self.name)


@contextmanager
def hosts(*names: str) -> Generator[list[Host]]:
    """Hosts that know nobody yet."""
    mark = uuid.uuid4().hex[:6]
    made = [Host(f"seatline-{mark}-{name}") for name in names]
    try:
        for host in made:
            done = _run("ip", "netns", "add", host.name)
            if done.returncode != 0:
                raise NamespaceFailed(done.stderr.decode(errors="replace"))
            host.does("ip", "link", "set", "lo", "up")
        yield made
    finally:
        for host in made:
            host.end()


def cable(one: Host, one_address: str, other: Host, other_address: str) -> None:
    """Connect two hosts; addresses with their prefix, such as `10.201.0.1/24`."""
    mark = uuid.uuid4().hex[:8]
    one.does("ip", "link", "add", f"a{mark}", "type", "veth", "peer", "name", f"b{mark}", "netns", other.name)
    for host, device, address in ((one, f"a{mark}", one_address), (other, f"b{mark}", other_address)):
        host.does("ip", "address", "add", address, "dev", device)
        host.does("ip", "link", "set", device, "up")


def _run(*command: str, text: str = "") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(  # noqa: S603 - the commands are the suite's own
        list(command), input=text.encode(), capture_output=True, timeout=COMMAND_TIMEOUT_SECONDS, check=False
    )
