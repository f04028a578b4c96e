"""FreeSWITCH nodes: added, found, and what their configuration directory depends on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

from sqlalchemy import and_, or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from infra.kit import audit, clock, sealing
from infra.kit.database import PLATFORM
from infra.kit.ids import is_id, new_id
from infra.kit.problems import InvalidInput
from infra.kit.sealing import Seal
from switch.documents.settings import (
    DEFAULT_MAX_SESSIONS,
    DEFAULT_SESSIONS_PER_SECOND,
    Gateway,
    NodeConfiguration,
    SettingRefused,
)
from switch.errors import NodeAddressTaken, NodeInService, NodeNameTaken, NodeUnknown
from switch.models import Node

MAX_NODES = 500
MAX_CAPACITY_SEATS = 100_000
DEFAULT_CAPACITY_SEATS = 1_000
LIVE_STATES = ("active", "cut_off", "draining")
"""States of a node that phones may be registered at and that takes commands."""

UNHEARD_STATES = ("dead", "joining")
"""States of a node that nothing is heard of."""

CHANGEABLE_STATES = ("joining", "drained", "left")
"""States of a node that no phone relies on: its addresses may change. Not of a dead one, which comes back by itself
with the addresses that it was started with."""

_LIMITS = frozenset({"listen_host", "max_sessions", "sessions_per_second", "rtp_timeout_seconds"})

LOOPBACK_NETWORKS = ("127.0.0.0/8", "::1/128")
"""Who may command a node unless more is said: the machine it runs on."""

_FIELD_OF_SETTING = {"sip_ip": "sip_host", "listen_ip": "listen_host"}


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeDetails:
    """What an operator says about a node. Hosts are IP addresses, ports 1 to 65535, RTP ports a range of UDP ports.

    `sip_host` is where phones and carriers reach it; `listen_host` what it binds, where that is another address. The
    rest is as in `NodeConfiguration`.
    """

    name: str
    sip_host: str
    sip_port: int
    external_sip_port: int
    rtp_start_port: int
    rtp_end_port: int
    esl_host: str
    esl_port: int
    capacity_seats: int = DEFAULT_CAPACITY_SEATS
    listen_host: str | None = None
    max_sessions: int = DEFAULT_MAX_SESSIONS
    sessions_per_second: int = DEFAULT_SESSIONS_PER_SECOND
    rtp_timeout_seconds: int = 0


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
        listen_host=details.listen_host,
        max_sessions=details.max_sessions,
        sessions_per_second=details.sessions_per_second,
        rtp_timeout_seconds=details.rtp_timeout_seconds,
        esl_host=details.esl_host,
        esl_port=details.esl_port,
        sealed_esl_password=seal.close(sealing.new_secret()),
        sealed_secret=seal.close(secret),
        secret_digest=sealing.digest(secret),
        heartbeat_at=None,
        answered_since=None,
        answered_at=None,
        unanswered_since=None,
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


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeLimits:
    """What `seatline node-config` may say anew of a node; None leaves it as it is."""

    listen_host: str | None = None
    max_sessions: int | None = None
    sessions_per_second: int | None = None
    rtp_timeout_seconds: int | None = None


async def set_limits(session: AsyncSession, node: Node, limits: NodeLimits) -> None:
    """Take what `limits` says into a node's row; its SIP profiles follow when it restarts. Raises `InvalidInput`."""
    said = {field.name: value for field in fields(limits) if (value := getattr(limits, field.name)) is not None}
    if said:
        held = await find_locked(session, node.node_id)
        await change_node(session, held.node_id, replace(details_of(held), **said), is_restarted=True)


def details_of(node: Node) -> NodeDetails:
    """What is said about a node now."""
    return NodeDetails(**{field.name: getattr(node, field.name) for field in fields(NodeDetails)})


async def find_locked(session: AsyncSession, node_id: str) -> Node:
    """A node by id or name, held until the end of the transaction. Raises `NodeUnknown`."""
    found = await find(session, node_id)
    locked = select(Node).where(Node.node_id == found.node_id).with_for_update()
    return (await session.execute(locked.execution_options(populate_existing=True))).scalar_one()


async def change_node(
    session: AsyncSession, node_id: str, details: NodeDetails, *, is_restarted: bool = False, is_empty: bool = False
) -> Node:
    """Say anew what a node is (its id or name): room at any time, addresses, ports and limits while nobody is there.

    Its files must be written again and the node started from them for everything but its room. `is_restarted`: whoever
    asks is about to do that (`seatline node-config`), so limits may change in any state. `is_empty`: nobody is there,
    whatever its state is. A name is for good, since call records carry it. Raises `NodeUnknown`, `NodeInService`,
    `InvalidInput`, `NodeAddressTaken`.
    """
    node = await find_locked(session, node_id)
    before = details_of(node)
    changed = {
        field.name: getattr(details, field.name)
        for field in fields(details)
        if getattr(details, field.name) != getattr(before, field.name)
    }
    if "name" in changed:
        raise InvalidInput(f"A node keeps its name, {node.name}; call records carry it.", field="name")
    if not changed:
        return node
    _check(details)
    free = {"capacity_seats"} | (_LIMITS if is_restarted else set())
    bound = sorted(changed.keys() - free)
    if bound and not is_empty and node.state not in CHANGEABLE_STATES:
        raise NodeInService(
            f"The node {node.name} is {node.state}; `{bound[0]}` changes while it is {', '.join(CHANGEABLE_STATES)}: "
            "drain it first.",
            field=bound[0],
        )
    await _check_addresses(session, details)
    for name, value in changed.items():
        setattr(node, name, value)
    node.generation += 1
    facts = {name: {"from": getattr(before, name), "to": value} for name, value in changed.items()}
    await audit.record(session, PLATFORM, "node.changed", node.node_id, name=node.name, changed=facts)
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
            listen_ip=node.listen_host,
            max_sessions=node.max_sessions,
            sessions_per_second=node.sessions_per_second,
            rtp_timeout_seconds=node.rtp_timeout_seconds,
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


async def find(session: AsyncSession, name_or_id: str) -> Node:
    """A node by its id or name; 404 otherwise."""
    return await (get(session, name_or_id) if is_id("node", name_or_id) else get_by_name(session, name_or_id))


async def live_nodes(session: AsyncSession) -> list[Node]:
    """The nodes that may hold registrations and calls now, by name; at most `MAX_NODES`."""
    query = select(Node).where(Node.state.in_(LIVE_STATES)).order_by(Node.name).limit(MAX_NODES)
    return list((await session.execute(query)).scalars())


async def known_names(session: AsyncSession, names: Iterable[str]) -> frozenset[str]:
    """Those of the names that are, or were, a node's."""
    return frozenset((await session.execute(select(Node.name).where(Node.name.in_(list(names))))).scalars())


async def unheard_nodes(session: AsyncSession) -> list[str]:
    """The names of nodes that fell silent or were never heard of: what they hold now, if anything, nobody knows."""
    return list((await session.execute(select(Node.name).where(Node.state.in_(UNHEARD_STATES)))).scalars())


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
            listen_ip=details.listen_host,
            max_sessions=details.max_sessions,
            sessions_per_second=details.sessions_per_second,
            rtp_timeout_seconds=details.rtp_timeout_seconds,
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
