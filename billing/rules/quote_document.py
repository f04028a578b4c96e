"""Reads the input of the calculator (`quote.md`): a contract, the last simulated day and a list of events."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal, cast

from billing.rules.book import Cause, Fault, Item, OneOffCharge, Span, Usage
from billing.rules.errors import QuoteRefused, WindowRefused
from billing.rules.events import (
    Add,
    ChargeEvent,
    Contract,
    End,
    Event,
    FaultEvent,
    Maintenance,
    Pay,
    Return,
    UsageEvent,
)
from billing.rules.maintenance import check_windows
from billing.rules.months import local_day
from billing.rules.reading import FIRST_YEAR, Reader
from billing.rules.terms import CHARGE_KINDS, preset_terms
from infra.kit import money

MAXIMUM_EVENTS = 100_000
MAXIMUM_SEATS = 50_000
"""Seats or circuits of one quote, all adds together."""

_READER = Reader(QuoteRefused)


@dataclass(frozen=True, slots=True)
class Quote:
    """What the calculator is asked."""

    contract: Contract
    events: tuple[Event, ...]
    until: date


def read_quote(document: object) -> Quote:
    """Read and check a whole document.

    Raises `QuoteRefused`, `TermRefused` or `WindowRefused`; an event is named by its index (from 0) and type.
    """
    members = _READER.members(document, "document", required=("contract", "until", "events"))
    contract = _contract(members["contract"])
    until = _READER.day(members["until"], "until")
    entries = _READER.items(members["events"], "events", maximum_count=MAXIMUM_EVENTS)
    events = tuple(_event(entry, index, contract) for index, entry in enumerate(entries))
    _check_end(events)
    _check_numbers(events)
    windows = [(event.place, event.span) for event in events if isinstance(event, Maintenance)]
    try:
        check_windows(contract.terms, windows)
    except WindowRefused as refusal:
        raise QuoteRefused(str(refusal.field), refusal.problem, refusal.expected) from refusal
    return Quote(contract, events, until)


def _contract(value: object) -> Contract:
    members = _READER.members(value, "contract", required=("preset", "opens_on"), optional=("terms",))
    terms = preset_terms(members["preset"], members.get("terms", {}), place="contract.terms")
    opens_on = _READER.day(members["opens_on"], "contract.opens_on")
    if opens_on.year == FIRST_YEAR:
        raise QuoteRefused("contract.opens_on", f"{opens_on} is too early", f"a day after {FIRST_YEAR}")
    return Contract(terms, opens_on)


def _event(value: object, index: int, contract: Contract) -> Event:
    place = f"events[{index}]"
    if not isinstance(value, dict) or "type" not in value:
        raise QuoteRefused(place, "this is not an event", 'an object with a "type"')
    entry = cast("dict[str, object]", value)
    kind = _READER.choice(entry["type"], f"{place}.type", _READERS)
    return _READERS[kind](entry, f"{place} ({kind})", contract)


def _add(entry: dict[str, object], place: str, contract: Contract) -> Event:
    members = _READER.members(entry, place, required=("type", "on", "seats"), optional=("ordered_on", "item"))
    on = _READER.day(members["on"], f"{place}.on")
    if on < contract.opens_on:
        raise QuoteRefused(place, f"{on} is before the contract opens", f"{contract.opens_on} or later")
    ordered_on = on - timedelta(days=contract.terms.change_notice_days)
    if "ordered_on" in members:
        ordered_on = _READER.day(members["ordered_on"], f"{place}.ordered_on")
    if ordered_on > on:
        raise QuoteRefused(place, f"ordered on {ordered_on}, after {on}", "ordered_on no later than on")
    count = _READER.whole(members["seats"], f"{place}.seats", minimum=1, maximum=MAXIMUM_SEATS)
    return Add(place, on, ordered_on, count, _item(members, place))


def _return(entry: dict[str, object], place: str, contract: Contract) -> Event:
    members = _READER.members(entry, place, required=("type", "on", "seats"), optional=("item",))
    on = _READER.day(members["on"], f"{place}.on")
    if on < contract.opens_on:
        raise QuoteRefused(place, f"{on} is before the contract opens", f"{contract.opens_on} or later")
    return Return(place, on, _numbers(members["seats"], f"{place}.seats"), _item(members, place))


def _fault(entry: dict[str, object], place: str, contract: Contract) -> Event:
    del contract
    members = _READER.members(entry, place, required=("type", "from", "to", "seats", "cause"), optional=("item",))
    numbers = _numbers(members["seats"], f"{place}.seats")
    cause = _READER.choice(members["cause"], f"{place}.cause", ("operator", "tenant", "force_majeure"))
    fault = Fault(
        _span(members, place),
        cast("Cause", cause),
        _item(members, place),
        None if numbers is None else frozenset(numbers),
    )
    return FaultEvent(place, fault)


def _maintenance(entry: dict[str, object], place: str, contract: Contract) -> Event:
    del contract
    return Maintenance(place, _span(_READER.members(entry, place, required=("type", "from", "to")), place))


def _charge(entry: dict[str, object], place: str, contract: Contract) -> Event:
    del contract
    members = _READER.members(entry, place, required=("type", "on", "kind", "amount"))
    kind = _READER.choice(members["kind"], f"{place}.kind", CHARGE_KINDS)
    amount = _READER.decimal(members["amount"], f"{place}.amount", places=money.RATED)
    return ChargeEvent(place, OneOffCharge(_READER.day(members["on"], f"{place}.on"), kind, amount))


def _usage(entry: dict[str, object], place: str, contract: Contract) -> Event:
    del contract
    members = _READER.members(entry, place, required=("type", "on", "kind", "amount"))
    kind = cast("Literal['calls', 'data']", _READER.choice(members["kind"], f"{place}.kind", ("calls", "data")))
    amount = _READER.decimal(members["amount"], f"{place}.amount", places=money.RATED)
    return UsageEvent(place, Usage(_READER.day(members["on"], f"{place}.on"), kind, amount))


def _pay(entry: dict[str, object], place: str, contract: Contract) -> Event:
    del contract
    members = _READER.members(entry, place, required=("type", "on", "amount"))
    given = members["amount"]
    amount = None if given == "all" else _READER.decimal(given, f"{place}.amount", places=money.FEN)
    return Pay(place, _READER.day(members["on"], f"{place}.on"), amount)


def _end(entry: dict[str, object], place: str, contract: Contract) -> Event:
    members = _READER.members(entry, place, required=("type", "on"))
    on = _READER.day(members["on"], f"{place}.on")
    if on < contract.opens_on:
        raise QuoteRefused(place, f"{on} is before the contract opens", f"{contract.opens_on} or later")
    return End(place, on)


_READERS: Mapping[str, Callable[[dict[str, object], str, Contract], Event]] = {
    "add": _add,
    "return": _return,
    "fault": _fault,
    "maintenance": _maintenance,
    "charge": _charge,
    "usage": _usage,
    "pay": _pay,
    "end": _end,
}


def _item(members: Mapping[str, object], place: str) -> Item:
    item = _READER.choice(members.get("item", "seat"), f"{place}.item", ("seat", "circuit"))
    return cast("Item", item)


def _numbers(value: object, place: str) -> tuple[int, ...] | None:
    if value == "all":
        return None
    if not isinstance(value, list) or not value:
        raise QuoteRefused(place, "this names no seats", 'a list of numbers or "all"')
    entries = _READER.items(value, place, maximum_count=MAXIMUM_SEATS)
    numbers = tuple(_READER.whole(each, place, minimum=1, maximum=MAXIMUM_SEATS) for each in entries)
    if len(set(numbers)) != len(numbers):
        raise QuoteRefused(place, "a number stands there twice", "each number once")
    return numbers


def _span(members: Mapping[str, object], place: str) -> Span:
    begins = _READER.moment(members["from"], f"{place}.from")
    ends = _READER.moment(members["to"], f"{place}.to")
    if ends <= begins:
        raise QuoteRefused(place, "it ends before it has begun", "a to that is later than from")
    return Span(begins, ends)


def _check_end(events: tuple[Event, ...]) -> None:
    """One end at most, and nothing after it; payments may come later, for the final invoice comes later too."""
    ends = [event for event in events if isinstance(event, End)]
    if len(ends) > 1:
        raise QuoteRefused(ends[1].place, "the contract has ended already", "one end at most")
    if not ends:
        return
    last = ends[0].on
    for event in events:
        if not isinstance(event, Pay) and _begins_on(event) > last:
            raise QuoteRefused(event.place, f"it is after the end on {last}", f"{last} or earlier")


def _begins_on(event: Event) -> date:
    match event:
        case FaultEvent():
            return local_day(event.fault.span.begins)
        case Maintenance():
            return local_day(event.span.begins)
        case ChargeEvent():
            return event.charge.on
        case UsageEvent():
            return event.usage.on
        case _:
            return event.on


def _check_numbers(events: tuple[Event, ...]) -> None:
    """Seats and circuits that are never added can be neither returned nor at fault."""
    added = {"seat": 0, "circuit": 0}
    for event in events:
        if isinstance(event, Add):
            added[event.item] += event.count
            if added[event.item] > MAXIMUM_SEATS:
                raise QuoteRefused(event.place, "too many are added", f"at most {MAXIMUM_SEATS} in all")
    for event in events:
        if isinstance(event, Return):
            named, item = event.numbers, event.item
        elif isinstance(event, FaultEvent):
            named, item = event.fault.numbers, event.fault.item
        else:
            continue
        highest = max(named or (0,))
        if highest > added[item]:
            raise QuoteRefused(event.place, f"there is no {item} {highest}", f"numbers up to {added[item]}")
