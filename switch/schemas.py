"""Request and response bodies of nodes, phone numbers and canary checks."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from msgspec import UNSET, UnsetType

from infra.kit.http import Body, View
from switch.documents.settings import DEFAULT_MAX_SESSIONS, DEFAULT_SESSIONS_PER_SECOND
from switch.draining.models import NodeDrain
from switch.draining.schemas import DrainView, drain_view
from switch.models import CanaryCheck, Node, PhoneNumber
from switch.nodes import DEFAULT_CAPACITY_SEATS, NodeDetails
from switch.phone_numbers import Use


class NewNode(Body):
    """A node to add. Hosts are IP addresses; `esl_host` and `esl_port` are its event socket.

    `sip_host` is where phones and carriers reach it, `listen_host` what it binds where that is another address. A call
    without media for `rtp_timeout_seconds` is ended; 0: never.
    """

    name: str
    sip_host: str
    esl_host: str
    sip_port: int = 5060
    external_sip_port: int = 5080
    rtp_start_port: int = 16384
    rtp_end_port: int = 32768
    esl_port: int = 8021
    capacity_seats: int = DEFAULT_CAPACITY_SEATS
    listen_host: str | None = None
    max_sessions: int = DEFAULT_MAX_SESSIONS
    sessions_per_second: int = DEFAULT_SESSIONS_PER_SECOND
    rtp_timeout_seconds: int = 0

    def details(self) -> NodeDetails:
        """As the service takes it."""
        return NodeDetails(**{name: getattr(self, name) for name in self.__struct_fields__})


class NodeChange(Body):
    """What is to be another of a node; what is not named stays. Everything but `capacity_seats` changes only while the
    node is joining, drained or has left, and holds when its files were written again and it was started; a node that
    takes SIP elsewhere than said here is not taken into service.
    """

    capacity_seats: int | UnsetType = UNSET
    sip_host: str | UnsetType = UNSET
    sip_port: int | UnsetType = UNSET
    external_sip_port: int | UnsetType = UNSET
    rtp_start_port: int | UnsetType = UNSET
    rtp_end_port: int | UnsetType = UNSET
    esl_host: str | UnsetType = UNSET
    esl_port: int | UnsetType = UNSET
    listen_host: str | UnsetType | None = UNSET
    max_sessions: int | UnsetType = UNSET
    sessions_per_second: int | UnsetType = UNSET
    rtp_timeout_seconds: int | UnsetType = UNSET

    def applied_to(self, details: NodeDetails) -> NodeDetails:
        """What is said about the node afterwards."""
        said = {name: getattr(self, name) for name in self.__struct_fields__}
        return replace(details, **{name: value for name, value in said.items() if value is not UNSET})


class NodeView(View):
    """A node. Its secrets are shown by no one; `seatline node-config` writes them into its files.

    `answered_at`: when it put the latest question that the API answered; `unanswered_since`: since when it gets no
    answers and is therefore paused. Once it alone gets none for a while it is `cut_off` and others serve its tenants.
    """

    node_id: str
    name: str
    state: str
    capacity_seats: int
    sip_host: str
    sip_port: int
    external_sip_port: int
    sip_tls_port: int | None
    rtp_start_port: int
    rtp_end_port: int
    listen_host: str | None
    max_sessions: int
    sessions_per_second: int
    rtp_timeout_seconds: int
    esl_host: str
    esl_port: int
    version: str | None
    heartbeat_at: datetime | None
    answered_at: datetime | None
    unanswered_since: datetime | None
    state_changed_at: datetime
    supervisor: str | None
    supervised_until: datetime | None
    created_at: datetime
    drain: DrainView | None


class NewPhoneNumber(Body):
    """A number to assign: calls to it ring at `extension`; `is_caller_number` shows it on the tenant's calls out."""

    tenant_id: str
    number: str
    extension: str | None = None
    is_caller_number: bool = False


class PhoneNumberChange(Body):
    """What a number is used for from now on; what is not named stays. `extension` null: it rings nowhere."""

    extension: str | UnsetType | None = UNSET
    is_caller_number: bool | UnsetType = UNSET

    def applied_to(self, use: Use) -> Use:
        """What the number is used for afterwards."""
        said = {name: getattr(self, name) for name in self.__struct_fields__}
        return replace(use, **{name: value for name, value in said.items() if value is not UNSET})


class PhoneNumberView(View):
    """A tenant's number, E.164 with the plus sign."""

    number: str
    tenant_id: str
    extension: str | None
    is_caller_number: bool
    created_at: datetime


class CanaryCheckView(View):
    """One node's proof that a suspension or restoration took effect; `seconds_to_effect` is null on an alarm."""

    check_id: str
    tenant_id: str
    node: str
    generation: int
    expected: str
    changed_at: datetime
    checked_at: datetime
    lookup: str
    registration: str
    seconds_to_effect: float | None
    is_alarm: bool


def node_view(node: Node, drain: NodeDrain | None = None) -> NodeView:
    """A node as the API shows it, with its latest drain."""
    return NodeView(
        node_id=node.node_id,
        name=node.name,
        state=node.state,
        capacity_seats=node.capacity_seats,
        sip_host=node.sip_host,
        sip_port=node.sip_port,
        external_sip_port=node.external_sip_port,
        sip_tls_port=node.sip_tls_port,
        rtp_start_port=node.rtp_start_port,
        rtp_end_port=node.rtp_end_port,
        listen_host=node.listen_host,
        max_sessions=node.max_sessions,
        sessions_per_second=node.sessions_per_second,
        rtp_timeout_seconds=node.rtp_timeout_seconds,
        esl_host=node.esl_host,
        esl_port=node.esl_port,
        version=node.version,
        heartbeat_at=node.heartbeat_at,
        answered_at=node.answered_at,
        unanswered_since=node.unanswered_since,
        state_changed_at=node.state_changed_at,
        supervisor=node.supervisor,
        supervised_until=node.supervised_until,
        created_at=node.created_at,
        drain=drain_view(drain) if drain is not None else None,
    )


def phone_number_view(number: PhoneNumber) -> PhoneNumberView:
    """A phone number as the API shows it."""
    return PhoneNumberView(
        number=f"+{number.number}",
        tenant_id=number.tenant_id,
        extension=number.extension,
        is_caller_number=number.is_caller_number,
        created_at=number.created_at,
    )


def canary_check_view(check: CanaryCheck) -> CanaryCheckView:
    """A canary check as the API shows it."""
    return CanaryCheckView(
        check_id=check.check_id,
        tenant_id=check.tenant_id,
        node=check.node,
        generation=check.generation,
        expected=check.expected,
        changed_at=check.changed_at,
        checked_at=check.checked_at,
        lookup=check.lookup,
        registration=check.registration,
        seconds_to_effect=check.seconds_to_effect,
        is_alarm=check.is_alarm,
    )
