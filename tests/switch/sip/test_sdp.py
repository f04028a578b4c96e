"""Keys for encrypted media in a session description."""

from __future__ import annotations

import base64

import pytest

from switch.sip.errors import SipSyntaxError
from switch.sip.sdp import ENCRYPTED, PLAIN, SUITE, Audio, describe

KEY = bytes(range(30))
TEXT = base64.b64encode(KEY).decode()
WEAKER = f"a=crypto:1 AES_CM_128_HMAC_SHA1_32 inline:{TEXT}\r\n"


def offered(*attributes: str) -> Audio:
    """An offer of encrypted media with these attributes."""
    head = "v=0\r\nc=IN IP4 192.0.2.1\r\nm=audio 4000 RTP/SAVP 0\r\n"
    return Audio.parse((head + "".join(attributes)).encode())


@pytest.mark.parametrize("more", ["", "|2^20", "|2^20|1:4", " UNENCRYPTED_SRTCP"])
def test_the_first_key_of_our_suite_is_taken(more: str) -> None:
    audio = offered(WEAKER, f"a=crypto:2 {SUITE} inline:{TEXT}{more}\r\n", f"a=crypto:3 {SUITE} inline:{TEXT}\r\n")
    assert (audio.profile, audio.crypto_tag, audio.crypto_key) == (ENCRYPTED, "2", KEY)
    assert TEXT not in repr(audio)
    assert str(KEY) not in repr(audio)


@pytest.mark.parametrize("key", ["", "inline:", f"inline:{TEXT[:-4]}", "inline:***", "inline:安全", f"uri:{TEXT}"])
def test_what_is_no_whole_key_is_none_and_a_later_one_counts(key: str) -> None:
    broken = f"a=crypto:1 {SUITE} {key}\r\n"
    audio = offered(broken)
    assert (audio.crypto_tag, audio.crypto_key) == (None, None)
    with pytest.raises(SipSyntaxError):
        describe("192.0.2.2", 5000, session_id=1, answer_to=audio, encrypts=True)
    assert offered(broken, f"a=crypto:7 {SUITE} inline:{TEXT}\r\n").crypto_tag == "7"


def test_each_side_promises_a_key_of_its_own() -> None:
    offer = Audio.parse(describe("192.0.2.1", 4000, session_id=1, encrypts=True))
    answer = Audio.parse(describe("192.0.2.2", 5000, session_id=2, answer_to=offer, encrypts=True))
    assert (answer.profile, answer.crypto_tag) == (ENCRYPTED, offer.crypto_tag)
    assert None not in (offer.crypto_key, answer.crypto_key)
    assert offer.crypto_key != answer.crypto_key
    plain = Audio.parse(describe("192.0.2.1", 4000, session_id=1))
    assert (plain.profile, plain.crypto_key) == (PLAIN, None)
