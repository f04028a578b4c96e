"""What mod_xml_curl posts, as values: a directory lookup, a call that wants to be routed.

Field names as recorded from FreeSWITCH 1.11 (mod_sofia `sofia_reg_parse_auth`, mod_dptools
`user_outgoing_channel`, mod_dialplan_xml `dialplan_xml_locate`). All values are from outside.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date

from switch.admission import Lookup, Purpose
from switch.documents.dialplan import LEG_GATEWAY
from switch.gateway_choice import GatewayOption
from switch.routing import PUBLIC_CONTEXT, Call, Direction, Origin

PORT_DIGITS = 5
_DIRECTIONS = {direction.value: direction for direction in Direction}
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


def dialplan_call(
    form: Mapping[str, str], *, node: str, gateways: tuple[GatewayOption, ...], on: date, gateway: str | None = None
) -> Call:
    """The call that a form of the section `dialplan` is about.

    `gateways`: the node's gateways. `on`: the local day. `gateway`: the one that the call
    came in by, as found from its address (`source_address`). A call is a seat's exactly when its account was
    authenticated: only the directory sets `seatline_extension`, and a gateway's channel has no account.
    """
    context = form.get("Caller-Context", "")
    origin = _origin(form)
    return Call(
        origin=origin,
        node=node,
        context=context,
        dialled=form.get("Caller-Destination-Number", ""),
        on=on,
        caller=form.get("Caller-Caller-ID-Number", ""),
        extension=form.get("variable_seatline_extension") if origin is Origin.SEAT else None,
        gateway=gateway if origin is Origin.GATEWAY else None,
        gateways=gateways,
        draw=form.get("Unique-ID", ""),
        seat_id=form.get("variable_seatline_seat") if origin is Origin.SENT_ON else None,
        ran=_DIRECTIONS.get(form.get("variable_seatline_direction", "")) if origin is Origin.SENT_ON else None,
        offers_encryption=offers_encryption(form),
    )


def _origin(form: Mapping[str, str]) -> Origin:
    if is_sent_on(form):
        return Origin.SENT_ON
    return Origin.GATEWAY if form.get("Caller-Context") == PUBLIC_CONTEXT else Origin.SEAT


def offers_encryption(form: Mapping[str, str]) -> bool:
    """Whether the caller's phone offers to encrypt its media with a key in the session description (RFC 4568)."""
    return any(line.startswith("a=crypto:") for line in form.get("variable_switch_r_sdp", "").splitlines())


def is_sent_on(form: Mapping[str, str]) -> bool:
    """Whether the channel is the outside party of a call that we have routed before: it says so itself.

    A new call has no `seatline_leg`; nobody outside the node can set a channel variable of this name.
    """
    return form.get("variable_seatline_leg") == LEG_GATEWAY


def occupied_gateway(form: Mapping[str, str], gateways: Iterable[GatewayOption]) -> str | None:
    """The gateway of limited capacity that a channel runs over which is sent on, of a call out; None for any other."""
    if not is_sent_on(form) or form.get("variable_seatline_direction") != Direction.OUTBOUND.value:
        return None
    name = form.get("variable_seatline_gateway")
    return next((each.name for each in gateways if each.name == name and each.capacity_calls is not None), None)


def calling_tenant(form: Mapping[str, str]) -> str | None:
    """The id of the tenant whose seat calls or sends a call on, as the node was told; None for one from outside."""
    return form.get("variable_seatline_tenant") or None


def source_address(form: Mapping[str, str]) -> tuple[str, int]:
    """Address and port that a call came from; an empty address and 0 where the form does not say."""
    port = form.get("variable_sip_network_port", "")
    is_port = port.isascii() and port.isdigit() and len(port) <= PORT_DIGITS
    return form.get("variable_sip_network_ip", ""), int(port) if is_port else 0
