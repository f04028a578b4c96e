"""What the application `limit` counts with the backend `hash`: who uses which resource now, how often in this interval.

Source: `mod_hash.c` (`limit_incr_hash`, `limit_release_hash`), `switch_limit.c`: what a channel has taken is given back
when it ends or is routed anew; a rate is not, and its interval begins with the first use after the last one was over.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field

_NUMBER = re.compile(r"[0-9]*", re.ASCII)


@dataclass(slots=True)
class _Resource:
    users: set[str] = field(default_factory=set[str])
    rate: int = 0
    began_at_seconds: int = 0


class ResourceCounts:
    """The counters of one node, gone with it."""

    def __init__(self) -> None:
        self._resources: dict[tuple[str, str], _Resource] = {}

    def take(self, channel: str, realm: str, name: str, most: str) -> bool:
        """Count a channel at a resource; False when that is more than `most` (`5` at once, `5/1` in a second)."""
        resource = self._resources.setdefault((realm, name), _Resource())
        number, _, interval = most.partition("/")
        limit, seconds = _leading_number(number), _leading_number(interval)
        if seconds > 0:
            now = int(time.time())
            if resource.began_at_seconds <= now - seconds:
                resource.rate, resource.began_at_seconds = 1, now
            else:
                resource.rate += 1
                if resource.rate > limit:
                    return False
        elif len(resource.users | {channel}) > limit:
            return False
        resource.users.add(channel)
        return True

    def release(self, channel: str, realm: str | None = None, name: str | None = None) -> None:
        """Give back what a channel has taken: everything, or one resource."""
        for key, resource in tuple(self._resources.items()):
            if realm is not None and key != (realm, name):
                continue
            resource.users.discard(channel)
            if not resource.users and resource.rate == 0:
                del self._resources[key]

    def usage(self, realm: str, name: str) -> int:
        """How many channels use a resource now."""
        resource = self._resources.get((realm, name))
        return len(resource.users) if resource is not None else 0


def _leading_number(text: str) -> int:
    """What C's `atoi` makes of a text that is not negative."""
    found = _NUMBER.match(text)
    return int(found[0]) if found is not None and found[0] else 0
