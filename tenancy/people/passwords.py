"""Passwords: argon2id (RFC 9106), hashed beside the event loop, and what a new one must be."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from typing import TypeVar

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError

from tenancy.people.errors import PasswordRefused, SignInsBusy

MEMORY_KIB, PASSES, LANES = 64 * 1024, 3, 4
"""RFC 9106, section 4, the second recommended choice: 64 MiB, three passes, four lanes."""
HASH_BYTES, SALT_BYTES = 32, 16
AT_ONCE = 2
"""Hashes computed at the same time in one process: at most 128 MiB, and eight lanes at work."""
LINE_LIMIT = 40
"""Hashes computed or waiting in one process, some seconds of work; whoever comes then is to come again."""
POLITENESS = 10
"""How much the hashing steps back (`nice`): the same process answers nodes that ask whether a phone may call."""
SHORTEST_CHARACTERS, LONGEST_CHARACTERS = 12, 200
FEWEST_DIFFERENT_CHARACTERS = 5
READ_LIMIT_CHARACTERS = 1_000
"""What is longer has too many characters in every normal form; to normalise may take the square of the length."""

_hasher = PasswordHasher(
    time_cost=PASSES, memory_cost=MEMORY_KIB, parallelism=LANES, hash_len=HASH_BYTES, salt_len=SALT_BYTES, type=Type.ID
)


def _step_back() -> None:
    if sys.platform == "linux":  # elsewhere it would be the whole process that steps back
        with suppress(OSError):  # a sandbox that forbids it must not keep anybody from signing in
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), POLITENESS)


_threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="argon2", initializer=_step_back)


Found = TypeVar("Found")


class _Line:
    """Whoever waits for a hash in this process."""

    length = 0


_line = _Line()


def check(password: str, *, address: str) -> str:
    """A new password in the form that is hashed (NFKC), or `PasswordRefused`.

    Length counts and not which kinds of character there are (NIST SP 800-63B, section 5.1.1.2).
    """
    normal = _normal(password)
    if normal is None or not SHORTEST_CHARACTERS <= len(normal) <= LONGEST_CHARACTERS:
        raise PasswordRefused(
            f"A password has {SHORTEST_CHARACTERS} to {LONGEST_CHARACTERS} characters; a few words do well.",
            field="password",
        )
    if len(set(normal)) < FEWEST_DIFFERENT_CHARACTERS:
        raise PasswordRefused("The password repeats a few characters; choose another.", field="password")
    if normal.casefold() in (address.casefold(), address.casefold() * 2):
        raise PasswordRefused("The password is your mail address; choose another.", field="password")
    return normal


async def hashed(password: str) -> str:
    """The argon2id hash of a password that was checked, with its parameters and salt (PHC string).

    Raises `SignInsBusy` where too many wait for theirs.
    """
    return await _in_line(lambda: _hasher.hash(password))


async def matches(password: str, stored: str | None) -> bool:
    """Whether a password has this hash. Without one (nobody there) as much work is done, and the answer is no.

    Raises `SignInsBusy` where too many wait for their answer.
    """
    return await _in_line(lambda: _matches(password, stored))


def is_outdated(stored: str) -> bool:
    """Whether a hash was made with other parameters than today's and should be made anew at the next sign-in."""
    return _hasher.check_needs_rehash(stored)


async def _in_line(work: Callable[[], Found]) -> Found:
    if _line.length >= LINE_LIMIT:
        raise SignInsBusy
    _line.length += 1
    try:
        return await asyncio.get_running_loop().run_in_executor(_threads, work)
    finally:
        _line.length -= 1


def _normal(password: str) -> str | None:
    """The password in the form that is hashed; None where it is too long to be one."""
    return None if len(password) > READ_LIMIT_CHARACTERS else unicodedata.normalize("NFKC", password)


def _matches(password: str, stored: str | None) -> bool:
    normal = (_normal(password) or "")[: LONGEST_CHARACTERS + 1]  # an empty one matches nothing: none is so short
    try:
        return _hasher.verify(_nobodys() if stored is None else stored, normal) and stored is not None
    except (VerificationError, InvalidHashError):
        return False


@cache
def _nobodys() -> str:
    """A hash with today's parameters for those who are not there."""
    return _hasher.hash("nobody has this password")
