"""What a store is told of callbacks, in the order in which it happens."""

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
from engagelab_mock.delivery.schedule import Planned
from engagelab_mock.protocol.callback import encode
from engagelab_mock.service.store.records import (
    KeptDelivery,
    KeptFault,
    KeptPlan,
    KeptReceiver,
    KeptRefusal,
    KeptWebhook,
)

if TYPE_CHECKING:
    from engagelab_mock.delivery.receiver import Receiver
    from engagelab_mock.service.play import Manner
    from engagelab_mock.service.store.sqlite import SqliteStore


PLANNED, DELIVERY, REFUSAL = "planned", "delivery", "refusal"


class Ledger:
    """Keep in a store what is planned, what is sent, and what came of it, so that another process can go on.

    A callback stands in the store as planned until its deliveries do; a delivery as open until its last attempt is
    acknowledged or none is to follow. Attempts are there before their requests. `start` is how often the store was
    opened, which tells the keys of one process from those of the next; `keep` is how many closed deliveries, and how
    many refusals, are kept at most.
    """

    def __init__(self, store: SqliteStore, now: Callable[[], float], *, start: int, keep: int | None = None) -> None:
        self.store = store
        self._now = now
        self._prefix = f"{start}."
        self._numbers = itertools.count(1)
        self._keep = keep
        self._lock = threading.Lock()
        self._closed: dict[str, deque[str]] = {DELIVERY: deque(), REFUSAL: deque()}
        #: The addresses that the process was started with.
        self.configured: tuple[str, ...] = ()

    def planned(self, planned: Planned, message_id: str, manner: Manner, *, afterwards: bool) -> str:
        """Keep a callback that is to go out, and return its key."""
        key = self._key()
        self.store.put(
            PLANNED,
            key,
            KeptPlan(
                key,
                planned.at,
                encode(planned.events).decode(),
                message_id,
                afterwards,
                tuple(manner.retry.waits),
                KeptFault.of(manner.faults),
                manner.total,
            ),
        )
        return key

    def withdrawn(self, keys: Iterable[str], deliveries: Iterable[Delivery] = ()) -> None:
        """Forget callbacks that are not to go out, and keep that deliveries will not be tried again."""
        with self.store.transaction():
            for key in keys:
                self.store.delete(PLANNED, key)
            for delivery in deliveries:
                if not is_over(delivery) or delivery.given_up:
                    kept = KeptDelivery.of(delivery, ended=self._now())
                    self.store.put(DELIVERY, delivery.key, msgspec.structs.replace(kept, given_up=True))
                    self.retire(DELIVERY, delivery.key)

    @contextlib.contextmanager
    def due(self, key: str) -> Iterator[None]:
        """Put the deliveries that are opened inside the block in the place of the callback that was planned."""
        with self.store.transaction():
            yield
            self.store.delete(PLANNED, key)

    def opened(self, delivery: Delivery) -> None:
        """Keep a delivery, before its first attempt."""
        delivery.key = self._key()
        self.store.put(DELIVERY, delivery.key, KeptDelivery.of(delivery))

    def begun(self, delivery: Delivery) -> None:
        """Keep an attempt, the delivery's last, before its request goes out."""
        delivery.key = delivery.key or self._key()
        self.store.put(DELIVERY, delivery.key, KeptDelivery.of(delivery))

    def completed(self, delivery: Delivery) -> None:
        """Keep what came of an attempt."""
        with self.store.transaction():
            self.store.put(DELIVERY, delivery.key, KeptDelivery.of(delivery, ended=self._now()))
            if is_over(delivery):
                self.retire(DELIVERY, delivery.key)

    def refused(self, refusal: Refusal) -> None:
        """Keep an input that could not be used."""
        error = refusal.error
        key = self._key()
        with self.store.transaction():
            self.store.put(
                REFUSAL, key, KeptRefusal(key, refusal.at, type(error).__name__, error.what, error.where, error.hint)
            )
            self.retire(REFUSAL, key)

    def webhook(self, receiver: Receiver) -> None:
        """Keep the receiver that the app has set itself, for as long as the process is started with the same ones."""
        self.store.remember("webhook", KeptWebhook(KeptReceiver.of(receiver), self.configured))

    def retire(self, kind: str, key: str) -> None:
        """Forget the oldest of what is over, once there is more of it than is to be kept."""
        if self._keep is None:
            return
        with self._lock:
            closed = self._closed[kind]
            closed.append(key)
            forgotten = closed.popleft() if len(closed) > self._keep else None
        if forgotten is not None:
            self.store.delete(kind, forgotten)

    def _key(self) -> str:
        return f"{self._prefix}{next(self._numbers)}"


def is_over(delivery: Delivery) -> bool:
    """Tell by its attempts alone whether nothing more will be tried.

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


def ordinal(key: str) -> list[int]:
    """Return what sorts keys in the order in which they were given.

    >>> sorted(["10.1", "9.10", "9.9"], key=ordinal)
    ['9.9', '9.10', '10.1']
    """
    return [int(part) for part in key.split(".")]
