"""Network lists: who may connect or call (`acl.conf`).

Source: `switch_core.c` (`switch_load_network_lists`) and `switch_utils.c` (`switch_network_list_validate_ip`): the most
specific network that contains the address decides, and the list's default where none does.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from xml.etree import ElementTree

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_PRIVATE = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")
_BUILT_IN = {
    "loopback.auto": ("127.0.0.0/8", "::1/128"),
    "rfc1918.auto": _PRIVATE,
    "nat.auto": _PRIVATE,
    "localnet.auto": ("127.0.0.0/8", "::1/128"),
}


@dataclass(frozen=True)
class NetworkList:
    """Networks with what they are allowed, and what everybody else is."""

    entries: tuple[tuple[Network, bool], ...]
    default: bool

    def allows(self, address: str) -> bool:
        """Whether an IP address passes; text that is no address never does."""
        try:
            ip = ipaddress.ip_address(address)
        except ValueError:
            return False
        containing = [item for item in self.entries if item[0].version == ip.version and ip in item[0]]
        if not containing:
            return self.default
        return max(containing, key=lambda item: item[0].prefixlen)[1]


class NetworkLists:
    """All lists of a node by name; a bare network may stand where a name is expected."""

    def __init__(self, configuration: ElementTree.Element | None) -> None:
        self._lists: dict[str, NetworkList] = {
            name: NetworkList(tuple((ipaddress.ip_network(text), True) for text in networks), default=False)
            for name, networks in _BUILT_IN.items()
        }
        if configuration is not None:
            for element in configuration.iter("list"):
                self._lists[element.get("name", "")] = _read(element)

    def allows(self, names: tuple[str, ...], address: str) -> bool:
        """Whether any of the lists lets the address pass; an unknown list lets nobody pass."""
        return any(self._list(name).allows(address) for name in names)

    def _list(self, name: str) -> NetworkList:
        found = self._lists.get(name)
        if found is not None:
            return found
        try:
            return NetworkList(((ipaddress.ip_network(name, strict=False), True),), default=False)
        except ValueError:
            return NetworkList((), default=False)


def _read(element: ElementTree.Element) -> NetworkList:
    entries: list[tuple[Network, bool]] = []
    for node in element.iter("node"):
        text = node.get("cidr")
        if text is None and node.get("host"):
            text = f"{node.get('host')}/{node.get('mask', '32')}"
        for part in (text or "").split(","):
            try:
                entries.append((ipaddress.ip_network(part.strip(), strict=False), node.get("type") == "allow"))
            except ValueError:
                # FreeSWITCH logs a bad entry and goes on with the others.
                continue
    return NetworkList(tuple(entries), default=element.get("default") == "allow")
