"""What the gateway's program must not forget: its keys, and the counters that nobody has been told yet.

One file, replaced as a whole and synced to disk. A peer's life is written down before the peer is put on the interface,
and its last counters before it is taken off: whatever dies in between, no byte is counted twice.
"""

from __future__ import annotations

import os
import secrets
import time
from pathlib import Path

import msgspec

from infra.kit.problems import InvalidInput
from provisioning.rules import tunnel_keys
from provisioning.tunnels.host.device import PeerCounters

FILE = "gateway.json"
LARGEST_PENDING = 200_000
"""Last counters of peers that are gone, while the API is away; beyond this the oldest are given up."""


class StateRefused(InvalidInput):
    """The state directory cannot be used."""

    code = "tunnel_state_refused"


class Life(msgspec.Struct):
    """A peer's time on the interface, its highest counters, and those that the API has."""

    name: str
    received: int = 0
    sent: int = 0
    handshake_at: int = 0
    told_received: int = -1
    told_sent: int = -1


class Final(msgspec.Struct):
    """The last counters of a life that has ended."""

    public_key: str
    life: str
    received: int
    sent: int
    handshake_at: int
    read_at: float


class Kept(msgspec.Struct):
    """The file's content."""

    private_key: str
    instance: str
    interface_token: str
    lives: dict[str, Life] = {}
    pending: list[Final] = []


class State:
    """The kept state of one gateway."""

    def __init__(self, directory: Path, kept: Kept) -> None:
        self.kept = kept
        self._path = directory / FILE

    @classmethod
    def open(cls, directory: Path) -> State:
        """What an earlier run has left in the directory, or new keys. Raises `StateRefused`."""
        path = directory / FILE
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            if path.exists():
                return cls(directory, msgspec.json.decode(path.read_bytes(), type=Kept))
            kept = Kept(
                private_key=tunnel_keys.new_pair().private,
                instance=secrets.token_urlsafe(32),
                interface_token=_new_name(),
            )
            state = cls(directory, kept)
            state.save()
        except OSError as error:
            raise StateRefused(f"{directory} cannot be used: {error.strerror or error}.", field="state") from error
        except msgspec.MsgspecError as error:
            raise StateRefused(
                f"{path} is damaged ({error}); restore it, or delete it and have a new credential issued.",
                field="state",
            ) from error
        return state

    @property
    def public_key(self) -> str:
        """Of the gateway's interface."""
        return tunnel_keys.public_of(self.kept.private_key)

    def save(self) -> None:
        """Replace the file; it holds a private key, so only its owner may read it."""
        other = self._path.with_suffix(".new")
        descriptor = os.open(other, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.encode(self.kept))
            file.flush()
            os.fsync(file.fileno())
        other.replace(self._path)

    def begin_again(self) -> None:
        """The interface is a new one: what the lives on the old one had last is all that is known of them.

        Its mark is new too, and is written down before the interface gets it.
        """
        for public_key in list(self.kept.lives):
            self.end(public_key)
        self.kept.interface_token = _new_name()
        self.save()

    def begin(self, public_keys: set[str]) -> None:
        """Peers are about to be put on the interface."""
        new = public_keys - self.kept.lives.keys()
        if new:
            self.kept.lives.update({public_key: Life(_new_name()) for public_key in sorted(new)})
            self.save()

    def read(self, peers: dict[str, PeerCounters]) -> None:
        """Note counters; lower ones than before mean that somebody took the peer off and put it on again."""
        for public_key, peer in peers.items():
            life = self.kept.lives.get(public_key)
            if life is None:
                continue
            if peer.received < life.received or peer.sent < life.sent:
                self.end(public_key)
                life = self.kept.lives[public_key] = Life(_new_name())
            life.received, life.sent, life.handshake_at = peer.received, peer.sent, peer.handshake_at

    def end(self, public_key: str) -> None:
        """A life is over; its last counters wait for their report, unless the API has them."""
        life = self.kept.lives.pop(public_key)
        if (life.received, life.sent) == (max(life.told_received, 0), max(life.told_sent, 0)):
            return
        self.kept.pending.append(Final(public_key, life.name, life.received, life.sent, life.handshake_at, time.time()))
        del self.kept.pending[:-LARGEST_PENDING]


def _new_name() -> str:
    return secrets.token_hex(12)
