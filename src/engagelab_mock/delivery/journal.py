"""The journal: every delivery and every refused input. An entry is added before its request is sent."""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableSequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypedDict, Unpack

from engagelab_mock import eventloop
from engagelab_mock.clock import check_delay
from engagelab_mock.delivery.model import Attempt, Delivery, Refusal
from engagelab_mock.delivery.outcome import Outcome
from engagelab_mock.delivery.render import journal_table
from engagelab_mock.errors import EngageLabMockError, UnknownName, UsageError
from engagelab_mock.protocol.event_table import EVENTS
from engagelab_mock.protocol.events import DIALECTS, KINDS, Event, UnknownEvent

if TYPE_CHECKING:
    from engagelab_mock.delivery.receiver import Receiver


class Filters(TypedDict, total=False):
    """Select deliveries; every key is optional, and all given ones must fit."""

    #: A status, or another event's name, that the callback carries.
    status: str
    #: A kind of event that the callback carries: status, notification, response, system_event.
    kind: str
    #: The recipient of an event that the callback carries.
    to: str
    message_id: str
    receiver: Receiver
    #: The outcome of the last attempt.
    outcome: str


#: The values of a delivery that a filter is compared with. One of them must be equal.
_HAS: Mapping[str, Callable[[Delivery], list[Any]]] = {
    "status": lambda delivery: delivery.statuses,
    "kind": lambda delivery: [event.kind for event in delivery.events],
    "to": lambda delivery: [getattr(event, "to", None) for event in delivery.events],
    "message_id": lambda delivery: [getattr(event, "message_id", None) for event in delivery.events],
    "receiver": lambda delivery: [delivery.receiver],
    "outcome": lambda delivery: [delivery.outcome],
}


def check_filters(filters: Filters, names: Iterable[str]) -> None:
    """Raise `UnknownName` for a misspelt filter, or a value that no delivery can have.

    `names` are additional statuses. They are read only if the status is not a documented one.

    >>> check_filters({"status": "sent"}, [])
    """
    for name in filters:
        if name not in _HAS:
            raise UnknownName("filter", name, _HAS, where="journal")
    if "outcome" in filters and filters["outcome"] not in list(Outcome):
        raise UnknownName("outcome", filters["outcome"], Outcome, where="journal")
    if "kind" in filters and filters["kind"] not in {*KINDS, UnknownEvent.kind}:
        raise UnknownName("kind", filters["kind"], KINDS, where="journal")
    if "status" in filters:
        known = {*EVENTS, *(each.sent_failed for each in DIALECTS.values())}
        if filters["status"] not in known and filters["status"] not in (names := list(names)):
            raise UnknownName("status", filters["status"], {*known, *names}, where="journal")


def fits(delivery: Delivery, filters: Filters) -> bool:
    """Tell whether a delivery matches all filters."""
    return all(wanted in _HAS[name](delivery) for name, wanted in filters.items())


def list_filters(filters: Filters) -> str:
    """Return filters as the caller wrote them.

    >>> list_filters({"status": "sent", "to": "+6591234567"})
    "status='sent', to='+6591234567'"
    """
    return ", ".join(f"{name}={value!r}" for name, value in filters.items())


def describe(filters: Filters) -> str:
    """Describe the wanted delivery in words.

    >>> describe({"outcome": "acknowledged", "status": "sent"})
    "acknowledged delivery with status='sent'"
    """
    others: Any = {name: value for name, value in filters.items() if name != "outcome"}
    outcome = f"{filters['outcome']} delivery" if "outcome" in filters else "delivery"
    return f"{outcome} with {list_filters(others)}" if others else outcome


def nearest_miss(deliveries: Iterable[Delivery], filters: Filters) -> str:
    """Describe the delivery that matches most filters, and how it differs; return "" if no delivery matches any filter.

    The outcome is ignored here, because most deliveries share it.
    """
    best: tuple[int, Delivery] | None = None
    for delivery in deliveries:
        fitting = sum(wanted in _HAS[name](delivery) for name, wanted in filters.items() if name != "outcome")
        if fitting and not fits(delivery, filters) and (best is None or fitting >= best[0]):
            best = fitting, delivery
    if best is None:
        return ""
    delivery = best[1]
    differing = [name for name, wanted in filters.items() if wanted not in _HAS[name](delivery)]
    what = ", ".join(delivery.statuses) or "ping"
    has = (f"{name} is {' and '.join(dict.fromkeys(map(str, _HAS[name](delivery)))) or 'none'}" for name in differing)
    return f"the nearest is {what}, whose {', '.join(has)}"


