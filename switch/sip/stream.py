"""SIP over TCP and TLS: cuts a connection's bytes into messages (RFC 3261 18.3), and a connection to one server in the
place of an endpoint's socket. `listener` takes connections instead.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self, cast

from switch.sip.dialog import Address
from switch.sip.errors import SipTransportError
from switch.sip.message import MAX_MESSAGE_BYTES

CONNECT_TIMEOUT_SECONDS = 5.0
_LENGTH = re.compile(rb"^(?:content-length|l)[ \t]*:[ \t]*(\d{1,6})[ \t]*$", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class StreamServer:
    """The one server that a stream leads to; with `tls` it is encrypted and its certificate is checked by it.

    `name`: what the certificate must be for; by default the address.
    """

    address: Address
    tls: ssl.SSLContext | None = None
    name: str | None = None

    @property
    def transport(self) -> str:
        """As Via names it."""
        return "TCP" if self.tls is None else "TLS"


class Connection(asyncio.Protocol):
    """One connection, whoever opened it. `peer`: where its other end is, as messages from it are said to come from.

    `received` is called for each message, `lost` once when it is gone.
    """

    def __init__(
        self,
        received: Callable[[bytes, Address], None],
        lost: Callable[[Self], None],
        *,
        peer: Address | None = None,
        made: Callable[[Self], None] | None = None,
    ) -> None:
        self.peer: Address = peer or ("", 0)
        self._is_peer_known = peer is not None
        self._received = received
        self._lost = lost
        self._made = made
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the loop; over TLS once both sides have agreed."""
        self._transport = cast("asyncio.Transport", transport)
        if not self._is_peer_known:
            name = transport.get_extra_info("peername") or self.peer
            self.peer = str(name[0]), int(name[1])
        if self._made is not None:
            self._made(self)

    def data_received(self, data: bytes) -> None:
        """Called by the loop. Who sends what is no SIP loses the connection: the stream is out of step."""
        self._buffer += data
        while self._transport is not None and (message := self._next_message()) is not None:
            self._received(message, self.peer)

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the loop."""
        self._transport = None
        self._lost(self)

    def get_extra_info(self, name: str) -> Any:
        """Of the connection, such as `sockname`."""
        return None if self._transport is None else self._transport.get_extra_info(name)

    def get_write_buffer_size(self) -> int:
        """How many bytes wait to be sent."""
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def write(self, data: bytes) -> None:
        """Send; nothing happens when the connection is gone."""
        if self._transport is not None:
            self._transport.write(data)

    def abort(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.abort()

    def _next_message(self) -> bytes | None:
        while self._buffer.startswith(b"\r\n"):
            del self._buffer[:2]  # a keep-alive (RFC 5626 3.5.1)
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > MAX_MESSAGE_BYTES:
                self.abort()
            return None
        found = _LENGTH.search(bytes(self._buffer[:end]).replace(b"\r\n", b"\n"))
        length = end + 4 + (int(found[1]) if found is not None else 0)
        if length > MAX_MESSAGE_BYTES:
            self.abort()
            return None
        if len(self._buffer) < length:
            return None
        message = bytes(self._buffer[:length])
        del self._buffer[:length]
        return message


class StreamTransport(Connection):
    """One connection in the place of an endpoint's socket: whatever is sent goes to the server."""

    @classmethod
    async def open(
        cls,
        server: StreamServer,
        local: Address,
        *,
        received: Callable[[bytes, Address], None],
        lost: Callable[[], None],
    ) -> StreamTransport:
        """Connect from `local`; `lost` is called once when the connection is gone. Raises SipTransportError."""
        where = f"{server.transport} {server.address[0]}:{server.address[1]}"
        loop = asyncio.get_running_loop()
        name = None if server.tls is None else server.name or server.address[0]
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_SECONDS):
                _, transport = await loop.create_connection(
                    lambda: cls(received, lambda _: lost(), peer=server.address),
                    *server.address,
                    ssl=server.tls,
                    server_hostname=name,
                    local_addr=local,
                )
        except TimeoutError as error:
            raise SipTransportError(f"{where} did not answer within {CONNECT_TIMEOUT_SECONDS:g} s") from error
        except OSError as error:
            raise SipTransportError(f"{where} cannot be connected: {error.strerror or error}") from error
        return transport

    def sendto(self, data: bytes, _: Address) -> None:
        """Send to the server, whatever address is named: there is no other way."""
        self.write(data)
