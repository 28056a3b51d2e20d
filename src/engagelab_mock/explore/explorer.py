"""Explore: play schedules until one fails, reduce it and report it. `play` and `replay` play a single schedule."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from engagelab_mock.clock import VirtualClock, check_delay
from engagelab_mock.delivery.app_clock import AppClock
from engagelab_mock.delivery.io import ASYNC, Io
from engagelab_mock.delivery.journal import Journal
from engagelab_mock.delivery.probe import ProbeOptions, check_probe, needs_async
from engagelab_mock.delivery.retry import RetryPolicy, retry_policy
from engagelab_mock.errors import EngageLabMockError, UnknownName, UsageError
from engagelab_mock.eventloop import stopwatch
from engagelab_mock.explore.baseline import SETTLES, Baselines, text_of, whole
from engagelab_mock.explore.exploration import (
    ACKNOWLEDGED,
    Exploration,
    Failure,
    Progress,
    Violation,
    given_up,
    no_callback,
)
from engagelab_mock.explore.handlers import Handlers
from engagelab_mock.explore.invariants import (
    Invariant,
    causes_of,
    check_invariants,
    compares,
    converges,
    meaning_invariants,
    needs_state,
    recognises,
    unrecognised,
)
from engagelab_mock.explore.lifecycle import lifecycle_with
from engagelab_mock.explore.plan import Explored, chosen_schedules
from engagelab_mock.explore.player import Played, Player
from engagelab_mock.explore.races import PREEMPTIONS, Races, reduce_race
from engagelab_mock.explore.schedule import Schedule
from engagelab_mock.explore.schedules import FaultsChoice, shrink
from engagelab_mock.explore.serial import CRASH_SAFE, SERIALIZABLE, Serials, place_of
from engagelab_mock.explore.switchpoints import SwitchPoint, SwitchPoints
from engagelab_mock.messages.catalogue import CATALOGUE
from engagelab_mock.messages.scenario import Scenario

if TYPE_CHECKING:
    from engagelab_mock.protocol.events import Event
    from engagelab_mock.service.engine import Engine


class ExploreOptions(ProbeOptions, total=False):
    """Hold the options of an exploration; every key is optional.

    If `reset` is given, it is called before every schedule, and all schedules are about the same message. Without it,
    each is about a new message. The other options of a probe (`observe`, `prepare`, `wait_idle`) are in `ProbeOptions`.
    """

    #: The invariants that must hold in every schedule. Default: `converges()` for a receiver with an `observe`.
    invariants: Sequence[Invariant] | Invariant | None
    #: Whether to deliver the events in every order, or only in the lifecycle's order.
    orderings: bool
    #: The maximum number of events that are delivered a second time. Default: 1.
    duplicates: int
    #: Whether to also put several events into one callback, in every possible way.
    batchings: bool
    #: The faults that are applied to one delivery of a schedule: "at-least-once", or a list of names. Default: none.
    faults: FaultsChoice
    #: How many handlers run at the same time, 2 or 3: each callback with its duplicates and with its neighbours. Then
    #: no other schedules are played, and the default of `invariants` is that the outcome is a serial one.
    concurrent: int | None
    #: "handler": each handler crashes at each of its switch points, and the callback is sent again.
    crashes: Literal["handler"] | None
    #: How often a handler is stopped that could go on, at most. Default: 2.
    preemptions: int
    #: More functions at which handlers are switched, by their names, such as "shop.cache.get".
    switch_points: Sequence[SwitchPoint]
    #: The maximum number of schedules to play.
    limit: int | None
    #: The maximum time to spend, in seconds. The schedule under way is finished.
    time_budget: float | None
    #: When to send a callback again that was not acknowledged, as in `send`. Default: never.
    retry: RetryPolicy | Sequence[float] | None
    #: Whether to raise the first failure. Default: True.
    check: bool | None


def check_explore_options(given: ExploreOptions) -> None:
    """Raise `UnknownName` for a misspelt option of `explore`.

    >>> check_explore_options({"duplicates": 1})
    """
    for name in given:
        if name not in ExploreOptions.__annotations__:
            raise UnknownName("argument", name, ExploreOptions.__annotations__, where="explore")


async def explore(engine: Engine, io: Io, chosen: Sequence[Explored], options: ExploreOptions) -> Exploration:
    """Play the chosen schedules until one fails, all are played, or the time is up."""
    __tracebackhide__ = True
    try:
        explorer = _Explorer(engine, options)
        return await explorer.app_clock.during(io, explorer.explore(io, chosen))
    except EngageLabMockError as error:
        raise _entered(engine, error) from None


async def replay(engine: Engine, io: Io, token: str, options: ExploreOptions) -> Played:
    """Play the schedule of a token, and raise its failure without reducing it."""
    __tracebackhide__ = True
    try:
        explorer = _Explorer(engine, options)
        return await explorer.app_clock.during(io, explorer.play(io, Schedule.parse(token)))
    except EngageLabMockError as error:
        raise _entered(engine, error) from None


async def play(
    engine: Engine, io: Io, schedule: Schedule | str, options: ExploreOptions, events: Mapping[str, Event] | None
) -> Played:
    """Play one schedule, with the caller's events for their labels, and raise its failure."""
    __tracebackhide__ = True
    judge = any(options.get(name) for name in ("invariants", "effects", "terminal"))
    try:
        explorer = _Explorer(engine, options if judge else {**options, "effects": {}, "terminal": ()})
        chosen = Schedule.parse(schedule) if isinstance(schedule, str) else schedule
        if not isinstance(chosen, Schedule):
            raise UsageError(f"{schedule!r:.100} is neither a Schedule nor a token", where="play")
        return await explorer.app_clock.during(io, explorer.play(io, chosen, events, judge=judge))
    except EngageLabMockError as error:
        raise _entered(engine, error) from None


