"""Every schedule of a lifecycle, smallest first, counted before the first one is made."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import combinations, islice, pairwise, permutations
from math import comb, factorial
from typing import Any, Literal

import msgspec

from engagelab_mock.errors import UnknownName, UsageError
from engagelab_mock.explore.lifecycle import labels_of, lifecycle
from engagelab_mock.explore.schedule import POINTS, Schedule, Step, fault_of, tidy
from engagelab_mock.messages.catalogue import CATALOGUE
from engagelab_mock.messages.scenario import Scenario

#: The faults of at-least-once delivery: a crash, or a lost acknowledgement, at each point of a delivery.
AT_LEAST_ONCE: tuple[str, ...] = tuple(POINTS.values())

LifecycleChoice = str | Scenario | Sequence[str]
FaultsChoice = Literal["at-least-once"] | Sequence[str] | None


class Family(msgspec.Struct, frozen=True):
    """Hold schedules of equal size: how many there are, and the function that makes them."""

    #: The sort key: the number of events and faults, then the kind (the least unusual first), then the lifecycle.
    size: tuple[int, int, int]
    count: int
    make: Callable[[], Iterator[tuple[Step, ...]]]
    lifecycles: tuple[Scenario, ...]

    def __iter__(self) -> Iterator[Schedule]:
        return (Schedule(self.lifecycles, steps) for steps in self.make())


class Schedules:
    """Iterate over schedules, smallest first, always in the same order; made by `schedules`.

    >>> len(schedules("verified", duplicates=1))
    264

    Each iteration starts from the beginning, and makes a schedule when its turn comes. `total` is the number of
    schedules without the limit.
    """

    def __init__(self, families: Sequence[Family], limit: int | None = None) -> None:
        self._families = sorted(families, key=lambda family: family.size)
        self.limit = limit
        self.total = sum(family.count for family in families)

    def __len__(self) -> int:
        return self.total if self.limit is None else min(self.total, self.limit)

    def __iter__(self) -> Iterator[Schedule]:
        every = (schedule for family in self._families for schedule in family)
        return islice(every, self.limit)

    def __contains__(self, schedule: object) -> bool:
        return any(each == schedule for each in self)

    def __repr__(self) -> str:
        return f"<Schedules: {len(self)} of {self.total}>"


def schedules(
    *lifecycles: LifecycleChoice,
    orderings: bool = True,
    duplicates: int = 0,
    batchings: bool = False,
    faults: FaultsChoice = None,
    limit: int | None = None,
) -> Schedules:
    """Return every schedule of one or more lifecycles, one lifecycle at a time; default: every built-in lifecycle.

    Each event is delivered once, in every order; with `orderings=False` only in the lifecycle's order. In addition,
    `duplicates` is how many events are delivered a second time, `batchings` puts several events into one callback, and
    `faults` strike one delivery of a schedule. `limit` is the greatest number of schedules.

    >>> [str(schedule) for schedule in schedules("sent_failed", duplicates=1)][:4]
    ['eg1:plan,sent_failed', 'eg1:sent_failed,plan', 'eg1:plan*2,sent_failed', 'eg1:plan,sent_failed,plan']
    >>> import pytest
    >>> @pytest.mark.parametrize("schedule", schedules("verified", duplicates=1))
    ... def test_any_order(engagelab, schedule):
    ...     assert engagelab.play(schedule).final == "verified"
    """
    _check_number("duplicates", duplicates, least=0)
    if limit is not None:
        _check_number("limit", limit, least=0)
    struck = check_faults(faults)
    families: list[Family] = []
    for rank, chosen in enumerate(lifecycles or CATALOGUE):
        scenario = lifecycle(chosen, where="schedules")
        families += _families(scenario, rank, orderings, duplicates, batchings, struck)
    return Schedules(families, limit)


def check_faults(chosen: object) -> tuple[str, ...]:
    """Return the names of the chosen faults, or raise `UsageError`.

    >>> check_faults("at-least-once")
    ('request_lost', 'short_body', 'ack_lost', 'bad_gateway')
    """
    if chosen is None:
        return ()
    if isinstance(chosen, str):
        if chosen == "at-least-once":
            return AT_LEAST_ONCE
        if chosen in POINTS:
            return (POINTS[chosen],)
        raise UnknownName("set of faults", chosen, ["at-least-once", *POINTS], where="faults")
    if not isinstance(chosen, Sequence):
        raise UsageError(f"faults is a list of names, not {chosen!r:.100}", where="faults", hint="'at-least-once'")
    return tuple(fault_of(each, where="faults") for each in chosen)


def _check_number(name: str, given: Any, *, least: int) -> None:
    if isinstance(given, bool) or not isinstance(given, int) or given < least:
        raise UsageError(f"{name} is an integer from {least}, not {given!r}", where="schedules")


def _families(
    scenario: Scenario, rank: int, orderings: bool, duplicates: int, batchings: bool, faults: tuple[str, ...]
) -> Iterator[Family]:
    labels = labels_of((scenario,)).all
    n, whole = len(labels), (scenario,)
    every = factorial(n) if orderings else 1
    yield Family((n, 0, rank), every, lambda: _orders(labels, orderings), whole)
    if batchings:
        count = (fubini(n) if orderings else 2 ** max(0, n - 1)) - every
        yield Family((n, 1, rank), count, lambda: _batchings(labels, orderings), whole)
    if faults:
        yield Family((n + 1, 2, rank), every * n * len(faults), lambda: _struck(labels, orderings, faults), whole)
    for extra in range(1, duplicates + 1):
        count = every * stirling(n + extra, n)
        yield Family((n + extra, 3, rank), count, partial(_doubled, labels, extra, orderings), whole)


# Schedules share their steps, which cannot change: there are many schedules, and few different steps.


def _orders(labels: tuple[str, ...], orderings: bool) -> Iterator[tuple[Step, ...]]:
    steps = tuple(Step((label,)) for label in labels)
    return permutations(steps) if orderings else iter([steps])


def _doubled(labels: tuple[str, ...], extra: int, orderings: bool) -> Iterator[tuple[Step, ...]]:
    steps = {label: Step((label,)) for label in labels}
    for word in _words(labels, len(labels) + extra, (), in_order=not orderings):
        yield tidy([steps[label] for label in word])


def _words(
    labels: tuple[str, ...], length: int, begun: tuple[str, ...], *, in_order: bool
) -> Iterator[tuple[str, ...]]:
    """Yield every word of this length that has each label; `in_order` puts first occurrences in the labels' order."""
    seen = set(begun)
    if len(begun) == length:
        yield begun
        return
    for index, label in enumerate(labels):
        missing = len(labels) - len(seen | {label})
        if missing <= length - len(begun) - 1 and not (in_order and label not in seen and index != len(seen)):
            yield from _words(labels, length, (*begun, label), in_order=in_order)


