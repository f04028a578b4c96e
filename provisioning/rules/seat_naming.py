"""Whether the names that a table of seats gives are free: a name is one seat's alone of those that are held. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date


@dataclass(frozen=True, slots=True)
class Holder:
    """Who has a name: a line of the table, or a seat outside it; `until`: the last day of a seat that is returned."""

    place: str
    until: date | None = None

    def __str__(self) -> str:
        kept = (
            "" if self.until is None else f", which keeps it until the end of {self.until} unless a dash takes it away"
        )
        return f"{self.place}{kept}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Naming:
    """What a line does to its seat's name. `before` None: it has none, or is not there yet."""

    holder: Holder
    before: str | None
    after: str | None

    @property
    def gives(self) -> bool:
        """Whether the seat has a name afterwards that it had not before."""
        return self.after is not None and self.after != self.before


def taken(namings: Sequence[Naming], outside: Mapping[str, Holder]) -> dict[int, Holder]:
    """The lines (by their place in the sequence) that give a name which somebody else has too, and who that is.

    All lines are looked at together, so that seats may swap names. Of two that give one name both are refused; a seat
    whose line is refused keeps the name that it had, which then is no other's. `outside`: who has which name beside
    the table.
    """
    holders: defaultdict[str, list[tuple[int, Holder]]] = defaultdict(list)
    givers: defaultdict[str, list[int]] = defaultdict(list)
    for name, holder in outside.items():
        holders[name].append((-1, holder))
    for index, naming in enumerate(namings):
        if naming.after is not None:
            holders[naming.after].append((index, naming.holder))
            if naming.gives:
                givers[naming.after].append(index)
    refused: dict[int, Holder] = {}
    unjudged = list(givers)
    while unjudged:
        name = unjudged.pop()
        if len(holders[name]) == 1:
            continue
        for index in givers[name]:
            if index in refused:
                continue
            refused[index] = next(holder for place, holder in holders[name] if place != index)
            kept = namings[index].before
            if kept is not None:
                holders[kept].append((index, namings[index].holder))
                unjudged.append(kept)
    return refused
