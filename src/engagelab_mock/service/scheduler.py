"""The scheduler: which thread or task advances the clock and sends due callbacks, and how the others wait.

Theory of operation
-------------------
The clock keeps an agenda, a heap of entries: scheduled callbacks, retries, expiries of codes, and timers of the test. A
thread or task *advances* when it takes the earliest entry off the agenda and runs it. On a virtual clock this moves the
time to the entry. All of this holds for virtual, system and live clocks, and for `SYNC` and `ASYNC`.

One lock: `clock.condition.lock`. It guards the agenda, the states of scheduled callbacks (`State`), the counts
`Sending.remaining`, the right to advance, and the list of accepted messages. It is an RLock. It is held for moments and
never while a receiver is called, so a handler may call the API or send. Lock order: this lock first, then the locks of
the journal, the rules and the store. Code that holds one of those never takes this one, so a cycle is not possible.

One condition: `clock.condition`. All waiting is done on it. Threads block on it; tasks wait without blocking their
event loop. It is notified when the earliest entry changes, when a callback is finished or withdrawn, when the right to
advance is given back, when an API response was written, and when a message is accepted. Nothing polls.

A change may name its object: the agenda, a sending, or the recipient of a message. A caller that waits for nothing else
than one recipient's messages waits on `condition.narrow(recipient)`, and is woken by changes of that recipient and by
those without an object, such as a move of the clock. Hundreds may wait, and each would look into its inbox after every
change. A caller that also sends, or gets failures, waits on the whole condition.

The right to advance belongs to one thread at a time (`_owner`). That thread may take it again (`_depth`), and all tasks
of an event loop share the right of their thread.

- Another thread waits until the right is free or its own sending is finished. The owner runs every entry in the order
  of time, so it also finishes the sendings of waiting threads.
- Tasks of one event loop advance together. Each task runs the entries of the sending that it waits for, and entries
  that no task waits for. Entries that are due at the same moment go out concurrently. The time moves only when no
  entry is under way. `_may_take` is this rule.
- A receiver may call back into this package while an entry is sent to it. That caller needs no right, because the
  owner waits for it. The context variable `_ADVANCING` shows this. Such a caller advances at once.

Why it cannot deadlock: the owner waits only for receivers, its event loop and real time. One case is left. A receiver
may wait for a thread that waits for the owner, for example if a handler behind a socket starts a thread that sends. The
context variable does not show it. Therefore every waiter gives up after `PATIENCE` seconds in which nothing was
delivered, and then advances without the right.

States of a scheduled callback:

    held --release--> scheduled --taken off the agenda--> delivering --every receiver was tried--> delivered
      |                   |
      +-----withdraw------+-----> withdrawn                A retry is another scheduled callback.
"""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Callable, Collection, Hashable, Sequence
from contextvars import ContextVar, Token
from enum import StrEnum
from typing import TYPE_CHECKING, Literal

from engagelab_mock.clock import Clock, Entry, VirtualClock
from engagelab_mock.clock.base import Agenda
from engagelab_mock.clock.condition import Condition
from engagelab_mock.delivery.io import ASYNC, SYNC, Io, run_sync
from engagelab_mock.eventloop import raise_own_cancellation

if TYPE_CHECKING:
    from engagelab_mock.delivery.model import Delivery, Verbatim
    from engagelab_mock.protocol.events import Event
    from engagelab_mock.service.sending import Sending

#: A waiter gives up when nothing was delivered for this long, in seconds. The owner may be waiting for it.
PATIENCE = 1.0

#: The schedulers that are running an entry now, as the code that the entry calls sees them.
_ADVANCING: ContextVar[tuple[Scheduler, ...]] = ContextVar("engagelab_mock_advancing", default=())


class State(StrEnum):
    """Name the state of a scheduled callback."""

    #: It waits until the API response is written.
    HELD = "held"
    #: It is on the clock's agenda.
    SCHEDULED = "scheduled"
    #: It was taken off the agenda. Its deliveries are under way.
    DELIVERING = "delivering"
    #: It was sent to every receiver.
    DELIVERED = "delivered"
    #: It will not be sent.
    WITHDRAWN = "withdrawn"


