"""Ships a node's call records from its disk to the API: those it could not deliver, and every other one once more.

Runs on the node, which has no access to the database: it signs in at the address and with the secret that the node
itself reports with, read from the node's own configuration. A file is deleted only after the API has answered that its
record is kept; whatever is interrupted is sent again, and a record that arrives twice is stored once. A file that the
disk will not give is left, and keeps no other from being sent.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from xml.etree import ElementTree

import httpx
import msgspec

from infra.kit import logs
from infra.kit.problems import InvalidInput
from switch import record_files

CONFIGURATION_FILE = Path("autoload_configs/json_cdr.conf.xml")
CONFIGURATION_LIMIT_BYTES = 1_000_000
FILES_A_ROUND = 20_000
CONCURRENT_POSTS = 4
POST_TIMEOUT_SECONDS = 10.0
FAILURES_LIMIT = 5
"""So many posts in a row that were not answered, and the rest waits for the next round."""

MIN_AGE_SECONDS = 15.0
"""A younger file may be on its way by the node itself."""

UNAUTHORIZED, TOO_LARGE = 401, 413
log = logs.get(__name__)


class ShippingRefused(InvalidInput):
    """The node's configuration cannot be read, or the API refuses its sign-in: nothing can be shipped until that is
    mended. The files stay."""

    code = "shipping_refused"


@dataclass(frozen=True, slots=True)
class ShippingSettings:
    """Where a node reports to, how it signs in, and the folders its records lie in."""

    url: str
    node: str
    secret: str = field(repr=False)
    folders: tuple[Path, ...]
    certificates: Path | None
    """Who may have signed the API's certificate; None: the authorities of the machine."""


@dataclass(slots=True)
class Shipped:
    """What became of the files of a round: shipped and deleted, left for the next one, or too large and renamed."""

    shipped: int = 0
    left: int = 0
    too_large: int = 0


def read_settings(directory: Path) -> ShippingSettings:
    """From the configuration directory of a node, as `seatline node-config` wrote it. Raises `ShippingRefused`."""
    file = directory / CONFIGURATION_FILE
    try:
        if file.stat().st_size > CONFIGURATION_LIMIT_BYTES:
            raise ShippingRefused(f"{file} is larger than a node's configuration.", field="directory")
        root = ElementTree.fromstring(file.read_bytes())  # noqa: S314 - our own file, of bounded size
    except OSError as error:
        problem = f"{file} cannot be read: {error.strerror}; name a directory that `seatline node-config` wrote."
        raise ShippingRefused(problem, field="directory") from error
    except ElementTree.ParseError as error:
        raise ShippingRefused(f"{file} is no XML: {error}.", field="directory") from error
    values = {param.get("name", ""): param.get("value", "") for param in root.iter("param")}
    node, separator, secret = values.get("cred", "").partition(":")
    missing = [name for name in ("url", "cred", "log-dir", "err-log-dir") if not values.get(name)]
    if missing or not separator:
        raise ShippingRefused(f"{file} lacks {', '.join(missing or ['cred'])}.", field="directory")
    authorities = values.get("ssl-cacert-file")
    return ShippingSettings(
        url=values["url"],
        node=node,
        secret=secret,
        folders=(Path(values["err-log-dir"]), Path(values["log-dir"])),
        certificates=Path(authorities) if authorities else None,
    )


async def ship(
    settings: ShippingSettings,
    *,
    min_age_seconds: float = MIN_AGE_SECONDS,
    transport: httpx.AsyncBaseTransport | None = None,
) -> Shipped:
    """One round: post the oldest files, delete what was kept. May be repeated and run beside itself.

    `transport`: another way than the network, for tests.
    Stops early when the API does not answer. Raises `ShippingRefused` when it refuses the sign-in.
    """
    done = Shipped()
    files, done.left = await asyncio.to_thread(_files, settings.folders, min_age_seconds)
    waiting = iter(files)
    verify = ssl.create_default_context(cafile=settings.certificates) if settings.certificates is not None else True
    async with httpx.AsyncClient(
        auth=(settings.node, settings.secret),
        verify=verify,
        timeout=POST_TIMEOUT_SECONDS,
        trust_env=False,
        transport=transport,
    ) as http:
        round_ = _Round(http, settings, done)
        async with asyncio.TaskGroup() as posting:
            for _ in range(CONCURRENT_POSTS):
                posting.create_task(round_.post_all(waiting))
    done.left += sum(1 for _ in waiting)
    if round_.refused:
        raise ShippingRefused(f"{settings.url} refuses the sign-in of {settings.node}: write its configuration anew.")
    log.info("call_records.shipped", node=settings.node, **asdict(done))
    return done


