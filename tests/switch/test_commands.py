"""What nodes are told, over a real event socket, and how each command ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from infra.kit.database import Database, Scope
from infra.kit.jobs import Runtime
from infra.kit.sealing import Seal
from infra.kit.settings import Settings
from switch import clearing
from switch.commands import (
    CommandArgumentRefused,
    CommandFailed,
    NodeControl,
    Outcome,
    TenantService,
    Verdict,
    read_channels,
    read_generations,
    read_registrations,
    read_status,
)
from switch.errors import NodesNotReached
from switch.models import Node
from switch.sip.phone import Phone
from switch.sip.policy import answers
from tenancy import tenants
from tests.switch.cluster import CLOSED_PORT, add_node, add_tenant, eventually, opened_office, simulated_node
from tests.switch.simulator.office import DOMAIN, PASSWORD

OTHER_TENANT = "ten_01k9zq6m2v8d3c4b5a6f7g8h9j"


@pytest.fixture
def seal(settings: Settings) -> Seal:
    """The installation's seal."""
    return Seal(settings.secret_key)


@pytest.fixture
def control(seal: Seal) -> NodeControl:
    """Commands with a short time-out."""
    return NodeControl(seal, 0.5)


@asynccontextmanager
async def _silent_server(reply_to_login: bytes) -> AsyncGenerator[int]:
    """An event socket that lets everybody in and then says nothing more."""
    gone = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(b"Content-Type: auth/request\n\n")
            await reader.readuntil(b"\n\n")
            writer.write(reply_to_login)
            await gone.wait()
        finally:  # also when the test ends first
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        gone.set()
        server.close()


async def test_clearing_ends_a_tenants_registrations_and_calls_but_no_emergency_call_and_nobody_elses(
    database: Database, seal: Seal, control: NodeControl, tmp_path: Path
) -> None:
    tenant = await add_tenant(database)
    async with opened_office() as office, simulated_node(tmp_path / "node", office) as simulated:
        node = await add_node(database, seal, "fs-1", esl_port=simulated.event_socket_address[1])
        for name, service in (("2001", tenant.tenant_id), ("2002", OTHER_TENANT), ("110", "")):
            mark = [("set", f"seatline_service={service}")] if service else []
            office.dialplan[name] = [*mark, ("answer", ""), ("park", "")]
        office.add_user("1001")
        phone = Phone("1001", DOMAIN, server=simulated.sip_address(), password=PASSWORD, policy=answers())
        async with phone:
            assert await phone.register() == 200
            calls = {name: await phone.call(name) for name in office.dialplan}
            assert await control.registrations(node, DOMAIN) == (f"1001@{DOMAIN}",)
            assert len(await control.live_calls(node)) == 3
            result = await control.clear_tenant(node, TenantService(tenant.tenant_id, DOMAIN))
            assert result.is_done, result
            await calls["2001"].wait_ended(5)

            async def one_left_the_list() -> bool:
                return len(await control.live_calls(node)) == 2

            await eventually(one_left_the_list)
            assert {leg.destination for leg in await control.live_calls(node)} == {"2002", "110"}
            assert await control.registrations(node, DOMAIN) == ()
            assert (await control.clear_tenant(node, TenantService(tenant.tenant_id, DOMAIN))).is_done


async def test_one_leg_is_hung_up_and_a_leg_that_is_gone_is_refused(
    database: Database, seal: Seal, control: NodeControl, tmp_path: Path
) -> None:
    async with opened_office() as office, simulated_node(tmp_path / "node", office) as simulated:
        node = await add_node(database, seal, "fs-1", esl_port=simulated.event_socket_address[1])
        office.dialplan["2001"] = [("answer", ""), ("park", "")]
        office.add_user("1001")
        async with Phone("1001", DOMAIN, server=simulated.sip_address(), password=PASSWORD) as phone:
            call = await phone.call("2001")
            (leg,) = await control.live_calls(node)
            assert (await control.hang_up(node, leg.leg_id)).is_done
            await call.wait_ended(5)
            assert (await control.hang_up(node, leg.leg_id)).verdict is Verdict.REFUSED


async def test_a_node_is_asked_how_it_is_whom_it_knows_and_to_find_its_gateways(
    database: Database, seal: Seal, control: NodeControl, tmp_path: Path
) -> None:
    async with opened_office() as office, simulated_node(tmp_path / "node", office) as simulated:
        node = await add_node(database, seal, "fs-1", esl_port=simulated.event_socket_address[1])
        office.add_user("canary")
        status = await control.status(node)
        assert (status.is_ready, status.sessions) == (True, 0)
        assert status.version.startswith("1.11.")
        assert await control.user_exists(node, "canary", DOMAIN)
        assert not await control.user_exists(node, "nobody", DOMAIN)
        assert (await control.run(node, "reloadacl", "reloadxml"))[0].is_done
        assert await control.live_calls(node) == ()


