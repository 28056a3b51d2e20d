"""One send under way: what is still on the clock, what is being delivered, and who is told when it fails."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import msgspec

from engagelab_mock.clock import Timer
from engagelab_mock.delivery.dispatcher import Dispatcher
from engagelab_mock.delivery.model import Delivery
from engagelab_mock.delivery.pace import Pace
from engagelab_mock.delivery.receiver import Receiver
from engagelab_mock.delivery.render import not_acknowledged
from engagelab_mock.delivery.retry import NO_RETRY, RetryPolicy
from engagelab_mock.delivery.schedule import Planned
from engagelab_mock.errors import UsageError
from engagelab_mock.protocol.callback import encode
from engagelab_mock.protocol.dialect import Dialect
from engagelab_mock.protocol.events import Event

if TYPE_CHECKING:
    from engagelab_mock.delivery.fault.model import Fault


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
    ) -> None:
        self.deliveries: list[Delivery] = []
        self._dispatcher = dispatcher
        self._receivers = receivers
        self._dialect = dialect
        self._manner = manner
        self._message_id = message_id
        self._shared = [self.deliveries]
        self._timers: list[Timer] = []
        self._afterwards: list[Timer] = []

    @property
    def closed(self) -> bool:
        """Tell whether nothing more will be sent or tried, but for what was put `afterwards`."""
        return not self._timers and all(delivery.closed for delivery in self.deliveries)

    def owns(self, timer: Timer) -> bool:
        """Tell whether the play waits for what a timer does."""
        return timer in self._timers

    def take_back(self) -> None:
        """Take everything off the clock that is still to be sent or tried."""
        for timer in (*self._timers, *self._afterwards):
            timer.cancel()
        self._timers.clear()
        self._afterwards.clear()

    def share(self, deliveries: list[Delivery]) -> None:
        """Enter deliveries in this list, too."""
        self._shared.append(deliveries)

    def plan(self, planned: Iterable[Planned]) -> None:
        """Put callbacks on the clock."""
        for callback in planned:
            self._put(callback, self._timers)

    def afterwards(self, planned: Planned) -> None:
        """Put a callback on the clock that the play does not wait for."""
        self._put(planned, self._afterwards)

    def _put(self, planned: Planned, timers: list[Timer]) -> None:
        async def program(pace: Pace) -> None:
            __tracebackhide__ = True
            timers.remove(timer)
            await self.deliver(pace, planned, timers)

        label = f"{', '.join(event.name for event in planned.events)} of {self._message_id or 'the account'}"
        timer = self._dispatcher.at(planned.at, program, label=label)
        timers.append(timer)

    async def deliver(self, pace: Pace, planned: Planned, timers: list[Timer]) -> None:
        """Send one callback, now, to every receiver that wants any of its events, with those it wants.

        Retries are entered in `timers` while they are on the clock.
        """
        __tracebackhide__ = True
        for receiver in self._receivers():
            wanted = tuple(event for event in planned.events if receiver.settings.wants(event))
            if not wanted and (planned.events or planned.verbatim is None):
                continue
            delivery = self._open(receiver, wanted, planned)
            try:
                await self._dispatcher.deliver(pace, delivery, self._given_up, timers)
            except UsageError:
                delivery.given_up = True
                self.take_back()
                raise

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
        for deliveries in self._shared:
            deliveries.append(delivery)
        return delivery

    def _given_up(self, delivery: Delivery) -> None:
        __tracebackhide__ = True
        check = self._manner.check
        if check or (check is None and not delivery.attempts[-1].faults):
            self.take_back()
            raise not_acknowledged(delivery)
