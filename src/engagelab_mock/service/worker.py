"""The delivery worker: threads that send due callbacks, for an app that runs in another process."""

from __future__ import annotations

import threading
import traceback
from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Hashable
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Self

from engagelab_mock.clock.real import LiveClock
from engagelab_mock.delivery.model import Delivery
from engagelab_mock.delivery.receiver import Receiver
from engagelab_mock.errors import EngageLabMockError, NotAcknowledged, UsageError
from engagelab_mock.eventloop import stopwatch

if TYPE_CHECKING:
    from engagelab_mock.engagelab import EngageLab

Job = Callable[[], object]

#: How many callbacks one receiver gets at once, at most.
CONCURRENCY = 16
#: How long `stop` waits for the callbacks under way, in seconds; a working receiver answers faster.
GRACE = 1.0
#: How long to wait before writing to a full disk is tried again, in seconds.
_ROOM_PAUSE = 0.5
#: After how many seconds an idle thread ends.
_IDLE = 10.0


class KeyedExecutor:
    """Run jobs in threads: jobs with the same key one after the other, and up to `concurrency` keys at once.

    >>> executor = KeyedExecutor(concurrency=2, on_error=print)
    >>> finished = threading.Event()
    >>> done = []
    >>> executor.submit("a", lambda: done.append("first"))
    >>> executor.submit("a", finished.set)
    >>> finished.wait(10), done, executor.stop(grace=10)
    (True, ['first'], True)

    If a job raises, `on_error` is called with the exception, and the next job runs. `on_start` is called in each new
    thread.
    """

    def __init__(
        self,
        *,
        concurrency: int,
        on_error: Callable[[BaseException], object],
        on_start: Callable[[], object] = lambda: None,
        name: str = "executor",
    ) -> None:
        self._concurrency = concurrency
        self._on_error = on_error
        self._on_start = on_start
        self._name = name
        #: Notified when a key is ready, and when no further job may start.
        self._changed = threading.Condition(threading.Lock())
        #: The jobs of each key that has any, each with its tag. The running one comes first.
        self._jobs: dict[Hashable, deque[tuple[Job, object]]] = {}
        #: The keys without a running job, in the order of their turns.
        self._ready: OrderedDict[Hashable, None] = OrderedDict()
        self._threads: set[threading.Thread] = set()
        self._stopped = False

    def submit(self, key: Hashable, job: Job, tag: object = None) -> None:
        """Run a job after the earlier jobs with the same key; `take` finds it by its tag."""
        with self._changed:
            if self._stopped:
                return
            if (jobs := self._jobs.get(key)) is not None:
                jobs.append((job, tag))
                return
            self._jobs[key] = deque([(job, tag)])
            self._ready[key] = None
            self._changed.notify()
            # Each key uses one thread, so a thread is idle unless there are more keys than threads.
            if len(self._threads) < min(self._concurrency, len(self._jobs)):
                thread = threading.Thread(target=self._work, name=self._name, daemon=True)
                self._threads.add(thread)
                thread.start()

    def take(self, key: Hashable, tags: Collection[object]) -> list[Job]:
        """Remove and return the jobs of a key that have one of these tags and have not started."""
        with self._changed:
            jobs = self._jobs.get(key)
            if jobs is None:
                return []
            running = 0 if key in self._ready else 1
            waiting = [jobs.pop() for _ in range(len(jobs) - running)][::-1]
            jobs.extend(entry for entry in waiting if entry[1] not in tags)
            if not jobs:
                del self._jobs[key], self._ready[key]
            return [job for job, tag in waiting if tag in tags]

    @property
    def busy(self) -> bool:
        """Tell whether a job is running or waiting."""
        return bool(self._jobs)

    def halt(self) -> None:
        """Start no further job."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def stop(self, *, grace: float) -> bool:
        """Start no further job, wait up to `grace` seconds for running jobs, and return whether they finished."""
        deadline = stopwatch() + grace
        self.halt()
        with self._changed:
            threads = self._threads - {threading.current_thread()}
        for thread in threads:
            thread.join(max(0.0, deadline - stopwatch()))
        return not any(thread.is_alive() for thread in threads)

    def _work(self) -> None:
        self._on_start()
        while (turn := self._next()) is not None:
            key, job = turn
            try:
                job()
            except BaseException as error:  # if this thread ended, the key's other jobs would wait for ever
                self._on_error(error)
            del turn, job
            with self._changed:
                jobs = self._jobs[key]
                jobs.popleft()
                if jobs:
                    # Put it at the end of the queue, so that a message with many callbacks does not delay the others.
                    self._ready[key] = None
                    self._changed.notify()
                else:
                    del self._jobs[key]
                del jobs

    def _next(self) -> tuple[Hashable, Job] | None:
        """Wait for a key that has a job to run; return None if this thread should end."""
        with self._changed:
            while not self._stopped:
                if self._ready:
                    key, _ = self._ready.popitem(last=False)
                    return key, self._jobs[key][0][0]
                if not self._changed.wait(_IDLE) and not self._ready and len(self._threads) > len(self._jobs):
                    break
            self._threads.discard(threading.current_thread())
            return None


class DeliveryWorker:
    """Send due callbacks from threads until it is stopped.

    >>> from engagelab_mock import EngageLab, LiveClock
    >>> with EngageLab(clock=LiveClock(speed=1000)) as engagelab, DeliveryWorker(engagelab):
    ...     engagelab.send("+6591234567").statuses
    ['plan', 'sent', 'delivered', 'verified']

    On a `LiveClock`, each receiver gets up to `concurrency` callbacks at once. The callbacks of one message are sent in
    order. A slow or dead receiver does not delay the others. On a `VirtualClock`, the worker settles each time a
    message was accepted. Failures are entered in the journal. After `stop`, pending callbacks stay unsent.
    """

    def __init__(
        self,
        engagelab: EngageLab,
        *,
        concurrency: int = CONCURRENCY,
        on_given_up: Callable[[int], object] = lambda messages: None,
    ) -> None:
        self._on_given_up = on_given_up
        self._engine = engagelab._engine
        self._clock = engagelab.clock
        self._concurrency = concurrency
        self._executors: dict[Receiver, KeyedExecutor] = {}
        self._lock = threading.Lock()
        self._released = threading.Event()
        self._thread: threading.Thread | None = None
        self._stopped = threading.Event()
        #: Marks the threads of this worker.
        self._own = threading.local()

    def start(self) -> Self:
        """Start sending."""
        if self._stopped.is_set():
            what = "the worker was stopped and cannot start again"
            raise UsageError(what, where="DeliveryWorker", hint="make a new one")
        if self._thread is None:
            work: Callable[[], object] = self._settle
            if self._engine.ledger is not None:
                self._engine.ledger.may_wait = self._wait_for_room
            if isinstance(self._clock, LiveClock):
                self._engine.scheduler.use_worker(self._post, self._take_back)
                work = partial(self._run_due, self._clock)
            else:
                self._engine.outbox.on_release.append(self._released.set)
                self._released.set()  # settle once for messages accepted before
            self._engine.outbox.on_release.append(self._give_up_oldest)
            self._thread = threading.Thread(target=work, name="DeliveryWorker", daemon=True)
            self._thread.start()
        return self

    def stop(self, *, grace: float = GRACE) -> bool:
        """Stop sending, wait up to `grace` seconds for the callbacks under way, and return whether they ended."""
        if self._stopped.is_set() or self._thread is None:
            self._stopped.set()
            return True
        self._stopped.set()
        self._engine.outbox.on_release.remove(self._give_up_oldest)
        deadline = stopwatch() + grace
        if isinstance(self._clock, LiveClock):
            self._clock.interrupt()
        else:
            self._engine.outbox.on_release.remove(self._released.set)
            self._released.set()
        with self._lock:
            executors = tuple(self._executors.values())
        for executor in executors:
            executor.halt()
        self._thread.join(grace)
        ended = [executor.stop(grace=max(0.0, deadline - stopwatch())) for executor in executors]
        self._engine.scheduler.use_worker(None)
        return all(ended) and not self._thread.is_alive()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _run_due(self, clock: LiveClock) -> None:
        """Run each entry of the agenda when it is due. Attempts take time, so other threads make them."""
        self._mark()
        while (entry := clock.next_due()) is not None:
            self._try(entry.run)

    def _settle(self) -> None:
        """Settle each time a message was accepted."""
        while True:
            self._released.wait()
            self._released.clear()
            # Only now: `stop` may have set it between the two lines above.
            if self._stopped.is_set():
                return
            self._try(self._engine.outbox.settle_quietly)

    def _post(self, delivery: Delivery, job: Job) -> None:
        """Make an attempt in a thread of the receiver's executor."""
        with self._lock:
            executor = self._executors.get(delivery.receiver)
            if executor is None and not self._stopped.is_set():
                executor = self._executors[delivery.receiver] = KeyedExecutor(
                    concurrency=self._concurrency,
                    on_error=self._report,
                    on_start=self._mark,
                    name="DeliveryWorker's",
                )
        if executor is not None:
            executor.submit(delivery.message_id, job, delivery)

    def _take_back(self, message_id: str, deliveries: Collection[Delivery]) -> list[Job]:
        """Remove and return the jobs of these deliveries that have not started."""
        with self._lock:
            executors = tuple(self._executors.values())
        return [job for executor in executors for job in executor.take(message_id, deliveries)]

    def _mark(self) -> None:
        """Mark this thread as one of this worker."""
        self._own.marked = True

    def _wait_for_room(self) -> bool:
        """Wait a moment for a store that cannot be written; in threads that are not this worker's, return False.

        This worker's threads have a due callback that must be stored first. A thread that answers a call must not wait.
        """
        return getattr(self._own, "marked", False) and not self._stopped.wait(_ROOM_PAUSE)

    def _give_up_oldest(self) -> None:
        """Limit the number of waiting jobs. If a receiver does not answer, their number would grow for ever."""
        if excess := self._engine.messages.take_excess():
            for sending in excess:
                self._try(sending.give_up)
            self._on_given_up(len(excess))

    def _try(self, work: Callable[[], object]) -> None:
        try:
            work()
        except BaseException as error:
            self._report(error)

    def _report(self, error: BaseException) -> None:
        """Enter an error in the journal, because no caller can catch it, unless it is in the journal already."""
        if isinstance(error, (NotAcknowledged, UsageError)):
            return
        try:
            what = f"{type(error).__name__}: {error}"
            refused = EngageLabMockError(what, where="DeliveryWorker")
            self._engine.journal.refuse(refused, at=self._clock.time())
        except Exception:
            # Writing may fail too, for example if the disk is full. Then print it to stderr.
            traceback.print_exception(error)
