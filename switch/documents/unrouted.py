"""Ends a phone's call that is answered without having gone through our dialplan.

mod_sofia carries out an INVITE with a `Replaces` header (RFC 3891) by itself: it answers and takes the call over that
the header names, whoever's it is, or listens in on it (`sofia_handle_sip_i_invite_replaces`). No dialplan is asked and
no context counts; the account is. So the directory gives each call a phone begins two variables that end it at the
moment of its answer, before anything else runs, and every dialplan that lets a call pass takes them away first.
"""

from __future__ import annotations

from switch.admission import SIP_ANSWERS, Reason

_ON_ANSWER = ("execute_on_answer_1", "execute_on_answer_2")
"""FreeSWITCH runs what variables of this beginning say, in their order (`switch_channel_perform_mark_answered`)."""


def ends_unrouted() -> dict[str, str]:
    """The variables of a phone's new call: answered, it ends at once, and its record says why."""
    told = f"multiset seatline_refusal={Reason.REPLACING_NOT_ALLOWED.value} seatline_leg=caller"
    end = f"hangup {SIP_ANSWERS[Reason.REPLACING_NOT_ALLOWED].cause}"
    return dict(zip(_ON_ANSWER, (f"{told} seatline_direction=outbound", end), strict=True))


ROUTED = tuple(("unset", name) for name in _ON_ANSWER)
"""The first actions of a dialplan that lets a phone's call pass."""
