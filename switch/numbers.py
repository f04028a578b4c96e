"""Telephone numbers as people dial them, brought to one of three forms: E.164, short code, emergency.

A dialled text is data from outside: it is bounded, folded to plain digits and then judged by the numbering
plan of the region (`phonenumbers`). Whatever is left over is `NotDiallable` and says why.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

import phonenumbers
from phonenumbers import shortnumberinfo

HOME_REGION = "CN"
REGION_OF_NONE = "001"
"""Stands for numbers of no country: satellites, international freephone."""

EMERGENCY_NUMBERS = frozenset({"110", "119", "120", "122"})
"""Police, fire, ambulance, traffic accidents (contract rule 7)."""

MAX_DIALLED_CHARACTERS = 40
"""The longest text that is looked at: E.164 is 15 digits, the rest is room for spaces and punctuation."""

_SEPARATORS = re.compile(r"[\s\-‐-―−()\[\]./·_]+")
_INVISIBLE = re.compile("[\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff\u00ad]")
_DIGITS = re.compile(r"\+?[0-9]+", re.ASCII)
_EXTENSION = re.compile(r"[1-9][0-9]{2,5}", re.ASCII)

_SERVICE = "(?P<service>" + "|".join(sorted(EMERGENCY_NUMBERS)) + ")"
_AREA_CODE = "(?:10|2[0-9]|[3-9][0-9]{2})"
_SERVICE_WITH_AREA = re.compile(rf"86{_AREA_CODE}(?P<code>1[0-9]{{3,7}}|9[56][0-9]{{3,6}})", re.ASCII)
"""A service's number behind an area code: five to eight digits that begin with 95 or 96, or four to eight that begin
with 1, as no subscriber's number does. Premium services (168, 160) have some of eight digits.
"""

_BEHIND_THE_DIGITS = re.compile(r"#?(?:;.*)?\Z", re.DOTALL)
"""What a phone may send behind them: the key that ends dialling, and parameters (RFC 3261, section 19.1.6)."""

_EMERGENCY_PLAIN = re.compile(rf"(?:(?:\+|00)860?|0)?{_SERVICE}")
_EMERGENCY_WITH_AREA = re.compile(rf"(?:(?:\+|00)86)?0?(?P<area>10|2[0-9]|[3-9][0-9]{{2}}){_SERVICE}", re.ASCII)


@dataclass(frozen=True, slots=True)
class E164:
    """A public number: country code and national number, digits only, without the plus sign."""

    digits: str


@dataclass(frozen=True, slots=True)
class Nature:
    """What the numbering plans say of a public number.

    `region`: ISO 3166, `001` for what belongs to no country (satellites), None where nobody knows. `service_code`: the
    short code inside it where it is one behind an area code (010 95588 reaches 95588).
    """

    region: str | None
    is_premium: bool
    service_code: str | None


@dataclass(frozen=True, slots=True)
class ShortCode:
    """A short service number of the home region such as 95588 or 10086, as it is dialled."""

    digits: str


@dataclass(frozen=True, slots=True)
class EmergencyNumber:
    """An emergency service (`service`, one of `EMERGENCY_NUMBERS`) and the digits the gateway is to be given."""

    service: str
    digits: str


@dataclass(frozen=True, slots=True)
class NotDiallable:
    """A text that no gateway is to be given; `why` is a sentence for the call record and the log."""

    why: str


Destination = E164 | ShortCode | EmergencyNumber | NotDiallable


def plain_digits(dialled: str) -> str | None:
    """The digits of a dialled text, with a leading `+` where it has one; None when it is anything else.

    Full-width and other decimal digits count as digits, as do the usual separators; letters, `*`, `#`, `;`
    and `@` do not, so nothing that is a SIP address, a feature code or a dial-string operator gets through.
    """
    if len(dialled) > MAX_DIALLED_CHARACTERS:
        return None
    folded = unicodedata.normalize("NFKC", _INVISIBLE.sub("", dialled))
    decimals = "".join(
        str(unicodedata.decimal(character)) if character.isdecimal() else character for character in folded
    )
    bare = _SEPARATORS.sub("", decimals)
    return bare if _DIGITS.fullmatch(bare) else None


def emergency_number(digits: str) -> EmergencyNumber | None:
    """The emergency service that was dialled, or None. `digits` as `plain_digits` gives them.

    Besides the plain number these count: a leading 0 (an outside line, or a phone book that puts the trunk
    prefix before everything), +86 or 0086 (phone books that store everything internationally), each of which
    is given to the gateway as the plain number; and an area code, which asks for another city's centre and is
    passed on with it. None of these can be an extension (those do not begin with 0), a short code or a valid
    subscriber number, so the reading opens no way past a suspension: whatever counts as emergency reaches an
    emergency service and nothing else. `9110` or `86110` are not read so, since they may be extensions.
    """
    plain = _EMERGENCY_PLAIN.fullmatch(digits)
    if plain is not None:
        return EmergencyNumber(plain["service"], plain["service"])
    with_area = _EMERGENCY_WITH_AREA.fullmatch(digits)
    # Without a leading 0, + or 00 the same digits may be an extension, such as 010110 against 10110.
    if with_area is not None and digits[0] in "+0":
        return EmergencyNumber(with_area["service"], f"0{with_area['area']}{with_area['service']}")
    return None


def normalise(dialled: str, region: str = HOME_REGION) -> Destination:
    """What a dialled text means: an emergency service, an E.164 number, a short code, or nothing.

    What a phone may add behind the digits keeps nobody in need from help; behind any other number it is refused.

    `region` (ISO 3166, default CN) is where a number without country code belongs. A local number without its
    area code is not diallable: the seats of one tenant sit anywhere, so it has no one meaning.
    """
    emergency = emergency_number(plain_digits(_BEHIND_THE_DIGITS.sub("", dialled, count=1)) or "")
    if emergency is not None:
        return emergency
    digits = plain_digits(dialled)
    if digits is None:
        return NotDiallable(
            f"a number is at most {MAX_DIALLED_CHARACTERS} digits and separators; dial it again without letters"
        )
    try:
        parsed = phonenumbers.parse(digits, region)
    except phonenumbers.NumberParseException:
        return NotDiallable("the number is incomplete; dial it with area code, or with + and country code")
    if phonenumbers.is_valid_number(parsed):
        return E164(f"{parsed.country_code}{phonenumbers.national_significant_number(parsed)}")
    if not digits.startswith(("+", "0")) and shortnumberinfo.is_valid_short_number_for_region(parsed, region):
        return ShortCode(digits)
    return NotDiallable("no such number exists; dial it with area code, or with + and country code")


@lru_cache(maxsize=4_096)
def nature(digits: str) -> Nature:
    """Where a public number (`E164.digits`) belongs and what it is by the numbering plan."""
    try:
        parsed = phonenumbers.parse("+" + digits)
    except phonenumbers.NumberParseException:
        return Nature(None, is_premium=False, service_code=None)
    behind_area = _SERVICE_WITH_AREA.fullmatch(digits)
    return Nature(
        phonenumbers.region_code_for_number(parsed),
        is_premium=phonenumbers.number_type(parsed) == phonenumbers.PhoneNumberType.PREMIUM_RATE,
        service_code=behind_area["code"] if behind_area is not None else None,
    )


def is_region(code: str) -> bool:
    """Whether a code names a country of the numbering plans (ISO 3166), or `001`: those that belong to none."""
    return code in phonenumbers.SUPPORTED_REGIONS or code == REGION_OF_NONE


def is_extension(text: str) -> bool:
    """Whether a text can be the extension of a seat: 3 to 6 digits, not beginning with 0, not an emergency
    number.
    """
    return _EXTENSION.fullmatch(text) is not None and text not in EMERGENCY_NUMBERS
