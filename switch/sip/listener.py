"""A port that takes SIP over TCP or TLS, in the place of an endpoint's socket.

What is sent to an address goes down the connection that was opened from there: a phone behind a router is reached in no
other way (RFC 5626, section 1). The listener opens none itself.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from switch.sip.dialog import Address
from switch.sip.errors import SipTransportError
from switch.sip.stream import Connection

MAX_CONNECTIONS = 10_000
MAX_UNSENT_BYTES = 1024 * 1024
"""Who reads so slowly that more than this waits for it is hung up on."""
HANDSHAKE_TIMEOUT_SECONDS = 10.0
BACKLOG = 1_000


@dataclass(frozen=True, slots=True)
class Listening:
    """That an endpoint takes connections; with `tls` encrypted, with the certificate in it."""

    tls: ssl.SSLContext | None = None

    @property
    def transport(self) -> str:
        """As Via names it."""
        return "TCP" if self.tls is None else "TLS"


class StreamListener:
    """The connections of one port. Make it with `open`."""

    def __init__(self, lost: Callable[[Address], None]) -> None:
        self._lost = lost
        self._server: asyncio.Server | None = None
        self._connections: dict[Address, Connection] = {}

    @classmethod
    async def open(
        cls,
        listening: Listening,
        local: Address,
        *,
        received: Callable[[bytes, Address], None],
        lost: Callable[[Address], None],
    ) -> StreamListener:
        """Listen at an IP address and port (0: the system chooses). `lost` is called for each connection that is gone.

        Raises SipTransportError.
        """
        listener = cls(lost)
        handshake_seconds = None if listening.tls is None else HANDSHAKE_TIMEOUT_SECONDS
        try:
            listener._server = await asyncio.get_running_loop().create_server(
                lambda: Connection(received, listener._forget, made=listener._take),
                *local,
                ssl=listening.tls,
                ssl_handshake_timeout=handshake_seconds,
                backlog=BACKLOG,
            )
        except OSError as error:
            where = f"{listening.transport} {local[0]}:{local[1]}"
            raise SipTransportError(f"{where} cannot be bound: {error.strerror}") from error
        return listener

    @property
    def count(self) -> int:
        """How many connections there are."""
        return len(self._connections)

    def reaches(self, address: Address) -> bool:
        """Whether there is a connection from this address."""
        return address in self._connections

    def get_extra_info(self, name: str) -> Any:
        """`sockname`: where we listen."""
        if self._server is None or name != "sockname" or not self._server.sockets:
            return None
        return self._server.sockets[0].getsockname()

    def get_write_buffer_size(self) -> int:
        """Nothing waits for all of them: each connection has a limit of its own."""
        return 0

    def sendto(self, data: bytes, address: Address) -> None:
        """Send down the connection from this address; without one the message is lost."""
        connection = self._connections.get(address)
        if connection is None:
            return
        if connection.get_write_buffer_size() > MAX_UNSENT_BYTES:
            connection.abort()
            return
        connection.write(data)

    def abort(self) -> None:
        """Listen no more and hang up on everybody."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for connection in tuple(self._connections.values()):
            connection.abort()
        self._connections.clear()

    def _take(self, connection: Connection) -> None:
        if self._server is None or len(self._connections) >= MAX_CONNECTIONS:
            connection.abort()
            return
        self._connections[connection.peer] = connection

    def _forget(self, connection: Connection) -> None:
        if self._connections.get(connection.peer) is connection:
            del self._connections[connection.peer]
            self._lost(connection.peer)