#: An event of the message; another attempt of a delivery; the expiry of the message's code, which no caller waits for.
Kind = Literal["event", "retry", "expiry"]
#: Takes over an attempt of a delivery, as a job.
Post = Callable[["Delivery", Callable[[], object]], object]
#: Returns jobs that have not started, by the message's id and its deliveries.
TakeBack = Callable[[str, Collection["Delivery"]], Sequence[Callable[[], object]]]


class ScheduledCallback:
    """Hold one callback until it is sent: `at` is a Unix time, `events` are its events.

    It is an entry of the clock's agenda. With a `delivery` it is that delivery's next attempt.
    """

    __slots__ = (
        "agenda",
        "at",
        "cancelled",
        "delivery",
        "events",
        "key",
        "kind",
        "left",
        "sending",
        "spelt",
        "state",
        "verbatim",
    )

    def __init__(
        self,
        sending: Sending,
        at: float,
        events: tuple[Event, ...],
        kind: Kind = "event",
        delivery: Delivery | None = None,
        verbatim: Verbatim | None = None,
        key: str = "",
    ) -> None:
        self.sending = sending
        self.at = at
        self.events = events
        #: The events as the dialect spells them, once the first receiver gets them.
        self.spelt: tuple[Event, ...] = ()
        self.kind = kind
        self.state = State.HELD
        #: True once it is withdrawn: the agenda then drops it.
        self.cancelled = False
        self.delivery = delivery
        self.verbatim = verbatim
        #: The key under which the store keeps it.
        self.key = key
        #: How many of its deliveries still wait for a worker.
        self.left = 0
        self.agenda: Agenda | None = None

    @property
    def label(self) -> str:
        """Return a description for a person to read."""
        about = self.sending.message_id or "the account"
        if self.delivery is None:
            return f"{', '.join(event.name for event in self.events)} of {about}"
        number = self.delivery.attempts[-1].number + 1 if self.delivery.attempts else 1
        return f"attempt {number} of {', '.join(self.delivery.statuses)} of {about}"

    def cancel(self) -> None:
        """Withdraw the callback, so that it is not sent."""
        self.sending.withdraw((self,))

    def run(self) -> None:
        """Send the callback."""
        __tracebackhide__ = True
        run_sync(self.sending.deliver(SYNC, self))

    async def arun(self) -> None:
        """Send the callback from the running event loop."""
        __tracebackhide__ = True
        await self.sending.deliver(ASYNC, self)

    def __repr__(self) -> str:
        return f"<ScheduledCallback {self.label!r} at {self.at:.3f}: {self.state}>"


