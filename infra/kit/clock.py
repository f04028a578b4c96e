"""The one source of the present moment, so that tests and the demo can travel in time.

Every process of a demo shares its offset through a small memory-mapped file (`SEATLINE_CLOCK_FILE`); a production
installation has no such file and runs on the machine's clock.
"""

from __future__ import annotations

import mmap
import struct
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

LOCAL_ZONE = ZoneInfo("Asia/Shanghai")
"""Leases, invoices and calling months are dated in this zone (clause C5)."""

_OFFSET = struct.Struct("<d")


class _Offset:
    """Seconds between the machine's clock and ours; zero unless somebody travels."""

    seconds: float = 0.0
    shared: mmap.mmap | None = None


_offset = _Offset()


def share(path: Path) -> None:
    """Take the offset from (and write it to) a file that other processes map too; creates it when missing."""
    if not path.exists():
        path.write_bytes(_OFFSET.pack(0.0))
    with path.open("r+b") as file:
        _offset.shared = mmap.mmap(file.fileno(), _OFFSET.size)


def stop_sharing() -> None:
    """Go back to an offset of this process's own."""
    _offset.shared = None


def real_now() -> datetime:
    """The machine's own time, however far the clock has travelled: certificates and other machines know no other."""
    return now() - timedelta(seconds=offset_seconds())


def offset_seconds() -> float:
    """How far ahead of the machine's clock we are."""
    if _offset.shared is not None:
        return float(_OFFSET.unpack(_offset.shared[: _OFFSET.size])[0])
    return _offset.seconds


def set_offset_seconds(seconds: float) -> None:
    """Travel: from now on `now()` is the machine's clock plus this many seconds, in every process that shares it."""
    if _offset.shared is not None:
        _offset.shared[: _OFFSET.size] = _OFFSET.pack(seconds)
    else:
        _offset.seconds = seconds


def travel_to(moment: datetime) -> None:
    """Make `now()` return this moment and go on from there."""
    set_offset_seconds((moment - datetime.now(UTC)).total_seconds())


def now() -> datetime:
    """The present moment, in UTC."""
    return datetime.now(UTC) + timedelta(seconds=offset_seconds())


def today() -> date:
    """The local calendar day (Asia/Shanghai)."""
    return now().astimezone(LOCAL_ZONE).date()


def local_midnight(day: date) -> datetime:
    """The moment a local day begins."""
    return datetime(day.year, day.month, day.day, tzinfo=LOCAL_ZONE)


def local_date(moment: datetime) -> date:
    """The local calendar day of a moment."""
    return moment.astimezone(LOCAL_ZONE).date()
