"""What is said on an encrypted call: heard word for word by whom it is for, and nothing else reaches them."""

from __future__ import annotations

import pytest

from tests.live.customers import Customer, Office
from tests.live.encrypted_media import Direction, NotAuthentic, derived
from tests.live.speaking import SpeakingPhone, Voice
from tests.live.test_srtp import ANSWER_LIMIT_SECONDS, demands, phone_of

ENOUGH_PACKETS = 25
"""Half a second of voice."""

ATTEMPTS = 8
MASTER = bytes.fromhex("E1F97A0D3E018BE0D64FA32C06DE41390EC675AD498AFEEBB6960B3AABE6")


async def voices_of_a_call(caller: SpeakingPhone, called: SpeakingPhone, customer: Customer) -> tuple[Voice, Voice]:
    """The two sides of a call from the first to the second, which is answered."""
    call = await caller.call(customer.seats[1].extension)
    assert call.status == 200
    arrived = await called.next_call(ANSWER_LIMIT_SECONDS)
    assert arrived.is_live
    return caller.voice(call), called.voice(arrived)


async def hears_word_for_word(speaker: Voice, listener: Voice) -> None:
    said = await speaker.speak_until(lambda: len(listener.heard) >= ENOUGH_PACKETS)
    assert set(listener.heard) <= said
    on_the_wire = [each for each in listener.heard if each in listener.wire]
    assert on_the_wire == ([] if listener.is_encrypted else listener.heard)


def test_keys_are_derived_as_the_standard_shows() -> None:
    """RFC 3711, appendix B.3."""
    assert derived(MASTER, 0, 16).hex() == "c61e7a93744f39ee10734afe3ff7a087"
    assert derived(MASTER, 2, 14).hex() == "30cbbc08863d8c85d49db34a9ae1"
    assert derived(MASTER, 1, 20).hex() == "cebe321f6ff7716b6fd4ab49af256a156d38baa4"


def test_packets_are_opened_across_the_end_of_the_sequence_and_not_when_a_bit_is_changed() -> None:
    sender, receiver = Direction(MASTER), Direction(MASTER)
    for number in (65_534, 65_535, 0, 1):
        packet = bytes([0x80, 0]) + number.to_bytes(2) + bytes(8) + b"voice"
        sealed = sender.seal(packet)
        with pytest.raises(NotAuthentic):
            receiver.open(sealed[:-1] + bytes([sealed[-1] ^ 1]))
        assert receiver.open(sealed) == packet
    with pytest.raises(NotAuthentic):
        receiver.open(b"\x80")


@pytest.mark.real_switch  # voice passes through a real node alone
async def test_phones_that_encrypt_hear_each_other_word_for_word(office: Office) -> None:
    customer = await office.customer(seats=2)
    await demands(customer, "demanded")
    caller, called = [await phone_of(seat, encrypts=True) for seat in customer.seats]
    of_caller, of_called = await voices_of_a_call(caller, called, customer)
    assert of_caller.is_encrypted
    assert of_called.is_encrypted
    await hears_word_for_word(of_caller, of_called)
    await hears_word_for_word(of_called, of_caller)


@pytest.mark.real_switch  # voice passes through a real node alone
async def test_a_phone_that_encrypts_and_a_plain_one_hear_each_other_each_in_its_way(office: Office) -> None:
    customer = await office.customer(seats=2)
    caller = await phone_of(customer.seats[0], encrypts=True)
    called = await phone_of(customer.seats[1], encrypts=False)
    of_caller, of_called = await voices_of_a_call(caller, called, customer)
    assert of_caller.is_encrypted
    assert not of_called.is_encrypted
    await hears_word_for_word(of_caller, of_called)
    await hears_word_for_word(of_called, of_caller)


@pytest.mark.real_switch  # voice passes through a real node alone
async def test_what_is_said_in_the_clear_or_by_a_foreign_key_is_not_heard_where_encryption_is_demanded(
    office: Office,
) -> None:
    customer = await office.customer(seats=2)
    await demands(customer, "demanded")
    caller, called = [await phone_of(seat, encrypts=True) for seat in customer.seats]
    of_caller, of_called = await voices_of_a_call(caller, called, customer)
    said = await of_caller.speak_until(lambda: len(of_called.heard) >= ENOUGH_PACKETS)
    smuggled = {of_caller.say_in_the_clear() for _ in range(ATTEMPTS)}
    smuggled |= {of_caller.say_with_a_foreign_key() for _ in range(ATTEMPTS)}
    before = len(of_called.heard)
    said |= await of_caller.speak_until(lambda: len(of_called.heard) >= before + ENOUGH_PACKETS)
    assert set(of_called.heard) <= said
    assert not smuggled & set(of_called.heard)
