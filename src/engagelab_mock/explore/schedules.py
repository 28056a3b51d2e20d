"""Every schedule of a lifecycle, counted before any is made, and the options of an exploration."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import combinations, islice, pairwise, permutations
from math import comb, factorial
from typing import Any, Literal, TypedDict

import msgspec

from engagelab_mock.delivery.retry import RetryPolicy
from engagelab_mock.errors import UnknownName, UsageError
from engagelab_mock.explore.invariants import Invariant
from engagelab_mock.explore.lifecycle import labels_of, lifecycle
from engagelab_mock.explore.schedule import Schedule, Step, tidy
from engagelab_mock.explore.token import POINTS, fault_of
from engagelab_mock.messages.catalogue import CATALOGUE
from engagelab_mock.messages.scenario import Scenario

#: The faults of a sender that delivers at least once: a crash, or an acknowledgement that is lost, at every point.
AT_LEAST_ONCE: tuple[str, ...] = tuple(POINTS.values())

LifecycleChoice = str | Scenario | Sequence[str]
FaultsChoice = Literal["at-least-once"] | Sequence[str] | None


class Family(msgspec.Struct, frozen=True):
    """Hold schedules that are equally large: how many there are, and how they are made."""

    #: What the families are sorted by: events delivered and faults, then what is least unusual.
    size: tuple[int, int, int]
    count: int
    make: Callable[[], Iterator[tuple[Step, ...]]]
    lifecycles: tuple[Scenario, ...]

    def __iter__(self) -> Iterator[Schedule]:
        return (Schedule(self.lifecycles, steps) for steps in self.make())


class Schedules:
    """Go through schedules, smallest first, always in the same order; made by `schedules`.

    >>> len(schedules("verified", duplicates=1))
    264

    Every iteration starts anew, and makes each schedule when its turn comes. `total` is how many there would be
    without the limit.
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
    """Return every schedule of one or more lifecycles, each by itself; without one, of every built-in lifecycle.

    Each event is delivered once: in every order, or with `orderings=False` in the lifecycle's own; and besides, with up
    to `duplicates` of them once more, or with `batchings` several in one callback, or with `faults` one delivery
    struck by one of them. `limit` is how many schedules there are at most.

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
    """Return the names of the faults that are meant, or raise `UsageError`.

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
        raise UsageError(f"faults are a list of names, not {chosen!r:.100}", where="faults", hint="'at-least-once'")
    return tuple(fault_of(each, where="faults") for each in chosen)


def _check_number(name: str, given: Any, *, least: int) -> None:
    if isinstance(given, bool) or not isinstance(given, int) or given < least:
        raise UsageError(f"{name} is a number from {least}, not {given!r}", where="schedules")


def _families(
    scenario: Scenario, rank: int, orderings: bool, duplicates: int, batchings: bool, faults: tuple[str, ...]
) -> Iterator[Family]:
    labels = labels_of((scenario,)).all
    n, whole = len(labels), (scenario,)
    every = factorial(n) if orderings else 1

    def plain() -> Iterator[tuple[Step, ...]]:
        return (tuple(Step((label,)) for label in order) for order in _orders(labels, orderings))

    yield Family((n, 0, rank), every, plain, whole)
    if batchings:
        count = (fubini(n) if orderings else 2 ** max(0, n - 1)) - every
        yield Family((n, 1, rank), count, lambda: _batchings(labels, orderings), whole)
    if faults:
        yield Family((n + 1, 2, rank), every * n * len(faults), lambda: _struck(labels, orderings, faults), whole)
    for extra in range(1, duplicates + 1):
        count = every * stirling(n + extra, n)
        yield Family((n + extra, 3, rank), count, _doubled_maker(labels, extra, orderings), whole)


def _orders(labels: tuple[str, ...], orderings: bool) -> Iterator[tuple[str, ...]]:
    return permutations(labels) if orderings else iter([labels])


def _doubled_maker(labels: tuple[str, ...], extra: int, orderings: bool) -> Callable[[], Iterator[tuple[Step, ...]]]:
    def make() -> Iterator[tuple[Step, ...]]:
        for word in _words(labels, len(labels) + extra, (), in_order=not orderings):
            yield tidy(Step((label,)) for label in word)

    return make


def _words(
    labels: tuple[str, ...], length: int, begun: tuple[str, ...], *, in_order: bool
) -> Iterator[tuple[str, ...]]:
    """Yield every word of a length in which each label occurs; `in_order` has first occurrences follow the labels."""
    seen = set(begun)
    if len(begun) == length:
        yield begun
        return
    for index, label in enumerate(labels):
        missing = len(labels) - len(seen | {label})
        if missing <= length - len(begun) - 1 and not (in_order and label not in seen and index != len(seen)):
            yield from _words(labels, length, (*begun, label), in_order=in_order)


def _batchings(labels: tuple[str, ...], orderings: bool) -> Iterator[tuple[Step, ...]]:
    """Yield every way to put the events into callbacks, but for one each; those with the most callbacks first."""
    for size in range(len(labels) - 1, 0, -1):
        for parts in _partitions(labels, size) if orderings else _cuts(labels, size):
            yield tuple(map(Step, parts))