async def test_a_command_to_a_node_that_is_down_was_not_sent(
    database: Database, seal: Seal, control: NodeControl
) -> None:
    node = await add_node(database, seal, "fs-1", esl_port=CLOSED_PORT)
    result = await control.clear_tenant(node, TenantService(OTHER_TENANT, DOMAIN))
    assert (result.registrations.verdict, result.calls.verdict) == (Verdict.NOT_SENT, Verdict.NOT_SENT)
    with pytest.raises(CommandFailed) as failed:
        await control.status(node)
    assert failed.value.outcome.verdict is Verdict.NOT_SENT


async def test_a_wrong_password_means_not_sent_and_is_not_repeated_in_the_reason(
    database: Database, seal: Seal, control: NodeControl, tmp_path: Path
) -> None:
    async with opened_office() as office, simulated_node(tmp_path / "node", office) as simulated:
        node = await add_node(database, seal, "fs-1", esl_port=simulated.event_socket_address[1])
        node.sealed_esl_password = seal.close("not-the-password")
        outcome = (await control.run(node, "status"))[0]
    assert outcome.verdict is Verdict.NOT_SENT
    assert "not-the-password" not in outcome.text


async def test_a_command_without_an_answer_ends_as_unknown_and_nothing_follows_it(
    database: Database, seal: Seal, control: NodeControl
) -> None:
    async with _silent_server(b"Content-Type: command/reply\nReply-Text: +OK accepted\n\n") as port:
        node = await add_node(database, seal, "fs-1", esl_port=port)
        result = await control.clear_tenant(node, TenantService(OTHER_TENANT, DOMAIN))
    assert (result.registrations.verdict, result.calls.verdict) == (Verdict.UNKNOWN, Verdict.NOT_SENT)


async def test_an_answer_without_ok_is_a_refusal(
    database: Database, seal: Seal, control: NodeControl, tmp_path: Path
) -> None:
    async with opened_office() as office, simulated_node(tmp_path / "node", office) as simulated:
        node = await add_node(database, seal, "fs-1", esl_port=simulated.event_socket_address[1])
        unknown, other = await control.run(node, "sofia profile nowhere flush_inbound_reg x", "nonsense")
    assert unknown == Outcome(unknown.command, Verdict.REFUSED, "Invalid Profile [nowhere]")
    assert other.verdict is Verdict.REFUSED


@pytest.mark.parametrize(
    ("tenant_id", "domain"),
    [("", DOMAIN), (OTHER_TENANT, ""), (f"{OTHER_TENANT} x y", DOMAIN), (OTHER_TENANT, "a b"), (OTHER_TENANT, "a\nb")],
)
async def test_an_argument_that_would_mean_everybody_is_never_sent(
    control: NodeControl, tenant_id: str, domain: str
) -> None:
    with pytest.raises(CommandArgumentRefused):
        await control.clear_tenant(Node(), TenantService(tenant_id, domain))


def test_answers_that_are_none_are_not_read() -> None:
    assert read_status("-ERR no reply") is None
    assert read_channels("not json") is None
    assert read_registrations("Invalid Profile!", DOMAIN) is None
    assert read_generations("-ERR no reply") is None


def test_what_phones_registered_with_is_read_from_the_list() -> None:
    rows = (
        '[{"reg_user":"1001","realm":"A.example","token":"x","metadata":"3"},'
        '{"reg_user":"1002","realm":"a.example","metadata":null},{"reg_user":"1003","realm":"a.example"}]'
    )
    assert read_generations(f'{{"row_count":3,"rows":{rows}}}') == {
        "1001@a.example": "3",
        "1002@a.example": "",
        "1003@a.example": "",
    }
    assert read_generations('{"row_count":0}') == {}


async def test_only_a_suspended_tenant_of_this_generation_is_cleared(
    database: Database, settings: Settings, seal: Seal, tmp_path: Path
) -> None:
    runtime = Runtime(database, settings)
    tenant = await add_tenant(database)
    async with opened_office() as office, simulated_node(tmp_path / "node", office) as simulated:
        await add_node(database, seal, "fs-1", esl_port=simulated.event_socket_address[1])
        await add_node(database, seal, "fs-dead", esl_port=CLOSED_PORT, state="dead")
        assert await clearing.clear_tenant(runtime, tenant.tenant_id, 1) == {}
        async with database.transaction(Scope.platform()) as session:
            await tenants.suspend(session, tenant.tenant_id, reason="operator_decision")
        assert await clearing.clear_tenant(runtime, tenant.tenant_id, 1) == {}
        assert set(await clearing.clear_tenant(runtime, tenant.tenant_id, 2)) == {"fs-1"}


async def test_clearing_is_tried_again_while_a_live_node_was_not_told(
    database: Database, settings: Settings, seal: Seal
) -> None:
    tenant = await add_tenant(database)
    await add_node(database, seal, "fs-1", esl_port=CLOSED_PORT)
    async with database.transaction(Scope.platform()) as session:
        await tenants.suspend(session, tenant.tenant_id, reason="operator_decision")
    with pytest.raises(NodesNotReached, match="fs-1"):
        await clearing.clear_tenant(Runtime(database, settings), tenant.tenant_id, 2)
