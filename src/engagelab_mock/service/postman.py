"""Threads that let time pass, for apps that are elsewhere."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Self

from engagelab_mock.clock import stopwatch
from engagelab_mock.clock.real import LiveClock
from engagelab_mock.delivery.model import Delivery
from engagelab_mock.delivery.receiver import Receiver
from engagelab_mock.errors import EngageLabMockError, NotAcknowledged, UsageError
from engagelab_mock.service.lanes import Lanes

if TYPE_CHECKING:
    from engagelab_mock.service.engagelab import EngageLab

#: How many callbacks are under way to one receiver at once.
ABREAST = 16
#: How long `stop` waits for the callbacks under way, in seconds: a receiver that works answers in less.
GRACE = 1.0


class Postman:
    """Deliver what is due when it is due, on threads of its own, until it is stopped.

    >>> from engagelab_mock import EngageLab, LiveClock
    >>> with EngageLab(clock=LiveClock(speed=1000)) as engagelab, Postman(engagelab):
    ...     engagelab.send("+6591234567").statuses
    ['plan', 'sent', 'delivered', 'verified']

    On a `LiveClock` each receiver has up to `abreast` callbacks under way, those of one message in order; a receiver
    that is slow or dead holds up nobody else's. On a `VirtualClock` it settles whenever something was accepted. What
    goes wrong is entered in the journal. `stop` leaves what is not sent where it is.
    """

    def __init__(self, engagelab: EngageLab, *, abreast: int = ABREAST) -> None:
        self._engagelab = engagelab
        self._clock = engagelab.clock
        self._abreast = abreast
        self._lanes: dict[Receiver, Lanes] = {}
        self._lock = threading.Lock()
        self._released = threading.Event()
        self._thread: threading.Thread | None = None
        self._stopped = False

    def start(self) -> Self:
        """Deliver from now on."""
        if self._stopped:
            raise UsageError("the postman was stopped and cannot start again", where="Postman")
        if self._thread is None:
            work: Callable[[], object] = self._settle
            if isinstance(self._clock, LiveClock):
                self._engagelab.employ(self._post)
                work = partial(self._follow, self._clock)
            else:
                self._engagelab.on_release.append(self._released.set)
                self._released.set()  # for what was released before
            self._thread = threading.Thread(target=work, name="Postman", daemon=True)
            self._thread.start()
        return self

    def stop(self, *, grace: float = GRACE) -> bool:
        """Send nothing more, and wait up to `grace` seconds for what is under way; say whether it was over by then."""
        if self._stopped or self._thread is None:
            self._stopped = True
            return True
        self._stopped = True
        deadline = stopwatch() + grace
        if isinstance(self._clock, LiveClock):
            self._clock.interrupt()
        else:
            self._engagelab.on_release.remove(self._released.set)
            self._released.set()
        with self._lock:
            desks = tuple(self._lanes.values())
        for desk in desks:
            desk.halt()
        self._thread.join(grace)
        over = [desk.stop(grace=max(0.0, deadline - stopwatch())) for desk in desks]
        return all(over) and not self._thread.is_alive()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _follow(self, clock: LiveClock) -> None:
        """Do what is due when it is due; what takes time is posted, and so holds nothing up."""
        while (timer := clock.next_due()) is not None:
            self._try(timer.action)

    def _settle(self) -> None:
        """Let virtual time pass for what was accepted, one thing after the other."""
        while self._released.wait() and not self._stopped:
            self._released.clear()
            self._try(self._engagelab.work_off)

    def _post(self, delivery: Delivery, job: Callable[[], object]) -> None:
        """Have an attempt made by a thread of the receiver's own."""
        with self._lock:
            desk = self._lanes.get(delivery.receiver)
            if desk is None and not self._stopped:
                desk = self._lanes[delivery.receiver] = Lanes(
                    abreast=self._abreast, on_error=self._report, name="Postman's"
                )
        if desk is not None:
            desk.put(delivery.message_id, job)

    def _try(self, work: Callable[[], object]) -> None:
        try:
            work()
        except Exception as error:
            self._report(error)

    def _report(self, error: Exception) -> None:
        """Enter in the journal what nobody is there to catch, unless it is there already."""
        if isinstance(error, (NotAcknowledged, UsageError)):
            return
        try:
            what = f"{type(error).__name__}: {error}"
            self._engagelab.journal.refuse(EngageLabMockError(what, where="Postman"), at=self._clock.time())
        except Exception:
            # Where the store is full, too: there is nowhere left to say it but here.
            traceback.print_exception(error)
