"""Phones that reach a simulated node over TCP and TLS, or through an edge that names itself in a Path."""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest

from switch import node_certificates
from switch.simulator.node import SimulatedNode
from switch.simulator.reach import Way, with_path
from switch.sip.carrier import Carrier
from switch.sip.endpoint import SipEndpoint
from switch.sip.errors import SipSyntaxError, SipTransportError
from switch.sip.message import Request
from switch.sip.phone import Phone
from switch.sip.policy import answers
from switch.sip.transactions import ServerTransaction
from switch.sip.uri import SipUri
from tests.switch.simulator.conftest import TIMERS, World
from tests.switch.simulator.office import DOMAIN, PASSWORD, Office, write_configuration

Transport = Literal["tcp", "tls"]
LIMIT_SECONDS = 5.0
RING_1002 = [("bridge", f"user/1002@{DOMAIN}")]


@pytest.fixture
async def world(office: Office, tmp_path: Path) -> AsyncGenerator[World]:
    """A node that speaks TLS too."""
    files = node_certificates.make_for_development(tmp_path / "tls", host="127.0.0.1")
    carrier = Carrier("127.0.0.1", policy=answers(), timers=TIMERS)
    await carrier.start()
    host, port = carrier.address
    write_configuration(
        tmp_path / "node", office=office.url, carrier=f"{host}:{port}", tls_directory=files.certificate.parent
    )
    node = SimulatedNode.from_configuration(tmp_path / "node", timers=TIMERS)
    await node.start()
    world = World(office, carrier, node)
    yield world
    for phone in world.phones:
        phone.vanish()
    carrier.vanish()
    await node.stop()


async def registered(world: World, tmp_path: Path, user: str, transport: Transport) -> Phone:
    """A phone that speaks to the node over this transport."""
    world.office.add_user(user)
    profile = world.node.core.profiles["internal"]
    server = profile.tls_address if transport == "tls" else profile.address
    assert server is not None
    authority = tmp_path / "tls" / node_certificates.AUTHORITY_FILE
    phone = Phone(
        user,
        DOMAIN,
        server=server,
        password=PASSWORD,
        timers=TIMERS,
        transport=transport,
        tls=ssl.create_default_context(cafile=str(authority)) if transport == "tls" else None,
    )
    world.phones.append(phone)
    assert await phone.register() == 200
    return phone


@pytest.mark.parametrize("transport", ["tcp", "tls"])
async def test_a_registration_shows_its_transport_wherever_it_is_listed(
    world: World, tmp_path: Path, transport: Transport
) -> None:
    phone = await registered(world, tmp_path, "1001", transport)
    contact = f"sip:1001@127.0.0.1:{phone.address[1]};transport={transport}"
    text = await world.node.api("sofia status profile internal reg")
    assert f"Registered({transport.upper()})" in text
    assert f'Contact:    \t"" <{contact}>' in text
    (row,) = json.loads(await world.node.api("show registrations as json"))["rows"]
    assert (row["network_proto"], row["url"]) == (transport, f"sofia/internal/{contact}")
    asked = next(form for form in world.office.forms if form.get("action") == "sip_auth")
    assert asked["sip_via_protocol"] == transport


async def test_the_profile_says_where_it_takes_tls(world: World) -> None:
    address = world.node.core.profiles["internal"].tls_address
    assert address is not None
    text = await world.node.api("sofia status profile internal")
    assert f"TLS-BIND-URL     \tsips:mod_sofia@127.0.0.1:{address[1]};transport=tls" in text
    assert "TLS" not in await world.node.api("sofia status profile external")


@pytest.mark.parametrize("transport", ["tcp", "tls"])
async def test_a_phone_calls_and_is_called_over_the_connection_that_it_opened(
    world: World, tmp_path: Path, transport: Transport
) -> None:
    over_stream, over_udp = await registered(world, tmp_path, "1002", transport), await world.registered("1001")
    world.office.dialplan |= {"1002": RING_1002, "1001": [("bridge", f"user/1001@{DOMAIN}")]}
    for one, other in ((over_udp, over_stream), (over_stream, over_udp)):
        call = await one.call(other.user)
        assert call.status == 200
        arrived = await other.next_call(LIMIT_SECONDS)
        assert arrived.request is not None
        assert (f";transport={transport}" in arrived.request.header("Contact")) == (other is over_stream)
        assert await arrived.hold() == 200
        await arrived.hangup()
        assert await call.wait_ended(LIMIT_SECONDS) == "them"


