"""Rows of `show channels`, `show calls` and `show registrations`, with FreeSWITCH's column names
(`switch_core_sqldb.c`)."""

from __future__ import annotations

from switch.simulator.channel import Channel
from switch.simulator.core import SwitchCore
from switch.simulator.events import local_stamp

Row = dict[str, str]


def listed_channels(core: SwitchCore) -> list[Row]:
    """One row per leg, also of those whose call record is still on its way."""
    return [_channel_row(channel, core.identity.hostname) for channel in core.channels.values()]


def listed_calls(core: SwitchCore) -> list[Row]:
    """One row per call: a leg, with the leg it is bridged to under `b_...`."""
    rows: list[Row] = []
    for channel in core.channels.values():
        if _is_second(channel, core):
            continue
        row = _leg_columns(channel, "")
        row["hostname"] = core.identity.hostname
        row.update(_leg_columns(channel.peer, "b_"))
        row["call_created_epoch"] = str(channel.times.bridged // 1_000_000) if channel.peer else ""
        rows.append(row)
    return rows


def _is_second(channel: Channel, core: SwitchCore) -> bool:
    """Whether the leg stands in the row of another: the leader of its bridge, or whoever called it."""
    if channel.peer is not None:
        return not channel.is_leader
    return channel.originator is not None and channel.originator.uuid in core.channels


def listed_registrations(core: SwitchCore) -> list[Row]:
    """One row per registration, on every profile."""
    return [
        {
            "reg_user": item.user,
            "realm": item.domain,
            "token": item.call_id,
            "url": f"sofia/{name}/{item.contact_uri}",
            "expires": str(item.expires_at // 1_000_000),
            "network_ip": item.network_ip,
            "network_port": str(item.network_port),
            "network_proto": item.transport.lower(),
            "hostname": core.identity.hostname,
            "metadata": item.metadata,
        }
        for name, profile in core.profiles.items()
        for item in profile.registrar.listed()
    ]


def _leg_columns(channel: Channel | None, prefix: str) -> Row:
    columns = {
        "uuid": channel.uuid if channel else "",
        "direction": channel.direction if channel else "",
        "created": local_stamp(channel.times.created) if channel else "",
        "created_epoch": str(channel.times.created // 1_000_000) if channel else "",
        "name": channel.profile.channel_name if channel else "",
        "state": channel.state if channel else "",
        "cid_name": channel.profile.caller_id_name if channel else "",
        "cid_num": channel.profile.caller_id_number if channel else "",
        "ip_addr": channel.profile.network_address if channel else "",
        "dest": channel.profile.destination_number if channel else "",
        "presence_id": channel.variables.get("presence_id", "") if channel else "",
        "presence_data": "",
        "accountcode": channel.variables.get("accountcode", "") if channel else "",
        "callstate": channel.call_state if channel else "",
        "callee_name": channel.profile.callee_id_name if channel else "",
        "callee_num": channel.profile.callee_id_number if channel else "",
        "callee_direction": "",
    }
    return {f"{prefix}{name}": value for name, value in columns.items()}


def _channel_row(channel: Channel, hostname: str) -> Row:
    profile = channel.profile
    media = "PCMU" if channel.is_answered else ""
    row = _leg_columns(channel, "")
    row.update(
        {
            "application": "uuid_bridge" if channel.joined_with else channel.variables.get("current_application", ""),
            "application_data": channel.joined_with or channel.variables.get("current_application_data", ""),
            "dialplan": "XML",
            "context": profile.context,
            "read_codec": media,
            "read_rate": "8000" if media else "",
            "read_bit_rate": "64000" if media else "",
            "write_codec": media,
            "write_rate": "8000" if media else "",
            "write_bit_rate": "64000" if media else "",
            "secure": "",
            "hostname": hostname,
            "call_uuid": channel.call_uuid if channel.originator or channel.originatees else "",
            "sent_callee_name": "",
            "sent_callee_num": "",
            "initial_cid_name": channel.initial.caller_id_name,
            "initial_cid_num": channel.initial.caller_id_number,
            "initial_ip_addr": channel.initial.network_address,
            "initial_dest": channel.initial.destination_number,
            "initial_dialplan": channel.initial_dialplan,
            "initial_context": channel.initial.context,
        }
    )
    return row
