"""The machine's clock, as it is or faster."""

from __future__ import annotations

import math
import time

from engagelab_mock import eventloop
from engagelab_mock.clock.delay import check_delay
from engagelab_mock.clock.timer import Agenda
from engagelab_mock.errors import InvalidDelay


class SystemClock(Agenda):
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
