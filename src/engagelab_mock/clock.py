"""Where time comes from: the machine (`SystemClock`) or the test (`VirtualClock`)."""

from __future__ import annotations

import heapq
import math
import time
from collections.abc import Callable
from typing import Protocol, runtime_checkable

from engagelab_mock.errors import InvalidDelay


@runtime_checkable
class Clock(Protocol):
    """Tell the time in Unix seconds and let it pass.

    >>> isinstance(VirtualClock(), Clock)
    True
    """

    def time(self) -> float:
        """Return the time in Unix seconds."""

    def sleep(self, seconds: float) -> None:
        """Let that many seconds of this clock pass."""


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


class SystemClock:
    """Follow the machine's clock, `speed` times as fast.

    >>> SystemClock().time() > 1_700_000_000
    True

    `speed` is a ratio: with 10, a delay of 20 seconds takes 2.
    """

    def __init__(self, speed: float = 1.0) -> None:
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


class Timer:
    """Hold an action that a `VirtualClock` runs when its time comes; `cancel` takes it back.

    >>> clock = VirtualClock(0)
    >>> timer = clock.call_at(60, lambda: print("ring"), label="alarm")
    >>> timer.cancel()
    >>> clock.advance(minutes=5)
    300.0
    """

    __slots__ = ("action", "cancelled", "label", "when")

    def __init__(self, when: float, action: Callable[[], object], label: str) -> None:
        self.when = when
        self.action = action
        self.label = label
        self.cancelled = False

    def cancel(self) -> None:
        """Take the action back; it will not run."""
        self.cancelled = True

    def __repr__(self) -> str:
        return f"<Timer {self.label!r} at {self.when:.3f}>"


class VirtualClock:
    """Stand still until told otherwise: time passes only through `sleep`, `advance` and `advance_to`.

    >>> clock = VirtualClock(1_700_000_000)
    >>> clock.advance(minutes=5)
    1700000300.0

    `start` is in Unix seconds; left out, it is the wall clock's time at construction.
    """

    def __init__(self, start: float | None = None) -> None:
        self._now = time.time() if start is None else float(start)
        self._agenda: list[tuple[float, int, Timer]] = []
        self._scheduled = 0

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
        delay = check_delay(seconds + 60 * minutes + 3600 * hours + 86400 * days, where="clock.advance")
        return self.advance_to(self._now + delay)

    def advance_to(self, when: float) -> float:
        """Move time forward to a Unix time, running what falls due on the way.

        >>> VirtualClock(0).advance_to(90)
        90.0
        """
        __tracebackhide__ = True
        _check_moment(when, where="clock.advance_to")
        if when < self._now:
            raise InvalidDelay(
                f"the clock stands at {self._now:.3f} and cannot go back to {when:.3f}",
                where="clock.advance_to",
            )
        while self._agenda and self._agenda[0][0] <= when:
            due, _, timer = heapq.heappop(self._agenda)
            # A nested advance, made by an earlier action, may have passed this one's time already.
            self._now = max(self._now, due)
            if not timer.cancelled:
                timer.action()
        self._now = max(self._now, float(when))
        return self._now

    def call_at(self, when: float, action: Callable[[], object], *, label: str = "") -> Timer:
        """Run `action` when the clock reaches a Unix time; an action already due runs at the next advance.

        >>> clock = VirtualClock(0)
        >>> timer = clock.call_at(5, lambda: print("five"))
        >>> _ = clock.advance(10)
        five
        """
        # A moment that is not a number would be neither before nor after any other, and hold up the agenda.
        timer = Timer(_check_moment(when, where="clock.call_at"), action, label)
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
