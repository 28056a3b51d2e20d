"""One send under way: what is still on the clock, what is being delivered, and who is told when it fails."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import msgspec

from engagelab_mock.clock import Timer
from engagelab_mock.delivery.dispatcher import Dispatcher
from engagelab_mock.delivery.io import Io
from engagelab_mock.delivery.model import Delivery
from engagelab_mock.delivery.outcome import Outcome
from engagelab_mock.delivery.receiver import Receiver
from engagelab_mock.delivery.render import not_acknowledged
from engagelab_mock.delivery.retry import NO_RETRY, RetryPolicy
from engagelab_mock.delivery.schedule import Planned
from engagelab_mock.errors import NotAcknowledged, UsageError
from engagelab_mock.protocol.callback import encode
from engagelab_mock.protocol.dialect import Dialect
from engagelab_mock.protocol.events import Event

if TYPE_CHECKING:
    from engagelab_mock.delivery.faults.fault import Fault
    from engagelab_mock.service.store.ledger import Ledger


class Manner(msgspec.Struct, frozen=True):
    """Say how a play's callbacks are delivered; `DeliverOptions`, resolved."""

    #: Whether a delivery that is given up raises; None is: unless a fault struck its last attempt.
    check: bool | None = None
    retry: RetryPolicy = NO_RETRY
    faults: tuple[Fault, ...] = ()
    total: int | None = None


