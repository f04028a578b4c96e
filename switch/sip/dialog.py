"""SIP dialogs (RFC 3261 section 12): what both ends of an answered call remember to go on talking."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

from switch.sip.errors import SipSyntaxError
from switch.sip.message import Headers, Request, Response
from switch.sip.uri import NameAddress, SipUri, is_ip_address, tag_of

Address = tuple[str, int]
"""Host and port of a datagram's other end."""


def new_tag() -> str:
    """A From or To tag (RFC 3261 19.3)."""
    return secrets.token_hex(8)


def new_call_id() -> str:
    """A Call-ID."""
    return secrets.token_hex(16)


@dataclass(slots=True)
class Dialog:
    """One dialog as our side sees it.

    `local` and `remote` are the From/To values of our requests with their tags; `peer` is where the other
    side's datagrams come from, used when its Contact names no IP address.
    """

    call_id: str
    local: str
    remote: str
    remote_target: SipUri
    peer: Address
    route_set: list[str] = field(default_factory=list[str])
    local_sequence: int = 0
    remote_sequence: int = 0

    @classmethod
    def as_caller(cls, request: Request, response: Response, peer: Address) -> Dialog:
        """The dialog a response to our INVITE makes (RFC 3261 12.1.2)."""
        contacts = response.headers.all("Contact")
        target = NameAddress.parse(contacts[0]).uri if contacts else SipUri.parse(request.uri)
        return cls(
            call_id=request.call_id,
            local=request.header("From"),
            remote=response.header("To"),
            remote_target=target,
            peer=peer,
            route_set=list(reversed(response.headers.all("Record-Route"))),
            local_sequence=request.sequence[0],
        )

    @classmethod
    def as_called(cls, request: Request, to_tag: str, peer: Address) -> Dialog:
        """The dialog an INVITE makes that we answer with `to_tag` (RFC 3261 12.1.1); needs a Contact."""
        contacts = request.headers.all("Contact")
        if not contacts:
            raise SipSyntaxError("the INVITE has no Contact header, which is mandatory")
        return cls(
            call_id=request.call_id,
            local=f"{request.header('To')};tag={to_tag}",
            remote=request.header("From"),
            remote_target=NameAddress.parse(contacts[0]).uri,
            peer=peer,
            route_set=request.headers.all("Record-Route"),
            remote_sequence=request.sequence[0],
        )

    @property
    def key(self) -> tuple[str, str, str]:
        """Call-ID, our tag, their tag."""
        return self.call_id, tag_of(self.local), tag_of(self.remote)

    def owns(self, request: Request) -> bool:
        """Whether a request from the other side belongs to this dialog."""
        return dialog_key(request) == self.key

    @property
    def destination(self) -> Address:
        """Where our next request goes: the first route or the remote target, or `peer` if that is only a
        name.
        """
        hop = NameAddress.parse(self.route_set[0]).uri if self.route_set else self.remote_target
        return hop.address if is_ip_address(hop.host) else self.peer

    def create_request(self, method: str) -> Request:
        """The next request inside this dialog (RFC 3261 12.2.1.1); takes a new CSeq number unless it is an
        ACK.
        """
        if method != "ACK":
            self.local_sequence += 1
        return self._request(method, self.local_sequence)

    def acknowledge(self, invite: Request) -> Request:
        """The ACK of a 2xx (RFC 3261 13.2.2.4): CSeq number and credentials are those of the INVITE."""
        request = self._request("ACK", invite.sequence[0])
        for name in ("Authorization", "Proxy-Authorization"):
            for value in invite.headers.all(name):
                request.headers.add(name, value)
        return request

    def _request(self, method: str, sequence: int) -> Request:
        headers = Headers()
        for route in self.route_set:
            headers.add("Route", route)
        headers.add("From", self.local)
        headers.add("To", self.remote)
        headers.add("Call-ID", self.call_id)
        headers.add("CSeq", f"{sequence} {method}")
        return Request(headers=headers, method=method, uri=str(self.remote_target))


def dialog_key(request: Request) -> tuple[str, str, str]:
    """Call-ID, To tag, From tag of a request: equals `Dialog.key` of the side that receives it."""
    return request.call_id, tag_of(request.header("To")), tag_of(request.header("From"))
