"""Renders the call record of one ended leg in the JSON shape of mod_json_cdr.

Source: `switch_ivr.c` (`switch_ivr_generate_json_cdr`), `switch_channel.c`
(`switch_channel_set_timestamps`), checked against records of a running 1.11.
"""

from __future__ import annotations

import json
from typing import Any

from switch.simulator.channel import Channel, Times
from switch.simulator.events import NodeIdentity, local_stamp, url_encode

_MICROSECONDS = 1_000_000


def render_call_record(channel: Channel, identity: NodeIdentity, *, encode_values: bool) -> bytes:
    """The record as compact JSON; variable values percent-encoded if `encode_values` (the module's default)."""
    record: dict[str, Any] = {
        "core-uuid": identity.core_uuid,
        "switchname": identity.switch_name,
        "channel_data": {
            "state": "CS_REPORTING",
            "direction": channel.direction,
            "state_number": "11",
            "flags": "0=1;1=1;3=1;22=1;39=1;40=1;42=1;45=1;50=1;55=1;107=1",
            "caps": "1=1;2=1;3=1;4=1;5=1;6=1;8=1;9=1;10=1",
        },
        "callStats": {"audio": {"inbound": _NO_MEDIA_IN, "outbound": _NO_MEDIA_OUT}},
        "variables": {name: url_encode(value) if encode_values else value for name, value in channel.variables.items()},
    }
    if channel.applications:
        record["app_log"] = {
            "applications": [
                {"app_name": applied.name, "app_data": applied.data, "app_stamp": str(applied.stamp)}
                for applied in channel.applications
            ]
        }
    record["callflow"] = [_call_flow(channel)]
    return json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode()


