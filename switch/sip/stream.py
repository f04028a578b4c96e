"""SIP over TCP and TLS towards one server: cuts the stream into messages (RFC 3261 18.3) for an endpoint."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

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


class StreamTransport(asyncio.Protocol):
    """One connection in the place of an endpoint's socket: whatever is sent goes to the server."""

    def __init__(
        self, server: StreamServer, received: Callable[[bytes, Address], None], lost: Callable[[], None]
    ) -> None:
        self._server = server
        self._received = received
        self._lost = lost
        self._buffer = bytearray()
        self._connection: asyncio.Transport | None = None

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
                    lambda: cls(server, received, lost),
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

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the loop."""
        self._connection = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Called by the loop. A server that sends what is no SIP loses the connection: the stream is out of step."""
        self._buffer += data
        while self._connection is not None and (message := self._next_message()) is not None:
            self._received(message, self._server.address)

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the loop."""
        self._connection = None
        self._lost()

    def get_extra_info(self, name: str) -> Any:
        """Of the connection, such as `sockname`."""
        return None if self._connection is None else self._connection.get_extra_info(name)

    def get_write_buffer_size(self) -> int:
        """How many bytes wait to be sent."""
        return 0 if self._connection is None else self._connection.get_write_buffer_size()

    def sendto(self, data: bytes, _: Address) -> None:
        """Send to the server, whatever address is named: there is no other way."""
        if self._connection is not None:
            self._connection.write(data)

    def abort(self) -> None:
        """Hang up."""
        if self._connection is not None:
            self._connection.abort()

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
