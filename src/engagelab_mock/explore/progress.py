"""How far an exploration has got, for somebody who waits for it."""

from __future__ import annotations

import sys
from collections.abc import Callable

from engagelab_mock.clock import stopwatch
from engagelab_mock.explore.exploration import Exploration

#: Is told now and then how far an exploration has got, and with True when it is over.
Listener = Callable[[Exploration, bool], object]

#: Seconds between two looks at the display, and schedules between two looks at the watch.
_INTERVAL = 0.1
_EVERY = 16


class Progress:
    """Tell a listener how far an exploration has got, ten times a second at most; without one, nothing is done.

    >>> progress = Progress(lambda exploration, over: print(exploration, over))
    >>> progress.end(Exploration(total=24))
    <Exploration: 0 of 24 schedules, 0 deliveries, no failure> True
    """

    def __init__(self, listener: Listener | None) -> None:
        self._listener = listener if listener is not None else _terminal_line()
        self._told = stopwatch()

    def step(self, exploration: Exploration) -> None:
        """Say that one more schedule was played."""
        if self._listener is not None and exploration.schedules % _EVERY == 0:
            now = stopwatch()
            if now - self._told >= _INTERVAL:
                self._told = now
                self._listener(exploration, False)

    def end(self, exploration: Exploration) -> None:
        """Say that the exploration is over."""
        if self._listener is not None:
            self._listener(exploration, True)


def progress_line(exploration: Exploration) -> str:
    """Say in one line how far an exploration has got.

    >>> progress_line(Exploration(total=24, schedules=12, deliveries=48))
    'exploring: 12 of 24 schedules, 48 deliveries'
    """
    failed = f", {len(exploration.failures)} failed" if exploration.failures else ""
    played = f"{exploration.schedules} of {exploration.total} schedules"
    return f"exploring: {played}, {exploration.deliveries} deliveries{failed}"


def _terminal_line() -> Listener | None:
    """Return what rewrites a line on stderr, where that is a terminal."""
    stream = sys.stderr
    if stream is None or not stream.isatty():
        return None

    def show(exploration: Exploration, over: bool) -> None:
        stream.write("\r\x1b[2K" + ("" if over else progress_line(exploration)))
        stream.flush()

    return show
