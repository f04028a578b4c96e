"""The edge's files: replaced only when they differ, and always seen as newer by the Kamailio that reads them."""

from __future__ import annotations

import itertools
from pathlib import Path

from switch.edge import files


def test_each_change_is_a_whole_second_newer_than_the_one_before_it(tmp_path: Path) -> None:
    seen: list[int] = []
    for number in range(4):
        assert files.write(tmp_path, {"map/domains": f"version {number}"}) == ["map/domains"]
        seen.append(int((tmp_path / "map/domains").stat().st_mtime))
    assert all(later > earlier for earlier, later in itertools.pairwise(seen))


def test_what_does_not_differ_is_left_alone(tmp_path: Path) -> None:
    files.write(tmp_path, {"nodes": "one", "map/domains": "two"})
    before = (tmp_path / "nodes").stat()
    assert files.write(tmp_path, {"nodes": "one", "map/domains": "three"}) == ["map/domains"]
    assert (tmp_path / "nodes").stat().st_mtime == before.st_mtime
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == ["domains", "nodes"]
