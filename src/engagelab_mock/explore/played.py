"""What happened when a schedule was played: its messages, and every attempt with the state before and after it."""

from __future__ import annotations

from typing import Any

import msgspec

from engagelab_mock.delivery.model import Attempt, Delivery
from engagelab_mock.delivery.receiver import Receiver
from engagelab_mock.delivery.sender import REPLACED
from engagelab_mock.errors import reduce_struct
from engagelab_mock.explore.orders import Trace
from engagelab_mock.explore.schedule import Schedule, short_fault
from engagelab_mock.explore.state import plain
from engagelab_mock.messages.message import Message


class Record(msgspec.Struct, frozen=True, eq=False):
    """Hold one attempt, with the receiver's state before and after it, as its `observe` returned it.

    With several messages, a state is a tuple with one entry for each message.
    """

    #: The step of the schedule, counted from 0.
    step: int
    #: The labels of the events in the callback.
    events: tuple[str, ...]
    delivery: Delivery
    attempt: Attempt
    before: Any
    after: Any

    def __reduce__(self) -> tuple[Any, ...]:
        return reduce_struct(self, "before", "after")

    @property
    def label(self) -> str:
        """Return the callback as a token spells it, with the fault of this attempt; a retry is "again"."""
        again = " again" if self.attempt.number > 1 else ""
        faults = "".join(f"!{short_fault(fault.name)}" for fault in self.attempt.faults)
        return f"{'+'.join(self.events)}{faults}{again}"

    @property
    def processed(self) -> bool:
        """Tell whether the receiver answered 200, even if that answer was lost or replaced on the way."""
        response = self.attempt.response
        return response is not None and (response.status == 200 or response.reason == REPLACED)


class Played(msgspec.Struct, eq=False):
    """Hold the result of playing a schedule: its messages, and a record of each attempt, in order.

    >>> from engagelab_mock import EngageLab
    >>> with EngageLab() as engagelab:
    ...     played = engagelab.play("eg1:plan,sent!ackloss")
    >>> [(record.events, str(record.attempt.outcome)) for record in played.records]
    [(('plan',), 'acknowledged'), (('sent',), 'abandoned'), (('sent',), 'acknowledged')]
    """

    schedule: Schedule
    receiver: Receiver
    messages: tuple[Message, ...]
    #: The state before the first delivery; None if the receiver has no `observe`.
    initial: Any
    records: list[Record]
    #: Whether the state could be seen.
    observed: bool = False
    #: The playings of this schedule's events in order, to compare with; None if no invariant compares.
    baseline: Baseline | None = None
    #: The steps of the handlers that ran at the same time or crashed, for each such step of the schedule.
    traces: list[Trace] = []

    @property
    def states(self) -> list[Any]:
        """Return the state before the first delivery, and after each attempt."""
        return [self.initial, *(record.after for record in self.records)]

    @property
    def final(self) -> Any:
        """Return the state after the last attempt."""
        return self.records[-1].after if self.records else self.initial

    @property
    def deliveries(self) -> list[Delivery]:
        """Return the deliveries, in the order of their first attempts."""
        return list({id(record.delivery): record.delivery for record in self.records}.values())

    @property
    def acknowledged(self) -> bool:
        """Tell whether the receiver acknowledged every delivery in the end."""
        return all(delivery.acknowledged for delivery in self.deliveries)

    @property
    def in_order(self) -> Played | None:
        """Return the playing of this schedule's events in order, each delivered once and alone."""
        return None if self.baseline is None else self.baseline.played

    @property
    def changed(self) -> bool:
        """Tell whether the state changed at all."""
        return any(record.after is not record.before for record in self.records)

    def state_of(self, state: Any, message: int) -> Any:
        """Return the state of one message, by its number."""
        return state if len(self.messages) == 1 else state[message]

    def __reduce__(self) -> tuple[Any, ...]:
        return reduce_struct(self, "initial", late=("baseline",))

    def __repr__(self) -> str:
        changes = sum([record.after is not record.before for record in self.records])
        shown = f"{changes} changes of the state" if self.observed else "acknowledgements only"
        return f"<Played {self.schedule.token}: {len(self.records)} attempts, {shown}>"


class Baseline(msgspec.Struct, eq=False):
    """Hold playings of the same events in order, each delivered once and alone, to compare other playings with."""

    played: Played
    #: A second playing: values that differ between the two are not compared. None until a state differs.
    again: Played | None = None
    #: All events of the lifecycles in order, and in the opposite order. They show which values count updates.
    whole: Played | None = None
    back: Played | None = None


def text_of(state: Any, played: Played) -> str:
    """Return a state as text, without the ids of the messages, which differ in each playing."""
    text = repr(plain(state) if isinstance(state, (set, frozenset)) else state)
    for number, message in enumerate(played.messages, 1):
        text = text.replace(message.id, f"message {number}")
    return text
