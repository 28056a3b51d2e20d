"""Races: which callbacks are delivered at the same time, in which orders, and whether the outcome is a serial one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from heapq import heappop, heappush
from itertools import count
from typing import TYPE_CHECKING

import msgspec

from engagelab_mock.errors import NothingObserved, ScheduleFailed, UsageError
from engagelab_mock.explore.exploration import Failure, Violation
from engagelab_mock.explore.interleave import Deadlock
from engagelab_mock.explore.lifecycle import labels_of
from engagelab_mock.explore.orders import Orders, Trace, letter
from engagelab_mock.explore.player import Played
from engagelab_mock.explore.schedule import Schedule, Step
from engagelab_mock.explore.serial import together_at, with_order
from engagelab_mock.explore.together import check_in_process
from engagelab_mock.messages.scenario import Scenario

if TYPE_CHECKING:
    from engagelab_mock.delivery.probe import Probe
    from engagelab_mock.delivery.receiver import Receiver
    from engagelab_mock.explore.switchpoints import SwitchPoints
    from engagelab_mock.messages.message import Message

#: The default of `preemptions`. Most races need one, and few need three.
PREEMPTIONS = 2


class Race(msgspec.Struct):
    """Hold a schedule in which handlers run at the same time, and the orders of them that are still to be played."""

    schedule: Schedule
    orders: Orders
    #: Races with a lower rank are played first, if they have as few preemptions.
    rank: tuple[int, ...]

    @classmethod
    def of(cls, schedule: Schedule, preemptions: int, rank: tuple[int, ...] = ()) -> Race:
        """Return the race of a schedule that has a step with several callbacks."""
        return cls(schedule, Orders(schedule.steps[together_at(schedule)].callbacks, preemptions), rank)

    def next(self) -> Schedule:
        """Return the schedule with the next order."""
        return with_order(self.schedule, self.orders.pop())


class Races:
    """Iterate over the schedules of races, those with the fewest preemptions first; `learn` from each that was played.

    Each callback is delivered together with its own duplicates, and with its neighbours in the lifecycle. The later
    ones come first, because they have most effects.

    >>> from engagelab_mock import CATALOGUE
    >>> [str(schedule) for schedule in Races([CATALOGUE["sent_failed"]], concurrent=2)]
    ['eg1:plan,sent_failed|sent_failed', 'eg1:plan|plan,sent_failed', 'eg1:plan|sent_failed']
    """

    def __init__(
        self,
        chosen: Sequence[Scenario | Schedule],
        *,
        concurrent: int = 2,
        preemptions: int = PREEMPTIONS,
        limit: int | None = None,
    ) -> None:
        self._next: list[tuple[tuple[int, ...], int, Race]] = []
        self._entered = count()
        self._now: Race | None = None
        self._limit = limit
        self._played = 0
        self._reached = 0
        for race in _races(chosen, concurrent, preemptions):
            self._enter(race)

    def __len__(self) -> int:
        """Return how many schedules are known so far. Each that is played can add some."""
        return self._played + sum(len(race.orders) for _, _, race in self._next)

    def __iter__(self) -> Iterator[Schedule]:
        while self._next and (self._limit is None or self._played < self._limit):
            self._now = heappop(self._next)[2]
            self._played += 1
            yield self._now.next()
            self._enter(self._now)

    def _enter(self, race: Race) -> None:
        cost = race.orders.cost
        if cost is not None:
            # Without a preemption there is hardly ever a race, so these orders have no turn of their own.
            heappush(self._next, ((max(cost, 1), *race.rank), next(self._entered), race))

    def learn(self, played: Played) -> None:
        """Take the orders that a run has shown to be possible."""
        for trace in played.traces:
            self._reached += trace.reached
            if self._now is not None:
                self._now.orders.learn(trace)

    def check_receiver(self, receiver: Receiver, probe: Probe) -> None:
        """Raise `UsageError` for a receiver whose handlers cannot be stopped, or whose state cannot be read."""
        check_in_process(receiver)
        if probe.observe is None:
            raise UsageError(
                "concurrent compares the app's state with that of the same callbacks one after the other, and this "
                "receiver has no observe",
                where="concurrent",
                hint="Receiver.wsgi(app, observe=lambda message_id: Message.get(message_id).status)",
            )

    def check_reached(self, points: SwitchPoints) -> None:
        """Raise `NothingObserved` if no handler came to a switch point, or no one called a function that was named."""
        hint = "name the functions through which the app reads and writes: switch_points=['shop.store.load', …]"
        if not self._reached:
            raise NothingObserved(
                "no handler came to a switch point, so nothing ran at the same time: the app called none of the "
                "database drivers that are known (sqlite3, psycopg, mysqlclient, redis)",
                where="concurrent",
                hint=hint,
            )
        missed = [name for name in points.added if name not in points.called]
        if missed:
            raise NothingObserved(
                f"no handler called {' or '.join(missed)}", where="switch_points", hint="is this the name that it uses?"
            )


def check_number(name: str, given: object, least: int, most: int) -> int:
    """Return an integer option, or raise `UsageError`.

    >>> check_number("concurrent", 2, 2, 3)
    2
    """
    if isinstance(given, bool) or not isinstance(given, int) or not least <= given <= most:
        raise UsageError(f"{name} is an integer from {least} to {most}, not {given!r:.100}", where=name)
    return given


def _races(chosen: Sequence[Scenario | Schedule], concurrent: int, preemptions: int) -> Iterator[Race]:
    for number, each in enumerate(chosen):
        if isinstance(each, Schedule):
            if together_at(each) < 0:
                hint = "give the lifecycle: explore('verified', concurrent=2)"
                raise UsageError(f"{each} has no callbacks at the same time", where="concurrent", hint=hint)
            yield Race.of(with_order(each, ""), preemptions, (number,))
            continue
        labels = labels_of((each,)).all
        for at, label in enumerate(labels):
            steps = [Step((one,)) for one in labels]
            steps[at : at + 1] = [Step((label,), beside=((label,),) * (concurrent - 1))]
            yield Race.of(Schedule((each,), tuple(steps)), preemptions, (0, -at, number))
        for at in range(len(labels) - concurrent + 1):
            steps = [Step((one,)) for one in labels]
            first, *others = labels[at : at + concurrent]
            steps[at : at + concurrent] = [Step((first,), beside=tuple((one,) for one in others))]
            yield Race.of(Schedule((each,), tuple(steps)), preemptions, (1, -at, number))


def deadlock_failed(played: Played, order: str, error: Deadlock) -> ScheduleFailed:
    """Return the failure of a schedule whose handlers wait for each other; `error` says where they wait."""
    what = (
        f"{error}: take locks in the same order everywhere, and release each before the answer. If the test has a "
        f"transaction open, end it before it explores\n\n{error.stacks}\n"
    )
    violation = Violation(invariant="deadlock", what=what, record=played.records[-1], before=played.final)
    schedule = with_order(played.schedule, order) if together_at(played.schedule) >= 0 else played.schedule
    return Failure(schedule=schedule, found=schedule, violation=violation, played=played).error()


# The report.

_WIDTH = 56


def columns(trace: Trace, callbacks: Sequence[tuple[str, ...]], messages: Sequence[Message] = ()) -> str:
    """Return the steps of handlers side by side, one column for each handler, in the order in which they were made."""
    heads = [f"{letter(number)}: {'+'.join(events)}" for number, events in enumerate(callbacks)]
    rows: list[list[str]] = [heads]
    for moment in trace.moments:
        if not moment.point:
            continue
        told = moment.text or moment.call
        for message in messages:
            told = told.replace(message.id, "ID")
        row = [""] * len(heads)
        told = f"{moment.point} {told}"
        told = told if len(told) <= _WIDTH else f"{told[: _WIDTH - 1]}…"
        row[moment.handler] = told + (" (waits)" if moment.waited else "")
        rows.append(row)
    widths = [max(len(row[place]) for row in rows) for place in range(len(heads))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def interleavings(played: Played) -> list[str]:
    """Return the lines that show the steps of handlers that ran at the same time."""
    steps = [step for step in played.schedule.steps if step.beside]
    lines: list[str] = []
    for step, trace in zip(steps, played.traces, strict=False):
        lines += [
            "the steps of the handlers, from switch point to switch point:",
            *columns(trace, step.callbacks, played.messages).splitlines(),
            "",
        ]
    return lines


# The reduction.


#: Plays a schedule, and tells whether it fails by the same invariant.
Tried = Callable[[Schedule], Awaitable[tuple[Played, bool]]]


async def reduce_race(found: Schedule, tried: Tried, preemptions: int) -> None:
    """Look for a shorter schedule whose race fails in any order: without the other deliveries, then without each."""
    alone = Schedule(found.lifecycles, (found.steps[together_at(found)],))
    if await _fails_in_any_order(alone, tried, preemptions):
        return
    shortest = found
    for step in found.steps:
        if not step.beside:
            kept = tuple(each for each in shortest.steps if each is not step)
            shorter = Schedule(found.lifecycles, kept)
            if await _fails_in_any_order(shorter, tried, preemptions):
                shortest = shorter


async def _fails_in_any_order(schedule: Schedule, tried: Tried, preemptions: int) -> bool:
    race = Race.of(with_order(schedule, ""), preemptions)
    while race.orders.cost is not None:
        played, failed = await tried(race.next())
        if failed:
            return True
        for trace in played.traces:
            race.orders.learn(trace)
    return False