def _batchings(labels: tuple[str, ...], orderings: bool) -> Iterator[tuple[Step, ...]]:
    """Yield every way to put several events into a callback; those with the most callbacks first."""
    for size in range(len(labels) - 1, 0, -1):
        for parts in _partitions(labels, size) if orderings else _cuts(labels, size):
            yield tuple(map(Step, parts))


def _partitions(labels: tuple[str, ...], size: int) -> Iterator[tuple[tuple[str, ...], ...]]:
    """Yield every ordered partition into `size` parts; the labels in a part keep their order."""
    if size == 1:
        yield (labels,)
        return
    for width in range(1, len(labels) - size + 2):
        for chosen in combinations(labels, width):
            rest = tuple(label for label in labels if label not in chosen)
            for others in _partitions(rest, size - 1):
                yield (chosen, *others)


def _cuts(labels: tuple[str, ...], size: int) -> Iterator[tuple[tuple[str, ...], ...]]:
    """Yield every way to cut the labels into `size` pieces."""
    for places in combinations(range(1, len(labels)), size - 1):
        bounds = [0, *places, len(labels)]
        yield tuple(labels[start:end] for start, end in pairwise(bounds))


def _struck(labels: tuple[str, ...], orderings: bool, faults: tuple[str, ...]) -> Iterator[tuple[Step, ...]]:
    for steps in _orders(labels, orderings):
        for index, step in enumerate(steps):
            for fault in faults:
                yield (*steps[:index], msgspec.structs.replace(step, fault=fault), *steps[index + 1 :])


def fubini(n: int) -> int:
    """Return the number of ordered partitions of `n` events: the ways to put them into callbacks.

    >>> [fubini(n) for n in range(2, 6)]
    [3, 13, 75, 541]
    """
    return 1 if n == 0 else sum(comb(n, k) * fubini(n - k) for k in range(1, n + 1))


def stirling(n: int, k: int) -> int:
    """Return the number of ways to give `n` deliveries to `k` events so that each event has at least one.

    >>> stirling(5, 4)
    10
    """
    ways = 0
    for j in range(k + 1):
        ways += comb(k, j) * j**n * (1 if (k - j) % 2 == 0 else -1)
    return ways // factorial(k)