def _entered(engine: Engine, error: EngageLabMockError) -> EngageLabMockError:
    """Enter an unusable input in the journal. The deliveries of a failure are in the journal already."""
    return error.with_traceback(None) if isinstance(error, AssertionError) else engine.refused(error)


class _Explorer:
    """Hold the objects of one exploration: a player, the invariants, and in-order playings of each set of events."""

    def __init__(self, engine: Engine, options: ExploreOptions) -> None:
        check_explore_options(options)
        check_probe(options, where="explore")
        self._engine = engine
        self._options = options
        self._probe = engine.receiver.probe(options)
        self._probe.check_meaning(where="explore")
        #: The invariant that is taken if none is given; it does not judge races.
        self._default: Invariant | None = None
        self._points = SwitchPoints(options.get("switch_points") or ())
        self.app_clock = AppClock(self._probe)
        self._invariants = self._chosen_invariants(options.get("invariants"))
        self._compares = any(map(compares, self._invariants))
        self._check = engine.is_checked(options.get("check"))
        budget = options.get("time_budget")
        self._budget = None if budget is None else check_delay(budget, where="time_budget")
        engine.exploring.count += 1
        self._player = self._made_player(journal=engine.journal, clock=engine.clock)
        self._baselines = Baselines(self._player)
        self._serials = Serials(self._player)
        self._states: set[str] = set()
        #: The invariants that have recognised no state yet.
        self._unused = [invariant for invariant in self._invariants if needs_state(invariant)]

    async def explore(self, io: Io, chosen: Sequence[Explored]) -> Exploration:
        __tracebackhide__ = True
        engine, state = self._engine, self._engine.exploring
        plan = chosen_schedules(state.replaying, chosen, self._options)
        if isinstance(plan, Races):
            plan.check_receiver(engine.receiver, self._probe)
        # The app may read a virtual clock. An exploration never waits for a real one.
        clock = engine.clock if isinstance(engine.clock, VirtualClock) else VirtualClock(engine.clock.time())
        # A journal that keeps nothing. Only the deliveries of a failure are entered in the engine's journal.
        self._player = self._made_player(journal=Journal(limit=1), clock=clock, strict=not isinstance(plan, Races))
        self._baselines, self._serials = Baselines(self._player), Serials(self._player)
        exploration = Exploration(total=len(plan), failures=[], observed=self._probe.observe is not None)
        state.explorations.append(exploration)
        progress = Progress(state.progress)
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
                exploration.states = len(self._states)
                if isinstance(plan, Races):
                    plan.learn(played)
                    exploration.total, exploration.note = len(plan), plan.note
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
            if not exploration.failures:
                await self._player.check_settled(io)
                await self._baselines.check_reset(io)
                if isinstance(plan, Races) and exploration.schedules:
                    plan.check_reached(self._points, engine.receiver)
        finally:
            progress.end(exploration)
        if exploration.failures:
            failed = exploration.failures[0].played
            state.played = failed.schedule
            for delivery in failed.deliveries:
                engine.journal.open(delivery)
        elif exploration.deliveries:
            await self._check_recognised(io, self._unused)
        if self._check:
            exploration.assert_ok()
        return exploration

    async def play(
        self, io: Io, schedule: Schedule, events: Mapping[str, Event] | None = None, *, judge: bool = True
    ) -> Played:
        """Play one schedule and raise its failure without reducing it; without `judge`, compare nothing."""
        __tracebackhide__ = True
        if events is not None:
            self._player.use_events(schedule, events)
        played, violation = await self._judged(io, schedule, blind=not judge)
        await self._player.check_settled(io)
        self._engine.exploring.played = schedule
        if violation is not None and self._check:
            await self._baselines.check_reset(io)
            raise Failure(schedule=schedule, found=schedule, violation=violation, played=played).error()
        if judge and violation is None:
            if not played.records and self._check:
                raise no_callback("the schedule has no event that the receiver's settings tick", where="play")
            await self._check_recognised(io, self._unused, *schedule.lifecycles)
        return played

    def _made_player(self, *, journal: Journal, clock: Any, strict: bool = True) -> Player:
        given, retry = (self._engine, self._probe, self.app_clock), retry_policy(self._options.get("retry"))
        handlers, number = Handlers(self._points, strict=strict), self._engine.exploring.count
        return Player(*given, journal=journal, clock=clock, number=number, retry=retry, handlers=handlers)

    def _chosen_invariants(self, given: object) -> list[Invariant]:
        observed = self._probe.observe is not None
        meant = meaning_invariants(self._probe.meaning)
        if given is None:
            self._default = converges()
            return [self._default, *meant] if observed else []
        invariants = [*check_invariants(given), *meant]
        blind = [invariant for invariant in invariants if not observed and needs_state(invariant)]
        if blind:
            raise UsageError(
                f"{blind[0]!r} judges the receiver's state, and this receiver has no observe",
                where="invariants",
                hint="Receiver.wsgi(app, observe=lambda message_id: Message.get(message_id).status)",
            )
        return invariants

    async def _check_recognised(self, io: Io, invariants: Sequence[Invariant], *own: Scenario) -> None:
        """Raise `NothingObserved` for an invariant that recognises no state, not even one that it must recognise."""
        __tracebackhide__ = True
        for invariant in invariants:
            seen = self._player.last_state
            tried: list[tuple[Scenario, ...]] = [(lifecycle_with(cause),) for cause in causes_of(invariant)]
            for lifecycles in tried or [own] * bool(own) + [(scenario,) for scenario in CATALOGUE.values()]:
                played = await self._player.play(io, whole(lifecycles))
                seen = played.final if tried else seen
                if recognises(invariant, played):
                    break
            else:
                raise unrecognised(invariant, seen)

    async def _judged(
        self, io: Io, schedule: Schedule, only: str | None = None, *, blind: bool = False
    ) -> tuple[Played, Violation | None]:
        """Play a schedule and return its violation, if it has one; with `only`, only that invariant judges.

        Raises `NothingObserved` if the receiver shows no effect of any callback, unless `blind`.
        """
        __tracebackhide__ = True
        played = await self._player.play(io, schedule)
        self._baselines.first = self._baselines.first or played
        if played.observed:
            shows = False
            for record in played.records:
                if record.after is not record.before:
                    shows = True
                    self._states.add(text_of(record.after, played))
            if shows:
                self._baselines.shown = True
            elif not blind:
                await self._baselines.check_effect(io, played)
            if self._unused:
                self._unused = [invariant for invariant in self._unused if not recognises(invariant, played)]
        if self._compares:
            played.baseline = await self._baselines.of(io, played)
        return played, await self._violation(io, played, only)

    async def _violation(self, io: Io, played: Played, only: str | None) -> Violation | None:
        """Return the first violation: an invariant returns it, returns it as a string, or raises `AssertionError`."""
        __tracebackhide__ = True
        raced, invariants = place_of(played.schedule) >= 0, self._invariants
        if raced:
            found = await self._serials.violation(io, played) if only in {None, SERIALIZABLE, CRASH_SAFE} else None
            if found is not None:
                return found
            invariants = [each for each in invariants if each is not self._default]
        # A receiver may refuse a callback that is early, if it would refuse it in some serial order, too.
        if only in {None, ACKNOWLEDGED} and not (raced and self._serials.acknowledges(played)):
            for record in played.records:
                if record.delivery.given_up and record.attempt is record.delivery.attempts[-1]:
                    return given_up(record, in_threads=raced)
        for invariant in invariants:
            found = await self._found(io, played, invariant)
            if found is not None and needs_state(invariant) and played.observed:
                # If two playings in order differ in the same way, the schedule is not the cause.
                played.baseline = await self._baselines.with_more(io, played)
                known = (played, played.baseline.played, played.baseline.whole or played)
                if not any(recognises(invariant, each) for each in known):
                    await self._check_recognised(io, [invariant])
                found = await self._found(io, played, invariant)
            if found is not None and (only is None or found.invariant == only):
                return found
        return None

    async def _found(self, io: Io, played: Played, invariant: Invariant) -> Violation | None:
        __tracebackhide__ = True
        try:
            found = invariant(played)
            if found is not None and found is not True and inspect.isawaitable(found):
                found = await _awaited(found, io, _name(invariant))
        except AssertionError as error:
            found = str(error) or "an assertion failed"
        if found is None or found is True:
            return None
        if isinstance(found, Violation):
            return found
        what = "it does not hold" if found is False else str(found)
        last = played.records[-1] if played.records else None
        return Violation(invariant=_name(invariant), what=what, record=last, after=played.final)

    async def _failure(
        self, io: Io, played: Played, violation: Violation, number: int, total: int, *, reduce: bool
    ) -> Failure:
        """Return the failure; if it is to be reduced, with the smallest schedule that fails by the same invariant."""
        __tracebackhide__ = True
        found = played.schedule
        smallest, repeatable = (played, violation), True
        if reduce:
            # If a state changes by itself, any schedule would fail.
            await self._player.check_settled(io, SETTLES)
            await self._baselines.check_reset(io)

            async def tried(candidate: Schedule) -> tuple[Played, bool]:
                nonlocal smallest
                again, wrong = await self._judged(io, candidate, only=violation.invariant, blind=True)
                if wrong is not None:
                    smallest = (again, wrong)
                return again, wrong is not None

            async def fails(candidate: Schedule) -> bool:
                return (await tried(candidate))[1]

            repeatable = await fails(found)
            if repeatable and self._engine.exploring.replaying is None:
                if place_of(found) < 0:
                    await shrink(found, fails)
                else:
                    await reduce_race(found, tried, self._options.get("preemptions", PREEMPTIONS))
        return Failure(
            schedule=smallest[0].schedule,
            found=found,
            violation=smallest[1],
            played=smallest[0],
            number=number,
            total=total,
            repeatable=repeatable,
        )


def _name(invariant: Invariant) -> str:
    return str(getattr(invariant, "__name__", type(invariant).__name__))


async def _awaited(value: Any, io: Io, where: str) -> Any:
    if io is not ASYNC:
        getattr(value, "close", lambda: None)()
        raise needs_async(where)
    return await value
