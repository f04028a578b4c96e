"""What can go wrong on the SIP side, in words an operator can act on."""

from __future__ import annotations


class SipError(Exception):
    """Base of every failure in `switch.sip`."""


class SipSyntaxError(SipError, ValueError):
    """A datagram, header or address is not SIP as RFC 3261 writes it; the text says what was expected."""


class SipTimeout(SipError, TimeoutError):
    """Nobody answered in time (RFC 3261 timers B and F, or the caller's own limit).

    `waited_seconds` is how long we waited, `method` what we asked.
    """

    def __init__(self, method: str, destination: tuple[str, int], waited_seconds: float) -> None:
        host, port = destination
        super().__init__(
            f"no final answer to {method} from {host}:{port} within {waited_seconds:.3g} s; "
            "check that the node runs and that UDP reaches it"
        )
        self.method = method
        self.destination = destination
        self.waited_seconds = waited_seconds


class SipTransportError(SipError, OSError):
    """The datagram could not be sent: no route, refused by the peer's host, or our socket is closed."""


class TooManyTransactions(SipError):
    """The endpoint already runs as many transactions as it may; wait for some to end."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"this SIP endpoint already runs {limit} transactions; retry when some have ended")
        self.limit = limit


class AuthenticationImpossible(SipError):
    """The server's challenge asks for something we do not speak (only MD5, with or without qop=auth)."""


class CallRefused(SipError):
    """The action does not fit the state of the call or the phone; the text says which state is needed."""


class WaitExceeded(SipError, TimeoutError):
    """Something of a call did not happen within the caller's limit; the call itself goes on."""

    def __init__(self, what: str, waited_seconds: float) -> None:
        super().__init__(f"{what} did not happen within {waited_seconds:g} s")
        self.waited_seconds = waited_seconds
