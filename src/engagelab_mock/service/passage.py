"""Who lets time pass, when several threads could."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from engagelab_mock.clock import stopwatch

if TYPE_CHECKING:
    from engagelab_mock.delivery.io import Io

#: How often somebody who waits looks, in seconds.
_GLANCE = 0.002


class Passage:
    """Let one thread at a time move a clock; the one that does may enter again."""

    def __init__(self, progress: Callable[[], int]) -> None:
        self._lock = threading.RLock()
        self._progress = progress

    async def enter(self, io: Io, patience: float) -> bool:
        """Wait until it is this thread's turn, and say whether it is; whoever enters has to `leave`.

        Whoever waits gives up after `patience` seconds in which nothing happened: it may itself be what the other one
        waits for, such as a receiver that sends something from its handler.
        """
        if self._lock.acquire(blocking=False):
            return True
        steps, since = self._progress(), stopwatch()
        while stopwatch() - since < patience:
            await io.pause(_GLANCE)
            if self._lock.acquire(blocking=False):
                return True
            if steps != self._progress():
                steps, since = self._progress(), stopwatch()
        return False

    def leave(self) -> None:
        """Let others have their turn."""
        self._lock.release()
