"""Explore: play schedules until one fails, reduce it and report it. `play` and `replay` play a single schedule."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from engagelab_mock.clock import VirtualClock, check_delay
from engagelab_mock.delivery.io import ASYNC, Io
from engagelab_mock.delivery.journal import Journal
from engagelab_mock.delivery.probe import ProbeOptions, check_probe, needs_async
from engagelab_mock.delivery.retry import RetryPolicy, retry_policy
from engagelab_mock.errors import EngageLabMockError, UnknownName, UsageError
from engagelab_mock.eventloop import stopwatch
from engagelab_mock.explore.exploration import Exploration, Failure, Progress
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
from engagelab_mock.explore.player import Played, Player, Script
from engagelab_mock.explore.schedule import Schedule
from engagelab_mock.explore.schedules import FaultsChoice, LifecycleChoice, Schedules, schedules, shrink
from engagelab_mock.generate import Generator
from engagelab_mock.messages.scenario import Scenario

if TYPE_CHECKING:
    from engagelab_mock.protocol.events import Event
    from engagelab_mock.service.engine import Engine

#: What `explore` takes: lifecycles as `schedules` takes them, or schedules.
Explored = LifecycleChoice | Schedule | Iterable[Schedule]


class ExploreOptions(ProbeOptions, total=False):
    """Hold the options of an exploration; every key is optional.

    With `reset`, which is called before every schedule, all schedules are about the same message. Without it, each is
    about a new message. The other options of a probe (`observe`, `prepare`, `wait_idle`) are as in `ProbeOptions`.
    """

    #: What must hold in every schedule. Default: `converges()` for a receiver with an `observe`.
    invariants: Sequence[Invariant] | Invariant | None
    #: Whether the events come in every order, or only in the lifecycle's.
    orderings: bool
    #: How many events are delivered a second time, at most. Default: 1.
    duplicates: int
    #: Whether callbacks also carry several events, in every possible way.
    batchings: bool
    #: The faults that strike one delivery of a schedule: "at-least-once", or a list of names. Default: none.
    faults: FaultsChoice
    #: How many schedules are played, at most.
    limit: int | None
    #: How many seconds are spent, at most. The schedule under way is finished.
    time_budget: float | None
    #: When a callback that was not acknowledged is sent again, as `send` takes it. Default: never.
    retry: RetryPolicy | Sequence[float] | None
    #: Whether the first failure is raised. Default: True.
    check: bool | None


def check_explore_options(given: ExploreOptions) -> None:
    """Raise `UnknownName` for a misspelt option of `explore`.

    >>> check_explore_options({"duplicates": 1})
    """
    for name in given:
        if name not in ExploreOptions.__annotations__:
            raise UnknownName("argument", name, ExploreOptions.__annotations__, where="explore")


def chosen_schedules(
    token: str | None, chosen: Sequence[Explored], options: ExploreOptions
) -> Schedules | list[Schedule]:
    """Return the schedules to play: the token's if there is one, the given ones, or those of the lifecycles.

    >>> chosen_schedules("eg1:plan", ["verified"], {})
    [<Schedule eg1:plan>]
    >>> chosen_schedules(None, ["verified"], {"duplicates": 0})
    <Schedules: 24 of 24>
    """
    if token is not None:
        return [Schedule.parse(token)]
    if len(chosen) == 1 and isinstance(chosen[0], Schedules):
        return chosen[0]
    given: list[Schedule] = []
    lifecycles: list[LifecycleChoice] = []
    for each in chosen:
        several = _schedules_of(each)
        if several is None:
            lifecycles.append(each)  # type: ignore[arg-type]  # `schedules` refuses what is not a lifecycle
        else:
            given.extend(several)
    if given and lifecycles:
        raise UsageError(
            "give lifecycles or schedules, not both",
            where="explore",
            hint="schedules('verified') makes the schedules of a lifecycle",
        )
    if given:
        return given[: options.get("limit")]
    return schedules(
        *lifecycles,
        orderings=options.get("orderings", True),
        duplicates=options.get("duplicates", 1),
        batchings=options.get("batchings", False),
        faults=options.get("faults"),
        limit=options.get("limit"),
    )


def _schedules_of(each: Explored) -> list[Schedule] | None:
    """Return the schedules in an argument of `explore`; None for a lifecycle."""
    if isinstance(each, Schedule):
        return [each]
    if isinstance(each, (str, Scenario)) or not isinstance(each, Iterable):
        return None
    several: list[Any] = list(each)
    return several if several and all(isinstance(one, Schedule) for one in several) else None


async def explore(engine: Engine, io: Io, chosen: Sequence[Explored], options: ExploreOptions) -> Exploration:
    """Play the chosen schedules until one fails, all are played, or the time is up."""
    __tracebackhide__ = True
    try:
        return await _Explorer(engine, options).explore(io, chosen)
    except EngageLabMockError as error:
        raise _entered(engine, error) from None


async def replay(engine: Engine, io: Io, token: str, options: ExploreOptions) -> Played:
    """Play the schedule that a token spells, and raise its failure, unreduced."""
    __tracebackhide__ = True
    try:
        explorer = _Explorer(engine, options)
        return await explorer.play(io, Schedule.parse(token))
    except EngageLabMockError as error:
        raise _entered(engine, error) from None


async def play(
    engine: Engine, io: Io, schedule: Schedule | str, options: ExploreOptions, events: Mapping[str, Event] | None
) -> Played:
    """Play one schedule, with the caller's events for their labels, and raise its failure."""
    __tracebackhide__ = True
    try:
        explorer = _Explorer(engine, options)
        chosen = Schedule.parse(schedule) if isinstance(schedule, str) else schedule
        if not isinstance(chosen, Schedule):
            raise UsageError(f"{schedule!r:.100} is neither a Schedule nor a token", where="play")
        return await explorer.play(io, chosen, events)
    except EngageLabMockError as error:
        raise _entered(engine, error) from None


