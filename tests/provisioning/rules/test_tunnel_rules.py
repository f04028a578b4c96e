"""Addresses, keys, configurations and firewall of the tunnels, as pure rules."""

from __future__ import annotations

import base64
from ipaddress import IPv4Network

import pytest

from provisioning.rules import tunnel_addresses, tunnel_documents, tunnel_firewall, tunnel_keys
from provisioning.rules.tunnel_addresses import AddressesExhausted, NetworkRefused
from provisioning.rules.tunnel_documents import Peer, SeatSide
from provisioning.rules.tunnel_firewall import EdgeServer
from provisioning.rules.tunnel_keys import KeyRefused

POOL = IPv4Network("10.64.4.0/24")
EDGE = EdgeServer("192.0.2.1", (5060,), (5060, 5061), (16384, 32768))


def test_the_lowest_free_addresses_are_given_and_never_the_first_or_last() -> None:
    assert tunnel_addresses.free_addresses([POOL], {"10.64.4.1", "10.64.4.3"}, 2) == ["10.64.4.2", "10.64.4.4"]
    every = tunnel_addresses.free_addresses([POOL], set(), 254)
    assert (every[0], every[-1], len(set(every))) == ("10.64.4.1", "10.64.4.254", 254)
    with pytest.raises(AddressesExhausted, match="254 free addresses, 255 are needed"):
        tunnel_addresses.free_addresses([POOL], set(), 255)


def test_more_seats_than_addresses_are_refused() -> None:
    tunnel_addresses.check_room([POOL], 254)
    with pytest.raises(AddressesExhausted, match="255 seats, but its VPN pool has 254"):
        tunnel_addresses.check_room([POOL], 255)


def test_a_new_pool_is_of_the_usual_size_or_holds_the_first_order() -> None:
    assert [tunnel_addresses.prefix_for(seats) for seats in (1, 1_022, 1_023, 65_534)] == [22, 22, 21, 16]
    with pytest.raises(AddressesExhausted):
        tunnel_addresses.prefix_for(65_535)


def test_networks_of_two_tenants_never_share_a_block() -> None:
    taken: set[str] = set()
    found: list[IPv4Network] = []
    for prefix in (24, 22, 24, 23):
        network = tunnel_addresses.free_network(prefix, taken)
        assert taken.isdisjoint(tunnel_addresses.blocks_of(network))
        taken.update(tunnel_addresses.blocks_of(network))
        found.append(network)
    assert [str(each) for each in found] == ["10.64.0.0/24", "10.64.4.0/22", "10.64.1.0/24", "10.64.2.0/23"]


@pytest.mark.parametrize(
    "text", ["", "10.64.4.0", "10.64.4.1/22", "10.64.4.0/25", "10.64.0.0/15", "192.168.0.0/24", "::/64"]
)
def test_only_whole_blocks_inside_the_supernet_are_networks(text: str) -> None:
    with pytest.raises(NetworkRefused) as refused:
        tunnel_addresses.read_network(text)
    assert refused.value.field == "network"


def test_a_made_pair_is_one_that_wireguard_takes() -> None:
    pair = tunnel_keys.new_pair()
    assert tunnel_keys.public_of(pair.private) == pair.public == tunnel_keys.read_public(pair.public)
    assert pair.private not in repr(pair)
    assert tunnel_keys.new_pair() != pair


A_KEY = base64.b64encode(bytes(range(32))).decode()


def test_a_key_of_any_bytes_is_one() -> None:
    assert tunnel_keys.read_public(A_KEY) == A_KEY


@pytest.mark.parametrize(
    "text",
    [
        "",
        "short",
        "A" * 43 + "=",  # the point zero
        base64.b64encode(bytes([1, *[0] * 31])).decode(),  # a point of low order
        base64.b64encode(bytes([0xEC, *[0xFF] * 30, 0x7F])).decode(),  # minus one: of low order as well
        base64.b64encode(bytes(31)).decode(),
        f"{A_KEY}\n",
        f"{A_KEY[:-2]}é=",
    ],
)
def test_what_is_no_usable_public_key_is_refused(text: str) -> None:
    with pytest.raises(KeyRefused) as refused:
        tunnel_keys.read_public(text)
    assert refused.value.field == "public_key"


def test_the_same_key_in_another_spelling_is_the_same_key() -> None:
    key = tunnel_keys.new_pair().public
    raw = base64.b64decode(key)
    respelt = base64.b64encode(raw[:-1] + bytes([raw[-1] | 0x80])).decode()
    assert respelt != key
    assert tunnel_keys.read_public(respelt) == key


def test_only_the_edge_goes_through_a_seats_tunnel() -> None:
    side = SeatSide(
        address="10.64.4.2",
        gateway_key="gateway-key",
        gateway_host="vpn.example.com",
        gateway_port=51820,
        reachable=["192.0.2.1", "192.0.2.2"],
    )
    assert tunnel_documents.seat_configuration(side, private_key="secret").splitlines() == [
        "[Interface]",
        "PrivateKey = secret",
        "Address = 10.64.4.2/32",
        "MTU = 1380",
        "",
        "[Peer]",
        "PublicKey = gateway-key",
        "Endpoint = vpn.example.com:51820",
        "AllowedIPs = 192.0.2.1/32, 192.0.2.2/32",
        "PersistentKeepalive = 25",
    ]
    assert "# PrivateKey" in tunnel_documents.seat_configuration(side, private_key=None)


def test_a_peer_that_is_shut_stays_without_an_address() -> None:
    text = tunnel_documents.gateway_configuration("secret", 51820, [Peer("one", "10.64.4.2")], shut=["two"])
    assert text == (
        "[Interface]\nPrivateKey = secret\nListenPort = 51820\n"
        "[Peer]\nPublicKey = one\nAllowedIPs = 10.64.4.2/32\n[Peer]\nPublicKey = two\n"
    )


def test_the_firewall_opens_the_ports_of_the_edge_and_nothing_else() -> None:
    rules = tunnel_firewall.ruleset("wg-seats", [EDGE, EDGE])
    assert rules.count("ip daddr 192.0.2.1 udp dport { 5060, 16384-32768 } accept") == 1
    assert "ip daddr 192.0.2.1 tcp dport { 5060, 5061 } accept" in rules
    assert 'iifname "wg-seats" oifname "wg-seats" drop' in rules
    accepted = [line.strip() for line in rules.splitlines() if line.strip().endswith("accept")]
    assert all("192.0.2.1" in line or "established" in line for line in accepted)


def test_without_an_edge_nothing_passes() -> None:
    assert "dport" not in tunnel_firewall.ruleset("wg-seats", [])


@pytest.mark.parametrize("address", ["192.0.2.1; drop", "::1", "edge.example.com"])
def test_the_firewall_takes_nothing_but_addresses(address: str) -> None:
    with pytest.raises(ValueError, match=r"Expected|Only|Octet|Unexpected|permitted"):
        tunnel_firewall.ruleset("wg-seats", [EdgeServer(address, (5060,), ())])


@pytest.mark.parametrize("interface", ["", 'wg"', "a" * 16, "wg seats", "-x"])
def test_the_firewall_takes_nothing_but_names_of_interfaces(interface: str) -> None:
    with pytest.raises(ValueError, match="name of an interface"):
        tunnel_firewall.ruleset(interface, [])
