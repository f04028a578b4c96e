"""The terms of a lease as data: presets, overrides, and the plain form stored with a contract (C1–C12).

A contract carries its own copy; changing a preset later changes no contract.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Literal

from billing.rules.errors import TermRefused, shown
from billing.rules.reading import Reader

Preset = Literal["hosted", "onsite"]
Proration = Literal["daily", "full_month"]

PER_SEAT = "per_seat"
"""The deposit of one month of rent for every seat (C4)."""

MONEY_PLACES = 2
FRACTION_PLACES = 6
HOUR_PLACES = 4
RATE_PLACES = 4
MAXIMUM_VOLUME_BANDS = 100
MAXIMUM_DAYS = 3660

CHARGE_KINDS = ("recruitment", "equipment", "utilities", "property", "penalty")
TAX_KINDS = ("rent", "calls", "data", "other", "deposit", *CHARGE_KINDS)


@dataclass(frozen=True, slots=True)
class VolumeBand:
    """From this many seats on, every seat of a charge costs this rent (rule 13). CNY a month."""

    from_seats: int
    rent: Decimal


def _usual_tax_rates() -> dict[str, Decimal]:
    rates = {"rent": "0.06", "calls": "0.09", "data": "0.06", "other": "0.06", "deposit": "0"}
    return {kind: Decimal(rate) for kind, rate in rates.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """One contract's terms. Rents are CNY a month; tax rates and `return_charge` are fractions of one."""

    preset: Preset
    rent_per_seat: Decimal = Decimal("2000.00")
    rent_per_circuit: Decimal = Decimal("0.00")
    deposit: Decimal | Literal["per_seat"]
    proration: Proration
    grace_days: int
    due_day: int = 10
    return_cutoff_day: int = 20
    return_charge: Decimal = Decimal("0.70")
    change_notice_days: int = 5
    repair_hours: Decimal = Decimal(4)
    fault_waiver_days: Decimal = Decimal(15)
    fault_month_days: int = 30
    opening_working_days: int = 3
    release_day: int = 5
    days_to_pay_after_release: int = 5
    reminder_days_before_due: int = 3
    maintenance_windows_per_month: int = 2
    data_rate_per_gb: Decimal = Decimal("0.0000")
    """CNY with tax for 1,000,000,000 bytes of data traffic (C3); nobody pays for data who has not agreed to a rate."""
    tax_rates: Mapping[str, Decimal] = field(default_factory=_usual_tax_rates)
    volume: tuple[VolumeBand, ...] = ()
    papers_required: bool = False
    """Whether nothing opens before the tenant's papers are complete (C19)."""
    equipment_on_register: bool = False
    """Whether equipment is handed out with seats, and charged when it is lost or damaged (C22)."""

    def to_plain(self) -> dict[str, object]:
        """Every term as JSON values: decimals are strings."""
        return {
            "preset": self.preset,
            "rent_per_seat": str(self.rent_per_seat),
            "rent_per_circuit": str(self.rent_per_circuit),
            "deposit": str(self.deposit),
            "proration": self.proration,
            **{name: getattr(self, name) for name in _WHOLE_TERMS},
            **{name: str(getattr(self, name)) for name in _DECIMAL_TERMS},
            "tax_rates": {kind: str(rate) for kind, rate in self.tax_rates.items()},
            **{name: getattr(self, name) for name in _FLAG_TERMS},
            "volume": [{"from": band.from_seats, "rent": str(band.rent)} for band in self.volume],
        }


PRESETS: Mapping[str, Terms] = {
    "hosted": Terms(preset="hosted", deposit=PER_SEAT, proration="daily", grace_days=15),
    "onsite": Terms(
        preset="onsite",
        deposit=Decimal("0.00"),
        proration="full_month",
        grace_days=5,
        papers_required=True,
        equipment_on_register=True,
    ),
}

_WHOLE_TERMS: Mapping[str, tuple[int, int]] = {
    "grace_days": (0, MAXIMUM_DAYS),
    "due_day": (1, 28),
    "return_cutoff_day": (0, 31),
    "change_notice_days": (0, MAXIMUM_DAYS),
    "fault_month_days": (1, 31),
    "opening_working_days": (1, 60),
    "release_day": (1, 28),
    "days_to_pay_after_release": (0, 60),
    "reminder_days_before_due": (0, 28),
    "maintenance_windows_per_month": (0, 31),
}
_DECIMAL_TERMS: Mapping[str, tuple[int, Decimal]] = {
    "return_charge": (FRACTION_PLACES, Decimal(1)),
    "repair_hours": (HOUR_PLACES, Decimal(24 * MAXIMUM_DAYS)),
    "fault_waiver_days": (HOUR_PLACES, Decimal(31)),
    "data_rate_per_gb": (RATE_PLACES, Decimal(1_000_000)),
}
_FLAG_TERMS = ("papers_required", "equipment_on_register")

