"""The commands `demo`, `up` and `down`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from infra.app.demo.narrator import ExpectationFailed, Narrator
from infra.app.demo.processes import ProcessEnded
from infra.app.demo.story import Story
from infra.app.demo.world import Switch, World, freeswitch_program
from infra.kit.embedded_postgres import EmbeddedPostgresError
from switch.sip.errors import SipError

FAILED = 1
UNUSABLE = 2


def _prepare(directory: Path, switch: Switch) -> World | None:
    if switch == "freeswitch":
        try:
            freeswitch_program()
        except FileNotFoundError as missing:
            sys.stderr.write(f"{missing}\n")
            return None
    return World(directory.absolute(), switch)


async def _tell(world: World, *, keep: bool) -> int:
    narrator = Narrator()
    await world.clean()
    story = Story(world, narrator)
    try:
        await story.tell()
    except (ExpectationFailed, ProcessEnded, SipError, EmbeddedPostgresError, OSError) as failure:
        sys.stderr.write(f"\nThe story stopped: {failure}\nLogs: {world.directory / 'logs'}\n")
        return FAILED
    finally:
        await story.close()
        if not keep:
            await world.stop()
    narrator.summary()
    if keep:
        world.start_carrier(story.carrier_port)
        for line in story.sign_in():
            narrator.tell(line)
    return 0


def demo(directory: Path, switch: Switch) -> int:
    """The story from nothing to the end; exit code 0 when everything was as told."""
    world = _prepare(directory, switch)
    return UNUSABLE if world is None else asyncio.run(_tell(world, keep=False))


def up(directory: Path, switch: Switch) -> int:
    """The story, and the system stays up."""
    world = _prepare(directory, switch)
    return UNUSABLE if world is None else asyncio.run(_tell(world, keep=True))


def down(directory: Path) -> int:
    """End what `up` (or a demo that was cut off) left running."""
    world = World(directory.absolute(), "simulator")
    if not world.directory.exists():
        return 0
    asyncio.run(world.stop())
    return 0
