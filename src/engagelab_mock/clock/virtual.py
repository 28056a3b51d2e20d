"""A clock that stands still until told otherwise."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Protocol

from engagelab_mock.clock.base import Agenda, check_delay, check_moment, span
from engagelab_mock.errors import InvalidDelay


class Companion(Protocol):
    """Do something of one's own before and after a clock is moved on purpose."""

    def around(self, move: Callable[[], float]) -> float:
        """Move the clock, and return the new time."""

    async def aaround(self, move: Callable[[], Awaitable[float]]) -> float:
        """Move the clock in the running event loop, and return the new time."""


class VirtualClock(Agenda):
    """Stand still until told otherwise: time passes only through `sleep`, `advance` and `advance_to`.

    >>> clock = VirtualClock(1_700_000_000)
    >>> clock.advance(minutes=5)
    1700000300.0

    `start` is in Unix seconds; left out, it is the wall clock's time at construction.
    """

    def __init__(self, start: float | None = None) -> None:
        super().__init__()
        self._now = time.time() if start is None else float(start)
        #: Who has something to do before and after time is moved on purpose.
        self.companions: list[Companion] = []

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
        by = span(seconds, minutes, hours, days)
        self._check_forward(self._now + by)
        return self._accompanied(partial(self._move_by, by))

    async def aadvance(self, seconds: float = 0, *, minutes: float = 0, hours: float = 0, days: float = 0) -> float:
        """Do what `advance` does, running what falls due in the event loop.

        >>> import asyncio
        >>> asyncio.run(VirtualClock(0).aadvance(minutes=1))
        60.0
        """
        __tracebackhide__ = True
        by = span(seconds, minutes, hours, days)
        self._check_forward(self._now + by)
        return await self._aaccompanied(partial(self._amove_by, by))

    def advance_to(self, when: float) -> float:
        """Move time forward to a Unix time, running what falls due on the way.

        >>> VirtualClock(0).advance_to(90)
        90.0
        """
        __tracebackhide__ = True
        self._check_forward(when)
        return self._accompanied(partial(self._move, when))

    def _move_by(self, seconds: float) -> float:
        __tracebackhide__ = True
        # From where it stands by then: what was accepted before has been played.
        return self._move(self._now + seconds)

    async def _amove_by(self, seconds: float) -> float:
        __tracebackhide__ = True
        return await self._amove(self._now + seconds)

    def _move(self, when: float) -> float:
        __tracebackhide__ = True
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
        return await self._aaccompanied(partial(self._amove, when))

    async def _amove(self, when: float) -> float:
        __tracebackhide__ = True
        while timer := self._pop(when):
            self._now = max(self._now, timer.when)
            await timer.arun()
        self._now = max(self._now, float(when))
        return self._now

    # No context managers: their frames would stand between a failure and the caller's line.

    def _accompanied(self, move: Callable[[], float]) -> float:
        __tracebackhide__ = True
        for companion in self.companions:
            move = partial(companion.around, move)
        return move()

    async def _aaccompanied(self, move: Callable[[], Awaitable[float]]) -> float:
        __tracebackhide__ = True
        for companion in self.companions:
            move = partial(companion.aaround, move)
        return await move()

    def branch(self) -> VirtualClock:
        """Return another clock that stands at the same time, and has nothing to run.

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
