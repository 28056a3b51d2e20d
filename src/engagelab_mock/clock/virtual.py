"""The virtual clock: its time stands still until a test moves it."""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Protocol

from engagelab_mock.clock.base import Agenda, Entry, check_delay, check_moment, span
from engagelab_mock.errors import InvalidDelay


class Companion(Protocol):
    """The interface of an object that acts before and after a test moves the clock; an engine settles then."""

    def around(self, move: Callable[[], float]) -> float:
        """Move the clock, and return the new time."""

    async def aaround(self, move: Callable[[], Awaitable[float]]) -> float:
        """Move the clock in the running event loop, and return the new time."""


class VirtualClock(Agenda):
    """Show the same time until it is moved: by `sleep`, `advance` or `advance_to`, or to the next callback.

    >>> clock = VirtualClock(1_700_000_000)
    >>> clock.advance(minutes=5)
    1700000300.0

    `start` is in Unix seconds. Default: the current system time.
    """

    def __init__(self, start: float | None = None) -> None:
        super().__init__()
        self._now = time.time() if start is None else float(start)
        #: Called around every move by `sleep`, `advance` and `advance_to`.
        self.companions: list[Companion] = []

    def time(self) -> float:
        """Return the time in Unix seconds.

        >>> VirtualClock(12).time()
        12.0
        """
        return self._now

    def sleep(self, seconds: float) -> None:
        """Move forward by some seconds without waiting, and run the entries that become due.

        >>> VirtualClock().sleep(3600)
        """
        self.advance_to(self._now + check_delay(seconds, where="VirtualClock.sleep"))

    def advance(self, seconds: float = 0, *, minutes: float = 0, hours: float = 0, days: float = 0) -> float:
        """Move forward, run the entries that become due, and return the new time.

        >>> VirtualClock(0).advance(days=1, seconds=1)
        86401.0
        """
        __tracebackhide__ = True
        by = span(seconds, minutes, hours, days)
        check_moment(self._now + by, where="clock.advance")
        return self._with_companions(partial(self._move_by, by))

    async def aadvance(self, seconds: float = 0, *, minutes: float = 0, hours: float = 0, days: float = 0) -> float:
        """Do the same as `advance`, and run the due entries in the event loop.

        >>> import asyncio
        >>> asyncio.run(VirtualClock(0).aadvance(minutes=1))
        60.0
        """
        __tracebackhide__ = True
        by = span(seconds, minutes, hours, days)
        check_moment(self._now + by, where="clock.advance")
        return await self._awith_companions(partial(self._amove_by, by))

    def advance_to(self, when: float) -> float:
        """Move forward to a Unix time, run the entries that become due, and return the new time.

        >>> VirtualClock(0).advance_to(90)
        90.0
        """
        __tracebackhide__ = True
        self._check_forward(when)
        return self._with_companions(partial(self._move, when))

    def _move_by(self, seconds: float) -> float:
        __tracebackhide__ = True
        # From the present time: the companions may have sent pending callbacks, which moves the clock.
        return self._move(self._now + seconds)

    async def _amove_by(self, seconds: float) -> float:
        __tracebackhide__ = True
        return await self._amove(self._now + seconds)

    def _move(self, when: float) -> float:
        __tracebackhide__ = True
        while entry := self._take(when):
            entry.run()
        self._now = max(self._now, float(when))
        return self._now

    async def aadvance_to(self, when: float) -> float:
        """Do the same as `advance_to`, and run the due entries in the event loop.

        >>> import asyncio
        >>> asyncio.run(VirtualClock(0).aadvance_to(90))
        90.0
        """
        __tracebackhide__ = True
        self._check_forward(when)
        return await self._awith_companions(partial(self._amove, when))

    async def _amove(self, when: float) -> float:
        __tracebackhide__ = True
        while entry := self._take(when):
            await entry.arun()
        self._now = max(self._now, float(when))
        return self._now

    # Without context managers, whose frames would be in the traceback between a failure and the caller's line.

    def _with_companions(self, move: Callable[[], float]) -> float:
        __tracebackhide__ = True
        for companion in self.companions:
            move = partial(companion.around, move)
        return move()

    async def _awith_companions(self, move: Callable[[], Awaitable[float]]) -> float:
        __tracebackhide__ = True
        for companion in self.companions:
            move = partial(companion.aaround, move)
        return await move()

    def branch(self) -> VirtualClock:
        """Return another clock with the same time, and an empty agenda.

        >>> VirtualClock(12).branch().time()
        12.0
        """
        return VirtualClock(self._now)

    def _check_forward(self, when: float) -> None:
        check_moment(when, where="clock.advance_to")
        if when < self._now:
            raise InvalidDelay(
                f"the clock stands at {self._now:.3f} and cannot go back to {when:.3f}",
                where="clock.advance_to",
                hint="give a later time, or start with a new clock",
            )

    def take_due(self) -> Entry | None:
        """Move to the time of the earliest entry, and take it off; the lock must be held."""
        entry = self.pop()
        if entry is not None and entry.at > self._now:
            self._now = entry.at
        return entry

    def wait_for_due(self) -> float:
        """Return 0: this clock moves to the next entry without waiting."""
        return 0.0

    def wait_until(self, at: float) -> float:
        """Return infinity: this clock does not move by itself."""
        return math.inf

    def _take(self, until: float) -> Entry | None:
        with self.condition.lock:
            entry = self.pop(until)
            if entry is not None:
                # An earlier entry may have advanced the clock past this entry's time.
                self._now = max(self._now, entry.at)
            return entry
