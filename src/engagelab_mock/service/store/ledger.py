"""The ledger: writes each step of a callback to the store, in order."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from engagelab_mock.delivery.model import Delivery, Refusal
from engagelab_mock.delivery.outcome import Outcome
from engagelab_mock.protocol.callback import encode
from engagelab_mock.service.store import StoreError
from engagelab_mock.service.store.records import (
    StoredCallback,
    StoredDelivery,
    StoredFault,
    StoredReceiver,
    StoredRefusal,
)

if TYPE_CHECKING:
    from engagelab_mock.delivery.model import DeliveryOptions
    from engagelab_mock.delivery.receiver import Receiver
    from engagelab_mock.service.scheduler import ScheduledCallback
    from engagelab_mock.service.store.sqlite import SqliteStore


PLANNED, DELIVERY, REFUSAL = "planned", "delivery", "refusal"
#: The setting that holds the receiver that the app set.
WEBHOOK = "receiver"


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
        self._closed: dict[str, deque[str]] = {DELIVERY: deque(), REFUSAL: deque()}
        #: Waits a moment for a store that cannot be written, and returns whether to try again. A worker sets it: its
        #: threads wait for space, and all other threads get the error.
        self.may_wait: Callable[[], bool] = _never

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

    def withdrawn(self, callbacks: Iterable[ScheduledCallback], deliveries: Iterable[Delivery] = ()) -> None:
        """Delete withdrawn callbacks, and store that their deliveries will not be retried."""
        with self.store.transaction():
            for callback in callbacks:
                if callback.key:
                    self.store.delete(PLANNED, callback.key)
            for delivery in deliveries:
                if not is_over(delivery) or delivery.given_up:
                    stored = StoredDelivery.of(delivery, ended=self._now())
                    self.store.put(DELIVERY, delivery.key, msgspec.structs.replace(stored, given_up=True))
                    self.count_closed(DELIVERY, delivery.key)

    def opened(self, planned: str, deliveries: Sequence[Delivery]) -> None:
        """Replace a planned callback, found by its key, with its deliveries, before their first attempts."""

        def write() -> None:
            for delivery in deliveries:
                delivery.key = self._key()
                self.store.put(DELIVERY, delivery.key, StoredDelivery.of(delivery))
            self.store.delete(PLANNED, planned)

        self._write(write)

    def begun(self, delivery: Delivery) -> None:
        """Store the delivery's latest attempt, before its request is sent."""
        delivery.key = delivery.key or self._key()
        self._write(lambda: self.store.put(DELIVERY, delivery.key, StoredDelivery.of(delivery)))

    def completed(self, delivery: Delivery) -> None:
        """Store the outcome of the latest attempt."""
        ended = self._now()

        def write() -> None:
            self.store.put(DELIVERY, delivery.key, StoredDelivery.of(delivery, ended=ended))
            if is_over(delivery):
                self.count_closed(DELIVERY, delivery.key)

        self._write(write)

    def refused(self, refusal: Refusal) -> bool:
        """Store a refusal, and return whether that was possible."""
        key = self._key()
        try:
            with self.store.transaction():
                self.store.put(REFUSAL, key, StoredRefusal.of(key, refusal))
                self.count_closed(REFUSAL, key)
        except StoreError:
            return False
        return True

    def webhook(self, receiver: Receiver) -> None:
        """Store the receiver that the app set, for later processes that start without a receiver."""
        self.store.save_setting(WEBHOOK, StoredReceiver.of(receiver))

    def count_closed(self, kind: str, key: str) -> None:
        """Count a closed record, and delete the oldest one of its kind if there are more than the limit.

        Called in a transaction, whose lock guards the counts.
        """
        if self._keep is None:
            return
        closed = self._closed[kind]
        closed.append(key)
        self.store.undo(closed.pop)
        if len(closed) > self._keep:
            oldest = closed.popleft()
            self.store.undo(partial(closed.appendleft, oldest))
            self.store.delete(kind, oldest)

    def _write(self, write: Callable[[], object]) -> None:
        """Make a change to the store as a whole; if that fails, try again as long as `may_wait` returns True."""
        while True:
            try:
                with self.store.transaction():
                    write()
            except StoreError:
                if not self.may_wait():
                    raise
            else:
                return

    def _key(self) -> str:
        return f"{self._prefix}{next(self._numbers)}"


def _never() -> bool:
    return False


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
