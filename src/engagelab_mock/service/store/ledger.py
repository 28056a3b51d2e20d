"""The ledger: writes each step of a callback to the store, in order."""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

import msgspec

from engagelab_mock.delivery.model import Delivery, Refusal
from engagelab_mock.delivery.outcome import Outcome
from engagelab_mock.protocol.callback import encode
from engagelab_mock.service.store.records import (
    StoredCallback,
    StoredDelivery,
    StoredFault,
    StoredReceiver,
    StoredRefusal,
    StoredWebhook,
)

if TYPE_CHECKING:
    from engagelab_mock.delivery.model import DeliveryOptions
    from engagelab_mock.delivery.receiver import Receiver
    from engagelab_mock.service.sending import ScheduledCallback
    from engagelab_mock.service.store.sqlite import SqliteStore


PLANNED, DELIVERY, REFUSAL = "planned", "delivery", "refusal"


class Ledger:
    """Write planned callbacks, deliveries and refusals to a store, so that another process can continue with them.

    A callback is stored as planned until its deliveries are stored. A delivery is stored as open until an attempt is
    acknowledged or no retry is left. An attempt is stored before its request is sent. `start` counts how often the
    store was opened; it makes the keys of each process unique. The store holds at most `keep` closed deliveries and
    `keep` refusals.
    """

    def __init__(self, store: SqliteStore, now: Callable[[], float], *, start: int, keep: int | None = None) -> None:
        self.store = store
        self._now = now
        self._prefix = f"{start}."
        self._numbers = itertools.count(1)
        self._keep = keep
        self._lock = threading.Lock()
        self._closed: dict[str, deque[str]] = {DELIVERY: deque(), REFUSAL: deque()}
        #: The addresses of the receivers that the process was started with.
        self.configured: tuple[str, ...] = ()

    def planned(self, callback: ScheduledCallback, message_id: str, options: DeliveryOptions) -> str:
        """Store a callback that will be sent later, and return its key."""
        key = self._key()
        self.store.put(
            PLANNED,
            key,
            StoredCallback(
                key,
                callback.at,
                encode(callback.events).decode(),
                message_id,
                callback.kind == "expiry",
                tuple(options.retry.waits),
                StoredFault.of(options.faults),
                options.total,
            ),
        )
        return key

    def withdrawn(self, keys: Iterable[str], deliveries: Iterable[Delivery] = ()) -> None:
        """Delete callbacks that were withdrawn, and store that the deliveries will not be retried."""
        with self.store.transaction():
            for key in keys:
                self.store.delete(PLANNED, key)
            for delivery in deliveries:
                if not is_over(delivery) or delivery.given_up:
                    stored = StoredDelivery.of(delivery, ended=self._now())
                    self.store.put(DELIVERY, delivery.key, msgspec.structs.replace(stored, given_up=True))
                    self.count_closed(DELIVERY, delivery.key)

    @contextlib.contextmanager
    def due(self, key: str) -> Iterator[None]:
        """Replace a planned callback by the deliveries that the block opens."""
        with self.store.transaction():
            yield
            self.store.delete(PLANNED, key)

    def opened(self, delivery: Delivery) -> None:
        """Store a delivery, before its first attempt."""
        delivery.key = self._key()
        self.store.put(DELIVERY, delivery.key, StoredDelivery.of(delivery))

    def begun(self, delivery: Delivery) -> None:
        """Store the delivery's latest attempt, before its request is sent."""
        delivery.key = delivery.key or self._key()
        self.store.put(DELIVERY, delivery.key, StoredDelivery.of(delivery))

    def completed(self, delivery: Delivery) -> None:
        """Store the outcome of the latest attempt."""
        with self.store.transaction():
            self.store.put(DELIVERY, delivery.key, StoredDelivery.of(delivery, ended=self._now()))
            if is_over(delivery):
                self.count_closed(DELIVERY, delivery.key)

    def refused(self, refusal: Refusal) -> None:
        """Store a refusal."""
        key = self._key()
        with self.store.transaction():
            self.store.put(REFUSAL, key, StoredRefusal.of(key, refusal))
            self.count_closed(REFUSAL, key)

    def webhook(self, receiver: Receiver) -> None:
        """Store the receiver that the app set, for later processes that are started with the same receivers."""
        self.store.save_setting("webhook", StoredWebhook(StoredReceiver.of(receiver), self.configured))

    def count_closed(self, kind: str, key: str) -> None:
        """Count a closed record, and delete the oldest one of its kind if there are more than the limit."""
        if self._keep is None:
            return
        with self._lock:
            closed = self._closed[kind]
            closed.append(key)
            oldest = closed.popleft() if len(closed) > self._keep else None
        if oldest is not None:
            self.store.delete(kind, oldest)

    def _key(self) -> str:
        return f"{self._prefix}{next(self._numbers)}"


def is_over(delivery: Delivery) -> bool:
    """Tell from its attempts alone whether a delivery has no further attempt.

    >>> from engagelab_mock import EngageLab
    >>> with EngageLab() as engagelab:
    ...     [is_over(delivery) for delivery in engagelab.send("+6591234567", scenario="sent_failed").deliveries]
    [True, True]
    """
    if delivery.closed or not delivery.events:
        return True
    last = delivery.attempts[-1] if delivery.attempts else None
    if last is None or last.outcome is Outcome.PENDING:
        return False
    return delivery.retry.wait_after(last.number) is None


def by_age(key: str) -> list[int]:
    """Return a value that sorts keys from the oldest to the newest.

    >>> sorted(["10.1", "9.10", "9.9"], key=by_age)
    ['9.9', '9.10', '10.1']
    """
    return [int(part) for part in key.split(".")]
