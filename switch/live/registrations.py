"""The registrations of one node as its events tell of them; put right by comparison with mod_sofia's own list.

Memory only, bounded. A phone belongs to the tenant whose SIP domain it registered with, which the writer looks up.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from switch.canary_call import CANARY
from switch.esl.frames import Event
from switch.live.legs import MAX_VALUE_CHARACTERS, plain

MAX_REGISTRATIONS = 50_000
"""Of one node; what is beyond is counted, and found by a comparison when there is room again."""

MAX_EXPIRES_SECONDS = 7 * 86_400
MAX_PORT = 65_535
COMPARISON_GRACE_SECONDS = 5.0
"""A registration younger than this may have come after the list was made."""

REGISTER = "sofia::register"
UNREGISTER = "sofia::unregister"
EXPIRE = "sofia::expire"
REGISTRATION_EVENTS = (REGISTER, UNREGISTER, EXPIRE)

_LINE = re.compile(r"^(?P<name>[A-Za-z-]+):[ \t]+(?P<value>.*)$")
_EXPIRES = re.compile(r"EXPSECS\((?P<seconds>-?\d{1,9})\)")
_TRANSPORT = re.compile(r"Registered\((?P<transport>[A-Za-z]{1,8})")
_COMPLETE = "Total items returned:"

Key = tuple[str, str]
"""`user@domain` in small letters and the Call-ID: how mod_sofia keeps a registration."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """A phone that is registered."""

    username: str
    domain: str
    call_id: str
    contact: str
    transport: str
    network_ip: str
    network_port: int
    user_agent: str
    expires_at: datetime

    @property
    def address(self) -> str:
        """`user@domain`."""
        return f"{self.username}@{self.domain}"

    @property
    def key(self) -> Key:
        """By which it is kept."""
        return self.address, self.call_id


@dataclass(slots=True)
class RegistrationChanges:
    """What is to be written: registrations as they are now, and those that are gone."""

    current: list[Registration] = field(default_factory=list[Registration])
    gone: list[Registration] = field(default_factory=list[Registration])

    @property
    def is_any(self) -> bool:
        """Whether there is anything to write."""
        return bool(self.current or self.gone)


@dataclass(slots=True)
class _Known:
    registration: Registration
    seen_at_seconds: float


def read_listed(text: str, *, now: datetime) -> list[Registration] | None:
    """The registrations in an answer of `sofia status profile X reg`; None when it is not one, or was cut."""
    if _COMPLETE not in text:
        return None
    found: list[Registration] = []
    block: dict[str, str] = {}
    for line in [*text.splitlines(), ""]:
        matched = _LINE.match(line)
        if matched is not None:
            block[matched["name"]] = matched["value"].strip()
        elif not line.strip() and block:
            registration = _from_block(block, now)
            if registration is not None:
                found.append(registration)
            block = {}
    return found


class LiveRegistrations:
    """The registrations of one node."""

    def __init__(self) -> None:
        self.corrections = 0
        self.overflow = 0
        self._known: dict[Key, _Known] = {}
        self._keys_of: dict[str, set[Key]] = {}
        self._changed: set[Key] = set()
        self._gone: dict[Key, Registration] = {}

    def __len__(self) -> int:
        return len(self._known)

    @property
    def shown(self) -> set[Key]:
        """What is kept now."""
        return set(self._known)

    def apply(self, event: Event, *, now: datetime, at_seconds: float) -> None:
        """Take in one event of `REGISTRATION_EVENTS`; `at_seconds` is monotonic."""
        if event.subclass == REGISTER:
            registration = _from_event(event, now)
            if registration is not None:
                # A phone that registers anew takes the place of what it had: the nodes allow one contact a seat.
                self._drop(registration.address, but=registration.key)
                self._keep(registration, at_seconds)
        elif event.subclass == UNREGISTER:
            self._drop(_address(event.get("from-user"), event.get("from-host")))
        elif event.subclass == EXPIRE:
            address, call_id = _address(event.get("user"), event.get("host")), event.get("call-id")
            if call_id:
                self._let_go((address, call_id))
            else:
                self._drop(address)

    def compare(self, listed: Iterable[Registration], *, asked_at_seconds: float, at_seconds: float) -> None:
        """Make it so as the node lists it; `asked_at_seconds`: when the list was asked for."""
        there = {registration.key: registration for registration in listed}
        for key, known in list(self._known.items()):
            if key not in there and known.seen_at_seconds < asked_at_seconds - COMPARISON_GRACE_SECONDS:
                self._let_go(key)
                self.corrections += 1
        for key, registration in there.items():
            if key not in self._known:
                self._keep(registration, at_seconds)
                self.corrections += 1

    def write_again(self, keys: Iterable[Key]) -> None:
        """These were lost where they had been written."""
        self._changed.update(key for key in keys if key in self._known)

    def forget_all(self) -> None:
        """The node is dead: whoever was registered there is no more."""
        for key in list(self._known):
            self._let_go(key)

    def take_changes(self, limit: int) -> RegistrationChanges:
        """What has changed since the last time, at most `limit`; `put_back` it if it was not written."""
        taken = RegistrationChanges()
        while self._gone and len(taken.gone) < limit:
            taken.gone.append(self._gone.popitem()[1])
        while self._changed and len(taken.current) < limit:
            known = self._known.get(self._changed.pop())
            if known is not None:
                taken.current.append(known.registration)
        return taken

    def put_back(self, changes: RegistrationChanges) -> None:
        """These changes could not be written."""
        self._gone |= {each.key: each for each in changes.gone if each.key not in self._known}
        self.write_again([each.key for each in changes.current])

    def _keep(self, registration: Registration, at_seconds: float) -> None:
        key = registration.key
        if key not in self._known and len(self._known) >= MAX_REGISTRATIONS:
            self.overflow += 1
            return
        self._known[key] = _Known(registration, at_seconds)
        self._keys_of.setdefault(registration.address, set()).add(key)
        self._gone.pop(key, None)
        self._changed.add(key)

    def _drop(self, address: str, *, but: Key | None = None) -> None:
        for key in list(self._keys_of.get(address, ())):
            if key != but:
                self._let_go(key)

    def _let_go(self, key: Key) -> None:
        known = self._known.pop(key, None)
        self._changed.discard(key)
        if known is None:
            return
        self._gone[key] = known.registration
        keys = self._keys_of.get(known.registration.address, set())
        keys.discard(key)
        if not keys:
            self._keys_of.pop(known.registration.address, None)


def _address(user: str, host: str) -> str:
    return f"{user}@{host.lower()}"


def _from_event(event: Event, now: datetime) -> Registration | None:
    transport = _TRANSPORT.search(event.get("status"))
    return _registration(
        username=event.get("from-user"),
        domain=event.get("from-host"),
        call_id=event.get("call-id"),
        contact=event.get("contact"),
        transport=transport["transport"] if transport else "",
        network=(event.get("network-ip"), event.get("network-port")),
        user_agent=event.get("user-agent"),
        expires_at=_expiry(event.get("expires"), now),
    )


def _from_block(block: dict[str, str], now: datetime) -> Registration | None:
    username, _, domain = block.get("User", "").rpartition("@")
    status = block.get("Status", "")
    transport, expires = _TRANSPORT.search(status), _EXPIRES.search(status)
    return _registration(
        username=username,
        domain=domain,
        call_id=block.get("Call-ID", ""),
        contact=block.get("Contact", ""),
        transport=transport["transport"] if transport else "",
        network=(block.get("IP", ""), block.get("Port", "")),
        user_agent=block.get("Agent", ""),
        expires_at=_expiry(expires["seconds"] if expires else "0", now),
    )


def _registration(
    *,
    username: str,
    domain: str,
    call_id: str,
    contact: str,
    transport: str,
    network: tuple[str, str],
    user_agent: str,
    expires_at: datetime,
) -> Registration | None:
    """None where what would identify it is missing or cannot be stored, and for the system's own canary: it is nobody's
    phone, and comes and goes within a second."""
    identity = (username, domain, call_id)
    if not all(part and part.isprintable() and len(part) <= MAX_VALUE_CHARACTERS for part in identity):
        return None
    if username == CANARY:
        return None
    host, port = network
    return Registration(
        username=username,
        domain=domain.lower(),
        call_id=call_id,
        contact=plain(contact),
        transport=transport.lower(),
        network_ip=plain(host),
        network_port=int(port) if port.isascii() and port.isdecimal() and int(port[:6]) <= MAX_PORT else 0,
        user_agent=plain(user_agent),
        expires_at=expires_at,
    )


def _expiry(seconds: str, now: datetime) -> datetime:
    known = int(seconds) if seconds.isascii() and seconds.isdecimal() and len(seconds) <= len("604800") else 0
    return now + timedelta(seconds=min(known, MAX_EXPIRES_SECONDS))
