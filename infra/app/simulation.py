"""`seatline simulate`: one simulated FreeSWITCH node as a process of its own."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

from infra.kit import clock, logs
from infra.kit.problems import InvalidInput
from switch.simulator.node import SimulatedNode
from switch.simulator.xml_document import ConfigurationUnreadable

CLOCK_VARIABLE = "SEATLINE_CLOCK_FILE"


async def run(directory: Path) -> int:
    """Run until SIGTERM or SIGINT, then end its calls, deliver their records and stop.

    Like a real node it needs no settings of ours beyond its directory; only the demo's shared clock is taken from the
    environment, so that its call records bear the story's dates.
    """
    logs.configure(os.environ.get("SEATLINE_LOG_LEVEL", "info"))
    if shared := os.environ.get(CLOCK_VARIABLE):
        clock.share(Path(shared))
    try:
        node = SimulatedNode.from_configuration(directory)
    except ConfigurationUnreadable as error:
        raise InvalidInput(f"{error}; write it with `seatline node-config`.", field="directory") from error
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await node.start()
    await stop.wait()
    await node.stop()
    return 0
