"""Clocks that follow the machine's: as it is or faster, and one that can be frozen and moved."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from engagelab_mock import eventloop
from engagelab_mock.clock.base import Agenda, Timer, check_delay, check_moment, span, stopwatch
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


#: How often somebody who waits in an event loop looks, in seconds of the machine.
_GLANCE = 0.05
#: The longest wait at a stretch, in seconds of the machine: its date may be set meanwhile, or the machine have slept.
_LONGEST = 1.0


class Setting(NamedTuple):
    """Say what a clock showed at a moment of the machine's, both in Unix seconds, and how it went on from there."""

    shown: float
    machine: float
    speed: float
    frozen: bool


class LiveClock(Agenda):
    """Follow the machine's clock, `speed` times as fast, and let other threads freeze, advance and hurry it.

    >>> clock = LiveClock()
    >>> clock.freeze()
    >>> before = clock.time()
    >>> clock.advance(minutes=5) - before
    300.0

    What is due is taken off with `next_due`, by as many threads as like. `on_change` is called with the new `Setting`
    whenever the clock is set otherwise.
    """

    def __init__(self, speed: float = 1.0) -> None:
        super().__init__()
        now = time.time()
        self._setting = Setting(now, now, _check_speed(speed), frozen=False)
        self._changed = threading.Condition(self._lock)
        self._interrupted = False
        #: Held by who sets the clock, and by nobody who only reads it or waits.
        self._setting_it = threading.Lock()
        self.on_change: Callable[[Setting], object] | None = None

    def time(self) -> float:
        """Return the time in Unix seconds.

        >>> LiveClock().time() > 1_700_000_000
        True
        """
        shown, machine, speed, frozen = self._setting
        return shown if frozen else shown + (time.time() - machine) * speed

    @property
    def setting(self) -> Setting:
        """Return how the clock was set last; setting it continues where another clock was."""
        return self._setting

    @setting.setter
    def setting(self, setting: Setting) -> None:
        _check_speed(setting.speed)
        with self._changed:
            self._setting = setting
            self._changed.notify_all()

    @property
    def speed(self) -> float:
        """Return how many of its seconds pass in one of the machine's; it can be set at any time."""
        return self._setting.speed

    @speed.setter
    def speed(self, speed: float) -> None:
        self._set(speed=_check_speed(speed))

    @property
    def frozen(self) -> bool:
        """Tell whether it stands still."""
        return self._setting.frozen

    def freeze(self) -> None:
        """Stand still, until `resume`; `advance` moves it all the same.

        >>> clock = LiveClock()
        >>> clock.freeze()
        >>> clock.time() == clock.time()
        True
        """
        self._set(frozen=True)

    def resume(self) -> None:
        """Go on from where it stands.

        >>> clock = LiveClock()
        >>> clock.freeze()
        >>> clock.resume()
        >>> clock.frozen
        False
        """
        self._set(frozen=False)

    def advance(self, seconds: float = 0, *, minutes: float = 0, hours: float = 0, days: float = 0) -> float:
        """Jump forward, and return the new time; what falls due is for those who wait for it.

        >>> clock = LiveClock()
        >>> before = clock.time()
        >>> clock.advance(hours=1) >= before + 3600
        True
        """
        return self._set(by=span(seconds, minutes, hours, days))

    def advance_to(self, when: float) -> float:
        """Jump forward to a Unix time, and return it.

        >>> LiveClock().advance_to(4_000_000_000) >= 4_000_000_000
        True
        """
        now = self.time()
        if check_moment(when, where="clock.advance_to") < now:
            raise InvalidDelay(f"the clock shows {now:.3f} and cannot go back to {when:.3f}", where="clock.advance_to")
        return self._set(by=when - now)

    async def aadvance(self, seconds: float = 0, *, minutes: float = 0, hours: float = 0, days: float = 0) -> float:
        """Do what `advance` does; it takes no time."""
        return self.advance(seconds, minutes=minutes, hours=hours, days=days)

    async def aadvance_to(self, when: float) -> float:
        """Do what `advance_to` does; it takes no time."""
        return self.advance_to(when)

    def sleep(self, seconds: float) -> None:
        """Wait until that many seconds of this clock have passed.

        >>> LiveClock(speed=1000).sleep(1)
        """
        until = self.time() + check_delay(seconds, where="LiveClock.sleep")
        with self._changed:
            while (left := until - self.time()) > 0:
                self._changed.wait(self._real(left))

    def next_due(self, timeout: float = math.inf) -> Timer | None:
        """Wait for the next action, and take it off when it is due; None after `timeout` seconds of the machine.

        >>> clock = LiveClock()
        >>> timer = clock.call_at(0, lambda: print("overdue"))
        >>> clock.next_due() is timer, clock.next_due(timeout=0)
        (True, None)

        `interrupt` makes it return None at once.
        """
        deadline = stopwatch() + timeout
        with self._changed:
            while not self._interrupted:
                if (timer := self._pop_due()) is not None:
                    return timer
                if (left := deadline - stopwatch()) <= 0:
                    return None
                self._changed.wait(self._until_next(left))
        return None

    def interrupt(self) -> None:
        """Let whoever waits in `next_due`, now or later, return at once with nothing."""
        with self._changed:
            self._interrupted = True
            self._changed.notify_all()

    def run_next(self) -> bool:
        """Wait for the next action and run it; say whether there was one.

        >>> LiveClock().run_next()
        False
        """
        __tracebackhide__ = True
        with self._changed:
            while (timer := self._pop_due()) is None:
                if self._head() is None:
                    return False
                self._changed.wait(self._until_next(_LONGEST))
        timer.action()
        return True

    async def arun_next(self) -> bool:
        """Do what `run_next` does, leaving the event loop free while waiting."""
        __tracebackhide__ = True
        while True:
            with self._changed:
                timer = self._pop_due()
                wait = self._until_next(_GLANCE)
                if timer is None and self._head() is None:
                    return False
            if timer is not None:
                await timer.arun()
                return True
            await eventloop.sleep(wait)

    def branch(self) -> LiveClock:
        """Return another clock that shows the same time, as fast, and has nothing to run.

        >>> LiveClock(speed=60).branch().speed
        60
        """
        other = LiveClock()
        other.setting = self._setting
        return other

    def _set(self, *, by: float = 0.0, speed: float | None = None, frozen: bool | None = None) -> float:
        with self._setting_it:
            was = self._setting
            setting = Setting(
                self.time() + by,
                time.time(),
                was.speed if speed is None else speed,
                was.frozen if frozen is None else frozen,
            )
            # Before anything comes of it: whoever keeps it must not know less than has happened.
            if self.on_change is not None:
                self.on_change(setting)
            with self._changed:
                self._setting = setting
                self._changed.notify_all()
        return setting.shown

    def _enter(self, timer: Timer) -> None:
        super()._enter(timer)
        with self._changed:
            # Who waits, waits for the earliest; one that is later changes nothing for them.
            if self._head() is timer:
                self._changed.notify_all()

    def _pop_due(self) -> Timer | None:
        """Take off what is due; the lock is held."""
        return self._pop_held(self.time())

    def _until_next(self, most: float) -> float:
        """Return how long to wait for the next action, in seconds of the machine; the lock is held."""
        head = self._head()
        left = _LONGEST if head is None else self._real(head.when - self.time())
        return max(0.0, min(most, left, _LONGEST))

    def _real(self, seconds: float) -> float:
        """Return for how much of the machine's time to wait at most until so many seconds have passed."""
        return _LONGEST if self._setting.frozen else min(seconds / self.speed, _LONGEST)


def _check_speed(speed: object) -> float:
    if isinstance(speed, bool) or not isinstance(speed, (int, float)) or not math.isfinite(speed) or speed <= 0:
        raise InvalidDelay(f"a clock cannot run {speed!r} times as fast", hint="give a speed above 0")
    return speed
