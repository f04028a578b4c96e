"""The application `bridge`: calls the targets of a dial string for a caller and ties the two legs together.

Source: `switch_ivr_originate.c`, `switch_ivr_bridge.c`, `mod_dptools.c` (`audio_bridge_function`),
`switch_channel.c` (`switch_channel_handle_cause`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable

from switch.simulator import causes
from switch.simulator.channel import Channel
from switch.simulator.core import SwitchCore
from switch.simulator.dial_string import DialString, DialStringRefused, Target, parse_dial_string
from switch.simulator.leg import Leg
from switch.simulator.originate import Originator, Placed, Result
from switch.simulator.outbound_leg import OutboundLeg
from switch.simulator.settings import is_true

DEFAULT_ORIGINATE_SECONDS = 60.0
MAX_ORIGINATE_SECONDS = 3_600.0

_NOBODY_ANSWERED = frozenset({"NO_ANSWER", "NO_USER_RESPONSE", "ORIGINATOR_CANCEL"})
_FAILURE_VARIABLES = ("sip_invite_failure_status", "sip_invite_failure_phrase")
_DIAL_STATUS = {
    "ORIGINATOR_CANCEL": "CANCEL",
    "USER_BUSY": "BUSY",
    "NO_ANSWER": "NOANSWER",
    "INVALID_NUMBER_FORMAT": "INVALIDARGS",
    "CALL_REJECTED": "DONTCALL",
}


async def bridge(core: SwitchCore, originator: Originator, caller: Leg, data: str) -> None:
    """Run the application; returns when the caller may go on with its dialplan or has ended."""
    channel = caller.channel
    try:
        dial = parse_dial_string(data)
    except DialStringRefused:
        _handle_failure(core, channel, "INVALID_URL")
        return
    outcome = await _originate(originator, caller, dial)
    disposition = outcome if isinstance(outcome, str) else "SUCCESS"
    channel.set("originate_disposition", disposition)
    channel.set("DIALSTATUS", _DIAL_STATUS.get(disposition, disposition))
    if isinstance(outcome, str):
        channel.set("originate_failed_cause", outcome)
        if channel.rerouted_to is None:
            _handle_failure(core, channel, outcome)
        return
    called = outcome
    if not caller.answer():
        core.hang_up(called.channel, "ORIGINATOR_CANCEL")
        return
    channel.profile.callee_id_name = called.channel.profile.callee_id_name
    channel.profile.callee_id_number = called.channel.profile.callee_id_number
    core.bridged(channel, called.channel)
    await _first([channel.ended.wait(), called.channel.ended.wait()])
    _unbridge(core, channel, called.channel)


async def join(core: SwitchCore, caller: Channel, called: Channel) -> None:
    """Tie two answered legs together past the dialplan until either ends (`switch_ivr_uuid_bridge`)."""
    core.bridged(caller, called)
    await _first([caller.ended.wait(), called.ended.wait()])
    if caller.peer is called:
        for channel in (caller, called):
            core.hang_up(channel, causes.NORMAL_CLEARING)


def _unbridge(core: SwitchCore, caller: Channel, called: Channel) -> None:
    if caller.peer is not called:
        # The one that is up was sent on to somebody else.
        return
    if called.is_up:
        core.hang_up(called, causes.NORMAL_CLEARING)
    elif caller.is_up and is_true(caller.variables.get("hangup_after_bridge")):
        core.hang_up(caller, called.hangup_cause)


def _note_failure(channel: Channel, legs: list[OutboundLeg]) -> None:
    """What the caller's record keeps of the leg that failed last."""
    failed = legs[-1].channel
    channel.set("last_bridge_hangup_cause", failed.hangup_cause)
    if failed.variables.get("sip_hangup_disposition") != "recv_refuse":
        return
    channel.set("last_bridge_proto_specific_hangup_cause", failed.variables.get("proto_specific_hangup_cause"))
    for name in _FAILURE_VARIABLES:
        channel.set(name, failed.variables.get(name))


async def _originate(originator: Originator, caller: Leg, dial: DialString) -> OutboundLeg | str:
    """The leg that answered, or the cause why none did."""
    channel = caller.channel
    timeout_seconds = _limit(channel, dial.variables)
    deadline = asyncio.get_running_loop().time() + timeout_seconds
    cause = "DESTINATION_OUT_OF_ORDER"
    for attempt in dial.attempts:
        outcome = await _attempt(originator, caller, attempt, dial.variables, deadline)
        if isinstance(outcome, OutboundLeg):
            return outcome
        cause = outcome
        if not channel.is_up:
            return "ORIGINATOR_CANCEL"
        if asyncio.get_running_loop().time() >= deadline:
            break
    return cause


async def _attempt(
    originator: Originator,
    caller: Leg,
    targets: tuple[Target, ...],
    variables: dict[str, str],
    deadline: float,
) -> OutboundLeg | str:
    channel = caller.channel
    found: list[Result] = []
    for target in targets:
        found.extend(await originator.place(target, variables, channel))
    placed = [item for item in found if isinstance(item, Placed)]
    failed = [item for item in found if isinstance(item, str)]
    if placed:
        legs = [item.leg for item in placed]
        _note_legs(channel, legs)
        ringing = asyncio.ensure_future(_pass_progress(caller, legs))
        try:
            winner, cause = await _first_answer(channel, placed, deadline)
        finally:
            ringing.cancel()
        _note_causes(channel, legs, winner.leg if winner is not None else None)
        if winner is not None:
            if winner.user is not None:
                for name, value in winner.user.variables.items():
                    winner.leg.channel.set(name, value)
            return winner.leg
        if channel.is_up:
            _note_failure(channel, legs)
        return cause
    return failed[-1] if failed else "DESTINATION_OUT_OF_ORDER"


