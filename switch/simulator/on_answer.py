"""What a leg's variables have it run at the moment of its answer, before anything else.

Source: `switch_channel.c` (`switch_channel_execute_on`): every variable whose name begins with `execute_on_answer`, in
the order in which they were set; the value is an application, a space, and its argument.
"""

from __future__ import annotations

from collections.abc import Callable

from switch.simulator import causes
from switch.simulator.channel import Channel

BEGINNING = "execute_on_answer"

HangUp = Callable[[Channel, str], None]


def run(channel: Channel, hang_up: HangUp) -> None:
    """Run them. Here a leg can be given variables and be ended; what names another application ends it too."""
    for value in [value for name, value in channel.variables.items() if name.startswith(BEGINNING)]:
        application, _, data = value.partition(" ")
        if not channel.is_up:
            return
        channel.run(application, data)
        if application == "multiset":
            for name, _, text in (part.partition("=") for part in data.split()):
                channel.set(name, text)
        elif application == "hangup":
            hang_up(channel, causes.named(data))
        else:
            hang_up(channel, "DESTINATION_OUT_OF_ORDER")
