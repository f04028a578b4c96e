"""Turns one target of a dial string into legs that ring: `user/...`, `sofia/...`, `error/...`.

Source: `mod_dptools.c` (`user_outgoing_channel`, `error_outgoing_channel`), `mod_sofia.c`
(`sofia_outgoing_channel`, `sofia_contact_function`).
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from switch.simulator import causes
from switch.simulator.api_sofia import sofia_contact
from switch.simulator.channel import CallerProfile, Channel
from switch.simulator.core import ProfileState, SwitchCore
from switch.simulator.dial_string import DialStringRefused, Target, parse_dial_string
from switch.simulator.dialplan import expand
from switch.simulator.directory import Directory, DirectoryUser
from switch.simulator.leg_host import LegHost
from switch.simulator.leg_texts import new_call_id_like_freeswitch
from switch.simulator.outbound_leg import OutboundLeg
from switch.simulator.reach import Hop, Way
from switch.simulator.settings import GatewaySettings
from switch.sip.dialog import new_tag
from switch.sip.endpoint import resolve
from switch.sip.errors import SipError
from switch.sip.message import Headers, Request
from switch.sip.uri import NameAddress, SipUri

MAX_USER_DEPTH = 2
_HEADER_VARIABLE = "sip_h_"
_SCHEMES = ("sip:", "sips:")
_CONTACT_CALL = "sofia_contact("


@dataclass(frozen=True)
class Placed:
    """A leg on its way, with the variables its user brings when it is answered."""

    leg: OutboundLeg
    user: DirectoryUser | None = None


@dataclass(frozen=True)
class _Route:
    """Which way an INVITE takes. `number`: of a gateway, or `user%domain` of a registered user, or an address."""

    profile: ProfileState
    gateway: GatewaySettings | None
    way: Way
    hop: Hop
    number: str

    @property
    def uri(self) -> SipUri:
        """Who is called."""
        return self.way.target

    @property
    def is_to_user(self) -> bool:
        """Whether a registered user was named."""
        return self.gateway is None and _names_user(self.number)

    @property
    def called(self) -> str:
        """What was dialled: the number, or `user%domain` of a registered user."""
        return self.number if self.gateway is not None or self.is_to_user else self.uri.user

    @property
    def channel_name(self) -> str:
        """`sofia/<profile>/<what was dialled>`, as mod_sofia names its channels."""
        shown = self.called.partition("%")[0]
        if self.gateway is None and not self.is_to_user:
            shown = f"{self.uri.user}@{self.uri.host}" + (f":{self.uri.port}" if self.uri.port else "")
        return f"sofia/{self.profile.settings.name}/{shown}"


Result = Placed | str
"""A leg under way, or the cause why there is none."""


class Originator:
    """Places outbound legs for one node."""

    def __init__(self, core: SwitchCore, directory: Directory, hosts: dict[str, LegHost]) -> None:
        self._core = core
        self._directory = directory
        self._hosts = hosts

    async def place(
        self, target: Target, variables: dict[str, str], caller: Channel | None, *, depth: int = 0
    ) -> list[Result]:
        """Start every leg that a target stands for (a user with two phones has two)."""
        variables = {**variables, **target.variables}
        endpoint, _, rest = target.address.partition("/")
        if self._core.paused_outbound:
            return ["REQUESTED_CHAN_UNAVAIL"]
        if endpoint == "error":
            return [causes.named(rest)]
        if endpoint == "user" and depth < MAX_USER_DEPTH:
            return await self._place_user(rest, variables, caller, depth=depth)
        if endpoint == "sofia":
            return [await self._place_sofia(rest, variables, caller)]
        return ["CHAN_NOT_IMPLEMENTED"]

    async def _place_user(
        self, address: str, variables: dict[str, str], caller: Channel | None, *, depth: int
    ) -> list[Result]:
        user_name, _, domain = address.partition("@")
        domain = domain or self._core.global_variables.get("domain", "")
        form = [("as_channel", "true"), ("action", "user_call"), *variables.items()]
        user = await self._directory.find(user_name, domain, form)
        if user is None:
            return ["SUBSCRIBER_ABSENT"]
        dial_string = user.params.get("dial-string")
        if not dial_string:
            return ["MANDATORY_IE_MISSING"]
        dialed = {"dialed_user": user.id, "dialed_domain": domain}
        if caller is not None:
            caller.variables.update(dialed)

        def look_up(name: str) -> str | None:
            if (contact := self.contact(name)) is not None:
                return contact
            if name in dialed:
                return dialed[name]
            return caller.lookup(name) if caller is not None else None

        try:
            inner = parse_dial_string(expand(dial_string, look_up))
        except DialStringRefused:
            return ["INVALID_URL"]
        extra = {name[9:]: value for name, value in user.params.items() if name.startswith("dial-var-")}
        own = {"presence_id": f"{user.id}@{domain}", "originate_endpoint": "user"}
        merged = {**own, **inner.variables, **variables, **extra, **dialed}
        results: list[Result] = []
        for part in inner.attempts[0] if inner.attempts else ():
            for result in await self.place(part, merged, caller, depth=depth + 1):
                results.append(Placed(result.leg, user) if isinstance(result, Placed) else result)
        return results or ["CHAN_NOT_IMPLEMENTED"]

    def contact(self, expression: str) -> str | None:
        """What `${sofia_contact(...)}` gives inside a dial string; None for any other expression.

        Nothing is called when `switch.conf` says `api-expansion` false.
        """
        if not (expression.startswith(_CONTACT_CALL) and expression.endswith(")")):
            return None
        if not self._core.limits.api_expansion:
            return ""
        return sofia_contact(self._core, expression[len(_CONTACT_CALL) : -1])

    async def _place_sofia(self, rest: str, variables: dict[str, str], caller: Channel | None) -> Result:
        first, _, destination = rest.partition("/")
        gateway: GatewaySettings | None = None
        if first == "gateway":
            name, _, number = destination.partition("/")
            found = self._core.gateway(name)
            if found is None:
                return "INVALID_GATEWAY"
            profile, gateway = found
            if gateway.name in profile.gateways_down:
                return "GATEWAY_DOWN"
            uri_text = f"sip:{number}@{gateway.proxy.removeprefix('sip:')}"
        else:
            host = self._hosts.get(first)
            if host is None:
                return "INVALID_PROFILE"
            profile, number = host.state, destination
            uri_text = self._sofia_uri(profile, destination)
        try:
            way = Way.to(SipUri.parse(uri_text))
            address = await resolve(*way.first_hop.address)
        except SipError:
            return "USER_NOT_REGISTERED" if _names_user(destination) else "INVALID_URL"
        try:
            hop = Hop(self._hosts[profile.settings.name].endpoint(way.transport), address)
        except SipError:
            return "DESTINATION_OUT_OF_ORDER"
        route = _Route(profile, gateway, way, hop, number)
        return Placed(self._start(route, variables, caller))

    def _sofia_uri(self, profile: ProfileState, destination: str) -> str:
        if _names_user(destination):
            user, _, domain = destination.partition("%")
            registrations = profile.registrar.of(f"{user}@{domain}")
            return registrations[0].contact_uri if registrations else ""
        return destination if destination.startswith(_SCHEMES) else f"sip:{destination}"

    def _start(self, route: _Route, variables: dict[str, str], caller: Channel | None) -> OutboundLeg:
        profile, gateway = route.profile, route.gateway
        channel = self._open_channel(route, variables, caller)
        request = self._invite(route, channel, variables)
        credentials = (gateway.username, gateway.password) if gateway and gateway.password else None
        leg = OutboundLeg(self._hosts[profile.settings.name], channel, request, route.hop, credentials)
        profile.calls_out += 1
        self._core.fire("CHANNEL_CREATE", channel)
        leg.start()
        return leg

    def _open_channel(self, route: _Route, variables: dict[str, str], caller: Channel | None) -> Channel:
        profile, gateway, uri, called = route.profile, route.gateway, route.uri, route.called
        caller_name, caller_number = _caller_id(variables, caller)
        channel = self._core.open_channel(
            "outbound",
            CallerProfile(
                username=caller.profile.username if caller else "",
                caller_id_name=caller_name,
                caller_id_number=caller_number,
                ani=caller.profile.shown_ani if caller else "",
                network_address=caller.profile.network_address if caller else "",
                destination_number=called,
                context=caller.profile.context if caller else "default",
                channel_name=route.channel_name,
                callee_id_name="Outbound Call",
                callee_id_number=called,
            ),
        )
        values = {
            "sip_profile_name": "gateway" if gateway is not None else profile.settings.name,
            **({"sip_gateway_name": gateway.name} if gateway else {}),
            "channel_name": channel.profile.channel_name,
            # A registered user's address is taken over as the phone wrote it.
            "sip_destination_url": f'"" <{route.way.contact}>' if route.is_to_user else str(route.way.contact),
            "originate_early_media": "true",
            "originate_endpoint": "sofia",
            "sofia_profile_name": profile.settings.name,
            "recovery_profile_name": profile.settings.name,
            "sofia_profile_url": profile.url,
            "sip_local_network_addr": profile.address[0],
            "sip_req_uri": str(uri).partition(":")[2],
            "sip_to_host": f"{uri.host}:{uri.port}" if uri.port else uri.host,
        }
        if caller is not None:
            channel.originator = caller
            channel.call_uuid = caller.uuid
            caller.originatees.append(channel)
            values.update(
                {
                    "originator": caller.uuid,
                    "originating_leg_uuid": caller.uuid,
                    "signal_bond": caller.uuid,
                    "call_uuid": caller.uuid,
                    **_copied_headers(caller),
                    **caller.exports,
                }
            )
        for name, value in {**values, **variables}.items():
            channel.set(name, value)
        return channel

    def _invite(self, route: _Route, channel: Channel, variables: dict[str, str]) -> Request:
        profile, gateway, uri = route.profile, route.gateway, route.uri
        caller_number = channel.profile.caller_id_number
        host = variables.get("sip_invite_domain") or profile.address[0]
        from_user = caller_number
        if gateway is not None and not gateway.caller_id_in_from:
            from_user, host = gateway.from_user, gateway.realm.partition(":")[0]
        own = NameAddress(SipUri(host, from_user), channel.profile.caller_id_name).with_tag(new_tag())
        identity = NameAddress(SipUri(profile.address[0], caller_number), channel.profile.caller_id_name)
        headers = Headers(("Route", value) for value in route.way.routes)
        headers.add("From", str(own))
        headers.add("To", f"<{uri}>")
        headers.add("Call-ID", new_call_id_like_freeswitch())
        headers.add("CSeq", f"{1 + secrets.randbelow(2**30)} INVITE")
        headers.add("Remote-Party-ID", f"{identity};party=calling;screen=yes;privacy=off")
        for name, value in channel.variables.items():
            if name.startswith(_HEADER_VARIABLE) and len(name) > len(_HEADER_VARIABLE):
                headers.add(name[len(_HEADER_VARIABLE) :], " ".join(value.split()))
        channel.set("sip_call_id", headers.get("Call-ID"))
        channel.set("sip_from_host", host)
        return Request(headers=headers, method="INVITE", uri=str(uri))


def _names_user(destination: str) -> bool:
    """Whether `user%domain` stands there; in an address a percent sign is only one."""
    return "%" in destination and not destination.startswith(_SCHEMES)


def _copied_headers(caller: Channel) -> dict[str, str]:
    """The caller's own X- headers go along unless `sip_copy_custom_headers` forbids it."""
    if caller.variables.get("sip_copy_custom_headers", "true").lower() in {"false", "no", "0"}:
        return {}
    return {name: value for name, value in caller.variables.items() if name.lower().startswith("sip_h_x-")}


def _caller_id(variables: dict[str, str], caller: Channel | None) -> tuple[str, str]:
    """Name and number shown to the called side (`origination_...` of the leg, else `effective_...`)."""
    name = variables.get("origination_caller_id_name")
    number = variables.get("origination_caller_id_number")
    if caller is not None:
        number = number or caller.variables.get("effective_caller_id_number")
        number = number or caller.profile.caller_id_number
        name = name or caller.variables.get("effective_caller_id_name") or caller.profile.caller_id_name
    return name or number or "", number or "0000000000"
