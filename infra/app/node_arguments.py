"""The options of `seatline node-config`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from switch.nodes import NodeLimits


def add_to(command: argparse.ArgumentParser, *, port: Callable[[str], int]) -> None:
    """Add them; `port` reads a port."""
    command.add_argument("name", metavar="NAME")
    command.add_argument("--out", type=Path, required=True, metavar="DIR")
    command.add_argument("--spool", type=Path, default=None, help="where undelivered call records wait")
    command.add_argument(
        "--control-network", action="append", default=[], metavar="CIDR", help="who else may command the node"
    )
    command.add_argument("--api-url", default=None, metavar="URL", help="where the node reaches the API")
    command.add_argument("--ca-file", type=Path, default=None, help="on the node: who vouches for an https API")
    command.add_argument("--sip-tls-port", type=port, default=None, metavar="PORT", help="phones over TLS too")
    command.add_argument("--sip-tls-certificate", type=Path, default=None, help="chain, PEM; default: self-made")
    command.add_argument("--sip-tls-key", type=Path, default=None, help="its key, PEM; default: in the same file")
    stays = "; kept until it is said anew"
    command.add_argument(
        "--listen", default=None, metavar="ADDRESS", help=f"what it binds, where its host is translated to it{stays}"
    )
    command.add_argument("--max-sessions", type=int, default=None, metavar="LEGS", help=f"legs at once{stays}")
    command.add_argument("--sessions-per-second", type=int, default=None, metavar="LEGS", help=f"new ones{stays}")
    command.add_argument(
        "--rtp-timeout", type=int, default=None, metavar="SECONDS", help=f"end calls without media; 0: never{stays}"
    )


def limits_of(arguments: argparse.Namespace) -> NodeLimits:
    """What the options say of the node's own address and limits."""
    from switch.nodes import NodeLimits  # noqa: PLC0415 - as in cli.py, a command loads only what it needs

    return NodeLimits(
        listen_host=arguments.listen,
        max_sessions=arguments.max_sessions,
        sessions_per_second=arguments.sessions_per_second,
        rtp_timeout_seconds=arguments.rtp_timeout,
    )
