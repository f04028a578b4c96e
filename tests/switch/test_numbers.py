"""Numbers in every spelling that people, phone books and softphones use."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switch.numbers import (
    E164,
    EMERGENCY_NUMBERS,
    EmergencyNumber,
    NotDiallable,
    ShortCode,
    is_extension,
    normalise,
    plain_digits,
)


@pytest.mark.parametrize(
    ("dialled", "digits"),
    [
        ("13800138000", "8613800138000"),
        ("+86 138 0013 8000", "8613800138000"),
        ("+86-138-0013-8000", "8613800138000"),
        ("008613800138000", "8613800138000"),
        ("8613800138000", "8613800138000"),
        ("013800138000", "8613800138000"),
        ("010-8888 8888", "861088888888"),
        ("(010) 88888888", "861088888888"),
        ("021 55555555", "862155555555"),
        ("０１０－８８８８８８８８", "861088888888"),
        ("＋８６１３８００１３８０００", "8613800138000"),
        ("\u202a+8613800138000\u202c", "8613800138000"),
        ("400-812-3456", "864008123456"),
        ("+1 (202) 555-0123", "12025550123"),
        ("0012025550123", "12025550123"),
        ("+852 2123 4567", "85221234567"),
    ],
)
def test_a_public_number_has_one_form_however_it_is_written(dialled: str, digits: str) -> None:
    assert normalise(dialled) == E164(digits)


@pytest.mark.parametrize("dialled", ["95588", "10086", "10010", "12345", "114", " 9 5 5 8 8 "])
def test_short_codes_stay_as_they_are_dialled(dialled: str) -> None:
    assert normalise(dialled) == ShortCode(dialled.replace(" ", ""))


@pytest.mark.parametrize("number", sorted(EMERGENCY_NUMBERS))
@pytest.mark.parametrize("prefix", ["", "0", "+86", "0086", "+860", "00860"])
def test_an_emergency_number_is_known_with_the_prefixes_that_phone_books_add(number: str, prefix: str) -> None:
    assert normalise(prefix + number) == EmergencyNumber(number, number)


@pytest.mark.parametrize("behind", ["#", ";isub=1", ";phone-context=+86", "#;phone-context=example.com;x=y"])
@pytest.mark.parametrize(("dialled", "given"), [("110", "110"), ("+86 120", "120"), ("010110", "010110")])
def test_what_a_phone_adds_behind_the_digits_keeps_nobody_from_help(dialled: str, given: str, behind: str) -> None:
    assert normalise(dialled + behind) == EmergencyNumber(given[-3:], given)


@pytest.mark.parametrize(
    "dialled", ["13800138000#", "95588;isub=1", "9110#", "110##", "110#5", "#110", "1;10", ";", "#"]
)
def test_behind_any_other_number_it_is_refused(dialled: str) -> None:
    assert isinstance(normalise(dialled), NotDiallable)


@pytest.mark.parametrize(
    ("dialled", "given"),
    [("010110", "010110"), ("0571-120", "0571120"), ("+86 21 119", "021119"), ("0086 755 122", "0755122")],
)
def test_an_area_code_asks_for_that_citys_centre_and_goes_to_the_gateway_with_it(dialled: str, given: str) -> None:
    assert normalise(dialled) == EmergencyNumber(given[-3:], given)


@pytest.mark.parametrize("dialled", ["9110", "86110", "1100", "10110", "1190", "911", "112", "0911"])
def test_what_may_be_an_extension_or_something_else_is_no_emergency(dialled: str) -> None:
    assert not isinstance(normalise(dialled), EmergencyNumber)


@pytest.mark.parametrize(
    "dialled",
    [
        "",
        "+",
        "0",
        "001",
        "88888888",
        "1380013800",
        "138001380000",
        "anna",
        "1-800-FLOWERS",
        "*98",
        "13800138000;user=phone",
        "${system(reboot)}",
        "13800138000|sofia/gateway/x/1",
        "+86+13800138000",
        "1" * 41,
    ],
)
def test_everything_else_is_refused_with_a_sentence(dialled: str) -> None:
    outcome = normalise(dialled)
    assert isinstance(outcome, NotDiallable)
    assert "dial it" in outcome.why


@given(st.text(max_size=60))
def test_no_text_breaks_it_and_only_digits_come_out(dialled: str) -> None:
    outcome = normalise(dialled)
    if not isinstance(outcome, NotDiallable):
        assert outcome.digits.isascii()
        assert outcome.digits.isdigit()
        assert len(outcome.digits) <= 17


@given(st.text(alphabet="0123456789", min_size=1, max_size=16))
def test_an_emergency_reading_always_ends_in_an_emergency_number(dialled: str) -> None:
    outcome = normalise(dialled)
    if isinstance(outcome, EmergencyNumber):
        assert outcome.service in EMERGENCY_NUMBERS
        assert outcome.digits.endswith(outcome.service)
        assert not is_extension(dialled) or dialled == outcome.service


def test_other_decimal_digits_count_and_other_characters_do_not() -> None:
    assert plain_digits("١٣٨") == "138"
    assert plain_digits("13²") == "132"  # NFKC folds it; FreeSWITCH would not be given the original either
    assert plain_digits("1a") is None


@pytest.mark.parametrize(
    ("text", "fits"),
    [("1001", True), ("200", True), ("999999", True), ("0001", False), ("12", False), ("1000000", False)]
    + [(number, False) for number in sorted(EMERGENCY_NUMBERS)]
    + [("１００１", False), ("100a", False)],
)
def test_extensions_are_three_to_six_digits_and_never_an_emergency_number(text: str, fits: bool) -> None:
    assert is_extension(text) is fits
