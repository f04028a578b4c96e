"""Questions that are answered together."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from switch.batching import AnswerOverdue, Batcher, BatcherClosed, TooManyWaiting


class Desk:
    """Doubles numbers, one batch at a time, when it is let."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.gate = asyncio.Event()
        self.begun = asyncio.Event()

    async def answer(self, questions: Sequence[int]) -> list[int]:
        """Twice each number; 13 is bad luck for its whole batch, 0 gets no answer."""
        self.batches.append(list(questions))
        self.begun.set()
        await self.gate.wait()
        if 13 in questions:
            raise ValueError("bad luck")
        return [2 * question for question in questions if question]


def batcher(desk: Desk, **limits: float) -> Batcher[int, int]:
    return Batcher(
        desk.answer,
        name="test",
        batch_limit_questions=int(limits.get("batch", 10)),
        queue_limit_questions=int(limits.get("queue", 100)),
        batch_timeout_seconds=limits.get("timeout", 10),
        concurrent_batches=int(limits.get("concurrent", 1)),
    )


async def asked(asking: Batcher[int, int], desk: Desk, *questions: int) -> list[asyncio.Task[int]]:
    """Ask the first and, once its batch is being answered, the others."""
    first = asyncio.create_task(asking.ask(questions[0]))
    await desk.begun.wait()
    others = [asyncio.create_task(asking.ask(question)) for question in questions[1:]]
    await settled()
    return [first, *others]


async def settled() -> None:
    """Let every task that can run do so."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_what_arrives_while_a_batch_is_answered_is_answered_by_the_next() -> None:
    desk = Desk()
    tasks = await asked(batcher(desk), desk, 1, 2, 3, 4)
    desk.gate.set()
    assert await asyncio.gather(*tasks) == [2, 4, 6, 8]
    assert desk.batches == [[1], [2, 3, 4]]


async def test_a_batch_has_its_limit() -> None:
    desk = Desk()
    tasks = await asked(batcher(desk, batch=2), desk, 1, 2, 3, 4)
    desk.gate.set()
    await asyncio.gather(*tasks)
    assert desk.batches == [[1], [2, 3], [4]]


async def test_two_batches_are_answered_side_by_side_where_allowed() -> None:
    desk = Desk()
    tasks = await asked(batcher(desk, concurrent=2), desk, 1, 2, 3)
    assert len(desk.batches) == 2
    desk.gate.set()
    assert await asyncio.gather(*tasks) == [2, 4, 6]


async def test_an_error_reaches_exactly_the_askers_of_its_batch() -> None:
    desk = Desk()
    asking = batcher(desk, batch=2)
    tasks = await asked(asking, desk, 1, 13, 2, 3)
    desk.gate.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert (results[0], results[3]) == (2, 6)
    assert [str(result) for result in results[1:3]] == ["bad luck", "bad luck"]
    assert await asking.ask(5) == 10


async def test_a_wrong_count_of_answers_is_an_error_and_not_somebody_elses_answer() -> None:
    desk = Desk()
    tasks = await asked(batcher(desk), desk, 1, 0, 2)
    desk.gate.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert results[0] == 2
    assert all(isinstance(result, RuntimeError) for result in results[1:])


async def test_an_asker_who_goes_away_is_no_part_of_the_next_batch() -> None:
    desk = Desk()
    tasks = await asked(batcher(desk), desk, 1, 2, 3)
    tasks[0].cancel()
    tasks[1].cancel()
    await settled()
    desk.gate.set()
    assert await tasks[2] == 6
    assert desk.batches == [[1], [3]]


async def test_more_than_the_queue_holds_is_refused_at_once() -> None:
    desk = Desk()
    asking = batcher(desk, queue=2)
    tasks = await asked(asking, desk, 1, 2, 3)
    with pytest.raises(TooManyWaiting):
        await asking.ask(4)
    desk.gate.set()
    assert await asyncio.gather(*tasks) == [2, 4, 6]


async def test_a_hanging_answer_is_given_up_and_so_is_what_waits_behind_it() -> None:
    desk = Desk()
    asking = batcher(desk, timeout=0.05)
    results = await asyncio.gather(*await asked(asking, desk, 1, 2), return_exceptions=True)
    assert [type(result) for result in results] == [AnswerOverdue, AnswerOverdue]
    assert desk.batches == [[1]]  # what hangs is not asked ever more
    desk.gate.set()
    await settled()
    assert await asking.ask(3) == 6


async def test_closing_answers_what_waits_and_takes_no_more() -> None:
    desk = Desk()
    asking = batcher(desk)
    tasks = await asked(asking, desk, 1, 2)
    closing = asyncio.create_task(asking.close())
    await settled()
    with pytest.raises(BatcherClosed):
        await asking.ask(3)
    desk.gate.set()
    await closing
    assert [task.result() for task in tasks] == [2, 4]


async def test_closing_does_not_wait_for_ever() -> None:
    desk = Desk()
    asking = batcher(desk, timeout=0.05)
    tasks = await asked(asking, desk, 1, 2)
    await asking.close()
    assert [type(task.exception()) for task in tasks] == [AnswerOverdue, AnswerOverdue]
    desk.gate.set()
    await settled()
