"""Transfers: a phone asks for its party to be sent elsewhere (REFER, RFC 3515), or to be joined with the party of
another call of its own (a Replaces in it, RFC 3891).

Source: `sofia.c` (`sofia_handle_sip_i_refer`, `nightmare_xfer_thread_run`), `switch_ivr.c`
(`switch_ivr_session_transfer`), `switch_ivr_bridge.c` (`switch_ivr_uuid_bridge`), checked against records of a running
1.11. A call that still rings cannot be joined here; there it can.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Self
from urllib.parse import unquote

from switch.simulator import causes
from switch.simulator.bridge import join
from switch.simulator.channel import Channel
from switch.simulator.core import SwitchCore
from switch.simulator.dial_string import DialStringRefused, parse_dial_string
from switch.simulator.directory import Directory
from switch.simulator.joining import bridged_with, note_source, take
from switch.simulator.leg import Leg
from switch.simulator.leg_host import LegHost
from switch.simulator.originate import Originator, Placed
from switch.simulator.session import CallSession
from switch.simulator.settings import is_true, parameters
from switch.sip.errors import SipSyntaxError
from switch.sip.message import Request
from switch.sip.transactions import ServerTransaction
from switch.sip.uri import NameAddress, SipUri

DONE, DENIED = "200 OK", "403 Forbidden"
FORWARDS = 70
"""How often a call may be sent on (`max_forwards`) where nothing else is said."""

ELSEWHERE_SECONDS = 60.0


@dataclass(frozen=True)
class _Wish:
    """What a REFER asks for. `replaces`: the header's value that the address brings, '' for a blind transfer."""

    text: str
    uri: SipUri
    replaces: str
    event: str

    @classmethod
    def of(cls, request: Request, text: str) -> Self:
        """Raises SipSyntaxError."""
        # An address may have headers behind a question mark, which are no part of the URI that we keep.
        _, _, headers = text[max(0, text.find("@")) :].partition(">")[0].partition("?")
        named = [pair.partition("=") for pair in headers.split("&")]
        replaces = next((unquote(value) for name, _, value in named if name.lower() == "replaces"), "")
        return cls(text, NameAddress.parse(text).uri, replaces, f"refer;id={request.sequence[0]}")

    @property
    def call_id(self) -> str:
        """Of the call to replace; mod_sofia looks at nothing else of the header."""
        return self.replaces.partition(";")[0]


