"""What mod_xml_curl posts, as values: a directory lookup, a call that wants to be routed.

Field names as recorded from FreeSWITCH 1.11 (mod_sofia `sofia_reg_parse_auth`, mod_dptools
`user_outgoing_channel`, mod_dialplan_xml `dialplan_xml_locate`). All values are from outside.
"""

from __future__ import annotations

from collections.abc import Mapping

from switch.admission import Lookup, Purpose
from switch.routing import PUBLIC_CONTEXT, Call, Origin

PORT_DIGITS = 5
_SIP_METHODS = {"REGISTER": Purpose.REGISTER, "INVITE": Purpose.INVITE}


def directory_lookup(form: Mapping[str, str], *, node: str) -> Lookup | None:
    """The lookup that a form of the section `directory` asks for; None when it asks for no user.

    `node`: the node's name as it signed in, not as the form says.
    """
    user, domain = form.get("user", ""), form.get("domain", "")
    if not user or not domain:
        return None
    return Lookup(
        purpose=_purpose(form),
        node=node,
        user=user,
        domain=domain,
        to_user=form.get("sip_to_user"),
        to_host=form.get("sip_to_host"),
    )


def _purpose(form: Mapping[str, str]) -> Purpose:
    match form.get("action", ""):
        case "sip_auth":
            return _SIP_METHODS.get(form.get("sip_auth_method", ""), Purpose.OTHER)
        case "user_call":
            return Purpose.RING
        case "":
            return Purpose.INSPECT if not form.get("purpose") else Purpose.OTHER
        case _:
            return Purpose.OTHER


def dialplan_call(form: Mapping[str, str], *, node: str, gateways: tuple[str, ...], gateway: str | None = None) -> Call:
    """The call that a form of the section `dialplan` is about.

    `gateways`: the node's gateways, the preferred one first. `gateway`: the one that the call came in by, as
    found from its address (`source_address`). A call is a seat's exactly when its account was authenticated:
    only the directory sets `seatline_tenant`, and a gateway's channel has no account.
    """
    context = form.get("Caller-Context", "")
    origin = Origin.GATEWAY if context == PUBLIC_CONTEXT else Origin.SEAT
    return Call(
        origin=origin,
        node=node,
        context=context,
        dialled=form.get("Caller-Destination-Number", ""),
        caller=form.get("Caller-Caller-ID-Number", ""),
        extension=form.get("variable_seatline_extension") if origin is Origin.SEAT else None,
        gateway=gateway if origin is Origin.GATEWAY else None,
        gateways=gateways,
    )


def calling_tenant(form: Mapping[str, str]) -> str | None:
    """The id of the tenant whose seat calls, as the directory told the node; None for a call from outside."""
    return form.get("variable_seatline_tenant") or None


def source_address(form: Mapping[str, str]) -> tuple[str, int]:
    """Address and port that a call came from; an empty address and 0 where the form does not say."""
    port = form.get("variable_sip_network_port", "")
    is_port = port.isascii() and port.isdigit() and len(port) <= PORT_DIGITS
    return form.get("variable_sip_network_ip", ""), int(port) if is_port else 0