_INDEXED: tuple[Literal["message_id", "to", "status"], ...] = ("message_id", "to", "status")


class _Index:
    """Find deliveries by message id, recipient or status, so that an assertion after each send looks at few of them.

    A query adds the new entries first. A journal without queries pays nothing.
    """

    def __init__(self) -> None:
        self.size = 0
        self._found: dict[tuple[str, str], list[Delivery]] = {}

    def extend(self, entries: Iterable[Delivery | Refusal]) -> None:
        """Add further entries."""
        for entry in entries:
            self.size += 1
            if isinstance(entry, Delivery):
                keys = {(name, value) for name in _INDEXED for value in _HAS[name](entry) if isinstance(value, str)}
                for key in keys:
                    self._found.setdefault(key, []).append(entry)

    def narrow(self, filters: Filters) -> tuple[list[Delivery], Filters] | None:
        """Return the deliveries that match the most selective filter, and the other filters; None without filters."""
        found = {
            name: self._found.get((name, wanted), [])
            for name in _INDEXED
            if isinstance(wanted := filters.get(name), str)
        }
        if not found:
            return None
        best = min(found, key=lambda name: len(found[name]))
        others: Any = {name: wanted for name, wanted in filters.items() if name != best}
        return found[best].copy(), others


#: How many attempts a failing assertion shows.
_SHOWN = 100


class Keeper(Protocol):
    """Keep deliveries and refused inputs beyond the end of the process."""

    def begun(self, delivery: Delivery) -> None:
        """Keep the last attempt of a delivery, before its request is sent."""

    def completed(self, delivery: Delivery) -> None:
        """Keep the outcome of an attempt."""

    def refused(self, refusal: Refusal) -> bool:
        """Keep an unusable input, and return whether that was possible."""


