"""Where tenants live, for any cluster and any tenants: capacity holds, nothing moves without need."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from provisioning.rules import placement
from provisioning.rules.placement import Claim

CAPACITIES = st.dictionaries(st.sampled_from(["alpha", "beta", "gamma", "delta", "epsilon"]), st.integers(1, 60))
SEATS = st.lists(st.integers(0, 25), max_size=14)


def place_all(capacities: dict[str, int], seats: list[int]) -> tuple[list[Claim], list[int]]:
    """Tenants that come one after another; those that were placed, and the seats of those that were refused."""
    placed: list[Claim] = []
    refused: list[int] = []
    for index, count in enumerate(seats):
        claim = Claim(f"ten_{index}", count, None, None)
        chosen = placement.settled(claim, placed, capacities=capacities, able=capacities)
        if chosen is None:
            refused.append(count)
        else:
            placed.append(chosen)
    return placed, refused


@given(CAPACITIES, SEATS)
def test_no_node_is_ever_home_to_more_seats_than_it_takes(capacities: dict[str, int], seats: list[int]) -> None:
    placed, refused = place_all(capacities, seats)
    rooms = placement.rooms(capacities, placed)
    assert all(room.home <= room.capacity for room in rooms.values())
    assert all(max((room.free for room in rooms.values()), default=-1) < count for count in refused)


@given(CAPACITIES, SEATS)
def test_the_spare_is_another_node_and_is_missing_only_where_there_is_none(
    capacities: dict[str, int], seats: list[int]
) -> None:
    placed, _ = place_all(capacities, seats)
    for claim in placed:
        assert claim.home in capacities
        assert claim.spare != claim.home
        assert (claim.spare is None) == (len(capacities) < 2)


@given(CAPACITIES, SEATS)
def test_a_crowded_spare_is_chosen_only_where_no_node_has_the_reserve(
    capacities: dict[str, int], seats: list[int]
) -> None:
    placed: list[Claim] = []
    for index, count in enumerate(seats):
        claim = Claim(f"ten_{index}", count, None, None)
        chosen = placement.settled(claim, placed, capacities=capacities, able=capacities)
        if chosen is None:
            continue
        reserved = {
            node: placement.rooms(capacities, [*placed, replace(chosen, spare=node)])[node]
            for node in capacities
            if node != chosen.home
        }
        taken_on = {
            node: room.home + _brought(placed, chosen.home, node) + count <= room.capacity
            for node, room in reserved.items()
        }
        if chosen.spare is not None and not taken_on[chosen.spare]:
            assert not any(taken_on.values())
        placed.append(chosen)


def _brought(placed: list[Claim], home: str | None, spare: str) -> int:
    return sum(claim.seats for claim in placed if (claim.home, claim.spare) == (home, spare))


@settings(max_examples=60)
@given(CAPACITIES, SEATS, st.integers(1, 60))
def test_a_node_that_joins_moves_nobody(capacities: dict[str, int], seats: list[int], capacity: int) -> None:
    placed, _ = place_all(capacities, seats)
    larger = capacities | {"newcomer": capacity}
    for claim in placed:
        others = [other for other in placed if other is not claim]
        settled = placement.settled(claim, others, capacities=larger, able=larger)
        assert settled is not None
        assert settled.home == claim.home


@settings(max_examples=60)
@given(CAPACITIES, SEATS, st.integers(0, 4))
def test_a_node_that_leaves_moves_only_its_own_tenants(
    capacities: dict[str, int], seats: list[int], which: int
) -> None:
    placed, _ = place_all(capacities, seats)
    if not capacities:
        return
    gone = sorted(capacities)[which % len(capacities)]
    left = {node: capacity for node, capacity in capacities.items() if node != gone}
    now = list(placed)
    for index, claim in enumerate(placed):
        settled = placement.settled(claim, [*now[:index], *now[index + 1 :]], capacities=left, able=left)
        if claim.home != gone:
            assert settled is not None
            assert settled.home == claim.home
        if settled is not None:
            assert gone not in (settled.home, settled.spare)
            now[index] = settled
    assert all(room.home <= room.capacity for room in placement.rooms(left, now).values())


def test_home_and_spare_are_two_nodes_or_one_or_none() -> None:
    claim = Claim("ten_1", 5, None, None)

    def place(capacities: dict[str, int]) -> Claim | None:
        return placement.settled(claim, [], capacities=capacities, able=capacities)

    assert place({"only": 5}) == Claim("ten_1", 5, "only", None)
    assert place({"only": 4}) is None
    assert place({}) is None
    both = place({"alpha": 10, "beta": 10})
    assert both is not None
    assert {both.home, both.spare} == {"alpha", "beta"}


def test_with_room_everywhere_a_tenant_lives_at_the_first_two_of_its_order() -> None:
    capacities = {"alpha": 1_000, "beta": 1_000, "gamma": 2_000}
    for number in range(50):
        tenant_id = f"ten_{number}"
        settled = placement.settled(Claim(tenant_id, 3, None, None), [], capacities=capacities, able=capacities)
        assert settled is not None
        assert [settled.home, settled.spare] == placement.ranked(tenant_id, capacities)[:2]


def test_a_tenant_that_outgrows_its_home_follows_its_spare() -> None:
    capacities = {"alpha": 10, "beta": 30, "gamma": 30}
    grown = placement.settled(Claim("ten_1", 11, "alpha", "gamma"), [], capacities=capacities, able=capacities)
    assert grown == Claim("ten_1", 11, "gamma", "beta")


def test_a_home_that_is_only_silent_stays_the_home() -> None:
    capacities = {"alpha": 10, "beta": 10}
    claim = Claim("ten_1", 5, "alpha", "beta")
    assert placement.settled(claim, [], capacities=capacities, able=["beta"]) == claim


def test_what_a_node_would_serve_too_many_after_a_death_is_told() -> None:
    claims = [Claim("", 6, "alpha", "beta"), Claim("", 3, "gamma", "beta"), Claim("", 5, "beta", "alpha")]
    rooms = placement.rooms({"alpha": 10, "beta": 10, "gamma": 10}, claims)
    assert rooms["beta"] == placement.Room(capacity=10, home=5, reserve=6)
    assert (rooms["beta"].free, rooms["beta"].shortfall, rooms["gamma"].reserve) == (5, 1, 0)


def test_who_has_lost_home_and_spare_flees_to_a_node_that_is_not_full() -> None:
    alive = {"alpha": 10, "beta": 10}
    first, second = placement.ranked("ten_1", alive)

    def refuge(full: Collection[str]) -> str | None:
        return placement.refuge("ten_1", home="gone", spare=None, lost="dead", alive=alive, full=full)

    assert refuge([]) == first
    assert refuge([first]) == second
    assert refuge(alive) == first
