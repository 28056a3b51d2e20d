"""All schedules of a lifecycle, and simpler variants of a schedule that fails."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from itertools import islice, pairwise
from typing import Any, Literal

import msgspec

from engagelab_mock.errors import UnknownName, UsageError
from engagelab_mock.explore.families import Family, families
from engagelab_mock.explore.lifecycle import labels_of, lifecycle
from engagelab_mock.explore.schedule import POINTS, Schedule, Step, fault_of, tidy, usual_lifecycle
from engagelab_mock.messages.catalogue import CATALOGUE
from engagelab_mock.messages.scenario import Scenario

#: The faults of at-least-once delivery: a crash, or a lost acknowledgement, at each point of a delivery.
AT_LEAST_ONCE: tuple[str, ...] = tuple(POINTS.values())

LifecycleChoice = str | Scenario | Sequence[str]
FaultsChoice = Literal["at-least-once"] | Sequence[str] | None


class Schedules:
    """Iterate over schedules, smallest first, always in the same order; made by `schedules`.

    >>> len(schedules("verified", duplicates=1))
    264

    Each iteration starts from the beginning. It makes a schedule only when it is needed. `total` is the number of
    schedules without the limit, and `families` are the sets of schedules of equal size.
    """

    def __init__(self, made: Sequence[Family], limit: int | None = None) -> None:
        self.families = sorted(made, key=lambda family: family.size)
        self.limit = limit
        self.total = sum(family.count for family in made)

    @property
    def deliveries(self) -> int:
        """Return how many callbacks are sent to play each schedule, at most and without retries."""
        left, deliveries = len(self), 0
        for family in self.families:
            deliveries += min(left, family.count) * family.size[0]
            left -= min(left, family.count)
        return deliveries

    def __len__(self) -> int:
        return self.total if self.limit is None else min(self.total, self.limit)

    def __iter__(self) -> Iterator[Schedule]:
        every = (schedule for family in self.families for schedule in family)
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
    together: bool = False,
    limit: int | None = None,
) -> Schedules:
    """Return every schedule of one or more lifecycles, one lifecycle at a time; default: every built-in lifecycle.

    Each event is delivered once, in every order; with `orderings=False` only in the lifecycle's order. In addition,
    up to `duplicates` events are delivered a second time, `batchings` puts several events into one callback, and
    `faults` are applied to one delivery of a schedule. A lifecycle that is given twice stands for two messages, whose
    events are interleaved. With `together`, so does every lifecycle. `limit` is the greatest number of schedules.

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
    chosen = [lifecycle(each, where="schedules") for each in lifecycles or CATALOGUE]
    # A lifecycle's name determines it completely.
    number = Counter([scenario.name for scenario in chosen])
    named = {scenario.name: scenario for scenario in chosen}
    messages = [tuple(chosen)] if together else [(named[name],) * times for name, times in number.items()]
    made: list[Family] = []
    for rank, scenarios in enumerate(messages):
        made += families(
            scenarios, rank, orderings=orderings, duplicates=duplicates, batchings=batchings, faults=struck
        )
    return Schedules(made, limit)


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


#: Plays a schedule and tells whether it fails by the same invariant.
Fails = Callable[[Schedule], Awaitable[bool]]


async def shrink(schedule: Schedule, fails: Fails) -> Schedule:
    """Return a schedule that fails, while every schedule that `simpler` yields for it passes."""
    tried: dict[Schedule, bool] = {schedule: True}

    async def failing(candidate: Schedule) -> bool:
        if candidate not in tried:
            tried[candidate] = await fails(candidate)
        return tried[candidate]

    schedule = await _without_pieces(schedule, failing)
    while True:
        for candidate in simpler(schedule):
            if await failing(candidate):
                schedule = candidate
                break
        else:
            return schedule


def simpler(schedule: Schedule) -> Iterator[Schedule]:
    """Yield every schedule that is simpler in one respect, the simplest first.

    Each variant makes one change. It removes a message without deliveries, a delivery, an event of a callback, a fault
    or a delay. Or it takes the lifecycle that a token omits, delivers a batch one by one, or swaps two neighbours that
    are not in the order of the lifecycle.

    >>> [str(each) for each in simpler(Schedule.parse("eg1:sent,plan!ackloss"))]
    ['eg1:plan!ackloss', 'eg1:sent', 'eg1:sent,plan', 'eg1:plan!ackloss,sent']
    """
    steps = expand(schedule)
    if (fewer := _without_idle_messages(schedule)) is not None:
        yield fewer
    usual = usual_lifecycle(schedule.events) if len(schedule.lifecycles) == 1 and steps else None
    if usual is not None and usual is not schedule.lifecycles[0]:
        yield Schedule((usual,), schedule.steps)
    for index in range(len(steps)):
        yield _made(schedule, [*steps[:index], *steps[index + 1 :]])
    for index, step in enumerate(steps):
        for other in _simpler_steps(step):
            yield _made(schedule, [*steps[:index], *other, *steps[index + 1 :]])
    order = {label: place for place, label in enumerate(labels_of(schedule.lifecycles).all)}
    for index, (first, second) in enumerate(pairwise(steps)):
        if order[first.events[0]] > order[second.events[0]]:
            # A delay belongs to its place in the schedule, not to the events that are delivered there.
            swapped = [
                msgspec.structs.replace(second, delay=first.delay),
                msgspec.structs.replace(first, delay=second.delay),
            ]
            yield _made(schedule, [*steps[:index], *swapped, *steps[index + 2 :]])


def expand(schedule: Schedule) -> list[Step]:
    """Return the steps with each repetition as a separate step.

    >>> len(expand(Schedule.parse("eg1:plan*3")))
    3
    """
    steps = []
    for step in schedule.steps:
        first = msgspec.structs.replace(step, repeat=1)
        steps += [first, *[msgspec.structs.replace(first, delay=0.0)] * (step.repeat - 1)]
    return steps


async def _without_pieces(schedule: Schedule, failing: Fails) -> Schedule:
    """Remove runs of steps, halves first: this shortens long schedules quickly."""
    steps = expand(schedule)
    size = len(steps) // 2
    while size > 1:
        start = 0
        while start < len(steps):
            candidate = _made(schedule, [*steps[:start], *steps[start + size :]])
            if await failing(candidate):
                schedule, steps = candidate, expand(candidate)
            else:
                start += size
        size //= 2
    return schedule


def _simpler_steps(step: Step) -> Iterator[list[Step]]:
    if len(step.events) > 1:
        for index in range(len(step.events)):
            yield [msgspec.structs.replace(step, events=step.events[:index] + step.events[index + 1 :])]
        alone = [msgspec.structs.replace(step, events=(label,), delay=0.0) for label in step.events]
        yield [msgspec.structs.replace(alone[0], delay=step.delay), *alone[1:]]
    if step.fault:
        yield [msgspec.structs.replace(step, fault="")]
    if step.delay:
        yield [msgspec.structs.replace(step, delay=0.0)]


def _made(schedule: Schedule, steps: list[Step]) -> Schedule:
    return Schedule(schedule.lifecycles, tidy(steps))


def _without_idle_messages(schedule: Schedule) -> Schedule | None:
    """Return the schedule without the messages that have no delivery; None if every message has one."""
    if len(schedule.lifecycles) == 1:
        return None
    labels = labels_of(schedule.lifecycles)
    used = sorted({labels.places[label][0] for label in schedule.events}) or [0]
    if len(used) == len(schedule.lifecycles):
        return None
    kept = tuple(schedule.lifecycles[message] for message in used)
    names = {(used[message], index): label for label, (message, index) in labels_of(kept).places.items()}
    steps = [
        msgspec.structs.replace(step, events=tuple(names[labels.places[label]] for label in step.events))
        for step in schedule.steps
    ]
    return Schedule(kept, tuple(steps))


def schedules_in(each: object) -> list[Schedule] | None:
    """Return the schedules in an argument of `explore`; None for a lifecycle.

    >>> schedules_in(Schedule.parse("eg1:plan")), schedules_in("verified")
    ([<Schedule eg1:plan>], None)
    """
    if isinstance(each, Schedule):
        return [each]
    if isinstance(each, (str, Scenario)) or not isinstance(each, Iterable):
        return None
    several: list[Any] = list(each)
    return several if several and all(isinstance(one, Schedule) for one in several) else None
