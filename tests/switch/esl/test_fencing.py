"""A connection whose owner may not tell its node anything for the moment."""

from __future__ import annotations

import pytest

from switch.esl.errors import EslNotPermitted
from switch.esl.fencing import FencedConnection, is_reading
from tests.switch.esl.scripted_node import PASSWORD, ScriptedNode


async def test_without_leave_the_node_is_asked_but_told_nothing() -> None:
    async with ScriptedNode() as node, await FencedConnection.open("127.0.0.1", node.port, PASSWORD) as connection:
        may_tell = True
        connection.may_tell = lambda: may_tell
        await connection.api("fsctl pause inbound")
        may_tell = False
        await connection.api("fsctl pause_check inbound")
        for tell in (connection.api, connection.bgapi):
            with pytest.raises(EslNotPermitted, match="fsctl resume inbound"):
                await tell("fsctl resume inbound")
        may_tell = True
        await connection.bgapi("fsctl resume inbound")
        told = [command for command in node.commands if "api" in command]
        asked = ["api fsctl pause inbound", "api fsctl pause_check inbound", "bgapi fsctl resume inbound"]
        assert told == asked


@pytest.mark.parametrize(
    "line",
    ["api status", "bgapi show channels as json", "event plain HEARTBEAT", "bgapi sofia status profile internal reg"],
)
def test_what_only_asks(line: str) -> None:
    assert is_reading(line)


@pytest.mark.parametrize(
    "line",
    [
        "api uuid_kill 1 SYSTEM_SHUTDOWN",
        "api uuid_setvar 1 a b",
        "api global_setvar a=b",
        "api fsctl pause inbound",
        "bgapi reloadacl",
        "bgapi sofia profile external killgw a",
        "api sofia profile internal flush_inbound_reg a",
        "sendmsg 1",
    ],
)
def test_what_tells_the_node_something(line: str) -> None:
    assert not is_reading(line)
