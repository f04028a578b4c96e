"""`seatline rate`: files in, rows out, exit codes."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from billing.rating_files import rate
from billing.rules.errors import CallsRefused, DeckRefused

DECK = (
    "prefix,name,connect_fee,rate_per_minute,first_increment,next_increment,"
    "valid_from,valid_to,days,from_time,to_time\n"
    "86,China,0.05,0.30,60,6,,,,,\n"
)
CALLS = "call_id,destination,answered_at,billsec\n"


def rated(folder: Path, calls: str, deck: str = DECK) -> tuple[int, str]:
    (folder / "deck.csv").write_text(deck, "utf-8")
    (folder / "calls.csv").write_text(CALLS + calls, "utf-8")
    out = io.StringIO()
    return rate(folder / "deck.csv", folder / "calls.csv", out), out.getvalue()


def test_calls_are_rated_in_their_order(tmp_path: Path) -> None:
    code, output = rated(
        tmp_path,
        "a,8613800138000,2026-04-03T09:00:00+08:00,61\n"
        "b,8613800138000,,0\n"
        "c,8613800138000,2026-04-03T09:00:00+08:00,0\n"
        "d,4930,,\n",
    )
    assert code == 0
    assert output == "call_id,prefix,billed_seconds,charge\na,86,66,0.3800\nb,,0,0.0000\nc,86,0,0.0000\nd,,0,0.0000\n"


def test_an_unrated_call_does_not_stop_the_others(tmp_path: Path) -> None:
    code, output = rated(
        tmp_path, "a,4930,2026-04-03T09:00:00Z,61\nb,8613,2026-04-03T09:00:00Z,6\nc,+86,2026-04-03T09:00:00Z,6\n"
    )
    assert code == 3
    assert output.splitlines()[1:] == ["a,unrated,,", "b,86,60,0.3500", "c,unrated,,"]


@pytest.mark.parametrize(
    ("calls", "place"),
    [
        ("a,86,2026-04-03T09:00:00,61\n", "line 2, column answered_at"),
        ("a,86,yesterday,61\n", "line 2, column answered_at"),
        ("a,86,2026-04-03T09:00:00Z,6.5\n", "line 2, column billsec"),
        ("a,86,2026-04-03T09:00:00Z,\n", "line 2, column billsec"),
        ("a,86,2026-04-03T09:00:00Z,-1\n", "line 2, column billsec"),
        ("a,86,2026-04-03T09:00:00Z\n", "line 2, column billsec"),
    ],
)
def test_a_bad_call_is_named_and_nothing_is_written(tmp_path: Path, calls: str, place: str) -> None:
    with pytest.raises(CallsRefused) as refusal:
        rated(tmp_path, calls)
    assert refusal.value.field == place


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(DeckRefused, match="No such file"):
        rate(tmp_path / "none.csv", tmp_path / "none.csv", io.StringIO())
    (tmp_path / "deck.csv").write_text(DECK, "utf-8")
    with pytest.raises(CallsRefused, match="No such file"):
        rate(tmp_path / "deck.csv", tmp_path / "none.csv", io.StringIO())
