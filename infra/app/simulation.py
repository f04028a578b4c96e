"""`seatline simulate`, `carrier-stand-in` and `stripe-stand-in`: what stands outside, each as a process of its own."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

from billing.cards.stand_in.server import StandIn
from infra.kit import clock, logs, settings
from infra.kit.problems import InvalidInput
from switch.simulator.node import SimulatedNode
from switch.simulator.xml_document import ConfigurationUnreadable
from switch.sip.carrier import Carrier
from switch.sip.errors import SipTransportError
from switch.sip.policy import answers

LOOPBACK = "127.0.0.1"
RINGING_SECONDS = 1.0
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
    stop = _until_told()
    await node.start()
    await stop.wait()
    await node.stop()
    return 0


async def run_carrier(port: int) -> int:
    """Run until SIGTERM or SIGINT: whatever number is called at UDP `port` of loopback rings and answers."""
    logs.configure(os.environ.get("SEATLINE_LOG_LEVEL", "info"))
    carrier = Carrier(LOOPBACK, port, policy=answers(after_seconds=RINGING_SECONDS))
    stop = _until_told()
    try:
        await carrier.start()
    except SipTransportError as error:
        raise InvalidInput(f"{LOOPBACK} port {port}: {error}", field="port") from error
    await stop.wait()
    await carrier.close()
    return 0


async def run_stripe(port: int) -> int:
    """Run until SIGTERM or SIGINT. Key and webhook secret are those of the installation that is to use it, which
    needs `SEATLINE_STRIPE_API_URL=http://127.0.0.1:PORT`; events go to its `SEATLINE_PUBLIC_URL`.
    """
    found = settings.load()
    logs.configure(found.log_level)
    if found.clock_file is not None:
        clock.share(found.clock_file)
    if found.stripe_secret_key is None or found.stripe_webhook_secret is None:
        raise InvalidInput("Set SEATLINE_STRIPE_SECRET_KEY and SEATLINE_STRIPE_WEBHOOK_SECRET to any two words.")
    stand_in = StandIn(
        secret_key=found.stripe_secret_key,
        webhook_secret=found.stripe_webhook_secret,
        webhook_url=f"{found.public_url.rstrip('/')}/v1/stripe/webhooks",
    )
    stop = _until_told()
    try:
        await stand_in.start(port=port)
    except OSError as error:
        raise InvalidInput(f"127.0.0.1 port {port}: {error.strerror}.", field="port") from error
    await stop.wait()
    await stand_in.stop()
    return 0


def _until_told() -> asyncio.Event:
    """Set by SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop
