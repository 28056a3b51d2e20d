"""Reduce a failing schedule until every simpler one passes: delta debugging."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from itertools import pairwise

import msgspec

from engagelab_mock.explore.lifecycle import labels_of
from engagelab_mock.explore.schedule import Schedule, Step, tidy, usual_lifecycle

#: Plays a schedule and tells whether it fails by the same invariant.
Fails = Callable[[Schedule], Awaitable[bool]]


async def shrink(schedule: Schedule, fails: Fails) -> Schedule:
    """Return a schedule that fails while every schedule that `simpler` yields for it passes."""
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

    Each removes a message without deliveries, a delivery, an event of a callback, a fault or a delay; or takes the
    lifecycle that a token omits; or delivers a batch one by one; or swaps two neighbours that are not in the order of
    the lifecycle.

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
            # A delay belongs to its place, not to the events that are delivered there.
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