async def _first_answer(channel: Channel, placed: list[Placed], deadline: float) -> tuple[Placed | None, str]:
    """The leg that answered first; every other one is ended. Without one: the cause that stands for all."""
    core = placed[0].leg.core
    waiting = list(placed)
    cause = "NO_ANSWER"
    winner: Placed | None = None
    loop = asyncio.get_running_loop()
    while waiting and winner is None and channel.is_up:
        left_seconds = min([deadline - loop.time(), *_leg_limits(waiting)])
        if left_seconds <= 0:
            cause = "NO_ANSWER"
            break
        silent_seconds = min(_progress_limits(waiting), default=left_seconds)
        if silent_seconds <= 0:
            cause = "PROGRESS_TIMEOUT"
            break
        left_seconds = min(left_seconds, silent_seconds)
        await _first([channel.ended.wait(), *(item.leg.outcome for item in waiting)], left_seconds)
        for item in tuple(waiting):
            if item.leg.outcome.done():
                waiting.remove(item)
                if item.leg.outcome.result() == "answered" and winner is None:
                    winner = item
                elif item.leg.outcome.result() != "answered":
                    cause = item.leg.outcome.result()
    given_up = cause if cause == "PROGRESS_TIMEOUT" else "NO_ANSWER"
    losing = "LOSE_RACE" if winner is not None else given_up if channel.is_up else "ORIGINATOR_CANCEL"
    for item in placed:
        if item is not winner:
            if losing == "ORIGINATOR_CANCEL":
                item.leg.channel.set("last_bridge_hangup_cause", losing)
            core.hang_up(item.leg.channel, losing)
    return winner, cause if channel.is_up else "ORIGINATOR_CANCEL"


def _leg_limits(placed: list[Placed]) -> list[float]:
    """Seconds left of each leg's own `leg_timeout`."""
    return _seconds_left(placed, "leg_timeout")


def _progress_limits(placed: list[Placed]) -> list[float]:
    """Seconds left of `leg_progress_timeout` of each leg that has not rung yet."""
    return _seconds_left([item for item in placed if not item.leg.progressed.is_set()], "leg_progress_timeout")


def _seconds_left(placed: list[Placed], variable: str) -> list[float]:
    limits: list[float] = []
    for item in placed:
        text = item.leg.channel.variables.get(variable, "")
        if text.isdigit() and int(text) > 0:
            elapsed = asyncio.get_running_loop().time() - item.leg.started_at_seconds
            limits.append(int(text) - elapsed)
    return limits


async def _pass_progress(caller: Leg, legs: list[OutboundLeg]) -> None:
    """Tell the caller once that somebody rings, with media when a leg has sent some."""
    await _first([leg.progressed.wait() for leg in legs])
    if any(leg.media_opened.is_set() for leg in legs):
        caller.open_media()
        return
    caller.ring()
    await _first([leg.media_opened.wait() for leg in legs])
    caller.open_media()


async def _first(waits: Iterable[Awaitable[object]], timeout_seconds: float | None = None) -> None:
    """Return when one of these is done or the time is over; waits of our own making are given up."""
    own: list[asyncio.Future[object]] = []
    futures: list[asyncio.Future[object]] = []
    for item in waits:
        if isinstance(item, asyncio.Future):
            futures.append(item)
        else:
            future = asyncio.ensure_future(item)
            own.append(future)
            futures.append(future)
    try:
        await asyncio.wait(futures, timeout=timeout_seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for future in own:
            future.cancel()


def _limit(channel: Channel, variables: dict[str, str]) -> float:
    """How long this bridge may ring: `originate_timeout`, `call_timeout`, else 60 seconds."""
    for text in (
        variables.get("originate_timeout"),
        variables.get("call_timeout"),
        channel.variables.get("call_timeout"),
        channel.variables.get("originate_timeout"),
    ):
        if text and text.isdigit() and int(text) > 0:
            return min(float(text), MAX_ORIGINATE_SECONDS)
    return DEFAULT_ORIGINATE_SECONDS


def _note_legs(channel: Channel, legs: list[OutboundLeg]) -> None:
    entries = [
        f"{leg.channel.uuid};{leg.channel.profile.callee_id_name};{leg.channel.profile.callee_id_number}"
        for leg in legs
    ]
    channel.set("originated_legs", entries[0] if len(entries) == 1 else "ARRAY::" + "|:".join(entries))


def _note_causes(channel: Channel, legs: list[OutboundLeg], winner: OutboundLeg | None) -> None:
    entries = [f"{leg.channel.uuid};{'NONE' if leg is winner else leg.channel.hangup_cause}" for leg in legs]
    channel.set("originate_causes", entries[0] if len(entries) == 1 else "ARRAY::" + "|:".join(entries))


def _handle_failure(core: SwitchCore, channel: Channel, cause: str) -> None:
    """End the caller with the cause, unless the dialplan is to go on (`switch_channel_handle_cause`).

    `continue_on_fail` (true, or a list of causes) lets it go on, and `failure_causes` ends only for those
    named. With neither set, nobody answering is always a reason to go on.
    """
    continuing, failing = channel.variables.get("continue_on_fail"), channel.variables.get("failure_causes")
    if failing is not None and not _names(failing, cause):
        return
    if continuing is not None and (is_true(continuing) or _names(continuing, cause)):
        return
    if continuing is None and failing is None and cause in _NOBODY_ANSWERED:
        return
    core.hang_up(channel, cause)


def _names(text: str, cause: str) -> bool:
    listed = {word.strip().upper() for word in text.split(",")}
    return cause in listed or str(causes.NUMBERS.get(cause, "")) in listed
