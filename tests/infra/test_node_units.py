"""What a node's service manager starts exists, and what its README says of it is so."""

from __future__ import annotations

import configparser
import shlex
from pathlib import Path

from infra.app.cli import build_parser, cdr_ship
from switch import record_shipping

FOLDER = Path(__file__).parent.parent.parent / "infra/deploy/node"


def unit(name: str) -> configparser.ConfigParser:
    """A unit file; systemd's syntax is close enough to this one."""
    read = configparser.ConfigParser(interpolation=None, strict=True)
    read.optionxform = str  # pyright: ignore[reportAttributeAccessIssue] - keys are case-sensitive
    read.read_string((FOLDER / name).read_text("utf-8"))
    return read


def test_the_service_runs_a_command_of_ours() -> None:
    service = unit("seatline-shipper.service")["Service"]
    program, *arguments = shlex.split(service["ExecStart"])
    assert Path(program).name == "seatline"
    assert build_parser().parse_args(arguments).function is cdr_ship
    assert service["Environment"].startswith(arguments[-1].strip("${}") + "=")
    assert unit("seatline-shipper.timer")["Install"]["WantedBy"] == "timers.target"


def test_the_readme_names_the_limits_that_hold() -> None:
    text = " ".join((FOLDER / "README.md").read_text("utf-8").split())
    assert f"{record_shipping.FILES_A_ROUND:,} files" in text
    assert f"younger than {record_shipping.MIN_AGE_SECONDS:.0f} seconds" in text
    assert (record_shipping.FAILURES_LIMIT, record_shipping.CONCURRENT_POSTS) == (5, 4)
    assert "five posts in a row" in text
    assert "four at a time" in text
