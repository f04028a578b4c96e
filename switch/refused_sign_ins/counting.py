"""Counts the refused sign-ins of one node from its events, bounded whatever is sent; and the rule of the alarm.

Memory only; the node's supervisor writes what was counted and takes it anew. Names, addresses and domains are a
stranger's choice: each is cut, and in an hour at most `MAX_KEYS` of them are told apart, the rest is one sum.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

from switch.canary_call import CANARY
from switch.esl.frames import Event

REGISTER_FAILURE = "sofia::register_failure"
"""The event of mod_sofia: to-user, to-host, network-ip, user-agent (`sofia_reg_handle_register_token`)."""

MAX_KEYS = 2_000
"""How many combinations of name, domain and address one node tells apart in an hour."""

MAX_CHARACTERS = 64
MAX_DOMAIN_CHARACTERS = 253

ALARM_OF_NAME = 20
"""So many refusals of one name in an hour: somebody guesses, or a phone has an old password."""

ALARM_OF_SOURCE = 100
"""So many from one address: somebody tries names, or many phones behind one router or edge have old passwords."""

_UNREADABLE = re.compile(r"[^\x20-\x7e]")


class Key(NamedTuple):
    """What is counted together."""

    hour: datetime
    domain: str
    username: str
    source: str


@dataclass(slots=True)
class Count:
    """How often, and the latest of them."""

    attempts: int
    last_at: datetime
    user_agent: str


@dataclass(frozen=True, slots=True)
class Alarm:
    """A name or an address (the other one is empty) that was refused too often within the hour."""

    hour: datetime
    domain: str
    username: str
    source: str


@dataclass(slots=True)
class RefusedSignIns:
    """The refused sign-ins of one node that have not been written yet."""

    _counts: dict[Key, Count] = field(default_factory=dict[Key, Count])
    _hour: datetime | None = None
    _known: set[Key] = field(default_factory=set[Key])
    _totals: dict[tuple[str, str, str], int] = field(default_factory=dict[tuple[str, str, str], int])

    def note(self, event: Event, *, now: datetime) -> tuple[Alarm, ...]:
        """Count an event of `REGISTER_FAILURE`; the alarms that this one makes. Never waits."""
        hour = now.replace(minute=0, second=0, microsecond=0)
        if hour != self._hour:
            self._hour, self._known, self._totals = hour, set(), {}
        domain = _plain(event.get("to-host"), MAX_DOMAIN_CHARACTERS).lower()
        key = Key(hour, domain, _plain(event.get("to-user")), _plain(event.get("network-ip")))
        if key not in self._known:
            if len(self._known) < MAX_KEYS:
                self._known.add(key)
            else:
                key = Key(hour, "", "", "")
        self.add(key, Count(1, now, _plain(event.get("user-agent"))))
        return () if key.username == CANARY or not any(key[1:]) else self._alarms(key)

    def add(self, key: Key, count: Count) -> None:
        """Count more of one kind; also what could not be written and is given back."""
        found = self._counts.setdefault(key, Count(0, count.last_at, count.user_agent))
        found.attempts += count.attempts
        if count.last_at >= found.last_at:
            found.last_at, found.user_agent = count.last_at, count.user_agent

    def take(self) -> dict[Key, Count]:
        """What was counted since the last time."""
        taken, self._counts = self._counts, {}
        return taken

    def give_back(self, taken: dict[Key, Count]) -> None:
        """It could not be written; what is older than an hour is let go, so that this cannot grow."""
        for key, count in taken.items():
            if self._hour is None or self._hour - key.hour <= timedelta(hours=1):
                self.add(key, count)

    def _alarms(self, key: Key) -> tuple[Alarm, ...]:
        """At the attempt that is one too many, once an hour for each name and each address."""
        limits = {(key.domain, key.username, ""): ALARM_OF_NAME, ("", "", key.source): ALARM_OF_SOURCE}
        for subject in limits:
            self._totals[subject] = self._totals.get(subject, 0) + 1
        return tuple(Alarm(key.hour, *subject) for subject, limit in limits.items() if self._totals[subject] == limit)


def _plain(text: str, limit: int = MAX_CHARACTERS) -> str:
    return _UNREADABLE.sub("?", text[:limit])