def _partitions(labels: tuple[str, ...], size: int) -> Iterator[tuple[tuple[str, ...], ...]]:
    """Yield every ordered partition into that many parts; in a part the events keep their order."""
    if size == 1:
        yield (labels,)
        return
    for width in range(1, len(labels) - size + 2):
        for chosen in combinations(labels, width):
            rest = tuple(label for label in labels if label not in chosen)
            for others in _partitions(rest, size - 1):
                yield (chosen, *others)


def _cuts(labels: tuple[str, ...], size: int) -> Iterator[tuple[tuple[str, ...], ...]]:
    """Yield every way to cut the labels into that many pieces."""
    for places in combinations(range(1, len(labels)), size - 1):
        bounds = [0, *places, len(labels)]
        yield tuple(labels[start:end] for start, end in pairwise(bounds))


def _struck(labels: tuple[str, ...], orderings: bool, faults: tuple[str, ...]) -> Iterator[tuple[Step, ...]]:
    for order in _orders(labels, orderings):
        steps = tuple(Step((label,)) for label in order)
        for index, step in enumerate(steps):
            for fault in faults:
                yield (*steps[:index], msgspec.structs.replace(step, fault=fault), *steps[index + 1 :])


def fubini(n: int) -> int:
    """Return how many ordered partitions a set of `n` has: in how many ways its events go into callbacks.

    >>> [fubini(n) for n in range(2, 6)]
    [3, 13, 75, 541]
    """
    return 1 if n == 0 else sum(comb(n, k) * fubini(n - k) for k in range(1, n + 1))


def stirling(n: int, k: int) -> int:
    """Return in how many ways `n` deliveries fall to `k` events, so that each event has one.

    >>> stirling(5, 4)
    10
    """
    ways = 0
    for j in range(k + 1):
        ways += comb(k, j) * j**n * (1 if (k - j) % 2 == 0 else -1)
    return ways // factorial(k)


#: What `explore` is given: lifecycles as `schedules` takes them, or schedules.
Explored = LifecycleChoice | Schedule | Iterable[Schedule]


class ExploreOptions(TypedDict, total=False):
    """Say what is explored, and what must hold; every key can be left out."""

    #: What must hold in every schedule; unless given, `converges()` for a receiver with an `observe`.
    invariants: Sequence[Invariant] | Invariant | None
    #: Whether the events come in every order, or in the lifecycle's own only.
    orderings: bool
    #: How many events are delivered once more, at most: 1 unless given.
    duplicates: int
    #: Whether several events go out in one callback, in every way.
    batchings: bool
    #: What strikes one delivery of a schedule: "at-least-once", or a list of names; None is nothing.
    faults: FaultsChoice
    #: Is called before every schedule and brings the receiver's app back to where it was; then all schedules are about
    #: the same message. Without it, each is about a message of its own.
    reset: Callable[[], Any] | None
    #: How many schedules are played, at most.
    limit: int | None
    #: How many seconds are spent, at most; the schedule under way is finished.
    time_budget: float | None
    #: When a callback is sent again that was not acknowledged, as `send` takes it; None is not at all.
    retry: RetryPolicy | Sequence[float] | None
    #: Whether the first failure is raised: unless False.
    check: bool | None


def check_explore_options(given: ExploreOptions) -> None:
    """Raise `UnknownName` for a misspelt option of `explore`.

    >>> check_explore_options({"duplicates": 1})
    """
    for name in given:
        if name not in ExploreOptions.__annotations__:
            raise UnknownName("argument", name, ExploreOptions.__annotations__, where="explore")


def planned(token: str | None, chosen: Sequence[Explored], options: ExploreOptions) -> Schedules | list[Schedule]:
    """Return the schedules to be played: the token's, if there is one, or those given, or those of the lifecycles.

    >>> planned("eg1:plan", ["verified"], {})
    [<Schedule eg1:plan>]
    >>> planned(None, ["verified"], {"duplicates": 0})
    <Schedules: 24 of 24>
    """
    if token is not None:
        return [Schedule.parse(token)]
    if len(chosen) == 1 and isinstance(chosen[0], Schedules):
        return chosen[0]
    given: list[Schedule] = []
    lifecycles: list[LifecycleChoice] = []
    for each in chosen:
        several = _schedules_of(each)
        if several is None:
            lifecycles.append(each)  # type: ignore[arg-type]  # what is none is refused where it is looked at
        else:
            given.extend(several)
    if given and lifecycles:
        raise UsageError("either lifecycles or schedules", where="explore", hint="schedules('verified') makes them")
    return given[: options.get("limit")] if given else _every(lifecycles, options)


def _schedules_of(each: Explored) -> list[Schedule] | None:
    """Return the schedules that are meant, None for a lifecycle."""
    if isinstance(each, Schedule):
        return [each]
    if isinstance(each, (str, Scenario)) or not isinstance(each, Iterable):
        return None
    several: list[Any] = list(each)
    return several if several and all(isinstance(one, Schedule) for one in several) else None


def _every(lifecycles: Sequence[LifecycleChoice], options: ExploreOptions) -> Schedules:
    return schedules(
        *lifecycles,
        orderings=options.get("orderings", True),
        duplicates=options.get("duplicates", 1),
        batchings=options.get("batchings", False),
        faults=options.get("faults"),
        limit=options.get("limit"),
    )
