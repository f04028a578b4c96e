"""Keeps `infra/docs/RULES.md` true: what it names exists, and no clause or rule is left out."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MAP = ROOT / "infra" / "docs" / "RULES.md"
COLUMNS = 5

ROWS = [
    cells
    for line in MAP.read_text("utf-8").splitlines()
    if line.startswith("| ") and len(cells := [cell.strip() for cell in line.strip("|").split("|")]) == COLUMNS
][1:]


@cache
def names_in(path: str) -> frozenset[str]:
    """The functions and classes that a file defines at its top level."""
    tree = ast.parse((ROOT / path).read_text("utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return frozenset(node.name for node in tree.body if isinstance(node, kinds))


def numbers_after(word: str, text: str) -> set[int]:
    """Numbers written as `C3` or as `rule 3`, `rules 2 and 11`."""
    if word == "C":
        return {int(number) for number in re.findall(r"\bC(\d+)\b", text)}
    lists = re.findall(r"\brules? (\d+(?:(?:, | and )\d+)*)", text)
    return {int(number) for found in lists for number in re.findall(r"\d+", found)}


def test_the_map_has_rows() -> None:
    assert len(ROWS) > 30


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row[0]}: {row[3]}")
def test_what_a_row_names_exists(row: list[str]) -> None:
    _, _, path, function, test = row
    assert function in names_in(path)
    test_path, separator, test_name = test.partition("::")
    assert separator
    assert test_name in names_in(test_path)


def test_no_clause_and_no_rule_is_forgotten() -> None:
    words = " ".join(row[0] for row in ROWS)
    later = MAP.read_text("utf-8").rpartition("## Not carried out")[2]
    assert numbers_after("C", words + later) >= set(range(1, 27))
    assert numbers_after("rule", words) >= set(range(1, 14))