class Transfers:
    """Carries out the REFER requests of one node."""

    def __init__(
        self, core: SwitchCore, directory: Directory, originator: Originator, hosts: dict[str, LegHost]
    ) -> None:
        self._core = core
        self._directory = directory
        self._originator = originator
        self._hosts = hosts

    def receive(self, leg: Leg, transaction: ServerTransaction) -> None:
        """Answer a REFER of this leg's far end, and do what it wants."""
        request = transaction.request
        text = request.headers.get("Refer-To") or request.headers.get("r")
        try:
            wish = _Wish.of(request, text) if text else None
        except SipSyntaxError:
            transaction.respond(400)
            return
        transaction.respond(202, headers=[leg.contact, ("Expires", "60")])
        if wish is None:
            return
        channel = leg.channel
        channel.variables["transfer_disposition"] = "recv_replace"
        if not wish.replaces:
            self._blind(leg, wish, request)
            return
        other = self._leg_of_call(leg, wish.call_id)
        if other is None:
            self._core.spawn(self._elsewhere(leg, wish))
        else:
            self._attended(leg, other, wish)

    def _blind(self, leg: Leg, wish: _Wish, request: Request) -> None:
        """The partner goes through the dialplan again; the leg that sent it there ends."""
        channel, extension = leg.channel, wish.uri.user
        if not extension:
            return
        partner = bridged_with(channel)
        channel.variables["transfer_to"] = f"blind:{partner.uuid if partner is not None else extension}"
        channel.variables["transfer_destination"] = f"blind:{extension}"
        if partner is None:
            channel.variables["endpoint_disposition"] = "ATTENDED_TRANSFER_ERROR"
            leg.notify(wish.event, DENIED)
            return
        channel.variables["transfer_fallback_extension"] = request.from_address.uri.user
        channel.variables["endpoint_disposition"] = "BLIND_TRANSFER"
        partner.set("sip_refer_to", wish.text)
        referred_by = request.headers.get("Referred-By")
        if referred_by:
            partner.set("sip_h_Referred-By", referred_by)
        leg.notify(wish.event, DONE)
        self._send_on(partner, extension)
        self._core.hang_up(channel, causes.NORMAL_CLEARING)

    def _attended(self, leg: Leg, other: Leg, wish: _Wish) -> None:
        """The partners of both calls are joined; both legs of whoever joined them end."""
        first, second = bridged_with(leg.channel), bridged_with(other.channel)
        all_legs = (leg.channel, other.channel, first, second)
        if any(each is not None and is_true(each.variables.get("deny_refer_requests")) for each in all_legs):
            leg.notify(wish.event, DENIED)
            return
        leg.channel.variables["refer_uuid"] = other.channel.uuid
        other.channel.variables["transfer_disposition"] = "replaced"
        if first is not None and second is not None and first is not second:
            second.variables["transfer_disposition"] = "bridge"
            leg.channel.variables["transfer_to"] = f"att:{second.uuid}"
            self._join(first, second)
            other.channel.variables["endpoint_disposition"] = "ATTENDED_TRANSFER"
            leg.notify(wish.event, DONE)
            for channel in (leg.channel, other.channel):
                self._core.hang_up(channel, causes.NORMAL_CLEARING)
            return
        party = first or second
        if party is None or first is second:
            leg.notify(wish.event, DENIED)
            return
        # Only one of the two calls has somebody: that party goes where the other call stands.
        alone = other.channel if party is first else leg.channel
        party.set("sip_refer_to", wish.text)
        self._send_on(party, alone.profile.destination_number)
        leg.notify(wish.event, DONE)
        for channel in (leg.channel, other.channel):
            self._core.hang_up(channel, "ATTENDED_TRANSFER")

    async def _elsewhere(self, leg: Leg, wish: _Wish) -> None:
        """The call to replace is not on this node: call the address that was named, unless the section `channels` of
        the node's files names another (`channel-xml-fetch-on-nightmare-transfer`).
        """
        partner = bridged_with(leg.channel)
        called = await self._called_elsewhere(leg, wish) if partner is not None and wish.uri.user else None
        if partner is None or called is None:
            leg.notify(wish.event, DENIED)
            return
        if not (leg.channel.is_up and bridged_with(leg.channel) is partner):
            self._core.hang_up(called, "ORIGINATOR_CANCEL")
            return
        leg.channel.variables["transfer_to"] = f"att:{called.uuid}"
        leg.channel.variables["endpoint_disposition"] = "ATTENDED_TRANSFER"
        self._join(partner, called)
        leg.notify(wish.event, DONE)
        self._core.hang_up(leg.channel, causes.NORMAL_CLEARING)

    async def _called_elsewhere(self, leg: Leg, wish: _Wish) -> Channel | None:
        """Whoever answered there."""
        settings = leg.host.state.settings
        port = f":{wish.uri.port}" if wish.uri.port else ""
        dial_string = f"sofia/{settings.name}/sip:{wish.uri.user}@{wish.uri.host}{port}"
        if settings.asks_before_transfers_elsewhere:
            form = self._directory.request_head("REQUEST_PARAMS", "sofia.c", "sofia_handle_sip_i_refer", 9460)
            form.extend([("purpose", "nightmare_xfer"), ("profile", settings.name)])
            values = dict(parameters(await self._core.lookup.locate("channels", form=form)))
            if absolute := values.get("absolute-dial-string"):
                dial_string = values.get("dial-prefix", "") + absolute
        try:
            attempts = parse_dial_string(dial_string).attempts
        except DialStringRefused:
            return None
        variables = {"sip_h_Replaces": wish.replaces}
        for target in attempts[0] if attempts else ():
            for result in await self._originator.place(target, variables, None):
                if isinstance(result, Placed) and await self._is_answered(result):
                    return result.leg.channel
        return None

    async def _is_answered(self, placed: Placed) -> bool:
        try:
            async with asyncio.timeout(ELSEWHERE_SECONDS):
                return await asyncio.shield(placed.leg.outcome) == "answered"
        except TimeoutError:
            self._core.hang_up(placed.leg.channel, "NO_ANSWER")
            return False

    def _leg_of_call(self, leg: Leg, call_id: str) -> Leg | None:
        """The leg with this Call-ID, of the same profile before another."""
        hosts = [leg.host, *(host for host in self._hosts.values() if host is not leg.host)]
        legs = [each for host in hosts for each in host.legs]
        return next((each for each in legs if each.dialog is not None and each.dialog.call_id == call_id), None)

    def _send_on(self, party: Channel, extension: str) -> None:
        """Take a leg out of its bridge and through the dialplan, in the context that it must stay in."""
        leg = next((each for host in self._hosts.values() for each in host.legs if each.channel is party), None)
        if leg is None:
            return
        take(self._core, party)
        left = party.variables.get("max_forwards", "")
        forwards = (int(left) if left.isdigit() else FORWARDS) - 1
        if forwards <= 0:
            self._core.hang_up(party, "EXCHANGE_ROUTING_ERROR")
            return
        context = party.variables.get("force_transfer_context") or party.profile.context
        note_source(self._core, party, f"bl_xfer:{extension}/{context}/XML")
        party.variables["max_forwards"] = str(forwards)
        if not party.has_dialplan:
            _flip(party)
        party.call_uuid = party.variables["call_uuid"] = party.uuid
        party.rerouted_to = (extension, context)
        session = CallSession(self._core, self._directory, self._originator, leg)
        party.routing = self._core.spawn(session.run())

    def _join(self, first: Channel, second: Channel) -> None:
        for party, other in ((first, second), (second, first)):
            take(self._core, party)
            note_source(self._core, party, f"uuid_br:{other.uuid}")
            party.joined_with = other.uuid
            party.variables["original_destination_number"] = party.profile.destination_number
            party.variables["original_caller_id_name"] = party.profile.caller_id_name
            party.variables["original_caller_id_number"] = party.profile.caller_id_number
            party.call_uuid = party.variables["call_uuid"] = first.uuid
        if not first.has_dialplan:
            _flip(first)
        second.has_dialplan = second.has_dialplan and second.direction == "inbound"
        first.profile.callee_id_name = second.profile.callee_id_name
        first.profile.callee_id_number = second.profile.callee_id_number
        second.profile.caller_id_name = first.profile.caller_id_name
        second.profile.caller_id_number = first.profile.caller_id_number
        first.routing = self._core.spawn(join(self._core, first, second))


def _flip(channel: Channel) -> None:
    """A leg that we called becomes the caller: its number is now the one that calls."""
    profile = channel.profile
    channel.has_dialplan = True
    profile.caller_id_name, profile.callee_id_name = profile.callee_id_name, profile.caller_id_name
    profile.caller_id_number, profile.callee_id_number = profile.callee_id_number, profile.caller_id_number
