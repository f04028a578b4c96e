"""The way to a phone: straight to its Contact, or along the Path that it registered with (RFC 3327).

Source: `sofia_reg.c` (`sofia_reg_handle_register_token`), `sofia_glue.c` (`sofia_glue_get_encoded_fs_path`,
`sofia_glue_get_destination`): the Path is kept within the Contact, as its parameter `fs_path`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from urllib.parse import unquote

from switch.simulator.events import url_encode
from switch.simulator.sip_sockets import TCP, TLS, UDP
from switch.sip.dialog import Address
from switch.sip.endpoint import SipEndpoint
from switch.sip.uri import NameAddress, SipUri, split_list

PATH_PARAMETER = "fs_path"
_OWN_PARAMETERS = "fs_"


def with_path(contact: SipUri, path: Iterable[str]) -> SipUri:
    """A Contact with the values of the Path header that came with it."""
    encoded = "%2C".join(url_encode(value) for value in path)
    if not encoded:
        return contact
    return replace(contact, parameters={**contact.parameters, PATH_PARAMETER: encoded})


def transport_of(uri: SipUri) -> str:
    """UDP, TCP or TLS, as the address says it."""
    named = uri.parameters.get("transport", "").upper()
    if uri.scheme == "sips" or named == TLS:
        return TLS
    return TCP if named == TCP else UDP


@dataclass(frozen=True)
class Hop:
    """The socket that a request leaves by, and the address that it goes to next."""

    endpoint: SipEndpoint
    address: Address


@dataclass(frozen=True)
class Way:
    """Where a request goes: `contact` as it is kept, `target` is the Request-URI, `routes` are the Route values."""

    contact: SipUri
    target: SipUri
    routes: tuple[str, ...]

    @classmethod
    def to(cls, contact: SipUri) -> Way:
        """The way to a kept Contact. Raises SipSyntaxError when its Path cannot be read."""
        routes = tuple(split_list(unquote(contact.parameters.get(PATH_PARAMETER, ""))))
        for route in routes:
            NameAddress.parse(route)
        plain = {name: value for name, value in contact.parameters.items() if not name.startswith(_OWN_PARAMETERS)}
        return cls(contact, replace(contact, parameters=plain), routes)

    @property
    def first_hop(self) -> SipUri:
        """Whom the request is sent to."""
        return NameAddress.parse(self.routes[0]).uri if self.routes else self.target

    @property
    def transport(self) -> str:
        """How it is sent there."""
        return transport_of(self.first_hop)
