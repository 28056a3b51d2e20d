"""Times, delays, timers, and what every clock can do."""

from __future__ import annotations

import functools
import heapq
import itertools
import math
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol, runtime_checkable

from engagelab_mock.errors import InvalidDelay


def check_delay(seconds: float, *, where: str) -> float:
    """Return a delay in seconds, or raise `InvalidDelay` naming where it was given.

    >>> check_delay(2, where="after")
    2.0
    """
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise InvalidDelay(f"a delay is a number of seconds, not {seconds!r}", where=where)
    if not math.isfinite(seconds) or seconds < 0:
        raise InvalidDelay(f"a delay of {seconds!r} s cannot pass", where=where, hint="give zero or more seconds")
    return float(seconds)


def check_moment(when: float, *, where: str) -> float:
    """Return a Unix time, or raise `InvalidDelay` for a number that is none.

    >>> check_moment(0, where="advance_to")
    0
    """
    if not math.isfinite(when):
        raise InvalidDelay(f"{when!r} is no Unix time", where=where)
    return when


def span(seconds: float, minutes: float, hours: float, days: float) -> float:
    """Add up what `clock.advance` was given, and return it in seconds.

    >>> span(1, 1, 0, 0)
    61.0
    """
    return check_delay(seconds + 60 * minutes + 3600 * hours + 86400 * days, where="clock.advance")


def _unpatched() -> Callable[[], float]:
    # Libraries that freeze or move time replace `time.monotonic` and `time.perf_counter` wherever they find them.
    if sys.platform == "win32":
        return functools.partial(time.perf_counter)
    return functools.partial(time.clock_gettime, time.CLOCK_MONOTONIC)


#: Seconds that pass, from no particular moment: an attempt's limit is about real ones, whatever the date is said to be.
stopwatch: Callable[[], float] = _unpatched()


#: From how many cancelled timers on it is worth looking whether an agenda consists of little else.
_MANY = 64


class Timer:
    """Hold an action that a clock runs when its time comes; `cancel` takes it back.

    >>> from engagelab_mock import VirtualClock
    >>> clock = VirtualClock(0)
    >>> timer = clock.call_at(60, lambda: print("ring"), label="alarm")
    >>> timer.cancel()
    >>> clock.advance(minutes=5)
    300.0

    `aaction` is the action's form for an event loop; without one the action itself is run there.
    """

    __slots__ = ("aaction", "action", "agenda", "cancelled", "label", "when")

    def __init__(
        self,
        when: float,
        action: Callable[[], object],
        label: str,
        aaction: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        self.when = when
        self.action = action
        self.aaction = aaction
        self.label = label
        self.cancelled = False
        #: Where it stands, until it is taken off to be run.
        self.agenda: Agenda | None = None

    def cancel(self) -> None:
        """Take the action back; it will not run."""
        if self.cancelled:
            return
        self.cancelled = True
        # What the action would have worked on is not to be kept until its time comes.
        self.action, self.aaction = _nothing, None
        if self.agenda is not None:
            self.agenda.count_cancelled()

    async def arun(self) -> None:
        """Run the action's form for an event loop."""
        if self.aaction is None:
            self.action()
        else:
            await self.aaction()

    def __repr__(self) -> str:
        return f"<Timer {self.label!r} at {self.when:.3f}>"


def _nothing() -> None:
    pass


class Agenda:
    """Keep what is due when; every clock has one, and any thread may put something on it."""

    def __init__(self) -> None:
        self._agenda: list[tuple[float, int, Timer]] = []
        self._scheduled = itertools.count()
        self._cancelled = 0
        self._lock = threading.Lock()

    def call_at(
        self,
        when: float,
        action: Callable[[], object],
        *,
        label: str = "",
        aaction: Callable[[], Awaitable[object]] | None = None,
    ) -> Timer:
        """Run `action` when the clock reaches a Unix time; an action already due runs at the next chance.

        >>> from engagelab_mock import VirtualClock
        >>> clock = VirtualClock(0)
        >>> timer = clock.call_at(5, lambda: print("five"))
        >>> _ = clock.advance(10)
        five
        """
        # A moment that is not a number would be neither before nor after any other, and hold up the agenda.
        timer = Timer(check_moment(when, where="clock.call_at"), action, label, aaction)
        self._enter(timer)
        return timer

    @property
    def pending(self) -> list[Timer]:
        """Return what is still to come, earliest first.

        >>> from engagelab_mock import VirtualClock
        >>> VirtualClock().pending
        []
        """
        with self._lock:
            entries = [entry for entry in self._agenda if not entry[2].cancelled]
        return [timer for _, _, timer in sorted(entries, key=lambda entry: entry[:2])]

    def take_over(self, timers: Iterable[Timer]) -> None:
        """Run what another clock would have run.

        >>> from engagelab_mock import VirtualClock
        >>> clock, other = VirtualClock(0), VirtualClock(0)
        >>> timer = other.call_at(5, lambda: print("five"))
        >>> clock.take_over(other.pending)
        >>> _ = clock.advance(10)
        five
        """
        for timer in timers:
            self._enter(timer)

    def count_cancelled(self) -> None:
        """Take note that a timer was cancelled; once they are the most, they are dropped."""
        with self._lock:
            self._cancelled += 1
            if self._cancelled > _MANY and 2 * self._cancelled > len(self._agenda):
                self._agenda = [entry for entry in self._agenda if not entry[2].cancelled]
                heapq.heapify(self._agenda)
                self._cancelled = 0

    def _enter(self, timer: Timer) -> None:
        timer.agenda = self
        with self._lock:
            heapq.heappush(self._agenda, (timer.when, next(self._scheduled), timer))

    def _pop(self, until: float = math.inf) -> Timer | None:
        """Take the next action that is due by then off the agenda."""
        with self._lock:
            return self._pop_held(until)

    def _pop_held(self, until: float) -> Timer | None:
        """Do what `_pop` does; the lock is held."""
        while self._agenda and self._agenda[0][0] <= until:
            timer = heapq.heappop(self._agenda)[2]
            timer.agenda = None
            if not timer.cancelled:
                return timer
            self._cancelled = max(0, self._cancelled - 1)
        return None

    def _head(self) -> Timer | None:
        """Return what comes next, without taking it off; the lock is held."""
        while self._agenda and self._agenda[0][2].cancelled:
            heapq.heappop(self._agenda)
            self._cancelled = max(0, self._cancelled - 1)
        return self._agenda[0][2] if self._agenda else None


@runtime_checkable
class Clock(Protocol):
    """Tell the time in Unix seconds, let it pass, and run what is due; `SystemClock` and `VirtualClock` do.

    >>> from engagelab_mock import VirtualClock
    >>> isinstance(VirtualClock(), Clock)
    True
    """

    def time(self) -> float:
        """Return the time in Unix seconds."""

    def sleep(self, seconds: float) -> None:
        """Let that many seconds of this clock pass."""

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
        """Let time pass to the next action and run it; say whether there was one."""

    async def arun_next(self) -> bool:
        """Do what `run_next` does, in the running event loop."""

    @property
    def pending(self) -> list[Timer]:
        """Return what is still to come, earliest first."""

    def take_over(self, timers: Iterable[Timer]) -> None:
        """Run what another clock would have run."""

    def branch(self) -> Clock:
        """Return another clock that shows the same time, and has nothing to run."""
