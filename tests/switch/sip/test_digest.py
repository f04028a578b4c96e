"""Digest authentication: the published example, both ways round, and nonces."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switch.sip.authentication import DigestUser
from switch.sip.digest import Challenge, Credentials, NonceBook, NonceVerdict, a1_hash, answer, verify
from switch.sip.errors import AuthenticationImpossible, SipSyntaxError
from switch.sip.message import Headers, Request, Response

HASHED = a1_hash("1001", "ten.example", "secret")


def test_the_example_of_rfc_2617_comes_out() -> None:
    challenge = Challenge.parse(
        'Digest realm="testrealm@host.com", qop="auth,auth-int", '
        'nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", opaque="5ccc069c403ebaf9f0171e9517f40e41"'
    )
    credentials = answer(
        challenge,
        method="GET",
        uri="/dir/index.html",
        user="Mufasa",
        hashed_a1=a1_hash("Mufasa", "testrealm@host.com", "Circle Of Life"),
        client_nonce="0a4f113b",
    )
    assert credentials.response == "6629fae49393a05397450978507c4ef1"
    assert credentials.opaque == "5ccc069c403ebaf9f0171e9517f40e41"


@given(st.sampled_from(["auth", ""]), st.text(max_size=12), st.integers(1, 2**31))
def test_credentials_written_and_read_prove_the_password(qop: str, user: str, count: int) -> None:
    challenge = Challenge.parse(str(Challenge(realm="r", nonce="n", qop=qop)))
    try:
        credentials = answer(challenge, method="REGISTER", uri="sip:r", user=user, hashed_a1=HASHED, nonce_count=count)
        read = Credentials.parse(str(credentials))
    except SipSyntaxError:
        assert any(character in user for character in "\r\n\0")
        return
    except UnicodeEncodeError:
        return
    assert read == credentials
    assert verify(read, method="REGISTER", hashed_a1=HASHED)
    assert verify(read, method="REGISTER", hashed_a1=HASHED.upper())
    assert not verify(read, method="INVITE", hashed_a1=HASHED)
    assert not verify(read, method="REGISTER", hashed_a1=a1_hash("1001", "ten.example", "other"))
    assert not verify(replace(read, response="é"), method="REGISTER", hashed_a1=HASHED)


def test_a_recorded_answer_of_a_phone_has_the_form_freeswitch_reports() -> None:
    credentials = Credentials.parse(
        'Digest username="2001",realm="127.0.0.1",cnonce="6b8b4567",nc=00000001,qop=auth,'
        'uri="sip:127.0.0.1:5060",nonce="4d48687b-b030-40ea-8a39-3eac8434732d",'
        'response="926437d6ee854666989b68ff33377329",algorithm=MD5'
    )
    assert (credentials.user, credentials.nonce_count, credentials.qop) == ("2001", "00000001", "auth")
    assert "926437" not in repr(credentials)


@pytest.mark.parametrize("algorithm", ["SHA-256", "MD5-sess"])
def test_other_algorithms_are_refused_both_ways(algorithm: str) -> None:
    challenge = Challenge(realm="r", nonce="n", algorithm=algorithm)
    with pytest.raises(AuthenticationImpossible):
        answer(challenge, method="REGISTER", uri="sip:r", user="u", hashed_a1=HASHED)
    good = answer(Challenge("r", "n"), method="REGISTER", uri="sip:r", user="u", hashed_a1=HASHED)
    assert not verify(replace(good, algorithm=algorithm), method="REGISTER", hashed_a1=HASHED)


def test_only_protection_by_auth_is_spoken() -> None:
    with pytest.raises(AuthenticationImpossible):
        answer(Challenge("r", "n", qop="auth-int"), method="INVITE", uri="sip:r", user="u", hashed_a1=HASHED)


@pytest.mark.parametrize("text", ["", "Basic abc", "Digest", 'Digest realm="x"', 'Digest username="a"'])
def test_incomplete_headers_are_refused(text: str) -> None:
    for reader in (Challenge.parse, Credentials.parse):
        with pytest.raises((SipSyntaxError, AuthenticationImpossible)):
            reader(text)


def test_a_nonce_count_works_once_and_a_nonce_only_for_its_time() -> None:
    elapsed = 0.0
    book = NonceBook(lambda: elapsed, lifetime_seconds=60)
    challenge = Challenge("r", book.issue())

    def credentials(count: int) -> Credentials:
        return answer(challenge, method="INVITE", uri="sip:r", user="u", hashed_a1=HASHED, nonce_count=count)

    assert book.check(credentials(1)) is NonceVerdict.GOOD
    assert book.check(credentials(1)) is NonceVerdict.STALE
    assert book.check(credentials(2)) is NonceVerdict.GOOD
    assert book.check(replace(credentials(3), nonce="made up")) is NonceVerdict.STALE
    assert book.check(replace(credentials(3), nonce_count="zz")) is NonceVerdict.STALE
    elapsed = 61.0
    assert book.check(credentials(4)) is NonceVerdict.STALE


def test_nonces_are_never_more_than_the_limit() -> None:
    book = NonceBook(lambda: 0.0, limit=10)
    for _ in range(100):
        book.issue()
    assert len(book) == 10


def test_an_a1_hash_for_another_realm_is_told_instead_of_failing_silently() -> None:
    request = Request(Headers([("CSeq", "1 REGISTER")]), method="REGISTER", uri="sip:ten.example")
    refusal = Response(status=401)
    refusal.headers.add("WWW-Authenticate", str(Challenge("other.example", "n")))
    with pytest.raises(AuthenticationImpossible, match=r"other\.example"):
        DigestUser("1001", "ten.example", HASHED).authorize(request, refusal)


def test_a_second_challenge_is_the_last_word_unless_it_is_stale() -> None:
    user = DigestUser("1001", "ten.example", HASHED)
    request = Request(Headers([("CSeq", "1 REGISTER")]), method="REGISTER", uri="sip:ten.example")
    first = Response(status=401)
    first.headers.add("WWW-Authenticate", str(Challenge("ten.example", "n1")))
    again = user.authorize(request, first)
    assert again is not None and again.sequence == (2, "REGISTER")
    assert user.authorize(again, first) is None
    stale = Response(status=401)
    stale.headers.add("WWW-Authenticate", str(Challenge("ten.example", "n2", stale=True)))
    third = user.authorize(again, stale)
    assert third is not None and len(third.headers.all("Authorization")) == 1
    assert HASHED not in repr(user)
