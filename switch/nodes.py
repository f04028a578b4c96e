"""FreeSWITCH nodes: added, found, and what their configuration directory depends on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import and_, or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit import audit, clock, sealing
from infra.kit.database import PLATFORM
from infra.kit.ids import new_id
from infra.kit.problems import InvalidInput
from infra.kit.sealing import Seal
from switch.documents.settings import Gateway, NodeConfiguration, SettingRefused
from switch.errors import NodeAddressTaken, NodeNameTaken, NodeUnknown
from switch.models import Node

MAX_NODES = 500
MAX_CAPACITY_SEATS = 100_000
DEFAULT_CAPACITY_SEATS = 1_000
LIVE_STATES = ("active", "draining")
"""States of a node that phones may be registered at and that takes commands."""

LOOPBACK_NETWORKS = ("127.0.0.0/8", "::1/128")
"""Who may command a node unless more is said: the machine it runs on."""

_FIELD_OF_SETTING = {"sip_ip": "sip_host"}


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeDetails:
    """What an operator says about a node. Hosts are IP addresses, ports 1 to 65535, RTP ports a range of UDP ports."""

    name: str
    sip_host: str
    sip_port: int
    external_sip_port: int
    rtp_start_port: int
    rtp_end_port: int
    esl_host: str
    esl_port: int
    capacity_seats: int = DEFAULT_CAPACITY_SEATS


async def create_node(session: AsyncSession, seal: Seal, details: NodeDetails) -> Node:
    """A new node in state `joining`, with an event-socket password and an HTTP secret of our making.

    Raises `InvalidInput` naming the field, `NodeNameTaken`, `NodeAddressTaken`.
    """
    _check(details)
    await _check_addresses(session, details)
    now = clock.now()
    secret = sealing.new_secret()
    node = Node(
        node_id=new_id("node"),
        name=details.name,
        state="joining",
        capacity_seats=details.capacity_seats,
        sip_host=details.sip_host,
        sip_port=details.sip_port,
        external_sip_port=details.external_sip_port,
        sip_tls_port=None,
        rtp_start_port=details.rtp_start_port,
        rtp_end_port=details.rtp_end_port,
        esl_host=details.esl_host,
        esl_port=details.esl_port,
        sealed_esl_password=seal.close(sealing.new_secret()),
        sealed_secret=seal.close(secret),
        secret_digest=sealing.digest(secret),
        heartbeat_at=None,
        version=None,
        generation=1,
        state_changed_at=now,
        created_at=now,
        supervisor=None,
        supervised_until=None,
        fencing=0,
    )
    try:
        async with session.begin_nested():
            session.add(node)
    except IntegrityError as error:
        raise NodeNameTaken(f"There is a node {details.name} already; choose another name.", field="name") from error
    await audit.record(session, PLATFORM, "node.created", node.node_id, name=node.name)
    return node


def configuration(
    node: Node,
    gateways: Sequence[Gateway],
    seal: Seal,
    *,
    api_url: str,
    spool_directory: Path,
    control_networks: Sequence[str] = (),
    api_ca_file: Path | None = None,
    sip_tls_port: int | None = None,
    sip_tls_directory: Path | None = None,
) -> NodeConfiguration:
    """Everything `write_node_configuration` needs, secrets unsealed.

    `spool_directory` is absolute, on the node's machine; `control_networks` (CIDR) may command the node besides the
    machine it runs on; TLS as in `NodeConfiguration`. Raises `InvalidInput` when a
    value cannot stand in a configuration.
    """
    try:
        return NodeConfiguration(
            name=node.name,
            api_url=api_url,
            node_secret=seal.open(node.sealed_secret),
            esl_host=node.esl_host,
            esl_port=node.esl_port,
            esl_password=seal.open(node.sealed_esl_password),
            sip_ip=node.sip_host,
            sip_port=node.sip_port,
            external_sip_port=node.external_sip_port,
            rtp_start_port=node.rtp_start_port,
            rtp_end_port=node.rtp_end_port,
            spool_directory=spool_directory,
            gateways=tuple(gateways),
            control_networks=(*LOOPBACK_NETWORKS, *control_networks),
            api_ca_file=api_ca_file,
            sip_tls_port=sip_tls_port,
            sip_tls_directory=sip_tls_directory,
        )
    except SettingRefused as refused:
        raise _as_input(refused) from refused


async def get(session: AsyncSession, node_id: str) -> Node:
    """A node by its id; 404 otherwise."""
    node = await session.get(Node, node_id)
    if node is None:
        raise NodeUnknown(f"There is no node {node_id}.", field="node_id")
    return node


async def get_by_name(session: AsyncSession, name: str) -> Node:
    """A node by its name; 404 otherwise."""
    node = (await session.execute(select(Node).where(Node.name == name))).scalar_one_or_none()
    if node is None:
        raise NodeUnknown(f"There is no node named {name}; GET /v1/nodes lists them.", field="name")
    return node


async def live_nodes(session: AsyncSession) -> list[Node]:
    """The nodes that may hold registrations and calls now, by name; at most `MAX_NODES`."""
    query = select(Node).where(Node.state.in_(LIVE_STATES)).order_by(Node.name).limit(MAX_NODES)
    return list((await session.execute(query)).scalars())


def _check(details: NodeDetails) -> None:
    """Refuse what a configuration directory could not be written from, before anything is stored."""
    if not 1 <= details.capacity_seats <= MAX_CAPACITY_SEATS:
        raise InvalidInput(f"A node takes 1 to {MAX_CAPACITY_SEATS} seats.", field="capacity_seats")
    try:
        NodeConfiguration(
            name=details.name,
            api_url="http://127.0.0.1",
            node_secret="unused",  # noqa: S106 - only the form of the other values is looked at here
            esl_host=details.esl_host,
            esl_port=details.esl_port,
            esl_password="unused",  # noqa: S106
            sip_ip=details.sip_host,
            sip_port=details.sip_port,
            external_sip_port=details.external_sip_port,
            rtp_start_port=details.rtp_start_port,
            rtp_end_port=details.rtp_end_port,
            spool_directory=Path.cwd(),
        )
    except SettingRefused as refused:
        raise _as_input(refused) from refused


def _as_input(refused: SettingRefused) -> InvalidInput:
    """A refused setting under the name that it has in the API."""
    _, _, expected = str(refused).partition(": ")
    field = _FIELD_OF_SETTING.get(refused.setting, refused.setting)
    return InvalidInput(f"{field}: {expected.partition(';')[0]}.", field=field)


async def _check_addresses(session: AsyncSession, details: NodeDetails) -> None:
    """Two nodes at one address would be one node under two names."""
    sip_ports = (details.sip_port, details.external_sip_port)
    same_sip = and_(
        Node.sip_host == details.sip_host,
        or_(Node.sip_port.in_(sip_ports), Node.external_sip_port.in_(sip_ports)),
    )
    same_esl = and_(Node.esl_host == details.esl_host, Node.esl_port == details.esl_port)
    query = select(Node.name).where(Node.state != "left", Node.name != details.name, or_(same_sip, same_esl)).limit(1)
    other = (await session.execute(query)).scalar()
    if other is not None:
        raise NodeAddressTaken(
            f"The node {other} listens at one of these addresses already; give this one other ports.", field="sip_port"
        )
