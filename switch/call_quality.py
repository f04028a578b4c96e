"""How a leg was heard: codec, opinion score, jitter and loss, read from the RTP statistics in its call record; pure.

The numbers are FreeSWITCH's own and tell of what the node received from this leg. They bill nothing, so what cannot be
read is left out and never keeps a record from being stored. A leg of which nothing was heard has a codec at most:
FreeSWITCH would show a perfect score for its silence.
"""

from __future__ import annotations

import re
from decimal import Decimal

import msgspec

MAX_PACKETS = 2_000_000_000
_NUMBER = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,6})?", re.ASCII)
_CODEC = re.compile(r"[A-Za-z0-9._@+-]{1,32}", re.ASCII)
_HUNDREDTH = Decimal("0.01")


class QualityVariables(msgspec.Struct):
    """The channel variables that tell it; any JSON value is let through and read with care."""

    read_codec: object = None
    rtp_audio_in_mos: object = None
    rtp_audio_in_quality_percentage: object = None
    rtp_audio_in_jitter_max_variance: object = None
    rtp_audio_in_media_packet_count: object = None
    rtp_audio_in_skip_packet_count: object = None


class CallQuality(msgspec.Struct, frozen=True, kw_only=True):
    """What a node heard of a leg. None: it does not say, or heard nothing.

    `mean_opinion_score` 1 to 4.5. `quality_percent`: the share of packets without a flaw. `jitter_variance`: the
    largest variance of the packets' distances, ms². `loss_percent`: of the moments at which a packet was due, the share
    at which there was none. `packets_received`: media packets.
    """

    codec: str | None = None
    mean_opinion_score: Decimal | None = None
    quality_percent: Decimal | None = None
    jitter_variance: Decimal | None = None
    loss_percent: Decimal | None = None
    packets_received: int | None = None


def read_quality(variables: QualityVariables) -> CallQuality:
    """The quality of a leg by its channel variables."""
    codec = variables.read_codec
    codec = codec if isinstance(codec, str) and _CODEC.fullmatch(codec) is not None else None
    received = _count(variables.rtp_audio_in_media_packet_count)
    if not received:
        return CallQuality(codec=codec, packets_received=received)
    skipped = _count(variables.rtp_audio_in_skip_packet_count)
    loss = None if skipped is None else (Decimal(100 * skipped) / (received + skipped)).quantize(_HUNDREDTH)
    return CallQuality(
        codec=codec,
        mean_opinion_score=_number(variables.rtp_audio_in_mos, Decimal(5)),
        quality_percent=_number(variables.rtp_audio_in_quality_percentage, Decimal(100)),
        jitter_variance=_number(variables.rtp_audio_in_jitter_max_variance, Decimal(999_999_999)),
        loss_percent=loss,
        packets_received=received,
    )


def _number(value: object, limit: Decimal) -> Decimal | None:
    """A number from 0 to `limit`, to two decimals; None for anything else."""
    if not isinstance(value, str) or _NUMBER.fullmatch(value) is None:
        return None
    number = Decimal(value).quantize(_HUNDREDTH)
    return number if number <= limit else None


def _count(value: object) -> int | None:
    """A whole number that a column takes; None for anything else."""
    if not isinstance(value, str) or not value.isascii() or not value.isdigit() or len(value) > 10:
        return None
    count = int(value)
    return count if count <= MAX_PACKETS else None
