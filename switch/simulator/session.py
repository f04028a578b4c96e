"""Runs a leg through its dialplan: asks for the actions and carries them out one after another.

Source: `switch_core_state_machine.c` (routing, execute), `mod_dialplan_xml.c`, `mod_dptools.c` and the
recorded dialplan request of a running 1.11. Media applications wait as long as the real ones and send
nothing.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable

from switch.simulator import causes
from switch.simulator.bridge import bridge
from switch.simulator.channel import Channel
from switch.simulator.core import SwitchCore, cause_of
from switch.simulator.dialplan import Action, Extension, expand, find_context, hunt
from switch.simulator.directory import Directory
from switch.simulator.leg import Leg
from switch.simulator.originate import Originator
from switch.simulator.replacing import intercept

MAX_TRANSFERS = 16
LIMIT_WORDS = 4
"""Backend, realm, resource, most[/seconds]: without a most it would only count."""

MAX_SLEEP_SECONDS = 3_600.0

_SILENCE = re.compile(r"^silence_stream://(?P<milliseconds>-?\d+)")

Application = Callable[[str], Awaitable[None]]


class CallSession:
    """One call on its way through the dialplan: a leg that called us, or one that is sent on."""

    def __init__(
        self,
        core: SwitchCore,
        directory: Directory,
        originator: Originator,
        leg: Leg,
        *,
        inline: tuple[Action, ...] | None = None,
    ) -> None:
        """`inline`: what the leg runs instead of a dialplan."""
        self._core = core
        self._directory = directory
        self._originator = originator
        self._leg = leg
        self._channel: Channel = leg.channel
        self._inline = inline
        self._applications: dict[str, Application] = {
            "answer": self._answer,
            "bridge": self._bridge,
            "echo": self._wait_for_end,
            "export": self._export,
            "hangup": self._hangup,
            "info": self._nothing,
            "intercept": self._intercept,
            "limit": self._limit,
            "limit_execute": self._limit_execute,
            "log": self._nothing,
            "multiset": self._multiset,
            "park": self._wait_for_end,
            "playback": self._playback,
            "pre_answer": self._pre_answer,
            "respond": self._respond,
            "ring_ready": self._ring_ready,
            "set": self._set,
            "sleep": self._sleep,
            "sofia_sla": self._listen_in,
            "transfer": self._transfer,
            "unset": self._unset,
        }

    async def run(self) -> None:
        """Route the call and run what the dialplan says, until it has ended."""
        channel = self._channel
        for _ in range(MAX_TRANSFERS):
            if channel.rerouted_to is not None:
                channel.profile.rdnis = channel.profile.destination_number
                channel.profile.destination_number, channel.profile.context = channel.rerouted_to
                channel.rerouted_to = None
            await self._route()
            if channel.rerouted_to is None or not channel.is_up:
                break
        if channel.is_up:
            self._core.hang_up(self._channel, causes.NORMAL_CLEARING)

    async def _route(self) -> None:
        channel = self._channel
        channel.state = "CS_ROUTING"
        self._core.counts.release(channel.uuid)
        if self._inline is not None:
            inline, self._inline = self._inline, None
            await self._execute((Extension("inline", inline),))
            return
        pairs = self._directory.request_head("REQUEST_PARAMS", "mod_dialplan_xml.c", "dialplan_xml_locate", 619)
        pairs.extend(channel.headers())
        pairs.extend(channel.variable_headers())
        pairs.extend(channel.caller_headers("Hunt"))
        section = await self._core.lookup.locate("dialplan", form=pairs)
        if not channel.is_up:
            return
        context = find_context(section, channel.profile.context)
        extensions = hunt(context, channel.lookup) if context is not None else ()
        if not extensions:
            self._core.hang_up(channel, "NO_ROUTE_DESTINATION")
            return
        await self._execute(extensions)

    async def _execute(self, extensions: tuple[Extension, ...]) -> None:
        channel = self._channel
        channel.state = "CS_EXECUTE"
        actions = [action for extension in extensions for action in extension.actions]
        channel.extension = (
            extensions[-1].name,
            tuple((action.application, action.data) for action in actions),
        )
        for action in actions:
            await self._apply(action)
            if not channel.is_up or channel.rerouted_to is not None:
                return

    async def _apply(self, action: Action) -> None:
        application = self._applications.get(action.application)
        if application is None:
            self._core.hang_up(self._channel, "DESTINATION_OUT_OF_ORDER")
            return
        data = expand(action.data, self._look_up)
        self._channel.run(action.application, data)
        await application(data)

    def _look_up(self, name: str) -> str | None:
        if (contact := self._originator.contact(name)) is not None:
            return contact
        value = self._channel.lookup(name)
        return value if value is not None else self._core.global_variables.get(name)

    async def _nothing(self, data: str) -> None:
        """Applications that only write to the log."""

    async def _set(self, data: str) -> None:
        name, _, value = data.partition("=")
        self._channel.set(name.strip(), "" if value.strip() == "_undef_" else value.strip())

    async def _multiset(self, data: str) -> None:
        separator, text = (data[2], data[3:]) if data.startswith("^^") and len(data) > 2 else (" ", data)
        for part in text.split(separator):
            if "=" in part:
                await self._set(part)

    async def _unset(self, data: str) -> None:
        self._channel.set(data.strip(), None)

    async def _export(self, data: str) -> None:
        name, _, value = data.partition("=")
        name, value = name.strip(), value.strip()
        if name.startswith("nolocal:"):
            name = name.removeprefix("nolocal:")
        else:
            self._channel.set(name, value)
        self._channel.exports[name] = value

    async def _answer(self, data: str) -> None:
        self._leg.answer()

    async def _pre_answer(self, data: str) -> None:
        self._leg.open_media()

    async def _ring_ready(self, data: str) -> None:
        self._leg.ring()

    async def _hangup(self, data: str) -> None:
        self._core.hang_up(self._channel, cause_of(data))

    async def _intercept(self, data: str) -> None:
        await intercept(self._core, self._channel, data)

    async def _listen_in(self, data: str) -> None:
        self._leg.answer()
        await self._channel.ended.wait()

    async def _limit(self, data: str) -> None:
        words = data.split()
        # Without the module that counts, everything is too much.
        is_counted = words[:1] == ["hash"] and "mod_hash" in self._core.modules
        if len(words) >= LIMIT_WORDS and is_counted and self._core.counts.take(self._channel.uuid, *words[1:4]):
            return
        beyond = words[4:] or ["limit_exceeded"]
        if beyond[0].startswith("!"):
            self._core.hang_up(self._channel, cause_of(beyond[0].removeprefix("!")))
        else:
            await self._transfer(" ".join(beyond))

    async def _limit_execute(self, data: str) -> None:
        """Run an application if there is room for it; what it took is given back unless the channel ended with it."""
        words = data.split(None, 5)
        is_counted = words[:1] == ["hash"] and "mod_hash" in self._core.modules
        if len(words) <= LIMIT_WORDS or not is_counted:
            return
        if not self._core.counts.take(self._channel.uuid, *words[1:4]):
            return
        await self._apply(Action(words[4], words[5] if len(words) > 5 else ""))
        if self._channel.is_up and self._channel.rerouted_to is None:
            self._core.counts.release(self._channel.uuid, words[1], words[2])

    async def _respond(self, data: str) -> None:
        status, _, reason = data.strip().partition(" ")
        number = int(status) if status.isdigit() else 0
        if self._channel.is_answered or not 100 < number < 700:
            return
        if number < 200:
            self._leg.ring()
        elif number < 300:
            self._leg.answer()
        else:
            self._leg.refuse(number, reason.strip())

    async def _bridge(self, data: str) -> None:
        await bridge(self._core, self._originator, self._leg, data)

    async def _playback(self, data: str) -> None:
        self._leg.open_media()
        silence = _SILENCE.match(data)
        if silence is not None:
            milliseconds = int(silence["milliseconds"])
            if milliseconds < 0:
                await self._wait_for_end(data)
            else:
                await self._pause(milliseconds / 1000)

    async def _sleep(self, data: str) -> None:
        if data.strip().isdigit():
            await self._pause(int(data) / 1000)

    async def _pause(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._channel.ended.wait(), min(seconds, MAX_SLEEP_SECONDS))
        except TimeoutError:
            # The pause is over and the call goes on.
            return

    async def _wait_for_end(self, data: str) -> None:
        if self._channel.applications[-1].name == "echo":
            self._leg.answer()
        await self._channel.ended.wait()

    async def _transfer(self, data: str) -> None:
        words = data.split()
        if words:
            forced = self._channel.variables.get("force_transfer_context")
            context = words[2] if len(words) > 2 else forced or self._channel.profile.context
            self._channel.rerouted_to = (words[0], context)
