"""Where call records go: posted, retried, kept on disk, and what a node's end does to them."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from switch.simulator.call_record import render_call_record, time_variables
from switch.simulator.channel import CallerProfile, Channel, Times
from switch.simulator.events import NodeIdentity
from switch.simulator.record_delivery import RecordDelivery
from switch.simulator.settings import CallRecordSettings, call_records
from switch.simulator.xml_document import parse_xml
from tests.switch.simulator.conftest import World
from tests.switch.simulator.office import NODE, SECRET, Office

IDENTITY = NodeIdentity("core-1", "host", "node-a")


def settings(office: Office, directory: Path, *params: tuple[str, str]) -> CallRecordSettings:
    """What `json_cdr.conf` with these further parameters says."""
    pairs = [
        ("url", f"{office.url}/cdr"),
        ("cred", f"{NODE}:{SECRET}"),
        ("encode-values", "false"),
        ("err-log-dir", "failed"),
        *params,
    ]
    inner = "".join(f'<param name="{name}" value="{value}"/>' for name, value in pairs)
    element = parse_xml(f"<configuration><settings>{inner}</settings></configuration>")
    read = call_records(element, log_directory=directory)
    assert read is not None
    return read


def ended_channel() -> Channel:
    """A leg that was answered 999.9 ms after a full second and lasted 100.2 ms."""
    channel = Channel("uuid-1", "inbound", 1, CallerProfile(username="1001", destination_number="1002"))
    channel.times = Times(created=1_795_294_505_000_000, answered=1_795_294_506_999_900, bridged=1_795_294_506_999_900)
    channel.set("seatline_leg", "caller")
    channel.mark_ended("NORMAL_CLEARING", at=1_795_294_507_100_100)
    channel.enter_hangup()
    channel.variables.update(time_variables(channel))
    return channel


def test_seconds_are_differences_of_truncated_seconds() -> None:
    record = json.loads(render_call_record(ended_channel(), IDENTITY, encode_values=False))
    variables = record["variables"]
    assert (variables["billsec"], variables["billmsec"], variables["billusec"]) == ("1", "100", "100200")
    assert variables["answer_stamp"] == "2026-11-21 20:55:06"
    assert variables["seatline_leg"] == "caller"
    assert variables["hangup_cause_q850"] == "16"
    assert (record["core-uuid"], record["switchname"]) == ("core-1", "node-a")


def test_values_are_encoded_unless_told_otherwise() -> None:
    channel = ended_channel()
    channel.set("display", "a b@c")
    record = json.loads(render_call_record(channel, IDENTITY, encode_values=True))
    assert record["variables"]["display"] == "a%20b%40c"


async def test_a_record_is_posted_with_its_uuid(office: Office, tmp_path: Path) -> None:
    delivery = RecordDelivery(settings(office, tmp_path))
    await delivery.deliver(ended_channel(), b'{"variables":{}}')
    await delivery.close()
    assert office.queries == ["/cdr?uuid=uuid-1"]
    assert not (tmp_path / "failed").exists()


async def test_a_record_that_nobody_takes_is_retried_and_then_kept(office: Office, tmp_path: Path) -> None:
    waits: list[float] = []

    async def wait(seconds: float) -> None:
        waits.append(seconds)

    office.record_status = 503
    delivery = RecordDelivery(settings(office, tmp_path, ("retries", "2"), ("delay", "3")), wait=wait)
    await delivery.deliver(ended_channel(), b'{"variables":{}}')
    await delivery.close()
    assert waits == [3.0, 3.0]
    assert (tmp_path / "failed" / "uuid-1.cdr.json").read_bytes() == b'{"variables":{}}\n'


async def test_every_record_is_on_disk_when_asked_for(office: Office, tmp_path: Path) -> None:
    wanted = settings(office, tmp_path, ("log-http-and-disk", "true"), ("log-dir", "all"), ("prefix-a-leg", "true"))
    delivery = RecordDelivery(wanted)
    await delivery.deliver(ended_channel(), b'{"variables":{}}')
    await delivery.close()
    assert (tmp_path / "all" / "a_uuid-1.cdr.json").exists()
    assert len(office.queries) == 1


async def test_a_leg_stays_listed_until_its_record_is_delivered(world: World) -> None:
    caller = await world.registered("1001")
    world.office.dialplan["1"] = [("answer", ""), ("park", "")]
    world.office.record_gate = asyncio.Event()
    call = await caller.call("1")
    await call.hangup()
    assert await world.node.api("show channels count") == "\n1 total.\n"
    world.office.record_gate.set()
    assert await world.node.core.wait_empty(5)
    assert await world.node.api("show channels count") == "\n0 total.\n"


async def test_stopping_ends_calls_with_their_records_and_killing_does_not(world: World) -> None:
    caller = await world.registered("1001")
    world.office.dialplan["1"] = [("answer", ""), ("park", "")]
    call = await caller.call("1")
    await world.node.stop()
    assert (await world.office.wait_records(1))[0]["hangup_cause"] == "SYSTEM_SHUTDOWN"
    await call.wait_ended(5)
    await world.node.start()
    caller = await world.registered("1002")
    assert (await caller.call("1")).status == 200
    world.node.kill()
    assert not world.node.is_running
    assert len(world.office.records) == 1