def _entered(engine: Engine, error: EngageLabMockError) -> EngageLabMockError:
    """Enter an input that cannot be used in the journal. A failure has its deliveries there already."""
    return error.with_traceback(None) if isinstance(error, AssertionError) else engine.refused(error)


class _Explorer:
    """Hold what one exploration needs: a player, the invariants, and the in-order result of each set of events."""

    def __init__(self, engine: Engine, options: ExploreOptions) -> None:
        check_explore_options(options)
        self._engine = engine
        self._options = options
        self._receiver = engine.receiver
        check_probe(options, where="explore")
        self._probe = self._receiver.probe(options)
        self._invariants = self._chosen_invariants(options.get("invariants"))
        self._compares = any(map(compares, self._invariants))
        self._check = engine.is_checked(options.get("check"))
        budget = options.get("time_budget")
        self._budget = None if budget is None else check_delay(budget, where="time_budget")
        engine.exploring.count += 1
        self._player = self._made_player(journal=engine.journal, clock=engine.clock)
        self._scripts: dict[tuple[str, ...], Script] = {}
        self._in_order: dict[tuple[tuple[str, ...], frozenset[str]], Played] = {}

    async def explore(self, io: Io, chosen: Sequence[Explored]) -> Exploration:
        __tracebackhide__ = True
        engine, state = self._engine, self._engine.exploring
        plan = chosen_schedules(state.replaying, chosen, self._options)
        # A journal that forgets. Only the deliveries of a failure are entered in the engine's.
        self._player = self._made_player(journal=Journal(limit=1), clock=VirtualClock(engine.clock.time()))
        exploration = Exploration(total=len(plan), failures=[])
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
            failed = exploration.failures[0].played
            state.played = failed.schedule
            for delivery in failed.deliveries:
                engine.journal.open(delivery)
        if self._check:
            exploration.assert_ok()
        return exploration

    async def play(self, io: Io, schedule: Schedule, events: Mapping[str, Event] | None = None) -> Played:
        """Play one schedule and raise its failure, unreduced."""
        __tracebackhide__ = True
        if events is not None:
            labels = labels_of(schedule.lifecycles)
            own = {labels.find(label, where="events"): event for label, event in events.items()}
            self._scripts[_names(schedule)] = self._script(schedule, own)
        played, violation = await self._judged(io, schedule)
        self._engine.exploring.played = schedule
        if violation is not None and self._check:
            raise Failure(schedule=schedule, found=schedule, violation=violation, played=played).error()
        return played

    def _made_player(self, *, journal: Journal, clock: Any) -> Player:
        generate = Generator.seeded(self._engine.seed, "explore", self._engine.exploring.count)
        retry = retry_policy(self._options.get("retry"))
        return Player(self._receiver, self._probe, journal=journal, clock=clock, generate=generate, retry=retry)

    def _script(self, schedule: Schedule, events: Mapping[str, Event] | None = None) -> Script:
        player = self._player
        return Script(self._engine, schedule.lifecycles, ids=player.generate, now=player.started, events=events)

    def _chosen_invariants(self, given: object) -> list[Invariant]:
        observed = self._probe.observe is not None
        if given is None:
            return [converges()] if observed else []
        invariants = check_invariants(given)
        blind = [invariant for invariant in invariants if not observed and needs_state(invariant)]
        if blind:
            raise UsageError(
                f"{blind[0]!r} judges the receiver's state, and this receiver has no observe",
                where="invariants",
                hint="Receiver.wsgi(app, observe=lambda message_id: Message.get(message_id).status)",
            )
        return invariants

    async def _judged(self, io: Io, schedule: Schedule, only: str | None = None) -> tuple[Played, Violation | None]:
        """Play a schedule and return its violation, if it has one; `only` names the one invariant that judges."""
        __tracebackhide__ = True
        names = _names(schedule)
        played = await self._play(io, schedule, names)
        if self._compares:
            played.in_order = await self._usual(io, played, names)
        return played, await self._violation(io, played, only)

    async def _play(self, io: Io, schedule: Schedule, names: tuple[str, ...]) -> Played:
        __tracebackhide__ = True
        same_message = self._probe.reset is not None
        if same_message:
            await self._probe.reset_app(io)
        script = self._scripts.get(names)
        if script is None:
            script = self._script(schedule)
            if same_message:
                self._scripts[names] = script
        return await self._player.play(io, schedule, script)

    async def _usual(self, io: Io, played: Played, names: tuple[str, ...]) -> Played:
        """Return the playing of the same events in order; each set of events is played so once."""
        __tracebackhide__ = True
        schedule = played.schedule
        key = (names, frozenset([label for step in schedule.steps for label in step.events]))
        usual = self._in_order.get(key)
        if usual is None:
            in_order = schedule.in_order
            usual = played if in_order == schedule else await self._play(io, in_order, names)
            self._in_order[key] = usual
        return usual

    async def _violation(self, io: Io, played: Played, only: str | None) -> Violation | None:
        """Return the first violation; an invariant returns it, says it in a string, or raises `AssertionError`."""
        __tracebackhide__ = True
        if only is None or only == ACKNOWLEDGED:
            for record in played.records:
                if record.delivery.given_up and record.attempt is record.delivery.attempts[-1]:
                    return given_up(record)
        for invariant in self._invariants:
            try:
                found = invariant(played)
                if found is None or found is True:
                    continue
                if inspect.isawaitable(found):
                    found = await _awaited(found, io, _name(invariant))
            except AssertionError as error:
                found = str(error) or "an assertion failed"
            if found is None or found is True:
                continue
            if not isinstance(found, Violation):
                what = "it does not hold" if found is False else str(found)
                last = played.records[-1] if played.records else None
                found = Violation(invariant=_name(invariant), what=what, record=last, after=played.final)
            if only is None or found.invariant == only:
                return found
        return None

    async def _failure(
        self, io: Io, played: Played, violation: Violation, number: int, total: int, *, reduce: bool
    ) -> Failure:
        """Return the failure, with the smallest schedule that fails by the same invariant if it is to be reduced."""
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
            if repeatable and self._engine.exploring.replaying is None:
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


def _names(schedule: Schedule) -> tuple[str, ...]:
    return tuple([scenario.name for scenario in schedule.lifecycles])


def _name(invariant: Invariant) -> str:
    return str(getattr(invariant, "__name__", type(invariant).__name__))


async def _awaited(value: Any, io: Io, where: str) -> Any:
    if io is not ASYNC:
        getattr(value, "close", lambda: None)()
        raise needs_async(where)
    return await value
