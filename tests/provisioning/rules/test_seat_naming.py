"""Names that a table gives: swapped, freed, given twice."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from provisioning.rules.seat_naming import Holder, Naming, taken

NAMES = st.sampled_from(["a", "b", "c", "d", None])


def naming(line: int, before: str | None, after: str | None) -> Naming:
    return Naming(holder=Holder(f"line {line}"), before=before, after=after)


def refused(*pairs: tuple[str | None, str | None], outside: tuple[str, ...] = ()) -> dict[int, str]:
    """Who has the name as well, by index, of lines that turn one name into another."""
    namings = [naming(index, *pair) for index, pair in enumerate(pairs)]
    found = taken(namings, {name: Holder("outside") for name in outside})
    return {index: holder.place for index, holder in found.items()}


def test_seats_may_swap_names_and_take_one_that_is_given_up() -> None:
    assert refused(("a", "b"), ("b", "a"), ("c", None), (None, "c")) == {}


def test_of_two_that_give_one_name_both_are_refused() -> None:
    assert refused((None, "a"), (None, "a")) == {0: "line 1", 1: "line 0"}


def test_who_keeps_a_name_is_not_refused() -> None:
    assert refused(("a", "a"), (None, "a")) == {1: "line 0"}
    assert refused((None, "a"), outside=("a",)) == {0: "outside"}


def test_a_refused_line_keeps_its_name_and_so_on() -> None:
    assert refused(("c", "d"), ("b", "c"), ("a", "b"), outside=("d",)) == {0: "outside", 1: "line 0", 2: "line 1"}


@given(st.lists(st.tuples(NAMES, NAMES), max_size=6), st.sets(st.sampled_from("abcd")))
def test_what_is_not_refused_gives_each_name_to_one_seat(
    pairs: list[tuple[str | None, str | None]], beside: set[str]
) -> None:
    had: set[str] = set(beside)
    befores: list[str | None] = []
    for before, _ in pairs:  # before the table each name is one seat's
        befores.append(None if before in had else before)
        if before is not None:
            had.add(before)
    afters = [after for _, after in pairs]
    found = refused(*zip(befores, afters, strict=True), outside=tuple(beside))
    names = [*beside]
    for index, (before, after) in enumerate(zip(befores, afters, strict=True)):
        name = before if index in found else after
        if name is not None:
            names.append(name)
    assert len(names) == len(set(names))
