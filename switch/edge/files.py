"""An edge's files on its disk, replaced one by one, and a running Kamailio told to read them again."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path

from infra.kit import logs
from switch.edge import documents
from switch.edge.edges import EdgeMap

PROGRAM = "kamcmd"
RELOAD_LIMIT_SECONDS = 5.0
FILE_MODE = 0o640
DIRECTORY_MODE = 0o750

MAP_PATH = f"{documents.MAP_DIRECTORY}/{documents.MAP_FILE}"
RELOADS: Mapping[str, tuple[str, ...]] = {
    # Nodes first: a map that names a set which is not known yet would send its tenants nowhere.
    documents.NODES_FILE: ("dispatcher.reload",),
    MAP_PATH: ("htable.reload", "domains"),
}
"""What a running Kamailio is told when one of these files has changed; in this order."""

log = logs.get(__name__)


def map_files(known: EdgeMap) -> dict[str, str]:
    """The files that follow the placement, by their path below the edge's directory."""
    return {
        documents.NODES_FILE: documents.nodes_file(known.nodes),
        MAP_PATH: documents.map_file(known.domains, known.nodes),
    }


def write(directory: Path, texts: Mapping[str, str]) -> list[str]:
    """Replace those files that differ, each at once; their names. Raises `OSError`.

    Each is a whole second newer than the one before it: Kamailio's db_text reads a table again only when its file's
    time, in seconds, has grown (`dbt_check_mtime`), so a second change within a second would never be seen.
    """
    changed: list[str] = []
    for name, text in texts.items():
        target = directory / name
        written_at = int(time.time())  # of the file system, whatever the installation's clock says
        if target.is_file():
            if target.read_text() == text:
                continue
            written_at = max(written_at, int(target.stat().st_mtime) + 1)
        target.parent.mkdir(parents=True, exist_ok=True, mode=DIRECTORY_MODE)
        beside = target.with_name(f".{target.name}.new")
        beside.write_text(text)
        beside.chmod(FILE_MODE)
        os.utime(beside, (written_at, written_at))
        beside.replace(target)
        changed.append(name)
    return changed


async def reload(directory: Path, name: str) -> bool:
    """Have the Kamailio that runs from this directory read one of its files again; whether it did.

    It runs in the directory's own control socket; where it does not run there is nothing to tell.
    """
    socket = directory / documents.CONTROL_SOCKET
    program = shutil.which(PROGRAM)
    if program is None or not socket.is_socket():
        return False
    process = await asyncio.create_subprocess_exec(
        program,
        "-s",
        f"unix:{socket}",
        *RELOADS[name],
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(RELOAD_LIMIT_SECONDS):
            output, _ = await process.communicate()
    except TimeoutError:
        output = b"no answer in time"
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0 or b"error" in output.lower():
        log.warning("edge.not_reloaded", file=name, said=output.decode(errors="replace").strip())
        return False
    return True