OVERRIDABLE = (
    "rent_per_seat",
    "rent_per_circuit",
    "deposit",
    "proration",
    "grace_days",
    "due_day",
    "return_cutoff_day",
    "return_charge",
    "change_notice_days",
    "repair_hours",
    "fault_waiver_days",
    "data_rate_per_gb",
    "tax_rates",
    "volume",
    *_FLAG_TERMS,
)
"""What a contract may set for itself; the other terms come with the preset."""

_READER = Reader(TermRefused)


def preset_terms(preset: object, overrides: object = None, *, place: str = "terms") -> Terms:
    """A preset's terms with a contract's own overrides (a plain JSON object).

    Raises `TermRefused`, naming the term, for an unknown name, a wrong form or a value out of range.
    """
    name = _READER.choice(preset, place.replace("terms", "preset"), PRESETS)
    given = _READER.members({} if overrides is None else overrides, place, required=(), optional=OVERRIDABLE)
    return _overridden(PRESETS[name], given, place)


def amended_terms(terms: Terms, overrides: object, *, place: str = "terms") -> Terms:
    """Terms with some of those that a contract may set for itself changed; tax rates that are not named stay.

    Raises `TermRefused`, naming the term, for an unknown name, a wrong form or a value out of range.
    """
    return _overridden(terms, _READER.members(overrides, place, required=(), optional=OVERRIDABLE), place)


def stored_terms(plain: object, *, place: str = "terms") -> Terms:
    """The terms that `Terms.to_plain` wrote; a term that a later version added takes its preset's value.

    Raises `TermRefused`, naming the term.
    """
    optional = (*OVERRIDABLE, *_WHOLE_TERMS)
    given = _READER.members(plain, place, required=("preset",), optional=optional)
    name = _READER.choice(given["preset"], f"{place}.preset", PRESETS)
    return _overridden(PRESETS[name], {key: value for key, value in given.items() if key != "preset"}, place)


def _overridden(terms: Terms, given: Mapping[str, object], place: str) -> Terms:
    changes: dict[str, object] = {}
    for name, value in given.items():
        here = f"{place}.{name}"
        changes[name] = _flag(value, here) if name in _FLAG_TERMS else _term(terms, name, value, here)
    return replace(terms, **changes)  # pyright: ignore[reportArgumentType]


def _term(terms: Terms, name: str, value: object, place: str) -> object:
    if name in _WHOLE_TERMS:
        minimum, maximum = _WHOLE_TERMS[name]
        return _READER.whole(value, place, minimum=minimum, maximum=maximum)
    if name in _DECIMAL_TERMS:
        places, largest = _DECIMAL_TERMS[name]
        return _READER.decimal(value, place, places=places, maximum=largest)
    match name:
        case "proration":
            return _READER.choice(value, place, ("daily", "full_month"))
        case "tax_rates":
            return {**terms.tax_rates, **_tax_rates(value, place)}
        case "volume":
            return _volume(value, place)
        case _:
            per_seat = name == "deposit" and value == PER_SEAT
            return PER_SEAT if per_seat else _READER.decimal(value, place, places=MONEY_PLACES)


def _flag(value: object, place: str) -> bool:
    if not isinstance(value, bool):
        raise _READER.refuse(place, f"{shown(value)} is neither", "true or false")
    return value


def _tax_rates(value: object, place: str) -> dict[str, Decimal]:
    rates = _READER.members(value, place, required=(), optional=TAX_KINDS)
    return {
        kind: _READER.decimal(rate, f"{place}.{kind}", places=FRACTION_PLACES, maximum=Decimal(1))
        for kind, rate in rates.items()
    }


def _volume(value: object, place: str) -> tuple[VolumeBand, ...]:
    bands: dict[int, VolumeBand] = {}
    for index, entry in enumerate(_READER.items(value, place, maximum_count=MAXIMUM_VOLUME_BANDS)):
        here = f"{place}[{index}]"
        members = _READER.members(entry, here, required=("from", "rent"))
        seats = _READER.whole(members["from"], f"{here}.from", minimum=1, maximum=10**9)
        if seats in bands:
            raise _READER.refuse(here, f"a second band from {seats} seats", "one rent per number of seats")
        rent = _READER.decimal(members["rent"], f"{here}.rent", places=MONEY_PLACES)
        bands[seats] = VolumeBand(seats, rent)
    return tuple(bands[seats] for seats in sorted(bands))


def deposit_is_per_seat(terms: Terms) -> bool:
    """Whether the deposit is one month of rent for every seat rather than an amount per contract (C4)."""
    return terms.deposit == PER_SEAT


def fixed_deposit(terms: Terms) -> Decimal:
    """The deposit of the contract as a whole, zero where it is per seat (C4)."""
    return Decimal("0.00") if terms.deposit == PER_SEAT else terms.deposit
