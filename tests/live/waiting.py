"""Waiting for what happens in other processes: look again until it is so, never longer than a limit."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

LOOK_EVERY_SECONDS = 0.05
Seen = TypeVar("Seen")


class WaitedInVain(AssertionError):
    """Something did not become so within its limit."""


async def until(look: Callable[[], Awaitable[Seen | None]], what: str, *, limit_seconds: float) -> Seen:
    """The first answer of `look` that is neither None nor false nor empty. Raises `WaitedInVain`."""
    began = time.monotonic()
    while True:
        seen = await look()
        if seen:
            return seen
        if time.monotonic() - began > limit_seconds:
            raise WaitedInVain(f"waited {limit_seconds:g} s in vain for {what}; last seen: {seen!r}")
        await asyncio.sleep(LOOK_EVERY_SECONDS)


def until_now(look: Callable[[], object], what: str, *, limit_seconds: float) -> None:
    """The same where nothing asynchronous runs."""
    began = time.monotonic()
    while not look():
        if time.monotonic() - began > limit_seconds:
            raise WaitedInVain(f"waited {limit_seconds:g} s in vain for {what}")
        time.sleep(LOOK_EVERY_SECONDS)
