"""While delays pass in real time: a line on the terminal that says what is waited for."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

from engagelab_mock.cli.output import console
from engagelab_mock.clock import SystemClock, VirtualClock, check_delay
from engagelab_mock.delivery.model import Attempt, Delivery
from engagelab_mock.messages.scenario import Scenario

#: How long one step of a watched delay takes, in seconds of the machine's clock.
_STEP = 0.1

Listener = Callable[[Delivery, Attempt], object]


class Pacer:
    """Hold the clock a scenario is played on; show nothing."""

    def __init__(self, clock: VirtualClock | SystemClock) -> None:
        self.clock = clock

    def between(self, listener: Listener) -> Listener:
        """Return the listener, arranged so that what it prints does not meet the display."""
        return listener

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End the display."""


class ShownPacer(Pacer):
    """Show on stderr how far a scenario has got, and what it waits for."""

    def __init__(self, clock: SystemClock, scenario: Scenario) -> None:
        super().__init__(WatchedClock(clock.speed, self._tick))
        self._coming = list(scenario.statuses)
        self._begun = self.clock.time()
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("waiting for [bold]{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.completed:.0f} of {task.total:.0f} s"),
            console=console(sys.stderr),
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._task = self._progress.add_task(self._next(), total=scenario.duration)

    def between(self, listener: Listener) -> Listener:
        """Take the display away while the listener prints."""

        def heard(delivery: Delivery, attempt: Attempt) -> None:
            with self._away():
                listener(delivery, attempt)
            if delivery.events:
                del self._coming[:1]
            self._progress.update(self._task, description=self._next())

        return heard

    def __enter__(self) -> Self:
        self._begun = self.clock.time()
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._progress.stop()

    def _tick(self) -> None:
        self._progress.update(self._task, completed=self.clock.time() - self._begun)

    def _next(self) -> str:
        return self._coming[0] if self._coming else "the end"

    @contextmanager
    def _away(self) -> Iterator[None]:
        self._progress.stop()
        try:
            yield
        finally:
            self._progress.start()


class WatchedClock(SystemClock):
    """Follow the machine's clock and call `tick` again and again while a delay passes.

    >>> WatchedClock(1000, lambda: print("tick")).sleep(1)
    tick
    """

    def __init__(self, speed: float, tick: Callable[[], object]) -> None:
        super().__init__(speed)
        self._tick = tick

    def sleep(self, seconds: float) -> None:
        """Wait until that many seconds of this clock have passed, in short steps."""
        end = self.time() + check_delay(seconds, where="WatchedClock.sleep")
        while (left := end - self.time()) > 0:
            super().sleep(min(left, _STEP * self.speed))
            self._tick()


def pace(clock: VirtualClock | SystemClock, scenario: Scenario) -> Pacer:
    """Show a display if delays take time and there is a terminal to show it on."""
    if isinstance(clock, SystemClock) and sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
        return ShownPacer(clock, scenario)
    return Pacer(clock)
