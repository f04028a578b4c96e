"""Encrypted media packets (SRTP, RFC 3711) with the suite AES_CM_128_HMAC_SHA1_80, made and opened without a node."""

from __future__ import annotations

import hmac
import struct
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

KEY_BYTES = 16
SALT_BYTES = 14
AUTHENTICATION_KEY_BYTES = 20
TAG_BYTES = 10
SMALLEST_HEADER_BYTES = 12
SEQUENCES = 2**16
_LABEL_AT = 7
"""Where the label stands in what is xored with the salt while the derivation rate is zero (section 4.3.1)."""


class NotAuthentic(Exception):
    """A packet is no encrypted one, or was made with another key."""


def derived(master: bytes, label: int, length_bytes: int) -> bytes:
    """A session key: label 0 encrypts, 1 authenticates, 2 salts (section 4.3.1). `master`: key and salt."""
    salt = bytearray(master[KEY_BYTES:])
    salt[_LABEL_AT] ^= label
    return _encrypted(master[:KEY_BYTES], bytes(salt) + b"\0\0", bytes(length_bytes))


def _encrypted(key: bytes, counter: bytes, data: bytes) -> bytes:
    return Cipher(AES(key), CTR(counter)).encryptor().update(data)


def header_bytes(packet: bytes) -> int:
    """How long the header of an RTP packet is (RFC 3550, section 5.1). Raises `NotAuthentic` for what is none."""
    if len(packet) < SMALLEST_HEADER_BYTES:
        raise NotAuthentic(f"{len(packet)} bytes are no media packet")
    length = SMALLEST_HEADER_BYTES + 4 * (packet[0] & 0x0F)
    if packet[0] & 0x10 and len(packet) >= length + 4:
        length += 4 + 4 * struct.unpack_from("!H", packet, length + 2)[0]
    return length


@dataclass(slots=True)
class Direction:
    """The packets that one side sends: whoever has its key and salt (`master`) makes and opens them."""

    master: bytes = field(repr=False)
    _newest: dict[int, int] = field(default_factory=dict[int, int], init=False)
    """The index of the newest packet of each source."""

    def seal(self, packet: bytes) -> bytes:
        """Encrypt a plain packet."""
        index = self._index(packet)
        sealed = self._turned(packet, index)
        return sealed + self._tag(sealed, index)

    def open(self, sealed: bytes) -> bytes:
        """The plain packet. Raises `NotAuthentic`."""
        packet, tag = sealed[:-TAG_BYTES], sealed[-TAG_BYTES:]
        header_bytes(packet)
        known = dict(self._newest)
        index = self._index(packet)
        if not hmac.compare_digest(tag, self._tag(packet, index)):
            self._newest = known
            raise NotAuthentic("the packet was made with another key, or is a plain one")
        return self._turned(packet, index)

    def _index(self, packet: bytes) -> int:
        """The packet's number since the beginning: its sequence number, and how often that has started anew.

        The nearest to the newest one that has this sequence number (section 3.3.1).
        """
        sequence, source = struct.unpack_from("!H", packet, 2)[0], struct.unpack_from("!I", packet, 8)[0]
        newest = self._newest.get(source, sequence)
        ahead = (sequence - newest + SEQUENCES // 2) % SEQUENCES - SEQUENCES // 2
        index = max(newest + ahead, sequence)
        self._newest[source] = max(newest, index)
        return index

    def _turned(self, packet: bytes, index: int) -> bytes:
        """Encrypted what was plain, and plain what was encrypted: all behind the header (section 4.1.1)."""
        begin = header_bytes(packet)
        salt = int.from_bytes(derived(self.master, 2, SALT_BYTES)) << 16
        source = int.from_bytes(packet[8:12]) << 64
        counter = (salt ^ source ^ (index << 16)).to_bytes(KEY_BYTES)
        return packet[:begin] + _encrypted(derived(self.master, 0, KEY_BYTES), counter, packet[begin:])

    def _tag(self, sealed: bytes, index: int) -> bytes:
        """Over the encrypted packet and how often its sequence number has started anew (section 4.2)."""
        key = derived(self.master, 1, AUTHENTICATION_KEY_BYTES)
        return hmac.digest(key, sealed + (index // SEQUENCES).to_bytes(4), "sha1")[:TAG_BYTES]
