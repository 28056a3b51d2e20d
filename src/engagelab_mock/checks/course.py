"""A course: the events of one message as they were reported, and the schedule that sends them in any order again."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import msgspec

from engagelab_mock.explore import schedule as schedules
from engagelab_mock.explore.lifecycle import labels_of, lifecycle
from engagelab_mock.explore.schedule import Schedule, tidy
from engagelab_mock.messages.scenario import Scenario, Transition

#: What goes out in one callback, by its place in the course: one event, or several.
Place = int | Sequence[int]


class Step(msgspec.Struct, frozen=True):
    """Hold one event of a course: `after` is in seconds from the course's beginning.

    >>> Step("sent", 2).channel
    'sms'
    """

    status: str
    after: int = 0
    channel: str = "sms"
    error_code: int = 0

    def __str__(self) -> str:
        return self.status if self.channel in {"", "sms"} else f"{self.status} ({self.channel})"


def schedule_of(steps: Sequence[Step], *orders: Sequence[Place], fault: str = "") -> Schedule:
    """Return the schedule that sends steps in each of these orders, each time about a message of its own.

    `fault` strikes every callback, which is then sent again.

    >>> str(schedule_of([Step("sent", 2), Step("delivered", 5)], [1, 0]))
    'eg1:sent-delivered+3:delivered,sent'
    """
    lifecycles = (lifecycle(_scenario(steps)),) * len(orders)
    labels = labels_of(lifecycles).all
    callbacks = (
        [labels[message * len(steps) + each] for each in ([place] if isinstance(place, int) else place)]
        for message, order in enumerate(orders)
        for place in order
    )
    return Schedule(lifecycles, tidy(schedules.Step(tuple(events), fault=fault) for events in callbacks))


def in_one_callback(schedule: Schedule) -> Schedule:
    """Return the schedule that sends the same events all at once.

    >>> str(in_one_callback(Schedule.of("verified", "plan", "sent")))
    'eg1:plan+sent'
    """
    return Schedule(schedule.lifecycles, (schedules.Step(tuple(schedule.events)),))


def _scenario(steps: Sequence[Step]) -> Scenario:
    # What goes over one channel goes over that of the recipient, which is not spelt.
    several = len({step.channel for step in steps if step.channel}) > 1
    waits = [0, *(later.after - earlier.after for earlier, later in pairwise(steps))]
    transitions = (
        Transition(
            step.status,
            after=wait,
            channel=step.channel if several and step.channel else None,
            error_code=step.error_code,
        )
        for step, wait in zip(steps, waits, strict=True)
    )
    return Scenario("course", transitions=tuple(transitions), graph=None)
