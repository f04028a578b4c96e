"""Tenants, seats and calls for the tests of the switch's pure rules."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

from infra.kit import clock
from switch.admission import SeatView, Standing, TenantView
from switch.gateway_choice import GatewayOption
from switch.live.models import LiveLeg
from switch.routing import Call, Origin

NODE = "node-1"
DAY = date(2026, 7, 1)
NUMBER = "861088880001"
GATEWAYS = (GatewayOption("carrier", priority=10), GatewayOption("spare", priority=20))
CARRIER = GATEWAYS[:1]

TENANT = TenantView(
    tenant_id="ten_a",
    domain="a.example",
    standing=Standing.ACTIVE,
    serving_node=NODE,
    seats={
        "1001": SeatView("1001", "seat_1", is_open=True),
        "1002": SeatView("1002", "seat_2", is_open=True),
        "1003": SeatView("1003", "seat_3", is_open=False),
        "10010": SeatView("10010", "seat_4", is_open=True),
        "canary": SeatView("canary", None, is_open=True),
    },
    numbers={NUMBER: "1001", "861088880002": "1003", "861088880003": None},
    caller_number=NUMBER,
)


def running_leg(tenant_id: str, node: str, leg_id: str, **changes: object) -> LiveLeg:
    """A seat's call out that was answered a minute ago, as the live view has it."""
    now = clock.now()
    values: dict[str, object] = {
        "tenant_id": tenant_id,
        "node": node,
        "leg_id": leg_id,
        "leg": "caller",
        "direction": "outbound",
        "state": "answered",
        "other_leg_id": None,
        "seat_id": None,
        "caller": "1001",
        "destination": "8613800138000",
        "gateway": "carrier",
        "started_at": now - timedelta(seconds=70),
        "answered_at": now - timedelta(seconds=60),
        "changed_at": now,
    }
    return LiveLeg(**values | changes)


def tenant(**changes: object) -> TenantView:
    """An active tenant with three open seats, one closed seat and a canary account."""
    return replace(TENANT, **changes)  # pyright: ignore[reportArgumentType]


def from_seat(dialled: str, *, extension: str = "1001", context: str = "ten_a", node: str = NODE) -> Call:
    """A call that a seat of the tenant makes."""
    return Call(
        origin=Origin.SEAT,
        node=node,
        context=context,
        dialled=dialled,
        on=DAY,
        caller=extension,
        extension=extension,
        gateways=GATEWAYS,
    )


def from_gateway(dialled: str, *, caller: str = "13911112222") -> Call:
    """A call that comes in from a carrier."""
    return Call(
        origin=Origin.GATEWAY,
        node=NODE,
        context="public",
        dialled=dialled,
        on=DAY,
        caller=caller,
        gateway="carrier",
        gateways=GATEWAYS,
    )
