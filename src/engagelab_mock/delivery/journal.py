"""Everything that happened: an entry is opened before a request goes out and completed after."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, MutableSequence
from time import monotonic
from typing import TYPE_CHECKING, TypedDict, Unpack

from engagelab_mock.delivery.model import Attempt, Delivery, Refusal
from engagelab_mock.delivery.outcome import Outcome
from engagelab_mock.delivery.render import journal_table
from engagelab_mock.errors import EngageLabMockError, UnknownName, UsageError
from engagelab_mock.protocol.events import Event

if TYPE_CHECKING:
    from engagelab_mock.delivery.receiver import Receiver


class Filters(TypedDict, total=False):
    """Say which deliveries are meant; every key can be left out, and those given must all fit."""

    #: A status, or another event's name, that the callback carries.
    status: str
    #: A kind of event that the callback carries: status, notification, response, system_event.
    kind: str
    #: The recipient of an event that the callback carries.
    to: str
    message_id: str
    receiver: Receiver
    #: What came of the last attempt.
    outcome: str


class Journal:
    """Keep deliveries and refused inputs in the order in which they happened.

    >>> from engagelab_mock import EngageLab
    >>> with EngageLab() as engagelab:
    ...     run = engagelab.send("+6591234567", scenario="delivered")
    ...     engagelab.journal.statuses
    ['plan', 'sent', 'delivered']

    With a `limit`, the oldest entries are forgotten once there are more.
    """

    def __init__(self, limit: int | None = None) -> None:
        if limit is not None and limit < 1:
            raise UsageError(f"a journal keeps at least one entry, not {limit!r}", where="limit")
        #: Deliveries and refusals, oldest first.
        self.entries: MutableSequence[Delivery | Refusal] = [] if limit is None else deque(maxlen=limit)
        #: Called with every attempt, and the delivery it belongs to, once it is completed.
        self.listeners: list[Callable[[Delivery, Attempt], object]] = []

    def open(self, delivery: Delivery) -> None:
        """Enter a delivery before its first request."""
        self.entries.append(delivery)

    def complete(self, delivery: Delivery, attempt: Attempt) -> None:
        """Tell the listeners that an attempt has its outcome."""
        if self.listeners:
            for listener in tuple(self.listeners):
                listener(delivery, attempt)

    def refuse(self, error: EngageLabMockError, *, at: float) -> None:
        """Enter an input that could not be used; `at` is in Unix seconds."""
        self.entries.append(Refusal(at, error))

    @property
    def deliveries(self) -> list[Delivery]:
        """Return the deliveries, oldest first."""
        return [entry for entry in list(self.entries) if isinstance(entry, Delivery)]

    @property
    def refusals(self) -> list[Refusal]:
        """Return the refused inputs, oldest first."""
        return [entry for entry in list(self.entries) if isinstance(entry, Refusal)]

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

    def where(self, **filters: Unpack[Filters]) -> Journal:
        """Return a journal of those deliveries alone that fit: by status, kind, to, message_id, receiver, outcome.

        >>> from engagelab_mock import EngageLab
        >>> with EngageLab() as engagelab:
        ...     run = engagelab.send("+6591234567")
        ...     engagelab.journal.where(status="sent", to="+6591234567").statuses
        ['sent']
        """
        _check(filters)
        part = Journal()
        part.entries.extend(delivery for delivery in self.deliveries if _fits(delivery, filters))
        return part

    def wait_for(self, *, timeout: float = 3.0, **filters: Unpack[Filters]) -> Delivery:
        """Return the first acknowledged delivery that fits, waiting up to `timeout` seconds of real time for it.

        Raises `AssertionError` with the journal's table when none came. For what is sent from another thread: what
        this thread sent is there already.

        >>> from engagelab_mock import EngageLab
        >>> with EngageLab() as engagelab:
        ...     run = engagelab.send("+6591234567")
        ...     engagelab.journal.wait_for(status="delivered").statuses
        ['delivered']
        """
        __tracebackhide__ = True
        _check(filters)
        came = threading.Event()

        def listen(delivery: Delivery, attempt: Attempt) -> None:
            came.set()

        deadline = monotonic() + timeout
        self.listeners.append(listen)
        try:
            while True:
                came.clear()
                for delivery in self.deliveries:
                    if delivery.acknowledged and _fits(delivery, filters):
                        return delivery
                if not came.wait(max(0.0, deadline - monotonic())):
                    raise AssertionError(f"no {_describe(filters)} within {timeout:g} s\n\n{journal_table(self)}")
        finally:
            self.listeners.remove(listen)

    async def await_for(self, *, timeout: float = 3.0, **filters: Unpack[Filters]) -> Delivery:
        """Do what `wait_for` does, leaving the running event loop free while waiting."""
        __tracebackhide__ = True
        import asyncio  # there is a running loop, so it is loaded already

        return await asyncio.to_thread(self.wait_for, timeout=timeout, **filters)

    def assert_delivered(self, *, times: int | None = None, **filters: Unpack[Filters]) -> list[Delivery]:
        """Return the acknowledged deliveries that fit; fail if there is none, or not that many.

        >>> from engagelab_mock import EngageLab
        >>> with EngageLab() as engagelab:
        ...     run = engagelab.send("+6591234567")
        ...     [delivery] = engagelab.journal.assert_delivered(status="verified", times=1)
        """
        __tracebackhide__ = True
        _check(filters)
        fitting = [delivery for delivery in self.deliveries if delivery.acknowledged and _fits(delivery, filters)]
        if (times is None and not fitting) or (times is not None and len(fitting) != times):
            wanted = "no" if times is None else f"{len(fitting)} instead of {times} times a"
            raise AssertionError(f"{wanted} {_describe(filters)}\n\n{journal_table(self)}")
        return fitting

    def assert_nothing_sent(self, **filters: Unpack[Filters]) -> None:
        """Fail if any callback that fits was sent, acknowledged or not.

        >>> from engagelab_mock import EngageLab
        >>> with EngageLab() as engagelab:
        ...     engagelab.journal.assert_nothing_sent()
        """
        __tracebackhide__ = True
        sent = self.where(**filters)
        if sent.entries:
            raise AssertionError(f"{len(sent)} callbacks were sent\n\n{journal_table(sent)}")

    def clear(self) -> None:
        """Forget everything."""
        self.entries.clear()

    def __iter__(self) -> Iterator[Delivery | Refusal]:
        return iter(list(self.entries))

    def __len__(self) -> int:
        return len(self.entries)

    def __str__(self) -> str:
        return journal_table(self)


def _fits(delivery: Delivery, filters: Filters) -> bool:
    if "status" in filters and not any(event.name == filters["status"] for event in delivery.events):
        return False
    if "kind" in filters and not any(event.kind == filters["kind"] for event in delivery.events):
        return False
    if "to" in filters and not any(getattr(event, "to", None) == filters["to"] for event in delivery.events):
        return False
    if "message_id" in filters and not any(
        getattr(event, "message_id", None) == filters["message_id"] for event in delivery.events
    ):
        return False
    if "receiver" in filters and delivery.receiver is not filters["receiver"]:
        return False
    return "outcome" not in filters or delivery.outcome == filters["outcome"]


def _check(filters: Filters) -> None:
    for name in filters:
        if name not in Filters.__annotations__:
            raise UnknownName("filter", name, Filters.__annotations__, where="journal")
    outcome = filters.get("outcome")
    if outcome is not None and outcome not in list(Outcome):
        raise UnknownName("outcome", outcome, Outcome, where="journal")


def _describe(filters: Filters) -> str:
    shown = ", ".join(f"{name}={value!r}" for name, value in filters.items())
    return f"acknowledged delivery with {shown}" if shown else "acknowledged delivery"