@pytest.mark.parametrize("transport", ["tcp", "tls"])
async def test_a_phone_whose_connection_is_gone_is_not_available(
    world: World, tmp_path: Path, transport: Transport
) -> None:
    gone, caller = await registered(world, tmp_path, "1002", transport), await world.registered("1001")
    world.office.dialplan["1002"] = [("set", "continue_on_fail=false"), *RING_1002]
    profile = world.node.core.profiles["internal"]
    gone.vanish()
    assert (await caller.call("1002")).status == 503
    leg, caller_leg = await world.office.wait_records(2)
    assert (leg["hangup_cause"], caller_leg["hangup_cause"]) == ("NORMAL_TEMPORARY_FAILURE",) * 2
    assert (leg["sip_term_status"], leg["proto_specific_hangup_cause"]) == ("503", "sip:503")
    assert len(profile.registrar) == 2, "it stays registered until its time is over"


async def test_a_certificate_that_is_missing_is_told_at_the_start(office: Office, tmp_path: Path) -> None:
    write_configuration(tmp_path / "node", office=office.url, carrier="127.0.0.1:9", tls_directory=tmp_path)
    node = SimulatedNode.from_configuration(tmp_path / "node", timers=TIMERS)
    with pytest.raises(SipTransportError, match=r"agent\.pem"):
        await node.start()
    assert not node.is_running


class Edge:
    """A proxy that a phone's REGISTER came along: it is asked to ring the phone, and answers for it."""

    def __init__(self) -> None:
        self.rung: list[Request] = []
        self.endpoint: SipEndpoint | None = None

    def receive(self, transaction: ServerTransaction) -> None:
        self.rung.append(transaction.request)
        transaction.respond(486)

    @property
    def path(self) -> str:
        assert self.endpoint is not None
        return f"<sip:127.0.0.1:{self.endpoint.address[1]};lr;from=7369703a>"


class PhoneBehind(Phone):
    """Its REGISTER bears the Path that its edge adds."""

    def __init__(self, user: str, edge: Edge, server: tuple[str, int]) -> None:
        super().__init__(user, DOMAIN, server=server, password=PASSWORD, timers=TIMERS)
        self.edge = edge

    def own_headers(self) -> list[tuple[str, str]]:
        return [*super().own_headers(), ("Path", self.edge.path)]


@pytest.fixture
async def edge() -> AsyncGenerator[Edge]:
    """One that listens."""
    edge = Edge()
    edge.endpoint = await SipEndpoint.open("127.0.0.1", on_request=edge.receive, timers=TIMERS)
    yield edge
    edge.endpoint.close()


async def test_a_phone_that_registered_along_a_path_is_rung_along_it(world: World, edge: Edge) -> None:
    behind = PhoneBehind("1002", edge, world.node.sip_address())
    world.phones.append(behind)
    world.office.add_user("1002")
    assert await behind.register() == 200
    assert ";fs_path=%3Csip%3A127.0.0.1%3A" in await world.node.api("sofia status profile internal reg")

    caller = await world.registered("1001")
    world.office.dialplan["1002"] = [("set", "continue_on_fail=false"), *RING_1002]
    assert (await caller.call("1002")).status == 486
    assert behind.calls == ()
    invite = edge.rung[0]
    assert invite.uri == f"sip:1002@127.0.0.1:{behind.address[1]}"
    assert invite.headers.all("Route") == [edge.path]
    leg = next(record for record in await world.office.wait_records(2) if record["direction"] == "outbound")
    assert ";fs_path=%3Csip%3A127.0.0.1%3A" in leg["sip_destination_url"]


def test_a_way_is_the_first_of_its_hops_and_what_is_no_path_is_refused() -> None:
    contact = SipUri.parse("sip:1001@192.0.2.7:5060;transport=tls;ob")
    assert (Way.to(contact).transport, Way.to(contact).first_hop) == ("TLS", contact)
    hops = ["<sip:192.0.2.1;transport=tcp;lr>", "<sip:192.0.2.2;lr>"]
    way = Way.to(SipUri.parse(str(with_path(contact, hops))))
    assert (way.target, list(way.routes), way.transport) == (contact, hops, "TCP")
    assert way.first_hop.host == "192.0.2.1"
    assert Way.to(replace(contact, parameters={})).transport == "UDP"
    assert Way.to(SipUri.parse("sips:1001@192.0.2.7")).transport == "TLS"
    with pytest.raises(SipSyntaxError):
        Way.to(SipUri.parse("sip:1001@192.0.2.7;fs_path=nonsense"))
