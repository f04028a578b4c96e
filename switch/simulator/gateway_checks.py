"""Asks the gateways of a profile whether they are there, as their `ping` says.

Source: `sofia_reg.c` (`sofia_reg_check_gateway`), `sofia.c` (`sofia_handle_sip_r_options`): any final answer but 408
and 503 means up; with the default `ping-min` and `ping-max` of 1 one failure means down and one success up again.
"""

from __future__ import annotations

import asyncio
import secrets

from switch.simulator.core import SwitchCore
from switch.simulator.gateway_registration import REGED
from switch.simulator.leg_texts import new_call_id_like_freeswitch
from switch.simulator.settings import GatewaySettings
from switch.simulator.sip_profile import SipProfile
from switch.simulator.sip_sockets import UDP
from switch.sip.dialog import new_tag
from switch.sip.endpoint import resolve
from switch.sip.errors import SipError
from switch.sip.message import Headers, Request
from switch.sip.uri import SipUri

LOOK_SECONDS = 1.0
ANSWER_SECONDS = 1.0
"""A real node hears at once that nobody listens at a port (ICMP) and waits 32 s for a host that is gone; here both take
as long as this.
"""

TIMED_OUT, UNAVAILABLE = 408, 503


class GatewayChecks:
    """The checks of one profile, while `run` runs."""

    def __init__(self, core: SwitchCore, profile: SipProfile) -> None:
        self._core = core
        self._profile = profile
        self._due_at_seconds: dict[GatewaySettings, float] = {}
        self._asked: set[GatewaySettings] = set()

    async def run(self) -> None:
        """Look every second who is to be asked, until cancelled."""
        while True:
            self._look()
            await asyncio.sleep(LOOK_SECONDS)

    def _look(self) -> None:
        now = asyncio.get_running_loop().time()
        state = self._profile.state
        asked = {
            gateway
            for gateway in state.gateways.values()
            if gateway.ping_seconds and (not gateway.signs_in or state.gateway_states.get(gateway.name) == REGED)
        }
        self._due_at_seconds = {
            gateway: self._due_at_seconds.get(gateway, now + gateway.ping_seconds) for gateway in asked
        }
        for gateway, due_at_seconds in self._due_at_seconds.items():
            if now >= due_at_seconds and gateway not in self._asked:
                self._asked.add(gateway)
                self._core.spawn(self._check(gateway))

    async def _check(self, gateway: GatewaySettings) -> None:
        try:
            status = await self._ask(gateway)
        except SipError:
            status = TIMED_OUT
        finally:
            self._asked.discard(gateway)
        self._due_at_seconds[gateway] = asyncio.get_running_loop().time() + gateway.ping_seconds
        if self._profile.state.gateways.get(gateway.name) is gateway:
            self._note(gateway, status)

    async def _ask(self, gateway: GatewaySettings) -> int:
        uri = SipUri.parse(f"sip:{gateway.proxy.removeprefix('sip:')}")
        headers = Headers()
        headers.add("From", f"<{uri}>;tag={new_tag()}")
        headers.add("To", f"<{uri}>")
        headers.add("Call-ID", new_call_id_like_freeswitch())
        headers.add("CSeq", f"{1 + secrets.randbelow(2**30)} OPTIONS")
        request = Request(headers=headers, method="OPTIONS", uri=str(uri))
        endpoint = self._profile.endpoint(UDP)
        return (await endpoint.request(request, await resolve(*uri.address), timeout_seconds=ANSWER_SECONDS)).status

    def _note(self, gateway: GatewaySettings, status: int) -> None:
        down = self._profile.state.gateways_down
        is_up = status not in (TIMED_OUT, UNAVAILABLE)
        if is_up == (gateway.name not in down):
            return
        (down.discard if is_up else down.add)(gateway.name)
        headers = {
            "Gateway": gateway.name,
            "State": self._profile.state.gateway_states.get(gateway.name, "NOREG"),
            "Ping-Status": "UP" if is_up else "DOWN",
            "Status": str(status),
        }
        self._core.bus.fire("CUSTOM", headers.items(), subclass="sofia::gateway_state")
