"""What a phone puts behind an emergency number keeps nobody from help."""

from __future__ import annotations

import pytest

from switch.sip.carrier import Carrier
from tests.live.customers import Office

ANSWER_LIMIT_SECONDS = 10.0


@pytest.mark.parametrize("is_suspended", [False, True])
async def test_an_emergency_number_is_reached_with_whatever_a_phone_adds_to_it(
    office: Office, carrier: Carrier, is_suspended: bool
) -> None:
    customer = await office.customer(seats=1)
    phone = await customer.seats[0].registered()
    if is_suspended:
        await customer.suspend()
    for dialled in ("110#", "110;isub=1", "110;phone-context=+86", "0110"):
        call = await phone.call(f"sip:{dialled}@{customer.domain}".replace("#", "%23"))
        assert call.status == 200, dialled
        called = await carrier.next_call(ANSWER_LIMIT_SECONDS)
        assert called.request is not None
        assert called.request.uri.startswith("sip:110@")
        await call.hangup()
        await called.wait_ended(ANSWER_LIMIT_SECONDS)
    assert (await phone.call("13800138000;isub=1")).status >= 400
    assert carrier.calls == ()
