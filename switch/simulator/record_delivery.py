"""Brings call records to where `json_cdr.conf` says: by HTTP with its retries, else into a folder.

Source: `mod_json_cdr.c` (`process_cdr`, `backup_cdr`): the leg waits for the delivery, addresses are
tried in turn, only a 2xx counts, and what could not be posted is written to the first error folder that
takes it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx

from switch.simulator.channel import Channel
from switch.simulator.events import url_encode
from switch.simulator.http import certificate_checks, connecting_anew
from switch.simulator.settings import CallRecordSettings

USER_AGENT = "freeswitch-json/1.0"
MAX_POSTS_AT_ONCE = 64

_log = logging.getLogger(__name__)

Wait = Callable[[float], Awaitable[None]]


class RecordDelivery:
    """Delivers the records of one node; `wait` is called with the seconds between two attempts."""

    def __init__(self, settings: CallRecordSettings, *, wait: Wait = asyncio.sleep) -> None:
        self.settings = settings
        self.posted = 0
        self.written = 0
        self._wait = wait
        self._next_url = 0
        self._gate = asyncio.Semaphore(MAX_POSTS_AT_ONCE)
        self._made: httpx.AsyncClient | None = None

    def wants(self, channel: Channel) -> bool:
        """Whether a record is written for this leg (`log-b-leg`)."""
        return self.settings.log_b_leg or channel.originator is None

    def file_name(self, channel: Channel) -> str:
        """`<uuid>.cdr.json`, with `a_` in front for a leg that called us when `prefix-a-leg` says so."""
        prefix = "a_" if self.settings.prefix_a_leg and channel.originator is None else ""
        return f"{prefix}{channel.uuid}.cdr.json"

    async def deliver(self, channel: Channel, record: bytes) -> None:
        """Bring one record home; returns when it is posted, written, or has nowhere to go."""
        settings = self.settings
        if settings.log_directory is not None and (settings.log_http_and_disk or not settings.urls):
            self._write((settings.log_directory,), self.file_name(channel), record)
        if not settings.urls:
            return
        if await self._post(channel.uuid, record):
            self.posted += 1
        elif settings.log_errors_to_disk:
            self._write(settings.error_directories, self.file_name(channel), record)

    async def _post(self, uuid: str, record: bytes) -> bool:
        settings = self.settings
        body, content_type = record, "application/json"
        if settings.encode_body:
            body = f"cdr={url_encode(record.decode())}".encode()
            content_type = "application/x-www-form-urlencoded"
        for attempt in range(settings.attempts):
            if attempt:
                await self._wait(settings.delay_seconds)
            if await self._post_once(settings.urls[self._next_url], uuid, body, content_type):
                return True
            self._next_url = (self._next_url + 1) % len(settings.urls)
        return False

    async def _post_once(self, url: str, uuid: str, body: bytes, content_type: str) -> bool:
        settings = self.settings
        auth = httpx.BasicAuth(settings.user, settings.password) if settings.user else None
        try:
            async with self._gate:
                response = await self._client().post(
                    f"{url}?uuid={uuid}",
                    content=body,
                    headers={"Content-Type": content_type, "User-Agent": USER_AGENT, "Connection": "close"},
                    auth=auth if auth is not None else httpx.USE_CLIENT_DEFAULT,
                    timeout=settings.timeout_seconds,
                )
        except (httpx.HTTPError, OSError) as error:
            _log.warning("call record %s not accepted by %s: %s", uuid, url, type(error).__name__)
            return False
        if not response.is_success:
            _log.warning("call record %s not accepted by %s: status %d", uuid, url, response.status_code)
        return response.is_success

    def _write(self, directories: tuple[Path, ...], name: str, record: bytes) -> None:
        for directory in directories:
            try:
                directory.mkdir(parents=True, exist_ok=True)
                (directory / name).write_bytes(record + b"\n")
            except OSError as error:
                _log.error("call record %s cannot be written to %s: %s", name, directory, error.strerror)
                continue
            self.written += 1
            return

    def _client(self) -> httpx.AsyncClient:
        """Made when it is needed: an authority's file that cannot be used holds up posts, not the node's start."""
        if self._made is None:
            checks = certificate_checks(self.settings.verify_certificate, self.settings.authority_file)
            self._made = connecting_anew(verify=checks)
        return self._made

    async def close(self) -> None:
        """Close what is open; nothing can be delivered afterwards."""
        if self._made is not None:
            await self._made.aclose()
