"""The condition: how threads and tasks wait until something changes, all with one lock."""

from __future__ import annotations

import contextlib
import functools
import math
import threading
from collections.abc import Callable, Hashable, Iterator

from engagelab_mock.eventloop import caller, flag, limited, stopwatch


class Condition:
    """A lock, and a way for threads and tasks to wait until something changes.

    >>> condition = Condition()
    >>> condition.wait_for(lambda: True, timeout=1)
    True
    """

    __slots__ = ("_narrowed", "_tasks", "_threads", "_waiting", "changes", "lock")

    def __init__(self, lock: threading.RLock | None = None) -> None:
        #: Held for short moments only, and never while a receiver is called.
        self.lock = threading.RLock() if lock is None else lock
        self._threads = threading.Condition(self.lock)
        #: How many changes there were so far.
        self.changes = 0
        self._waiting = 0
        self._tasks: list[Callable[[], object]] = []
        #: The conditions that are notified of fewer changes, by the object whose changes they are notified of.
        self._narrowed: dict[Hashable, list[Condition]] = {}

    def notify(self, about: Hashable = None) -> None:
        """Wake every waiting thread and task; the lock must be held.

        If only one object has changed, such as a recipient's messages, `about` names it. Threads and tasks that wait
        for changes of another object alone then sleep on: waking hundreds of them takes much more time than the change.
        """
        self._wake()
        if self._narrowed:
            concerned = [self._narrowed.get(about, ())] if about is not None else list(self._narrowed.values())
            for conditions in concerned:
                for each in conditions:
                    each._wake()

    def _wake(self) -> None:
        self.changes += 1
        if self._waiting:
            self._threads.notify_all()
        if self._tasks:
            tasks, self._tasks = self._tasks, []
            for wake in tasks:
                wake()

    @contextlib.contextmanager
    def narrow(self, about: Hashable) -> Iterator[Condition]:
        """Return a condition with the same lock that is not notified of changes of other objects, until the block ends.

        >>> condition = Condition()
        >>> with condition.lock, condition.narrow("a") as narrow:
        ...     condition.notify("a")
        ...     condition.notify("b")
        ...     condition.notify()
        ...     narrow.changes, condition.changes
        (2, 3)
        """
        narrowed = Condition(self.lock)
        with self.lock:
            self._narrowed.setdefault(about, []).append(narrowed)
        try:
            yield narrowed
        finally:
            with self.lock:
                alike = self._narrowed[about]
                alike.remove(narrowed)
                if not alike:
                    del self._narrowed[about]

    def wait(self, timeout: float) -> None:
        """Wait in this thread for the next change, at most `timeout` seconds; the lock must be held."""
        self._waiting += 1
        try:
            # A wait longer than this maximum raises OverflowError.
            self._threads.wait(min(timeout, threading.TIMEOUT_MAX))
        finally:
            self._waiting -= 1

    def wait_for(self, ready: Callable[[], bool], timeout: float) -> bool:
        """Block this thread until `ready()` is true, at most `timeout` seconds, and return the last result.

        `ready` is called with the lock held, so it may also change the state that it has checked.
        """
        with self.lock:
            if ready():
                return True
            deadline = stopwatch() + timeout
            while (left := deadline - stopwatch()) > 0:
                self.wait(left)
                if ready():
                    return True
            return False

    async def await_for(self, ready: Callable[[], bool], timeout: float) -> bool:
        """Do the same as `wait_for`, without blocking the event loop."""
        if timeout <= 0:
            with self.lock:
                return ready()
        try:
            async with limited(timeout if math.isfinite(timeout) else None):
                while True:
                    changed = flag()
                    wake = functools.partial(_wake, caller(), changed.set)
                    with self.lock:
                        if ready():
                            return True
                        self._tasks.append(wake)
                    try:
                        await changed.wait()
                    finally:
                        with self.lock, contextlib.suppress(ValueError):
                            self._tasks.remove(wake)
        except TimeoutError:
            return False


def _wake(call_soon: Callable[[Callable[[], object]], object], wake: Callable[[], object]) -> None:
    with contextlib.suppress(RuntimeError):  # the task's event loop may be closed by now
        call_soon(wake)