class _Round:
    """The posts of one round, several at once."""

    def __init__(self, http: httpx.AsyncClient, settings: ShippingSettings, done: Shipped) -> None:
        self.refused = False
        self._http = http
        self._settings = settings
        self._done = done
        self._failures = 0

    async def post_all(self, waiting: Iterator[Path]) -> None:
        """Post one file after another until none waits, or the API does not answer."""
        while not self.refused and self._failures < FAILURES_LIMIT and (path := next(waiting, None)) is not None:
            await self._post(path)

    async def _post(self, path: Path) -> None:
        try:
            body = _read(path)
        except FileNotFoundError:
            return  # another round has taken it
        except OSError as error:
            self._leave(path, error)
            return
        if body is None:
            self._done.left += 1
            return
        try:
            answer = await self._http.post(
                self._settings.url, content=body, headers={"content-type": "application/json"}
            )
        except httpx.HTTPError as error:
            self._fail(path, type(error).__name__)
            return
        if answer.is_success:
            self._failures = 0
            self._delete(path)
        elif answer.status_code == UNAUTHORIZED:
            self.refused = True
            self._done.left += 1
        elif answer.status_code == TOO_LARGE:
            self._put_out_of_the_way(path, len(body))
        else:
            self._fail(path, f"HTTP {answer.status_code}")

    def _delete(self, path: Path) -> None:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            self._leave(path, error)
        else:
            self._done.shipped += 1

    def _put_out_of_the_way(self, path: Path, size_bytes: int) -> None:
        try:
            record_files.put_out_of_the_way(path, size_bytes)
        except FileNotFoundError:
            return  # another round has done it
        except OSError as error:
            self._leave(path, error)
        else:
            self._done.too_large += 1

    def _leave(self, path: Path, error: OSError) -> None:
        record_files.cannot_use(path, error)
        self._done.left += 1

    def _fail(self, path: Path, reason: str) -> None:
        self._failures += 1
        self._done.left += 1
        log.warning("call_record.not_shipped", file=str(path), reason=reason)


def _files(folders: tuple[Path, ...], min_age_seconds: float) -> tuple[list[Path], int]:
    """The files to ship, those that could not be delivered first, the oldest of each folder first; and how many more
    could not even be looked at."""
    found: list[Path] = []
    unusable = 0
    for folder in folders:
        aged: list[tuple[float, Path]] = []
        for path in record_files.files_below(folder):
            if path is None:
                unusable += 1
                continue
            try:
                modified = record_files.state_of(path).st_mtime
            except FileNotFoundError:
                continue
            except OSError as error:
                record_files.cannot_use(path, error)
                unusable += 1
                continue
            if not record_files.is_younger(modified, min_age_seconds):
                aged.append((modified, path))
        found += [path for _, path in sorted(aged)]
    return found[:FILES_A_ROUND], unusable


def _read(path: Path) -> bytes | None:
    """A record's file; None while it may still be written. Raises `OSError`."""
    body = path.read_bytes()
    modified = path.stat().st_mtime
    if _is_unfinished(body) and record_files.is_younger(modified, record_files.UNFINISHED_LIMIT_SECONDS):
        return None
    return body


def _is_unfinished(body: bytes) -> bool:
    """Whether a file may still be written: it is no JSON yet."""
    try:
        msgspec.json.decode(body.decode(errors="replace"), type=msgspec.Raw)
    except (msgspec.MsgspecError, RecursionError):
        return True
    return False
