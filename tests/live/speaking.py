"""Phones that speak: packets of voice in both directions of a call, encrypted where the call is."""

from __future__ import annotations

import asyncio
import secrets
import ssl
import struct
import time
from collections.abc import Callable
from typing import Literal

from switch.sip import sdp
from switch.sip.call import Call
from switch.sip.dialog import Address
from switch.sip.media import PACKET_SECONDS, SAMPLES_A_PACKET, MediaPort
from switch.sip.phone import Phone
from tests.live.encrypted_media import Direction, header_bytes
from tests.live.waiting import WaitedInVain

MAX_PACKETS_KEPT = 2_000
MASTER_BYTES = 30
SPEECH_LIMIT_SECONDS = 8.0
VERSION_2 = 0x80
_HEADER = struct.Struct("!BBHII")


class Ear(MediaPort):
    """A media port that keeps what arrives, as it arrived."""

    def __init__(self) -> None:
        super().__init__()
        self.arrived: list[bytes] = []

    def datagram_received(self, data: bytes, addr: tuple[str | int, int]) -> None:
        """Keep it."""
        super().datagram_received(data, addr)
        if len(self.arrived) < MAX_PACKETS_KEPT:
            self.arrived.append(data)


class SpeakingPhone(Phone):
    """A phone that has something to say, in one call at a time."""

    def __init__(
        self,
        user: str,
        domain: str,
        *,
        server: Address,
        password: str,
        transport: Literal["udp", "tls"],
        tls: ssl.SSLContext | None,
        encrypts: bool,
    ) -> None:
        super().__init__(
            user, domain, server=server, password=password, transport=transport, tls=tls, encrypts=encrypts
        )
        self.ear = Ear()
        self._media_port = self.ear
        self._own_audio: sdp.Audio | None = None

    def describe_media(self, offer: sdp.Audio | None, *, direction: sdp.Direction = "sendrecv") -> bytes:
        """As every phone, and remember by which key we promised to encrypt."""
        body = super().describe_media(offer, direction=direction)
        self._own_audio = sdp.Audio.parse(body)
        return body

    def voice(self, call: Call) -> Voice:
        """Our side of a call that is answered."""
        assert self._media is not None, "the phone has been closed"
        assert self._own_audio is not None, "the phone has described no media"
        assert call.remote_audio is not None, "the other side has described no media"
        return Voice(self._media, self.ear, self._own_audio, call.remote_audio)


class Voice:
    """What one phone says and hears in a call, a packet of 20 ms at a time."""

    def __init__(self, transport: asyncio.DatagramTransport, ear: Ear, own: sdp.Audio, theirs: sdp.Audio) -> None:
        self._transport = transport
        self._ear = ear
        self._towards: Address = (theirs.host, theirs.port)
        self._ours = self._theirs = None
        if theirs.profile == sdp.ENCRYPTED:
            assert own.crypto_key is not None, "we promised no key"
            assert theirs.crypto_key is not None, "they promised no key"
            self._ours, self._theirs = Direction(own.crypto_key), Direction(theirs.crypto_key)
        self._foreign = Direction(secrets.token_bytes(MASTER_BYTES))
        self._payload_type = int(theirs.payload_types[0])
        self._source = secrets.randbelow(2**32)
        self._sequence = secrets.randbelow(2**16)
        self._timestamp = secrets.randbelow(2**32)
        self._heard: list[bytes] = []
        self._opened = 0

    @property
    def is_encrypted(self) -> bool:
        """Whether keys were agreed on."""
        return self._ours is not None

    @property
    def wire(self) -> bytes:
        """All packets that have arrived, as they arrived."""
        return b"".join(self._ear.arrived)

    @property
    def heard(self) -> list[bytes]:
        """What has arrived, decrypted, oldest first. Raises `NotAuthentic` for what the other side's key does not
        open.
        """
        for packet in self._ear.arrived[self._opened :]:
            self._opened += 1
            plain = packet if self._theirs is None else self._theirs.open(packet)
            if plain[1] & 0x7F == self._payload_type:
                self._heard.append(plain[header_bytes(plain) :])
        return self._heard

    def say(self) -> bytes:
        """Say something that was never said before, encrypted where the call is; what it was."""
        packet, said = self._packet()
        self._transport.sendto(packet if self._ours is None else self._ours.seal(packet), self._towards)
        return said

    def say_in_the_clear(self) -> bytes:
        """The same without encryption."""
        packet, said = self._packet()
        self._transport.sendto(packet, self._towards)
        return said

    def say_with_a_foreign_key(self) -> bytes:
        """The same, encrypted by a key that nobody was told of."""
        packet, said = self._packet()
        self._transport.sendto(self._foreign.seal(packet), self._towards)
        return said

    async def speak_until(
        self, enough: Callable[[], bool], *, limit_seconds: float = SPEECH_LIMIT_SECONDS
    ) -> set[bytes]:
        """Say a packet every 20 ms until it is enough; all that was said. Raises `WaitedInVain`."""
        said: set[bytes] = set()
        began = time.monotonic()
        while not enough():
            if time.monotonic() - began > SPEECH_LIMIT_SECONDS:
                raise WaitedInVain(f"{len(said)} packets were said and not enough was heard")
            said.add(self.say())
            await asyncio.sleep(PACKET_SECONDS)
        return said

    def _packet(self) -> tuple[bytes, bytes]:
        said = secrets.token_bytes(SAMPLES_A_PACKET)
        header = _HEADER.pack(VERSION_2, self._payload_type, self._sequence, self._timestamp, self._source)
        self._sequence = (self._sequence + 1) % 2**16
        self._timestamp = (self._timestamp + SAMPLES_A_PACKET) % 2**32
        return header + said, said