class Play:
    """Put planned callbacks on the clock and see their deliveries through.

    If it is to be checked, a delivery that is given up raises `NotAcknowledged` at once, and takes the rest back.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        receivers: Callable[[], Sequence[Receiver]],
        dialect: Dialect,
        manner: Manner,
        message_id: str = "",
        ledger: Ledger | None = None,
    ) -> None:
        self.deliveries: list[Delivery] = []
        self._dispatcher = dispatcher
        self._receivers = receivers
        self._dialect = dialect
        self._manner = manner
        self._message_id = message_id
        self._ledger = ledger
        #: What the ledger keeps the callbacks under that are still to go out, each with whereto its timer goes.
        self._kept: dict[str, list[Timer]] = {}
        self._shared = [self.deliveries]
        self._timers: list[Timer] = []
        self._afterwards: list[Timer] = []
        #: What is not on the clock yet, whereto it goes, and what the ledger keeps it under.
        self._held: list[tuple[Planned, list[Timer], str]] = []
        self._releasing = threading.Lock()
        #: Who is told of a delivery that is given up, instead of its being raised.
        self.on_lost: Callable[[NotAcknowledged], object] | None = None
        #: When the last of what was planned is due, in Unix seconds.
        self.until = 0.0

    @property
    def closed(self) -> bool:
        """Tell whether nothing more will be sent or tried, but for what was put `afterwards`."""
        return not self._timers and not self._held and all(delivery.closed for delivery in self.deliveries)

    @property
    def held(self) -> bool:
        """Tell whether something waits for `release`."""
        return bool(self._held)

    @property
    def begun(self) -> bool:
        """Tell whether the first of what was planned was sent and answered, or there is nothing to send."""
        first = self.deliveries[0] if self.deliveries else None
        return self.closed if first is None else first.outcome is not Outcome.PENDING

    def owns(self, timer: Timer) -> bool:
        """Tell whether the play waits for what a timer does."""
        return timer in self._timers

    def take_back(self) -> None:
        """Take everything off the clock that is still to be sent or tried."""
        for timer in (*self._timers, *self._afterwards):
            timer.cancel()
        self._timers.clear()
        self._afterwards.clear()
        self._held.clear()
        if self._ledger is not None:
            self._ledger.withdrawn(tuple(self._kept), tuple(self.deliveries))
        self._kept.clear()

    def take_back_afterwards(self) -> None:
        """Take off the clock what was put there `afterwards`: a code that was used does not expire."""
        for timer in self._afterwards:
            timer.cancel()
        self._afterwards.clear()
        self._held = [held for held in self._held if held[1] is not self._afterwards]
        if self._ledger is not None:
            keys = [key for key, timers in tuple(self._kept.items()) if timers is self._afterwards]
            self._ledger.withdrawn(keys)
            for key in keys:
                self._kept.pop(key, None)

    def share(self, deliveries: list[Delivery]) -> None:
        """Enter deliveries in this list, too."""
        self._shared.append(deliveries)

    def plan(self, planned: Iterable[Planned], *, held: bool = False) -> None:
        """Put callbacks on the clock, or hold them until `release`."""
        for callback in planned:
            self.until = max(self.until, callback.at)
            self._keep(callback, self._timers, held=held)

    def afterwards(self, planned: Planned, *, held: bool = False) -> None:
        """Put a callback on the clock that the play does not wait for, or hold it until `release`."""
        self._keep(planned, self._afterwards, held=held)

    def release(self) -> None:
        """Put on the clock what was held; whoever has written the answer and whoever settles may do so at once."""
        with self._releasing:
            held = self._held
            for planned, timers, key in held:
                self._put(planned, timers, key)
            # Only now: until it is on the clock, what is not held any more would count as sent.
            self._held = self._held[len(held) :]

    def resume(self, planned: Planned, key: str, *, afterwards: bool = False) -> None:
        """Put a callback on the clock that the ledger has kept under that key."""
        timers = self._afterwards if afterwards else self._timers
        self._kept[key] = timers
        self._put(planned, timers, key)

    def retry(self, delivery: Delivery, when: float) -> None:
        """Make the next attempt of a delivery that was opened before, at a Unix time."""
        self.deliveries.append(delivery)
        self._dispatcher.deliver_at(when, delivery, self._given_up, self._timers)

    def _keep(self, planned: Planned, timers: list[Timer], *, held: bool) -> None:
        """Have a callback kept by the ledger, if there is one, and put it on the clock or hold it."""
        key = ""
        if self._ledger is not None:
            afterwards = timers is self._afterwards
            key = self._ledger.planned(planned, self._message_id, self._manner, afterwards=afterwards)
            self._kept[key] = timers
        if held:
            self._held.append((planned, timers, key))
        else:
            self._put(planned, timers, key)

    def _put(self, planned: Planned, timers: list[Timer], key: str) -> None:
        async def program(io: Io) -> None:
            __tracebackhide__ = True
            await self.deliver(io, planned, timers, key)

        label = f"{', '.join(event.name for event in planned.events)} of {self._message_id or 'the account'}"
        self._dispatcher.at(planned.at, program, timers, label=label)

    async def deliver(self, io: Io, planned: Planned, timers: list[Timer], key: str = "") -> None:
        """Send one callback, now, to every receiver that wants any of its events, with those it wants.

        Retries are entered in `timers` while they are on the clock; `key` is what the ledger keeps it under.
        """
        __tracebackhide__ = True
        deliveries = self._openings(planned)
        if self._ledger is not None:
            # All or none are kept, in the place of what was planned, so that each goes to everybody once.
            with self._ledger.due(key):
                deliveries = iter(list(deliveries))
            self._kept.pop(key, None)
        for delivery in deliveries:
            try:
                await self._dispatcher.deliver(io, delivery, self._given_up, timers)
            except UsageError:
                delivery.given_up = True
                self.take_back()
                raise

    def _openings(self, planned: Planned) -> Iterator[Delivery]:
        """Open a delivery for every receiver that wants any of the events, each when it is asked for."""
        for receiver in self._receivers():
            wanted = tuple(event for event in planned.events if receiver.settings.wants(event))
            if wanted or (planned.verbatim is not None and not planned.events):
                yield self._open(receiver, wanted, planned)

    def _open(self, receiver: Receiver, events: tuple[Event, ...], planned: Planned) -> Delivery:
        manner, verbatim = self._manner, planned.verbatim
        if verbatim is None:
            events = tuple(self._dialect.spell(event) for event in events)
            body = encode(events, total=manner.total)
            delivery = Delivery(receiver, events, body, self._message_id, manner.retry, manner.faults)
        else:
            body = verbatim.body if len(events) == len(planned.events) else encode(events)
            faults = (*manner.faults, *verbatim.faults)
            delivery = Delivery(receiver, events, body, self._message_id, manner.retry, faults)
            delivery.content_type, delivery.signed = verbatim.content_type, verbatim.signed
        if self._ledger is not None:
            self._ledger.opened(delivery)
        for deliveries in self._shared:
            deliveries.append(delivery)
        return delivery

    def _given_up(self, delivery: Delivery) -> None:
        __tracebackhide__ = True
        check = self._manner.check
        if check or (check is None and not delivery.attempts[-1].faults):
            self.take_back()
            if self.on_lost is None:
                raise not_acknowledged(delivery)
            self.on_lost(not_acknowledged(delivery))
