"""Every error the system can log has a runbook, and every runbook an error."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
ROOMS = ("tenancy", "billing", "switch", "provisioning", "infra")
WARNINGS_WITH_A_RUNBOOK = {
    "drain.records_missing",
    "call_record.set_aside",
    "mail.no_server",
    "invoice_run.waiting_for_release",
}
_ERROR = re.compile(r'log\.(?:error|exception)\(\s*"(?P<event>[a-z_.]+)"')


def test_every_alarm_has_a_runbook_and_every_runbook_an_alarm() -> None:
    logged = {
        found["event"]
        for room in ROOMS
        for path in (ROOT / room).rglob("*.py")
        if "simulator" not in path.parts
        for found in _ERROR.finditer(path.read_text(encoding="utf-8"))
    }
    page = (ROOT / "infra/docs/runbooks/README.md").read_text(encoding="utf-8")
    described = set(re.findall(r"^## (\S+)$", page, flags=re.MULTILINE))
    assert described == logged | WARNINGS_WITH_A_RUNBOOK