class Scheduler:
    """Own a clock: run due entries, let one thread at a time advance, and make the others wait."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        #: The condition that is notified of every change, and the lock of all scheduled and accepted callbacks.
        self.condition: Condition = clock.condition
        self.lock = clock.condition.lock
        #: The time moves only when a caller advances.
        self.virtual = isinstance(clock, VirtualClock)
        #: Makes the attempts instead of the thread that advances. None unless a `DeliveryWorker` runs.
        self.post: Post | None = None
        #: Returns the attempts that the worker has not started.
        self.take_back: TakeBack = lambda message_id, deliveries: ()
        #: How many entries have run so far.
        self.steps = 0
        self._owner: int | None = None
        self._depth = 0
        #: The sendings that callers with the right to advance are waiting for.
        self._awaited: list[Sending] = []
        #: How many entries are running.
        self._under_way = 0

    @property
    def is_advancing(self) -> bool:
        """Tell whether a receiver called the caller, while an entry is sent to that receiver."""
        return self in _ADVANCING.get()

    @property
    def in_use(self) -> bool:
        """Tell whether a thread or task has the right to advance."""
        return self._owner is not None

    async def run(self, io: Io, sending: Sending) -> None:
        """Run due entries until a sending is finished, and raise `NotAcknowledged` for a callback that was given up."""
        __tracebackhide__ = True
        try:
            if io is not SYNC:
                await raise_own_cancellation()  # otherwise the app would be called before the cancellation is raised
            if self.post is None:
                await self.advance(io, sending)
            else:
                # A worker that stops leaves its unsent callbacks.
                await io.wait_for(self.condition, lambda: not sending.remaining or self.post is None, math.inf)
        except BaseException:
            # After an error or a cancellation, the other callbacks must not go out during another call.
            sending.withdraw()
            raise
        finally:
            sending.caller_waits = False
        if sending.failures:
            raise sending.failures[0]

    async def advance(self, io: Io, sending: Sending) -> None:
        """Run due entries until a sending is finished, or no entry is left."""
        __tracebackhide__ = True
        clock, lock = self.clock, self.lock
        active = _ADVANCING.get()
        entered = False
        if self not in active:
            with lock:
                entered = self._take()
            if not entered:
                entered = await self.enter(io, PATIENCE, sending)
        nested = not entered
        token = _ADVANCING.set((*active, self))
        if entered:
            self._awaited.append(sending)
        try:
            while sending.remaining:
                with lock:
                    head = clock.head()
                    entry, wait = None, math.inf
                    # A thread cannot wait for the tasks of the event loop that it runs.
                    if nested or io is SYNC or self._may_take(sending, head):
                        if head is None:
                            break
                        entry = clock.take_due()
                        if entry is None:
                            wait = clock.wait_for_due()
                        else:
                            self.steps += 1
                            if entered:
                                self._under_way += 1
                                if len(self._awaited) > 1:
                                    self.condition.notify()
                if entry is None:
                    if head is not None and wait is not math.inf:
                        await io.wait_until_due(clock, head, wait)
                    else:
                        await io.wait_for(self.condition, lambda: self._may_go_on(sending), math.inf)
                    continue
                try:
                    if type(entry) is ScheduledCallback:
                        await entry.sending.deliver(io, entry)
                    else:
                        await io.run(entry)
                finally:
                    if entered:
                        with lock:
                            self._under_way -= 1
                            if len(self._awaited) > 1:
                                self.condition.notify()
        finally:
            if entered:
                with lock:
                    self._awaited.remove(sending)
                self.leave()
            self.unmark(token)

    def _may_take(self, sending: Sending, head: Entry | None) -> bool:
        """Tell whether the caller may take the earliest entry, or no entry will come; the lock must be held."""
        if len(self._awaited) == 1:
            return True
        if head is None:
            return not self._under_way
        owner = head.sending if isinstance(head, ScheduledCallback) else None
        if owner is not sending and owner in self._awaited:
            return False
        return not self._under_way or head.at <= self.clock.time() or not self.virtual

    def _may_go_on(self, sending: Sending) -> bool:
        return not sending.remaining or self._may_take(sending, self.clock.head())

    # The right to advance.

    async def enter(self, io: Io, patience: float, sending: Sending | None = None) -> bool:
        """Wait for the right to advance, and return whether the caller has it. If it has, it must call `leave`.

        Stops waiting if the sending is finished, or if nothing was delivered for `patience` seconds.
        """
        with self.lock:
            if self._take():
                return True
        taken = False

        def ready() -> bool:
            nonlocal taken
            taken = self._take()
            return taken or (sending is not None and not sending.remaining)

        await self.wait(io, ready, patience)
        return taken

    def leave(self) -> None:
        """Give the right to advance back."""
        with self.lock:
            self._depth -= 1
            if not self._depth:
                self._owner = None
                self.condition.notify()

    def _take(self) -> bool:
        here = threading.get_ident()
        if self._owner is not None and self._owner != here:
            return False
        self._owner = here
        self._depth += 1
        return True

    async def wait(self, io: Io, ready: Callable[[], bool], patience: float) -> bool:
        """Wait until `ready()` is true; return False if nothing was delivered for `patience` seconds."""
        while True:
            steps, found = self.steps, False

            def look(steps: int = steps) -> bool:
                nonlocal found
                found = ready()
                return found or self.steps != steps

            await io.wait_for(self.condition, look, patience)
            if found:
                return True
            if self.steps == steps:
                return False

    def mark(self) -> Token[tuple[Scheduler, ...]]:
        """Show to code that is called from here that an entry is running, until `unmark`."""
        return _ADVANCING.set((*_ADVANCING.get(), self))

    def unmark(self, token: Token[tuple[Scheduler, ...]]) -> None:
        """Undo `mark`."""
        with contextlib.suppress(ValueError):  # a coroutine that never ended is closed in another context
            _ADVANCING.reset(token)

    def notify(self, about: Hashable = None) -> None:
        """Wake all waiters, or those that a change of one object concerns."""
        with self.lock:
            self.condition.notify(about)

    def use_worker(self, post: Post | None, take_back: TakeBack = lambda message_id, deliveries: ()) -> None:
        """Let a worker make the attempts; with None, the threads that advance make them again."""
        with self.lock:
            self.post, self.take_back = post, take_back
            self.condition.notify()
