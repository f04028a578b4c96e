"""When something seen at the cluster is a fault of its seats, and when that is over (C11). Pure.

What is seen at one look may be a blink; a fault is what has been seen for a while, and it is over when it has not been
seen for a while. So a tenant whose node dies and that its spare serves within seconds has no fault, and one flapping
thing is one fault and not a hundred.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum


class Kind(StrEnum):
    """What can be seen at the cluster."""

    NODE_DOWN = "node_down"
    """The node that serves the tenant is dead or out of service, and no other has taken over."""
    GATEWAYS_DOWN = "gateways_down"
    """No gateway of that node can be reached: no call out or in."""
    REGISTRATIONS_LOST = "registrations_lost"
    """Many of the tenant's phones vanished at once without a goodbye."""
    CANARY_FAILING = "canary_failing"
    """The system itself cannot sign in or make a call there as the tenant's phones do."""
    TUNNEL_GATEWAY_DOWN = "tunnel_gateway_down"
    """The VPN gateway that the tenant's tunnels end at is silent or was revoked."""


CONFIRM_AFTER: Mapping[Kind, timedelta] = {
    Kind.NODE_DOWN: timedelta(minutes=1),
    Kind.GATEWAYS_DOWN: timedelta(minutes=2),
    Kind.REGISTRATIONS_LOST: timedelta(minutes=5),
    Kind.CANARY_FAILING: timedelta(minutes=2),
    Kind.TUNNEL_GATEWAY_DOWN: timedelta(minutes=3),
}
"""How long something has lasted, and is still seen, when it becomes a fault; then the fault counts from its start."""

CLEAR_AFTER = timedelta(minutes=5)
"""How long it has not been seen when its fault is over; then the fault ended when it was first not seen."""

FORGET_AFTER = timedelta(minutes=1)
"""A suspicion that has not been seen for this long was a false alarm."""

LOOKED_AWAY = timedelta(minutes=5)
"""Between two looks further apart than this nobody watched: what came and went meanwhile is not known."""


class Step(StrEnum):
    """What a look makes of something that was seen before."""

    NOTHING = "nothing"
    OPEN = "open"
    """It is a fault now."""
    FORGET = "forget"
    """It was none."""
    CLEARED = "cleared"
    """It is not seen, from now on."""
    BACK = "back"
    """It was away for a moment only."""
    END = "end"
    """It has been away long enough."""


def step(
    kind: Kind, *, is_open: bool, is_seen: bool, began_at: datetime, cleared_at: datetime | None, now: datetime
) -> Step:
    """What follows from one look at an observation that is suspected or open."""
    if is_seen:
        if not is_open and now - began_at >= CONFIRM_AFTER[kind]:
            return Step.OPEN
        return Step.NOTHING if cleared_at is None else Step.BACK
    if cleared_at is None:
        return Step.CLEARED
    if is_open:
        return Step.END if now - cleared_at >= CLEAR_AFTER else Step.NOTHING
    return Step.FORGET if now - cleared_at >= FORGET_AFTER else Step.NOTHING


def was_fault(kind: Kind, began_at: datetime, ended_at: datetime) -> bool:
    """Whether something that is over, and whose times are known, was a fault though nobody saw it last."""
    return ended_at - began_at >= CONFIRM_AFTER[kind]


def has_looked_away(looked_at: datetime | None, now: datetime) -> bool:
    """Whether nobody watched since the look before: the first one, one long ago, or a clock that was set back."""
    return looked_at is None or not timedelta(0) <= now - looked_at <= LOOKED_AWAY


def begins_outside_windows(began_at: datetime, windows: Iterable[tuple[datetime, datetime]]) -> datetime:
    """When a fault begins that was first seen within planned maintenance: at the scheduled end (rule 10)."""
    for begins, ends in sorted(windows):
        if begins <= began_at < ends:
            began_at = ends
    return began_at


AT_ONCE = timedelta(minutes=3)
MANY_PHONES = 5
MANY_SHARE = 2
"""Lost at once are many phones: at least five, and at least one in two of those that were there."""

LOST_FOR = timedelta(hours=12)
"""A phone that has been away for longer is no sign any more: its agent has gone home."""


@dataclass(frozen=True, slots=True)
class Phone:
    """A registered phone: the node that it is registered at, and when that ends by itself."""

    node: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class LostPhone:
    """A phone that vanished without a goodbye, from which node, and when."""

    node: str
    lost_at: datetime


@dataclass(frozen=True, slots=True)
class Phones:
    """The phones of a tenant by extension: those that are there, and those that were lost."""

    seen: Mapping[str, Phone] = field(default_factory=dict[str, Phone])
    lost: Mapping[str, LostPhone] = field(default_factory=dict[str, LostPhone])


def look_at_phones(
    before: Phones, there: Mapping[str, Phone], *, broken_nodes: Collection[str], now: datetime
) -> Phones:
    """The phones after another look.

    Whoever has gone before the registration's end has said goodbye, unless the node broke (`broken_nodes`: it died or
    was started anew); whoever let it run out has not.
    """
    lost = {
        extension: each
        for extension, each in before.lost.items()
        if extension not in there and now - each.lost_at < LOST_FOR
    }
    for extension, phone in before.seen.items():
        if extension not in there and (phone.expires_at <= now or phone.node in broken_nodes):
            lost[extension] = LostPhone(phone.node, now)
    return Phones(dict(there), lost)


def lost_at_once(phones: Phones, *, now: datetime) -> dict[str, LostPhone]:
    """The phones lost at once; empty where they are not many."""
    fresh = {extension: each for extension, each in phones.lost.items() if now - each.lost_at <= AT_ONCE}
    is_many = len(fresh) >= MANY_PHONES and MANY_SHARE * len(fresh) >= len(fresh) + len(phones.seen)
    return fresh if is_many else {}


def still_lost(extensions: Collection[str], phones: Phones) -> bool:
    """Whether at least half of the phones of a loss are still away."""
    away = sum(extension in phones.lost for extension in extensions)
    return away > 0 and MANY_SHARE * away >= len(extensions)


def stock_of_phones(before: Phones, there: Mapping[str, Phone], *, now: datetime) -> Phones:
    """The phones after a time in which nobody looked: who went meanwhile may have said goodbye and is not lost."""
    return look_at_phones(Phones(lost=before.lost), there, broken_nodes=(), now=now)


def cause_of_loss(
    node: str, losses: Mapping[str, str], *, tenants_there: int, broken_nodes: Collection[str]
) -> str | None:
    """Whose cause a loss at a node is (`losses`: tenant to node): that of a node that broke is the operator's.

    So is one of several tenants at once, at least every second of those with phones there (`tenants_there`). Fewer may
    have lost their own lines, or switched off at the end of a shift, so a person decides.
    """
    hit = sum(each == node for each in losses.values())
    is_the_nodes = node in broken_nodes or (hit > 1 and MANY_SHARE * hit >= tenants_there)
    return "operator" if is_the_nodes else None
