"""Files in object storage, encrypted before they leave this process: a folder by default, S3 by a setting.

Each file is sealed by AES-256-GCM under a key derived from the installation's own, with a nonce of its own, and bound
to its tenant and its id: the storage sees neither its content nor may it give one file out for another.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import obstore
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from obstore.exceptions import BaseError
from obstore.store import LocalStore, ObjectStore, S3Store

from infra.kit.problems import Unavailable
from infra.kit.sealing import derived_key
from infra.kit.settings import Settings

FOLDER = "objects"
"""Below the data directory."""

NONCE_BYTES = 12
FORM = b"SLO1"
"""Begins every file, so that another form can follow one day."""

TIMEOUT = timedelta(seconds=20)
"""Of one request to S3; the transaction around it waits no longer."""

RETRIES = 3
RETRIES_FOR = timedelta(seconds=40)
LIST_PAGE_FILES = 1_000
_ABOUT_KEY = "objects"


class ObjectMissing(Exception):
    """The storage has no such file."""


class ObjectSpoiled(Exception):
    """The file is not what was stored there: changed, swapped, or sealed under another key."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a file lies: a collection such as `papers`, its tenant, its id."""

    collection: str
    tenant_id: str
    object_id: str

    @property
    def path(self) -> str:
        """Its path in the storage."""
        return f"{self.collection}/{self.tenant_id}/{self.object_id}"

    @classmethod
    def of_path(cls, path: str) -> Place | None:
        """The place behind a path; None for a file that none of ours lies at."""
        parts = path.split("/")
        return cls(*parts) if len(parts) == 3 and all(parts) else None


class Objects:
    """The object storage of an installation. Every method raises `Unavailable` when the storage is away."""

    def __init__(self, settings: Settings) -> None:
        self._cipher = AESGCM(derived_key(settings.secret_key, _ABOUT_KEY))
        self._settings = settings
        self._folder = None if settings.object_storage_url else Path(settings.data_directory) / FOLDER
        self._store: ObjectStore | None = None

    async def put(self, place: Place, content: bytes) -> None:
        """Store a file; one that lies there is replaced. It is whole or not there."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        sealed = FORM + nonce + self._cipher.encrypt(nonce, content, _bound_to(place))
        try:
            await obstore.put_async(self._opened(), place.path, sealed)
            if self._folder is not None:
                await asyncio.to_thread(_keep_on_disk, self._folder / place.path)
        except (BaseError, OSError) as error:
            raise _away(error) from error

    async def get(self, place: Place) -> bytes:
        """The file as it was stored. Raises `ObjectMissing`, `ObjectSpoiled`."""
        try:
            found = await obstore.get_async(self._opened(), place.path)
            sealed = bytes(await found.bytes_async())
        except FileNotFoundError as error:
            raise ObjectMissing(place.path) from error
        except (BaseError, OSError) as error:
            raise _away(error) from error
        nonce = sealed[len(FORM) : len(FORM) + NONCE_BYTES]
        if not sealed.startswith(FORM) or len(nonce) < NONCE_BYTES:
            raise ObjectSpoiled(place.path)
        try:
            return self._cipher.decrypt(nonce, sealed[len(FORM) + NONCE_BYTES :], _bound_to(place))
        except InvalidTag as error:
            raise ObjectSpoiled(place.path) from error

    async def delete(self, place: Place) -> None:
        """Remove a file; one that is not there is no error."""
        try:
            await obstore.delete_async(self._opened(), place.path)
        except FileNotFoundError:
            return
        except (BaseError, OSError) as error:
            raise _away(error) from error

    async def places(self, collection: str) -> AsyncGenerator[list[Place]]:
        """The files of a collection, page by page; what is not ours is left out."""
        try:
            listed = obstore.list(self._opened(), f"{collection}/", chunk_size=LIST_PAGE_FILES)
            async for page in listed:
                paths = [str(each["path"]) for each in page]
                yield [place for path in paths if (place := Place.of_path(path)) is not None]
        except (BaseError, OSError) as error:
            raise _away(error) from error

    def _opened(self) -> ObjectStore:
        """The storage; opened at first use, because most processes never do."""
        if self._store is None:
            self._store = _bucket(self._settings) if self._folder is None else _folder_store(self._folder)
        return self._store


def _folder_store(folder: Path) -> ObjectStore:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return LocalStore(str(folder))


def _keep_on_disk(path: Path) -> None:
    """Have the disk itself hold a new file and its name: the row that speaks of it outlives a power cut as well."""
    for each in (path, path.parent):
        handle = os.open(each, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _bucket(settings: Settings) -> ObjectStore:
    """The bucket; keys and region come from the `AWS_*` variables."""
    endpoint = settings.object_storage_endpoint
    return S3Store.from_url(
        str(settings.object_storage_url),
        config={} if endpoint is None else {"endpoint": endpoint},
        client_options={"timeout": TIMEOUT, "allow_http": endpoint is not None and urlsplit(endpoint).scheme == "http"},
        retry_config={"max_retries": RETRIES, "retry_timeout": RETRIES_FOR},
    )


def _bound_to(place: Place) -> bytes:
    """What a sealed file is tied to; paths never hold a zero byte."""
    return "\0".join((place.collection, place.tenant_id, place.object_id)).encode()


def _away(error: Exception) -> Unavailable:
    return Unavailable(f"The object storage does not answer ({type(error).__name__}); nothing was changed.")
