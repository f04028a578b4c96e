"""Brings call records home from a node's disk: those it could not deliver, which FreeSWITCH never reads again.

A file is removed only after the commit that stored its record, or set it aside, so a crash in between repeats it and
changes nothing. The folder of all records is swept the same way: what has arrived is known and goes. A file that the
disk will not give keeps no other from being stored (switch/record_files.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import cast

import msgspec
import psycopg
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit import clock, logs
from infra.kit.database import Database, Scope
from infra.kit.problems import InvalidInput, Unavailable
from switch import cdr, cdr_parsing, nodes, record_files, set_aside_records, stray_calls
from switch.cdr import Delivery, Outcome
from switch.cdr_parsing import RecordUnreadable, StrayRefusal
from switch.direct_connections import PlainConnection

BATCH_LIMIT_FILES = 64
UNKNOWN_NODE = "unknown"

log = logs.get(__name__)


@dataclass(slots=True)
class Imported:
    """What became of the files: records stored now, known already, set aside in the database, and files left. `stray`:
    refused calls of nobody's, which are counted (switch/stray_calls.py).

    `unfinished` may still be written, `too_large` were renamed, `unusable` could not be read, renamed or removed:
    somebody must look at them. One that could not be removed counts here besides.
    """

    stored: int = 0
    known: int = 0
    set_aside: int = 0
    stray: int = 0
    unfinished: int = 0
    too_large: int = 0
    unusable: int = 0


class _Origin(msgspec.Struct):
    switchname: str = UNKNOWN_NODE


@dataclass(frozen=True, slots=True)
class _File:
    """A file with its bytes, and its record, that it is a refused call of nobody's, or what is wrong with it."""

    path: Path
    body: bytes = field(repr=False)
    node: str
    record: cdr_parsing.Record | None
    problem: str
    stray: StrayRefusal | None = None


async def import_directory(database: Database, directory: Path, *, file_limit_bytes: int) -> Imported:
    """Store every record below a directory once and remove its file; may be repeated and run beside itself.

    What cannot be read, or belongs to no tenant, or names no node that there is or was, is set aside in the database
    as it came (`set-aside-records`).
    Raises `InvalidInput` when there is no such directory, `Unavailable` when the database is away: what is not stored
    stays.
    """
    done = Imported()
    paths = _files_below(directory, done)
    for first in range(0, len(paths), BATCH_LIMIT_FILES):
        files = list(_read(paths[first : first + BATCH_LIMIT_FILES], file_limit_bytes, done))
        try:
            await _store(database, files, done)
        except psycopg.OperationalError as error:
            raise Unavailable("The database does not answer; the files that are left were not stored.") from error
    log.info("call_records.imported", directory=str(directory), **asdict(done))
    return done


def _files_below(directory: Path, done: Imported) -> list[Path]:
    if not directory.is_dir():
        raise InvalidInput(f"{directory} is not a directory; name a node's spool.", field="directory")
    found = list(record_files.files_below(directory))
    paths = sorted(path for path in found if path is not None)
    done.unusable += len(found) - len(paths)
    return paths


def _read(paths: Sequence[Path], limit_bytes: int, done: Imported) -> Iterator[_File]:
    now = clock.now()
    for path in paths:
        try:
            state = record_files.state_of(path)
            if state.st_size > limit_bytes:
                record_files.put_out_of_the_way(path, state.st_size)
                done.too_large += 1
                continue
            body = path.read_bytes()
        except FileNotFoundError:
            continue  # another import has taken it
        except OSError as error:
            record_files.cannot_use(path, error)
            done.unusable += 1
            continue
        file = _parse(path, body, now)
        is_young = record_files.is_younger(state.st_mtime, record_files.UNFINISHED_LIMIT_SECONDS)
        if file.record is None and file.stray is None and is_young:
            done.unfinished += 1
            continue
        yield file


def _node(body: bytes) -> str:
    """The node that a record names, where that can be a node's name."""
    try:
        name = msgspec.json.decode(cdr_parsing.plain_body(body), type=_Origin).switchname
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return UNKNOWN_NODE
    return name if name.isprintable() and len(name) <= cdr_parsing.VALUE_LIMIT_CHARACTERS else UNKNOWN_NODE


def _parse(path: Path, body: bytes, now: datetime) -> _File:
    node = _node(body)
    try:
        return _File(path, body, node, cdr_parsing.parse(body, now=now), "")
    except StrayRefusal as stray:
        return _File(path, body, node, None, str(stray), stray)
    except RecordUnreadable as error:
        return _File(path, body, node, None, str(error))


async def _store(database: Database, files: Sequence[_File], done: Imported) -> None:
    """One transaction for a group; where the database refuses it, one by one, so that none fails the others."""
    if not files:
        return
    counted = Imported()
    try:
        async with database.transaction(Scope.platform()) as session:
            await _store_in(session, files, counted)
    except (psycopg.DataError, psycopg.IntegrityError) as error:
        if len(files) > 1:
            for file in files:
                await _store(database, [file], done)
            return
        refused = f"The database refuses the record ({error.sqlstate})."
        async with database.transaction(Scope.platform()) as session:
            await set_aside_records.set_aside(session, files[0].node, files[0].body, refused)
        counted = Imported(set_aside=1)
    done.stored += counted.stored
    done.known += counted.known
    done.stray += counted.stray
    done.set_aside += counted.set_aside
    for file in files:
        try:
            file.path.unlink(missing_ok=True)
        except OSError as error:
            record_files.cannot_use(file.path, error)
            done.unusable += 1


async def _store_in(session: AsyncSession, files: Sequence[_File], counted: Imported) -> None:
    received_at = clock.now()
    readable = [(file, file.record) for file in files if file.record is not None]
    unreadable = [(file, file.problem) for file in files if file.record is None and file.stray is None]
    if readable:
        raw = await (await session.connection()).get_raw_connection()
        deliveries = [
            Delivery(record, file.node, received_at, cdr.deflated(file.body), None) for file, record in readable
        ]
        outcomes = await cdr.store(cast("PlainConnection", raw.driver_connection), deliveries)
        for (file, _), delivery, outcome in zip(readable, deliveries, outcomes, strict=True):
            if outcome is Outcome.STORED:
                counted.stored += 1
            elif outcome is Outcome.KNOWN:
                counted.known += 1
            else:
                unreadable.append((file, cdr.why_not(outcome, delivery)))
    strays = [(file, file.stray) for file in files if file.stray is not None]
    known_nodes = await nodes.known_names(session, {file.node for file, _ in strays}) if strays else frozenset[str]()
    for file, stray in strays:
        if file.node in known_nodes:
            await stray_calls.note(session, file.node, stray)
            counted.stray += 1
        else:
            unreadable.append((file, cdr.no_such_node(file.node)))
    for file, problem in unreadable:
        await set_aside_records.set_aside(session, file.node, file.body, problem)
        counted.set_aside += 1
