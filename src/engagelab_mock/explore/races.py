"""Races and crashes: which handlers run at the same time, in which orders, and which crash at which switch points."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from heapq import heappop, heappush
from itertools import count
from operator import itemgetter
from typing import TYPE_CHECKING

import msgspec

from engagelab_mock.delivery.render import counted
from engagelab_mock.errors import NothingObserved, UsageError
from engagelab_mock.explore.columns import WEAK
from engagelab_mock.explore.lifecycle import labels_of, names_of
from engagelab_mock.explore.orders import Orders, write_turns
from engagelab_mock.explore.played import Played
from engagelab_mock.explore.schedule import Schedule, Step, tidy
from engagelab_mock.explore.schedules import shrink
from engagelab_mock.explore.serial import at_point, place_of
from engagelab_mock.messages.scenario import Scenario

if TYPE_CHECKING:
    from engagelab_mock.delivery.receiver import Receiver
    from engagelab_mock.explore.switchpoints import SwitchPoints

#: The default of `preemptions`. Most races need one, and few need three.
PREEMPTIONS = 2
#: What the result of a search over HTTP rests on.
SEARCHED = "real requests at the same time, up to {} rounds of {}: a search, and not a proof"


#: How many switch points further a crash is tried ahead, while it is not known whether the handler comes to them.
_POINTS_AHEAD = 2


class Race:
    """Search the orders of the handlers that run at the same time in a schedule."""

    def __init__(self, schedule: Schedule, preemptions: int, rank: tuple[int, ...] = ()) -> None:
        #: A search with a lower rank goes first, if its next schedule has as few preemptions.
        self.rank = rank
        self.schedule = schedule
        self._orders = Orders(schedule.steps[place_of(schedule)].callbacks, preemptions)

    @property
    def cost(self) -> int | None:
        """Return the number of preemptions in the next schedule; None after the last schedule."""
        return self._orders.cost

    @property
    def left(self) -> int:
        """Return how many schedules are known and not played."""
        return len(self._orders)

    def next(self) -> Schedule:
        """Return the next schedule."""
        return at_point(self.schedule, self._orders.pop())

    def upcoming(self) -> Iterator[tuple[int, Schedule]]:
        """Yield the known schedules with the number of their preemptions; `next` returns them in this order."""
        return ((cost, at_point(self.schedule, order)) for cost, order in self._orders.known)

    def learn(self, played: Played) -> None:
        """Take the schedules that a played one has shown to be possible."""
        for trace in played.traces:
            self._orders.learn(trace)


class Crashes:
    """Search the switch points of a handler: at each, it crashes, and the callback is sent again."""

    def __init__(self, schedule: Schedule, rank: tuple[int, ...] = ()) -> None:
        self.rank = rank
        self.cost: int | None = 0
        self.schedule = schedule
        self._point = 0

    @property
    def left(self) -> int:
        """Return 1 as long as the handler comes to one more point."""
        return 0 if self.cost is None else 1

    def next(self) -> Schedule:
        """Return the schedule with a crash at the next point."""
        self._point += 1
        return at_point(self.schedule, crash=self._point)

    def upcoming(self) -> Iterator[tuple[int, Schedule]]:
        """Yield the schedules with a crash at the next points, to which the handler may not come."""
        points = range(self._point + 1, self._point + 1 + (0 if self.cost is None else _POINTS_AHEAD))
        return ((0, at_point(self.schedule, crash=point)) for point in points)

    def learn(self, played: Played) -> None:
        """End the search if the handler has ended before it came to the point."""
        if not any(trace.crashed for trace in played.traces):
            self.cost = None


class Rounds:
    """Repeat a schedule whose handlers run in another process, with other times between its requests in each round."""

    def __init__(self, schedule: Schedule, rounds: int, rank: tuple[int, ...] = ()) -> None:
        self.rank = rank
        self.left = rounds
        self._rounds = rounds
        self.schedule = schedule

    @property
    def cost(self) -> int | None:
        """Return the number of the next round, so that each race has its first round before any has its second."""
        return self._rounds - self.left + 1 if self.left else None

    def next(self) -> Schedule:
        """Return the schedule."""
        self.left -= 1
        return at_point(self.schedule)

    def upcoming(self) -> Iterator[tuple[int, Schedule]]:
        """Yield nothing: rounds are played one after the other, because they are about one receiver."""
        return iter(())

    def learn(self, played: Played) -> None:
        """Do nothing: each round is like the others."""


#: The schedules of one race, or of the crashes of one handler.
Search = Race | Crashes | Rounds


def search_of(schedule: Schedule, preemptions: int, rank: tuple[int, ...] = (), *, rounds: int = 0) -> Search:
    """Return the search of a schedule with a race or a crash; with `rounds`, the handlers run in another process."""
    if schedule.steps[place_of(schedule)].crash:
        return Crashes(schedule, rank)
    return Rounds(schedule, rounds, rank) if rounds else Race(schedule, preemptions, rank)


class Races:
    """Iterate over the schedules of races and crashes, with few preemptions first; `learn` from each that was played.

    Each callback is delivered together with its own duplicates, and with its neighbours in the lifecycle; and each
    handler crashes. The later callbacks come first, because they have most effects. With `rounds`, the handlers run in
    another process, and each schedule is played that often.

    >>> from engagelab_mock import CATALOGUE
    >>> [str(schedule) for schedule in Races([CATALOGUE["sent_failed"]], concurrent=2)]
    ['eg1:plan,sent_failed|sent_failed', 'eg1:plan|plan,sent_failed', 'eg1:plan|sent_failed']
    """

    def __init__(
        self,
        chosen: Sequence[Scenario | Schedule],
        *,
        concurrent: int = 0,
        crashes: bool = False,
        preemptions: int = PREEMPTIONS,
        rounds: int = 0,
        limit: int | None = None,
    ) -> None:
        self._next: list[tuple[tuple[int, ...], int, Search]] = []
        self._entered = count()
        self._now: Search | None = None
        self._limit = limit
        self._played = 0
        #: The searches, each with the number of schedules that were played, and of those in which handlers met.
        self._met: dict[Search, list[int]] = {}
        #: How often callbacks at the same time are sent over HTTP; 0 for an app in this process.
        self.rounds = rounds
        self._crashes = crashes
        #: What weakens the judgement; empty if nothing does.
        self.note = ""
        for number, each in enumerate(chosen):
            for schedule, rank in _chosen(each, concurrent, crashes):
                self._crashes = self._crashes or schedule.steps[place_of(schedule)].crash > 0
                self._enter(search_of(schedule, preemptions, (*rank, number), rounds=rounds))
        if rounds:
            self.note = SEARCHED.format(rounds, counted(len(self._next), "combination"))

    def __len__(self) -> int:
        """Return how many schedules are known so far. Each that is played can add some."""
        return self._played + sum(search.left for _, _, search in self._next)

    def __iter__(self) -> Iterator[Schedule]:
        while self._next and (self._limit is None or self._played < self._limit):
            self._now = heappop(self._next)[2]
            self._played += 1
            schedule = self._now.next()
            if self.rounds:  # nothing is learnt from a round
                self._enter(self._now)
            yield schedule
            if not self.rounds:
                self._enter(self._now)

    def upcoming(self) -> Iterator[Schedule]:
        """Yield the known schedules that are not played yet, in the order in which they are played."""
        searches = [search for _, _, search in self._next] + ([self._now] if self._now is not None else [])
        found = [(_rank(cost, search), schedule) for search in searches for cost, schedule in search.upcoming()]
        return (schedule for _, schedule in sorted(found, key=itemgetter(0)))

    def _enter(self, search: Search) -> None:
        if search.cost is not None:
            heappush(self._next, (_rank(search.cost, search), next(self._entered), search))

    def learn(self, played: Played) -> None:
        """Take the schedules that a run has shown to be possible."""
        for trace in played.traces:
            self.note = self.note or (f"each crash was {WEAK}" if trace.weak else "")
        if self._now is not None:
            counts = self._met.setdefault(self._now, [0, 0])
            counts[0] += 1
            counts[1] += any(trace.met for trace in played.traces)
            self._now.learn(played)

    @property
    def in_process(self) -> bool:
        """Tell whether handlers are stopped, which they can be only in this process."""
        return self._crashes or not self.rounds

    @property
    def unjudged(self) -> int:
        """Return how many schedules were played of handlers that never met, which proves nothing about them."""
        return sum(played for played, met in self._met.values() if not met)

    @property
    def notes(self) -> list[str]:
        """Return what weakens the judgement, and the handlers that never met."""
        several = len({names_of(search.schedule.lifecycles) for search in self._met}) > 1
        apart: dict[str, list[str]] = {}
        for search, (_, met) in self._met.items():
            if not met:
                apart.setdefault(_APART[type(search)], []).append(_name(search.schedule, with_lifecycle=several))
        return [self.note] * bool(self.note) + [f"not judged: {listed(names)}: {why}" for why, names in apart.items()]

    def check_met(self, points: SwitchPoints, receiver: Receiver) -> None:
        """Raise `NothingObserved` if no handlers met, or no one called a function that was named."""
        for kind in (Rounds, Race, Crashes):
            counts = [each for search, each in self._met.items() if isinstance(search, kind)]
            if counts and not any(met for _, met in counts):
                raise nothing_met() if kind is Rounds else nothing_reached(receiver)
        missed = [name for name in points.added if name not in points.called]
        if missed and self._met and not self._next:
            raise NothingObserved(
                f"no handler called {' or '.join(missed)}", where="switch_points", hint="is this the name that it uses?"
            )


#: Why handlers were not judged.
_APART: dict[type[Search], str] = {
    Race: "there was no switch point at which one handler could run inside of the other",
    Crashes: "the handler came to no switch point",
    Rounds: "its requests were never under way at the same time",
}
#: How many of several names are written out.
_NAMED = 6


def _name(schedule: Schedule, *, with_lifecycle: bool) -> str:
    """Return the callbacks that are at the same time, or the one whose handler crashes."""
    step = schedule.steps[place_of(schedule)]
    name = "|".join(map("+".join, step.callbacks)) + "!crash" * bool(step.crash)
    return f"{'+'.join(names_of(schedule.lifecycles))} {name}" if with_lifecycle else name


def listed(names: Sequence[str]) -> str:
    """Return names in one line, with the number of those for which there is no space.

    >>> listed(["plan|plan", "plan|sent"])
    'plan|plan, plan|sent'
    """
    shown, more = names[:_NAMED], len(names) - _NAMED
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")


def nothing_met() -> NothingObserved:
    """Return the error for requests that were never under way at the same time."""
    return NothingObserved(
        "no two requests were under way at the same time: each was answered before the next was sent",
        where="explore",
        hint="give more rounds, on a machine with less other work",
    )


def nothing_reached(receiver: Receiver) -> NothingObserved:
    """Return the error for handlers that never come to a switch point."""
    in_loop = receiver.transport.name == "asgi"
    return NothingObserved(
        "no handler came to a switch point, so no order and no crash was tried: the app called none of the "
        "database drivers that are known (sqlite3, psycopg, mysqlclient, redis)"
        + (" in a worker thread, and awaited nothing" if in_loop else ""),
        where="explore",
        hint="handlers that do not await meet only if several processes serve the app, not in one event loop"
        if in_loop
        else "name the functions through which the app reads and writes: switch_points=['shop.store.load', …]",
    )


def followed(played: Played) -> Schedule:
    """Return the schedule with the orders that its handlers followed, and without a crash that did not happen."""
    traces = iter(played.traces)
    steps = []
    for step in played.schedule.steps:
        trace = next(traces, None) if step.beside or step.crash else None
        if trace is not None and step.beside and not trace.requests:
            step = msgspec.structs.replace(step, order=write_turns(trace.choices, range(trace.handlers)))
        elif trace is not None and not trace.crashed:
            step = msgspec.structs.replace(step, crash=0)
        steps.append(step)
    return Schedule(played.schedule.lifecycles, tidy(steps))


def _rank(cost: int, search: Search) -> tuple[int, ...]:
    # Without a preemption there is hardly ever a race, so these orders get no separate turn.
    return (max(cost, 1), *search.rank)


def check_number(name: str, given: object, least: int, most: int) -> int:
    """Return an integer option, or raise `UsageError`.

    >>> check_number("concurrent", 2, 2, 3)
    2
    """
    if isinstance(given, bool) or not isinstance(given, int) or not least <= given <= most:
        raise UsageError(f"{name} is an integer from {least} to {most}, not {given!r:.100}", where=name)
    return given


def _chosen(each: Scenario | Schedule, concurrent: int, crashes: bool) -> Iterator[tuple[Schedule, tuple[int, ...]]]:
    """Yield the schedules of a lifecycle, each with its rank; or the one that was given."""
    if isinstance(each, Schedule):
        if place_of(each) < 0:
            hint = "give the lifecycle: explore('verified', concurrent=2)"
            raise UsageError(f"{each} has neither callbacks at the same time nor a crash", where="explore", hint=hint)
        yield at_point(each), ()
        return
    labels = labels_of((each,)).all
    for at, label in enumerate(labels):
        if concurrent:
            yield _with(each, labels, at, 1, Step((label,), beside=((label,),) * (concurrent - 1))), (0, -at)
        if crashes:
            yield _with(each, labels, at, 1, Step((label,), crash=1)), (0, -at)
    for at in range(len(labels) - concurrent + 1 if concurrent else 0):
        first, *others = labels[at : at + concurrent]
        yield _with(each, labels, at, concurrent, Step((first,), beside=tuple((one,) for one in others))), (1, -at)


def _with(scenario: Scenario, labels: Sequence[str], at: int, count: int, step: Step) -> Schedule:
    steps = [Step((label,)) for label in labels]
    steps[at : at + count] = [step]
    return Schedule((scenario,), tuple(steps))


# The reduction.


#: Plays a schedule, and tells whether it fails by the same invariant.
Tried = Callable[[Schedule], Awaitable[tuple[Played, bool]]]


async def reduce(found: Schedule, tried: Tried, preemptions: int, rounds: int = 0) -> None:
    """Look for a simpler schedule that fails; of a race or a crash, for a shorter one that fails in any order."""
    if place_of(found) < 0:

        async def fails(candidate: Schedule) -> bool:
            return (await tried(candidate))[1]

        await shrink(found, fails)
        return
    special = found.steps[place_of(found)]
    if await _fails_in_any_order(Schedule(found.lifecycles, (special,)), tried, preemptions, rounds):
        return
    shortest = found
    for step in found.steps:
        if step is not special:
            kept = tuple(each for each in shortest.steps if each is not step)
            shorter = Schedule(found.lifecycles, kept)
            if await _fails_in_any_order(shorter, tried, preemptions, rounds):
                shortest = shorter


async def _fails_in_any_order(schedule: Schedule, tried: Tried, preemptions: int, rounds: int) -> bool:
    search = search_of(at_point(schedule), preemptions, rounds=rounds)
    while search.cost is not None:
        played, failed = await tried(search.next())
        if failed:
            return True
        search.learn(played)
    return False
