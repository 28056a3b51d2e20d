"""Everything that happened: an entry is opened before a request goes out and completed after."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, MutableSequence
from contextlib import contextmanager, suppress
from functools import partial
from time import monotonic
from typing import Any, Protocol, Unpack

from engagelab_mock import eventloop
from engagelab_mock.clock import check_delay
from engagelab_mock.delivery.filters import Filters, check_filters, describe, fits, list_filters, nearest_miss
from engagelab_mock.delivery.model import Attempt, Delivery, Refusal
from engagelab_mock.delivery.outcome import Outcome
from engagelab_mock.delivery.render import journal_table
from engagelab_mock.errors import EngageLabMockError, UsageError
from engagelab_mock.protocol.events import Event

#: How many attempts a failing assertion shows.
_SHOWN = 100


class Keeper(Protocol):
    """Keep what happens where it outlives the process."""

    def begun(self, delivery: Delivery) -> None:
        """Keep an attempt, the delivery's last, before its request goes out."""

    def completed(self, delivery: Delivery) -> None:
        """Keep what came of an attempt."""

    def refused(self, refusal: Refusal) -> None:
        """Keep an input that could not be used."""


class Journal:
    """Keep deliveries and refused inputs in the order in which they happened.

    >>> from engagelab_mock import EngageLab
    >>> with EngageLab() as engagelab:
    ...     run = engagelab.send("+6591234567", scenario="delivered")
    ...     engagelab.journal.statuses
    ['plan', 'sent', 'delivered']

    With a `limit`, the oldest entries are forgotten once there are more. It can be read while others write.
    """

    def __init__(self, limit: int | None = None) -> None:
        given: Any = limit
        if limit is not None and (isinstance(given, bool) or not isinstance(given, int) or limit < 1):
            raise UsageError(f"a limit is a number of entries from 1, not {limit!r}", where="Journal, limit")
        #: How many entries are kept; None is all.
        self.limit = limit
        self._lock = threading.Lock()
        #: Deliveries and refusals, oldest first.
        self.entries: MutableSequence[Delivery | Refusal] = [] if limit is None else deque(maxlen=limit)
        #: Called with every attempt, and the delivery it belongs to, once it is completed and from the thread that
        #: sent it; what one raises reaches whoever sent.
        self.listeners: list[Callable[[Delivery, Attempt], object]] = []
        #: Who keeps it all for another process; nobody, unless there is a store.
        self.keeper: Keeper | None = None

    def open(self, delivery: Delivery) -> None:
        """Enter a delivery before its first request."""
        with self._lock:
            self.entries.append(delivery)

    def begin(self, delivery: Delivery) -> None:
        """Have an attempt kept before its request goes out."""
        if self.keeper is not None:
            self.keeper.begun(delivery)

    def complete(self, delivery: Delivery, attempt: Attempt) -> None:
        """Have an attempt's outcome kept, and tell the listeners."""
        if self.keeper is not None:
            self.keeper.completed(delivery)
        if self.listeners:
            for listener in tuple(self.listeners):
                listener(delivery, attempt)

    def refuse(self, error: EngageLabMockError, *, at: float) -> None:
        """Enter an input that could not be used; `at` is in Unix seconds."""
        refusal = Refusal(at, error)
        with self._lock:
            self.entries.append(refusal)
        if self.keeper is not None:
            self.keeper.refused(refusal)

    @property
    def deliveries(self) -> list[Delivery]:
        """Return the deliveries, oldest first."""
        return [entry for entry in self._snapshot() if isinstance(entry, Delivery)]

    @property
    def refusals(self) -> list[Refusal]:
        """Return the refused inputs, oldest first."""
        return [entry for entry in self._snapshot() if isinstance(entry, Refusal)]

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
        __tracebackhide__ = True
        check_filters(filters, self.statuses)
        part = Journal()
        part.entries.extend(self._fitting(filters))
        return part

    def wait_for(self, *, timeout: float = 3.0, **filters: Unpack[Filters]) -> Delivery:
        """Return the first delivery that fits, waiting up to `timeout` seconds of real time for it.

        It is an acknowledged one, unless `outcome` asks for another. Raises `AssertionError` with the journal's table
        when none came. For what is sent from another thread: what this thread sent is there already.

        >>> from engagelab_mock import EngageLab
        >>> with EngageLab() as engagelab:
        ...     run = engagelab.send("+6591234567")
        ...     engagelab.journal.wait_for(status="delivered").statuses
        ['delivered']
        """
        __tracebackhide__ = True
        wanted = self._wanted(filters)
        deadline = monotonic() + check_delay(timeout, where="wait_for, timeout")
        came = threading.Event()
        with self._listening(came.set):
            while True:
                came.clear()
                for delivery in self._fitting(wanted):
                    return delivery
                # `max`: a wait of less than nothing would be one for ever.
                if not came.wait(min(max(0.0, deadline - monotonic()), threading.TIMEOUT_MAX)):
                    raise self._missing(f"no {describe(wanted)} within {timeout:g} s", wanted)

    async def await_for(self, *, timeout: float = 3.0, **filters: Unpack[Filters]) -> Delivery:
        """Do what `wait_for` does, leaving the running event loop free while waiting."""
        __tracebackhide__ = True
        wanted = self._wanted(filters)
        seconds = check_delay(timeout, where="await_for, timeout")
        call_soon = eventloop.caller()
        try:
            async with eventloop.limited(seconds):
                while True:
                    came = eventloop.flag()
                    with self._listening(partial(_let_know, call_soon, came.set)):
                        for delivery in self._fitting(wanted):
                            return delivery
                        await came.wait()
        except TimeoutError:
            raise self._missing(f"no {describe(wanted)} within {timeout:g} s", wanted) from None

    def assert_delivered(self, *, times: int | None = None, **filters: Unpack[Filters]) -> list[Delivery]:
        """Return the acknowledged deliveries that fit; fail if there is none, or not that many.

        >>> from engagelab_mock import EngageLab
        >>> with EngageLab() as engagelab:
        ...     run = engagelab.send("+6591234567")
        ...     [delivery] = engagelab.journal.assert_delivered(status="verified", times=1)
        """
        __tracebackhide__ = True
        if "outcome" in filters:
            hint = "of others, see journal.where(outcome=…)"
            raise UsageError("what is delivered is acknowledged, and nothing else is", where="outcome", hint=hint)
        given: Any = times
        if times is not None and (isinstance(given, bool) or not isinstance(given, int) or times < 0):
            raise UsageError(f"times is a number from 0, not {times!r}", where="assert_delivered")
        wanted = self._wanted(filters)
        fitting = list(self._fitting(wanted))
        if times is None and not fitting:
            raise self._missing(f"no {describe(wanted)}", wanted)
        if times is not None and len(fitting) != times:
            raise self._missing(f"{len(fitting)} times instead of {times}: {describe(wanted)}", wanted)
        return fitting

    def assert_nothing_sent(self, **filters: Unpack[Filters]) -> None:
        """Fail if any callback that fits was sent, acknowledged or not; an address validation counts as well.

        >>> from engagelab_mock import EngageLab
        >>> with EngageLab() as engagelab:
        ...     engagelab.journal.assert_nothing_sent()
        """
        __tracebackhide__ = True
        sent = self.where(**filters)
        if sent.entries:
            what = "1 callback was sent" if len(sent) == 1 else f"{len(sent)} callbacks were sent"
            with_what = f", with {list_filters(filters)}" if filters else ""
            raise AssertionError(f"{what}{with_what}\n\n{journal_table(sent, most=_SHOWN)}")

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self.entries.clear()

    def __iter__(self) -> Iterator[Delivery | Refusal]:
        return iter(self._snapshot())

    def __len__(self) -> int:
        return len(self.entries)

    def __str__(self) -> str:
        return journal_table(self)

    def _snapshot(self) -> list[Delivery | Refusal]:
        # Others may append meanwhile, and what they append to cannot be gone through.
        with self._lock:
            return list(self.entries)

    def _wanted(self, filters: Filters) -> Filters:
        """Return the filters, checked, with `outcome` set to acknowledged unless it is given."""
        __tracebackhide__ = True
        check_filters(filters, self.statuses)
        return {"outcome": Outcome.ACKNOWLEDGED, **filters}

    def _fitting(self, filters: Filters) -> Iterator[Delivery]:
        return (delivery for delivery in self.deliveries if fits(delivery, filters))

    @contextmanager
    def _listening(self, tell: Callable[[], object]) -> Iterator[None]:
        def listener(delivery: Delivery, attempt: Attempt) -> None:
            tell()

        self.listeners.append(listener)
        try:
            yield
        finally:
            self.listeners.remove(listener)

    def _missing(self, what: str, wanted: Filters) -> AssertionError:
        nearest = nearest_miss(self.deliveries, wanted)
        return AssertionError(f"{what}{nearest and f'; {nearest}'}\n\n{journal_table(self, most=_SHOWN)}")


def _let_know(call_soon: Callable[[Callable[[], object]], object], tell: Callable[[], object]) -> None:
    with suppress(RuntimeError):  # the waiting loop may have ended meanwhile, which is not the sender's problem
        call_soon(tell)
