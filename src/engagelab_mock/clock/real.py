"""Clocks that follow real time: the system clock, and the live clock, which can be frozen and moved."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from engagelab_mock.clock.base import Agenda, Entry, check_delay, check_moment, span
from engagelab_mock.errors import InvalidDelay
from engagelab_mock.eventloop import stopwatch


class SystemClock(Agenda):
    """Follow the system time, `speed` times as fast.

    >>> SystemClock().time() > 1_700_000_000
    True

    With a `speed` of 10, a delay of 20 seconds takes 2 seconds.
    """

    def __init__(self, speed: float = 1.0) -> None:
        super().__init__()
        self.speed = _check_speed(speed)
        self._start = time.time()
        #: The entry that a caller waits for, and the end of the wait, by the stopwatch.
        self._awaited: tuple[Entry, float] | None = None

    def time(self) -> float:
        """Return the time in Unix seconds; with a `speed` above 1 it runs ahead of the system time.

        >>> SystemClock(speed=60).time() > 0
        True
        """
        now = time.time()
        return self._start + (now - self._start) * self.speed

    def sleep(self, seconds: float) -> None:
        """Wait for some seconds of this clock.

        >>> SystemClock().sleep(0)
        """
        time.sleep(check_delay(seconds, where="SystemClock.sleep") / self.speed)

    def take_due(self) -> Entry | None:
        """Take off and return the earliest entry if it is due; the lock must be held."""
        head = self.head()
        if head is None or (head.at > self.time() and not self._wait_is_over(head)):
            return None
        return self.pop()

    def wait_for_due(self) -> float:
        """Return how many real seconds to wait for the earliest entry; the lock must be held."""
        head = self.head()
        if head is None:
            return math.inf
        if self._awaited is None or self._awaited[0] is not head:
            self._awaited = (head, stopwatch() + self.wait_until(head.at))
        return max(0.0, self._awaited[1] - stopwatch())

    def wait_until(self, at: float) -> float:
        """Return how many real seconds to wait until a Unix time of this clock."""
        return max(0.0, at - self.time()) / self.speed

    def _wait_is_over(self, head: Entry) -> bool:
        # If a library freezes the date, `time` stands still. The wait must end anyway.
        return self._awaited is not None and self._awaited[0] is head and stopwatch() >= self._awaited[1]

    def branch(self) -> SystemClock:
        """Return another clock with the same time and speed, and an empty agenda.

        >>> SystemClock(speed=60).branch().speed
        60
        """
        other = SystemClock(self.speed)
        other._start = self._start
        return other


#: The longest single wait, in real seconds: during a wait, the system time may be set, or the machine may sleep.
_LONGEST_WAIT = 1.0


class Setting(NamedTuple):
    """Hold the time that a clock showed at a system time (`machine`), both in Unix seconds, and its speed since."""

    shown: float
    machine: float
    speed: float
    frozen: bool


class LiveClock(Agenda):
    """Follow the system time, `speed` times as fast. Any thread can freeze or advance it, or change its speed.

    >>> clock = LiveClock()
    >>> clock.freeze()
    >>> before = clock.time()
    >>> clock.advance(minutes=5) - before
    300.0

    Any number of threads can take due entries with `next_due`. `on_change` is called with the new `Setting` each time
    the clock is changed.
    """

    def __init__(self, speed: float = 1.0) -> None:
        super().__init__()
        now = time.time()
        self._setting = Setting(now, now, _check_speed(speed), frozen=False)
        self._interrupted = False
        #: Held by a thread that changes the clock. Reading the time and waiting do not need the lock.
        self._change_lock = threading.Lock()
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
        """Return the last setting. Assign another clock's setting to continue from its time."""
        return self._setting

    @setting.setter
    def setting(self, setting: Setting) -> None:
        _check_speed(setting.speed)
        _check_shown(setting.shown)
        with self.condition.lock:
            self._setting = setting
            self.condition.notify()

    @property
    def speed(self) -> float:
        """Return how many seconds of this clock pass in a real second; it can be set at any time."""
        return self._setting.speed

    @speed.setter
    def speed(self, speed: float) -> None:
        self._set(speed=_check_speed(speed))

    @property
    def frozen(self) -> bool:
        """Tell whether the clock is frozen."""
        return self._setting.frozen

    def freeze(self) -> None:
        """Stop the clock until `resume`; `advance` can still move it.

        >>> clock = LiveClock()
        >>> clock.freeze()
        >>> clock.time() == clock.time()
        True
        """
        self._set(frozen=True)

    def resume(self) -> None:
        """Continue from the time that the frozen clock shows.

        >>> clock = LiveClock()
        >>> clock.freeze()
        >>> clock.resume()
        >>> clock.frozen
        False
        """
        self._set(frozen=False)

    def advance(self, seconds: float = 0, *, minutes: float = 0, hours: float = 0, days: float = 0) -> float:
        """Move forward at once, and return the new time. Waiting threads then take the due entries.

        >>> clock = LiveClock()
        >>> before = clock.time()
        >>> clock.advance(hours=1) >= before + 3600
        True
        """
        return self._set(by=span(seconds, minutes, hours, days))

    def advance_to(self, when: float) -> float:
        """Move forward to a Unix time at once, and return it.

        >>> LiveClock().advance_to(4_000_000_000) >= 4_000_000_000
        True
        """
        now = self.time()
        if check_moment(when, where="clock.advance_to") < now:
            what = f"the clock shows {now:.3f} and cannot go back to {when:.3f}"
            raise InvalidDelay(what, where="clock.advance_to", hint="give a later time, or start with a new clock")
        return self._set(by=when - now)

    async def aadvance(self, seconds: float = 0, *, minutes: float = 0, hours: float = 0, days: float = 0) -> float:
        """Do the same as `advance`, which does not block."""
        return self.advance(seconds, minutes=minutes, hours=hours, days=days)

    async def aadvance_to(self, when: float) -> float:
        """Do the same as `advance_to`, which does not block."""
        return self.advance_to(when)

    def sleep(self, seconds: float) -> None:
        """Wait for some seconds of this clock.

        >>> LiveClock(speed=1000).sleep(1)
        """
        until = self.time() + check_delay(seconds, where="LiveClock.sleep")
        with self.condition.lock:
            while (left := until - self.time()) > 0:
                self.condition.wait(self._real_wait(left))

    def next_due(self, timeout: float = math.inf) -> Entry | None:
        """Wait until an entry is due, and take it off; return None after `timeout` real seconds.

        >>> clock = LiveClock()
        >>> timer = clock.call_at(0, lambda: print("overdue"))
        >>> clock.next_due() is timer, clock.next_due(timeout=0)
        (True, None)

        `interrupt` makes the call return None at once.
        """
        deadline = stopwatch() + timeout
        with self.condition.lock:
            while not self._interrupted:
                if (timer := self.take_due()) is not None:
                    return timer
                if (left := deadline - stopwatch()) <= 0:
                    return None
                self.condition.wait(min(left, self.wait_for_due()))
        return None

    def interrupt(self) -> None:
        """Make every call of `next_due`, now and later, return None at once."""
        with self.condition.lock:
            self._interrupted = True
            self.condition.notify()

    def branch(self) -> LiveClock:
        """Return another clock with the same time and speed, and an empty agenda.

        >>> LiveClock(speed=60).branch().speed
        60
        """
        other = LiveClock()
        other.setting = self._setting
        return other

    def _set(self, *, by: float = 0.0, speed: float | None = None, frozen: bool | None = None) -> float:
        with self._change_lock:
            was = self._setting
            setting = Setting(
                _check_shown(self.time() + by),
                time.time(),
                was.speed if speed is None else speed,
                was.frozen if frozen is None else frozen,
            )
            # Before the change takes effect, so that the store has every change that had effects.
            if self.on_change is not None:
                self.on_change(setting)
            with self.condition.lock:
                self._setting = setting
                self.condition.notify()
        return setting.shown

    def take_due(self) -> Entry | None:
        """Take off and return the earliest entry if it is due; the lock must be held."""
        return self.pop(self.time())

    def wait_for_due(self) -> float:
        """Return how many real seconds to wait for the earliest entry; the lock must be held."""
        head = self.head()
        return _LONGEST_WAIT if head is None else self.wait_until(head.at)

    def wait_until(self, at: float) -> float:
        """Return how many real seconds to wait, at most, until a Unix time of this clock."""
        return max(0.0, self._real_wait(at - self.time()))

    def _real_wait(self, seconds: float) -> float:
        """Return how many real seconds to wait, at most, until some seconds of this clock have passed."""
        return _LONGEST_WAIT if self._setting.frozen else min(seconds / self.speed, _LONGEST_WAIT)


#: The highest speed, and the latest time that a clock can be set to. With much larger values, floats lose precision.
_FASTEST = 1e9
_LATEST = 1e15


def _check_speed(speed: object) -> float:
    if isinstance(speed, bool) or not isinstance(speed, (int, float)) or not 0 < speed <= _FASTEST:
        hint = f"give a speed above 0, up to {_FASTEST:g}"
        raise InvalidDelay(f"a clock cannot run {speed!r} times as fast", hint=hint)
    return speed


def _check_shown(moment: float) -> float:
    if not abs(moment) <= _LATEST:  # false for NaN, too
        raise InvalidDelay(f"a clock cannot show {moment!r}", hint=f"Unix seconds go up to {_LATEST:g} here")
    return moment
