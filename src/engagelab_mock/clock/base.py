"""The code that all clocks share: delays, the condition, timers and the agenda."""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Awaitable, Callable
from typing import Protocol, runtime_checkable

from engagelab_mock.clock.condition import Condition
from engagelab_mock.errors import InvalidDelay


def check_delay(seconds: float, *, where: str) -> float:
    """Return a delay in seconds, or raise `InvalidDelay`, which names the argument `where`.

    >>> check_delay(2, where="after")
    2.0
    """
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise InvalidDelay(f"a delay is a number of seconds, not {seconds!r}", where=where)
    if not math.isfinite(seconds) or seconds < 0:
        raise InvalidDelay(f"a delay of {seconds!r} s cannot pass", where=where, hint="give zero or more seconds")
    return float(seconds)


def check_moment(when: float, *, where: str) -> float:
    """Return a Unix time, or raise `InvalidDelay` if the number is not finite.

    >>> check_moment(0, where="advance_to")
    0
    """
    if not math.isfinite(when):
        raise InvalidDelay(f"{when!r} is not a Unix time", where=where)
    return when


def span(seconds: float, minutes: float, hours: float, days: float) -> float:
    """Return the sum of the arguments of `clock.advance`, in seconds.

    >>> span(1, 1, 0, 0)
    61.0
    """
    return check_delay(seconds + 60 * minutes + 3600 * hours + 86400 * days, where="clock.advance")


class Entry(Protocol):
    """An entry of an agenda: it runs at a Unix time, unless it is cancelled before."""

    #: When it is due, in Unix seconds.
    at: float
    #: The agenda that has it; None once it is taken off to run.
    agenda: Agenda | None

    @property
    def label(self) -> str:
        """Return a description, for a person to read."""

    @property
    def cancelled(self) -> bool:
        """Tell whether the entry was cancelled."""

    def cancel(self) -> None:
        """Cancel the entry, so that it does not run."""

    def run(self) -> object:
        """Run the entry."""

    async def arun(self) -> object:
        """Run the entry in the running event loop."""


#: An agenda removes cancelled entries once there are more than this number and they are the majority.
_CANCELLED_LIMIT = 64


