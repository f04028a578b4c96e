"""Phones over UDP, TCP and TLS, and a node that reaches its API over https."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Literal

import pytest

from switch import node_certificates
from switch.node_certificates import CertificateFiles
from switch.sip.errors import SipTransportError
from switch.sip.phone import Phone
from tests.live.customers import LiveSeat, Office
from tests.live.system import LOOPBACK, LiveSystem
from tests.live.waiting import until

FORBIDDEN = 403
ANSWER_LIMIT_SECONDS = 10.0
HEALTH_LIMIT_SECONDS = 45.0
REGISTRATION_SECONDS = 300
MAX_CUSTOMERS = 12
CHUNK_BYTES = 65_536


def trusting(authority: Path) -> ssl.SSLContext:
    """A phone's context that trusts this authority alone, and checks."""
    return ssl.create_default_context(cafile=str(authority))


async def phone_over(
    seat: LiveSeat,
    transport: Literal["udp", "tcp", "tls"],
    *,
    password: str | None = None,
    tls: ssl.SSLContext | None = None,
) -> Phone:
    """A phone of this seat; closed with the test."""
    node = seat.customer.office.system.nodes[await seat.customer.serving_node()]
    return seat.customer.office.keep(
        Phone(
            seat.extension,
            seat.customer.domain,
            server=node.sip_tls if transport == "tls" else node.sip,
            password=password or seat.password,
            transport=transport,
            tls=tls or (trusting(node.authority) if transport == "tls" else None),
        )
    )


@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
async def test_a_seat_registers_over_every_transport_and_a_guess_over_none(
    office: Office, transport: Literal["udp", "tcp", "tls"]
) -> None:
    seat = (await office.customer(seats=1)).seats[0]
    assert await (await phone_over(seat, transport, password="a guess")).register() == FORBIDDEN
    phone = await phone_over(seat, transport)
    assert await phone.register(expires_seconds=REGISTRATION_SECONDS) == 200

    async def shown() -> list[Any]:
        return await office.operator.items("/v1/live/registrations", tenant_id=seat.customer.tenant_id)

    (live,) = await until(shown, "the live view shows the phone", limit_seconds=ANSWER_LIMIT_SECONDS)
    assert (live["username"], live["transport"]) == (seat.extension, transport)
    assert await phone.unregister() == 200


async def test_a_call_between_a_seat_over_tcp_and_one_over_tls(office: Office) -> None:
    customer = await office.customer(seats=2)
    caller, called = await phone_over(customer.seats[0], "tcp"), await phone_over(customer.seats[1], "tls")
    for phone in (caller, called):
        assert await phone.register(expires_seconds=REGISTRATION_SECONDS) == 200
    for one, other, seat in ((caller, called, customer.seats[1]), (called, caller, customer.seats[0])):
        call = await one.call(seat.extension)
        assert call.status == 200
        arrived = await other.next_call(ANSWER_LIMIT_SECONDS)
        await call.hangup()
        assert await arrived.wait_ended(ANSWER_LIMIT_SECONDS) == "them"


async def test_a_phone_that_does_not_trust_the_nodes_certificate_does_not_connect(
    office: Office, tmp_path: Path
) -> None:
    seat = (await office.customer(seats=1)).seats[0]
    stranger = node_certificates.make_for_development(tmp_path, host=LOOPBACK)
    phone = await phone_over(seat, "tls", tls=trusting(stranger.authority))
    with pytest.raises(SipTransportError, match="cannot be connected"):
        await phone.register()


@asynccontextmanager
async def https_in_front_of(system: LiveSystem, files: CertificateFiles) -> AsyncGenerator[str]:
    """The API behind TLS, as a proxy in front of it would be; its address."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate)

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(CHUNK_BYTES):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_api, to_api = await asyncio.open_connection(LOOPBACK, system.http_port)
        await asyncio.gather(pass_on(reader, to_api), pass_on(from_api, writer))

    server = await asyncio.start_server(serve, LOOPBACK, 0, ssl=context)
    try:
        yield f"https://{LOOPBACK}:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


async def seat_at(office: Office, node: str) -> LiveSeat:
    """A seat of a new tenant that lives at this node; where a tenant lives is as good as chance."""
    for _ in range(MAX_CUSTOMERS):
        customer = await office.customer(seats=1)
        if await customer.serving_node() == node:
            return customer.seats[0]
    raise AssertionError(f"none of {MAX_CUSTOMERS} tenants lives at {node}")


async def finding(office: Office, node: str, check: str) -> Mapping[str, Any] | None:
    """What the doctor finds; None while it does not come so far."""
    health = await office.operator.get(f"/v1/nodes/{node}/health")
    return next((each for each in health["findings"] if each["check"] == check), None)


async def healthy(office: Office, node: str) -> Mapping[str, Any]:
    """What the doctor finds, once all of it is fine: a node that was started anew needs a moment until it is heard."""

    async def look() -> Mapping[str, Any] | None:
        found = await office.operator.get(f"/v1/nodes/{node}/health")
        return found if all(each["verdict"] == "fine" for each in found["findings"]) else None

    return await until(look, f"the doctor finds {node} fine", limit_seconds=HEALTH_LIMIT_SECONDS)


async def test_a_node_asks_an_https_api_whose_certificate_it_trusts_and_no_other(
    office: Office, system: LiveSystem, tmp_path: Path
) -> None:
    name, node = next(iter(system.nodes.items()))
    usual = node.directory
    proxy = node_certificates.make_for_development(tmp_path / "api", host=LOOPBACK)
    stranger = node_certificates.make_for_development(tmp_path / "stranger", host=LOOPBACK)

    async def asked() -> Mapping[str, Any] | None:
        return await finding(office, name, "api")

    def written(address: str, trusted: Path, verdict: str) -> Path:
        place = system.directory / "nodes" / f"{name}-https-{verdict}" / "conf"
        return system.configure(name, place, "--api-url", address, "--ca-file", str(trusted))

    try:
        async with https_in_front_of(system, proxy) as address:
            cases = ((stranger.authority, "error"), (proxy.authority, "fine"))
            places = await asyncio.gather(*(asyncio.to_thread(written, address, *case) for case in cases))
            for (_, verdict), place in zip(cases, places, strict=True):
                await asyncio.to_thread(node.process.stop)
                system.start_from(name, place)
                found = await until(asked, f"{name} answers", limit_seconds=HEALTH_LIMIT_SECONDS)
                assert found["verdict"] == verdict, found
            await asyncio.to_thread(system.wait_node, name, "active")
            seat = await seat_at(office, name)
            assert await (await phone_over(seat, "udp")).register(expires_seconds=REGISTRATION_SECONDS) == 200
    finally:
        await asyncio.to_thread(node.process.stop)
        system.start_from(name, usual)
        await until(asked, f"{name} answers", limit_seconds=HEALTH_LIMIT_SECONDS)
        await asyncio.to_thread(system.wait_node, name, "active")


async def test_the_doctor_finds_a_node_fine(office: Office, system: LiveSystem) -> None:
    for name in system.nodes:
        health = await healthy(office, name)
        ends = next(each for each in health["findings"] if each["check"] == "certificate of SIP")
        assert "expires" in ends["found"]
    name = next(iter(system.nodes))
    assert system.seatline("node", "doctor", name).startswith(f"{name} (active): fine")
