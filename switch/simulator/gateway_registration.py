"""Signs the gateways of a profile in at their carriers, as their `register` says.

Source: `sofia_reg.c` (`sofia_reg_check_gateway`, `sofia_reg_handle_sip_r_register`): a gateway that signs in is down
until it was accepted; after a refusal it waits `retry-seconds` times the failures so far (after 503, or where nobody
answers, `retry-seconds`), and an accepted one signs in anew before its time is over.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from switch.simulator.core import SwitchCore
from switch.simulator.leg_texts import new_call_id_like_freeswitch
from switch.simulator.settings import GatewaySettings
from switch.simulator.sip_profile import SipProfile
from switch.simulator.sip_sockets import UDP
from switch.sip.authentication import DigestUser
from switch.sip.dialog import new_tag
from switch.sip.digest import Challenge
from switch.sip.endpoint import resolve
from switch.sip.errors import SipError
from switch.sip.message import Headers, Request, Response
from switch.sip.uri import SipUri

LOOK_SECONDS = 0.5
"""mod_sofia looks every second."""

ANSWER_SECONDS = 2.0
"""mod_sofia waits longer (`register-timeout-seconds`); here nobody is that far away."""

UNREGED, TRYING, REGISTER, REGED, FAILED, FAIL_WAIT = "UNREGED", "TRYING", "REGISTER", "REGED", "FAILED", "FAIL_WAIT"
OK, UNAUTHORIZED, UNAVAILABLE, NOBODY = 200, 401, 503, 908
"""908 is mod_sofia's own word for no answer."""

LONG_EXPIRY_SECONDS = 30


@dataclass(slots=True)
class _SignIn:
    """How far one gateway is."""

    due_at_seconds: float
    failures: int = 0
    sequence: int = 0
    call_id: str = field(default_factory=new_call_id_like_freeswitch)
    is_asking: bool = False


class GatewayRegistrations:
    """The registrations of one profile at its carriers, while `run` runs."""

    def __init__(self, core: SwitchCore, profile: SipProfile) -> None:
        self._core = core
        self._profile = profile
        self._sign_ins: dict[GatewaySettings, _SignIn] = {}

    async def run(self) -> None:
        """Look who is to sign in, until cancelled."""
        while True:
            self._look()
            await asyncio.sleep(LOOK_SECONDS)

    def _look(self) -> None:
        now = asyncio.get_running_loop().time()
        there = {gateway for gateway in self._profile.state.gateways.values() if gateway.signs_in}
        names = {gateway.name for gateway in there}
        for gateway in self._sign_ins.keys() - there:
            del self._sign_ins[gateway]
            self._profile.state.gateway_states.pop(gateway.name, None)
            if gateway.name not in names:  # or it would sign the one out that has its place
                self._core.spawn(self._sign_out(gateway))
        for gateway in there - self._sign_ins.keys():
            self._sign_ins[gateway] = _SignIn(now)
            self._profile.state.gateways_down.add(gateway.name)
            self._become(gateway, UNREGED)
        for gateway, sign_in in self._sign_ins.items():
            if now >= sign_in.due_at_seconds and not sign_in.is_asking:
                sign_in.is_asking = True
                self._become(gateway, TRYING)
                self._core.spawn(self._sign_in(gateway, sign_in))

    async def _sign_in(self, gateway: GatewaySettings, sign_in: _SignIn) -> None:
        try:
            response = await self._ask(gateway, sign_in, gateway.expires_seconds)
            status, phrase = response.status, response.reason
        except SipError:
            status, phrase = NOBODY, ""
        finally:
            sign_in.is_asking = False
        now = asyncio.get_running_loop().time()
        sign_in.failures = 0 if status == OK else sign_in.failures + 1
        sign_in.due_at_seconds = now + _rest_seconds(gateway, status, sign_in.failures)
        if self._sign_ins.get(gateway) is not sign_in:
            return  # it was taken away meanwhile
        down = self._profile.state.gateways_down
        self._become(gateway, REGISTER if status == OK else FAILED, status, phrase)
        (down.discard if status == OK else down.add)(gateway.name)
        self._become(gateway, REGED if status == OK else FAIL_WAIT)

    async def _sign_out(self, gateway: GatewaySettings) -> None:
        """What the carrier says to it changes nothing."""
        try:
            await self._ask(gateway, _SignIn(0.0), 0)
        except SipError:
            return

    async def _ask(self, gateway: GatewaySettings, sign_in: _SignIn, expires_seconds: int) -> Response:
        """The carrier's last word: with credentials for whatever realm it names."""
        uri = SipUri.parse(f"sip:{gateway.proxy.removeprefix('sip:')}")
        own = f"<sip:{gateway.from_user}@{gateway.realm}>"
        host, port = self._profile.state.address
        headers = Headers()
        headers.add("From", f"{own};tag={new_tag()}")
        headers.add("To", own)
        headers.add("Call-ID", sign_in.call_id)
        headers.add("CSeq", f"{sign_in.sequence + 1} REGISTER")
        headers.add("Contact", f"<sip:gw+{gateway.name}@{host}:{port};transport=udp;gw={gateway.name}>")
        headers.add("Expires", str(expires_seconds))
        sign_in.sequence += 2
        request = Request(headers=headers, method="REGISTER", uri=f"sip:{gateway.realm}")
        endpoint, destination = self._profile.endpoint(UDP), await resolve(*uri.address)
        response = await endpoint.request(request, destination, timeout_seconds=ANSWER_SECONDS)
        challenge = response.headers.get("WWW-Authenticate")
        if response.status != UNAUTHORIZED or challenge is None:
            return response
        user = DigestUser.with_password(gateway.username, Challenge.parse(challenge).realm, gateway.password)
        again = user.authorize(request, response)
        if again is None:
            return response
        return await endpoint.request(again, destination, timeout_seconds=ANSWER_SECONDS)

    def _become(self, gateway: GatewaySettings, state: str, status: int = 0, phrase: str = "") -> None:
        states = self._profile.state.gateway_states
        if states.get(gateway.name) == state:
            return
        states[gateway.name] = state
        is_down = gateway.name in self._profile.state.gateways_down
        headers = {"Gateway": gateway.name, "State": state, "Ping-Status": "DOWN" if is_down else "UP"}
        if phrase:
            headers["Phrase"] = phrase
        if status:
            headers["Status"] = str(status)
        self._core.bus.fire("CUSTOM", headers.items(), subclass="sofia::gateway_state")


def _rest_seconds(gateway: GatewaySettings, status: int, failures: int) -> float:
    """Until it signs in again."""
    if status == OK:
        long = gateway.expires_seconds > LONG_EXPIRY_SECONDS
        return float(gateway.expires_seconds - 15 if long else max(1, gateway.expires_seconds // 2))
    return float(gateway.retry_seconds * (1 if status in (UNAVAILABLE, NOBODY) else failures))
