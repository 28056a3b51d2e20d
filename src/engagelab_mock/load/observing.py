"""Observe the messages of a load: several at a time where that is possible, with progress, until it is stopped."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from engagelab_mock.delivery.probe import Probe
from engagelab_mock.eventloop import stopwatch
from engagelab_mock.load.ledger import Entry, LedgerReader
from engagelab_mock.load.summary import Case
from engagelab_mock.load.verdict import SETTLE, Judge

#: How often the progress is told, in seconds.
_INTERVAL = 0.1
#: Called with the number of messages observed, the deliveries of all messages so far, and those of the ledgers; the
#: last is None if a ledger has no end marker.
Progress = Callable[[int, int, int | None], object]


class Observation(Judge):
    """Judge the messages of a load, up to `at_once` at a time.

    With more than one at a time, the probe's `observe` is asynchronous, and may be called again before it has returned.
    `stop` ends the observation early: the messages under way are judged, the others make the run incomplete.
    """

    def __init__(
        self,
        probe: Probe,
        *,
        sample: float = 1.0,
        settle: float = SETTLE,
        at_once: int = 1,
        progress: Progress | None = None,
    ) -> None:
        super().__init__(probe, sample=sample, settle=settle)
        self._at_once = at_once
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
        self._settle = 0.0

    def expect(self, readers: Iterable[LedgerReader]) -> None:
        """Take the expected states from the ledgers, and the number of deliveries."""
        read = list(readers)
        super().expect(read)
        ends = [reader.end for reader in read]
        self._total = sum(end.deliveries for end in ends if end is not None) if None not in ends else None

    async def judge(self, entries: list[Entry]) -> None:
        """Judge a message, or begin to; raise the error of one that was begun before."""
        if self._stopped:
            return
        self._tell(len(entries))
        if self._at_once == 1:
            await super().judge(entries)
            return
        await self._free.acquire()
        if self._error is not None:
            raise self._error
        task = asyncio.ensure_future(super().judge(entries))
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    async def cases(self) -> list[Case]:
        """Return the cases, once all messages that were begun are judged."""
        while self._tasks:
            await asyncio.wait(self._tasks)
        if self._error is not None:
            raise self._error
        # The same ledgers give the same report, whichever message was read first.
        self._suspects.sort(key=lambda suspect: (suspect[0][0].intended, suspect[0][0].message_id))
        if self._stopped:
            self.problems.append(f"it was stopped after {self.observed} messages were observed")
        return await super().cases()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._free.release()
        if not task.cancelled():
            self._error = self._error or task.exception()

    def _tell(self, deliveries: int) -> None:
        self._done += deliveries
        now = stopwatch()
        if self._progress is not None and now - self._told >= _INTERVAL:
            self._told = now
            self._progress(self.observed, self._done, self._total)
