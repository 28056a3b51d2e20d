"""The callbacks of one accepted message, or of one account event, until the receivers have them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from engagelab_mock.clock.base import check_moment
from engagelab_mock.delivery.io import SYNC, Io, run_sync
from engagelab_mock.delivery.model import Attempt, Delivery, DeliveryOptions, Verbatim
from engagelab_mock.delivery.outcome import Outcome
from engagelab_mock.delivery.receiver import Receiver
from engagelab_mock.delivery.render import not_acknowledged
from engagelab_mock.errors import NotAcknowledged, UsageError
from engagelab_mock.messages.scenario import Batch, into_callbacks
from engagelab_mock.protocol.callback import encode
from engagelab_mock.protocol.events import DEFAULT, Dialect, Event
from engagelab_mock.service.scheduler import Kind, ScheduledCallback, State
from engagelab_mock.service.store import StoreError

if TYPE_CHECKING:
    from engagelab_mock.delivery.sender import Sender
    from engagelab_mock.service.scheduler import Post, Scheduler
    from engagelab_mock.service.store.ledger import Ledger


_HELD, _SCHEDULED, _DELIVERING, _DELIVERED, _WITHDRAWN = State


class Sending:
    """Schedule the callbacks of one message, send each when it is due, and retry or give up.

    The scheduled callbacks and the count `remaining` change with the scheduler's lock held. No lock is held while a
    receiver is called.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        sender: Sender,
        receivers: Callable[[], Sequence[Receiver]],
        dialect: Dialect,
        options: DeliveryOptions,
        message_id: str = "",
        ledger: Ledger | None = None,
    ) -> None:
        self.message_id = message_id
        self.deliveries: list[Delivery] = []
        #: How many callbacks, retries included, are not finished. The expiry of a code is not counted.
        self.remaining = 0
        #: When the last event is due, in Unix seconds.
        self.until = 0.0
        #: The caller waits in `Scheduler.run`, which raises the first of `failures`. Afterwards, the code that sends a
        #: callback, such as `clock.advance`, raises its failure. True from the start: another thread may send first.
        self.caller_waits = True
        self.failures: list[NotAcknowledged] = []
        #: Called with a failure instead of raising it, for sendings without a caller.
        self.on_failure: Callable[[NotAcknowledged], object] | None = None
        #: After a failure, the callback is not sent to the receivers that come later.
        self.stops_at_failure = True
        self._scheduler = scheduler
        self._sender = sender
        self._receivers = receivers
        self._dialect = dialect
        self._options = options
        self._ledger = ledger
        #: The callback with a delivery that was given up and counts as a failure.
        self._failed: ScheduledCallback | None = None
        self._given_up = False
        #: Callbacks that are held or scheduled, in order.
        self._waiting: dict[ScheduledCallback, None] = {}
        #: Other lists that get the deliveries: those of the runs in a batch.
        self._shared: list[list[Delivery]] = []

    def schedule(self, timed: Sequence[tuple[float, Event]], *, batch: Batch = 1, held: bool = False) -> None:
        """Schedule timed events in callbacks of `batch` events, each due when its last event has happened."""
        self._schedule([ScheduledCallback(self, at, events) for at, events in into_callbacks(timed, batch)], held=held)

    def schedule_callback(
        self,
        at: float,
        events: tuple[Event, ...],
        kind: Kind = "event",
        *,
        verbatim: Verbatim | None = None,
        held: bool = False,
    ) -> None:
        """Schedule one callback; with `held` it waits for `release`."""
        check_moment(at, where="clock.call_at")
        self._schedule([ScheduledCallback(self, at, events, kind, verbatim=verbatim)], held=held)

    def resume(self, at: float, events: tuple[Event, ...], key: str, *, kind: Kind) -> None:
        """Schedule a callback that the store has kept under a key."""
        self._put([ScheduledCallback(self, at, events, kind, key=key)])

    def retry(self, delivery: Delivery, at: float) -> None:
        """Schedule the next attempt of a delivery from the store."""
        self.deliveries.append(delivery)
        self._put_retry(delivery, at)

    def share(self, deliveries: list[Delivery]) -> None:
        """Add the deliveries to this list as well."""
        self._shared.append(deliveries)

    @property
    def begun(self) -> bool:
        """Tell whether the first callback was answered, or no callback is to be sent."""
        first = self.deliveries[0] if self.deliveries else None
        return not self.remaining if first is None else first.outcome is not Outcome.PENDING

    @property
    def waits(self) -> bool:
        """Tell whether any callback is left to send, including the expiry of the code."""
        return bool(self.remaining or self._waiting)

    def is_due(self, now: float) -> bool:
        """Tell whether a callback, held or scheduled, is due."""
        return any(callback.at <= now for callback in tuple(self._waiting))

    def release(self) -> None:
        """Put the held callbacks on the agenda. A second call does nothing."""
        with self._scheduler.lock:
            for callback in tuple(self._waiting):
                if callback.state is _HELD:
                    callback.state = _SCHEDULED
                    self._scheduler.clock.add(callback)

    def withdraw(self, callbacks: Iterable[ScheduledCallback] | None = None) -> None:
        """Withdraw these callbacks, by default all, and make no further attempt of their deliveries."""
        with self._scheduler.lock:
            asked = tuple(self._waiting) if callbacks is None else callbacks
            chosen = [callback for callback in asked if callback in self._waiting]
            if self._ledger is not None:
                tried = self.deliveries if callbacks is None else [each.delivery for each in chosen if each.delivery]
                self._ledger.withdrawn(chosen, tuple(tried))
                self._ledger.store.undo(partial(self._put_back, chosen))
            self._take_back(chosen)

    def give_up(self) -> None:
        """Withdraw all callbacks, including those in a worker's queue, and retry none that is under way."""
        self.withdraw()
        self._given_up = True
        for delivery in tuple(self.deliveries):
            delivery.given_up = not delivery.acknowledged
        # If a receiver does not answer, they would stay in the worker's queue.
        for finish in self._scheduler.take_back(self.message_id, self.deliveries):
            finish()

    def _take_back(self, callbacks: Sequence[ScheduledCallback]) -> None:
        with self._scheduler.lock:
            for callback in callbacks:
                del self._waiting[callback]
                callback.state, callback.cancelled = _WITHDRAWN, True
                if callback.kind != "expiry":
                    self.remaining -= 1
                if callback.agenda is not None:
                    callback.agenda.count_cancelled()
            self._scheduler.condition.notify(self)

    def _put_back(self, callbacks: Sequence[ScheduledCallback]) -> None:
        """Schedule again the callbacks that the store could not withdraw or open."""
        copies = [(each.at, each.events, each.kind, each.delivery, each.verbatim, each.key) for each in callbacks]
        self._put([ScheduledCallback(self, *copy) for copy in copies])

    def move_to(self, scheduler: Scheduler) -> None:
        """Continue with another scheduler, with the pending callbacks."""
        self._scheduler, self._sender.clock = scheduler, scheduler.clock
        with scheduler.lock:
            scheduler.clock.add(*[callback for callback in self._waiting if callback.state is _SCHEDULED])

    def withdraw_expiry(self) -> None:
        """Withdraw the expiry of the code: a code that was used does not expire."""
        self.withdraw([callback for callback in tuple(self._waiting) if callback.kind == "expiry"])

    async def deliver(self, io: Io, callback: ScheduledCallback) -> None:
        """Send a callback that was taken off the agenda to every receiver that wants any of its events."""
        __tracebackhide__ = True
        scheduler, post = self._scheduler, self._scheduler.post
        with scheduler.lock:
            if self._waiting.pop(callback, self) is self:
                return  # another thread has withdrawn it
            callback.state = _DELIVERING
        if post is not None:
            self._post(callback, post)
            return
        try:
            if callback.delivery is not None:
                await self._attempt(io, callback, callback.delivery)
            elif self._ledger is None:
                for receiver in self._receivers():
                    delivery = self._open(receiver, callback)
                    if delivery is not None:
                        self._enter(delivery)
                        await self._attempt(io, callback, delivery)
                        if self._failed is not None and self.stops_at_failure:
                            break
            else:
                for delivery in self._open_all(callback):
                    await self._attempt(io, callback, delivery)
        finally:
            self._finish(callback)

    def _post(self, callback: ScheduledCallback, post: Post) -> None:
        """Let a worker's threads make the attempts."""
        try:
            deliveries = self._open_all(callback) if callback.delivery is None else [callback.delivery]
        except BaseException:
            self._finish(callback)  # otherwise a caller would wait for it for ever
            raise
        callback.left = len(deliveries)
        if not deliveries:
            self._finish(callback)
        for delivery in deliveries:
            post(delivery, partial(self._attempt_posted, callback, delivery))

    def _attempt_posted(self, callback: ScheduledCallback, delivery: Delivery) -> None:
        try:
            if not self._given_up and (self._failed is None or self._failed is callback):
                run_sync(self._attempt(SYNC, callback, delivery))
            else:  # it was given up while the job waited
                delivery.given_up = True
        finally:
            with self._scheduler.lock:
                callback.left -= 1
                if not callback.left:
                    self._finish(callback)

    async def _attempt(self, io: Io, callback: ScheduledCallback, delivery: Delivery) -> None:
        """Make a delivery's next attempt; if it is not acknowledged, schedule another or give up."""
        __tracebackhide__ = True
        try:
            attempt = await self._sender.attempt(io, delivery)
        except BaseException as error:
            delivery.given_up = True
            if isinstance(error, UsageError):
                self.withdraw()
            raise
        if attempt.outcome is Outcome.ACKNOWLEDGED:
            return
        wait = None if self._given_up else delivery.retry.wait_after(attempt.number)
        if wait is None:
            delivery.given_up = True
            self._give_up(callback, delivery, attempt)
        else:
            self._put_retry(delivery, self._scheduler.clock.time() + wait)

    def _give_up(self, callback: ScheduledCallback, delivery: Delivery, attempt: Attempt) -> None:
        __tracebackhide__ = True
        check = self._options.check
        if check or (check is None and not attempt.faults):
            self._failed = callback
            self.withdraw()
            if self.on_failure is not None:
                self.on_failure(not_acknowledged(delivery))
            elif self.caller_waits:
                self.failures.append(not_acknowledged(delivery))
            else:
                raise not_acknowledged(delivery)

    def _finish(self, callback: ScheduledCallback) -> None:
        with self._scheduler.lock:
            callback.state = _DELIVERED
            if callback.kind != "expiry":
                self.remaining -= 1
            self._scheduler.condition.notify(self)

    def _schedule(self, callbacks: list[ScheduledCallback], *, held: bool) -> None:
        """Keep callbacks in the store, if there is one, and put them on the agenda, or hold them."""
        for callback in callbacks:
            if callback.at > self.until and callback.kind != "expiry":
                self.until = callback.at
            if self._ledger is not None:
                callback.key = self._ledger.planned(callback, self.message_id, self._options)
        self._put(callbacks, held=held)
        if self._ledger is not None:
            self._ledger.store.undo(partial(self._take_back, callbacks))

    def _put(self, callbacks: list[ScheduledCallback], *, held: bool = False) -> None:
        state = _HELD if held else _SCHEDULED
        with self._scheduler.lock:
            for callback in callbacks:
                callback.state = state
                self._waiting[callback] = None
                if callback.kind != "expiry":
                    self.remaining += 1
            if not held:
                self._scheduler.clock.add(*callbacks)

    def _put_retry(self, delivery: Delivery, at: float) -> None:
        delivery.due = at
        self._put([ScheduledCallback(self, at, delivery.events, "retry", delivery=delivery)])

    def _open_all(self, callback: ScheduledCallback) -> list[Delivery]:
        """Open the deliveries to all receivers at once: the store has either all of them or still the callback."""
        opened = [each for receiver in self._receivers() if (each := self._open(receiver, callback)) is not None]
        if self._ledger is not None:
            try:
                self._ledger.opened(callback.key, opened)
            except StoreError:
                self._put_back([callback])
                raise
        for delivery in opened:
            self._enter(delivery)
        return opened

    def _open(self, receiver: Receiver, callback: ScheduledCallback) -> Delivery | None:
        """Make a delivery of the events that a receiver wants; None if it wants none."""
        verbatim, options, settings = callback.verbatim, self._options, receiver.settings
        # Encoded once for all receivers: a run counts an event once for any number of receivers.
        events = callback.spelt
        if not events:
            events = callback.events
            if verbatim is None and self._dialect is not DEFAULT:
                events = tuple(map(self._dialect.spell, events))
            callback.spelt = events
        if settings.events:
            wanted = zip(callback.events, events, strict=True)
            events = tuple([spelt for event, spelt in wanted if settings.wants(event)])
        if not events and (verbatim is None or callback.events):
            return None
        if verbatim is None:
            body = encode(events, total=options.total)
            delivery = Delivery(receiver, events, body, self.message_id, options.retry, options.faults)
        else:
            body = verbatim.body if len(events) == len(callback.events) else encode(events)
            faults = (*options.faults, *verbatim.faults)
            delivery = Delivery(receiver, events, body, self.message_id, options.retry, faults)
            delivery.content_type, delivery.signed = verbatim.content_type, verbatim.signed
            delivery.headers = verbatim.headers
        delivery.due = callback.at
        return delivery

    def _enter(self, delivery: Delivery) -> None:
        for deliveries in (self.deliveries, *self._shared):
            deliveries.append(delivery)

    def __repr__(self) -> str:
        return f"<Sending of {self.message_id or 'an account event'}: {self.remaining} callbacks to go>"
