"""Explore: play schedules until one fails, reduce it and report it. `play` and `replay` play a single schedule."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

from engagelab_mock.clock import VirtualClock, check_delay
from engagelab_mock.delivery.app_clock import AppClock
from engagelab_mock.delivery.io import Io
from engagelab_mock.delivery.journal import Journal
from engagelab_mock.delivery.probe import check_probe
from engagelab_mock.delivery.retry import retry_policy
from engagelab_mock.errors import EngageLabMockError, HiddenState, UsageError
from engagelab_mock.eventloop import stopwatch
from engagelab_mock.explore.baseline import SETTLES, Baselines, whole
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
    compares,
    needs_state,
    recognises,
    unrecognised,
)
from engagelab_mock.explore.judging import found_by
from engagelab_mock.explore.lifecycle import lifecycle_with
from engagelab_mock.explore.merge import CannotMerge, Search
from engagelab_mock.explore.options import (
    AUDIT,
    Explored,
    ExploreOptions,
    Plan,
    check_explore_options,
    chosen_invariants,
    chosen_schedules,
    merges,
    plan_in_words,
)
from engagelab_mock.explore.parallel import count_failures
from engagelab_mock.explore.plan import check_racing, rounds_of
from engagelab_mock.explore.played import Played, text_of
from engagelab_mock.explore.player import Player
from engagelab_mock.explore.races import PREEMPTIONS, Races, followed, nothing_met, reduce
from engagelab_mock.explore.schedule import Schedule
from engagelab_mock.explore.schedules import Schedules
from engagelab_mock.explore.serial import CRASH_SAFE, SERIALIZABLE, Serials, place_of
from engagelab_mock.explore.snapshots import Snapshots
from engagelab_mock.explore.switchpoints import SwitchPoints
from engagelab_mock.explore.workers import InOrder, Workers
from engagelab_mock.messages.catalogue import CATALOGUE
from engagelab_mock.messages.scenario import Scenario

if TYPE_CHECKING:
    from engagelab_mock.protocol.events import Event
    from engagelab_mock.service.engine import Engine


async def explore(engine: Engine, io: Io, chosen: Sequence[Explored], options: ExploreOptions) -> Exploration:
    """Play the chosen schedules until one fails, all are played, or the time is up."""
    __tracebackhide__ = True
    try:
        explorer = _Explorer(engine, options)
        return await explorer.app_clock.during(io, explorer.explore(io, chosen))
    except EngageLabMockError as error:
        raise _entered(engine, error) from None


async def replay(engine: Engine, io: Io, token: str, options: ExploreOptions, *, strict: bool = True) -> Played:
    """Play the schedule of a token, and raise its failure without reducing it; `strict` as in `Handlers`."""
    __tracebackhide__ = True
    try:
        explorer = _Explorer(engine, options, strict=strict)
        return await explorer.app_clock.during(io, explorer.play(io, Schedule.parse(token)))
    except EngageLabMockError as error:
        raise _entered(engine, error) from None


async def play(
    engine: Engine,
    io: Io,
    schedule: Schedule | str,
    options: ExploreOptions,
    events: Mapping[str, Event] | None,
    *,
    strict: bool = True,
) -> Played:
    """Play one schedule, with the caller's events for their labels, and raise its failure."""
    __tracebackhide__ = True
    judge = any(options.get(name) for name in ("invariants", "effects", "terminal"))
    try:
        explorer = _Explorer(engine, options if judge else {**options, "effects": {}, "terminal": ()}, strict=strict)
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

    def __init__(self, engine: Engine, options: ExploreOptions, *, strict: bool = True) -> None:
        check_explore_options(options)
        check_probe(options, where="explore")
        self._engine = engine
        self._options = options
        self._probe = engine.receiver.probe(options)
        self._probe.check_meaning(where="explore")
        #: How often callbacks are sent at the same time; 0 for an app in this process.
        self._rounds = rounds_of(options, engine.receiver)
        self._points = SwitchPoints(options.get("switch_points") or ())
        self.app_clock = AppClock(self._probe)
        self._invariants, self._default = chosen_invariants(options.get("invariants"), self._probe)
        self._check = engine.is_checked(options.get("check"))
        budget = options.get("time_budget")
        self._budget = None if budget is None else check_delay(budget, where="time_budget")
        self._ends: float | None = None
        #: The number of attempts when a schedule was last judged.
        self._sent = 0
        engine.exploring.count += 1
        self._use(self._made_player(journal=engine.journal, clock=engine.clock, strict=strict))
        self._states: set[str] = set()
        #: The invariants that have recognised no state yet.
        self._unused = [invariant for invariant in self._invariants if needs_state(invariant)]

    async def explore(self, io: Io, chosen: Sequence[Explored]) -> Exploration:
        __tracebackhide__ = True
        engine, state = self._engine, self._engine.exploring
        plan = chosen_schedules(state.replaying, chosen, self._options, rounds=self._rounds)
        if isinstance(plan, Races):
            check_racing(engine.receiver, self._probe, in_process=plan.in_process)
        # The app may read a virtual clock. An exploration never waits for a real one.
        clock = engine.clock if isinstance(engine.clock, VirtualClock) else VirtualClock(engine.clock.time())
        # A journal that keeps nothing. Only the deliveries of a failure are entered in the engine's journal.
        player = self._made_player(journal=Journal(limit=1), clock=clock, strict=not isinstance(plan, Races))
        self._use(player, self._options.get("workers", 1), self._options.get("in_worker"))
        self._workers.check(io)
        exploration = Exploration(total=len(plan), failures=[], observed=self._probe.observe is not None, notes=[])
        exploration.about = plan_in_words(state.replaying, chosen, plan, self._options)
        state.explorations.append(exploration)
        progress = Progress(state.progress)
        self._ends = None if self._budget is None else stopwatch() + self._budget
        try:
            await self._judge(io, exploration, plan, progress)
        except KeyboardInterrupt as stop:
            exploration.stopped = "interrupted"
            stop.add_note(repr(exploration))
            raise
        except BaseException:
            exploration.stopped = "error"
            raise
        finally:
            self._workers.close()
            progress.end(exploration)
        if exploration.failures:
            state.played = exploration.failures[0].played.schedule
            for delivery in exploration.failures[0].played.deliveries:
                engine.journal.open(delivery)
        if self._check:
            exploration.assert_ok()
        return exploration

    async def _judge(self, io: Io, exploration: Exploration, plan: Plan, progress: Progress) -> None:
        """Judge every schedule, and what the whole exploration must have shown."""
        __tracebackhide__ = True
        try:
            await self._judge_all(io, exploration, plan, self._search(plan), progress)
        except (CannotMerge, HiddenState) as error:
            await self._baselines.check_reset(io)
            if isinstance(error, HiddenState) and self._options.get("merge") is True:
                raise
            exploration.notes.append(f"no states were merged: {getattr(error, 'what', error)}")
            exploration.failures.clear()
            await self._judge_all(io, exploration, plan, None, progress)
        if not exploration.failures:
            await self._player.check_settled(io, SETTLES if self._rounds else 0)
            await self._baselines.check_reset(io)
            exploration.notes += [self._baselines.note] * bool(self._baselines.note)
            if isinstance(plan, Races):
                plan.check_met(self._points, self._engine.receiver)
            if exploration.deliveries:
                await self._check_recognised(io, self._unused)

    def _search(self, plan: Plan) -> Search | None:
        """Return the search that merges equal states; None if every schedule is to be played."""
        observed = self._probe.observe is not None
        if not isinstance(plan, Schedules) or not merges(
            self._options, plan, self._invariants, observed=observed, check=self._check
        ):
            return None
        audit, seed = self._options.get("audit", AUDIT), self._engine.seed
        return Search(plan, self._player, self._invariants, audit=audit, seed=seed)

    async def _judge_all(
        self, io: Io, exploration: Exploration, plan: Plan, search: Search | None, progress: Progress
    ) -> None:
        """Judge every schedule: play it, or let the search predict it; stop at a failure, or when the time is up."""
        __tracebackhide__ = True
        exploration.schedules = judged = 0
        exploration.merging = None if search is None else search.merging
        source = search if search is not None else plan if isinstance(plan, Races) else InOrder(plan)
        for schedule in source:
            await self._workers.ahead(io, chain([schedule], source.upcoming()))
            if self._ends is not None and stopwatch() >= self._ends:
                exploration.stopped = "time_budget"
                break
            sent = self._player.sent
            if search is not None:
                first = await search.begin(io, schedule)
                self._baselines.first = self._baselines.first or first
                judged = search.represented
            played, violation = await self._judged(io, schedule)
            judged += 1
            if search is None and played.observed:
                exploration.seen.enter(played)
            if isinstance(plan, Races):
                plan.learn(played)
                exploration.total, exploration.notes = len(plan), plan.notes
            exploration.schedules = min(judged, exploration.total)
            exploration.deliveries += self._sent - sent
            exploration.states = len(self._states)
            progress.step(exploration)
            if violation is not None and not (search is not None and search.was_played(schedule)):
                await self._fail(io, exploration, played, violation)
                if self._check:
                    exploration.stopped = "failure"
                    break
            if search is not None:
                await search.learn(io, played)
        exploration.schedules -= plan.unjudged if isinstance(plan, Races) else 0
        if search is not None:
            if exploration.stopped != "failure":
                exploration.schedules = search.represented
            exploration.notes += search.notes(self._invariants)
        exploration.notes += [note for note in [self._workers.note] if note and note not in exploration.notes]

    async def play(
        self, io: Io, schedule: Schedule, events: Mapping[str, Event] | None = None, *, judge: bool = True
    ) -> Played:
        """Play one schedule and raise its failure without reducing it; without `judge`, compare nothing."""
        __tracebackhide__ = True
        if events is not None:
            self._player.use_events(schedule, events)
        rounds = self._rounds if judge and place_of(schedule) >= 0 else 0
        judged = [await self._judged(io, schedule, blind=not judge) for _ in range(rounds or 1)]
        failed = [each for each in judged if each[1] is not None]
        played, violation = (failed or judged)[-1]
        await self._player.check_settled(io)
        self._engine.exploring.played = schedule
        if violation is not None and self._check:
            await self._baselines.check_reset(io)
            schedule = schedule if rounds or self._player.handlers.strict else followed(played)
            counts: Any = {"rounds": rounds, "failed": len(failed) * bool(rounds)}
            raise Failure(schedule=schedule, found=schedule, violation=violation, played=played, **counts).error()
        if judge and violation is None:
            if rounds and not any(trace.met for each, _ in judged for trace in each.traces):
                raise nothing_met()
            if not played.records and self._check:
                raise no_callback("the schedule has no event that the receiver's settings tick", where="play")
            if self._player.handlers.strict:  # else it is one of many examples of a state machine, which has checked it
                await self._baselines.check_reset(io)
            await self._check_recognised(io, self._unused, *schedule.lifecycles)
        return played

    def _use(self, player: Player, workers: int = 1, in_worker: Callable[[int], object] | None = None) -> None:
        self._player, self._baselines, self._serials = player, Baselines(player), Serials(player)
        self._workers = Workers(player, self._engine.receiver, self._points, workers, in_worker)

    def _made_player(self, *, journal: Journal, clock: Any, strict: bool) -> Player:
        own: Any = {"number": self._engine.exploring.count, "retry": retry_policy(self._options.get("retry"))}
        own["snapshots"] = Snapshots.by(self._options.get("snapshot"), self._options.get("restore"))
        player = Player(self._engine, self._probe, self.app_clock, journal=journal, clock=clock, **own)
        player.handlers = Handlers(self._points, strict=strict, seed=self._engine.seed)
        return player

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
        played = await self._workers.play(io, schedule)
        self._sent = self._player.sent
        if self._baselines.first is None:
            # A race over HTTP ends in another way each time.
            raced = self._rounds > 0 and place_of(schedule) >= 0
            self._baselines.first = (await self._baselines.of(io, played)).played if raced else played
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
        if any(map(compares, self._invariants)):
            played.baseline = await self._baselines.of(io, played)
        return played, await self._violation(io, played, only)

    async def _violation(self, io: Io, played: Played, only: str | None) -> Violation | None:
        """Return the first violation: an invariant returns it, returns it as a string, or raises `AssertionError`."""
        __tracebackhide__ = True
        raced = place_of(played.schedule) >= 0
        if raced:
            found = await self._serials.violation(io, played) if only in {None, SERIALIZABLE, CRASH_SAFE} else None
            if found is not None:
                return found
        # A receiver may refuse a callback that is early, if it would refuse it in some serial order, too.
        if only in {None, ACKNOWLEDGED} and not (raced and self._serials.acknowledges(played)):
            for record in played.records:
                if record.delivery.given_up and record.attempt is record.delivery.attempts[-1]:
                    return given_up(record, in_threads=raced and not self._rounds)
        for invariant in [each for each in self._invariants if not (raced and each is self._default)]:
            found = await found_by(io, played, invariant)
            if found is not None and needs_state(invariant) and played.observed:
                # If two playings in order differ in the same way, the schedule is not the cause.
                played.baseline = await self._baselines.with_more(io, played)
                known = (played, played.baseline.played, played.baseline.whole or played)
                if not any(recognises(invariant, each) for each in known):
                    await self._check_recognised(io, [invariant])
                found = await found_by(io, played, invariant)
            if found is not None and (only is None or found.invariant == only):
                return found
        return None

    async def _fail(self, io: Io, exploration: Exploration, played: Played, violation: Violation) -> None:
        """Enter a failure. The first of each invariant is reduced to the smallest schedule that fails by it."""
        __tracebackhide__ = True
        found = played.schedule
        smallest, repeatable, rounds, failed = (played, violation), True, 0, 0
        if all(violation.invariant != failure.violation.invariant for failure in exploration.failures):
            # If a state changes by itself, any schedule would fail.
            await self._player.check_settled(io, SETTLES)
            self._player.forget_snapshots()

            async def tried(candidate: Schedule) -> tuple[Played, bool]:
                nonlocal smallest
                again, wrong = await self._judged(io, candidate, only=violation.invariant, blind=True)
                if wrong is not None:
                    smallest = (again, wrong)
                return again, wrong is not None

            rounds = self._rounds if place_of(found) >= 0 else 0
            repeatable = rounds > 0 or (await tried(found))[1]
            if self._rounds or not repeatable:
                await self._player.check_each_settled(io, found.lifecycles)
            await self._baselines.check_reset(io)
            self._player.handlers.strict = False  # a simpler schedule may not come to the same switch points
            if repeatable and self._engine.exploring.replaying is None:
                await reduce(found, tried, self._options.get("preemptions", PREEMPTIONS), rounds)
            failed = await count_failures(smallest[0].schedule, tried, rounds)
        failure = Failure(
            schedule=smallest[0].schedule,
            found=found,
            violation=smallest[1],
            played=smallest[0],
            number=exploration.schedules,
            total=exploration.total,
            repeatable=repeatable,
            rounds=rounds,
            failed=failed,
        )
        exploration.failures.append(failure)
