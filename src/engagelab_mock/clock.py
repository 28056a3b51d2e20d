"""Where time comes from: the machine (`SystemClock`) or the test (`VirtualClock`), and what is due when."""

from __future__ import annotations

import functools
import heapq
import math
import sys
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol, runtime_checkable

from engagelab_mock import eventloop
from engagelab_mock.errors import InvalidDelay


def _unpatched() -> Callable[[], float]:
    # Libraries that freeze or move time replace `time.monotonic` and `time.perf_counter` wherever they find them.
    if sys.platform == "win32":
        return functools.partial(time.perf_counter)
    return functools.partial(time.clock_gettime, time.CLOCK_MONOTONIC)


#: Seconds that pass, from no particular moment: an attempt's limit is about real ones, whatever the date is said to be.
stopwatch: Callable[[], float] = _unpatched()


@runtime_checkable
class Clock(Protocol):
    """Tell the time in Unix seconds, let it pass, and run what is due; `SystemClock` and `VirtualClock` do.

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


def _check_moment(when: float, *, where: str) -> float:
    if not math.isfinite(when):
        raise InvalidDelay(f"{when!r} is no Unix time", where=where)
    return when


class Timer:
    """Hold an action that a clock runs when its time comes; `cancel` takes it back.

    >>> clock = VirtualClock(0)
    >>> timer = clock.call_at(60, lambda: print("ring"), label="alarm")
    >>> timer.cancel()
    >>> clock.advance(minutes=5)
    300.0

    `aaction` is the action's form for an event loop; without one the action itself is run there.
    """

    __slots__ = ("aaction", "action", "cancelled", "label", "when")

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

    def cancel(self) -> None:
        """Take the action back; it will not run."""
        self.cancelled = True

    async def arun(self) -> None:
        """Run the action's form for an event loop."""
        if self.aaction is None:
            self.action()
        else:
            await self.aaction()

    def __repr__(self) -> str:
        return f"<Timer {self.label!r} at {self.when:.3f}>"


class _Agenda:
    """Keep what is due when; both clocks have one."""

    def __init__(self) -> None:
        self._agenda: list[tuple[float, int, Timer]] = []
        self._scheduled = 0

    def call_at(
        self,
        when: float,
        action: Callable[[], object],
        *,
        label: str = "",
        aaction: Callable[[], Awaitable[object]] | None = None,
    ) -> Timer:
        """Run `action` when the clock reaches a Unix time; an action already due runs at the next chance.

        >>> clock = VirtualClock(0)
        >>> timer = clock.call_at(5, lambda: print("five"))
        >>> _ = clock.advance(10)
        five
        """
        # A moment that is not a number would be neither before nor after any other, and hold up the agenda.
        timer = Timer(_check_moment(when, where="clock.call_at"), action, label, aaction)
        self._scheduled += 1
        heapq.heappush(self._agenda, (when, self._scheduled, timer))
        return timer

    @property
    def pending(self) -> list[Timer]:
        """Return what is still to come, earliest first.

        >>> VirtualClock().pending
        []
        """
        return [timer for _, _, timer in sorted(self._agenda, key=lambda entry: entry[:2]) if not timer.cancelled]

    def take_over(self, timers: Iterable[Timer]) -> None:
        """Run what another clock would have run.

        >>> clock, other = VirtualClock(0), VirtualClock(0)
        >>> timer = other.call_at(5, lambda: print("five"))
        >>> clock.take_over(other.pending)
        >>> _ = clock.advance(10)
        five
        """
        for timer in timers:
            self._scheduled += 1
            heapq.heappush(self._agenda, (timer.when, self._scheduled, timer))

    def _pop(self, until: float = math.inf) -> Timer | None:
        """Take the next action that is due by then off the agenda."""
        while self._agenda and self._agenda[0][0] <= until:
            timer = heapq.heappop(self._agenda)[2]
            if not timer.cancelled:
                return timer
        return None


