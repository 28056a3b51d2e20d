"""Observe the messages of a load: several at a time where that is possible, with progress, until it is stopped."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from engagelab_mock.eventloop import stopwatch
from engagelab_mock.load.ledger import Entry, LedgerReader
from engagelab_mock.load.summary import Case
from engagelab_mock.load.verdict import Judge

#: How often the progress is told, in seconds.
_INTERVAL = 0.1
#: Called with the number of messages observed, the deliveries of all messages so far, and those of the ledgers; the
#: last is None if a ledger has no end marker.
Progress = Callable[[int, int, int | None], object]


class Observation:
    """Let a judge observe the messages of a load, up to `at_once` at a time.

    With more than one at a time, the probe's `observe` is asynchronous, and may be called again before it has returned.
    `stop` ends the observation early: the messages under way are judged, the others make the run incomplete.
    """

    def __init__(self, judge: Judge, *, at_once: int = 1, progress: Progress | None = None) -> None:
        self.judge = judge
        self._free = asyncio.Semaphore(at_once)
        self._tasks: set[asyncio.Task[None]] = set()
        self._error: BaseException | None = None
        self._progress = progress
        self._told = 0.0
        self._done = 0
        self._total: int | None = None
        self._stopped = False

    def stop(self) -> None:
        """End the observation early, without waiting for the app to end its work."""
        self._stopped = True
        self.judge.patience = 0.0

    def expect(self, readers: Iterable[LedgerReader]) -> None:
        """Take the expected states from the ledgers, and the number of deliveries."""
        read = list(readers)
        self.judge.expect(read)
        ends = [reader.end for reader in read]
        self._total = sum(end.deliveries for end in ends if end is not None) if None not in ends else None

    async def observe(self, entries: list[Entry]) -> None:
        """Begin to judge a message; raise the error of one that was begun before."""
        if not self._stopped:
            self._tell(len(entries))
            await self._begin(self.judge.judge, entries)

    async def settle(self, messages: Callable[[], Iterable[list[Entry]]]) -> list[Case]:
        """Give the app time to end its work, observe all messages again if it works late, and return the cases."""
        await self._all_ended()
        await self.judge.settle()
        if self.judge.late:
            for entries in messages():
                if self._stopped:
                    break
                await self._begin(self.judge.judge_again, entries)
            await self._all_ended()
        if self._stopped:
            self.judge.problems.append(f"it was stopped after {self.judge.observed} messages were observed")
        return self.judge.cases()

    async def _begin(self, judge: Callable[[list[Entry]], Coroutine[Any, Any, None]], entries: list[Entry]) -> None:
        await self._free.acquire()
        if self._error is not None:
            await self._all_ended()
        task = asyncio.ensure_future(judge(entries))
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    async def _all_ended(self) -> None:
        """Wait until the messages that were begun are judged; raise the first error."""
        while self._tasks:
            await asyncio.wait(self._tasks)
        if self._error is not None:
            raise self._error

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._free.release()
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        self._error = self._error or error

    def _tell(self, deliveries: int) -> None:
        self._done += deliveries
        now = stopwatch()
        if self._progress is not None and now - self._told >= _INTERVAL:
            self._told = now
            self._progress(self.judge.observed, self._done, self._total)
