"""Many askers, few questions: what arrives while one batch is being answered is answered together by the next.

A question is never answered by work that began before it was asked, so an answer is as current as one that was
fetched for it alone. Under light load every batch has one question and waits for nothing.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Generic, TypeVar

from infra.kit.problems import Unavailable

Question = TypeVar("Question")
Answer = TypeVar("Answer")


class TooManyWaiting(Unavailable):
    """The queue is full: more is asked than can be answered. Nothing was done; ask again shortly."""

    code = "too_many_waiting"


class AnswerOverdue(Unavailable):
    """No answer came in time; what was begun may still take effect, so only repeat what may happen twice."""

    code = "answer_overdue"


class BatcherClosed(Unavailable):
    """This process is stopping and takes no more questions; another one will."""

    code = "stopping"


class Batcher(Generic[Question, Answer]):
    """Gathers questions and answers them in batches.

    `answer` gets 1 to `batch_limit_questions` questions and returns as many answers, in the same order. When it
    raises, exactly the askers of that batch get the error. `queue_limit_questions`: how many may wait for their
    batch; further ones are refused (`TooManyWaiting`). `concurrent_batches`: how many are answered side by side.
    A batch that has no answer after `batch_timeout_seconds`, and a question that has waited as long for its batch
    to begin, end as `AnswerOverdue`; so every asker hears within twice that time. The overdue batch itself is left
    to end on its own and keeps its place until then, so that a database that hangs is not asked ever more.
    """

    def __init__(
        self,
        answer: Callable[[Sequence[Question]], Awaitable[Sequence[Answer]]],
        *,
        name: str,
        batch_limit_questions: int,
        queue_limit_questions: int,
        batch_timeout_seconds: float,
        concurrent_batches: int = 1,
    ) -> None:
        self.name = name
        self.batches = 0
        """How many batches were begun; for tests and figures."""
        self._answer = answer
        self._batch_limit_questions = batch_limit_questions
        self._queue_limit_questions = queue_limit_questions
        self._batch_timeout_seconds = batch_timeout_seconds
        self._concurrent_batches = concurrent_batches
        self._waiting: deque[tuple[Question, asyncio.Future[Answer], float]] = deque()
        self._running: set[asyncio.Task[Any]] = set()
        self._watch: asyncio.TimerHandle | None = None
        self._closed = False

    async def ask(self, question: Question) -> Answer:
        """The answer to one question, or the error of its batch, `TooManyWaiting`, `AnswerOverdue`, `BatcherClosed`."""
        if self._closed:
            raise BatcherClosed("This process is stopping; ask again.")
        if len(self._waiting) >= self._queue_limit_questions:
            raise TooManyWaiting(f"{self._queue_limit_questions} questions wait already; ask again shortly.")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Answer] = loop.create_future()
        self._waiting.append((question, future, loop.time() + self._batch_timeout_seconds))
        if len(self._running) < self._concurrent_batches:
            self._start(loop)
        elif self._watch is None:
            self._watch = loop.call_later(self._batch_timeout_seconds, self._give_up_on_overdue)
        return await future

    async def close(self) -> None:
        """Take no more questions, answer those that wait, return when all is done or overdue."""
        self._closed = True
        if self._running:
            await asyncio.wait(self._running, timeout=2 * self._batch_timeout_seconds)
        for _, future, _ in self._waiting:
            if not future.done():
                future.set_exception(BatcherClosed("This process is stopping; ask again."))
        self._waiting.clear()
        if self._watch is not None:
            self._watch.cancel()

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        self._running.add(loop.create_task(self._run(), name=f"batcher:{self.name}"))

    async def _run(self) -> None:
        """Answer batch after batch until nobody waits."""
        try:
            while batch := self._take():
                self.batches += 1
                await self._answer_batch([question for question, _ in batch], [future for _, future in batch])
        finally:  # at once, not by a callback later on: a question asked in between would find nobody to answer it
            self._running.difference_update({asyncio.current_task()})

    async def _answer_batch(self, questions: Sequence[Question], futures: Sequence[asyncio.Future[Answer]]) -> None:
        timer = asyncio.get_running_loop().call_later(self._batch_timeout_seconds, self._overdue, futures)
        try:
            answers = await self._answer(questions)
            if len(answers) != len(questions):
                raise RuntimeError(f"{self.name} gave {len(answers)} answers to {len(questions)} questions.")
        except asyncio.CancelledError:
            for future in futures:
                future.cancel()
            raise
        except Exception as error:  # whatever it is, it belongs to the askers
            for future in futures:
                if not future.done():
                    future.set_exception(error)
        else:
            for future, answer in zip(futures, answers, strict=True):
                if not future.done():  # its asker may have gone away
                    future.set_result(answer)
        finally:
            timer.cancel()

    def _take(self) -> list[tuple[Question, asyncio.Future[Answer]]]:
        batch: list[tuple[Question, asyncio.Future[Answer]]] = []
        while self._waiting and len(batch) < self._batch_limit_questions:
            question, future, _ = self._waiting.popleft()
            if not future.done():
                batch.append((question, future))
        return batch

    def _give_up_on_overdue(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting and self._waiting[0][2] <= loop.time():
            self._overdue([self._waiting.popleft()[1]])
        self._watch = loop.call_at(self._waiting[0][2], self._give_up_on_overdue) if self._waiting else None

    def _overdue(self, futures: Sequence[asyncio.Future[Answer]]) -> None:
        for future in futures:
            if not future.done():
                future.set_exception(
                    AnswerOverdue(f"There was no answer within {self._batch_timeout_seconds:g} seconds; try again.")
                )
