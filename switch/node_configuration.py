"""Writes the complete configuration directory of a node: FreeSWITCH starts from it with no hand edits.

What changes while a node runs (accounts, calls, gateways) is asked for over HTTP (mod_xml_curl); the files
hold what a node needs to start and to stand alone: modules, ports, limits, where call records go, and two
dialplan contexts that work when the API does not answer. There are no static accounts: a failed or empty
answer falls back to these files.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from switch.documents.files import node_files
from switch.documents.settings import Gateway, NodeConfiguration, SettingRefused

__all__ = [
    "DirectoryRefused",
    "Gateway",
    "NodeConfiguration",
    "SettingRefused",
    "all_records_directory",
    "failed_records_directory",
    "write_node_configuration",
]

MARKER = "seatline-node.json"
"""Names the node that a directory belongs to and the files that we wrote into it."""

PRIVATE_FILE_MODE = 0o600
DIRECTORY_MODE = 0o750
_MARKER_MAX_BYTES = 65_536


class DirectoryRefused(Exception):
    """The target directory holds something that we must not overwrite; the message says what and what to do."""

    def __init__(self, directory: Path, problem: str) -> None:
        self.directory = directory
        super().__init__(f"{directory} {problem}; name an empty or new directory, or remove it first")


def failed_records_directory(spool_directory: Path) -> Path:
    """Where a node leaves call records that it could not deliver (`UUID.cdr.json`); FreeSWITCH never reads
    them again.
    """
    return spool_directory / "failed"


def all_records_directory(spool_directory: Path) -> Path:
    """Where a node writes every call record before it posts it. Whoever sweeps the spool deletes what has
    arrived.
    """
    return spool_directory / "all"


def write_node_configuration(settings: NodeConfiguration, directory: Path) -> tuple[Path, ...]:
    """Write or rewrite the configuration of one node; returns the files, `freeswitch.xml` last.

    A directory that exists must be empty or ours, for the same node: raises `DirectoryRefused` otherwise. All texts
    are rendered and stored beside their targets before the first one is replaced, each replacement is atomic, and
    files of an earlier version that are no longer needed are removed. Other files in our directory (logs, databases)
    stay. Every file may be read by its owner alone, since most hold a password: FreeSWITCH must run as that user. It
    writes the whole tree once more to `freeswitch.xml.fsxml` in its log directory, readable by all, so that directory
    must be private or FreeSWITCH started with `umask 077`.
    """
    previous = _files_of_before(settings, directory)
    files = node_files(
        settings,
        failed_records=failed_records_directory(settings.spool_directory),
        all_records=all_records_directory(settings.spool_directory),
    )
    marker = json.dumps({"node": settings.name, "files": sorted(files)}, indent=2) + "\n"
    for spool in (
        failed_records_directory(settings.spool_directory),
        all_records_directory(settings.spool_directory),
    ):
        spool.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
    directory.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
    # The marker goes first: a crash right after it leaves a directory that is known as ours.
    _replace_all(directory, {MARKER: marker} | files)
    for name in previous - files.keys():
        (directory / name).unlink(missing_ok=True)
    return tuple(directory / name for name in files)


def _files_of_before(settings: NodeConfiguration, directory: Path) -> frozenset[str]:
    if not directory.exists():
        return frozenset()
    if not directory.is_dir():
        raise DirectoryRefused(directory, "is not a directory")
    if not any(directory.iterdir()):
        return frozenset()
    marker = directory / MARKER
    if not marker.is_file():
        raise DirectoryRefused(directory, "is not empty and was not written by seatline")
    node, files = _read_marker(marker)
    if node != settings.name:
        raise DirectoryRefused(directory, f"belongs to the node {node!r}, not to {settings.name!r}")
    return frozenset(name for name in files if _is_inside(name))


def _read_marker(marker: Path) -> tuple[str, tuple[str, ...]]:
    try:
        content: object = json.loads(marker.read_bytes()[:_MARKER_MAX_BYTES])
    except ValueError as error:
        raise DirectoryRefused(marker.parent, f"holds an unreadable {MARKER}") from error
    match content:
        case {"node": str(node), "files": list(files)}:
            return node, tuple(name for name in files if isinstance(name, str))
        case _:
            raise DirectoryRefused(marker.parent, f"holds an unreadable {MARKER}")


def _is_inside(name: str) -> bool:
    """A marker that somebody edited must not make us delete files elsewhere."""
    path = Path(name)
    return not path.is_absolute() and ".." not in path.parts


def _replace_all(directory: Path, files: Mapping[str, str]) -> None:
    suffix = f".{secrets.token_hex(4)}.new"
    waiting: list[tuple[Path, Path]] = []
    try:
        for name, text in files.items():
            target = directory / name
            target.parent.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
            temporary = target.with_name(target.name + suffix)
            waiting.append((temporary, target))
            _store(temporary, text)
        for temporary, target in waiting:
            temporary.replace(target)
    finally:
        for temporary, _ in waiting:
            temporary.unlink(missing_ok=True)


def _store(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE_MODE)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
