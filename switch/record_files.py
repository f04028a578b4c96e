"""Call records as files on a node's disk: found and read one by one, so that no file keeps the others.

A file or folder that the disk will not give is named in the log and passed over; it stays where it is.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from infra.kit import logs

FILE_SUFFIX = ".cdr.json"
"""As mod_json_cdr names them: `UUID.cdr.json`."""

TOO_LARGE_SUFFIX = ".too-large"
UNFINISHED_LIMIT_SECONDS = 60.0
"""A file that cannot be read as a record may still be written, until it has lain still for so long."""

log = logs.get(__name__)


def files_below(directory: Path) -> Iterator[Path | None]:
    """Every record's file below a directory, in no order; None for each folder that cannot be looked into."""
    failed: list[OSError] = []
    for folder, _, names in os.walk(directory, onerror=failed.append):
        yield from (Path(folder, name) for name in names if name.endswith(FILE_SUFFIX))
    for error in failed:
        if not isinstance(error, FileNotFoundError):
            cannot_use(Path(error.filename or directory), error)
            yield None


def state_of(path: Path) -> os.stat_result:
    """What the disk says of a file. Raises `OSError`, also for what is no file: reading a pipe would never end."""
    state = path.stat()
    if not stat.S_ISREG(state.st_mode):
        raise OSError(f"{path} is not a file.")
    return state


def is_younger(modified: float, seconds: float) -> bool:
    """Whether a file was written to within so many seconds.

    One from the future was not: its node's clock was ahead then and has been set since, and it would wait for years.
    """
    return abs(time.time() - modified) < seconds


def put_out_of_the_way(path: Path, size_bytes: int) -> None:
    """Rename a file that is larger than a record may be; somebody must look at it. Raises `OSError`."""
    path.rename(path.with_name(path.name + TOO_LARGE_SUFFIX))
    log.warning("call_record.too_large", file=str(path), size_bytes=size_bytes)


def cannot_use(path: Path, error: OSError) -> None:
    """Say which file or folder could not be read, renamed or removed, and why."""
    log.error("call_record.file_unusable", file=str(path), reason=error.strerror or str(error))
