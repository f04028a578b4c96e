"""What can go wrong on an event-socket connection. No text here ever contains the password."""

from __future__ import annotations

_SHOWN_CHARACTERS = 200


def _shown(text: str) -> str:
    """The beginning of a text on one line, for messages."""
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN_CHARACTERS else f"{line[:_SHOWN_CHARACTERS]}…"


class EslError(Exception):
    """Base of every failure in `switch.esl`."""


class EslArgumentRefused(EslError, ValueError):
    """A command, event name or password contains a line break or NUL, or is too long; nothing was sent."""


class EslProtocolError(EslError):
    """The other side does not speak the event-socket protocol, or exceeds a limit; check address and port."""


class EslConnectionLost(EslError, ConnectionError):
    """There is no connection (any more): every waiter gets this at once.

    Whether a command that was under way was carried out is unknown: read the state back, do not just repeat.
    """


class EslAuthenticationRefused(EslError):
    """The node refused the event-socket password; compare it with `password` in its event_socket.conf."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(f"{host}:{port} refused the event-socket password; compare it with event_socket.conf there")


class EslAccessDenied(EslError):
    """The node's access list turns us away (`text/rude-rejection`); see `apply-inbound-acl` there."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(f"{host}:{port} denies this machine access; see apply-inbound-acl in its event_socket.conf")


class EslTimeout(EslError, TimeoutError):
    """No answer in time. Whether the command was carried out is unknown: read the state back."""

    def __init__(self, what: str, waited_seconds: float) -> None:
        super().__init__(f"no answer to {_shown(what)!r} within {waited_seconds:g} s; it may have been carried out")
        self.waited_seconds = waited_seconds


class EslCommandRefused(EslError):
    """FreeSWITCH answered -ERR or -USAGE: nothing was carried out. `reply` is its whole answer."""

    def __init__(self, command: str, reply: str) -> None:
        super().__init__(f"FreeSWITCH refused {_shown(command)!r}: {_shown(reply)}")
        self.command = command
        self.reply = reply


class EslTooManyCommands(EslError):
    """As many commands as allowed already wait for their answers; wait for some of them."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"{limit} commands already wait for an answer on this connection; try again later")
        self.limit = limit


class EslNotPermitted(EslError):
    """This side may not tell the node anything now, since its lease may have ended; nothing was sent."""

    def __init__(self, line: str) -> None:
        super().__init__(f"{_shown(line)!r} was not sent: the lease on the node was not renewed in time")
