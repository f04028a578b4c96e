"""Phones and carriers that send what no honest one does: a `Replaces` header that names somebody's call (RFC 3891)."""

from __future__ import annotations

from urllib.parse import quote

from switch.sip.call import Call
from switch.sip.carrier import Carrier
from switch.sip.phone import Phone
from tests.live.customers import LiveSeat

Headers = tuple[tuple[str, str], ...]


class ReachingCarrier(Carrier):
    """Its requests carry `more_headers`."""

    more_headers: Headers = ()

    def own_headers(self) -> list[tuple[str, str]]:
        """Those of every carrier, and more."""
        return [*super().own_headers(), *self.more_headers]


class ReachingPhone(Phone):
    """Its requests carry `more_headers`."""

    more_headers: Headers = ()

    def own_headers(self) -> list[tuple[str, str]]:
        """Those of every phone, and more."""
        return [*super().own_headers(), *self.more_headers]

    async def reach_for(self, victim: Call, number: str, *more: tuple[str, str], parameters: str = "") -> Call:
        """Call a number, naming the dialog of somebody's call as the one to take over."""
        self.more_headers = (("Replaces", dialog_of(victim) + parameters), *more)
        try:
            return await self.call(number)
        finally:
            self.more_headers = ()


async def reaching_phone(seat: LiveSeat) -> ReachingPhone:
    """A phone of this seat, registered; closed with the test."""
    phone = ReachingPhone(seat.extension, seat.customer.domain, server=await seat.server(), password=seat.password)
    seat.customer.office.keep(phone)
    assert await phone.register() == 200
    return phone


def dialog_of(call: Call) -> str:
    """The dialog of a call as the node has it: its two ends change places. Of one that rings the Call-ID is enough."""
    dialog = call.current_dialog()
    call_id, local_tag, remote_tag = dialog.key if dialog is not None else (call.call_id, "own", "theirs")
    return f"{call_id};to-tag={remote_tag};from-tag={local_tag}"


def refer_to(extension: str, domain: str, victim: Call) -> str:
    """The address of a REFER that wants to be joined with somebody's call."""
    return f"<sip:{extension}@{domain}?Replaces={quote(dialog_of(victim), safe='')}>"
