"""One leg of a call: who calls whom, its variables, and the moments of its life in microseconds.

Variable names, their order and the `Caller-...` headers are those a FreeSWITCH 1.11 writes into its
events, its dialplan requests and its call records.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from switch.simulator import causes, events

MAX_VARIABLES = 1_000
MAX_VARIABLE_CHARACTERS = 65_536

_STATE_NUMBERS = {
    "CS_NEW": 0,
    "CS_INIT": 1,
    "CS_ROUTING": 2,
    "CS_EXECUTE": 4,
    "CS_EXCHANGE_MEDIA": 5,
    "CS_CONSUME_MEDIA": 7,
    "CS_HANGUP": 10,
    "CS_REPORTING": 11,
    "CS_DESTROY": 12,
}


CODEC_VARIABLES = {
    "read_codec": "PCMU",
    "original_read_codec": "PCMU",
    "read_rate": "8000",
    "original_read_rate": "8000",
    "write_codec": "PCMU",
    "write_rate": "8000",
}
"""What an answered leg tells about its codec; there is no media to choose another for."""

_CODEC_HEADERS = tuple(
    (f"Channel-{way}-Codec-{what}", value)
    for way in ("Read", "Write")
    for what, value in (("Name", "PCMU"), ("Rate", "8000"), ("Bit-Rate", "64000"))
)


@dataclass
class CallerProfile:
    """Who is on this leg, as mod_sofia fills a caller profile."""

    username: str = ""
    caller_id_name: str = ""
    caller_id_number: str = ""
    network_address: str = ""
    destination_number: str = ""
    context: str = "default"
    channel_name: str = ""
    callee_id_name: str = ""
    callee_id_number: str = ""
    rdnis: str = ""
    """What was dialled before the call was sent on."""
    ani: str = ""
    """The number that the caller itself has, whatever is shown; empty: the same."""

    @property
    def shown_ani(self) -> str:
        """The caller's own number."""
        return self.ani or self.caller_id_number


@dataclass
class Times:
    """Microseconds since 1970; 0 means that it did not happen."""

    created: int = 0
    progress: int = 0
    progress_media: int = 0
    answered: int = 0
    bridged: int = 0
    hangup: int = 0
    last_hold: int = 0
    hold_accumulated: int = 0
    """How long holds that have ended lasted, together; a duration in microseconds."""


@dataclass(frozen=True)
class AppliedApplication:
    """An application the leg ran: for the call record's `app_log`."""

    name: str
    data: str
    stamp: int


