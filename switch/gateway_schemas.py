"""Request and response bodies of gateways."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType, structs

from infra.kit.http import Body, View
from switch.gateways import DEFAULT_CHECK_SECONDS
from switch.models import Gateway, GatewayState


class NewGateway(Body):
    """A gateway to add.

    `sources` (addresses or networks) may call in; by default `host`, then an IP address. `prefixes`: the numbers it
    takes (`+8610`, `955`, `*`; none: all). The longest prefix is tried first, then the lowest `priority`; gateways of
    one priority share by `weight`. `capacity_calls`: calls out at once from one node. `check_seconds`: how often nodes
    ask it by OPTIONS whether it is there; null for a carrier that answers none.
    """

    name: str
    host: str
    port: int = 5060
    username: str | None = None
    password: str | None = None
    registers: bool = False
    sources: list[str] = msgspec.field(default_factory=list[str])
    priority: int = 100
    weight: int = 100
    prefixes: list[str] = msgspec.field(default_factory=list[str])
    capacity_calls: int | None = None
    check_seconds: int | None = DEFAULT_CHECK_SECONDS
    is_enabled: bool = True

    def details(self) -> dict[str, Any]:
        """As the service takes them."""
        return _plain(structs.asdict(self))


class GatewayChange(Body):
    """What to change of a gateway; what is left out stays. One that is not enabled takes no calls, in or out."""

    host: str | UnsetType = UNSET
    port: int | UnsetType = UNSET
    username: str | UnsetType | None = UNSET
    password: str | UnsetType | None = UNSET
    registers: bool | UnsetType = UNSET
    sources: list[str] | UnsetType = UNSET
    priority: int | UnsetType = UNSET
    weight: int | UnsetType = UNSET
    prefixes: list[str] | UnsetType = UNSET
    capacity_calls: int | UnsetType | None = UNSET
    check_seconds: int | UnsetType | None = UNSET
    is_enabled: bool | UnsetType = UNSET

    def changes(self) -> dict[str, Any]:
        """As the service takes them."""
        return _plain({name: value for name, value in structs.asdict(self).items() if value is not UNSET})


class GatewayStateView(View):
    """How one node sees a gateway. `registration` is FreeSWITCH's word; `is_current`: it knows the latest change."""

    node: str
    state: str
    registration: str
    problem: str | None
    is_current: bool
    changed_at: datetime
    checked_at: datetime


class GatewayView(View):
    """A gateway, without its password, and how each live node sees it."""

    gateway_id: str
    name: str
    host: str
    port: int
    username: str | None
    has_password: bool
    registers: bool
    sources: list[str]
    priority: int
    weight: int
    prefixes: list[str]
    capacity_calls: int | None
    check_seconds: int | None
    is_enabled: bool
    created_at: datetime
    nodes: list[GatewayStateView]


def gateway_view(gateway: Gateway, states: Sequence[GatewayState] = ()) -> GatewayView:
    """A gateway as the API shows it."""
    return GatewayView(
        gateway_id=gateway.gateway_id,
        name=gateway.name,
        host=gateway.host,
        port=gateway.port,
        username=gateway.username,
        has_password=gateway.sealed_password is not None,
        registers=gateway.registers,
        sources=[str(source) for source in gateway.sources],
        priority=gateway.priority,
        weight=gateway.weight,
        prefixes=[str(prefix) for prefix in gateway.prefixes],
        capacity_calls=gateway.capacity_calls,
        check_seconds=gateway.check_seconds,
        is_enabled=gateway.is_enabled,
        created_at=gateway.created_at,
        nodes=[
            GatewayStateView(
                node=state.node,
                state="up" if state.is_up else "down",
                registration=state.registration,
                problem=state.problem,
                is_current=state.generation == gateway.generation,
                changed_at=state.changed_at,
                checked_at=state.checked_at,
            )
            for state in states
        ],
    )


def _plain(given: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
