"""Where a node says that it takes SIP is read, and compared with its row."""

from __future__ import annotations

import pytest

from switch.listening import Place, Socket, problem, read_sockets

OVERVIEW = """                     Name\t   Type\t                                      Data\tState
=================================================================================================
                 external\tprofile\t          sip:mod_sofia@192.0.2.1:5080\tRUNNING (0)
        external::carrier\tgateway\t            sip:carrier@198.51.100.7\tNOREG
                 internal\tprofile\t          sip:mod_sofia@192.0.2.1:5060\tRUNNING (3)
                 internal\tprofile\t          sip:mod_sofia@192.0.2.1:5061\tRUNNING (0) (TLS)
=================================================================================================
2 profiles 0 aliases
"""


def place(*, host: str = "192.0.2.1", listen_host: str | None = None, internal: int = 5060) -> Place:
    return Place(host=host, listen_host=listen_host, ports={"internal": internal, "external": 5080})


def test_the_sockets_of_its_profiles_are_read_without_those_for_tls() -> None:
    assert read_sockets(OVERVIEW) == {"external": Socket("192.0.2.1", 5080), "internal": Socket("192.0.2.1", 5060)}
    turned = OVERVIEW.replace("5060\tRUNNING (3)", "5060\tRUNNING (3) (TLS)").replace("(0) (TLS)", "(0)")
    assert read_sockets(turned)["internal"] == Socket("192.0.2.1", 5061)
    six = OVERVIEW.replace("192.0.2.1", "[2001:db8::1]")
    assert read_sockets(six)["internal"] == Socket("2001:db8::1", 5060)
    assert str(Socket("2001:db8::1", 5060)) == "[2001:db8::1]:5060"


@pytest.mark.parametrize(
    "expected",
    [
        place(),
        place(host="203.0.113.1", listen_host="192.0.2.1"),
        place(listen_host="10.0.0.1"),
    ],
)
def test_a_node_is_in_its_place_by_its_own_address_or_the_one_it_binds(expected: Place) -> None:
    assert problem(expected, OVERVIEW) is None


def test_addresses_are_compared_and_not_their_spelling() -> None:
    six = OVERVIEW.replace("192.0.2.1", "[2001:0db8:0:0::1]")
    assert problem(place(host="2001:db8::1"), six) is None


@pytest.mark.parametrize(
    ("expected", "said"),
    [
        (
            place(internal=6060),
            "its profile internal listens at 192.0.2.1:5060, but its row says 192.0.2.1:6060: write",
        ),
        (
            place(host="192.0.2.9", listen_host="10.0.0.1"),
            "its profile external listens at 192.0.2.1:5080, but its row",
        ),
    ],
)
def test_a_node_that_listens_elsewhere_is_told_with_both_places_and_the_remedy(expected: Place, said: str) -> None:
    told = problem(expected, OVERVIEW)
    assert told is not None
    assert said in told
    assert "seatline node-config" in told


@pytest.mark.parametrize(
    "overview", ["", "-ERR no reply\n", "0 profiles 0 aliases\n", OVERVIEW.replace("192.0.2.1", "x")]
)
def test_what_names_no_profile_is_not_judged_and_what_names_no_address_is_elsewhere(overview: str) -> None:
    assert (problem(place(), overview) is not None) == ("@x" in overview)
