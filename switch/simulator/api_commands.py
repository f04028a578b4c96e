"""The API commands of a node (`api ...` on the event socket), with the texts FreeSWITCH gives.

Source: `mod_commands.c`, replies recorded from a running 1.11. `run` takes a command line and returns the
reply; empty text stands for "no reply".
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from switch.simulator import causes
from switch.simulator.api_sofia import sofia_contact, sofia_profile, sofia_status, sofia_xml_status
from switch.simulator.core import SwitchCore
from switch.simulator.directory import Directory
from switch.simulator.events import local_stamp, now_microseconds
from switch.simulator.listing import listed_calls, listed_channels, listed_registrations

VERSION = "1.11.2-release+git~20260809T162310Z~3f13ad1b1d~64bit"
VERSION_HUMAN = "git 3f13ad1 2026-08-09 16:23:10Z 64bit"

_UPTIME_SCALES = {
    1: ("microseconds", "us"),
    1_000: ("milliseconds", "ms"),
    1_000_000: ("", "seconds", "s"),
    60_000_000: ("minutes", "m"),
    3_600_000_000: ("hours", "h"),
    86_400_000_000: ("days", "d"),
}
_FSCTL_USAGE = "[recover|send_sighup|hupall|pause [inbound|outbound]|resume [inbound|outbound]|shutdown ...|sps]"
_LISTS = ("channels", "calls", "registrations")

Command = Callable[[str], Awaitable[str]]


@dataclass(eq=False)
class ApiCommands:
    """The commands of one node.

    `rescan` asks for a profile's gateways again, `reload_networks` for the network lists. `reload` reads the
    configuration again; `shut_down` ends the node: `elegant` and `asap` wait for the last call first, `cancel` takes
    that back, anything else ends it at once.
    """

    core: SwitchCore
    directory: Directory
    rescan: Callable[[str], Awaitable[bool]]
    reload_networks: Callable[[], Awaitable[None]]
    reload: Callable[[], str]
    shut_down: Callable[[str], None]

    async def run(self, line: str) -> str:
        """Carry out one command line."""
        name, _, argument = line.strip().partition(" ")
        command = self._commands().get(name.lower())
        if command is None:
            return f"-ERR {name} Command not found!\n"
        return await command(argument.strip())

    def _commands(self) -> dict[str, Command]:
        return {
            "create_uuid": self._create_uuid,
            "echo": self._echo,
            "fsctl": self._fsctl,
            "global_getvar": self._global_getvar,
            "global_setvar": self._global_setvar,
            "hostname": self._hostname,
            "hupall": self._hupall,
            "limit_usage": self._limit_usage,
            "module_exists": self._module_exists,
            "reloadacl": self._reload_acl,
            "reloadxml": self._reload_xml,
            "show": self._show,
            "sofia": self._sofia,
            "sofia_contact": self._sofia_contact,
            "status": self._status,
            "acl": self._acl,
            "strftime_tz": self._local_time,
            "strmicroepoch": self._microseconds,
            "switchname": self._switch_name,
            "uptime": self._uptime,
            "user_data": self._user_data,
            "user_exists": self._user_exists,
            "uuid_dump": self._uuid_dump,
            "uuid_exists": self._uuid_exists,
            "uuid_getvar": self._uuid_getvar,
            "uuid_kill": self._uuid_kill,
            "uuid_setvar": self._uuid_setvar,
            "version": self._version,
            "xml_flush_cache": self._xml_flush_cache,
            "xml_locate": self._xml_locate,
        }

    async def _create_uuid(self, argument: str) -> str:
        return self.core.new_uuid()

    async def _echo(self, argument: str) -> str:
        return argument

    async def _hostname(self, argument: str) -> str:
        return self.core.identity.hostname

    async def _switch_name(self, argument: str) -> str:
        return self.core.identity.switch_name

    async def _local_time(self, argument: str) -> str:
        return local_stamp(now_microseconds())

    async def _status(self, argument: str) -> str:
        counters, limits = self.core.counters, self.core.limits
        return (
            f"UP {self.uptime_text()}\n"
            f"FreeSWITCH (Version 1.11.2-release {VERSION_HUMAN}) is {self._readiness}\n"
            f"{counters.since_startup} session(s) since startup\n"
            f"{len(self.core.channels)} session(s) - peak {counters.peak}, last 5min {counters.peak} \n"
            f"{self.core.sessions_this_second} session(s) per Sec out of max {limits.sessions_per_second}, "
            f"peak {counters.peak_per_second}, last 5min {counters.peak_per_second} \n"
            f"{limits.max_sessions} session(s) max\n"
            "min idle cpu 0.00/100.00\n"
            "Current Stack Size/Max 240K/8192K\n"
        )

    @property
    def _readiness(self) -> str:
        """A node that is paused in either direction calls itself not ready (`switch_core_ready`)."""
        return "not ready" if self.core.paused_inbound or self.core.paused_outbound else "ready"

    def uptime_text(self) -> str:
        """`0 years, 0 days, 0 hours, 0 minutes, 3 seconds, ...` as `status` and HEARTBEAT write it."""
        left = self.core.uptime_microseconds
        parts: list[str] = []
        for word, microseconds in (
            ("year", 31_536_000_000_000),
            ("day", 86_400_000_000),
            ("hour", 3_600_000_000),
            ("minute", 60_000_000),
            ("second", 1_000_000),
            ("millisecond", 1_000),
            ("microsecond", 1),
        ):
            amount, left = divmod(left, microseconds)
            parts.append(f"{amount} {word}{'' if amount == 1 else 's'}")
        return ", ".join(parts)

    async def _version(self, argument: str) -> str:
        if "short" in argument:
            return "1.11.2-release\n"
        return f"FreeSWITCH Version {VERSION} ({VERSION_HUMAN})\n"

    async def _uptime(self, argument: str) -> str:
        for scale, names in _UPTIME_SCALES.items():
            if argument.lower() in names:
                return f"{self.core.uptime_microseconds // scale}\n"
        return "-USAGE: [us|ms|s|m|h|d|microseconds|milliseconds|seconds|minutes|hours|days]\n"

    async def _show(self, argument: str) -> str:
        words = argument.split()
        what = words[0].lower() if words else ""
        if what not in _LISTS:
            return f"-USAGE: {'|'.join(_LISTS)} [count|as json]\n"
        rows = {
            "channels": listed_channels,
            "calls": listed_calls,
            "registrations": listed_registrations,
        }[what](self.core)
        if words[1:2] == ["count"]:
            if words[2:4] == ["as", "json"]:
                return json.dumps({"row_count": len(rows)}, separators=(",", ":")) + "\n"
            return f"\n{len(rows)} total.\n"
        if words[1:3] == ["as", "json"]:
            if not rows:
                return '{"row_count": 0}\n'
            return json.dumps({"row_count": len(rows), "rows": rows}, separators=(",", ":"))
        lines = [",".join(rows[0])] if rows else []
        lines.extend(",".join(row.values()) for row in rows)
        return "\n".join([*lines, f"\n{len(rows)} total.\n"])

    async def _hupall(self, argument: str) -> str:
        words = argument.split()
        cause = causes.named(words[0]) if words else "MANAGER_REQUEST"
        if cause == "NONE":
            cause = "MANAGER_REQUEST"
        pairs = dict(zip(words[1::2], words[2::2], strict=False))
        self.core.hang_up_all(cause, pairs)
        if not pairs:
            return f"+OK hangup all channels with cause {cause}\n"
        more = "" if len(pairs) == 1 else "..."
        return f"+OK hangup all channels matching [{words[1]}]=[{words[2]}]{more} with cause: {cause}\n"

    async def _uuid_kill(self, argument: str) -> str:
        uuid, _, cause = argument.partition(" ")
        if not uuid:
            return "-USAGE: <uuid> [cause]\n"
        channel = self.core.channels.get(uuid)
        if channel is None or not channel.is_up:
            return "-ERR No such channel!\n"
        self.core.hang_up(channel, causes.named(cause) if cause else causes.NORMAL_CLEARING)
        return "+OK\n"

    async def _uuid_exists(self, argument: str) -> str:
        return "true" if argument in self.core.channels else "false"

    async def _uuid_getvar(self, argument: str) -> str:
        uuid, _, name = argument.partition(" ")
        channel = self.core.channels.get(uuid)
        if channel is None:
            return "-ERR No such channel!\n"
        return channel.variables.get(name.strip(), "_undef_")

    async def _uuid_setvar(self, argument: str) -> str:
        words = argument.split(None, 2)
        if len(words) < 2:
            return "-USAGE: <uuid> <var> [value]\n"
        channel = self.core.channels.get(words[0])
        if channel is None:
            return "-ERR No such channel!\n"
        channel.set(words[1], words[2] if len(words) > 2 else None)
        return "+OK\n"

    async def _uuid_dump(self, argument: str) -> str:
        uuid, _, format_name = argument.partition(" ")
        channel = self.core.channels.get(uuid)
        if channel is None:
            return "-ERR No such channel!\n"
        pairs = [("Event-Name", "CHANNEL_DATA"), *channel.headers(), *channel.variable_headers()]
        if format_name.strip().lower() == "json":
            return json.dumps(dict(pairs), ensure_ascii=False, separators=(",", ":"))
        return "".join(f"{name}: {value}\n" for name, value in pairs)

    async def _user_exists(self, argument: str) -> str:
        words = argument.split()
        if len(words) != 3:
            return "false"
        user = await self.directory.find(words[1], words[2], [])  # switch_xml_locate_user is given no parameters
        return "true" if user is not None else "false"

    async def _user_data(self, argument: str) -> str:
        words = argument.split()
        if len(words) < 3:
            return ""
        name, _, domain = words[0].partition("@")
        domain = domain or self.core.global_variables.get("domain", "")
        user = await self.directory.find(name, domain, [("type", words[1])])
        if user is None:
            return ""
        kind = {"attr": user.attributes, "var": user.variables}.get(words[1], user.params)
        return next((value for key, value in kind.items() if key.lower() == words[2].lower()), "")

    async def _xml_flush_cache(self, argument: str) -> str:
        # Users are never cached here (no `cacheable`), so there is never anything to clear.
        return "+OK cleared 0 entries\n"

    async def _xml_locate(self, argument: str) -> str:
        words = argument.split()
        if len(words) != 4:
            return "-ERR bad args\n"
        return await self.directory.locate_text(*words) or "can't find anything\n"

    async def _acl(self, argument: str) -> str:
        address, _, name = argument.partition(" ")
        return "true" if self.core.networks.allows((name,), address) else "false"

    async def _microseconds(self, argument: str) -> str:
        return str(now_microseconds())

    async def _reload_acl(self, argument: str) -> str:
        await self.reload_networks()
        return "+OK acl reloaded\n"

    async def _reload_xml(self, argument: str) -> str:
        return self.reload()

    async def _global_getvar(self, argument: str) -> str:
        variables = self.core.global_variables
        if not argument:
            return "".join(f"{name}={value}\n" for name, value in variables.items())
        return variables.get(argument, "")

    async def _global_setvar(self, argument: str) -> str:
        name, separator, value = argument.partition("=")
        if not name or not separator:
            return "-USAGE: global_setvar <var>=<value> [=<value2>]\n"
        self.core.global_variables[name] = value
        return "+OK"

    async def _module_exists(self, argument: str) -> str:
        return "true" if argument in self.core.modules else "false"

    async def _limit_usage(self, argument: str) -> str:
        words = argument.split()
        if len(words) < 3:
            return "USAGE: limit_usage <backend> <realm> <id> [rate]\n"
        return str(self.core.counts.usage(words[1], words[2]))

    async def _sofia_contact(self, argument: str) -> str:
        return sofia_contact(self.core, argument)

    async def _sofia(self, argument: str) -> str:
        words = argument.split()
        if words[:1] == ["status"]:
            return sofia_status(self.core, words[1:])
        if words[:1] == ["xmlstatus"]:
            return sofia_xml_status(self.core, words[1:])
        if words[:1] == ["profile"] and words[2:] == ["rescan"] and words[1] in self.core.profiles:
            is_found = await self.rescan(words[1])
            scanned = "+OK scan complete" if is_found else f"-ERR cannot find config for profile {words[1]}"
            return f"Reload XML [Success]\n{scanned}\n"
        if words[:1] == ["profile"] and len(words) > 1:
            return sofia_profile(self.core, words[1], words[2:])
        return "-USAGE: sofia <status|profile> ...\n"

    async def _fsctl(self, argument: str) -> str:
        words = argument.lower().split()
        if not words:
            return f"-USAGE: {_FSCTL_USAGE}\n"
        verb, which = words[0], words[1] if len(words) > 1 else ""
        if verb in {"pause", "resume"}:
            self._pause(which, paused=verb == "pause")
            return "+OK\n"
        if verb == "hupall":
            self.core.hang_up_all("MANAGER_REQUEST")
            return "+OK\n"
        if verb == "shutdown":
            self.shut_down(which)
            return "+OK\n"
        return self._fsctl_question(verb, which) or f"-ERR Invalid command\nUSAGE: fsctl {_FSCTL_USAGE}\n"

    def _fsctl_question(self, verb: str, which: str) -> str:
        """The answer to a question about the node; empty for an unknown one."""
        answers = {
            "pause_check": "true" if self._is_paused(which) else "false",
            "max_sessions": f"+OK max sessions: {self.core.limits.max_sessions}\n",
            "sps": f"+OK sessions per second: {self.core.limits.sessions_per_second}\n",
            "sync_clock": "+OK clock synchronized\n",
            "ready_check": "true",
            "shutdown_check": "false",
        }
        return answers.get(verb, "")

    def _pause(self, which: str, *, paused: bool) -> None:
        if which != "outbound":
            self.core.paused_inbound = paused
        if which != "inbound":
            self.core.paused_outbound = paused

    def _is_paused(self, which: str) -> bool:
        if which == "inbound":
            return self.core.paused_inbound
        if which == "outbound":
            return self.core.paused_outbound
        return self.core.paused_inbound and self.core.paused_outbound
