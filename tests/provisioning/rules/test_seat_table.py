"""One line of a table of seats, whatever stands in its cells."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioning.rules import seat_table
from provisioning.rules.seat_table import HeaderRefused, LineRefused

CELLS = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        ["1001", "add", "return", "suspend", "停用", "-", "'=1", "2026-06-20", "2026/6/1", "2026-02-30", ""]
    ),
)


@given(st.dictionaries(st.sampled_from(sorted(seat_table.COLUMNS)), CELLS))
def test_any_cells_make_a_line_or_a_refusal_that_names_its_column(cells: dict[str, str]) -> None:
    try:
        line = seat_table.read_line(7, cells)
    except LineRefused as refusal:
        assert refusal.field in seat_table.COLUMNS
        return
    assert line.action in seat_table.ACTIONS
    assert (line.action == "add") == (line.seat_id is None and line.extension is None)
    assert (line.effective_on is not None) == (line.action in ("add", "return"))
    assert all(text is None or text == text.strip() != "" for text in line.texts.values())


@given(st.lists(CELLS, max_size=5))
def test_any_headings_are_columns_or_refused(headings: list[str]) -> None:
    try:
        columns = seat_table.columns_of(headings)
    except HeaderRefused:
        return
    assert set(columns) <= set(seat_table.COLUMNS)


def test_an_empty_cell_changes_nothing_and_a_dash_takes_away() -> None:
    line = seat_table.read_line(2, {"extension": "1001", "name": " ", "group": "-", "person_name": " 王芳 "})
    assert line.texts == {"group": None, "person_name": "王芳"}


def test_headings_actions_and_days_are_read_in_chinese_too() -> None:
    assert seat_table.columns_of(["分机号", "操作", "effective_on"]) == ["extension", "action", "effective_on"]
    line = seat_table.read_line(2, {"extension": "1001", "action": "退回", "effective_on": "2026/06/20"})
    assert (line.action, line.effective_on) == ("return", date(2026, 6, 20))


@pytest.mark.parametrize("text", ["x\ny", "\x00", "a\u2028b"])
def test_a_cell_of_several_lines_is_refused(text: str) -> None:
    with pytest.raises(LineRefused) as refused:
        seat_table.read_line(2, {"extension": f"10{text}01"})
    assert refused.value.field == "extension"


def test_the_apostrophe_that_our_own_tables_set_is_taken_off() -> None:
    assert seat_table.read_line(2, {"extension": "1001", "name": "'=1+1"}).texts == {"name": "=1+1"}
    assert seat_table.read_line(2, {"extension": "1001", "name": "'tis"}).texts == {"name": "'tis"}
