"""What a leg needs from the profile it runs on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from switch.simulator.core import ProfileState, SwitchCore
from switch.sip.endpoint import SipEndpoint
from switch.sip.transactions import ServerTransaction

if TYPE_CHECKING:
    from switch.simulator.leg import Leg
    from switch.simulator.outbound_leg import OutboundLeg


class LegHost(Protocol):
    """A running profile, as its legs see it."""

    core: SwitchCore
    state: ProfileState

    def endpoint(self, transport: str) -> SipEndpoint:
        """The profile's socket of UDP, TCP or TLS; raises SipError when it has none."""
        ...

    def expect(self, leg: OutboundLeg) -> None:
        """The leg is being called."""
        ...

    def adopt(self, leg: Leg) -> None:
        """From now on requests inside the leg's dialog go to the leg."""
        ...

    def release(self, leg: Leg) -> None:
        """The leg is over."""
        ...

    @property
    def legs(self) -> tuple[Leg, ...]:
        """The profile's legs that are answered and not over."""
        ...

    def refer(self, leg: Leg, transaction: ServerTransaction) -> None:
        """The leg's far end asks for its partner to be sent elsewhere."""
        ...
