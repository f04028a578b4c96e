"""A SIP phone of one seat: registers with digest, calls, answers, and can vanish without a word."""

from __future__ import annotations

import ssl
from typing import Literal

from switch.sip.agent import UserAgent, local_host_towards
from switch.sip.authentication import MAX_ATTEMPTS, DigestUser
from switch.sip.call import Call
from switch.sip.dialog import Address, new_call_id, new_tag
from switch.sip.endpoint import DEFAULT_USER_AGENT, resolve
from switch.sip.errors import WaitExceeded
from switch.sip.message import Headers, Request, Response
from switch.sip.policy import Policy
from switch.sip.stream import StreamServer
from switch.sip.transactions import Timers
from switch.sip.uri import NameAddress, SipUri

REGISTER_TIMEOUT_SECONDS = 10.0
ANSWER_TIMEOUT_SECONDS = 60.0
CANCEL_TIMEOUT_SECONDS = 5.0
DEFAULT_EXPIRES_SECONDS = 3_600


class Phone(UserAgent):
    """The phone of `user` at `domain`, served by the switch at `server` (host or IP address, port).

    Give the password or, as the canary does, the stored a1-hash made for `user:domain:password`. The sockets
    open with the first `register`, `call` or `start`. Over TLS, `tls` says whom to trust. `encrypts`: it agrees on keys
    for its media (SRTP), of which it sends none.
    """

    def __init__(
        self,
        user: str,
        domain: str,
        *,
        server: Address,
        password: str | None = None,
        a1_hash: str | None = None,
        local_host: str | None = None,
        local_port: int = 0,
        policy: Policy | None = None,
        timers: Timers | None = None,
        user_agent: str = DEFAULT_USER_AGENT,
        transport: Literal["udp", "tcp", "tls"] = "udp",
        tls: ssl.SSLContext | None = None,
        encrypts: bool = False,
    ) -> None:
        if (password is None) == (a1_hash is None):
            raise ValueError("give either the password or the a1-hash, and only one of them")
        if (transport == "tls") != (tls is not None):
            raise ValueError("give an SSL context for the transport tls, and for no other")
        if password is not None:
            digest_user = DigestUser.with_password(user, domain, password)
        else:
            digest_user = DigestUser(user, domain, a1_hash or "")
        super().__init__(
            local_host=local_host or "",
            local_port=local_port,
            policy=policy,
            digest_user=digest_user,
            timers=timers,
            user_agent=user_agent,
            encrypts=encrypts,
        )
        self.user = user
        self.domain = domain
        self.server = server
        self.registered = False
        self.registered_for_seconds = 0
        self._server_address: Address | None = None
        self._transport = transport
        self._tls = tls
        self._register_call_id = new_call_id()
        self._register_tag = new_tag()
        self._register_sequence = 0

    def __repr__(self) -> str:
        return f"<Phone {self.user}@{self.domain} at {self.server[0]}:{self.server[1]}>"

    async def start(self) -> None:
        """Find the server and open the sockets. Raises SipTransportError."""
        if self._server_address is None:
            self._server_address = await resolve(*self.server)
        if not self._local[0]:
            self._local = (local_host_towards(self._server_address), self._local[1])
        if self._transport != "udp":
            self._stream = StreamServer(self._server_address, self._tls, name=self.server[0])
        await super().start()

    async def register(
        self,
        *,
        expires_seconds: int = DEFAULT_EXPIRES_SECONDS,
        timeout_seconds: float = REGISTER_TIMEOUT_SECONDS,
    ) -> int:
        """Register and return the final status: 200 accepted, 401 or 403 refused, 503 node paused.

        Raises SipTimeout (nobody answered), SipTransportError, AuthenticationImpossible (another realm or
        algorithm).
        """
        response = await self._register(expires_seconds, timeout_seconds)
        self.registered = response.status == 200 and expires_seconds > 0
        self.registered_for_seconds = _granted_seconds(response, expires_seconds) if self.registered else 0
        return response.status

    async def unregister(self, *, timeout_seconds: float = REGISTER_TIMEOUT_SECONDS) -> int:
        """Give the registration up (Expires: 0); status and errors as `register`."""
        return await self.register(expires_seconds=0, timeout_seconds=timeout_seconds)

    async def dial(self, destination: str) -> Call:
        """Start a call to an extension or number (or a whole sip: URI) and return it at once; see `Call`."""
        await self.start()
        target = (
            SipUri.parse(destination) if destination.startswith(("sip:", "sips:")) else SipUri(self.domain, destination)
        )
        return self.place(target, NameAddress(SipUri(self.domain, self.user)), self._peer())

    async def call(self, destination: str, *, answer_timeout_seconds: float = ANSWER_TIMEOUT_SECONDS) -> Call:
        """Call and wait until it is answered or refused; withdrawn (status 487) after
        `answer_timeout_seconds`.

        Raises SipTimeout when the switch does not answer at all, SipTransportError, AuthenticationImpossible.
        """
        call = await self.dial(destination)
        try:
            await call.wait_settled(answer_timeout_seconds)
        except WaitExceeded:
            call.cancel()
            await call.wait_settled(max(CANCEL_TIMEOUT_SECONDS, self._timers.transaction_seconds))
        return call

    def vanish(self) -> None:
        """Be gone as if the power had failed: the switch still believes the registration."""
        self.registered = False
        super().vanish()

    def _contact_user(self) -> str:
        return self.user

    def _peer(self) -> Address:
        return self._server_address or self.server

    async def _register(self, expires_seconds: int, timeout_seconds: float) -> Response:
        await self.start()
        own = NameAddress(SipUri(self.domain, self.user))
        request = Request(headers=Headers(self.own_headers()), method="REGISTER", uri=str(SipUri(self.domain)))
        request.headers.add("From", str(own.with_tag(self._register_tag)))
        request.headers.add("To", str(own))
        request.headers.add("Call-ID", self._register_call_id)
        request.headers.add("CSeq", f"{self._register_sequence + 1} REGISTER")
        # Each challenge takes one more number; none may be used twice, not even after a timeout.
        self._register_sequence += MAX_ATTEMPTS
        request.headers.add("Expires", str(expires_seconds))
        return await self.ask(request, self._peer(), timeout_seconds=timeout_seconds)


def _granted_seconds(response: Response, asked_seconds: int) -> int:
    """How long the registration lasts: the Contact's expires, else the header, else what was asked for."""
    texts = [
        *(NameAddress.parse(value).parameters.get("expires", "") for value in response.headers.all("Contact")),
        response.headers.get("Expires") or "",
    ]
    return next((int(text) for text in texts if text.isascii() and text.isdecimal()), asked_seconds)