class Timer:
    """Hold an action that a clock runs when it is due, unless it is cancelled.

    >>> from engagelab_mock import VirtualClock
    >>> clock = VirtualClock(0)
    >>> timer = clock.call_at(60, lambda: print("ring"), label="alarm")
    >>> timer.cancel()
    >>> clock.advance(minutes=5)
    300.0

    `aaction` is the action for an event loop. Default: `action` runs there too.
    """

    __slots__ = ("aaction", "action", "agenda", "at", "cancelled", "label")

    def __init__(
        self,
        at: float,
        action: Callable[[], object],
        label: str,
        aaction: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        self.at = at
        self.action = action
        self.aaction = aaction
        self.label = label
        self.cancelled = False
        self.agenda: Agenda | None = None

    def cancel(self) -> None:
        """Cancel the action, so that it does not run."""
        if self.cancelled:
            return
        self.cancelled = True
        # Release the objects of the action now, not only when it would be due.
        self.action, self.aaction = _do_nothing, None
        if self.agenda is not None:
            self.agenda.count_cancelled()

    def run(self) -> None:
        """Run the action."""
        __tracebackhide__ = True
        self.action()

    async def arun(self) -> None:
        """Run the action in the running event loop."""
        __tracebackhide__ = True
        if self.aaction is None:
            self.action()
        else:
            await self.aaction()

    def __repr__(self) -> str:
        return f"<Timer {self.label!r} at {self.at:.3f}>"


def _do_nothing() -> None:
    pass


class Agenda:
    """Hold entries in the order in which they are due, in a heap. Every clock is one. Any thread may add entries."""

    def __init__(self) -> None:
        #: The lock of the clock and of the engine that uses it, and the condition on which to wait for a change.
        self.condition = Condition()
        self._heap: list[tuple[float, int, Entry]] = []
        self._numbers = itertools.count()
        self._cancelled = 0

    def call_at(
        self,
        when: float,
        action: Callable[[], object],
        *,
        label: str = "",
        aaction: Callable[[], Awaitable[object]] | None = None,
    ) -> Timer:
        """Run `action` when the clock reaches a Unix time; a past time means the clock's next move.

        >>> from engagelab_mock import VirtualClock
        >>> clock = VirtualClock(0)
        >>> timer = clock.call_at(5, lambda: print("five"))
        >>> _ = clock.advance(10)
        five
        """
        # NaN has no order, so it would block the heap.
        timer = Timer(check_moment(when, where="clock.call_at"), action, label, aaction)
        self.add(timer)
        return timer

    @property
    def pending(self) -> list[Entry]:
        """Return the entries that have not run yet, earliest first.

        >>> from engagelab_mock import VirtualClock
        >>> VirtualClock().pending
        []
        """
        with self.condition.lock:
            entries = [entry for entry in self._heap if not entry[2].cancelled]
        return [entry for _, _, entry in sorted(entries, key=lambda entry: entry[:2])]

    def add(self, *entries: Entry) -> None:
        """Add entries, and wake waiting threads and tasks if the earliest entry has changed."""
        heap = self._heap
        with self.condition.lock:
            earliest = heap[0][2] if heap else None
            for entry in entries:
                entry.agenda = self
                heapq.heappush(heap, (entry.at, next(self._numbers), entry))
            if heap and heap[0][2] is not earliest:
                self.condition.notify(self)

    def count_cancelled(self) -> None:
        """Count a cancelled entry, and remove all cancelled entries once they are the majority."""
        with self.condition.lock:
            self._cancelled += 1
            if self._cancelled > _CANCELLED_LIMIT and 2 * self._cancelled > len(self._heap):
                self._heap[:] = [entry for entry in self._heap if not entry[2].cancelled]
                heapq.heapify(self._heap)
                self._cancelled = 0

    def head(self) -> Entry | None:
        """Return the earliest entry, which stays on the agenda; the lock must be held."""
        heap = self._heap
        while heap:
            entry = heap[0][2]
            if not entry.cancelled:
                return entry
            heapq.heappop(heap)
            self._cancelled = max(0, self._cancelled - 1)
        return None

    def pop(self, until: float = math.inf) -> Entry | None:
        """Take off and return the earliest entry that is due by `until`; the lock must be held."""
        heap = self._heap
        while heap and heap[0][0] <= until:
            entry = heapq.heappop(heap)[2]
            if not entry.cancelled:
                entry.agenda = None
                return entry
            self._cancelled = max(0, self._cancelled - 1)
        return None

    def take_due(self) -> Entry | None:
        """Take off and return the earliest entry if it is due; the lock must be held."""
        raise NotImplementedError

    def wait_for_due(self) -> float:
        """Return how many real seconds to wait for the earliest entry; the lock must be held."""
        raise NotImplementedError

    def wait_until(self, at: float) -> float:
        """Return how many real seconds to wait, at most, until a Unix time of this clock."""
        raise NotImplementedError

    def run_next(self) -> bool:
        """Wait for the next entry and run it; return False if no entry is left.

        >>> from engagelab_mock import VirtualClock
        >>> VirtualClock().run_next()
        False
        """
        __tracebackhide__ = True
        with self.condition.lock:
            while (entry := self.take_due()) is None:
                if self.head() is None:
                    return False
                self.condition.wait(self.wait_for_due())
        entry.run()
        return True

    async def arun_next(self) -> bool:
        """Do the same as `run_next`, without blocking the event loop."""
        __tracebackhide__ = True
        while True:
            with self.condition.lock:
                entry, head, wait = self.take_due(), self.head(), self.wait_for_due()
            if entry is not None:
                await entry.arun()
                return True
            if head is None:
                return False
            await self.await_due(head, wait)

    async def await_due(self, head: Entry, wait: float) -> None:
        """Wait at most `wait` seconds until `head` is due or not the earliest entry any more."""
        await self.condition.await_for(lambda: self.head() is not head or self.wait_for_due() <= 0, wait)


@runtime_checkable
class Clock(Protocol):
    """The interface of a clock: it tells the time, and runs entries that are due. `SystemClock` and others have it.

    >>> from engagelab_mock import VirtualClock
    >>> isinstance(VirtualClock(), Clock)
    True
    """

    #: The lock of the clock and of the engine that uses it, and the condition on which to wait for a change.
    condition: Condition

    def time(self) -> float:
        """Return the time in Unix seconds."""

    def sleep(self, seconds: float) -> None:
        """Wait until that many seconds of this clock have passed."""

    def call_at(
        self,
        when: float,
        action: Callable[[], object],
        *,
        label: str = "",
        aaction: Callable[[], Awaitable[object]] | None = None,
    ) -> Timer:
        """Run `action` when the clock reaches a Unix time."""

    def run_next(self) -> bool:
        """Wait for the next entry of the agenda and run it; return False if no entry is left."""

    async def arun_next(self) -> bool:
        """Do the same as `run_next`, without blocking the event loop."""

    @property
    def pending(self) -> list[Entry]:
        """Return the entries that have not run yet, earliest first."""

    def add(self, *entries: Entry) -> None:
        """Add entries to the agenda."""

    def head(self) -> Entry | None:
        """Return the earliest entry; the lock must be held."""

    def take_due(self) -> Entry | None:
        """Take off and return the earliest entry if it is due. A virtual clock moves to it. The lock must be held."""

    def wait_for_due(self) -> float:
        """Return how many real seconds to wait for the earliest entry; the lock must be held."""

    def wait_until(self, at: float) -> float:
        """Return how many real seconds to wait, at most, until a Unix time of this clock."""

    async def await_due(self, head: Entry, wait: float) -> None:
        """Wait at most `wait` seconds until `head` is due or not the earliest entry any more."""

    def branch(self) -> Clock:
        """Return another clock that shows the same time and has an empty agenda."""
