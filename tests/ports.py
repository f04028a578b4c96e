"""Ports for servers of a test that must be told where to listen."""

from __future__ import annotations

import socket

LOOPBACK = "127.0.0.1"


def free_ports(count: int) -> list[int]:
    """Ports of loopback, all different, that are free for UDP and TCP now: a node takes SIP over both."""
    held: list[socket.socket] = []
    ports: list[int] = []
    try:
        while len(ports) < count:
            stream, datagram = (socket.socket(socket.AF_INET, kind) for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM))
            held += [stream, datagram]
            stream.bind((LOOPBACK, 0))
            port = int(stream.getsockname()[1])
            try:
                datagram.bind((LOOPBACK, port))
            except OSError:
                continue
            ports.append(port)
    finally:
        for each in held:
            each.close()
    return ports
