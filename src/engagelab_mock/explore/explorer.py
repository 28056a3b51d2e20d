"""How far an exploration has got, for somebody who waits for it."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from engagelab_mock.clock import VirtualClock, check_delay, stopwatch
from engagelab_mock.delivery.io import ASYNC, Io
from engagelab_mock.delivery.journal import Journal
from engagelab_mock.delivery.retry import retry_policy
from engagelab_mock.errors import UsageError
from engagelab_mock.explore.exploration import Exploration, Failure
from engagelab_mock.explore.invariants import (
    ACKNOWLEDGED,
    Invariant,
    Violation,
    check_invariants,
    compares,
    converges,
    given_up,
    needs_state,
)
from engagelab_mock.explore.lifecycle import labels_of
from engagelab_mock.explore.played import Played
from engagelab_mock.explore.player import Player, Script
from engagelab_mock.explore.schedule import Schedule
from engagelab_mock.explore.schedules import Explored, ExploreOptions, check_explore_options, planned
from engagelab_mock.explore.shrink import shrink
from engagelab_mock.generate import Generator

if TYPE_CHECKING:
    from engagelab_mock.explore.engagelab import EngageLab
    from engagelab_mock.protocol.events import Event


#: Is told now and then how far an exploration has got, and with True when it is over.
Listener = Callable[[Exploration, bool], object]

#: Seconds between two looks at the display, and schedules between two looks at the watch.
_INTERVAL = 0.1
_EVERY = 16


class Progress:
    """Tell a listener how far an exploration has got, ten times a second at most; without one, nothing is done.

    >>> progress = Progress(lambda exploration, over: print(exploration, over))
    >>> progress.end(Exploration(total=24))
    <Exploration: 0 of 24 schedules, 0 deliveries, no failure> True
    """

    def __init__(self, listener: Listener | None) -> None:
        self._listener = listener if listener is not None else _terminal_line()
        self._told = stopwatch()

    def step(self, exploration: Exploration) -> None:
        """Say that one more schedule was played."""
        if self._listener is not None and exploration.schedules % _EVERY == 0:
            now = stopwatch()
            if now - self._told >= _INTERVAL:
                self._told = now
                self._listener(exploration, False)

    def end(self, exploration: Exploration) -> None:
        """Say that the exploration is over."""
        if self._listener is not None:
            self._listener(exploration, True)


def progress_line(exploration: Exploration) -> str:
    """Say in one line how far an exploration has got.

    >>> progress_line(Exploration(total=24, schedules=12, deliveries=48))
    'exploring: 12 of 24 schedules, 48 deliveries'
    """
    failed = f", {len(exploration.failures)} failed" if exploration.failures else ""
    played = f"{exploration.schedules} of {exploration.total} schedules"
    return f"exploring: {played}, {exploration.deliveries} deliveries{failed}"


def _terminal_line() -> Listener | None:
    """Return what rewrites a line on stderr, where that is a terminal."""
    stream = sys.stderr
    if stream is None or not stream.isatty():
        return None

    def show(exploration: Exploration, over: bool) -> None:
        stream.write("\r\x1b[2K" + ("" if over else progress_line(exploration)))
        stream.flush()

    return show


class Explorer:
    """Hold what one exploration needs: a player, the invariants, and what the events come to in order."""

    def __init__(self, engine: EngageLab, options: ExploreOptions) -> None:
        check_explore_options(options)
        self._engine = engine
        self._options = options
        self._receiver = engine.receiver
        self._invariants = self._chosen_invariants(options.get("invariants"))
        self._compares = any(map(compares, self._invariants))
        self._check = engine.is_checked(options.get("check"))
        self._reset = options.get("reset")
        if self._reset is not None and not callable(self._reset):
            raise UsageError(f"reset is called, {self._reset!r:.100} cannot be", where="explore")
        budget = options.get("time_budget")
        self._budget = None if budget is None else check_delay(budget, where="time_budget")
        engine.explorations += 1
        self._player = self._made_player(journal=engine.journal, clock=engine.clock)
        self._scripts: dict[tuple[str, ...], Script] = {}
        self._in_order: dict[tuple[tuple[str, ...], frozenset[str]], Played] = {}

    async def explore(self, io: Io, chosen: Sequence[Explored]) -> Exploration:
        """Play the schedules until one fails, or all are played, or time is up."""
        __tracebackhide__ = True
        plan = planned(self._engine.replaying, chosen, self._options)
        # A journal of its own, which forgets: what is of interest is entered in the engine's when something fails.
        self._player = self._made_player(journal=Journal(limit=1), clock=VirtualClock(self._engine.clock.time()))
        exploration = Exploration(total=len(plan), failures=[])
        progress = Progress(self._engine.progress)
        ends = None if self._budget is None else stopwatch() + self._budget
        seen: set[str] = set()
        try:
            for schedule in plan:
                if ends is not None and stopwatch() >= ends:
                    exploration.stopped = "time_budget"
                    break
                played, violation = await self._judged(io, schedule)
                exploration.schedules += 1
                exploration.deliveries += len(played.records)
                progress.step(exploration)
                if violation is None:
                    continue
                number = exploration.schedules
                first = violation.invariant not in seen
                seen.add(violation.invariant)
                failure = await self._failure(io, played, violation, number, len(plan), reduce=first)
                exploration.failures.append(failure)
                if self._check:
                    exploration.stopped = "failure"
                    break
        finally:
            progress.end(exploration)
        if exploration.failures:
            self._enter(exploration.failures[0].played)
        if self._check:
            exploration.assert_ok()
        return exploration

    async def replay(self, io: Io, token: str) -> Played:
        """Play the schedule that a token spells, and raise what is wrong with it, unreduced."""
        __tracebackhide__ = True
        return await self._one(io, Schedule.parse(token), self._check)

    async def play(
        self, io: Io, schedule: Schedule | str, *, events: Mapping[str, Event] | None, check: bool
    ) -> Played:
        """Play one schedule, perhaps with the caller's events, and raise what is wrong with it."""
        __tracebackhide__ = True
        chosen = Schedule.parse(schedule) if isinstance(schedule, str) else schedule
        if not isinstance(chosen, Schedule):
            raise UsageError(f"{schedule!r:.100} is neither a Schedule nor a token", where="play")
        if events is not None:
            places = labels_of(chosen.lifecycles)
            own = {places.find(label, where="events"): event for label, event in events.items()}
            self._scripts[_names(chosen)] = Script(chosen.lifecycles, self._player, own)
        return await self._one(io, chosen, check)

    async def _one(self, io: Io, schedule: Schedule, check: bool) -> Played:
        __tracebackhide__ = True
        played, violation = await self._judged(io, schedule)
        self._engine.played = schedule
        if violation is not None and check:
            raise Failure(schedule=schedule, found=schedule, violation=violation, played=played).error()
        return played

    def _made_player(self, *, journal: Journal, clock: Any) -> Player:
        engine = self._engine
        generate = Generator.seeded(engine.seed, "explore", engine.explorations)
        retry = retry_policy(self._options.get("retry"))
        return Player(engine, self._receiver, journal=journal, clock=clock, generate=generate, retry=retry)

    def _chosen_invariants(self, given: object) -> list[Invariant]:
        observed = self._receiver.observe is not None
        if given is None:
            return [converges()] if observed else []
        invariants = check_invariants(given)
        blind = [invariant for invariant in invariants if not observed and needs_state(invariant)]
        if blind:
            raise UsageError(
                f"{blind[0]!r} is about the receiver's state, which nobody can see",
                where="invariants",
                hint="Receiver.wsgi(app, observe=lambda message_id: Message.get(message_id).status)",
            )
        return invariants

    async def _judged(self, io: Io, schedule: Schedule, only: str | None = None) -> tuple[Played, Violation | None]:
        """Play a schedule and return what is wrong with it, if anything is; by one invariant, if one is named."""
        __tracebackhide__ = True
        played = await self._play(io, schedule)
        if self._compares:
            played.in_order = await self._usual(io, schedule, played)
        return played, await self._judge(io, played, only)

    async def _play(self, io: Io, schedule: Schedule) -> Played:
        __tracebackhide__ = True
        if self._reset is not None:
            done = self._reset()
            if inspect.isawaitable(done):
                await _awaited(done, io, "reset")
        names = _names(schedule)
        script = self._scripts.get(names)
        if script is None:
            script = Script(schedule.lifecycles, self._player)
            if self._reset is not None:
                self._scripts[names] = script
        return await self._player.play(io, schedule, script)

    async def _usual(self, io: Io, schedule: Schedule, played: Played) -> Played:
        """Return what the same events come to in order."""
        __tracebackhide__ = True
        key = (_names(schedule), frozenset(label for step in schedule.steps for label in step.events))
        usual = self._in_order.get(key)
        if usual is None:
            in_order = schedule.in_order
            usual = played if in_order == schedule else await self._play(io, in_order)
            self._in_order[key] = usual
        return usual

    async def _judge(self, io: Io, played: Played, only: str | None) -> Violation | None:
        __tracebackhide__ = True
        if only is None or only == ACKNOWLEDGED:
            for record in played.records:
                if record.delivery.given_up and record.attempt is record.delivery.attempts[-1]:
                    return given_up(record)
        for invariant in self._invariants:
            found = await _ask(invariant, played, io)
            if found is not None and only in {None, found.invariant}:
                return found
        return None

    async def _failure(
        self, io: Io, played: Played, violation: Violation, number: int, total: int, *, reduce: bool
    ) -> Failure:
        """Reduce what failed to the smallest schedule that fails by the same invariant."""
        __tracebackhide__ = True
        found = played.schedule
        smallest, repeatable = (played, violation), True
        if reduce:

            async def fails(candidate: Schedule) -> bool:
                nonlocal smallest
                again, wrong = await self._judged(io, candidate, only=violation.invariant)
                if wrong is None:
                    return False
                smallest = (again, wrong)
                return True

            repeatable = await fails(found)
            if repeatable and self._engine.replaying is None:
                await shrink(found, fails)
        return Failure(
            schedule=smallest[0].schedule,
            found=found,
            violation=smallest[1],
            played=smallest[0],
            number=number,
            total=total,
            repeatable=repeatable,
        )

    def _enter(self, played: Played) -> None:
        """Enter in the engine's journal what was sent."""
        self._engine.played = played.schedule
        for delivery in played.deliveries:
            self._engine.journal.open(delivery)


def _names(schedule: Schedule) -> tuple[str, ...]:
    return tuple(scenario.name for scenario in schedule.lifecycles)


async def _awaited(value: Any, io: Io, where: str) -> Any:
    if io is not ASYNC:
        getattr(value, "close", lambda: None)()
        hint = "await the async twin, with an a in front"
        raise UsageError(f"{where} is asynchronous, and this call is not", where=where, hint=hint)
    return await value


async def _ask(invariant: Invariant, played: Played, io: Io) -> Violation | None:
    """Return what an invariant finds: it returns a `Violation`, or says so in a string, or raises `AssertionError`."""
    __tracebackhide__ = True
    name = getattr(invariant, "__name__", type(invariant).__name__)
    try:
        found = invariant(played)
        if inspect.isawaitable(found):
            found = await _awaited(found, io, name)
    except AssertionError as error:
        found = str(error) or "an assertion failed"
    if found is None or found is True or isinstance(found, Violation):
        return found if isinstance(found, Violation) else None
    what = "it does not hold" if found is False else str(found)
    last = played.records[-1] if played.records else None
    return Violation(invariant=name, what=what, record=last, after=played.final)
