"""Work done in order where it must be, and at once where it can be."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Hashable
from queue import Empty, SimpleQueue

from engagelab_mock.clock import stopwatch

Job = Callable[[], object]

#: How long a thread waits for more to do before it ends, in seconds.
_IDLE = 10.0


class Lanes:
    """Do jobs in threads: those of one lane one after the other, of up to `abreast` lanes at once.

    >>> lanes = Lanes(abreast=2, on_error=print)
    >>> over = threading.Event()
    >>> done = []
    >>> lanes.put("a", lambda: done.append("first"))
    >>> lanes.put("a", over.set)
    >>> over.wait(10), done, lanes.stop(grace=10)
    (True, ['first'], True)

    What a job raises is given to `on_error`, and the next one is done.
    """

    def __init__(self, *, abreast: int, on_error: Callable[[Exception], object], name: str = "lane") -> None:
        self._abreast = abreast
        self._on_error = on_error
        self._name = name
        self._lock = threading.Lock()
        #: What is to be done in each lane, and what is being done; a lane that has nothing to do is not there.
        self._lanes: dict[Hashable, deque[Job]] = {}
        self._ready: SimpleQueue[Hashable | None] = SimpleQueue()
        self._threads: set[threading.Thread] = set()
        self._stopped = False

    def put(self, lane: Hashable, job: Job) -> None:
        """Have a job done once those before it in its lane are."""
        with self._lock:
            if self._stopped:
                return
            if (waiting := self._lanes.get(lane)) is not None:
                waiting.append(job)
                return
            self._lanes[lane] = deque([job])
            self._ready.put(lane)
            # Each lane occupies a thread or is about to, so there is an idle one unless there are more lanes.
            if len(self._threads) < min(self._abreast, len(self._lanes)):
                thread = threading.Thread(target=self._work, name=self._name, daemon=True)
                self._threads.add(thread)
                thread.start()

    @property
    def busy(self) -> bool:
        """Tell whether there is anything left to do."""
        return bool(self._lanes)

    def halt(self) -> None:
        """Begin no other job."""
        with self._lock:
            self._stopped = True
            for _ in self._threads:
                self._ready.put(None)

    def stop(self, *, grace: float) -> bool:
        """Halt, and wait up to `grace` seconds for the jobs under way; say whether they were over by then."""
        deadline = stopwatch() + grace
        self.halt()
        with self._lock:
            threads = self._threads - {threading.current_thread()}
        for thread in threads:
            thread.join(max(0.0, deadline - stopwatch()))
        return not any(thread.is_alive() for thread in threads)

    def _work(self) -> None:
        while (lane := self._next()) is not None:
            try:
                self._lanes[lane][0]()
            except Exception as error:
                self._on_error(error)
            with self._lock:
                waiting = self._lanes[lane]
                waiting.popleft()
                if waiting:
                    # To the end of the queue: a message with many callbacks does not go before the others.
                    self._ready.put(lane)
                else:
                    del self._lanes[lane]
                del waiting

    def _next(self) -> Hashable | None:
        """Wait for a lane to work on; None when the thread is not needed any more."""
        while True:
            try:
                lane = self._ready.get(timeout=_IDLE)
            except Empty:
                lane = None
            with self._lock:
                if self._stopped or (lane is None and len(self._threads) > len(self._lanes)):
                    self._threads.discard(threading.current_thread())
                    return None
            if lane is not None:
                return lane
