"""SIP messages and addresses: what must be read, and what must be refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switch.sip.errors import SipSyntaxError
from switch.sip.message import MAX_HEADER_LINES, Headers, Request, Response, parse
from switch.sip.uri import NameAddress, SipUri, Via, split_list, tag_of

INVITE = (
    b"INVITE sip:1002@example.com SIP/2.0\r\n"
    b"v: SIP/2.0/UDP 10.0.0.1:5070;branch=z9hG4bKone;rport, SIP/2.0/UDP 10.0.0.2;branch=z9hG4bKtwo\r\n"
    b'f: "Li, \\"Wei\\"" <sip:1001@example.com;transport=udp>;tag=abc\r\n'
    b"t: <sip:1002@example.com>\r\n"
    b"i: call-1\r\n"
    b"CSeq: 7 INVITE\r\n"
    b"Subject: first line\r\n"
    b"  second line\r\n"
    b"m: <sip:1001@10.0.0.1:5070>\r\n"
    b"l: 4\r\n"
    b"\r\n"
    b"v=0\nmore than Content-Length said"
)


def test_a_request_with_compact_names_and_folded_lines_is_read() -> None:
    message = parse(INVITE)
    assert isinstance(message, Request)
    assert (message.method, message.uri, message.body) == ("INVITE", "sip:1002@example.com", b"v=0\n")
    assert message.sequence == (7, "INVITE")
    assert message.call_id == "call-1"
    assert message.from_address.display == 'Li, "Wei"'
    assert message.from_address.tag == "abc"
    assert message.from_address.uri.parameters == {"transport": "udp"}
    assert message.headers.get("subject") == "first line second line"
    assert [Via.parse(value).host for value in message.headers.all("Via")] == ["10.0.0.1", "10.0.0.2"]
    assert message.top_via.branch == "z9hG4bKone"


def test_a_message_written_is_the_message_read() -> None:
    first = parse(INVITE)
    second = parse(first.encode())
    assert list(second.headers)[:-1] == [item for item in first.headers if item[0] != "Content-Length"]
    assert second.body == first.body


def test_a_response_copies_what_rfc_3261_asks_for() -> None:
    request = parse(INVITE)
    assert isinstance(request, Request)
    response = parse(Response.to_request(request, 486, to_tag="ours").encode())
    assert isinstance(response, Response)
    assert (response.status, response.reason) == (486, "Busy Here")
    assert response.headers.all("Via") == request.headers.all("Via")
    assert response.to_address.tag == "ours"
    assert response.sequence == (7, "INVITE")


@pytest.mark.parametrize(
    "datagram",
    [
        b"",
        b"hello",
        b"INVITE sip:a@b SIP/2.0\r\n",
        b"INVITE sip:a@b SIP/3.0\r\n\r\n",
        b"INV ITE sip:a@b SIP/2.0\r\n\r\n",
        b"SIP/2.0 99 Early\r\n\r\n",
        b"SIP/2.0 2000 Late\r\n\r\n",
        b"OPTIONS sip:a@b SIP/2.0\r\nno colon\r\n\r\n",
        b"OPTIONS sip:a@b SIP/2.0\r\nbad name: x\r\n\r\n",
        b"OPTIONS sip:a@b SIP/2.0\r\nContent-Length: 10\r\n\r\nshort",
        b"OPTIONS sip:a@b SIP/2.0\r\nContent-Length: -1\r\n\r\n",
        b"OPTIONS sip:a@b SIP/2.0\r\n" + b"X: y\r\n" * (MAX_HEADER_LINES + 1) + b"\r\n",
        b"OPTIONS sip:a@b SIP/2.0\r\nX: " + b"y" * 10_000 + b"\r\n\r\n",
        b"x" * 70_000,
    ],
)
def test_what_is_not_sip_is_refused(datagram: bytes) -> None:
    with pytest.raises(SipSyntaxError):
        parse(datagram)


@pytest.mark.parametrize("sequence", ["INVITE", "x INVITE", "1", "4294967296 INVITE", "-1 INVITE"])
def test_a_sequence_that_makes_no_sense_is_refused(sequence: str) -> None:
    with pytest.raises(SipSyntaxError):
        _ = Request(Headers([("CSeq", sequence)])).sequence


@given(st.binary(max_size=400))
def test_any_bytes_are_read_or_refused(datagram: bytes) -> None:
    try:
        message = parse(b"OPTIONS sip:a@b SIP/2.0\r\n" + datagram)
        message.encode()
    except SipSyntaxError as error:
        assert str(error)


@given(st.text(max_size=60))
def test_any_address_is_read_or_refused(text: str) -> None:
    for reader in (SipUri.parse, NameAddress.parse, Via.parse):
        try:
            str(reader(text))
        except SipSyntaxError as error:
            assert str(error)


@given(
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20),
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20),
)
def test_users_and_names_survive_writing_and_reading(user: str, display: str) -> None:
    address = NameAddress(SipUri("example.com", user, 5070), display)
    assert NameAddress.parse(str(address)) == address


@pytest.mark.parametrize("value", ["a\r\nX-Evil: yes", "a\nb", "a\0b"])
def test_no_header_can_smuggle_another(value: str) -> None:
    with pytest.raises(SipSyntaxError):
        Headers([("Subject", value)])
    with pytest.raises(SipSyntaxError):
        Request(method="OPTIONS", uri=f"sip:{value}").encode()


def test_commas_in_quotes_and_brackets_do_not_part_a_list() -> None:
    assert split_list('"a, b" <sip:x@y;p="1,2">, <sip:z@w>') == ['"a, b" <sip:x@y;p="1,2">', "<sip:z@w>"]


def test_tags_are_found_behind_any_uri() -> None:
    assert tag_of("<tel:+8613800138000>;tag=x") == "x"
    assert tag_of("sip:a@b;tag=y") == "y"
    assert tag_of("<sip:a@b;tag=inside>") == ""


def test_ipv6_hosts_keep_their_brackets() -> None:
    uri = SipUri.parse("sip:1001@[fd00::2]:5062;transport=udp")
    assert (uri.host, uri.port) == ("fd00::2", 5062)
    assert str(uri) == "sip:1001@[fd00::2]:5062;transport=udp"


def test_replacing_a_header_keeps_its_place() -> None:
    headers = Headers([("A", "1"), ("B", "2"), ("C", "3"), ("b", "4")])
    headers.set("B", "5")
    assert len(headers) == 3
    assert [value for _, value in headers] == ["1", "5", "3"]
