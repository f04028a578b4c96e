"""`sofia status ...`, `sofia profile ...` and `sofia_contact`, with the texts of a running 1.11
(`mod_sofia.c`)."""

from __future__ import annotations

from switch.simulator.core import ProfileState, SwitchCore
from switch.simulator.settings import GatewaySettings

_RULE = "=" * 97


def sofia_contact(core: SwitchCore, argument: str) -> str:
    """Dial strings for `[profile/]user@domain`, or `error/user_not_registered`."""
    profile_name, separator, address = argument.strip().rpartition("/")
    found = [
        f"sofia/{name}/{registration.contact_uri}"
        for name, profile in core.profiles.items()
        if not separator or profile_name in {"*", name}
        for registration in profile.registrar.of(address)
    ]
    return ",".join(found) or "error/user_not_registered"


def sofia_xml_status(core: SwitchCore, words: list[str]) -> str:
    """`sofia xmlstatus gateway`: every gateway with its state."""
    if words != ["gateway"]:
        return "-USAGE: sofia xmlstatus gateway\n"
    lines = ['<?xml version="1.0" encoding="ISO-8859-1"?>', "<gateways>"]
    for profile in core.profiles.values():
        for gateway in profile.gateways.values():
            values = {
                "name": gateway.name,
                "profile": profile.settings.name,
                "realm": gateway.realm,
                "username": gateway.username,
                "proxy": f"sip:{gateway.proxy}",
                "pingfreq": gateway.ping_seconds,
                "state": _gateway_state(profile, gateway),
                "status": _gateway_status(profile, gateway),
            }
            inner = [f"    <{name}>{value}</{name}>" for name, value in values.items()]
            lines.extend(["  <gateway>", *inner, "  </gateway>"])
    return "\n".join([*lines, "</gateways>", ""])


def sofia_status(core: SwitchCore, words: list[str]) -> str:
    """`sofia status`, `sofia status profile X [reg [user@domain]]`, `sofia status gateway [X]`."""
    if not words:
        return _overview(core)
    if words[0] == "profile" and len(words) > 1:
        profile = core.profiles.get(words[1])
        if profile is None:
            return "Invalid Profile!\n"
        if words[2:3] == ["reg"]:
            matching = words[3] if len(words) > 3 else ""
            return profile.registrar.report(core.identity.hostname, matching=matching)
        return _profile(profile)
    if words[0] == "gateway":
        return _gateway(core, words[1]) if len(words) > 1 else _gateways(core)
    return "Invalid Profile!\n"


def sofia_profile(core: SwitchCore, name: str, words: list[str]) -> str:
    """`sofia profile X flush_inbound_reg [call-id|user@domain|domain]` and `killgw NAME`."""
    profile = core.profiles.get(name)
    if profile is None:
        return f"Invalid Profile [{name}]"
    verb = words[0] if words else ""
    if verb == "flush_inbound_reg":
        key = words[1] if len(words) > 1 and words[1] != "reboot" else ""
        profile.registrar.flush(key)
        if key:
            return "+OK flushing all registrations matching specified call_id\n"
        return "+OK flushing all registrations\n"
    if verb == "killgw":
        if profile.gateways.pop(words[1] if len(words) > 1 else "", None) is None:
            return "-ERR no such gateway.\n"
        profile.gateways_down.discard(words[1])
        return "+OK gateway marked for deletion.\n"
    return "-ERR Unknown command!\n"


def _overview(core: SwitchCore) -> str:
    lines = [f"{'Name':>25}\t{'Type':>7}\t{'Data':>42}\tState", _RULE]
    for name, profile in sorted(core.profiles.items()):
        running = sum(channel.variables.get("sofia_profile_name") == name for channel in core.channels.values())
        lines.append(f"{name:>25}\tprofile\t{profile.url:>42}\tRUNNING ({running})")
        for gateway in profile.gateways.values():
            label = f"{name}::{gateway.name}"
            lines.append(f"{label:>25}\tgateway\t{_gateway_address(gateway):>42}\t{_gateway_state(profile, gateway)}")
    count = len(core.profiles)
    lines.extend([_RULE, f"{count} profile{'' if count == 1 else 's'} 0 aliases", ""])
    return "\n".join(lines)


def _profile(profile: ProfileState) -> str:
    settings = profile.settings
    values = [
        ("Name", settings.name),
        ("Domain Name", "N/A"),
        ("Dialplan", "XML"),
        ("Context", settings.context),
        ("Challenge Realm", "auto_to"),
        ("SIP-IP", profile.address[0]),
        ("URL", profile.url),
        ("BIND-URL", f"{profile.url};transport=udp,tcp"),
        *_tls_urls(profile),
        ("CALLS-IN", str(profile.calls_in)),
        ("FAILED-CALLS-IN", str(profile.failed_calls_in)),
        ("CALLS-OUT", str(profile.calls_out)),
        ("FAILED-CALLS-OUT", str(profile.failed_calls_out)),
        ("REGISTRATIONS", str(len(profile.registrar))),
    ]
    lines = [f"{name:<17}\t{value}" for name, value in values]
    return "\n".join([_RULE, *lines, ""])


def _tls_urls(profile: ProfileState) -> list[tuple[str, str]]:
    url = profile.tls_url
    if url is None:
        return []
    return [("TLS-URL", url), ("TLS-BIND-URL", f"sips:{url.removeprefix('sip:')};transport=tls")]


def _gateway_address(gateway: GatewaySettings) -> str:
    return f"sip:{gateway.username}@{gateway.realm}"


def _gateway_state(profile: ProfileState, gateway: GatewaySettings) -> str:
    return profile.gateway_states.get(gateway.name, "UNREGED") if gateway.signs_in else "NOREG"


def _gateway_status(profile: ProfileState, gateway: GatewaySettings) -> str:
    return "DOWN" if gateway.name in profile.gateways_down else "UP"


def _gateway(core: SwitchCore, name: str) -> str:
    found = core.gateway(name)
    if found is None:
        return "Invalid Gateway!\n"
    profile, gateway = found
    values = [
        ("Name", gateway.name),
        ("Profile", profile.settings.name),
        ("Scheme", "Digest"),
        ("Realm", gateway.realm),
        ("Username", gateway.username),
        ("Password", "yes" if gateway.password else "no"),
        ("From", f"<{_gateway_address(gateway)}>"),
        ("To", _gateway_address(gateway)),
        ("Proxy", f"sip:{gateway.proxy}"),
        ("Context", profile.settings.context),
        ("State", _gateway_state(profile, gateway)),
        ("Status", _gateway_status(profile, gateway)),
    ]
    lines = [f"{name:<8}\t{value}" for name, value in values]
    return "\n".join([_RULE, *lines, _RULE, ""])


def _gateways(core: SwitchCore) -> str:
    rows = [
        (f"{profile.settings.name}::{gateway.name}", gateway, _gateway_state(profile, gateway))
        for profile in core.profiles.values()
        for gateway in profile.gateways.values()
    ]
    lines = [f"{'Profile::Gateway-Name':>25}\t{'Data':>32}\tState\tPing Time\tIB Calls(F/T)\tOB Calls(F/T)", _RULE]
    lines.extend(
        f"{label:>25}\t{_gateway_address(gateway):>32}\t{state}\t  0.00\t0/0\t0/0" for label, gateway, state in rows
    )
    count = len(rows)
    summary = "Inbound(Failed/Total): 0/0,Outbound(Failed/Total):0/0"
    lines.extend([_RULE, f"{count} gateway{'' if count == 1 else 's'}: {summary}", ""])
    return "\n".join(lines)
