"""What a VPN gateway's service manager starts exists, and what its README says of it is so."""

from __future__ import annotations

import configparser
import shlex
from pathlib import Path

from infra.app.cli import build_parser, gateway
from provisioning.rules.tunnel_addresses import SUPERNET
from provisioning.rules.tunnel_documents import KEEPALIVE_SECONDS
from provisioning.tunnels.gateway_api import LOOK_EVERY_SECONDS

FOLDER = Path(__file__).parent.parent.parent / "infra/deploy/gateway"


def test_the_service_runs_a_command_of_ours_that_may_restart_without_cutting_calls() -> None:
    unit = configparser.ConfigParser(interpolation=None, strict=True)
    unit.optionxform = str  # pyright: ignore[reportAttributeAccessIssue] - keys are case-sensitive
    unit.read_string((FOLDER / "seatline-gateway.service").read_text("utf-8"))
    service = unit["Service"]
    program, *arguments = shlex.split(service["ExecStart"])
    assert Path(program).name == "seatline"
    assert build_parser().parse_args(arguments).function is gateway
    assert service["KillMode"] == "process"
    assert "SEATLINE_API=" in service["Environment"]
    assert "SEATLINE_GATEWAY=" in service["Environment"]
    assert arguments[-1] == f"/var/lib/{service['StateDirectory']}"


def test_the_readme_names_the_limits_that_hold() -> None:
    text = " ".join((FOLDER / "README.md").read_text("utf-8").split())
    assert str(SUPERNET) in text
    assert f"every {KEEPALIVE_SECONDS} seconds" in text
    assert LOOK_EVERY_SECONDS == 0.5
    assert "looks twice a second" in text
    assert (200 + 15) // 16 * 16 + 32 == 240