@dataclass(eq=False)
class Channel:
    """One leg. `direction` is seen from the switch: `inbound` called us, `outbound` was called by us."""

    uuid: str
    direction: str
    session_number: int
    profile: CallerProfile
    times: Times = field(default_factory=Times)
    variables: dict[str, str] = field(default_factory=dict[str, str])
    state: str = "CS_INIT"
    call_state: str = "DOWN"
    call_uuid: str = ""
    hangup_cause: str = ""
    applications: list[AppliedApplication] = field(default_factory=list[AppliedApplication])
    extension: tuple[str, tuple[tuple[str, str], ...]] | None = None
    is_held: bool = False
    """Whether the leg's far end has put us on hold."""
    originator: Channel | None = None
    originatees: list[Channel] = field(default_factory=list["Channel"])
    peer: Channel | None = None
    """Whom it is bridged with, or was last."""
    is_leader: bool = False
    """Whether it is the first of the two legs of its bridge."""
    initial: CallerProfile = field(init=False)
    """Who was on it, and where it went, when it began."""
    joined_with: str = ""
    """The leg that it was joined with past the dialplan, until it runs something again."""
    initial_dialplan: str = "XML"
    """`inline` where mod_sofia said itself what the leg is to run."""
    has_dialplan: bool = False
    """Whether it goes through the dialplan; a leg that we called does so only when it is sent on."""
    exports: dict[str, str] = field(default_factory=dict[str, str])
    rerouted_to: tuple[str, str] | None = None
    """Extension and context that the leg goes to next, as soon as what it runs now has ended."""
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    routing: asyncio.Task[None] | None = None
    """The task that runs the leg's dialplan; the call record waits for it, as it still sets variables."""
    answer: Callable[[], bool] | None = None
    """Answers the leg's far end; set by whoever carries the leg's signalling."""
    end: Callable[[str], None] | None = None
    """Ends the leg with a cause; set by whoever carries the leg's signalling."""

    def __post_init__(self) -> None:
        self.call_uuid = self.call_uuid or self.uuid
        self.initial = replace(self.profile)
        self.has_dialplan = self.direction == "inbound"
        self.variables = {
            "direction": self.direction,
            **({"is_outbound": "true"} if self.direction == "outbound" else {}),
            "uuid": self.uuid,
            "session_id": str(self.session_number),
            **self.variables,
        }

    @property
    def is_answered(self) -> bool:
        """Whether the leg was answered."""
        return self.times.answered > 0

    @property
    def is_up(self) -> bool:
        """Whether nobody has hung up yet."""
        return not self.hangup_cause

    def set(self, name: str, value: str | None) -> None:
        """Set a channel variable; None or an empty value takes it away, as in FreeSWITCH."""
        if not value:
            self.variables.pop(name, None)
        elif name in self.variables or len(self.variables) < MAX_VARIABLES:
            self.variables[name] = value[:MAX_VARIABLE_CHARACTERS]

    def lookup(self, name: str) -> str | None:
        """A variable or a field of the caller profile: what `${name}` and dialplan conditions see."""
        if name in self.variables:
            return self.variables[name]
        fields = {
            "destination_number": self.profile.destination_number,
            "caller_id_name": self.profile.caller_id_name,
            "caller_id_number": self.profile.caller_id_number,
            "username": self.profile.username,
            "network_addr": self.profile.network_address,
            "context": self.profile.context,
            "dialplan": "XML",
            "source": "mod_sofia",
            "ani": self.profile.shown_ani,
            "chan_name": self.profile.channel_name,
            "uuid": self.uuid,
        }
        return fields.get(name)

    def mark_ended(self, cause: str, *, at: int) -> bool:
        """Record the hang-up once; False when the leg had already ended."""
        if self.hangup_cause:
            return False
        self.hangup_cause = cause
        self.times.hangup = at
        return True

    def enter_hangup(self) -> None:
        """From telling about the hang-up to being hung up: state and variables follow."""
        self.state, self.call_state = "CS_HANGUP", "HANGUP"
        self.variables["hangup_cause"] = self.hangup_cause
        self.variables["hangup_cause_q850"] = str(causes.q850(self.hangup_cause))

    @property
    def answer_state(self) -> str:
        """`ringing`, `early` (with media before the answer), `answered` or `hangup`."""
        if self.hangup_cause:
            return "hangup"
        if self.times.progress_media and not self.is_answered:
            return "early"
        return "answered" if self.is_answered else "ringing"

    def headers(self) -> list[tuple[str, str]]:
        """The channel's part of an event, without its variables."""
        pairs = [
            ("Channel-State", self.state),
            ("Channel-Call-State", self.call_state),
            ("Channel-State-Number", str(_STATE_NUMBERS.get(self.state, 0))),
            ("Channel-Name", self.profile.channel_name),
            ("Unique-ID", self.uuid),
            ("Call-Direction", self.direction),
            ("Presence-Call-Direction", self.direction),
            ("Channel-HIT-Dialplan", "true" if self.has_dialplan else "false"),
            ("Channel-Presence-ID", self.variables.get("presence_id", "")),
            ("Channel-Call-UUID", self.call_uuid),
            ("Answer-State", self.answer_state),
            ("Hangup-Cause", self.hangup_cause),
        ]
        if self.is_answered:
            pairs.extend(_CODEC_HEADERS)
        pairs.extend(self.caller_headers("Caller"))
        other = self.peer or self.originator
        if other is not None:
            pairs.append(("Other-Type", "originator" if other is self.originator else "originatee"))
            pairs.extend(other.caller_headers("Other-Leg"))
        return [(name, value) for name, value in pairs if value]

    def variable_headers(self) -> list[tuple[str, str]]:
        """The channel's variables as `variable_...` headers."""
        return [(f"variable_{name}", value) for name, value in self.variables.items()]

    def caller_headers(self, prefix: str) -> list[tuple[str, str]]:
        """The caller profile under a prefix: `Caller`, `Other-Leg` or `Hunt`."""
        profile, times = self.profile, self.times
        callee = [
            (f"{prefix}-Callee-ID-Name", profile.callee_id_name),
            (f"{prefix}-Callee-ID-Number", profile.callee_id_number),
        ]
        return [
            (f"{prefix}-Direction", self.direction),
            (f"{prefix}-Logical-Direction", self.direction),
            (f"{prefix}-Username", profile.username),
            (f"{prefix}-Dialplan", "XML"),
            (f"{prefix}-Caller-ID-Name", profile.caller_id_name),
            (f"{prefix}-Caller-ID-Number", profile.caller_id_number),
            (f"{prefix}-Orig-Caller-ID-Name", profile.caller_id_name),
            (f"{prefix}-Orig-Caller-ID-Number", profile.caller_id_number),
            *(pair for pair in callee if pair[1]),
            (f"{prefix}-Network-Addr", profile.network_address),
            (f"{prefix}-ANI", profile.shown_ani),
            *([(f"{prefix}-RDNIS", profile.rdnis)] if profile.rdnis else []),
            (f"{prefix}-Destination-Number", profile.destination_number),
            (f"{prefix}-Unique-ID", self.uuid),
            (f"{prefix}-Source", "mod_sofia"),
            (f"{prefix}-Context", profile.context),
            (f"{prefix}-Channel-Name", profile.channel_name),
            (f"{prefix}-Profile-Index", "1"),
            (f"{prefix}-Profile-Created-Time", str(times.created)),
            (f"{prefix}-Channel-Created-Time", str(times.created)),
            (f"{prefix}-Channel-Answered-Time", str(times.answered)),
            (f"{prefix}-Channel-Progress-Time", str(times.progress)),
            (f"{prefix}-Channel-Progress-Media-Time", str(times.progress_media)),
            (f"{prefix}-Channel-Hangup-Time", str(times.hangup)),
            (f"{prefix}-Channel-Transfer-Time", "0"),
            (f"{prefix}-Channel-Resurrect-Time", "0"),
            (f"{prefix}-Channel-Bridged-Time", str(times.bridged)),
            (f"{prefix}-Channel-Last-Hold", str(times.last_hold)),
            (f"{prefix}-Channel-Hold-Accum", str(times.hold_accumulated)),
            (f"{prefix}-Screen-Bit", "true"),
            (f"{prefix}-Privacy-Hide-Name", "false"),
            (f"{prefix}-Privacy-Hide-Number", "false"),
        ]

    def run(self, application: str, data: str) -> None:
        """Note an application in the log, just before it runs."""
        self.joined_with = ""
        self.set("current_application_data", data)
        self.set("current_application", application)
        self.applications.append(AppliedApplication(application, data, events.now_microseconds()))
