"""What edges and name servers are told, as files."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switch.edge import documents
from switch.edge.documents import EdgeAddress, EdgeSettings, NameRefused, NodeAddress, ServedDomain

ALPHA = NodeAddress("alpha", "192.0.2.1", 5060, 5061)
BETA = NodeAddress("beta_2", "2001:db8::2", 5070)
EDGE = EdgeAddress("east", "edge.example.net", 5060, 5061)


def test_every_node_is_a_set_of_its_own_and_domains_name_sets_in_their_order() -> None:
    numbers = documents.set_numbers(["alpha", "beta_2"])
    assert documents.nodes_file([BETA, ALPHA]).splitlines()[1:] == [
        f"{numbers['alpha']} sip:192.0.2.1:5060;transport=udp 0 0 node=alpha",
        f"{numbers['beta_2']} sip:[2001:db8::2]:5070;transport=udp 0 0 node=beta_2",
    ]
    served = [ServedDomain("b.example.com", ("beta_2", "alpha")), ServedDomain("a.example.com", ("alpha", "gone"))]
    assert documents.map_file(served, [ALPHA, BETA]).splitlines()[1:] == [
        f"a.example.com:0:0:{numbers['alpha']}:0",
        f"b.example.com:0:0:{numbers['beta_2']},{numbers['alpha']}:0",
    ]


def test_a_domain_none_of_whose_nodes_is_known_is_unknown_to_the_edge() -> None:
    assert len(documents.map_file([ServedDomain("a.example.com", ("gone",))], [ALPHA]).splitlines()) == 1


@given(st.sets(st.text("abcdefgh-0123456789", min_size=1, max_size=12), max_size=40), st.data())
def test_a_nodes_number_depends_on_its_name_and_is_nobody_elses(names: set[str], data: st.DataObject) -> None:
    numbers = documents.set_numbers(names)
    assert len(set(numbers.values())) == len(names)
    assert all(1 <= number <= documents.MAX_SET for number in numbers.values())
    some = data.draw(st.sets(st.sampled_from(sorted(names)))) if names else set[str]()
    assert all(numbers[name] == number for name, number in documents.set_numbers(some).items())


@pytest.mark.parametrize("domain", ["a.example.com:0:0:1:0\nb.example.com", "a..b", "", "A.example.com", "a b"])
def test_a_name_that_would_break_a_file_is_refused(domain: str) -> None:
    with pytest.raises(NameRefused):
        documents.map_file([ServedDomain(domain, ("alpha",))], [ALPHA])
    with pytest.raises(NameRefused):
        documents.srv_records(domain, [ALPHA], [])


def test_phones_find_the_edge_then_home_then_spare_by_the_dns() -> None:
    assert documents.srv_records("a.example.com", [ALPHA, BETA], [EDGE]).splitlines() == [
        "_sip._udp.a.example.com. 60 IN SRV 5 0 5060 edge.example.net.",
        "_sip._udp.a.example.com. 60 IN SRV 10 0 5060 alpha.a.example.com.",
        "_sip._udp.a.example.com. 60 IN SRV 20 0 5070 beta-2.a.example.com.",
        "_sip._tcp.a.example.com. 60 IN SRV 5 0 5060 edge.example.net.",
        "_sip._tcp.a.example.com. 60 IN SRV 10 0 5060 alpha.a.example.com.",
        "_sip._tcp.a.example.com. 60 IN SRV 20 0 5070 beta-2.a.example.com.",
        "_sips._tcp.a.example.com. 60 IN SRV 5 0 5061 edge.example.net.",
        "_sips._tcp.a.example.com. 60 IN SRV 10 0 5061 alpha.a.example.com.",
        "alpha.a.example.com. 60 IN A 192.0.2.1",
        "beta-2.a.example.com. 60 IN AAAA 2001:db8::2",
    ]


def test_an_edges_settings_name_where_it_listens_and_where_its_files_lie() -> None:
    settings = EdgeSettings(
        edge=EDGE,
        listen_on="192.0.2.9",
        advertised="edge.example.net",
        directory=PurePosixPath("/etc/seatline-edge"),
        tls_certificate=PurePosixPath("/etc/ssl/edge.pem"),
        requests_per_second=50,
    )
    lines = documents.settings_file(settings).splitlines()
    assert 'listen=udp:192.0.2.9:5060 advertise "edge.example.net:5060"' in lines
    assert 'listen=tls:192.0.2.9:5061 advertise "edge.example.net:5061"' in lines
    assert '#!define MAP_URL "text:///etc/seatline-edge/map"' in lines
    assert "#!define REQUESTS_IN_TWO_SECONDS 100" in lines
    assert "#!define WITH_TLS" in lines
    assert "private_key = /etc/ssl/edge.pem" in documents.tls_file(settings)
