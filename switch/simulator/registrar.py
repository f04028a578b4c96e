"""Keeps the registrations of one profile: who is where, until when.

Source: `sofia_reg.c`. Expiry is checked when somebody asks and by the node's once-a-second sweep; event
names and the texts of `sofia status profile ... reg` are those of a running 1.11.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from switch.simulator.events import EventBus, local_stamp

MAX_REGISTRATIONS = 100_000
GRACE_SECONDS = 60
"""mod_sofia lets a registration live this much longer than it told the phone."""

_MICROSECONDS = 1_000_000
_RULE = "=" * 97


@dataclass(frozen=True)
class Registration:
    """One contact of one user.

    `expires_at` is what is shown, in microseconds of the node's clock. It ends at `deadline_seconds` of the event
    loop's clock, so that travelling in time does not silence phones that are still there.
    """

    user: str
    domain: str
    contact: str
    contact_uri: str
    call_id: str
    agent: str
    network_ip: str
    network_port: int
    expires_at: int
    deadline_seconds: float
    auth_user: str
    auth_realm: str
    transport: str = "UDP"
    """As its Contact says it, whatever the request came over."""
    metadata: str = ""
    """The account's variable `registration_metadata`."""

    @property
    def address(self) -> str:
        """`user@domain`."""
        return f"{self.user}@{self.domain}"


class Registrar:
    """The registrations of one profile, by Call-ID as mod_sofia keeps them."""

    def __init__(self, profile_name: str, bus: EventBus, *, elapsed_seconds: Callable[[], float]) -> None:
        self._profile_name = profile_name
        self._bus = bus
        self._elapsed_seconds = elapsed_seconds
        self._by_call_id: dict[str, Registration] = {}
        self._by_address: dict[str, dict[str, Registration]] = {}
        self._listed: dict[str, Registration] = {}

    def __len__(self) -> int:
        return len(self._by_call_id)

    def register(self, registration: Registration, *, headers: list[tuple[str, str]]) -> bool:
        """Keep a registration (a new one of the same user and contact replaces the old); False when full."""
        for other in self._at(registration.address):
            self._drop(other)
        if len(self._by_call_id) >= MAX_REGISTRATIONS:
            return False
        self._by_call_id[registration.call_id] = registration
        self._by_address.setdefault(registration.address, {})[registration.call_id] = registration
        self._listed[registration.call_id] = registration
        self._bus.fire("CUSTOM", headers, subclass="sofia::register")
        return True

    def unregister(self, address: str, *, headers: list[tuple[str, str]]) -> None:
        """The phone said goodbye: every contact of `user@domain` goes."""
        for registration in self.of(address):
            self._drop(registration)
        self._bus.fire("CUSTOM", headers, subclass="sofia::unregister")

    def of(self, address: str) -> tuple[Registration, ...]:
        """The live registrations of `user@domain`."""
        now = self._elapsed_seconds()
        return tuple(item for item in self._at(address) if item.deadline_seconds > now)

    def _at(self, address: str) -> tuple[Registration, ...]:
        return tuple(self._by_address.get(address, {}).values())

    def all(self) -> tuple[Registration, ...]:
        """Every live registration, in the order of registering."""
        self.sweep()
        return tuple(self._by_call_id.values())

    def listed(self) -> tuple[Registration, ...]:
        """What `show registrations` has: it forgets a flushed registration only when its time is over."""
        now = self._elapsed_seconds()
        self._listed = {key: item for key, item in self._listed.items() if item.deadline_seconds > now}
        return tuple(self._listed.values())

    def flush(self, key: str = "") -> int:
        """Forget by Call-ID, `user@domain` or a bare domain (everything when empty); returns how many."""
        chosen = [
            item for item in self._by_call_id.values() if not key or key in {item.call_id, item.address, item.domain}
        ]
        for item in chosen:
            self._forget(item)
            self._announce_expiry(item)
        return len(chosen)

    def sweep(self) -> None:
        """Let go of what has expired."""
        now = self._elapsed_seconds()
        for item in tuple(self._by_call_id.values()):
            if item.deadline_seconds <= now:
                self._drop(item)
                self._announce_expiry(item)

    def _forget(self, registration: Registration) -> None:
        self._by_call_id.pop(registration.call_id, None)
        same_user = self._by_address.get(registration.address, {})
        same_user.pop(registration.call_id, None)
        if not same_user:
            self._by_address.pop(registration.address, None)

    def _drop(self, registration: Registration) -> None:
        self._forget(registration)
        self._listed.pop(registration.call_id, None)

    def _announce_expiry(self, item: Registration) -> None:
        headers = [
            ("profile-name", self._profile_name),
            ("call-id", item.call_id),
            ("user", item.user),
            ("username", item.user),
            ("host", item.domain),
            ("contact", item.contact),
            ("expires", str(item.expires_at // _MICROSECONDS)),
            ("user-agent", item.agent),
            ("realm", item.auth_realm),
            ("network-ip", item.network_ip),
            ("network-port", str(item.network_port)),
        ]
        self._bus.fire("CUSTOM", headers, subclass="sofia::expire")

    def report(self, hostname: str, *, matching: str = "") -> str:
        """The text of `sofia status profile <name> reg [user@domain]`."""
        chosen = [item for item in self.all() if not matching or matching in item.address]
        lines = ["", "Registrations:", _RULE]
        for item in chosen:
            left_seconds = max(0, int(item.deadline_seconds - self._elapsed_seconds()))
            lines.extend(
                [
                    f"Call-ID:    \t{item.call_id}",
                    f"User:       \t{item.address}",
                    f"Contact:    \t{item.contact}",
                    f"Agent:      \t{item.agent}",
                    f"Status:     \tRegistered({item.transport})(unknown) EXP({local_stamp(item.expires_at)}) "
                    f"EXPSECS({left_seconds})",
                    "Ping-Status:\tReachable",
                    "Ping-Time:\t0.00",
                    f"Host:       \t{hostname}",
                    f"IP:         \t{item.network_ip}",
                    f"Port:       \t{item.network_port}",
                    f"Auth-User:  \t{item.auth_user}",
                    f"Auth-Realm: \t{item.auth_realm}",
                    f"MWI-Account:\t{item.address}",
                    "",
                ]
            )
        lines.extend([f"Total items returned: {len(chosen)}", _RULE, ""])
        return "\n".join(lines)
