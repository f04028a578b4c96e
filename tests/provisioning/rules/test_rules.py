"""The pure rules of provisioning."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.kit.ids import new_id
from infra.kit.problems import InvalidInput
from provisioning.rules import extensions, notice, order_steps, placement, seat_states
from provisioning.rules.order_steps import Step, next_step
from switch.numbers import ShortCode, normalise

DAY = date(2026, 6, 8)


def step(kind: Any, state: Any, *, today: date, is_paid: bool = False, ended: bool = False) -> Step:
    return next_step(kind, state, effective_on=DAY, today=today, is_paid=is_paid, contract_ended=ended)


def test_a_seat_lives_forward_only() -> None:
    assert seat_states.after("ordered", "open") == "open"
    assert seat_states.after("ordered", "cancel") == "cancelled"
    assert seat_states.after("open", "close") == "closed"
    for state, move in (("open", "open"), ("closed", "open"), ("cancelled", "open"), ("open", "cancel")):
        with pytest.raises(seat_states.SeatMoveRefused, match=state):
            seat_states.after(state, move)  # pyright: ignore[reportArgumentType]
    assert (seat_states.sources("close"), seat_states.result("close")) == ({"open", "suspended"}, "closed")


def test_a_suspended_seat_is_resumed_or_closed_and_is_held_all_the_while() -> None:
    assert seat_states.after("open", "suspend") == "suspended"
    assert seat_states.after("suspended", "resume") == "open"
    assert seat_states.after("suspended", "close") == "closed"
    for state in ("ordered", "suspended", "closed", "cancelled"):
        with pytest.raises(seat_states.SeatMoveRefused):
            seat_states.after(state, "suspend")  # pyright: ignore[reportArgumentType]
    assert "suspended" in seat_states.HELD & seat_states.IN_USE


def test_five_days_ahead_are_enough_and_four_are_not() -> None:
    notice.check_notice(DAY, DAY + timedelta(days=5), 5)
    with pytest.raises(notice.NoticeTooShort):
        notice.check_notice(DAY, DAY + timedelta(days=4), 5)


def test_opening_and_waiver_need_no_notice_but_nothing_is_ordered_for_yesterday() -> None:
    notice.check_notice(DAY, DAY, 5, opening=True)
    notice.check_notice(DAY, DAY, 5, waived=True)
    with pytest.raises(notice.NoticeTooShort):
        notice.check_notice(DAY, DAY - timedelta(days=1), 5, opening=True, waived=True)
    with pytest.raises(InvalidInput):
        notice.check_notice(DAY, date(2999, 1, 1), 5)
    assert notice.needs_waiver(DAY, DAY + timedelta(days=4), 5, opening=False)
    assert not notice.needs_waiver(DAY, DAY + timedelta(days=5), 5, opening=False)


def test_extensions_go_on_where_they_stopped() -> None:
    assert extensions.next_extensions(None, 3) == ["1001", "1002", "1003"]
    assert extensions.next_extensions(1003, 2) == ["1004", "1005"]
    assert extensions.next_extensions(50, 1) == ["1001"]


def test_public_short_codes_are_no_extensions() -> None:
    given = extensions.next_extensions(9_998, 500)
    assert given[0] == "9999"
    assert not {"10010", "10086"} & set(given)
    assert not any(isinstance(normalise(extension), ShortCode) for extension in given)


def test_when_six_digits_are_used_up_it_is_said() -> None:
    with pytest.raises(extensions.ExtensionsExhausted):
        extensions.next_extensions(999_998, 2)


def test_an_addition_opens_when_it_is_paid_and_its_day_has_come() -> None:
    assert step("add", "awaiting_payment", today=DAY, is_paid=True) is Step.OPEN
    assert step("opening", "scheduled", today=DAY + timedelta(days=3), is_paid=True) is Step.OPEN
    assert step("add", "awaiting_payment", today=DAY - timedelta(days=1), is_paid=True) is Step.SCHEDULE
    assert step("add", "scheduled", today=DAY - timedelta(days=1), is_paid=True) is Step.WAIT
    assert step("add", "scheduled", today=DAY, is_paid=False) is Step.AWAIT_PAYMENT


def test_it_lapses_after_the_last_day_of_its_month_and_not_on_it() -> None:
    assert step("add", "awaiting_payment", today=date(2026, 6, 30)) is Step.WAIT
    assert step("add", "awaiting_payment", today=date(2026, 7, 1)) is Step.LAPSE
    assert step("add", "awaiting_payment", today=DAY, ended=True) is Step.LAPSE


def test_a_return_closes_when_its_day_has_ended() -> None:
    assert step("return", "scheduled", today=DAY) is Step.WAIT
    assert step("return", "scheduled", today=DAY + timedelta(days=1)) is Step.CLOSE


@pytest.mark.parametrize("state", ["done", "cancelled", "lapsed"])
def test_what_is_over_stays_so(state: str) -> None:
    assert step("add", state, today=date(2027, 1, 1), is_paid=True) is Step.WAIT


def test_it_counts_from_its_day_or_from_the_payment() -> None:
    late = DAY + timedelta(days=9)
    assert order_steps.opens_on(DAY, DAY - timedelta(days=2), late) == DAY
    assert order_steps.opens_on(DAY, DAY + timedelta(days=3), late) == DAY + timedelta(days=3)
    assert order_steps.opens_on(DAY, None, late) == DAY


NODES = {"alpha": 1000, "beta": 1000, "gamma": 2000, "delta": 500}
TENANTS = [f"ten_{number:04d}" for number in range(2_000)]


def home(tenant: str, nodes: dict[str, int]) -> str:
    return placement.ranked(tenant, nodes)[0]


def test_tenants_spread_in_proportion_to_capacity() -> None:
    count = dict.fromkeys(NODES, 0)
    for tenant in TENANTS:
        count[home(tenant, NODES)] += 1
    total = sum(NODES.values())
    for node, weight in NODES.items():
        assert count[node] == pytest.approx(len(TENANTS) * weight / total, rel=0.15)


@given(st.sampled_from(sorted(NODES)), st.integers(0, 10**9))
def test_a_node_that_leaves_moves_only_its_own_tenants(gone: str, number: int) -> None:
    tenant = f"ten_{number}"
    left = {node: weight for node, weight in NODES.items() if node != gone}
    before, spare = placement.ranked(tenant, NODES)[:2]
    assert home(tenant, left) == (spare if before == gone else before)


def test_a_tenant_flees_to_its_spare_then_home_then_anywhere_alive() -> None:
    where = {"home": "alpha", "spare": "beta"}
    assert placement.refuge("t", **where, lost="alpha", alive={"beta": 1, "gamma": 9}) == "beta"
    assert placement.refuge("t", **where, lost="beta", alive={"alpha": 1, "gamma": 9}) == "alpha"
    assert placement.refuge("t", **where, lost="alpha", alive={"gamma": 9, "alpha": 9}) == "gamma"
    assert placement.refuge("t", **where, lost="alpha", alive={"alpha": 1}) is None


def test_nobody_goes_home_to_a_node_that_comes_and_goes() -> None:
    now = datetime(2026, 6, 8, 12, tzinfo=UTC)
    long_ago, just_now = now - timedelta(hours=2), now - timedelta(minutes=2)
    assert placement.may_go_home(now=now, home_up_since=long_ago, moved_at=long_ago)
    assert not placement.may_go_home(now=now, home_up_since=just_now, moved_at=long_ago)
    assert not placement.may_go_home(now=now, home_up_since=long_ago, moved_at=just_now)


def test_a_leg_that_may_be_the_tenants_keeps_it_where_it_is() -> None:
    ours, theirs = new_id("ten"), new_id("ten")
    assert placement.is_quiet(ours, [])
    assert placement.is_quiet(ours, [theirs, theirs])
    assert not placement.is_quiet(ours, [theirs, ours])
    assert not placement.is_quiet(ours, [theirs, None])
