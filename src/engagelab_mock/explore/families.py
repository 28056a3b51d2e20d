"""The families of schedules: for each, the steps that can come next, and the number of schedules."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import combinations
from math import comb, factorial

import msgspec

from engagelab_mock.explore.lifecycle import labels_of
from engagelab_mock.explore.schedule import Schedule, Step, tidy
from engagelab_mock.messages.scenario import Scenario

#: Takes the steps that were delivered, in any order, and returns those that can come next, in a fixed order. It returns
#: none if the schedule is complete.
Following = Callable[[Sequence[Step]], Sequence[Step]]


class Family(msgspec.Struct, frozen=True):
    """Hold schedules of equal size: their number, and which steps can follow which.

    >>> from engagelab_mock import CATALOGUE
    >>> [str(each) for each in families((CATALOGUE["sent_failed"],), 0)[0]]
    ['eg1:plan,sent_failed', 'eg1:sent_failed,plan']
    """

    #: The sort key: the number of events and faults, then the kind (the least unusual first), then the lifecycle.
    size: tuple[int, int, int]
    count: int
    #: The schedules of the first one come first.
    followings: tuple[Following, ...]
    lifecycles: tuple[Scenario, ...]

    def __iter__(self) -> Iterator[Schedule]:
        every = (steps for following in self.followings for steps in _walk(following, ()))
        return (Schedule(self.lifecycles, tidy(steps)) for steps in every)


def families(
    lifecycles: tuple[Scenario, ...],
    rank: int,
    *,
    orderings: bool = True,
    duplicates: int = 0,
    batchings: bool = False,
    faults: tuple[str, ...] = (),
) -> list[Family]:
    """Return the families of the messages of a schedule; `rank` sorts families of the same size and kind.

    >>> from engagelab_mock import CATALOGUE
    >>> [family.count for family in families((CATALOGUE["verified"],), 0, duplicates=1, batchings=True)]
    [24, 51, 240]
    """
    events = _Events(lifecycles, orderings)
    n = len(events.labels)
    # The events of one message have one order. Those of several can be interleaved, so the schedules are counted.
    several = len(lifecycles) > 1 and not orderings
    every = factorial(n) if orderings else 1

    def family(size: int, kind: int, count: int, *followings: Following) -> Family:
        count = sum(map(_counted, followings)) if several else count
        return Family((size, kind, rank), count, followings, lifecycles)

    made = [family(n, 0, every, events.ordered(0))]
    if batchings:
        count = (fubini(n) if orderings else 2 ** max(0, n - 1)) - every
        made.append(family(n, 1, count, *[events.batched(size) for size in range(n - 1, 0, -1)]))
    if faults:
        made.append(family(n + 1, 2, every * n * len(faults), events.struck(faults)))
    for extra in range(1, duplicates + 1):
        made.append(family(n + extra, 3, every * stirling(n + extra, n), events.ordered(extra)))
    return [each for each in made if each.count]


class _Events:
    """Make the rules of which event can follow which, for the events of these lifecycles."""

    def __init__(self, lifecycles: tuple[Scenario, ...], orderings: bool) -> None:
        places = labels_of(lifecycles).places
        self.labels = tuple(places)
        # Schedules share their steps, which are immutable: there are many schedules, but few different steps.
        self._steps = {label: Step((label,)) for label in places}
        named = {place: label for label, place in places.items()}
        #: The event that must come before an event; none if every order is possible.
        self._before = {
            label: None if orderings else named.get((message, index - 1)) for label, (message, index) in places.items()
        }

    def _missing(self, done: Sequence[Step]) -> tuple[str, ...]:
        seen = {label for step in done for label in step.events}
        return tuple([label for label in self.labels if label not in seen])

    def ordered(self, extra: int) -> Following:
        """Deliver each event alone, and `extra` times one of them again."""
        length = len(self.labels) + extra

        def following(done: Sequence[Step]) -> list[Step]:
            if len(done) == length:
                return []
            missing = self._missing(done)
            can_repeat = length - len(done) > len(missing)
            return [
                step
                for label, step in self._steps.items()
                if (self._before[label] not in missing if label in missing else can_repeat)
            ]

        return following

    def batched(self, size: int) -> Following:
        """Put the events into `size` callbacks; the events of a callback keep their order."""

        def following(done: Sequence[Step]) -> list[Step]:
            missing, left = self._missing(done), size - len(done)
            widths = range(1, len(missing) - left + 2) if left > 1 else range(len(missing), len(missing) + left)
            chosen = [events for width in widths for events in combinations(missing, width)]
            return [
                Step(events)
                for events in chosen
                if all(self._before[label] not in missing or self._before[label] in events for label in events)
            ]

        return following

    def struck(self, faults: tuple[str, ...]) -> Following:
        """Deliver each event alone, one of them with a fault."""
        struck = {label: [Step((label,), fault=fault) for fault in faults] for label in self.labels}

        def following(done: Sequence[Step]) -> list[Step]:
            missing = self._missing(done)
            spent = any(step.fault for step in done)
            steps: list[Step] = []
            for label in missing:
                if self._before[label] not in missing:
                    steps += [] if spent else struck[label]
                    steps += [self._steps[label]] if spent or len(missing) > 1 else []
            return steps

        return following


def _walk(following: Following, begun: tuple[Step, ...]) -> Iterator[tuple[Step, ...]]:
    """Yield every complete sequence of steps that begins with these."""
    steps = following(begun)
    if not steps:
        yield begun
    for step in steps:
        yield from _walk(following, (*begun, step))


def sorted_steps(steps: Sequence[Step]) -> tuple[Step, ...]:
    """Return steps in an order that does not depend on when they were delivered.

    >>> [step.events for step in sorted_steps([Step(("sent",)), Step(("plan",))])]
    [('plan',), ('sent',)]
    """
    return tuple(sorted(steps, key=lambda step: (step.events, step.fault)))


def _counted(following: Following) -> int:
    """Return the number of schedules. Those with the same steps delivered have the same continuations."""
    known: dict[tuple[Step, ...], int] = {}

    def count(done: tuple[Step, ...]) -> int:
        if done not in known:
            steps = following(done)
            known[done] = sum(count(sorted_steps((*done, step))) for step in steps) if steps else 1
        return known[done]

    return count(())


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