class Journal:
    """Keep deliveries and refused inputs in the order in which they happened.

    >>> from engagelab_mock import EngageLab
    >>> with EngageLab() as engagelab:
    ...     run = engagelab.send("+6591234567", scenario="delivered")
    ...     engagelab.journal.statuses
    ['plan', 'sent', 'delivered']

    With a `limit`, the journal drops its oldest entries once there are more. Threads can read while others write.
    """

    def __init__(self, limit: int | None = None, entries: Iterable[Delivery | Refusal] = ()) -> None:
        given: Any = limit
        if limit is not None and (
            isinstance(given, bool) or not isinstance(given, int) or not 1 <= limit <= sys.maxsize
        ):
            raise UsageError(f"a limit is a number of entries from 1, not {limit!r}", where="Journal, limit")
        #: How many entries are kept; None keeps all.
        self.limit = limit
        self._lock = threading.Lock()
        #: Deliveries and refusals, oldest first.
        self.entries: MutableSequence[Delivery | Refusal] = [*entries] if limit is None else deque(entries, limit)
        self._index = _Index()
        #: Called with each attempt that ended, on the thread that sent it. An exception goes to the sender's caller.
        self.listeners: list[Callable[[Delivery, Attempt], object]] = []
        #: Keeps the entries for another process; None without a store.
        self.keeper: Keeper | None = None

    def open(self, delivery: Delivery) -> None:
        """Enter a delivery before its first request."""
        with self._lock:
            self.entries.append(delivery)

    def complete(self, delivery: Delivery, attempt: Attempt) -> None:
        """Keep an attempt's outcome, if there is a store, and call the listeners."""
        if self.keeper is not None:
            self.keeper.completed(delivery)
        self.tell(delivery, attempt)

    def tell(self, delivery: Delivery, attempt: Attempt) -> None:
        """Call the listeners with an attempt that ended."""
        for listener in tuple(self.listeners):
            listener(delivery, attempt)

    def refuse(self, error: EngageLabMockError, *, at: float) -> None:
        """Enter an unusable input; `at` is in Unix seconds."""
        refusal = Refusal(at, error)
        if self.keeper is None or self.keeper.refused(refusal):
            with self._lock:
                self.entries.append(refusal)

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
        """Return a journal of the deliveries that match: by status, kind, to, message_id, receiver, outcome.

        >>> from engagelab_mock import EngageLab
        >>> with EngageLab() as engagelab:
        ...     run = engagelab.send("+6591234567")
        ...     engagelab.journal.where(status="sent", to="+6591234567").statuses
        ['sent']
        """
        __tracebackhide__ = True
        check_filters(filters, self._names())
        return Journal(entries=self._fitting(filters))

    def wait_for(self, *, timeout: float = 3.0, **filters: Unpack[Filters]) -> Delivery:
        """Return the first delivery that matches, waiting up to `timeout` seconds of real time for it.

        It returns an acknowledged delivery, unless `outcome` asks for another. If none comes, it raises
        `AssertionError` with the journal's table. Use it for other threads: this thread's deliveries are there already.

        >>> from engagelab_mock import EngageLab
        >>> with EngageLab() as engagelab:
        ...     run = engagelab.send("+6591234567")
        ...     engagelab.journal.wait_for(status="delivered").statuses
        ['delivered']
        """
        __tracebackhide__ = True
        wanted = self._wanted(filters)
        deadline = eventloop.stopwatch() + check_delay(timeout, where="wait_for, timeout")
        came = threading.Event()
        with self._listening(came.set):
            while True:
                came.clear()
                for delivery in self._fitting(wanted):
                    return delivery
                # `max`, because a negative timeout waits without a limit.
                if not came.wait(min(max(0.0, deadline - eventloop.stopwatch()), threading.TIMEOUT_MAX)):
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
        """Return the acknowledged deliveries that match; fail if there are none, or not `times`.

        >>> from engagelab_mock import EngageLab
        >>> with EngageLab() as engagelab:
        ...     run = engagelab.send("+6591234567")
        ...     [delivery] = engagelab.journal.assert_delivered(status="verified", times=1)
        """
        __tracebackhide__ = True
        if "outcome" in filters:
            hint = "for other outcomes, use journal.where(outcome=…)"
            raise UsageError("assert_delivered counts acknowledged deliveries only", where="outcome", hint=hint)
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
        """Fail if any callback that matches was sent, acknowledged or not; an address validation counts too.

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
            self._index = _Index()

    def __reduce__(self) -> tuple[Any, ...]:
        return Journal, (self.limit, self._snapshot())  # listeners and keeper belong to this process

    def __iter__(self) -> Iterator[Delivery | Refusal]:
        return iter(self._snapshot())

    def __len__(self) -> int:
        return len(self.entries)

    def __str__(self) -> str:
        return journal_table(self)

    def _snapshot(self) -> list[Delivery | Refusal]:
        # Other threads may append while this one iterates.
        with self._lock:
            return list(self.entries)

    def _wanted(self, filters: Filters) -> Filters:
        """Return the filters, checked, with `outcome` set to acknowledged unless it is given."""
        __tracebackhide__ = True
        check_filters(filters, self._names())
        return {"outcome": Outcome.ACKNOWLEDGED, **filters}

    def _names(self) -> Iterator[str]:
        """Return the name of every event sent, reading nothing before the first is asked for."""
        yield from self.statuses

    def _fitting(self, filters: Filters) -> Iterator[Delivery]:
        narrowed = None
        if self.limit is None:  # with a limit there are few entries, and the index would have to forget them, too
            with self._lock:
                if len(self.entries) < self._index.size:
                    self._index = _Index()  # entries were removed
                self._index.extend(self.entries[self._index.size :])
                narrowed = self._index.narrow(filters)
        deliveries, others = narrowed or (self.deliveries, filters)
        return (delivery for delivery in deliveries if fits(delivery, others))

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
    with suppress(RuntimeError):  # the waiting loop may have ended
        call_soon(tell)
