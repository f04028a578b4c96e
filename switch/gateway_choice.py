"""Which gateways a call out is offered to, and in which order; which failures pass it on to the next. A pure rule."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

ANY_NUMBER = "*"
"""The prefix of a gateway that takes every number."""

MAX_ATTEMPTS = 8
"""How many gateways one call is offered to: nobody holds on for more. An emergency call is offered to all."""

FAILOVER_CAUSES = (
    "DESTINATION_OUT_OF_ORDER",
    "EXCHANGE_ROUTING_ERROR",
    "GATEWAY_DOWN",
    "INTERWORKING",
    "INVALID_GATEWAY",
    "NETWORK_OUT_OF_ORDER",
    "NORMAL_CIRCUIT_CONGESTION",
    "NORMAL_TEMPORARY_FAILURE",
    "PROGRESS_TIMEOUT",
    "RECOVERY_ON_TIMER_EXPIRE",
    "REQUESTED_CHAN_UNAVAIL",
    "SERVICE_NOT_IMPLEMENTED",
    "SERVICE_UNAVAILABLE",
    "SWITCH_CONGESTION",
)
"""The carrier could not carry the call: SIP 408 and every 5xx, the Q.850 congestion causes, a gateway that is down or
that the node does not know yet, and no sign of progress in time. Whatever speaks for the called party or the number
(busy, declined, 480, unallocated, changed, no answer) is final: another carrier would ring the same telephone again.
"""


@dataclass(frozen=True, slots=True)
class GatewayOption:
    """A gateway as a choice needs it.

    `prefixes`: `+8610` for public numbers, `955` for short codes, `*` for all; empty: all. The lowest `priority` is
    preferred; gateways of one priority share by `weight`. `capacity_calls`: calls out at once from this node (None: any
    number). `is_up`: as the node last saw it.
    """

    name: str
    prefixes: tuple[str, ...] = ()
    priority: int = 100
    weight: int = 100
    capacity_calls: int | None = None
    is_up: bool = True


@dataclass(frozen=True, slots=True)
class GatewayAttempt:
    """One gateway that a call is offered to."""

    gateway: str
    capacity_calls: int | None = None


def gateways_for(number: str, options: Iterable[GatewayOption], *, draw: str) -> tuple[GatewayAttempt, ...]:
    """The gateways for a number (`+` and E.164 digits, or a short code), the one to try first in front.

    The longest prefix comes first, then the lowest priority; among equals each call draws anew, by `draw` (the call's
    id), so that each gateway is first as often as its weight says. A gateway that is down is left out, unless all are:
    then what we know may be old, and the node decides. At most `MAX_ATTEMPTS`.
    """
    matching = [(length, option) for option in options if (length := _matched_length(number, option)) is not None]
    chosen = [pair for pair in matching if pair[1].is_up] or matching
    ordered = sorted(chosen, key=lambda pair: (-pair[0], pair[1].priority, _lot(pair[1], draw), pair[1].name))
    return tuple(GatewayAttempt(option.name, option.capacity_calls) for _, option in ordered[:MAX_ATTEMPTS])


def gateways_in_need(options: Sequence[GatewayOption]) -> tuple[str, ...]:
    """Every gateway for a call to an emergency service, whatever its prefixes and capacity; what is down comes last."""
    return tuple(
        option.name for option in sorted(options, key=lambda option: (not option.is_up, option.priority, option.name))
    )


def _matched_length(number: str, option: GatewayOption) -> int | None:
    """How many characters of the number its longest prefix covers; None where it does not take the number."""
    if not option.prefixes:
        return 0
    lengths = (
        0 if prefix == ANY_NUMBER else len(prefix)
        for prefix in option.prefixes
        if prefix == ANY_NUMBER or number.startswith(prefix)
    )
    return max(lengths, default=None)


def _lot(option: GatewayOption, draw: str) -> float:
    """Weighted rendezvous hashing: the smallest lot is first, with a probability in proportion to its weight."""
    drawn = int.from_bytes(hashlib.blake2b(f"{draw}/{option.name}".encode(), digest_size=8).digest())
    return -math.log((drawn + 1) / (2**64 + 1)) / option.weight
