"""Everything that happened: an entry is opened before a request goes out and completed after."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from engagelab_mock.delivery.model import Attempt, Delivery, Refusal
from engagelab_mock.errors import EngageLabMockError
from engagelab_mock.protocol.events import Event


class Journal:
    """Keep deliveries and refused inputs in the order in which they happened.

    >>> from engagelab_mock import EngageLab
    >>> with EngageLab() as engagelab:
    ...     run = engagelab.send("+6591234567", scenario="delivered")
    ...     engagelab.journal.statuses
    ['plan', 'sent', 'delivered']
    """

    def __init__(self) -> None:
        #: Deliveries and refusals, oldest first.
        self.entries: list[Delivery | Refusal] = []
        #: Called with every attempt, and the delivery it belongs to, once it is completed.
        self.listeners: list[Callable[[Delivery, Attempt], object]] = []

    def open(self, delivery: Delivery) -> None:
        """Enter a delivery before its first request."""
        self.entries.append(delivery)

    def complete(self, delivery: Delivery, attempt: Attempt) -> None:
        """Tell the listeners that an attempt has its outcome."""
        for listener in self.listeners:
            listener(delivery, attempt)

    def refuse(self, error: EngageLabMockError, *, at: float) -> None:
        """Enter an input that could not be used; `at` is in Unix seconds."""
        self.entries.append(Refusal(at, error))

    @property
    def deliveries(self) -> list[Delivery]:
        """Return the deliveries, oldest first."""
        return [entry for entry in self.entries if isinstance(entry, Delivery)]

    @property
    def refusals(self) -> list[Refusal]:
        """Return the refused inputs, oldest first."""
        return [entry for entry in self.entries if isinstance(entry, Refusal)]

    @property
    def attempts(self) -> list[Attempt]:
        """Return every attempt, oldest delivery first."""
        return [attempt for delivery in self.deliveries for attempt in delivery.attempts]

    @property
    def events(self) -> list[Event]:
        """Return every event sent, oldest first."""
        return [event for delivery in self.deliveries for event in delivery.events]

    @property
    def statuses(self) -> list[str]:
        """Return the name of every event sent, oldest first."""
        return [event.name for event in self.events]

    def clear(self) -> None:
        """Forget everything."""
        self.entries.clear()

    def __iter__(self) -> Iterator[Delivery | Refusal]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)
