"""Addresses of the seats' tunnels: which networks a tenant has, and which address a seat gets. Pure.

All tunnels live in `SUPERNET`. It is cut into blocks of 256 addresses and a block belongs to one tenant at most, so two
tenants can never share an address. A tenant's pool is one or more networks of whole blocks.
"""

from __future__ import annotations

from collections.abc import Iterable, Set
from ipaddress import AddressValueError, IPv4Address, IPv4Network, NetmaskValueError

from infra.kit.problems import Conflict, InvalidInput

SUPERNET = IPv4Network("10.64.0.0/10")
"""Of RFC 1918, and far from the 10.0.x.x and 192.168.x.x that people have at home."""

BLOCK_PREFIX = 24
LARGEST_PREFIX = 16
"""The largest network that a tenant may be given: 65,534 addresses."""

USUAL_PREFIX = 22
"""What a tenant gets by itself with its first order: 1,022 addresses."""

RESERVED = 2
"""The first and last address of a network are given to nobody, as old phones take them for something else."""


class NetworkRefused(InvalidInput):
    """The network cannot be part of a pool; `field` names it."""

    code = "tunnel_network_refused"


class AddressesExhausted(Conflict):
    """The tenant's pool has fewer addresses than it has seats."""

    code = "tunnel_addresses_exhausted"


def read_network(text: str) -> IPv4Network:
    """A network for a pool, such as `10.64.4.0/22`. Raises `NetworkRefused`."""
    wanted = f"a network inside {SUPERNET} of /{LARGEST_PREFIX} to /{BLOCK_PREFIX}, such as 10.64.4.0/22"
    try:
        network = IPv4Network(text)
    except (AddressValueError, NetmaskValueError, ValueError) as error:
        raise NetworkRefused(f"{text!r} is not a network ({error}); expected {wanted}.", field="network") from error
    if not network.subnet_of(SUPERNET) or not LARGEST_PREFIX <= network.prefixlen <= BLOCK_PREFIX:
        raise NetworkRefused(f"{network} cannot be used; expected {wanted}.", field="network")
    return network


def blocks_of(network: IPv4Network) -> list[str]:
    """The blocks that a network consists of."""
    return [str(block) for block in network.subnets(new_prefix=BLOCK_PREFIX)]


def capacity(networks: Iterable[IPv4Network]) -> int:
    """How many seats a pool has addresses for."""
    return sum(network.num_addresses - RESERVED for network in networks)


def prefix_for(seats: int) -> int:
    """The size of a new tenant's network: the usual one, or the smallest that holds its first order.

    Raises `AddressesExhausted` beyond the largest network.
    """
    for prefix in range(USUAL_PREFIX, LARGEST_PREFIX - 1, -1):
        if seats <= 2 ** (32 - prefix) - RESERVED:
            return prefix
    raise AddressesExhausted(
        f"No network has addresses for {seats} seats; the largest has {2 ** (32 - LARGEST_PREFIX) - RESERVED}.",
        field="quantity",
    )


def free_network(prefix: int, taken: Set[str]) -> IPv4Network:
    """The lowest network of this size none of whose blocks is `taken`. Raises `AddressesExhausted`."""
    busy = {int(IPv4Network(block).network_address) for block in taken}
    block_size = 2 ** (32 - BLOCK_PREFIX)
    size = 2 ** (32 - prefix)
    for first in range(int(SUPERNET.network_address), int(SUPERNET.broadcast_address), size):
        if not any(block in busy for block in range(first, first + size, block_size)):
            return IPv4Network((first, prefix))
    raise AddressesExhausted(f"All of {SUPERNET} belongs to tenants; no /{prefix} is left.", field="quantity")


def free_addresses(networks: Iterable[IPv4Network], used: Set[str], count: int) -> list[str]:
    """`count` addresses that nobody uses, the lowest first. Raises `AddressesExhausted`, having given none."""
    found: list[str] = []
    taken = {int(IPv4Address(address)) for address in used}
    for network in sorted(networks):
        for number in range(int(network.network_address) + 1, int(network.broadcast_address)):
            if len(found) == count:
                return found
            if number not in taken:
                found.append(str(IPv4Address(number)))
    if len(found) < count:
        raise AddressesExhausted(
            f"The pool has {len(found)} free addresses, {count} are needed; the operator must add a network to it.",
            field="quantity",
        )
    return found


def check_room(networks: Iterable[IPv4Network], seats: int) -> None:
    """Refuse more seats, held and ordered together, than the pool has addresses. Raises `AddressesExhausted`."""
    room = capacity(networks)
    if seats > room:
        raise AddressesExhausted(
            f"The tenant would have {seats} seats, but its VPN pool has {room} addresses; order fewer, or have the "
            "operator add a network to the pool first.",
            field="quantity",
        )
