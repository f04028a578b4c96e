"""The media port of a phone or carrier: it counts what arrives, and sends and hears keys (RFC 4733). No voice."""

from __future__ import annotations

import asyncio
import secrets
import struct
from collections import deque

from switch.sip.dialog import Address
from switch.sip.errors import CallRefused

KEYS = "0123456789*#ABCD"
"""What can be pressed, in the order of its event codes (RFC 4733, section 3.2)."""
EVENT_PAYLOAD_TYPE = 101
MAX_KEYS_REMEMBERED = 1_000
PACKET_SECONDS = 0.02
SAMPLES_A_PACKET = 160
PACKETS_A_KEY = 5
LAST_PACKETS = 3
"""The end of a key is sent so often, for whoever loses one (RFC 4733, section 2.5.1.4)."""

_HEADER = struct.Struct("!BBHII")
_EVENT = struct.Struct("!BBH")
_VERSION_2 = 0x80
_MARKER = 0x80
_END = 0x80
_VOLUME = 10


class MediaPort(asyncio.DatagramProtocol):
    """Takes the media of all calls of one agent."""

    def __init__(self) -> None:
        self.packets = 0
        """How many packets have arrived."""
        self._keys: deque[str] = deque(maxlen=MAX_KEYS_REMEMBERED)
        self._ended: deque[tuple[int, int]] = deque(maxlen=MAX_KEYS_REMEMBERED)
        self._heard = asyncio.Event()
        self._source = secrets.randbelow(2**32)
        self._sequence = secrets.randbelow(2**15)
        self._timestamp = secrets.randbelow(2**31)

    @property
    def keys(self) -> str:
        """The keys heard so far, oldest first; each once, however often its end was sent."""
        return "".join(self._keys)

    async def wait_keys(self, count: int) -> str:
        """Wait until so many keys were heard, for as long as the caller's timeout lets it."""
        while len(self._keys) < count:
            self._heard.clear()
            await self._heard.wait()
        return self.keys

    def datagram_received(self, data: bytes, addr: tuple[str | int, int]) -> None:
        """A packet of any call; what is no RTP is only counted."""
        self.packets += 1
        if len(data) < _HEADER.size + _EVENT.size:
            return
        first, payload, _, timestamp, source = _HEADER.unpack_from(data)
        if first != _VERSION_2 or payload & 0x7F != EVENT_PAYLOAD_TYPE:
            return
        code, flags, _ = _EVENT.unpack_from(data, _HEADER.size)
        if flags & _END and code < len(KEYS) and (source, timestamp) not in self._ended:
            self._ended.append((source, timestamp))
            self._keys.append(KEYS[code])
            self._heard.set()

    async def press(self, transport: asyncio.DatagramTransport, destination: Address, key: str) -> None:
        """Press one key for a tenth of a second. Raises `CallRefused` for what is no key."""
        code = KEYS.find(key.upper())
        if len(key) != 1 or code < 0:
            raise CallRefused(f"{key!r} is no key; there are {KEYS}")
        ends = [False] * PACKETS_A_KEY + [True] * LAST_PACKETS
        for number, is_end in enumerate(ends):
            lasted = min(number + 1, PACKETS_A_KEY) * SAMPLES_A_PACKET
            marker = _MARKER if number == 0 else 0
            header = _HEADER.pack(
                _VERSION_2, marker | EVENT_PAYLOAD_TYPE, self._sequence & 0xFFFF, self._timestamp, self._source
            )
            transport.sendto(header + _EVENT.pack(code, _VOLUME | (_END if is_end else 0), lasted), destination)
            self._sequence += 1
            await asyncio.sleep(PACKET_SECONDS)
        self._timestamp = (self._timestamp + len(ends) * SAMPLES_A_PACKET) % 2**32