class SystemClock(_Agenda):
    """Follow the machine's clock, `speed` times as fast.

    >>> SystemClock().time() > 1_700_000_000
    True

    `speed` is a ratio: with 10, a delay of 20 seconds takes 2.
    """

    def __init__(self, speed: float = 1.0) -> None:
        super().__init__()
        if not math.isfinite(speed) or speed <= 0:
            raise InvalidDelay(f"a clock cannot run {speed!r} times as fast", hint="give a speed above 0")
        self.speed = speed
        self._start = time.time()

    def time(self) -> float:
        """Return the time in Unix seconds; it runs ahead of the machine's when `speed` is above 1.

        >>> SystemClock(speed=60).time() > 0
        True
        """
        now = time.time()
        return self._start + (now - self._start) * self.speed

    def sleep(self, seconds: float) -> None:
        """Wait until that many seconds of this clock have passed.

        >>> SystemClock().sleep(0)
        """
        time.sleep(check_delay(seconds, where="SystemClock.sleep") / self.speed)

    def run_next(self) -> bool:
        """Wait for the next action and run it; say whether there was one.

        >>> SystemClock().run_next()
        False
        """
        __tracebackhide__ = True
        timer = self._pop()
        if timer is None:
            return False
        self.sleep(max(0.0, timer.when - self.time()))
        timer.action()
        return True

    async def arun_next(self) -> bool:
        """Do what `run_next` does, leaving the event loop free while waiting."""
        __tracebackhide__ = True
        timer = self._pop()
        if timer is None:
            return False
        await eventloop.sleep(max(0.0, timer.when - self.time()) / self.speed)
        await timer.arun()
        return True

    def branch(self) -> SystemClock:
        """Return another clock that shows the same time, as fast, and has nothing to run.

        >>> SystemClock(speed=60).branch().speed
        60
        """
        other = SystemClock(self.speed)
        other._start = self._start
        return other


class VirtualClock(_Agenda):
    """Stand still until told otherwise: time passes only through `sleep`, `advance` and `advance_to`.

    >>> clock = VirtualClock(1_700_000_000)
    >>> clock.advance(minutes=5)
    1700000300.0

    `start` is in Unix seconds; left out, it is the wall clock's time at construction.
    """

    def __init__(self, start: float | None = None) -> None:
        super().__init__()
        self._now = time.time() if start is None else float(start)

    def time(self) -> float:
        """Return the time in Unix seconds.

        >>> VirtualClock(12).time()
        12.0
        """
        return self._now

    def sleep(self, seconds: float) -> None:
        """Let that many seconds pass at once, running what falls due on the way.

        >>> VirtualClock().sleep(3600)
        """
        self.advance_to(self._now + check_delay(seconds, where="VirtualClock.sleep"))

    def advance(self, seconds: float = 0, *, minutes: float = 0, hours: float = 0, days: float = 0) -> float:
        """Move time forward, running what falls due on the way, and return the new time.

        >>> VirtualClock(0).advance(days=1, seconds=1)
        86401.0
        """
        __tracebackhide__ = True
        return self.advance_to(self._now + _span(seconds, minutes, hours, days))

    async def aadvance(self, seconds: float = 0, *, minutes: float = 0, hours: float = 0, days: float = 0) -> float:
        """Do what `advance` does, running what falls due in the event loop.

        >>> import asyncio
        >>> asyncio.run(VirtualClock(0).aadvance(minutes=1))
        60.0
        """
        __tracebackhide__ = True
        return await self.aadvance_to(self._now + _span(seconds, minutes, hours, days))

    def advance_to(self, when: float) -> float:
        """Move time forward to a Unix time, running what falls due on the way.

        >>> VirtualClock(0).advance_to(90)
        90.0
        """
        __tracebackhide__ = True
        self._check_forward(when)
        while timer := self._pop(when):
            # A nested advance, made by an earlier action, may have passed this one's time already.
            self._now = max(self._now, timer.when)
            timer.action()
        self._now = max(self._now, float(when))
        return self._now

    async def aadvance_to(self, when: float) -> float:
        """Do what `advance_to` does, running what falls due in the event loop.

        >>> import asyncio
        >>> asyncio.run(VirtualClock(0).aadvance_to(90))
        90.0
        """
        __tracebackhide__ = True
        self._check_forward(when)
        while timer := self._pop(when):
            self._now = max(self._now, timer.when)
            await timer.arun()
        self._now = max(self._now, float(when))
        return self._now

    def branch(self) -> VirtualClock:
        """Return another clock that stands at the same time, and has nothing to run.

        >>> VirtualClock(12).branch().time()
        12.0
        """
        return VirtualClock(self._now)

    def _check_forward(self, when: float) -> None:
        _check_moment(when, where="clock.advance_to")
        if when < self._now:
            raise InvalidDelay(
                f"the clock stands at {self._now:.3f} and cannot go back to {when:.3f}",
                where="clock.advance_to",
            )

    def run_next(self) -> bool:
        """Move time to the next action and run it; say whether there was one.

        >>> VirtualClock().run_next()
        False
        """
        __tracebackhide__ = True
        timer = self._pop()
        if timer is not None:
            self._now = max(self._now, timer.when)
            timer.action()
        return timer is not None

    async def arun_next(self) -> bool:
        """Do what `run_next` does, running the action in the event loop."""
        __tracebackhide__ = True
        timer = self._pop()
        if timer is not None:
            self._now = max(self._now, timer.when)
            await timer.arun()
        return timer is not None


def _span(seconds: float, minutes: float, hours: float, days: float) -> float:
    return check_delay(seconds + 60 * minutes + 3600 * hours + 86400 * days, where="clock.advance")