def time_variables(channel: Channel) -> dict[str, str]:
    """Stamps, epochs and durations of an ended leg: what FreeSWITCH sets just before it reports."""
    times = channel.times
    stamps = {
        "start": times.created,
        "profile_start": times.created,
        "answer": times.answered,
        "bridge": times.bridged,
        "progress": times.progress,
        "progress_media": times.progress_media,
        "end": times.hangup,
    }
    values = {"digits_dialed": "none"}
    values.update({f"{name}_stamp": local_stamp(at) for name, at in stamps.items() if at})
    for name in ("start", "profile_start", "answer", "bridge"):
        values.update(_epoch(name, stamps[name]))
    values.update(_epoch("last_hold", times.last_hold))
    held = times.hold_accumulated
    values.update(
        {
            "hold_accum_seconds": str(held // 1_000_000),
            "hold_accum_usec": str(held),
            "hold_accum_ms": str(held // 1_000),
        }
    )
    values.update(_epoch("resurrect", 0))
    for name in ("progress", "progress_media", "end"):
        values.update(_epoch(name, stamps[name]))
    if channel.applications:
        last = channel.applications[-1]
        values["last_app"] = last.name
        if last.data:
            values["last_arg"] = last.data
    values["caller_id"] = f'"{channel.profile.caller_id_name}" <{channel.profile.caller_id_number}>'
    values.update(_durations(times))
    return values


def _epoch(name: str, at: int) -> dict[str, str]:
    return {f"{name}_epoch": str(at // _MICROSECONDS), f"{name}_uepoch": str(at)}


def _durations(times: Times) -> dict[str, str]:
    """Differences in seconds (of truncated seconds, as FreeSWITCH has it), milli- and microseconds."""
    spans = {
        "duration": (times.created, times.hangup),
        "bill": (times.answered, times.hangup),
        "progress": (times.created, times.progress),
        "answer": (times.created, times.answered),
        "wait": (times.created, times.bridged),
        "progress_media": (times.created, times.progress_media),
        "flow_bill": (times.created, times.hangup),
    }
    values: dict[str, str] = {}
    for unit, divisor in (("sec", _MICROSECONDS), ("msec", 1000), ("usec", 1)):
        for name, (start, end) in spans.items():
            happened = bool(start and end)
            if unit == "sec":
                amount = end // divisor - start // divisor if happened else 0
            else:
                amount = (end - start) // divisor if happened else 0
            values[_duration_name(name, unit)] = str(amount)
    return values


def _duration_name(name: str, unit: str) -> str:
    if name == "duration":
        return {"sec": "duration", "msec": "mduration", "usec": "uduration"}[unit]
    return f"{name}{unit}"


def _call_flow(channel: Channel) -> dict[str, Any]:
    flow: dict[str, Any] = {"dialplan": "XML", "profile_index": "1"}
    if channel.extension is not None:
        name, applications = channel.extension
        flow["extension"] = {
            "name": name,
            "number": channel.profile.destination_number,
            "applications": [{"app_name": app, "app_data": data} for app, data in applications],
        }
    profile: dict[str, Any] = _caller_profile(channel)
    if channel.originator is not None:
        profile["originator"] = {"originator_caller_profiles": [_caller_profile(channel.originator)]}
    elif channel.originatees:
        profile["originatee"] = {"originatee_caller_profiles": [_caller_profile(leg) for leg in channel.originatees]}
    flow["caller_profile"] = profile
    times = channel.times
    flow["times"] = {
        "created_time": str(times.created),
        "profile_created_time": str(times.created),
        "progress_time": str(times.progress),
        "progress_media_time": str(times.progress_media),
        "answered_time": str(times.answered),
        "bridged_time": str(times.bridged),
        "last_hold_time": str(times.last_hold),
        "hold_accum_time": str(times.hold_accumulated),
        "hangup_time": str(times.hangup),
        "resurrect_time": "0",
        "transfer_time": "0",
    }
    return flow


def _caller_profile(channel: Channel) -> dict[str, Any]:
    profile = channel.profile
    return {
        "username": profile.username,
        "dialplan": "XML",
        "caller_id_name": profile.caller_id_name,
        "ani": profile.shown_ani,
        "aniii": "",
        "caller_id_number": profile.caller_id_number,
        "network_addr": profile.network_address,
        "rdnis": profile.rdnis,
        "destination_number": profile.destination_number,
        "uuid": channel.uuid,
        "source": "mod_sofia",
        "context": profile.context,
        "chan_name": profile.channel_name,
    }


# A node without media has nothing to count; the names are those of a real record.
_NO_MEDIA_IN: dict[str, float] = {
    **dict.fromkeys(
        (
            "raw_bytes",
            "media_bytes",
            "packet_count",
            "media_packet_count",
            "skip_packet_count",
            "jitter_packet_count",
            "dtmf_packet_count",
            "cng_packet_count",
            "flush_packet_count",
            "largest_jb_size",
            "jitter_min_variance",
            "jitter_max_variance",
            "jitter_loss_rate",
            "jitter_burst_rate",
            "mean_interval",
            "flaw_total",
        ),
        0,
    ),
    "quality_percentage": 100,
    "mos": 4.5,
}
_NO_MEDIA_OUT: dict[str, float] = dict.fromkeys(
    (
        "raw_bytes",
        "media_bytes",
        "packet_count",
        "media_packet_count",
        "skip_packet_count",
        "dtmf_packet_count",
        "cng_packet_count",
        "rtcp_packet_count",
        "rtcp_octet_count",
    ),
    0,
)

MEDIA_VARIABLES: dict[str, str] = {
    **{f"rtp_audio_in_{name}": "0" for name in list(_NO_MEDIA_IN)[:10]},
    **{f"rtp_audio_in_{name}": "0.00" for name in list(_NO_MEDIA_IN)[10:15]},
    "rtp_audio_in_flaw_total": "0",
    "rtp_audio_in_quality_percentage": "100.00",
    "rtp_audio_in_mos": "4.50",
    **{f"rtp_audio_out_{name}": "0" for name in list(_NO_MEDIA_OUT)[:7]},
    "rtp_audio_rtcp_packet_count": "0",
    "rtp_audio_rtcp_octet_count": "0",
}
"""The same counters as channel variables of an answered leg."""
